"""Operations with a backward pass of their own, which saves passes over memory.

A small model on a CPU is bound as much by memory and by the count of operations as by arithmetic.
Each function here is a few lines of PyTorch whose gradient autograd would compute in two to four
times as many steps. Tests hold them to autograd's gradient of the plain formula, which is what runs
where `is_fused` says no: on a GPU, in 16 bits, in compiled code, which does its own fusing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def is_fused(x: Tensor) -> bool:
    """Whether the functions here go their own way for `x`: float32 on a CPU, not compiled."""
    plain = torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
    return x.device.type == "cpu" and x.dtype == torch.float32 and not plain


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        mean_square = x.square().mean(-1, keepdim=True)
        scale = mean_square.add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, scale = ctx.saved_tensors
        gradient = gradients[0]
        normed = x * scale
        flat = gradient * normed
        weight_gradient = flat.flatten(0, -2).sum(0)
        # d/dx = scale * (g w - normed * mean(g w normed))
        mean = (flat.mul_(weight)).mean(-1, keepdim=True)
        x_gradient = (gradient * weight).sub_(normed.mul_(mean)).mul_(scale)
        return x_gradient, weight_gradient, None


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Root-mean-square norm over the last axis (Zhang and Sennrich 2019), statistics in float32."""
    if not is_fused(x):
        return F.rms_norm(x.float(), weight.shape, weight.float(), epsilon).to(x.dtype)
    out: Tensor = _RMSNorm.apply(x, weight, epsilon)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return out


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gradient = gradients[0]
        gate, up = gate_up.chunk(2, dim=-1)
        out = torch.empty_like(gate_up)
        out_gate, out_up = out.chunk(2, dim=-1)
        torch.ops.aten.silu_backward.grad_input(gradient * up, gate, grad_input=out_gate)
        torch.mul(F.silu(gate), gradient, out=out_up)
        return out


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up of [..., 2 x width], gate first: [..., width] (Shazeer 2020)."""
    out: Tensor = _SwiGLU.apply(gate_up)  # type: ignore[no-untyped-call]  # as above
    return out


class _SplitAndRotate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, heads: Tensor, cosine: Tensor, sine: Tensor, queries: int, keys: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(cosine, sine)
        ctx.sizes = [queries, keys, keys]
        turned = torch.empty_like(heads[..., : queries + keys, :])
        _rotate(heads[..., : queries + keys, :], cosine, sine, turned)
        query, key = torch.split(turned, [queries, keys], dim=-2)
        return query, key, heads[..., queries + keys :, :].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        cosine, sine = ctx.saved_tensors
        batch, length, _, size = gradients[0].shape
        out = gradients[0].new_empty(batch, length, sum(ctx.sizes), size)
        query, key, value = torch.split(out, ctx.sizes, dim=-2)
        _rotate(gradients[0], cosine, -sine, query)  # a rotation's transpose turns back
        _rotate(gradients[1], cosine, -sine, key)
        value.copy_(gradients[2])
        return out, None, None, None, None


def split_and_rotate(
    heads: Tensor, cosine: Tensor, sine: Tensor, queries: int, keys: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys turned by RoPE, and values, of [batch, length, queries + 2 keys, size].

    `cosine` and `sine` are [(batch,) length, 1, size / 2]; element i pairs with i + size / 2.
    """
    out: tuple[Tensor, Tensor, Tensor] = _SplitAndRotate.apply(heads, cosine, sine, queries, keys)  # type: ignore[no-untyped-call]  # as above
    return out


def rotate(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """`heads` [batch, length, heads, size] turned by RoPE, angles as above; plain PyTorch."""
    left, right = heads.chunk(2, dim=-1)
    turned = (left * cosine - right * sine, right * cosine + left * sine)
    return torch.cat(turned, dim=-1).to(heads.dtype)


def _rotate(heads: Tensor, cosine: Tensor, sine: Tensor, out: Tensor) -> None:
    left, right = heads.chunk(2, dim=-1)
    out_left, out_right = out.chunk(2, dim=-1)
    torch.mul(left, cosine, out=out_left).addcmul_(right, sine, value=-1)
    torch.mul(right, cosine, out=out_right).addcmul_(left, sine)
