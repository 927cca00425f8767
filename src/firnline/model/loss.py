"""Cross-entropy over a large vocabulary that never holds the logits of all tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

IGNORE = -100
CHUNK_TOKENS = 512


class _LinearCrossEntropy(torch.autograd.Function):
    """Sum of cross-entropies of `hidden @ weight.T`, whose gradient is found in the forward pass.

    The logits of a chunk become probabilities, then their own gradient, in place: three matmuls,
    as many as the plain way takes, and no second pass over the vocabulary.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        hidden_grad = torch.empty_like(hidden) if needs_hidden else None
        weight_grad = torch.zeros_like(weight) if needs_weight else None
        weight = weight.to(hidden.dtype)
        for start in range(0, len(hidden), CHUNK_TOKENS):
            rows = slice(start, start + CHUNK_TOKENS)
            chunk, target = hidden[rows], targets[rows, None]
            logits = (chunk @ weight.T).float()
            used = target != IGNORE
            target = target.clamp(min=0)
            maximum = logits.amax(-1, keepdim=True)
            chosen = logits.gather(-1, target)
            logits.sub_(maximum).exp_()
            norm = logits.sum(-1, keepdim=True)
            total += (norm.log().add_(maximum).sub_(chosen) * used).sum()
            if hidden_grad is None and weight_grad is None:
                continue
            logits.mul_(used / norm)
            logits.scatter_add_(-1, target, -used.float())
            logits = logits.to(hidden.dtype)
            if hidden_grad is not None:
                torch.mm(logits, weight, out=hidden_grad[rows])
            if weight_grad is not None:
                if weight_grad.dtype == logits.dtype:
                    weight_grad.addmm_(logits.T, chunk)
                else:
                    weight_grad += logits.T @ chunk
        ctx.save_for_backward(hidden_grad, weight_grad)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        hidden_grad, weight_grad = ctx.saved_tensors
        scale = gradients[0]
        return (
            None if hidden_grad is None else hidden_grad * scale,
            None if weight_grad is None else weight_grad * scale,
            None,
        )


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy (nats) of the logits `hidden @ weight.T` over targets that are not -100.

    `hidden` is [tokens, width], `weight` [vocabulary, width], `targets` int64 [tokens].
    """
    total: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return total / (targets != IGNORE).sum().clamp(min=1)


def linear_token_losses(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy (nats, float32) of each token, 0 where the target is -100; no gradient."""
    losses = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
    for start in range(0, len(hidden), CHUNK_TOKENS):
        rows = slice(start, start + CHUNK_TOKENS)
        logits = (hidden[rows] @ weight.to(hidden.dtype).T).float()
        losses[rows] = torch.nn.functional.cross_entropy(
            logits, targets[rows], ignore_index=IGNORE, reduction="none"
        )
    return losses
