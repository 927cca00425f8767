"""Cross-entropy over a large vocabulary that never holds the logits of all tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from firnline.model.matmul import product, weight_gradient

IGNORE = -100
CHUNK_TOKENS = 512
# A chunk also costs a pass over the gradient of the output matrix, which a GPU feels first.
GPU_CHUNK_TOKENS = 4096


class _LinearCrossEntropy(torch.autograd.Function):
    """Sum of cross-entropies of `hidden @ weight.T`, whose gradient is found in the forward pass.

    The logits of a chunk become probabilities, then their own gradient, in place: three matmuls,
    as many as the plain way takes, and no second pass over the vocabulary. Nothing here waits for
    the device.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, softcap: float | None
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden)
        # In float32, because a 16-bit sum over many chunks would lose the small ones.
        total_weight_gradient = torch.zeros_like(weight, dtype=torch.float32)
        low = weight.to(hidden.dtype)
        for rows in _chunks(hidden):
            chunk, target = hidden[rows], targets[rows, None]
            used = target != IGNORE
            target = target.clamp(min=0)
            logits = product(chunk, low).float()
            slope = _cap(logits, softcap)
            logs = logits.log_softmax(-1)
            total -= (logs.gather(-1, target) * used).sum()
            # The gradient of the logits: probabilities, less one at the target.
            gradient = torch.exp(logs, out=logits)
            gradient.scatter_add_(-1, target, gradient.new_full((1, 1), -1.0).expand_as(target))
            if slope is not None:
                gradient *= slope
            gradient = gradient.to(hidden.dtype)
            # What is not a target is left out on the narrow side.
            hidden_gradient[rows] = product(gradient, low.T).mul_(used)
            total_weight_gradient += weight_gradient(chunk * used, gradient)
        ctx.save_for_backward(hidden_gradient, total_weight_gradient.to(weight.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_gradient, total_weight_gradient = ctx.saved_tensors
        return hidden_gradient * gradients[0], total_weight_gradient * gradients[0], None, None


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, softcap: float | None = None
) -> Tensor:
    """Mean cross-entropy (nats) of the logits `hidden @ weight.T` over targets that are not -100.

    `hidden` is [tokens, width], `weight` [vocabulary, width], `targets` int64 [tokens]; `softcap`
    turns logits into cap x tanh(logit / cap).
    """
    total: Tensor
    if torch.is_grad_enabled():
        total = _LinearCrossEntropy.apply(hidden, weight, targets, softcap)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    else:
        total = linear_token_losses(hidden, weight, targets, softcap).sum()
    return total / (targets != IGNORE).sum().clamp(min=1)


def linear_token_losses(
    hidden: Tensor, weight: Tensor, targets: Tensor, softcap: float | None = None
) -> Tensor:
    """Cross-entropy (nats, float32) of each token, 0 where the target is -100; no gradient."""
    losses = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
    low = weight.to(hidden.dtype)
    for rows in _chunks(hidden):
        logits = product(hidden[rows], low).float()
        _cap(logits, softcap)
        losses[rows] = torch.nn.functional.cross_entropy(
            logits, targets[rows], ignore_index=IGNORE, reduction="none"
        )
    return losses


def _chunks(hidden: Tensor) -> Iterator[slice]:
    size = CHUNK_TOKENS if hidden.device.type == "cpu" else GPU_CHUNK_TOKENS
    return (slice(start, start + size) for start in range(0, len(hidden), size))


def _cap(logits: Tensor, softcap: float | None) -> Tensor | None:
    """Caps logits in place and returns the slope of the cap where they stand."""
    if softcap is None:
        return None
    ratio = logits.div_(softcap).tanh_()
    slope = 1 - ratio.square()
    logits.mul_(softcap)
    return slope
