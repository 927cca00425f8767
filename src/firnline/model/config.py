"""The shape of a model, and what follows from it without building it: parameters and FLOPs."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator


class RopeScaling(BaseModel):
    """How rotary wavelengths are stretched to read further than the model first did."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kind: Literal["linear", "llama3"]
    """`linear`: every wavelength times `factor` (Chen et al. 2023; DeepSeek-Coder). `llama3`: only
    the long ones, with a ramp between the two bounds (Llama 3.1)."""
    factor: float = Field(gt=0)
    """What stretched wavelengths are multiplied with."""
    low_frequency_factor: float = Field(default=1.0, gt=0)
    """llama3: wavelengths above `original_context` / this are stretched in full."""
    high_frequency_factor: float = Field(default=4.0, gt=0)
    """llama3: wavelengths below `original_context` / this are left alone."""
    original_context: int = Field(default=8192, ge=1)
    """llama3: context in tokens before stretching."""

    @model_validator(mode="after")
    def _ordered(self) -> RopeScaling:
        if self.low_frequency_factor >= self.high_frequency_factor:
            raise ValueError("low_frequency_factor must be less than high_frequency_factor")
        return self


class ModelConfig(BaseModel):
    """Shape of a decoder-only transformer with RoPE and a gated feed-forward.

    The defaults are a plain Llama's: RMSNorm before each block, SwiGLU, no biases. Each option
    further down is one that a published family has; `docs/models.md` says which has which.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    vocabulary_size: int = Field(ge=2)
    """Rows of the embedding; at least the tokenizer's number of entries."""
    hidden: int = Field(ge=2)
    """Width of the residual stream."""
    ffn_hidden: int = Field(ge=1)
    """Width inside the gated feed-forward block."""
    layers: int = Field(ge=1)
    """Decoder layers."""
    heads: int = Field(ge=1)
    """Query heads; unless `head_dim` is given, divides `hidden` into even parts (RoPE: pairs)."""
    kv_heads: int = Field(ge=1)
    """Key and value heads; divides `heads`. Fewer than `heads` is grouped-query attention."""
    head_dim: int | None = Field(default=None, ge=2, multiple_of=2)
    """Width of one head where it is not hidden / heads (Gemma 2, Qwen3)."""
    context: int = Field(ge=1)
    """Longest sequence in tokens, as written to config.json."""
    rope_theta: float = Field(default=10_000.0, gt=0)
    """Base of the rotary wavelengths (Llama 2: 10,000; Llama 3: 500,000)."""
    rope_scaling: RopeScaling | None = None
    """How the wavelengths are stretched, if at all."""
    tied: bool = True
    """Whether the output matrix is the embedding."""
    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm, or LayerNorm without bias (Cohere)."""
    norm_epsilon: float = Field(default=1e-5, gt=0)
    """Added to the mean square, or to the variance, inside a norm."""
    norm_plus_one: bool = False
    """Whether a norm multiplies by 1 + weight (Gemma)."""
    norms: Literal["pre", "post", "both"] = "pre"
    """Norms before attention and feed-forward, on what they give (OLMo 2), or both (Gemma 2)."""
    parallel: bool = False
    """Whether attention and feed-forward both read one norm and are added together (PaLM)."""
    activation: Literal["silu", "gelu"] = "silu"
    """Of the gate: SiLU makes SwiGLU; GELU, in its tanh form, GeGLU (Gemma)."""
    qkv_bias: bool = False
    """Whether queries, keys and values have a bias (Qwen2)."""
    query_key_norm: Literal["head", "heads", "width"] | None = None
    """Norm of queries and keys before RoPE: over each head with one gain for all (Qwen3), with a
    gain for each (Command R+), or over all heads at once (OLMo 2)."""
    query_scale: float | None = Field(default=None, gt=0)
    """Attention scores are divided by its square root; None: by that of the head's width."""
    attention_softcap: float | None = Field(default=None, gt=0)
    """Scores become cap x tanh(score / cap) (Gemma 2: 50)."""
    sliding_window: int | None = Field(default=None, ge=1)
    """A query sees this many last tokens, itself included, in the layers that slide."""
    full_attention_every: int = Field(default=0, ge=0)
    """With a sliding window, each n-th layer sees everything (Gemma 2: 2); 0: all slide."""
    embedding_scale: bool = False
    """Whether embeddings are multiplied by sqrt(hidden) (Gemma)."""
    logit_scale: float = Field(default=1.0, gt=0)
    """Logits are multiplied by it (Cohere)."""
    logit_softcap: float | None = Field(default=None, gt=0)
    """Logits become cap x tanh(logit / cap) (Gemma 2: 30)."""

    @property
    def head_size(self) -> int:
        """Width of one head."""
        return self.head_dim or self.hidden // self.heads

    def slides(self, layer: int) -> bool:
        """Whether a layer, counted from 0, attends within the sliding window only."""
        every = self.full_attention_every
        return self.sliding_window is not None and not (every and (layer + 1) % every == 0)

    @field_validator("head_dim")
    @classmethod
    def _one_way_to_say_it(cls, value: int | None, info: ValidationInfo) -> int | None:
        usual = value and value * info.data.get("heads", 0) == info.data.get("hidden")
        return None if usual else value

    @field_validator("query_scale")
    @classmethod
    def _nothing_said(cls, value: float | None, info: ValidationInfo) -> float | None:
        data = info.data
        usual = data.get("head_dim") or data.get("hidden", 0) // data.get("heads", 1)
        return None if value == usual else value

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        if self.head_dim is None and (self.hidden % self.heads or self.head_size % 2):
            raise ValueError(
                f"hidden ({self.hidden}) must be an even multiple of heads ({self.heads})"
            )
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads ({self.kv_heads}) must divide heads ({self.heads})")
        if self.parallel and self.norms != "pre":
            raise ValueError("a parallel block has one norm, before it: leave norms at 'pre'")
        if self.query_key_norm == "heads" and self.norm != "layer":
            raise ValueError("query_key_norm 'heads' is a LayerNorm: set norm to 'layer'")
        if self.full_attention_every and self.sliding_window is None:
            raise ValueError("full_attention_every needs a sliding_window")
        if self.full_attention_every == 1:
            raise ValueError("full_attention_every 1 leaves no layer to slide: drop sliding_window")
        return self


class FlopsPerToken(NamedTuple):
    """Training FLOPs (forward and backward) for one token, in the two usual conventions."""

    full_attention: int
    causal_attention: int


def parameter_count(config: ModelConfig) -> int:
    """Number of parameters, each counted once (a tied output matrix is the embedding)."""
    queries, keys = config.heads * config.head_size, config.kv_heads * config.head_size
    attention = 2 * config.hidden * (queries + keys)
    if config.qkv_bias:
        attention += queries + 2 * keys
    if config.query_key_norm == "head":
        attention += 2 * config.head_size
    elif config.query_key_norm:
        attention += queries + keys
    feed_forward = 3 * config.hidden * config.ffn_hidden
    norms = 1 if config.parallel else 4 if config.norms == "both" else 2
    blocks = config.layers * (attention + feed_forward + norms * config.hidden)
    embedding = config.vocabulary_size * config.hidden
    return blocks + config.hidden + embedding * (1 if config.tied else 2)


def flops_per_token(config: ModelConfig, sequence_length: int) -> FlopsPerToken:
    """6N + 12 L d T (full attention), and the attention that a causal mask leaves.

    N is every parameter but the embedding as a lookup table: looking a row up costs nothing, the
    output matrix is a matmul. So a tied embedding counts once, of two free ones the output counts.
    L is layers, d the width of all query heads together, T the sequence length. The full
    convention knows neither causal mask nor window. The causal one counts the keys a query sees on
    average: T / 2, in a layer that slides by a window w < T: w - w^2 / 2T.
    """
    lookup = 0 if config.tied else config.vocabulary_size * config.hidden
    sliding = sum(config.slides(layer) for layer in range(config.layers))
    return training_flops(
        parameter_count(config) - lookup,
        sequence_length,
        width=config.heads * config.head_size,
        layers=config.layers,
        sliding_layers=sliding,
        window=config.sliding_window or sequence_length,
    )


def training_flops(
    parameters: int,
    sequence_length: int,
    *,
    width: int,
    layers: int,
    sliding_layers: int,
    window: int,
) -> FlopsPerToken:
    """The formula of `flops_per_token`; `parameters` are those that multiply a token."""
    window = min(window, sequence_length)
    # Twice the keys seen by all queries of a sequence, over all layers; the diagonal counts half.
    pairs = sliding_layers * window * (2 * sequence_length - window)
    pairs += (layers - sliding_layers) * sequence_length**2
    return FlopsPerToken(
        full_attention=6 * parameters + 12 * width * layers * sequence_length,
        causal_attention=6 * parameters + 12 * width * pairs // (2 * sequence_length),
    )
