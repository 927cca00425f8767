"""Where tokens stand and what they may look at: RoPE, masks, and attention over them.

Masks and angles are made once for all layers, so that a layer is tensors in, tensors out. On the
CPU, and wherever else the kernel below does not fit, a boolean mask goes to SDPA. On a GPU in 16
bits, documents and windows go to flash attention over sequences of varying length
(`torch.nn.attention.varlen`), which never makes a mask; plain causal attention stays with SDPA.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from firnline.model.config import ModelConfig


@dataclass(frozen=True)
class Positions:
    """What attention must know of the tokens of a batch.

    Not a tuple, because FSDP would cast the tensors of one to 16 bits on the way into a layer, and
    16 bits cannot tell angles of far positions apart.
    """

    cosine: Tensor
    """[(batch,) length, 1, head size / 2], float32."""
    sine: Tensor
    mask: Tensor | None
    """bool [batch or 1, 1, queries, keys]: what a query sees; None: itself and all before it."""
    window_mask: Tensor | None
    """The same in layers that slide."""
    starts: Tensor | None
    """int32 [documents + 1]: where each document begins in the batch as one row, and its end.
    Given, it stands for both masks."""


def frequencies(config: ModelConfig, device: torch.device) -> Tensor:
    """Radians that RoPE turns each pair by from one token to the next, [head size / 2].

    In float32 and in the order of operations of transformers, so that logits agree.
    """
    size, scaling = config.head_size, config.rope_scaling
    exponents = torch.arange(0, size, 2, device=device).float() / size
    plain = 1.0 / config.rope_theta**exponents
    if scaling is None:
        return plain
    if scaling.kind == "linear":
        return plain / scaling.factor
    wavelengths = 2 * math.pi / plain
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    ramp = (scaling.original_context / wavelengths - low) / (high - low)
    ramp = ramp.clamp(0, 1)  # 0: stretched in full, 1: left alone
    return (1 - ramp) * plain / scaling.factor + ramp * plain


def positions(
    config: ModelConfig,
    tokens: Tensor,
    documents: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    kernel: bool = False,
) -> Positions:
    """Positions of `tokens` [batch, length], within `documents` (int [batch, length]) if given.

    `lengths` (int64 [batch]) are tokens that a KV cache already holds; keys are then its slots
    from 0 on. `kernel` says whether the varlen kernel can be used, see `fits_kernel`.
    """
    length, device = tokens.shape[1], tokens.device
    at = torch.arange(length, device=device)
    if lengths is not None:
        at = lengths[:, None] + at
    angles = at[..., None, None].float() * frequencies(config, device)
    mask = window_mask = starts = None
    window = config.sliding_window
    if kernel and (documents is not None or (window and window < length)):
        starts = _starts(documents if documents is not None else torch.zeros_like(tokens))
    elif lengths is not None or documents is not None or window or config.attention_softcap:
        # [batch or 1, queries, keys]
        queries = (at if lengths is not None else at[None])[..., None]
        end = length if lengths is None else int(at.max()) + 1
        keys = torch.arange(end, device=device)
        seen = keys <= queries
        if documents is not None:
            seen = seen & (documents[:, :, None] == documents[:, None, :])
        plain = lengths is None and documents is None and not config.attention_softcap
        mask = None if plain else seen[:, None]
        if window:
            near = window < end
            window_mask = (seen & (keys > queries - window))[:, None] if near else mask
    return Positions(angles.cos(), angles.sin(), mask, window_mask, starts)


def fits_kernel(config: ModelConfig, weight: Tensor) -> bool:
    """Whether flash attention takes what this model computes: 16 bits, on a GPU, no soft cap."""
    size_fits = config.head_size <= 256 and config.head_size % 8 == 0
    if weight.device.type != "cuda" or config.attention_softcap or not size_fits:
        return False
    autocast = torch.is_autocast_enabled("cuda")
    dtype = torch.get_autocast_dtype("cuda") if autocast else weight.dtype
    return dtype in (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Rule:
    """How one layer attends, worked out beforehand: to the compiler the outcome is a constant,
    where two numbers of the config that it must compare may become symbols."""

    window: int | None
    softcap: float | None
    scale: float | None
    """What scores are multiplied with; None: 1 / sqrt(head size)."""
    grouped: bool

    @classmethod
    def of(cls, config: ModelConfig, layer: int) -> Rule:
        return cls(
            window=config.sliding_window if config.slides(layer) else None,
            softcap=config.attention_softcap,
            scale=config.query_scale**-0.5 if config.query_scale else None,
            grouped=config.kv_heads != config.heads,
        )


def attend(rule: Rule, query: Tensor, key: Tensor, value: Tensor, where: Positions) -> Tensor:
    """Attention of `query` [batch, length, heads, size] to `key`, `value` [.., kv heads, size]."""
    if where.starts is not None:
        from torch.nn.attention.varlen import varlen_attn  # a second that the CPU need not wait

        length, starts = query.shape[1], where.starts
        flat = varlen_attn(
            query.flatten(0, 1),
            key.flatten(0, 1),
            value.flatten(0, 1),
            starts,
            starts,
            length,  # no document is longer; the true maximum would wait for the device
            length,
            scale=rule.scale,
            # The kernel counts tokens to the left of the query; the window, the query as well.
            window_size=(rule.window - 1 if rule.window else -1, 0),
            enable_gqa=rule.grouped,
        )
        assert isinstance(flat, Tensor)
        return flat.view(query.shape)
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    mask = where.mask if rule.window is None else where.window_mask
    if rule.softcap:
        assert mask is not None
        return _capped(rule.softcap, rule.scale, query, key, value, mask).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=rule.scale,
        enable_gqa=rule.grouped,
    )
    return mixed.transpose(1, 2)


def _capped(
    cap: float, scale: float | None, query: Tensor, key: Tensor, value: Tensor, mask: Tensor
) -> Tensor:
    """Attention with soft-capped scores, which SDPA cannot do: all scores are held at once."""
    groups = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(groups, 1) for part in (key, value))
    scores = query @ key.transpose(-1, -2) * (scale or query.shape[-1] ** -0.5)
    scores = cap * torch.tanh(scores.float() / cap)
    return scores.masked_fill(~mask, -torch.inf).softmax(-1).to(value.dtype) @ value


def _starts(documents: Tensor) -> Tensor:
    """First positions of the documents of [batch, length] read as one row, and the row's end."""
    first = torch.ones_like(documents, dtype=torch.bool)
    first[:, 1:] = documents[:, 1:] != documents[:, :-1]
    ends = torch.tensor([documents.numel()], device=documents.device)
    return torch.cat((first.flatten().nonzero()[:, 0], ends)).to(torch.int32)
