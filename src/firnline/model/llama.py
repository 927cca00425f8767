"""The model in one file: Llama, and the families that differ from it by an option or two.

Parameters are named and laid out as Hugging Face names them, with rotate-half RoPE, so that export
is a state dict and a config (`checkpoint.py`). `ModelConfig` says what each option is. Everything a
layer needs of the batch is made once, in `Decoder.forward`: a layer is tensors in, tensors out, and
can be compiled, checkpointed and sharded by itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from firnline.model.attention import Positions, Rule, attend, fits_kernel, positions
from firnline.model.config import ModelConfig
from firnline.model.fused import is_fused, rms_norm, rotate, split_and_rotate, swiglu
from firnline.model.loss import linear_cross_entropy, linear_token_losses
from firnline.model.matmul import linear
from firnline.model.shards import local, set_rows


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
    but for the rounding of sums. Layers that slide keep all their keys and mask the far ones.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        capacity: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (batch, capacity, config.kv_heads, config.head_size)
        self.capacity = capacity
        self.lengths = torch.zeros(batch, dtype=torch.int64, device=device)
        layers = range(config.layers)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in layers]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in layers]

    def keep(self, rows: Tensor) -> None:
        """Keeps only `rows` (int64 indexes or a bool mask over the batch), in that order."""
        self.lengths = self.lengths[rows]
        self.keys = [keys[rows] for keys in self.keys]
        self.values = [values[rows] for values in self.values]

    def begin(self, length: int) -> None:
        """Makes ready for `length` more tokens in each row; raises ValueError where they do not
        fit."""
        self._end = int(self.lengths.max()) + length
        if self._end > self.capacity:
            raise ValueError(f"KV cache of {self.capacity} tokens cannot hold {self._end}")
        device = self.lengths.device
        self._slots = self.lengths[:, None] + torch.arange(length, device=device)
        self._rows = torch.arange(len(self.lengths), device=device)[:, None]

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Writes a layer's keys and values of the new tokens; all that are then there."""
        keys, values = self.keys[layer], self.values[layer]
        keys[self._rows, self._slots] = key.to(keys.dtype)
        values[self._rows, self._slots] = value.to(values.dtype)
        return keys[:, : self._end].to(key.dtype), values[:, : self._end].to(value.dtype)

    def end(self) -> None:
        """Counts the new tokens, once every layer has them."""
        self.lengths = self.lengths + self._slots.shape[1]


class Linear(nn.Linear):
    """A matrix, mostly without bias, and without PyTorch's initial values, which nobody would use.

    The bias is added apart so that the product can go to the faster library.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = False) -> None:
        super().__init__(inputs, outputs, bias=bias)

    def reset_parameters(self) -> None:
        return

    def forward(self, x: Tensor) -> Tensor:
        out = linear(x, self.weight)
        return out if self.bias is None else out + self.bias.to(out.dtype)


class Embedding(nn.Embedding):
    """A lookup table, also left unset."""

    def reset_parameters(self) -> None:
        return


class Norm(nn.Module):
    """RMSNorm, or LayerNorm without bias, with a gain of `shape` over the last axis or axes."""

    def __init__(self, config: ModelConfig, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        self.epsilon = config.norm_epsilon
        self.centred = config.norm == "layer"
        self.plus_one = config.norm_plus_one

    def forward(self, x: Tensor) -> Tensor:
        weight = 1 + self.weight if self.plus_one else self.weight
        if self.centred:
            normed = F.layer_norm(x.float(), x.shape[-1:], eps=self.epsilon)
            return (normed * weight).to(x.dtype)
        return rms_norm(x, weight, self.epsilon)


class Attention(nn.Module):
    """Causal self-attention with grouped keys and values: [batch, length, hidden] to the same."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.config, self.layer, self.rule = config, layer, Rule.of(config, layer)
        size, heads, kv_heads = config.head_size, config.heads, config.kv_heads
        bias = config.qkv_bias
        self.q_proj = Linear(config.hidden, heads * size, bias=bias)
        self.k_proj = Linear(config.hidden, kv_heads * size, bias=bias)
        self.v_proj = Linear(config.hidden, kv_heads * size, bias=bias)
        self.o_proj = Linear(heads * size, config.hidden)
        match config.query_key_norm:
            case "head":
                self.q_norm, self.k_norm = Norm(config, size), Norm(config, size)
            case "heads":
                self.q_norm, self.k_norm = Norm(config, heads, size), Norm(config, kv_heads, size)
            case "width":
                self.q_norm, self.k_norm = Norm(config, heads * size), Norm(config, kv_heads * size)

    def forward(self, x: Tensor, where: Positions, cache: KVCache | None) -> Tensor:
        query, key, value = self._heads(x, where)
        if cache is not None:
            key, value = cache.append(self.layer, key, value)
        mixed = attend(self.rule, query, key, value, where)
        out: Tensor = self.o_proj(mixed.reshape(*x.shape[:2], -1))
        return out

    def _heads(self, x: Tensor, where: Positions) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, [batch, length, heads, size], the first two turned by RoPE."""
        config, split = self.config, (*x.shape[:2], -1, self.config.head_size)
        if is_fused(x) and not config.qkv_bias and not config.query_key_norm:
            # One product instead of three: small models are bound by the count of operations.
            weight = torch.cat((self.q_proj.weight, self.k_proj.weight, self.v_proj.weight))
            heads = linear(x, weight).view(split)
            return split_and_rotate(heads, where.cosine, where.sine, config.heads, config.kv_heads)
        query, key, value = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        if config.query_key_norm == "width":
            query, key = self.q_norm(query), self.k_norm(key)
        query, key, value = query.view(split), key.view(split), value.view(split)
        if config.query_key_norm in ("head", "heads"):
            query, key = self.q_norm(query), self.k_norm(key)
        query, key = (rotate(part, where.cosine, where.sine) for part in (query, key))
        return query, key, value


class FeedForward(nn.Module):
    """A gated feed-forward, SwiGLU or GeGLU (Shazeer 2020): [..., hidden] to the same."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gelu = config.activation == "gelu"
        self.gate_proj = Linear(config.hidden, config.ffn_hidden)
        self.up_proj = Linear(config.hidden, config.ffn_hidden)
        self.down_proj = Linear(config.ffn_hidden, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        if is_fused(x) and not self.gelu:
            weight = torch.cat((self.gate_proj.weight, self.up_proj.weight))
            inner = swiglu(linear(x, weight))
        else:
            gate = self.gate_proj(x)
            gate = F.gelu(gate, approximate="tanh") if self.gelu else F.silu(gate)
            inner = gate * self.up_proj(x)
        out: Tensor = self.down_proj(inner)
        return out


class Layer(nn.Module):
    """Attention and feed-forward, each added to the residual stream, with norms where they go.

    [batch, length, hidden] to the same.

    Hugging Face's names are kept, so `post_attention_layernorm` is the feed-forward's own norm in
    Llama and attention's second norm in Gemma 2 and OLMo 2.
    """

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.parallel, self.norms = config.parallel, config.norms
        self.self_attn = Attention(config, layer)
        self.mlp = FeedForward(config)
        if config.norms != "post":
            self.input_layernorm = Norm(config, config.hidden)
        if not config.parallel:
            self.post_attention_layernorm = Norm(config, config.hidden)
        if config.norms == "both":
            self.pre_feedforward_layernorm = Norm(config, config.hidden)
        if config.norms != "pre":
            self.post_feedforward_layernorm = Norm(config, config.hidden)

    def forward(self, x: Tensor, where: Positions, cache: KVCache | None = None) -> Tensor:
        out: Tensor
        if self.parallel:
            normed = self.input_layernorm(x)
            out = x + self.self_attn(normed, where, cache) + self.mlp(normed)
        elif self.norms == "pre":
            x = x + self.self_attn(self.input_layernorm(x), where, cache)
            out = x + self.mlp(self.post_attention_layernorm(x))
        else:
            both = self.norms == "both"
            mixed = self.self_attn(self.input_layernorm(x) if both else x, where, cache)
            x = x + self.post_attention_layernorm(mixed)
            inner = self.mlp(self.pre_feedforward_layernorm(x) if both else x)
            out = x + self.post_feedforward_layernorm(inner)
        return out


class Decoder(nn.Module):
    """Embedding, layers, last norm; Hugging Face calls it `model`.

    Token ids [batch, length] to [batch, length, hidden].
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = Embedding(config.vocabulary_size, config.hidden)
        self.layers = nn.ModuleList(Layer(config, layer) for layer in range(config.layers))
        self.norm = Norm(config, config.hidden)

    def forward(
        self, tokens: Tensor, cache: KVCache | None = None, documents: Tensor | None = None
    ) -> Tensor:
        if cache is not None:
            cache.begin(tokens.shape[1])
        kernel = cache is None and fits_kernel(self.config, self.embed_tokens.weight)
        lengths = cache.lengths if cache is not None else None
        where = positions(self.config, tokens, documents, lengths, kernel=kernel)
        x = self.embed_tokens(tokens)
        if self.config.embedding_scale:
            x = x * math.sqrt(self.config.hidden)
        for layer in self.layers:
            x = layer(x, where, cache)
        if cache is not None:
            cache.end()
        out: Tensor = self.norm(x)
        return out


class Llama(nn.Module):
    """A language model. Weights are unset until `initialise` or `checkpoint.load`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        if not config.tied:
            self.lm_head = Linear(config.hidden, config.vocabulary_size)

    def initialise(self, seed: int) -> Llama:
        """Normal(0, 0.02); the matrices that write into the residual stream (o_proj, down_proj)
        are divided by sqrt(2 x layers) as in GPT-2, so that its variance does not grow with depth;
        norms begin at a gain of one, biases at zero. A function of the seed and the shape alone:
        of a sharded model every rank draws each weight whole, one at a time, and keeps its rows."""
        generator = torch.Generator().manual_seed(seed)
        residual = 0.02 / math.sqrt(2 * self.config.layers)
        for name, weight in self.named_parameters():
            if "norm." in name:
                local(weight).fill_(0.0 if self.config.norm_plus_one else 1.0)
            elif name.endswith("bias"):
                local(weight).fill_(0.0)
            else:
                writes_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                deviation = residual if writes_residual else 0.02
                drawn = torch.empty(weight.shape, device="cpu")
                set_rows(weight, drawn.normal_(0.0, deviation, generator=generator).__getitem__)
        return self

    @property
    def output_weight(self) -> Tensor:
        """The output matrix, [vocabulary, hidden]."""
        return self.model.embed_tokens.weight if self.config.tied else self.lm_head.weight

    def forward(
        self, tokens: Tensor, cache: KVCache | None = None, documents: Tensor | None = None
    ) -> Tensor:
        """Logits (float32) [batch, length, vocabulary] of tokens (int64) [batch, length].

        With a `cache`, `tokens` continue each row where the cache stands; see `KVCache`. With
        `documents` (int [batch, length], equal numbers side by side), a token sees those of its
        own document only; the two do not go together.
        """
        hidden = self._hidden(tokens, documents, cache)
        logits = linear(hidden, self.output_weight).float()
        cap = self.config.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def loss(self, tokens: Tensor, targets: Tensor, documents: Tensor | None = None) -> Tensor:
        """Mean cross-entropy (nats) over the targets (int64 [batch, length]) that are not -100.

        Never holds more logits than a chunk of tokens. With no target left it is 0. `documents`
        are those of `tokens`, as in `forward`.
        """
        hidden = self._hidden(tokens, documents).flatten(0, 1)
        if hidden.device.type != "cpu" and torch.is_autocast_enabled(hidden.device.type):
            hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
        return linear_cross_entropy(
            hidden, self.output_weight, targets.flatten(), self.config.logit_softcap
        )

    def token_losses(
        self, tokens: Tensor, targets: Tensor, documents: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy (nats) of each target, [batch, length]; 0 at -100. Has no gradient."""
        with torch.no_grad():
            hidden = self._hidden(tokens, documents).flatten(0, 1)
            losses = linear_token_losses(
                hidden, self.output_weight, targets.flatten(), self.config.logit_softcap
            )
        return losses.view(targets.shape)

    def _hidden(
        self, tokens: Tensor, documents: Tensor | None, cache: KVCache | None = None
    ) -> Tensor:
        """What the output matrix is applied to, [batch, length, hidden]."""
        if cache is not None and documents is not None:
            raise ValueError("a KV cache holds one document a row: leave documents out")
        hidden: Tensor = self.model(tokens, cache, documents)
        scale = self.config.logit_scale
        return hidden if scale == 1.0 else hidden * scale
