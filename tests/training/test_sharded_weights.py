"""Weights of sharded models on real ranks over gloo: the bits of one process, from the seed and
from files, and back into files, with no more than a few weights whole in memory at any time.

`torchrun test_sharded_weights.py FOLDER` is what each rank runs.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from firnline.batch import Batch
from firnline.model import checkpoint
from firnline.model.config import ModelConfig, parameter_count
from firnline.model.llama import Llama
from firnline.model.shards import local
from firnline.model.tensor_files import TensorFiles, write_tensors
from firnline.training.averaging import AveragingConfig
from firnline.training.distributed import join
from firnline.training.loop import average
from firnline.training.parallel import parallelise
from firnline.training.phase import PhaseConfig
from firnline.training.schedule import Schedule
from firnline.training.stage import run
from firnline.training.state_files import begin

LLAMA = ModelConfig(
    vocabulary_size=61, hidden=32, ffn_hidden=47, layers=12, heads=4, kv_heads=2, context=32
)
# Neighbouring elements turn, gains have a row for each of 3 heads, queries 24 rows: four ranks
# cut heads in two, and the last has no row of the gains.
COHERE = ModelConfig(
    vocabulary_size=53,
    hidden=24,
    ffn_hidden=40,
    layers=2,
    heads=3,
    kv_heads=3,
    context=16,
    tied=True,
    norm="layer",
    parallel=True,
    query_key_norm="heads",
)
SEED = 7
FILE_BYTES = 40_000  # for several files


class Allocated(TorchDispatchMode):
    """The most bytes of memory that tensors of this process had at once."""

    def __init__(self) -> None:
        self.peak = 0
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def __enter__(self) -> Allocated:
        self.storages: dict[int, tuple[Any, int]] = {}
        super().__enter__()  # type: ignore[no-untyped-call]  # as above
        return self

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        out = function(*arguments, **(keywords or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and not tensor.is_meta:
                storage = local(tensor).untyped_storage()
                held = StorageWeakRef(storage)  # type: ignore[no-untyped-call]  # as above
                self.storages[storage._cdata] = (held, storage.nbytes())
        self.storages = {
            key: (held, size) for key, (held, size) in self.storages.items() if not held.expired()
        }
        self.peak = max(self.peak, sum(size for _, size in self.storages.values()))
        return out


def phase(ranks: int, **changes: Any) -> PhaseConfig:
    settings: dict[str, Any] = {
        "name": "sharded",
        "seed": SEED,
        "tokens": 16 * ranks,
        "sequence_length": 16,
        "batch_sequences": ranks,
        "schedule": Schedule(kind="constant", peak=1e-30),  # moves no bit of a weight
        "device": "cpu",
        "rank_timeout_seconds": 300,
    }
    return PhaseConfig.model_validate(settings | changes)


class Stop(Exception):
    """Ends a phase before its first step."""


class Zeros:
    """Samples of zeros; the first may be stopped at."""

    def __init__(self, stop: bool = False) -> None:
        self.stop = stop

    def batch(self, start: int, count: int) -> Batch:
        if self.stop:
            raise Stop
        return Batch(np.zeros((count, 17), np.int64), None)

    def epochs(self, samples: int) -> dict[str, float]:
        return {"zeros": float(samples)}


def train(folder: Path, ranks: int, init: Path | None = None, *, stop: bool = False) -> Path:
    """The checkpoint of a phase whose steps change nothing."""
    folder.mkdir(exist_ok=True)
    rank = os.environ.get("RANK", "0")
    tokenizer = folder / f"tokenizer-{rank}.json"
    tokenizer.write_text(json.dumps({"model": {"vocab": {"a": 0}}}))
    run(
        phase(ranks),
        LLAMA,
        Zeros(stop),
        folder / "out",
        inputs={"tokens": "zeros"},
        tokenizer_file=tokenizer,
        init=init,
        workers=1,
    )
    return folder / "out" / "checkpoint"


def changed(shape: ModelConfig) -> Llama:
    """A model whose gains are not all one."""
    model = Llama(shape).initialise(SEED)
    generator = torch.Generator().manual_seed(1)
    for weight in model.parameters():
        weight.data.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
    return model


def main(folder: Path) -> None:
    """What each rank does; the first leaves files that the tests compare."""
    ranks = join("cpu", 60)
    out = folder / f"ranks-{ranks.count}"

    def sharded(shape: ModelConfig, shards: int | None = None) -> Llama:
        model = checkpoint.blank(shape)
        parallelise(model, phase(ranks.count, shard_ranks=shards), ranks)
        assert all(isinstance(weight, DTensor) for weight in model.parameters())
        return model

    for name, shape in (("llama", LLAMA), ("cohere", COHERE)):
        checkpoint.save(sharded(shape).initialise(SEED), out / f"seed-{name}")
        model = sharded(shape)
        checkpoint.load_into(model, folder / f"{name}-files")
        checkpoint.save(model, out / f"{name}-one")
        checkpoint.save(model, out / f"{name}-files", shard_bytes=FILE_BYTES)
        checkpoint.save(model, out / f"{name}-half", dtype=torch.bfloat16)
    if ranks.count == 4:  # two copies of two shards
        model = sharded(LLAMA, shards=2)
        checkpoint.load_into(model, folder / "llama-files")
        checkpoint.save(model, out / "llama-hybrid")
    train(folder / f"trained-{ranks.count}", ranks.count)

    states = [out / "state-1", out / "state-2"]
    for seed, state in enumerate(states, 1):
        named = sharded(LLAMA).initialise(seed).named_parameters()
        tensors = {f"model.{name}": weight.detach() for name, weight in named}
        begin(state, tensors, ranks).result()
    model = sharded(LLAMA).initialise(3)
    average(AveragingConfig(last=3), states, model)
    checkpoint.save(model, out / "averaged")

    # Bytes, counted on each rank: a phase until its first step, and the saving.
    peaks = {}
    for init in (None, folder / "llama-files"):
        with Allocated() as allocated, pytest.raises(Stop):
            train(folder / f"stopped-{init is None}-{ranks.count}", ranks.count, init, stop=True)
        peaks["file" if init else "seed"] = allocated.peak
    model = sharded(LLAMA).initialise(SEED)
    with Allocated() as allocated:
        checkpoint.save(model, out / "counted")
        for weight in model.parameters():  # count the shards too, which were there before
            local(weight).view(-1)
    peaks["save"] = allocated.peak
    (folder / f"peaks-{ranks.count}-{ranks.rank}.json").write_text(json.dumps(peaks))


@pytest.fixture(scope="module", params=[2, 4])
def ranks(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def folder(ranks: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process wrote, and beside it what `ranks` processes did."""
    folder = tmp_path_factory.mktemp(f"ranks-{ranks}")
    for name, shape in (("llama", LLAMA), ("cohere", COHERE)):
        checkpoint.save(Llama(shape).initialise(SEED), folder / f"seed-{name}")
        checkpoint.save(changed(shape), folder / f"{name}-one")
        checkpoint.save(changed(shape), folder / f"{name}-files", shard_bytes=FILE_BYTES)
        checkpoint.save(changed(shape), folder / f"{name}-half", dtype=torch.bfloat16)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command = [sys.executable, *launch, __file__, str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_are_drawn_read_and_written_as_the_whole_is(folder: Path, ranks: int) -> None:
    out = folder / f"ranks-{ranks}"
    for name in ("llama", "cohere"):
        for kind in (f"seed-{name}", f"{name}-one", f"{name}-files", f"{name}-half"):
            assert files(out / kind) == files(folder / kind), kind
        assert len(files(out / f"{name}-files")) > 3  # config, index and several of weights
    if ranks == 4:
        assert files(out / "llama-hybrid") == files(folder / "llama-one")


def test_a_phase_on_ranks_begins_and_ends_as_alone(
    folder: Path, ranks: int, tmp_path: Path
) -> None:
    """Weights, and what stands beside them; the phases differ in their batch alone."""
    alone = train(tmp_path, ranks)
    assert files(folder / f"trained-{ranks}" / "out" / "checkpoint") == files(alone)
    assert files(alone)["model.safetensors"] == files(folder / "seed-llama")["model.safetensors"]


def test_no_rank_ever_holds_the_whole_model(folder: Path, ranks: int) -> None:
    """Its shards and a few weights: one that is drawn or gathered, copies on its way to a file."""
    weights = list(Llama(LLAMA).parameters())
    whole, largest = 4 * parameter_count(LLAMA), 4 * max(weight.numel() for weight in weights)
    uneven = 4 * sum(weight[0].numel() for weight in weights)  # a row more of each for some ranks
    assert whole > 40 * largest
    for rank in range(ranks):
        peaks = json.loads((folder / f"peaks-{ranks}-{rank}.json").read_text())
        for what, peak in peaks.items():
            assert whole / ranks < peak + uneven, what  # the count sees the shards
            assert peak < whole / ranks + uneven + 4 * largest, what
            assert peak < 0.75 * whole, what


def test_each_rank_averages_its_own_rows(folder: Path, ranks: int) -> None:
    models = [Llama(LLAMA).initialise(seed).state_dict() for seed in (1, 2, 3)]
    for name, found in load_file(folder / f"ranks-{ranks}/averaged/model.safetensors").items():
        expected = sum(model[name].double() for model in models) / 3
        torch.testing.assert_close(found.double(), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("shape", [LLAMA, COHERE])
def test_initial_weights_are_those_of_the_formula(shape: ModelConfig) -> None:
    """One generator, each matrix filled in place: what every checkpoint so far began with."""
    generator = torch.Generator().manual_seed(SEED)
    for name, weight in Llama(shape).initialise(SEED).named_parameters():
        expected = torch.empty_like(weight, requires_grad=False)
        if "norm." in name:
            expected.fill_(1.0)
        elif name.endswith(("o_proj.weight", "down_proj.weight")):
            expected.normal_(0.0, 0.02 / math.sqrt(2 * shape.layers), generator=generator)
        else:
            expected.normal_(0.0, 0.02, generator=generator)
        assert torch.equal(weight, expected), name


FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
OTHERS = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]


def test_files_are_safetensors_own_byte_for_byte(tmp_path: Path) -> None:
    tensors = {
        f'é "{number}.{rows}"': torch.arange(5 * rows).view(rows, 5).to(dtype)
        for number, dtype in enumerate(FLOATS + OTHERS)
        for rows in (0, 1, 3)
    } | {"scalar": torch.tensor(2.5), "turned": torch.arange(6.0).view(2, 3).T}
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        tmp_path / "theirs",
        metadata={"format": "pt"},
    )
    write_tensors(tmp_path / "ours", tensors)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    found = TensorFiles([tmp_path / "ours"])
    for name, tensor in load_file(tmp_path / "ours").items():
        assert found.shapes[name] == tensor.shape
        if tensor.dim():
            assert torch.equal(found.rows(name, slice(1, 3)), tensor[1:3])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
