"""Which weights an optimizer moves how, and AdamW against torch's own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from firnline.model.config import ModelConfig
from firnline.model.llama import Llama
from firnline.training.muon import Muon
from firnline.training.optimizer import (
    OptimizerConfig,
    build,
    set_learning_rate,
    weight_kinds,
)

SHAPE: dict[str, Any] = {
    "vocabulary_size": 61,
    "hidden": 32,
    "ffn_hidden": 48,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "context": 32,
}


def names(model: nn.Module) -> dict[str, set[str]]:
    """The names of a model's weights by kind."""
    by_id = {id(weight): name for name, weight in model.named_parameters()}
    found = weight_kinds(model)._asdict().items()
    return {kind: {by_id[id(weight)] for weight in some} for kind, some in found}


@pytest.mark.parametrize("tied", [True, False])
def test_weights_of_a_llama(tied: bool) -> None:
    model = Llama(ModelConfig(**SHAPE, tied=tied)).initialise(0)
    found = names(model)
    assert found["outer"] == {"model.embed_tokens.weight"} | (set() if tied else {"lm_head.weight"})
    assert len(found["hidden"]) == 2 * 7  # q, k, v, o, gate, up, down
    assert found["vectors"] == {n for n, w in model.named_parameters() if w.dim() == 1}
    assert sum(map(len, found.values())) == len(list(model.parameters()))


def test_gains_of_any_shape_and_frozen_weights() -> None:
    class HeadNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 8))  # a gain for each head

    model = nn.Sequential(nn.Embedding(5, 8), HeadNorm(), nn.Linear(8, 3), nn.Linear(3, 3))
    model[3].requires_grad_(False)
    found = names(model)
    assert found == {
        "hidden": {"2.weight"},
        "outer": {"0.weight"},
        "vectors": {"1.weight", "2.bias"},
    }


@pytest.mark.parametrize("family", ["T5", "Bert"])
def test_weights_of_models_of_transformers(family: str) -> None:
    transformers = pytest.importorskip("transformers", reason="install the extra: firnline[hf]")
    if family == "T5":
        config = transformers.T5Config(
            vocab_size=50, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2
        )
        model = transformers.T5ForConditionalGeneration(config)
    else:
        config = transformers.BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=24,
        )
        model = transformers.BertForMaskedLM(config)
    found = names(model)
    assert all(dict(model.named_parameters())[name].dim() == 2 for name in found["hidden"])
    assert not any("embed" in name or "shared" in name for name in found["hidden"])
    lookups = ("shared", "embed", "relative_attention_bias", "lm_head", "decoder.weight")
    assert all(any(word in name for word in lookups) for name in found["outer"])
    assert all(dict(model.named_parameters())[name].dim() == 1 for name in found["vectors"])
    assert sum(map(len, found.values())) == len(list(model.parameters()))


def test_adamw_is_torchs_with_decay_on_matrices_alone() -> None:
    model = Llama(ModelConfig(**SHAPE)).initialise(1)
    peer = Llama(ModelConfig(**SHAPE)).initialise(1)
    config = OptimizerConfig(beta1=0.8, beta2=0.9, epsilon=1e-6, weight_decay=0.2)
    optimizer = build(config, model)
    groups = [
        {"params": [w for w in peer.parameters() if w.dim() == 2], "weight_decay": 0.2},
        {"params": [w for w in peer.parameters() if w.dim() == 1], "weight_decay": 0.0},
    ]
    expected = torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.9), eps=1e-6, fused=True)
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        for mine, other in zip(model.parameters(), peer.parameters(), strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            other.grad = mine.grad.clone()
        set_learning_rate(optimizer, 0.01)
        optimizer.step()
        expected.step()
    for mine, other in zip(model.parameters(), peer.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_one_schedule_scales_both_rates_of_muon() -> None:
    model = Llama(ModelConfig(**SHAPE)).initialise(1)
    optimizer = build(OptimizerConfig(name="muon", muon_rate=30.0, weight_decay=0.3), model)
    assert isinstance(optimizer, Muon)
    set_learning_rate(optimizer, 1e-3)
    found = [
        (len(group["params"]), group["rule"], group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
    ]
    assert found == [(14, "muon", 0.03, 0.3), (1, "adamw", 1e-3, 0.3), (5, "adamw", 1e-3, 0.0)]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "adam"}, "name"),
        ({"beta1": 1.0}, "beta1"),
        ({"momentum": 0.8}, "momentum has no meaning with adamw"),
        ({"update_scale": "aspect"}, "update_scale has no meaning"),
        ({"name": "muon", "newton_schulz_steps": 0}, "newton_schulz_steps"),
        ({"name": "muon", "update_scale": "spectral"}, "update_scale"),
        ({"name": "muon", "lr": 0.02}, "lr"),
    ],
)
def test_meaningless_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        OptimizerConfig.model_validate(settings)


def test_a_config_can_be_read_without_torch() -> None:
    modules = ("optimizer", "schedule", "batch_warmup", "averaging", "spikes", "speed", "tracking")
    imports = "; ".join(f"import firnline.training.{name}" for name in modules)
    check = f"import sys; {imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], timeout=600).returncode == 0
