"""Named model shapes. `docs/models.md` sets their parameters beside the published counts."""

from __future__ import annotations

from typing import Any

from firnline.model.config import ModelConfig, RopeScaling


def _llama_3(hidden: int, ffn_hidden: int, layers: int, heads: int, **more: Any) -> ModelConfig:
    """Grattafiori et al. 2024, Table 3, and the configs published with the weights."""
    shape: dict[str, Any] = {"vocabulary_size": 128_256, "kv_heads": 8, "context": 8192}
    shape |= {"rope_theta": 500_000.0, "tied": False}
    shape |= {"hidden": hidden, "ffn_hidden": ffn_hidden, "layers": layers, "heads": heads}
    return ModelConfig(**shape | more)


def _deepseek_coder(
    hidden: int, ffn_hidden: int, layers: int, heads: int, kv_heads: int
) -> ModelConfig:
    """Guo et al. 2024, Table 2 and section 3.6; the vocabulary is that of the weights."""
    return ModelConfig(
        vocabulary_size=32_256,
        hidden=hidden,
        ffn_hidden=ffn_hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        context=16_384,
        rope_theta=100_000.0,
        rope_scaling=RopeScaling(kind="linear", factor=4.0),
        tied=False,
        norm_epsilon=1e-6,
    )


def _gemma_2(
    hidden: int,
    ffn_hidden: int,
    layers: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    query_scale: float,
) -> ModelConfig:
    """Gemma Team 2024, Table 1 (which adds up the two halves of the gate: 18,432 for 9,216)."""
    return ModelConfig(
        vocabulary_size=256_000,
        hidden=hidden,
        ffn_hidden=ffn_hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        context=8192,
        norm_epsilon=1e-6,
        norm_plus_one=True,
        norms="both",
        activation="gelu",
        query_scale=query_scale,
        attention_softcap=50.0,
        sliding_window=4096,
        full_attention_every=2,
        embedding_scale=True,
        logit_softcap=30.0,
    )


def _to_code(hidden: int, ffn_hidden: int, layers: int, heads: int) -> ModelConfig:
    """Aryabumi et al. 2024, section 2.3: parallel blocks, SwiGLU, no biases, 256k entries, 8,192
    tokens. The paper gives no widths and no number of layers: these are chosen to give its sizes,
    with LayerNorm and a tied embedding as in the models its authors published (Cohere)."""
    return ModelConfig(
        vocabulary_size=256_000,
        hidden=hidden,
        ffn_hidden=ffn_hidden,
        layers=layers,
        heads=heads,
        kv_heads=heads,
        context=8192,
        norm="layer",
        parallel=True,
    )


def _ladder(hidden: int, ffn_hidden: int, layers: int) -> ModelConfig:
    """A plain Llama with heads of 64; sizes are for 16,384 entries, a recipe brings its own."""
    return ModelConfig(
        vocabulary_size=16_384,
        hidden=hidden,
        ffn_hidden=ffn_hidden,
        layers=layers,
        heads=hidden // 64,
        kv_heads=hidden // 64,
        context=2048,
    )


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
    "ladder-15m": _ladder(320, 832, 8),
    "ladder-50m": _ladder(512, 1408, 13),
    "ladder-100m": _ladder(640, 1728, 18),
    "ladder-200m": _ladder(896, 2432, 19),
    "ladder-400m": _ladder(1152, 3072, 24),
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
    "to-code-470m": _to_code(1024, 2816, 16, 8),
    "to-code-2.8b": _to_code(2560, 7168, 26, 20),
    "llama-3-8b": _llama_3(4096, 14_336, 32, 32),
    "llama-3-70b": _llama_3(8192, 28_672, 80, 64),
    # Its weights came with Llama 3.1, which stretches RoPE from 8,192 tokens to 131,072.
    "llama-3-405b": _llama_3(
        16_384,
        53_248,
        126,
        128,
        context=131_072,
        rope_scaling=RopeScaling(kind="llama3", factor=8.0),
    ),
    "deepseek-coder-1.3b": _deepseek_coder(2048, 5504, 24, 16, 16),
    "deepseek-coder-6.7b": _deepseek_coder(4096, 11_008, 32, 32, 32),
    "deepseek-coder-33b": _deepseek_coder(7168, 19_200, 62, 56, 8),
    "gemma-2-2b": _gemma_2(2304, 9216, 26, 8, 4, 256, 256),
    "gemma-2-9b": _gemma_2(3584, 14_336, 42, 16, 8, 256, 256),
    "gemma-2-27b": _gemma_2(4608, 36_864, 46, 32, 16, 128, 144),
}
