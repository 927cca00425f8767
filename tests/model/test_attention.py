"""Attention's two ways of masking, and what a layer is given, against loops and each other."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from firnline.model import llama
from firnline.model.attention import Rule, attend, positions
from firnline.model.config import ModelConfig
from firnline.model.llama import KVCache, Llama

DOCUMENTS = torch.tensor([[0] * 5 + [1] + [2] * 9 + [-1] * 3, [0] * 18], dtype=torch.int32)


def shape(**changes: Any) -> ModelConfig:
    plain: dict[str, Any] = {"vocabulary_size": 50, "hidden": 32, "ffn_hidden": 40, "layers": 3}
    plain |= {"heads": 4, "kv_heads": 2, "context": 32}
    return ModelConfig(**plain | changes)


def normal(*sizes: int, seed: int) -> Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(seed))


def ids(seed: int = 0) -> Tensor:
    return torch.randint(0, 50, (2, 18), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("window", "softcap", "scale", "documents"),
    list(itertools.product((None, 1, 4, 18, 30), (None, 2.0), (None, 3.0), (None, DOCUMENTS))),
)
def test_attention_is_the_sum_it_says(
    window: int | None, softcap: float | None, scale: float | None, documents: Tensor | None
) -> None:
    config = shape(sliding_window=window, attention_softcap=softcap, query_scale=scale)
    query, key, value = (normal(2, 18, heads, 8, seed=heads) for heads in (4, 2, 2))
    where = positions(config, ids(), documents)
    found = attend(Rule.of(config, 0), query, key, value, where)
    for row, at, head in itertools.product(range(2), (0, 1, 5, 6, 11, 17), range(4)):
        seen = [
            other
            for other in range(at + 1)
            if (window is None or at - other < window)
            and (documents is None or documents[row, other] == documents[row, at])
        ]
        scores = key[row, seen, head // 2] @ query[row, at, head] / (scale or 8) ** 0.5
        if softcap:
            scores = softcap * torch.tanh(scores / softcap)
        expected = scores.softmax(0) @ value[row, seen, head // 2]
        torch.testing.assert_close(found[row, at, head], expected, atol=1e-5, rtol=1e-4)


def varlen(query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any) -> Tensor:
    """What torch's documentation says varlen_attn computes; the kernel itself needs a GPU."""
    starts, other, longest, _ = args
    assert starts.dtype == torch.int32 and torch.equal(starts, other)
    left, right = options["window_size"]
    assert right == 0
    parts = []
    for first, end in itertools.pairwise(starts.tolist()):
        assert end - first <= longest
        at = torch.arange(end - first)
        distance = at[:, None] - at
        mask = (distance >= 0) & ((distance <= left) | (left < 0))
        mixed = F.scaled_dot_product_attention(
            *(part[first:end].transpose(0, 1)[None] for part in (query, key, value)),
            attn_mask=mask,
            scale=options["scale"],
            enable_gqa=options["enable_gqa"],
        )
        parts.append(mixed[0].transpose(0, 1))
    return torch.cat(parts)


@pytest.mark.parametrize("documents", [None, DOCUMENTS])
@pytest.mark.parametrize("every", [0, 2])
@pytest.mark.parametrize("window", [None, 4])
def test_the_kernels_arguments_say_what_the_masks_say(
    window: int | None, every: int, documents: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = shape(
        sliding_window=window, full_attention_every=every if window else 0, query_scale=5.0
    )
    model = Llama(config).initialise(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(6)
    expected = model(ids(), documents=documents)
    calls: list[object] = []

    def counted(*args: Any, **options: Any) -> Tensor:
        calls.append(options)
        return varlen(*args, **options)

    monkeypatch.setattr(llama, "fits_kernel", lambda *_: True)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", counted)
    found = model(ids(), documents=documents)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    # Plain causal attention is left to SDPA.
    assert len(calls) == (0 if window is None and documents is None else config.layers)


def test_the_kernel_accepts_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward through PyTorch's own shape rules for the kernel, in 16 bits."""
    monkeypatch.setattr(llama, "fits_kernel", lambda *_: True)
    with FakeTensorMode(shape_env=ShapeEnv(allow_dynamic_output_shape_ops=True)):
        model = Llama(shape(sliding_window=4, full_attention_every=2))
        for module in model.modules():  # bfloat16() cannot swap fake tensors
            for name, weight in list(module.named_parameters(recurse=False)):
                setattr(module, name, torch.nn.Parameter(weight.bfloat16()))
        tokens = torch.zeros(2, 18, dtype=torch.int64)
        assert model(tokens, documents=tokens).shape == (2, 18, 50)
        model.loss(tokens, tokens, tokens).backward()
        assert all(weight.grad is not None for weight in model.parameters())


def test_no_mask_is_made_where_none_is_needed() -> None:
    plain = positions(shape(), ids())
    assert plain.mask is None and plain.window_mask is None and plain.starts is None
    far = positions(shape(sliding_window=18), ids())
    assert far.mask is None and far.window_mask is None
    some = positions(shape(sliding_window=17), ids())
    assert some.mask is None and some.window_mask is not None


def test_sharding_does_not_see_the_angles() -> None:
    """FSDP casts tensors that it finds in a layer's arguments to 16 bits."""
    where = positions(shape(), ids())
    assert tree_leaves((where,)) == [where]


def test_a_cache_is_of_one_document() -> None:
    model = Llama(shape()).initialise(0)
    with pytest.raises(ValueError, match="leave documents out"):
        model(ids(), KVCache(model.config, 2, 18), DOCUMENTS)


def test_padding_changes_nothing() -> None:
    """Whatever stands where documents are -1, other tokens' losses and all gradients stay."""
    model = Llama(shape(sliding_window=6)).initialise(1)
    targets = ids(1).where(DOCUMENTS >= 0, -100)
    losses = []
    for filling in (7, 31):
        model.zero_grad()
        loss = model.loss(ids().where(DOCUMENTS >= 0, filling), targets, DOCUMENTS)
        loss.backward()
        losses.append([loss.item(), *(weight.grad for weight in model.model.layers.parameters())])
    for one, other in zip(*losses, strict=True):
        torch.testing.assert_close(one, other)


def test_initial_gains_are_one_and_biases_zero() -> None:
    model = Llama(
        shape(norm_plus_one=True, qkv_bias=True, query_key_norm="head", norms="both")
    ).initialise(0)
    for name, weight in model.named_parameters():
        if "norm" in name or name.endswith("bias"):
            assert (weight == 0).all()
        else:
            assert weight.std() > 0.005
    hidden = normal(2, 3, 32, seed=4)
    normed = model.model.norm(hidden)
    torch.testing.assert_close(normed.square().mean(-1), torch.ones(2, 3), atol=1e-3, rtol=0)
    for weight in (w for n, w in Llama(shape()).initialise(0).named_parameters() if "norm" in n):
        assert (weight == 1).all()
