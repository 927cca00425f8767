"""Llama in one file: parameters named as Hugging Face names them, rotate-half RoPE, SDPA.

Because names and layout are the same, export is a state dict and a config (`checkpoint.py`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from firnline.model.config import ModelConfig
from firnline.model.fused import rms_norm, split_and_rotate, swiglu
from firnline.model.loss import linear_cross_entropy, linear_token_losses
from firnline.model.matmul import linear


class KVCache:
    """Keys and values of the tokens seen so far, for rows of different length.

    Slot *p* of a row holds the token at position *p*, so rows need no left padding: pad prompts on
    the right with any id, run them once, then set `lengths` to the true prompt lengths. What the
    padding wrote lies beyond a row's length; it is masked, and overwritten as the row grows.

        model.eval()
        lengths = torch.tensor([len(p) for p in prompts])           # [batch]
        cache = KVCache(model.config, len(prompts), capacity=int(lengths.max()) + new_tokens)
        with torch.inference_mode():
            logits = model(right_padded_prompts, cache)             # [batch, longest, vocabulary]
            cache.lengths = lengths
            token = logits[torch.arange(len(prompts)), lengths - 1].argmax(-1)
            for _ in range(new_tokens - 1):
                token = model(token[:, None], cache)[:, -1].argmax(-1)  # each row grows by one

    `keep(rows)` drops rows that have finished. A row's result does not depend on the other rows
    but for the rounding of sums.
    """

    def __init__(self, config: ModelConfig, batch: int, capacity: int) -> None:
        shape = (batch, capacity, config.kv_heads, config.head_size)
        self.capacity = capacity
        self.lengths = torch.zeros(batch, dtype=torch.int64)
        self.keys = [torch.zeros(shape) for _ in range(config.layers)]
        self.values = [torch.zeros(shape) for _ in range(config.layers)]

    def keep(self, rows: Tensor) -> None:
        """Keeps only `rows` (int64 indexes or a bool mask over the batch), in that order."""
        self.lengths = self.lengths[rows]
        self.keys = [keys[rows] for keys in self.keys]
        self.values = [values[rows] for values in self.values]


class _Positions:
    """What attention must know of where the tokens stand: RoPE angles and, with a cache, a mask."""

    def __init__(self, config: ModelConfig, length: int, cache: KVCache | None) -> None:
        self.cache = cache
        positions = torch.arange(length)  # [length]
        if cache is not None:
            positions = cache.lengths[:, None] + positions  # [batch, length]
            self.slots = positions
            self.end = int(positions.max()) + 1
            if self.end > cache.capacity:
                raise ValueError(f"KV cache of {cache.capacity} tokens cannot hold {self.end}")
            self.mask = (torch.arange(self.end) <= positions[..., None])[:, None]
            self.rows = torch.arange(len(positions))[:, None]
        size = config.head_size
        # As transformers computes them, in float32, so that logits agree.
        frequencies = 1.0 / config.rope_theta ** (torch.arange(0, size, 2).float() / size)
        angles = positions[..., None, None].float() * frequencies  # [(batch,) length, 1, size / 2]
        self.cosine, self.sine = angles.cos(), angles.sin()


class Linear(nn.Linear):
    """A matrix without bias and without PyTorch's initial values, which nobody would use."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def reset_parameters(self) -> None:
        return

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight)


class Embedding(nn.Embedding):
    """A lookup table, also left unset."""

    def reset_parameters(self) -> None:
        return


class Norm(nn.Module):
    """RMSNorm with a gain."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.hidden))
        self.epsilon = config.norm_epsilon

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.epsilon)


class Attention(nn.Module):
    """Causal self-attention with grouped keys and values."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.size = config.heads, config.kv_heads, config.head_size
        self.layer = layer
        kv_width = self.kv_heads * self.size
        self.q_proj = Linear(config.hidden, config.hidden)
        self.k_proj = Linear(config.hidden, kv_width)
        self.v_proj = Linear(config.hidden, kv_width)
        self.o_proj = Linear(config.hidden, config.hidden)

    def forward(self, x: Tensor, where: _Positions) -> Tensor:
        batch, length, hidden = x.shape
        # One product instead of three: small models are bound by the count of operations.
        weight = torch.cat((self.q_proj.weight, self.k_proj.weight, self.v_proj.weight))
        heads = linear(x, weight).view(batch, length, -1, self.size)
        query, key, value = split_and_rotate(
            heads, where.cosine, where.sine, self.heads, self.kv_heads
        )
        mask = None
        if where.cache is not None:
            keys, values = where.cache.keys[self.layer], where.cache.values[self.layer]
            keys[where.rows, where.slots] = key
            values[where.rows, where.slots] = value
            key, value, mask = keys[:, : where.end], values[:, : where.end], where.mask
        mixed = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            attn_mask=mask,
            is_causal=mask is None,
            enable_gqa=self.kv_heads != self.heads,
        )
        out: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(batch, length, hidden))
        return out


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden, config.ffn_hidden)
        self.up_proj = Linear(config.hidden, config.ffn_hidden)
        self.down_proj = Linear(config.ffn_hidden, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.cat((self.gate_proj.weight, self.up_proj.weight))
        out: Tensor = self.down_proj(swiglu(linear(x, weight)))
        return out


class Layer(nn.Module):
    """Attention and feed-forward, each behind its norm and added to the residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.self_attn = Attention(config, layer)
        self.mlp = FeedForward(config)
        self.input_layernorm = Norm(config)
        self.post_attention_layernorm = Norm(config)

    def forward(self, x: Tensor, where: _Positions) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), where)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Decoder(nn.Module):
    """Embedding, layers, last norm; Hugging Face calls it `model`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = Embedding(config.vocabulary_size, config.hidden)
        self.layers = nn.ModuleList(Layer(config, layer) for layer in range(config.layers))
        self.norm = Norm(config)

    def forward(self, tokens: Tensor, cache: KVCache | None) -> Tensor:
        where = _Positions(self.config, tokens.shape[1], cache)
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, where)
        if cache is not None:
            cache.lengths = cache.lengths + tokens.shape[1]
        out: Tensor = self.norm(x)
        return out


class Llama(nn.Module):
    """A Llama language model. Weights are unset until `initialise` or `checkpoint.load`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        if not config.tied:
            self.lm_head = Linear(config.hidden, config.vocabulary_size)

    def initialise(self, seed: int) -> Llama:
        """Normal(0, 0.02); the matrices that write into the residual stream (o_proj, down_proj)
        are divided by sqrt(2 x layers) as in GPT-2, so that its variance does not grow with depth;
        norms are one. A function of the seed and the shape alone."""
        generator = torch.Generator().manual_seed(seed)
        residual = 0.02 / math.sqrt(2 * self.config.layers)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if weight.dim() == 1:
                    weight.fill_(1.0)
                elif name.endswith(("o_proj.weight", "down_proj.weight")):
                    weight.normal_(0.0, residual, generator=generator)
                else:
                    weight.normal_(0.0, 0.02, generator=generator)
        return self

    @property
    def output_weight(self) -> Tensor:
        """The output matrix, [vocabulary, hidden]."""
        return self.model.embed_tokens.weight if self.config.tied else self.lm_head.weight

    def forward(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """Logits (float32) [batch, length, vocabulary] of tokens (int64) [batch, length].

        With a `cache`, `tokens` continue each row where the cache stands; see `KVCache`.
        """
        return linear(self.model(tokens, cache), self.output_weight).float()

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy (nats) over the targets (int64 [batch, length]) that are not -100.

        Never holds more logits than a chunk of tokens. With no target left it is 0.
        """
        hidden = self.model(tokens, None)
        return linear_cross_entropy(hidden.flatten(0, 1), self.output_weight, targets.flatten())

    def token_losses(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy (nats) of each target, [batch, length]; 0 at -100. Has no gradient."""
        with torch.no_grad():
            hidden = self.model(tokens, None).flatten(0, 1)
            losses = linear_token_losses(hidden, self.output_weight, targets.flatten())
        return losses.view(targets.shape)
