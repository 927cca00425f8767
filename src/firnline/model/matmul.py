"""Matrix products through the faster of the two libraries that PyTorch carries for the CPU.

PyTorch sends float32 matrix products on x86 to MKL, which keeps to AVX2 on processors that are not
Intel's. oneDNN, in the same wheel, uses AVX-512 on both: on an AMD EPYC core it was measured at 180
to 210 GFLOP/s where MKL gave 85 to 95 (`benchmarks/training_cpu.py` shows what that makes of
training). PyTorch's compiler reaches it by the operator used here; elsewhere (a GPU, bfloat16, a
build without oneDNN, compiled code) the plain product is used.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")  # absent from a build without oneDNN


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """`x @ weight.T` for x [..., inputs] and weight [outputs, inputs]."""
    if not _uses_onednn(x, weight) or torch.is_autocast_enabled("cpu"):
        return F.linear(x, weight)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        out: Tensor = _Linear.apply(x, weight)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return out
    return product(x, weight)


def product(left: Tensor, right: Tensor) -> Tensor:
    """`left @ right.T` without a gradient; `right` is a matrix and may be a transposed view."""
    if not _uses_onednn(left, right):
        return F.linear(left, right)
    out: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
    return out


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """`gradient.T @ x` for x [rows, inputs] and gradient [rows, outputs]: [outputs, inputs]."""
    # The left side is copied to be transposed, so the narrower matrix goes there.
    if x.shape[1] < gradient.shape[1]:
        return product(x.T, gradient.T).T
    return product(gradient.T, x.T)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0]
        needs_x, needs_weight = ctx.needs_input_grad
        return (
            product(gradient, weight.T) if needs_x else None,
            weight_gradient(x.flatten(0, -2), gradient.flatten(0, -2)) if needs_weight else None,
        )


def _uses_onednn(left: Tensor, right: Tensor) -> bool:
    return (
        _ONEDNN
        and left.dtype == right.dtype == torch.float32
        and left.device.type == "cpu"
        and not torch.compiler.is_compiling()
    )
