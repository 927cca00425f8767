"""Muon against numpy's SVD, torch's own optimizers and a tiny model; sharded as whole.

`python test_muon.py RANK RANKS FOLDER` is one rank of the sharded one.
"""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from firnline.model.config import ModelConfig
from firnline.model.llama import Llama
from firnline.training.muon import Muon, factor, orthogonalise
from firnline.training.optimizer import OptimizerConfig, build, set_learning_rate

SHAPES = [(40, 24), (24, 40), (32, 32), (1, 7), (96, 8)]
MODEL = ModelConfig(
    vocabulary_size=61, hidden=32, ffn_hidden=47, layers=2, heads=4, kv_heads=2, context=32
)


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def quintic(values: np.ndarray, steps: int) -> np.ndarray:
    """What the iteration makes of singular values, one by one."""
    for _ in range(steps):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return values


@pytest.mark.parametrize("shape", SHAPES)
def test_newton_schulz_keeps_singular_vectors_and_levels_the_values(shape: tuple[int, int]) -> None:
    matrix = random(*shape)
    u, values, vt = np.linalg.svd(matrix.double().numpy(), full_matrices=False)
    levelled = quintic(values / np.linalg.norm(values), 5)
    found = orthogonalise(matrix, 5, torch.float32).numpy()
    np.testing.assert_allclose(found, (u * levelled) @ vt, atol=2e-5)
    # Published: five steps bring a singular value to 0.7..1.2; smallest ones of the start less.
    assert levelled[values > 0.02 * values.max()].min() > 0.65
    assert levelled.max() < 1.25
    rough = orthogonalise(matrix, 5, torch.bfloat16).float().numpy()
    np.testing.assert_allclose(rough, found, atol=0.05)


def test_more_steps_do_not_reach_one_but_keep_the_direction() -> None:
    """The nearest orthogonal matrix is U V^T; the update's angle to it is small."""
    matrix = random(48, 32)
    u, _, vt = np.linalg.svd(matrix.numpy(), full_matrices=False)
    found = orthogonalise(matrix, 5, torch.float32).numpy()
    cosine = np.sum(found * (u @ vt)) / np.linalg.norm(found) / np.linalg.norm(u @ vt)
    assert cosine > 0.98


def test_a_zero_matrix_stays_zero() -> None:
    assert not orthogonalise(torch.zeros(4, 6), 5, torch.bfloat16).any()


def test_sixteen_bits_make_much_of_the_last_bit_of_a_gradient_and_float32_does_not() -> None:
    """Why ranks, which add gradients up in another order, are given float32 on a CPU."""
    matrix = random(256, 128)
    nudged = matrix * (1 + 1e-6 * random(256, 128, seed=1))

    def difference(precision: torch.dtype) -> float:
        first, second = (orthogonalise(m, 5, precision).float() for m in (matrix, nudged))
        return float((first - second).norm() / first.norm())

    assert difference(torch.float32) < 1e-4
    assert difference(torch.bfloat16) > 1e-3


def test_a_cpu_iterates_in_float32_whatever_a_gpu_would() -> None:
    ours, expected = Llama(MODEL).initialise(3), Llama(MODEL).initialise(3)
    exact = OptimizerConfig(name="muon", newton_schulz_precision="float32")
    for model, config in ((ours, OptimizerConfig(name="muon")), (expected, exact)):
        optimizer = build(config, model)
        loss = model.loss(chain(0)[:, :-1], chain(0)[:, 1:])
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
    assert all(map(torch.equal, ours.parameters(), expected.parameters()))


@pytest.mark.parametrize("shape", [(256, 64), (64, 256), (128, 128)])
def test_updates_are_as_large_as_published(shape: tuple[int, int]) -> None:
    """Moonshot: an orthogonal update of root mean square 1 / sqrt(max) becomes 0.2."""
    exact = torch.linalg.svd(random(*shape), full_matrices=False)
    orthogonal = exact[0] @ exact[2]
    rms = orthogonal.square().mean().sqrt().item()
    assert rms == pytest.approx(1 / math.sqrt(max(shape)), rel=1e-3)
    assert rms * factor(torch.Size(shape), "rms") == pytest.approx(0.2, rel=1e-3)
    spectral = torch.linalg.matrix_norm(orthogonal, 2).item() * factor(torch.Size(shape), "aspect")
    assert spectral == pytest.approx(math.sqrt(max(1, shape[0] / shape[1])), rel=1e-3)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize(("scale", "theirs"), [("rms", "match_rms_adamw"), ("aspect", "original")])
def test_matrices_move_as_in_torch_bit_for_bit(nesterov: bool, scale: Any, theirs: str) -> None:
    ours = [nn.Parameter(random(*shape, seed=n)) for n, shape in enumerate(SHAPES)]
    expected = copy.deepcopy(ours)
    optimizer = Muon(
        [{"params": ours, "rule": "muon"}], lr=0.02, nesterov=nesterov, scale=scale, momentum=0.9
    )
    peer = torch.optim.Muon(
        expected, lr=0.02, nesterov=nesterov, adjust_lr_fn=theirs, momentum=0.9, weight_decay=0.1
    )
    for step in range(4):
        for number, (mine, other) in enumerate(zip(ours, expected, strict=True)):
            mine.grad = random(*mine.shape, seed=100 * step + number)
            other.grad = mine.grad.clone()
        optimizer.step()
        peer.step()
    for mine, other in zip(ours, expected, strict=True):
        assert torch.equal(mine, other)


def test_the_rest_moves_as_with_adamw_bit_for_bit() -> None:
    ours = [nn.Parameter(random(5, 3)), nn.Parameter(random(7, seed=1))]
    expected = copy.deepcopy(ours)
    settings: dict[str, Any] = {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.3}
    optimizer = Muon([{"params": ours}], **settings)
    peer = torch.optim.AdamW(expected, fused=True, **settings)
    for step in range(4):
        for mine, other in zip(ours, expected, strict=True):
            mine.grad = random(*mine.shape, seed=step)
            other.grad = mine.grad.clone()
        optimizer.step()
        peer.step()
    for mine, other in zip(ours, expected, strict=True):
        assert torch.equal(mine, other)
        for key, value in peer.state[other].items():
            assert torch.equal(optimizer.state[mine][key], value)


def test_a_weight_without_a_gradient_stays_and_others_are_refused() -> None:
    weight = nn.Parameter(random(3, 4))
    optimizer = Muon([{"params": [weight], "rule": "muon"}])
    before = weight.detach().clone()
    assert optimizer.step(lambda: 1.5) == 1.5
    assert torch.equal(weight, before)
    with pytest.raises(ValueError, match=r"for matrices, not for \[4\]"):
        Muon([{"params": [nn.Parameter(torch.zeros(4))], "rule": "muon"}])


def chain(seed: int) -> Tensor:
    """[16, 26]: sequences in which two symbols of 16 tell the next one, nine times of ten."""
    table = torch.randint(16, (16, 16), generator=torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(16, (16, 26), generator=generator)
    for place in range(2, 26):
        told = torch.rand(16, generator=generator) < 0.9
        by_table = table[tokens[:, place - 2], tokens[:, place - 1]]
        tokens[:, place] = torch.where(told, by_table, tokens[:, place])
    return tokens


def trained(config: OptimizerConfig, steps: int) -> tuple[Llama, list[float]]:
    """A tiny Llama after some steps on such sequences, and its loss at each."""
    model = Llama(MODEL).initialise(3)
    optimizer = build(config, model)
    losses = []
    for step in range(steps):
        tokens = chain(step)
        loss = model.loss(tokens[:, :-1], tokens[:, 1:])
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        set_learning_rate(optimizer, 1e-2 * min(1, (step + 1) / 20))
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return model, losses


def test_a_tiny_model_learns_faster_than_with_adamw() -> None:
    """At one learning rate for both, which is what the factor `rms` is for."""
    _, muon = trained(OptimizerConfig(name="muon"), 80)
    _, adamw = trained(OptimizerConfig(), 80)
    assert muon[0] == adamw[0]
    assert np.mean(muon[-20:]) < np.mean(adamw[-20:]) < adamw[0]


def test_the_same_bits_each_time() -> None:
    config = OptimizerConfig(name="muon")
    first, second = (trained(config, 4)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_state_saved_by_distributed_checkpoint_goes_on_in_the_same_bits(tmp_path: Path) -> None:
    def stepped(model: Llama, optimizer: torch.optim.Optimizer, seeds: range) -> None:
        for seed in seeds:
            for number, weight in enumerate(model.parameters()):
                weight.grad = random(*weight.shape, seed=1000 * seed + number)
            set_learning_rate(optimizer, 1e-2)
            optimizer.step()

    config = OptimizerConfig(name="muon", muon_rate=2.0)
    whole = Llama(MODEL).initialise(1)
    stepped(whole, build(config, whole), range(6))

    begun = Llama(MODEL).initialise(1)
    optimizer = build(config, begun)
    stepped(begun, optimizer, range(3))
    state = {"optimizer": get_optimizer_state_dict(begun, optimizer)}
    save(state, storage_writer=FileSystemWriter(tmp_path), no_dist=True)

    other = Llama(MODEL).initialise(1)
    other.load_state_dict(begun.state_dict())
    again = build(config, other)
    state = {"optimizer": get_optimizer_state_dict(other, again)}
    load(state, storage_reader=FileSystemReader(tmp_path), no_dist=True)
    set_optimizer_state_dict(other, again, state["optimizer"])
    stepped(other, again, range(3, 6))
    expected = whole.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in other.state_dict().items())


def sharded_steps(rank: int, ranks: int, folder: Path) -> None:
    """Two steps of a model that FSDP2 spreads over the ranks; rank 0 saves the whole weights."""
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    model = Llama(MODEL).initialise(1)
    shapes = {name: weight.shape for name, weight in model.named_parameters()}
    mesh = init_device_mesh("cpu", (ranks,))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = build(OptimizerConfig(name="muon"), model)
    for step in range(2):
        for number, (name, weight) in enumerate(model.named_parameters()):
            gradient = random(*shapes[name], seed=100 * step + number)
            assert isinstance(weight, DTensor)
            weight.grad = distribute_tensor(gradient, mesh, weight.placements)
        set_learning_rate(optimizer, 1e-2)
        optimizer.step()
    weights = {
        name: weight.full_tensor()
        for name, weight in model.named_parameters()
        if isinstance(weight, DTensor)
    }
    if rank == 0:
        torch.save(weights, folder / "weights.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_shards_move_as_the_whole_does_bit_for_bit(tmp_path: Path) -> None:
    # Two ranks: the 47 rows of the feed-forward matrices do not divide evenly.
    ranks = [
        subprocess.Popen([sys.executable, __file__, str(rank), "2", str(tmp_path)])
        for rank in range(2)
    ]
    assert [rank.wait(timeout=600) for rank in ranks] == [0, 0]
    model = Llama(MODEL).initialise(1)
    optimizer = build(OptimizerConfig(name="muon"), model)
    for step in range(2):
        for number, weight in enumerate(model.parameters()):
            weight.grad = random(*weight.shape, seed=100 * step + number)
        set_learning_rate(optimizer, 1e-2)
        optimizer.step()
    found = torch.load(tmp_path / "weights.pt")
    for name, weight in model.named_parameters():
        assert torch.equal(found.pop(name), weight), name
    assert not found


if __name__ == "__main__":
    sharded_steps(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
