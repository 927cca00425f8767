"""The Llama module and its checkpoints against transformers; the cache against no cache."""

from __future__ import annotations

import itertools
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from firnline.errors import FirnlineError
from firnline.model import checkpoint
from firnline.model.config import ModelConfig
from firnline.model.llama import KVCache, Llama

transformers = pytest.importorskip("transformers", reason="install the extra: firnline[hf]")

VARIANTS = list(itertools.product((True, False), (4, 2, 1)))


def small(*, tied: bool = True, kv_heads: int = 2) -> ModelConfig:
    return ModelConfig(
        vocabulary_size=97,
        hidden=48,
        ffn_hidden=80,
        layers=3,
        heads=4,
        kv_heads=kv_heads,
        context=64,
        rope_theta=50_000.0,
        tied=tied,
        norm_epsilon=1e-5,
    )


def wide(config: ModelConfig, seed: int = 1) -> Llama:
    """Weights well beyond the initial ones, so that every part of the model matters."""
    model = Llama(config).initialise(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.empty_like(weight).normal_(0, 0.1, generator=generator)
            weight.mul_(4 if weight.dim() > 1 else 1).add_(noise)
    return model


def tokens(batch: int, length: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 97, (batch, length), generator=generator)


@pytest.mark.parametrize(("tied", "kv_heads"), VARIANTS)
def test_export_gives_transformers_our_logits_loss_and_gradients(
    tied: bool, kv_heads: int, tmp_path: Path
) -> None:
    ours = wide(small(tied=tied, kv_heads=kv_heads))
    checkpoint.save(ours, tmp_path, {"step": 3})
    theirs, report = transformers.LlamaForCausalLM.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    batch = tokens(2, 41)
    inputs, targets = batch[:, :-1], batch[:, 1:].clone()
    targets[1, 7:12] = -100
    logits = theirs(inputs).logits
    assert logits.std() > 0.5
    assert (ours(inputs) - logits).abs().max() <= 1e-4
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    loss = ours.loss(inputs, targets)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    expected.backward()
    loss.backward()
    gradients = {name: weight.grad for name, weight in theirs.named_parameters()}
    for name, weight in ours.named_parameters():
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, gradients[name], atol=1e-5, rtol=1e-4)
    assert json.loads((tmp_path / "training.json").read_text()) == {"step": 3}


@pytest.mark.parametrize(("tied", "kv_heads"), VARIANTS)
def test_import_of_what_transformers_saves(tied: bool, kv_heads: int, tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=97,
            hidden_size=48,
            intermediate_size=80,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=kv_heads,
            max_position_embeddings=64,
            rope_parameters={"rope_type": "default", "rope_theta": 20_000.0},
            tie_word_embeddings=tied,
            initializer_range=0.2,
        )
    ).eval()
    theirs.save_pretrained(tmp_path)
    ours = checkpoint.load(tmp_path)
    assert ours.config.rope_theta == 20_000.0
    batch = tokens(3, 50)
    logits = theirs(batch).logits
    assert logits.std() > 0.5
    assert (ours(batch) - logits).abs().max() <= 1e-4


def test_a_saved_model_loads_as_it_was(tmp_path: Path) -> None:
    model = wide(small())
    checkpoint.save(model, tmp_path)
    again = checkpoint.load(tmp_path)
    assert again.config == model.config
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert (tmp_path / "model.safetensors").stat().st_mode == (
        (tmp_path / "config.json").stat().st_mode
    )


def test_the_seed_decides_the_initial_weights() -> None:
    first, same, other = (Llama(small()).initialise(seed) for seed in (7, 7, 8))
    for one, two, three in zip(
        first.parameters(), same.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(one, two)
        assert one.dim() == 1 or not torch.equal(one, three)
    weights = dict(first.named_parameters())
    assert weights["model.layers.0.mlp.up_proj.weight"].std().item() == pytest.approx(0.02, rel=0.1)
    scaled = weights["model.layers.0.mlp.down_proj.weight"].std().item()
    assert scaled == pytest.approx(0.02 / 6**0.5, rel=0.1)


def test_token_losses_are_cross_entropies() -> None:
    model = wide(small(tied=False))
    batch = tokens(2, 30)
    inputs, targets = batch[:, :-1], batch[:, 1:].clone()
    targets[0, :4] = -100
    expected = F.cross_entropy(
        model(inputs).flatten(0, 1), targets.flatten(), reduction="none"
    ).view(2, 29)
    found = model.token_losses(inputs, targets)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert (found[0, :4] == 0).all()
    with torch.no_grad():
        mean = model.loss(inputs, targets)
    assert mean.item() == pytest.approx(found.sum().item() / (58 - 4), rel=1e-5)


def test_nothing_to_predict_is_a_loss_of_zero() -> None:
    model = wide(small())
    loss = model.loss(tokens(1, 5), torch.full((1, 5), -100))
    loss.backward()
    assert loss.item() == 0
    assert all((weight.grad == 0).all() for weight in model.parameters())


def greedy(model: nn.Module, prompt: list[int], count: int) -> list[int]:
    row = list(prompt)
    for _ in range(count):
        row.append(int(model(torch.tensor([row]))[0, -1].argmax()))
    return row[len(prompt) :]


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_batched_decoding_equals_one_by_one_without_a_cache(kv_heads: int) -> None:
    model = wide(small(kv_heads=kv_heads))
    prompts = [tokens(1, length, seed=length)[0].tolist() for length in (3, 17, 1, 9)]
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    padded = torch.full((4, 17), 6)
    for row, prompt in enumerate(prompts):
        padded[row, : len(prompt)] = torch.tensor(prompt)
    with torch.inference_mode():
        expected = [greedy(model, prompt, 12) for prompt in prompts]
        cache = KVCache(model.config, 4, capacity=29)
        logits = model(padded, cache)
        torch.testing.assert_close(logits, model(padded), atol=1e-5, rtol=1e-4)
        cache.lengths = lengths
        token = logits[torch.arange(4), lengths - 1].argmax(-1)
        found = [[int(t)] for t in token]
        rows = torch.tensor([0, 1, 2, 3])
        for step in range(11):
            if step == 5:  # two rows are finished
                keep = torch.tensor([2, 0])
                cache.keep(keep)
                rows, token = rows[keep], token[keep]
            token = model(token[:, None], cache)[:, -1].argmax(-1)
            for row, value in zip(rows.tolist(), token.tolist(), strict=True):
                found[row].append(value)
    assert [found[0], found[2]] == [expected[0], expected[2]]
    assert [found[1], found[3]] == [expected[1][:6], expected[3][:6]]


def test_several_tokens_at_once_continue_a_cache() -> None:
    model = wide(small())
    batch = tokens(2, 20)
    with torch.inference_mode():
        cache = KVCache(model.config, 2, capacity=20)
        parts = [model(batch[:, start : start + 5], cache) for start in (0, 5, 10, 15)]
        torch.testing.assert_close(torch.cat(parts, 1), model(batch), atol=1e-5, rtol=1e-4)
        with pytest.raises(ValueError, match="cannot hold 21"):
            model(batch[:, :1], cache)


def spoil(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in (config | changes).items() if v != "absent"}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2', not one of llama, mistral, qwen2"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', only 'silu'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_type is 'yarn'"),
        ({"rope_scaling": {"type": "linear"}}, "factor of RoPE is missing"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8}}, "low_freq_factor of RoPE is mis"),
        ({"rope_scaling": "linear"}, "parameters of RoPE are 'linear', not a mapping"),
        ({"num_hidden_layers": "two"}, "layers Input should be a valid integer"),
        ({"rope_scaling": {"factor": 8.0}}, "factor of RoPE is 8.0, which is not supported"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "rope_scaling.factor Input should be"),
        ({"partial_rotary_factor": 0.5}, r"partial_rotary_factor \(0.5\) is not known and may"),
        ({"quantization_config": {"bits": 4}}, "quantization_config .* is not known"),
        ({"attention_dropout": 0.1}, "attention_dropout is 0.1"),
        ({"head_dim": 64}, r"\[48, 48\], config.json makes it \[256, 48\]"),
        ({"hidden_size": "absent"}, "hidden_size is missing"),
        ({"num_key_value_heads": 3}, "must divide heads"),
        ({"vocab_size": 98}, r"\[97, 48\], config.json makes it \[98, 48\]"),
        ({"num_hidden_layers": 4}, "layers.3.* is missing and 8 more"),
        ({"num_hidden_layers": 2}, "is not part of the model and 8 more"),
    ],
)
def test_a_foreign_checkpoint_is_refused_in_one_line(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    checkpoint.save(wide(small()), tmp_path)
    spoil(tmp_path, **changes)
    with pytest.raises(FirnlineError, match=words) as caught:
        checkpoint.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("kept", [0, 7, 100, 3000, -1])
def test_a_cut_file_is_refused_in_one_line(kept: int, tmp_path: Path) -> None:
    checkpoint.save(wide(small()), tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FirnlineError, match="cut short or is not safetensors") as caught:
        checkpoint.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(FirnlineError, match=r"has no config\.json"):
        checkpoint.load(tmp_path)
    checkpoint.save(wide(small()), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", 2**40) + b"{}")
    with pytest.raises(FirnlineError, match="not safetensors"):
        checkpoint.load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FirnlineError, match=r"no such file: .*model\.safetensors"):
        checkpoint.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "lla')
    with pytest.raises(FirnlineError, match="cannot be read"):
        checkpoint.load(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(FirnlineError, match="model_type is 'list', not one of"):
        checkpoint.load(tmp_path)
