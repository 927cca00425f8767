"""The shape of a Llama model, and what follows from it without building it: sizes and FLOPs."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ModelConfig(BaseModel):
    """Shape of a decoder-only Llama: RMSNorm before each block, RoPE, SwiGLU, no biases."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    vocabulary_size: int = Field(ge=2)
    """Rows of the embedding; at least the tokenizer's number of entries."""
    hidden: int = Field(ge=2)
    """Width of the residual stream."""
    ffn_hidden: int = Field(ge=1)
    """Width inside the SwiGLU feed-forward block."""
    layers: int = Field(ge=1)
    """Decoder layers."""
    heads: int = Field(ge=1)
    """Query heads; divides `hidden`, and `hidden / heads` is even (RoPE turns pairs)."""
    kv_heads: int = Field(ge=1)
    """Key and value heads; divides `heads`. Fewer than `heads` is grouped-query attention."""
    context: int = Field(ge=1)
    """Longest sequence in tokens, as written to config.json."""
    rope_theta: float = Field(default=10_000.0, gt=0)
    """Base of the rotary wavelengths (Llama 2: 10,000; Llama 3: 500,000)."""
    tied: bool = True
    """Whether the output matrix is the embedding."""
    norm_epsilon: float = Field(default=1e-5, gt=0)
    """Added to the mean square inside RMSNorm."""

    @property
    def head_size(self) -> int:
        """Width of one head."""
        return self.hidden // self.heads

    @model_validator(mode="after")
    def _divisible(self) -> ModelConfig:
        if self.hidden % self.heads or self.head_size % 2:
            raise ValueError(
                f"hidden ({self.hidden}) must be an even multiple of heads ({self.heads})"
            )
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads ({self.kv_heads}) must divide heads ({self.heads})")
        return self


class FlopsPerToken(NamedTuple):
    """Training FLOPs (forward and backward) for one token, in the two usual conventions."""

    full_attention: int
    causal_attention: int


def parameter_count(config: ModelConfig) -> int:
    """Number of parameters, each counted once (a tied output matrix is the embedding)."""
    embedding = config.vocabulary_size * config.hidden
    attention = 2 * config.hidden**2 + 2 * config.hidden * config.kv_heads * config.head_size
    feed_forward = 3 * config.hidden * config.ffn_hidden
    norms = 2 * config.hidden
    blocks = config.layers * (attention + feed_forward + norms)
    return blocks + config.hidden + embedding * (1 if config.tied else 2)


def flops_per_token(config: ModelConfig, sequence_length: int) -> FlopsPerToken:
    """6N + 12 L d T (full attention), and with half the attention term (causal).

    N is every parameter but the embedding as a lookup table: looking a row up costs nothing, the
    output matrix is a matmul. So a tied embedding counts once, of two free ones the output counts.
    L is layers, d the width of all query heads together, T the sequence length.
    """
    lookup = 0 if config.tied else config.vocabulary_size * config.hidden
    dense = 6 * (parameter_count(config) - lookup)
    attention = 12 * config.layers * config.hidden * sequence_length
    return FlopsPerToken(dense + attention, dense + attention // 2)
