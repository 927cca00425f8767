"""Learning-rate schedules against closed forms, and phases against their arithmetic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from firnline.training.phase import PhaseConfig
from firnline.training.schedule import Schedule, learning_rate

PHASE_1 = Schedule(kind="cosine", peak=5.3e-4, floor=5.3e-5, warmup_steps=600)
PHASE_2 = Schedule(kind="linear", peak=5.3e-4, warmup_steps=1000)


def test_phase_1_of_the_paper() -> None:
    steps = -(-500_000_000_000 // (512 * 8192))
    assert learning_rate(PHASE_1, -1, steps) == 0
    assert learning_rate(PHASE_1, 299, steps) == pytest.approx(5.3e-4 * 300 / 601)
    assert learning_rate(PHASE_1, 600, steps) == 5.3e-4
    middle = (600 + steps) // 2
    assert learning_rate(PHASE_1, middle, steps) == pytest.approx((5.3e-4 + 5.3e-5) / 2, rel=1e-4)
    quarter = 600 + (steps - 600) / 4
    expected = 5.3e-5 + (5.3e-4 - 5.3e-5) * (1 + math.cos(math.pi / 4)) / 2
    assert learning_rate(PHASE_1, round(quarter), steps) == pytest.approx(expected, rel=1e-4)
    assert learning_rate(PHASE_1, steps, steps) == pytest.approx(5.3e-5)


def test_phase_2_of_the_paper_is_two_straight_lines() -> None:
    steps = -(-50_000_000_000 // (512 * 8192))
    found = [learning_rate(PHASE_2, step, steps) for step in range(-1, steps + 1)]
    expected = np.interp(np.arange(-1, steps + 1), [-1, 1000, steps], [0, 5.3e-4, 0])
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_table_5_without_rewarmup() -> None:
    linear = Schedule(kind="linear", peak=5.3e-5)
    assert [learning_rate(linear, step, 4) for step in range(5)] == pytest.approx(
        [5.3e-5, 5.3e-5 * 0.75, 5.3e-5 * 0.5, 5.3e-5 * 0.25, 0]
    )
    constant = Schedule(kind="constant", peak=5.3e-5)
    assert {learning_rate(constant, step, 4) for step in range(5)} == {5.3e-5}


@given(
    kind=st.sampled_from(["cosine", "linear", "constant"]),
    warmup=st.integers(0, 50),
    decay=st.integers(1, 200),
)
def test_a_schedule_rises_to_its_peak_and_then_falls(kind: Any, warmup: int, decay: int) -> None:
    schedule = Schedule(kind=kind, peak=0.5, warmup_steps=warmup)
    rates = [learning_rate(schedule, step, warmup + decay) for step in range(warmup + decay)]
    assert rates[: warmup + 1] == sorted(rates[: warmup + 1])
    assert rates[warmup] == max(rates) == 0.5
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert min(rates) > 0  # no step is spent at zero


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "linear", "peak": 1e-4, "floor": 1e-3}, r"floor \(0.001\) is above peak"),
        ({"kind": "constant", "peak": 1e-3, "floor": 1e-4}, "no meaning"),
        ({"kind": "square", "peak": 1e-3}, "kind"),
        ({"kind": "linear", "peak": 0}, "peak"),
        ({"kind": "linear", "peak": 1, "warmup": 3}, "warmup"),
    ],
)
def test_a_meaningless_schedule_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Schedule.model_validate(settings)


@given(tokens=st.integers(1, 10_000), length=st.integers(1, 64), batch=st.integers(1, 16))
def test_steps_and_samples_hold_the_tokens_and_no_more(
    tokens: int, length: int, batch: int
) -> None:
    phase = PhaseConfig(
        name="p",
        tokens=tokens,
        sequence_length=length,
        batch_sequences=batch,
        schedule=Schedule(kind="constant", peak=1e-3),
    )
    assert (phase.steps - 1) * batch * length < tokens <= phase.steps * batch * length
    assert (phase.samples - 1) * length < tokens <= phase.samples * length


def test_a_warmup_longer_than_the_phase_is_refused_with_numbers() -> None:
    with pytest.raises(ValidationError, match=r"warm-up of 1,000 steps .* phase's 3 steps"):
        PhaseConfig(
            name="beta", tokens=300, sequence_length=10, batch_sequences=10, schedule=PHASE_2
        )
