"""Model shapes: parameter counts and FLOPs against a built model and published figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from firnline.model.config import ModelConfig, flops_per_token, parameter_count
from firnline.model.counts import gpt_oss, gpt_oss_flops_per_token, parameter_table
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


# Parameters of the weights on huggingface.co, as the metadata of their safetensors files sums them.
PUBLISHED = {
    "llama-3-8b": 8_030_261_248,  # meta-llama/Meta-Llama-3-8B
    "llama-3-70b": 70_553_706_496,  # meta-llama/Meta-Llama-3-70B
    "llama-3-405b": 405_853_388_800,  # meta-llama/Llama-3.1-405B
    "deepseek-coder-1.3b": 1_346_471_936,  # deepseek-ai/deepseek-coder-1.3b-base
    "deepseek-coder-6.7b": 6_740_512_768,  # deepseek-ai/deepseek-coder-6.7b-base
    "deepseek-coder-33b": 33_342_991_360,  # deepseek-ai/deepseek-coder-33b-base
    "gemma-2-2b": 2_614_341_888,  # google/gemma-2-2b
    "gemma-2-9b": 9_241_705_984,  # google/gemma-2-9b
    "gemma-2-27b": 27_227_128_320,  # google/gemma-2-27b
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_their_published_counts(name: str) -> None:
    assert parameter_count(PRESETS[name]) == built(PRESETS[name]) == PUBLISHED[name]


@pytest.mark.parametrize(
    ("name", "rounded", "step"),
    [
        ("to-code-470m", 470_000_000, 10_000_000),  # section 2.3 of the paper
        ("to-code-2.8b", 2_800_000_000, 100_000_000),
        ("ladder-15m", 15_000_000, 1_000_000),
        ("ladder-50m", 50_000_000, 1_000_000),
        ("ladder-100m", 100_000_000, 1_000_000),
        ("ladder-200m", 200_000_000, 1_000_000),
        ("ladder-400m", 401_000_000, 1_000_000),
    ],
)
def test_shapes_of_our_own_choice_round_to_their_names(name: str, rounded: int, step: int) -> None:
    assert round(parameter_count(PRESETS[name]) / step) * step == rounded


def test_gpt_oss_has_its_published_counts() -> None:
    # Model card, Table 1, in billions; exact totals as in the converted weights.
    assert [f"{count / 1e9:.2f}" for count in gpt_oss(24, 32)] == ["20.91", "3.61"]
    assert [f"{count / 1e9:.2f}" for count in gpt_oss(36, 128)] == ["116.83", "5.13"]
    assert gpt_oss(24, 32).total == 20_914_757_184
    assert gpt_oss(36, 128).total == 116_829_156_672
    full, causal = gpt_oss_flops_per_token(36, 128, 8192)
    attention = 12 * 36 * 64 * 64 * 8192
    assert full == 6 * gpt_oss(36, 128).active + attention
    # Half the layers see half of the sequence on average, half see 128 tokens at most.
    window = sum(min(at + 1, 128) for at in range(8192)) / 8192
    share = (0.5 + window / 8192) / 2
    assert causal - 6 * gpt_oss(36, 128).active == pytest.approx(attention * share, rel=1e-3)


def test_the_table_agrees_with_itself() -> None:
    rows = parameter_table()
    assert len(rows) == 16 and all(row.source for row in rows)
    for row in rows:
        if isinstance(row.published, int):
            assert row.ours == row.published == PUBLISHED[row.name]
        elif row.name != "arctic-snowcoder-1.3b":  # 1.364 is given as 1.3
            unit = {"B": 1e9, "M": 1e6}[row.published[-1]]
            off = abs(row.ours / unit - float(row.published[:-1]))
            assert off <= (5 if unit == 1e6 else 0.05)


OPTIONS: list[dict[str, Any]] = [
    {"head_dim": 10},
    {"qkv_bias": True, "tied": False},
    {"query_key_norm": "head"},
    {"query_key_norm": "width", "norms": "post"},
    {"query_key_norm": "heads", "norm": "layer", "parallel": True},
    {"norms": "both", "norm_plus_one": True, "activation": "gelu", "head_dim": 12},
    {"sliding_window": 8, "full_attention_every": 2, "attention_softcap": 5.0},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_closed_form_knows_every_option(options: dict[str, Any]) -> None:
    config = ModelConfig.model_validate(SHAPE | options)
    assert parameter_count(config) == built(config)
    assert ModelConfig.model_validate(config.model_dump()) == config


@pytest.mark.parametrize("every", [0, 2, 3])
@pytest.mark.parametrize("window", [1, 5, 32, 100])
def test_flops_of_sliding_layers(window: int, every: int) -> None:
    """The causal convention counts keys seen, the diagonal half; the full one knows no window."""
    plain = ModelConfig.model_validate(SHAPE | {"layers": 5})
    config = plain.model_copy(update={"sliding_window": window, "full_attention_every": every})
    length = 32
    seen = 0.0
    for layer in range(5):
        near = length if every and (layer + 1) % every == 0 else window
        seen += sum(min(at + 1, near) for at in range(length)) - min(near, length) / 2
    full, causal = flops_per_token(config, length)
    assert full == flops_per_token(plain, length).full_attention
    assert causal == int(6 * parameter_count(config) + 12 * 32 * seen / length)


def test_one_way_to_say_a_shape() -> None:
    plain = ModelConfig.model_validate(SHAPE)
    assert ModelConfig.model_validate(SHAPE | {"head_dim": 8, "query_scale": 8}) == plain
    assert plain.head_size == 8


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
        ({"head_dim": 7}, "head_dim"),
        ({"parallel": True, "norms": "both"}, "a parallel block has one norm"),
        ({"query_key_norm": "heads"}, "set norm to 'layer'"),
        ({"full_attention_every": 2}, "needs a sliding_window"),
        ({"sliding_window": 4, "full_attention_every": 1}, "leaves no layer to slide"),
        ({"rope_scaling": {"kind": "yarn", "factor": 2}}, "rope_scaling.kind"),
        (
            {"rope_scaling": {"kind": "llama3", "factor": 2, "low_frequency_factor": 4}},
            "low_frequency_factor must be less",
        ),
    ],
)
def test_an_impossible_shape_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ModelConfig.model_validate(SHAPE | change)


def test_a_plan_needs_no_torch() -> None:
    code = (
        "import sys, firnline.model.counts, firnline.training.stage; assert 'torch' not in "
        "sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_page_shows_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs/models.md").read_text()
    for row in parameter_table():
        published = f"{row.published:,}" if isinstance(row.published, int) else row.published
        assert f"| {row.name} | {row.ours:,} | {published} | {row.source} |" in page
