"""Batch warm-up against sums made one step at a time."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from firnline.training.batch_warmup import Batches, BatchWarmup, floor_sum

LENGTH = 8


@st.composite
def warm_batches(draw: st.DrawFn) -> Batches:
    first, stride, rises = (draw(st.integers(1, high)) for high in (20, 5, 12))
    warmup = BatchWarmup(
        kind=draw(st.sampled_from(["linear", "stairs"])),
        first_sequences=first,
        tokens=draw(st.integers(1, 5000)),
        stride_sequences=stride,
    )
    return Batches(first + stride * rises, LENGTH, warmup)


def one_by_one(batches: Batches, count: int) -> list[int]:
    """Each step's samples from the definition, with exact fractions and no sums."""
    warmup = batches.warmup
    assert warmup
    first, stride = warmup.first_sequences, warmup.stride_sequences
    rises = (batches.whole - first) // stride
    sizes: list[int] = []
    if warmup.kind == "linear":
        length = -(-2 * warmup.tokens // ((first + batches.whole) * LENGTH))
        # Round half up, in whole numbers.
        sizes = [first + stride * ((2 * rises * s + length) // (2 * length)) for s in range(length)]
    else:
        for rise in range(rises):
            batch, tokens = first + rise * stride, 0
            while tokens * rises < warmup.tokens:  # each stair lasts tokens / rises at least
                sizes.append(batch)
                tokens += batch * LENGTH
    return (sizes + [batches.whole] * count)[:count]


@given(batches=warm_batches())
def test_positions_are_the_sums_of_the_batches(batches: Batches) -> None:
    sizes = one_by_one(batches, 400)
    assert [batches.batch_at(step) for step in range(400)] == sizes
    assert [batches.first_sample(step) for step in range(401)] == [0, *accumulate(sizes)]
    assert sizes == sorted(sizes)


@given(batches=warm_batches(), samples=st.integers(0, 5000))
def test_steps_for_samples_is_the_inverse(batches: Batches, samples: int) -> None:
    steps = batches.steps_for(samples)
    assert batches.first_sample(steps) >= samples
    assert steps == 0 or batches.first_sample(steps - 1) < samples
    assert batches.steps_for(batches.first_sample(steps)) == steps
    step = batches.step_of(samples)
    assert batches.first_sample(step) <= samples < batches.first_sample(step + 1)


@given(batches=warm_batches())
def test_the_batch_is_whole_after_the_tokens_to_within_a_batch(batches: Batches) -> None:
    warmup = batches.warmup
    assert warmup
    tokens = batches.first_sample(batches.warmup_steps) * LENGTH
    assert batches.batch_at(batches.warmup_steps) == batches.whole
    if warmup.kind == "stairs":  # each stair is rounded up to whole steps
        stairs = (batches.whole - warmup.first_sequences) // warmup.stride_sequences
        assert warmup.tokens <= tokens < warmup.tokens + stairs * batches.whole * LENGTH
    else:
        slack = batches.whole + warmup.stride_sequences * batches.warmup_steps
        assert abs(tokens - warmup.tokens) <= slack * LENGTH


def test_a_ramp_of_the_size_of_gpt_3() -> None:
    """32 thousand to 3.2 million tokens over 8 billion: positions at once, mean batch as sized."""
    warmup = BatchWarmup.model_validate({"first_sequences": 16, "tokens": "8B"})
    batches = Batches(1600, 2048, warmup)
    assert batches.warmup_steps == -(-2 * 8_000_000_000 // ((16 + 1600) * 2048))
    tokens = batches.first_sample(batches.warmup_steps) * 2048
    assert abs(tokens - 8_000_000_000) < 1600 * 2048
    far = 10**15
    assert batches.steps_for(batches.first_sample(far)) == far


def test_without_a_warmup_all_batches_are_whole() -> None:
    batches = Batches(7, LENGTH)
    assert [batches.first_sample(step) for step in range(4)] == [0, 7, 14, 21]
    assert [batches.steps_for(samples) for samples in (0, 1, 7, 8, 14, 15)] == [0, 1, 1, 2, 2, 3]
    assert (batches.warmup_steps, batches.batch_at(10**12), batches.step_of(20)) == (0, 7, 2)


@given(
    count=st.integers(0, 60),
    divisor=st.integers(1, 40),
    slope=st.integers(0, 90),
    offset=st.integers(0, 90),
)
def test_floor_sum(count: int, divisor: int, slope: int, offset: int) -> None:
    expected = sum((slope * i + offset) // divisor for i in range(count))
    assert floor_sum(count, divisor, slope, offset) == expected


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"first_sequences": 8, "tokens": 10}, "first batch of 8 sequences is not smaller"),
        ({"first_sequences": 1, "tokens": 10, "stride_sequences": 2}, "no multiple of stride"),
        ({"first_sequences": 0, "tokens": 10}, "first_sequences"),
        ({"first_sequences": 1, "tokens": 0}, "tokens"),
        ({"first_sequences": 1, "tokens": 1, "kind": "cubic"}, "kind"),
        ({"first_sequences": 1, "tokens": 1, "rampup": 1}, "rampup"),
    ],
)
def test_a_meaningless_warmup_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises((ValidationError, ValueError), match=words):
        Batches(8, LENGTH, BatchWarmup.model_validate(settings))
