"""Model shapes: parameter counts and FLOPs against a built model and published figures."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from firnline.model.config import ModelConfig, flops_per_token, parameter_count
from firnline.model.llama import Llama
from firnline.model.presets import PRESETS

SHAPE = {
    "vocabulary_size": 64,
    "hidden": 32,
    "ffn_hidden": 48,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "context": 32,
}


def built(config: ModelConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Llama(config).parameters())


@given(
    vocabulary_size=st.integers(2, 500),
    group=st.integers(1, 3),
    kv_heads=st.integers(1, 3),
    half_head=st.integers(1, 9),
    ffn_hidden=st.integers(1, 90),
    layers=st.integers(1, 4),
    tied=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_the_closed_form_counts_what_is_built(
    vocabulary_size: int,
    group: int,
    kv_heads: int,
    half_head: int,
    ffn_hidden: int,
    layers: int,
    tied: bool,
) -> None:
    heads = group * kv_heads
    config = ModelConfig(
        vocabulary_size=vocabulary_size,
        hidden=heads * 2 * half_head,
        ffn_hidden=ffn_hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        context=16,
        tied=tied,
    )
    assert parameter_count(config) == built(config)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_to_its_count(name: str) -> None:
    assert parameter_count(PRESETS[name]) == built(PRESETS[name])


def test_arctic_snowcoder_has_the_papers_size() -> None:
    # Table 1: hidden 2048, FFN 5632, 24 layers, vocabulary 64,000, tied; written out by hand.
    layer = 4 * 2048 * 2048 + 3 * 2048 * 5632 + 2 * 2048
    config = PRESETS["arctic-snowcoder-1.3b"]
    assert parameter_count(config) == 24 * layer + 2048 + 64_000 * 2048
    assert round(parameter_count(config) / 1e9, 1) == 1.4  # the paper rounds 1.364 to 1.3


def test_llama_2_7b_has_its_published_count() -> None:
    config = ModelConfig(
        vocabulary_size=32_000,
        hidden=4096,
        ffn_hidden=11_008,
        layers=32,
        heads=32,
        kv_heads=32,
        context=4096,
        tied=False,
    )
    assert parameter_count(config) == 6_738_415_616


def test_flops_in_both_conventions() -> None:
    config = PRESETS["arctic-snowcoder-1.3b"]
    full, causal = flops_per_token(config, 8192)
    attention = 12 * 24 * 2048 * 8192
    assert full == 6 * parameter_count(config) + attention
    assert full - causal == attention // 2
    free = config.model_copy(update={"tied": False})
    assert parameter_count(free) > parameter_count(config)
    assert flops_per_token(free, 8192) == (full, causal)  # a lookup costs nothing


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"heads": 3, "kv_heads": 1}, r"hidden \(32\) must be an even multiple of heads \(3\)"),
        ({"heads": 32, "kv_heads": 32}, "even multiple"),
        ({"kv_heads": 3}, r"kv_heads \(3\) must divide heads \(4\)"),
        ({"layers": 0}, "layers"),
        ({"depth": 3}, "depth"),
    ],
)
def test_an_impossible_shape_is_refused(change: dict[str, int], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ModelConfig.model_validate(SHAPE | change)


def test_a_plan_needs_no_torch() -> None:
    code = (
        "import sys, firnline.model.presets, firnline.training.stage; assert 'torch' not in "
        "sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
