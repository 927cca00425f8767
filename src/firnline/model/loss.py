"""Cross-entropy over a large vocabulary that never holds the logits of all tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from firnline.model.matmul import product, weight_gradient

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
        hidden_gradient = torch.empty_like(hidden)
        total_weight_gradient = torch.zeros_like(weight)
        weight = weight.to(hidden.dtype)
        for start in range(0, len(hidden), CHUNK_TOKENS):
            rows = slice(start, start + CHUNK_TOKENS)
            chunk, target = hidden[rows], targets[rows, None]
            used = target != IGNORE
            target = target.clamp(min=0)
            logits = product(chunk, weight).float()
            logs = logits.log_softmax(-1)
            total -= (logs.gather(-1, target) * used).sum()
            # The gradient of the logits: probabilities, less one at the target.
            gradient = torch.exp(logs, out=logits)
            gradient.scatter_add_(-1, target, gradient.new_full((1, 1), -1.0).expand_as(target))
            if not used.all():
                gradient *= used
            gradient = gradient.to(hidden.dtype)
            hidden_gradient[rows] = product(gradient, weight.T)
            total_weight_gradient += weight_gradient(chunk, gradient)
        ctx.save_for_backward(hidden_gradient, total_weight_gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden_gradient, total_weight_gradient = ctx.saved_tensors
        return hidden_gradient * gradients[0], total_weight_gradient * gradients[0], None


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy (nats) of the logits `hidden @ weight.T` over targets that are not -100.

    `hidden` is [tokens, width], `weight` [vocabulary, width], `targets` int64 [tokens].
    """
    total: Tensor
    if torch.is_grad_enabled():
        total = _LinearCrossEntropy.apply(hidden, weight, targets)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    else:
        total = linear_token_losses(hidden, weight, targets).sum()
    return total / (targets != IGNORE).sum().clamp(min=1)


def linear_token_losses(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy (nats, float32) of each token, 0 where the target is -100; no gradient."""
    losses = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
    for start in range(0, len(hidden), CHUNK_TOKENS):
        rows = slice(start, start + CHUNK_TOKENS)
        logits = product(hidden[rows], weight.to(hidden.dtype)).float()
        losses[rows] = torch.nn.functional.cross_entropy(
            logits, targets[rows], ignore_index=IGNORE, reduction="none"
        )
    return losses
