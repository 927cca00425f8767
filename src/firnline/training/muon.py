"""Muon: momentum made orthogonal, for the matrices inside a model's blocks (Jordan et al. 2024).

An optimizer of its own and not `torch.optim.Muon`, for two reasons. That one takes matrices alone,
so that a model needs two optimizers, and saving, restoring and resharding must know of both; here
AdamW has groups in the same object. And it knows nothing of sharded matrices, while the iteration
needs all rows: here a shard's matrix is gathered first, so that any number of ranks finds the same
update.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal, overload

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim.adamw import adamw

from firnline.model.matmul import product

# Coefficients of the quintic iteration (Jordan 2024): steepest at zero, so that five steps bring
# singular values from almost 0 to 1 into about 0.7 to 1.2, and not to 1 exactly.
QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Muon for groups with `rule: "muon"`, AdamW for the others; decay is decoupled in both.

    State of a weight: `momentum_buffer` of its shape, or `step`, `exp_avg` and `exp_avg_sq` as in
    `torch.optim.AdamW`; a DTensor where the weight is one. `torch.distributed.checkpoint` saves and
    reshards it as any other optimizer's.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        steps: int = 5,
        precision: torch.dtype = torch.bfloat16,
        scale: Literal["rms", "aspect"] = "rms",
    ) -> None:
        self._precision, self._scale = precision, scale
        super().__init__(
            list(groups),
            {
                "lr": lr,
                "rate": 1.0,
                "rule": "adamw",
                "weight_decay": weight_decay,
                "betas": betas,
                "eps": eps,
                "momentum": momentum,
                "nesterov": nesterov,
                "newton_schulz_steps": steps,
            },
        )
        for group in self.param_groups:
            for weight in group["params"]:
                if group["rule"] == "muon" and weight.dim() != 2:
                    raise ValueError(f"Muon is for matrices, not for {list(weight.shape)}")

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            pairs = [(w, w.grad) for w in group["params"] if w.grad is not None]
            if group["rule"] == "muon":
                for weight, gradient in pairs:
                    self._muon(weight, gradient, group)
            elif pairs:
                self._adamw(pairs, group)
        return loss

    def _muon(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        average, momentum = state["momentum_buffer"], group["momentum"]
        average.lerp_(gradient, 1 - momentum)
        update = gradient.lerp(average, momentum) if group["nesterov"] else average
        update = orthogonalise(update, group["newton_schulz_steps"], self._precision)
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(update.to(weight.dtype), alpha=-group["lr"] * factor(weight.shape, self._scale))

    def _adamw(self, pairs: list[tuple[Tensor, Tensor]], group: dict[str, Any]) -> None:
        for weight, _ in pairs:
            state = self.state[weight]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32, device=weight.device)
                state["exp_avg"] = torch.zeros_like(weight)
                state["exp_avg_sq"] = torch.zeros_like(weight)
        states = [self.state[weight] for weight, _ in pairs]
        adamw(
            [weight for weight, _ in pairs],
            [gradient for _, gradient in pairs],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def factor(shape: torch.Size, scale: Literal["rms", "aspect"]) -> float:
    """What an orthogonal update of a matrix of this shape is multiplied by.

    Its entries have a root mean square of 1 / sqrt(max(rows, columns)). `rms` makes that 0.2, about
    that of AdamW's updates; `aspect` makes the norm from inputs to outputs 1 for any shape.
    """
    rows, columns = shape
    if scale == "rms":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))


def orthogonalise(matrix: Tensor, steps: int, precision: torch.dtype) -> Tensor:
    """About U V^T of a matrix [rows, columns] = U S V^T, by Newton and Schulz's iteration.

    The singular values come out near 1, not at 1 (`QUINTIC`). A sharded matrix is gathered whole on
    each rank, which costs one matrix of memory and of traffic at a time, and the rank's own rows
    of the result are kept.
    """
    if isinstance(matrix, DTensor):
        whole = orthogonalise(matrix.full_tensor(), steps, precision)
        # Every rank has found the same: nothing is sent, each cuts out its shard.
        return distribute_tensor(whole, matrix.device_mesh, matrix.placements, src_data_rank=None)
    # The Gram matrix of the shorter side is smaller.
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).to(precision)
    x = x / x.norm().clamp(min=1e-7)  # singular values are at most 1
    onednn = x.device.type == "cpu" and precision is torch.float32
    for _ in range(steps):
        x = _by_onednn(x) if onednn else _by_blas(x)
    return x.T if tall else x


def _by_blas(x: Tensor) -> Tensor:
    linear, cubic, quintic = QUINTIC
    gram = x @ x.T
    return torch.addmm(x, torch.addmm(gram, gram, gram, beta=cubic, alpha=quintic), x, beta=linear)


def _by_onednn(x: Tensor) -> Tensor:
    """The same where `matmul.product` is the faster one; the Gram matrix is symmetric."""
    linear, cubic, quintic = QUINTIC
    gram = product(x, x)
    inner = product(gram, gram).mul_(quintic).add_(gram, alpha=cubic)
    return product(inner, x.T).add_(x, alpha=linear)
