"""Named model shapes."""

from __future__ import annotations

from firnline.model.config import ModelConfig

PRESETS: dict[str, ModelConfig] = {
    # The quickstart's: learns from a few hundred thousand tokens on two cores.
    "tiny": ModelConfig(
        vocabulary_size=4096,
        hidden=128,
        ffn_hidden=352,
        layers=4,
        heads=2,
        kv_heads=2,
        context=256,
    ),
    # Arctic-SnowCoder, Table 1.
    "arctic-snowcoder-1.3b": ModelConfig(
        vocabulary_size=64_000,
        hidden=2048,
        ffn_hidden=5632,
        layers=24,
        heads=16,
        kv_heads=16,
        context=8192,
    ),
}
