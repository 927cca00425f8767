"""Parameters of the presets beside the counts their authors published, and gpt-oss by formula."""

from __future__ import annotations

from typing import NamedTuple

from firnline.model.config import FlopsPerToken, parameter_count, training_flops
from firnline.model.presets import PRESETS


class ExpertCounts(NamedTuple):
    """Parameters of a mixture of experts."""

    total: int
    active: int
    """Those that multiply one token: its experts' alone, the output matrix, no embedding."""


# gpt-oss model card (OpenAI 2025), section 2, and the config published with the weights.
GPT_OSS = {"gpt-oss-20b": (24, 32), "gpt-oss-120b": (36, 128)}  # layers, experts of each
_VOCABULARY, _HIDDEN, _EXPERT_HIDDEN, _ACTIVE_EXPERTS = 201_088, 2880, 2880, 4
_HEADS, _KV_HEADS, _HEAD_SIZE, _WINDOW = 64, 8, 64, 128


def gpt_oss(layers: int, experts: int) -> ExpertCounts:
    """Parameters of gpt-oss: counting only, there is no module for it."""
    queries, keys = _HEADS * _HEAD_SIZE, _KV_HEADS * _HEAD_SIZE
    attention = 2 * _HIDDEN * (queries + keys) + queries + 2 * keys + _HIDDEN  # with biases
    attention += _HEADS  # one learned sink for each head
    router = experts * (_HIDDEN + 1)
    expert = 3 * _HIDDEN * _EXPERT_HIDDEN + 2 * _EXPERT_HIDDEN + _HIDDEN  # SwiGLU with biases
    layer = attention + router + 2 * _HIDDEN  # two norms
    matrix = _VOCABULARY * _HIDDEN
    return ExpertCounts(
        total=2 * matrix + _HIDDEN + layers * (layer + experts * expert),
        active=matrix + _HIDDEN + layers * (layer + _ACTIVE_EXPERTS * expert),
    )


def gpt_oss_flops_per_token(layers: int, experts: int, sequence_length: int) -> FlopsPerToken:
    """As `config.flops_per_token`, of the active parameters; every other layer slides."""
    return training_flops(
        gpt_oss(layers, experts).active,
        sequence_length,
        width=_HEADS * _HEAD_SIZE,
        layers=layers,
        sliding_layers=layers // 2,
        window=_WINDOW,
    )


class Published(NamedTuple):
    """One row of the table in docs/models.md."""

    name: str
    ours: int
    published: int | str
    """Exact, or as rounded where only that is published."""
    source: str


_WEIGHTS = "parameters of the published weights, huggingface.co/"
_PUBLISHED: dict[str, tuple[int | str, str]] = {
    "arctic-snowcoder-1.3b": ("1.3B", "Arctic-SnowCoder, Table 1; cut off, not rounded"),
    "to-code-470m": ("470M", "To Code, or Not To Code, section 2.3; widths are ours"),
    "to-code-2.8b": ("2.8B", "To Code, or Not To Code, section 2.3; widths are ours"),
    "llama-3-8b": (8_030_261_248, _WEIGHTS + "meta-llama/Meta-Llama-3-8B"),
    "llama-3-70b": (70_553_706_496, _WEIGHTS + "meta-llama/Meta-Llama-3-70B"),
    "llama-3-405b": (405_853_388_800, _WEIGHTS + "meta-llama/Llama-3.1-405B"),
    "deepseek-coder-1.3b": (1_346_471_936, _WEIGHTS + "deepseek-ai/deepseek-coder-1.3b-base"),
    "deepseek-coder-6.7b": (6_740_512_768, _WEIGHTS + "deepseek-ai/deepseek-coder-6.7b-base"),
    "deepseek-coder-33b": (33_342_991_360, _WEIGHTS + "deepseek-ai/deepseek-coder-33b-base"),
    "gemma-2-2b": (2_614_341_888, _WEIGHTS + "google/gemma-2-2b"),
    "gemma-2-9b": (9_241_705_984, _WEIGHTS + "google/gemma-2-9b"),
    "gemma-2-27b": (27_227_128_320, _WEIGHTS + "google/gemma-2-27b"),
}
_GPT_OSS_CARD = "gpt-oss model card, Table 1"
_GPT_OSS_PUBLISHED = {
    "gpt-oss-20b": ("20.91B", "3.61B"),
    "gpt-oss-120b": ("116.83B", "5.13B"),
}


def parameter_table() -> list[Published]:
    """Every shape whose count was published: ours, theirs and where theirs stands."""
    rows = [
        Published(name, parameter_count(PRESETS[name]), published, source)
        for name, (published, source) in _PUBLISHED.items()
    ]
    for name, sizes in GPT_OSS.items():
        for kind, ours, published in zip(
            ("total", "active"), gpt_oss(*sizes), _GPT_OSS_PUBLISHED[name], strict=True
        ):
            rows.append(Published(f"{name}, {kind}", ours, published, _GPT_OSS_CARD))
    return rows
