"""Named model shapes."""

from __future__ import annotations

from firnline.model.config import ModelConfig

PRESETS: dict[str, ModelConfig] = {
    # Arctic-SnowCoder, Table 1.
    "arctic-snowcoder-1.3b": ModelConfig(
        vocabulary_size=64_000,
        hidden=2048,
        ffn_hidden=5632,
        layers=24,
        heads=16,
        kv_heads=16,
        context=8192,
        tied=True,
    ),
}
