"""Hand-written backward passes against autograd's gradient of the plain formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from firnline.model import loss as loss_module
from firnline.model.fused import rms_norm, rotate, split_and_rotate, swiglu
from firnline.model.loss import linear_cross_entropy
from firnline.model.matmul import linear


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator)


def same(ours: Callable[..., Tensor], plain: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Equal values, and equal gradients of a random weighting of them."""
    results = []
    for function in (ours, plain):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        value = function(*leaves)
        value.backward(normal(*value.shape, seed=9))
        results.append([value.detach(), *(leaf.grad for leaf in leaves)])
    for one, other in zip(*results, strict=True):
        assert one is not None
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("inputs", "outputs"), [(7, 20), (20, 7), (1, 1), (16, 16)])
def test_linear(inputs: int, outputs: int) -> None:
    same(linear, F.linear, normal(3, 11, inputs), normal(outputs, inputs, seed=1))


def test_linear_of_an_expanded_gradient() -> None:
    # sum() hands a gradient of stride zero to the product.
    x, weight = normal(5, 6).requires_grad_(), normal(4, 6, seed=1).requires_grad_()
    linear(x, weight).sum().backward()
    torch.testing.assert_close(weight.grad, x.sum(0).expand(4, 6))
    torch.testing.assert_close(x.grad, weight.sum(0).expand(5, 6))


def test_rms_norm() -> None:
    def plain(x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (weight.shape[0],), weight, 1e-5)

    same(lambda x, w: rms_norm(x, w, 1e-5), plain, normal(2, 9, 24) * 3, normal(24, seed=1))


def test_swiglu() -> None:
    def plain(both: Tensor) -> Tensor:
        gate, up = both.chunk(2, -1)
        return F.silu(gate) * up

    same(swiglu, plain, normal(2, 9, 24) * 3)


@pytest.mark.parametrize(("queries", "keys"), [(4, 4), (4, 1), (2, 1)])
def test_split_and_rotate_is_a_complex_rotation(queries: int, keys: int) -> None:
    angles = normal(9, 1, 5, seed=2)

    def ours(heads: Tensor) -> Tensor:
        parts = split_and_rotate(heads, angles.cos(), angles.sin(), queries, keys)
        assert [part.shape[2] for part in parts] == [queries, keys, keys]
        return torch.cat(parts, 2)

    def plain(heads: Tensor) -> Tensor:
        turned, values = heads.split([queries + keys, keys], 2)
        left, right = turned.chunk(2, -1)
        product = torch.complex(left, right) * torch.polar(torch.ones_like(angles), angles)
        return torch.cat((torch.cat((product.real, product.imag), -1), values), 2)

    same(ours, plain, normal(3, 9, queries + 2 * keys, 10))
    same(
        lambda heads: rotate(heads, angles.cos(), angles.sin()),
        lambda heads: plain(F.pad(heads, (0, 0, 0, keys)))[:, :, : queries + keys],
        normal(3, 9, queries + keys, 10),
    )


def test_16_bits_go_the_plain_way() -> None:
    x, weight = normal(4, 24).bfloat16(), normal(24, seed=1)
    exact = F.rms_norm(x.float(), (24,), weight, 1e-5)
    assert rms_norm(x, weight, 1e-5).dtype == torch.bfloat16
    torch.testing.assert_close(rms_norm(x, weight, 1e-5), exact.bfloat16())
    angles = normal(4, 1, 3, seed=2)
    heads = normal(1, 4, 4, 6).bfloat16()
    exact = rotate(heads.float(), angles.cos(), angles.sin())
    torch.testing.assert_close(rotate(heads, angles.cos(), angles.sin()), exact.bfloat16())


@given(
    tokens=st.integers(1, 40),
    chunk=st.integers(1, 50),
    ignored=st.sets(st.integers(0, 39)),
    scale=st.sampled_from([0.1, 1.0, 60.0]),
    softcap=st.sampled_from([None, 5.0, 30.0]),
)
@settings(max_examples=40, deadline=None)
def test_chunked_cross_entropy(
    tokens: int, chunk: int, ignored: set[int], scale: float, softcap: float | None
) -> None:
    targets = torch.arange(tokens) * 7 % 33
    targets[[n for n in ignored if n < tokens]] = -100
    if (targets == -100).all():
        targets[0] = 1

    def ours(hidden: Tensor, weight: Tensor) -> Tensor:
        return linear_cross_entropy(hidden, weight, targets, softcap)

    def plain(hidden: Tensor, weight: Tensor) -> Tensor:
        logits = hidden @ weight.T
        if softcap:
            logits = softcap * torch.tanh(logits / softcap)
        return F.cross_entropy(logits, targets)

    before = loss_module.CHUNK_TOKENS
    loss_module.CHUNK_TOKENS = chunk
    try:
        same(ours, plain, normal(tokens, 12) * scale, normal(33, 12, seed=1))
    finally:
        loss_module.CHUNK_TOKENS = before


def test_cross_entropy_does_not_hold_all_logits() -> None:
    # 4,096 tokens over 8,192 entries are 128 MiB of logits; a chunk's are 16 MiB.
    from torch.profiler import ProfilerActivity, profile

    hidden, weight = normal(4096, 8).requires_grad_(), normal(8192, 8).requires_grad_()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        linear_cross_entropy(hidden, weight, torch.zeros(4096, dtype=torch.int64)).backward()
    largest = max(event.cpu_memory_usage for event in record.events())
    assert 0 < largest <= 64 * 2**20
