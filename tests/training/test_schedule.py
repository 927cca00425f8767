"""Learning-rate schedules against closed forms, and phases against their arithmetic."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from firnline.training.phase import PhaseConfig
from firnline.training.schedule import Piece, Schedule, describe, learning_rate, points, segments

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


def plain(schedule: Schedule, step: int, steps: int) -> float:
    """Warm-up, then cosine, linear or constant, as Arctic-SnowCoder's phases are written down."""
    warm, peak, floor = schedule.warmup_steps, schedule.peak, schedule.floor
    if step < warm:
        return peak * (step + 1) / (warm + 1)
    if schedule.kind == "constant":
        return peak
    progress = (step - warm) / (steps - warm)
    if schedule.kind == "cosine":
        progress = (1 - math.cos(math.pi * progress)) / 2
    return peak + (floor - peak) * progress


@given(
    kind=st.sampled_from(["cosine", "linear", "constant"]),
    peak=st.floats(1e-6, 1.0),
    share=st.floats(0, 1),
    warmup=st.integers(0, 40),
    decay=st.integers(1, 100),
)
def test_plain_schedules_are_equal_bit_for_bit(
    kind: Any, peak: float, share: float, warmup: int, decay: int
) -> None:
    floor = 0.0 if kind == "constant" else peak * share
    schedule = Schedule(kind=kind, peak=peak, floor=floor, warmup_steps=warmup)
    steps = warmup + decay
    found = [learning_rate(schedule, step, steps) for step in range(steps + 1)]
    assert found == [plain(schedule, step, steps) for step in range(steps + 1)]


def rates(schedule: Schedule, steps: int) -> list[float]:
    return [learning_rate(schedule, step, steps) for step in range(-1, steps + 1)]


@pytest.mark.parametrize(
    ("decay", "left"),
    [
        ("linear", lambda p: 1 - p),
        ("cosine", lambda p: (1 + math.cos(math.pi * p)) / 2),
        ("1-sqrt", lambda p: 1 - math.sqrt(p)),
    ],
)
def test_warm_up_stable_decay(decay: Any, left: Any) -> None:
    schedule = Schedule(
        kind="wsd", peak=3e-4, floor=3e-5, warmup_steps=10, decay=decay, decay_share=0.2
    )
    found = rates(schedule, 100)
    expected = [3e-4 * step / 11 for step in range(11)] + [3e-4] * 70
    expected += [3e-5 + (3e-4 - 3e-5) * left(step / 20) for step in range(21)]
    assert found == pytest.approx(expected)
    by_steps = schedule.model_copy(update={"decay_share": None, "decay_steps": 20})
    assert rates(by_steps, 100) == found
    # With nothing left between, it is a warm-up and a decay.
    short = Schedule(kind="wsd", peak=1, warmup_steps=4, decay_steps=6)
    assert rates(short, 10) == rates(Schedule(kind="linear", peak=1, warmup_steps=4), 10)


def test_inverse_square_root_is_that_of_attention_is_all_you_need() -> None:
    """d^-0.5 min(n^-0.5, n w^-1.5), n counted from 1; the peak is at n = w."""
    warmup, width = 40, 512
    formula = [width**-0.5 * min(n**-0.5, n * warmup**-1.5) for n in range(1, 1001)]
    schedule = Schedule(kind="inverse_square_root", peak=max(formula), warmup_steps=warmup - 1)
    found = [learning_rate(schedule, step, 1000) for step in range(1000)]
    assert found == pytest.approx(formula)
    floored = schedule.model_copy(update={"floor": formula[499]})
    assert learning_rate(floored, 999, 1000) == formula[499]
    assert learning_rate(floored, 100, 1000) == learning_rate(schedule, 100, 1000)


def test_a_rewarmup_from_a_given_rate() -> None:
    schedule = Schedule(kind="linear", start=5.3e-5, peak=5.3e-4, warmup_steps=9)
    expected = np.interp(np.arange(-1, 51), [-1, 9, 50], [5.3e-5, 5.3e-4, 0])
    np.testing.assert_allclose(rates(schedule, 50), expected)


def test_the_cooldown_of_the_second_paper() -> None:
    """A linear anneal to 1e-6 from the rate where the cosine before it ended."""
    cosine = Schedule(kind="cosine", peak=2e-4, floor=2e-5, warmup_steps=13)
    cooldown = Schedule(kind="linear", peak=learning_rate(cosine, 80, 80), floor=1e-6)
    np.testing.assert_allclose(rates(cooldown, 40)[1:], np.linspace(2e-5, 1e-6, 41))


def test_a_chain_is_the_papers_phases_one_after_the_other() -> None:
    """Cosine to the floor, then each row of Table 5, as one phase and as two."""
    first = Schedule(kind="cosine", peak=5.3e-4, floor=5.3e-5, warmup_steps=6)
    cosine = Piece(kind="cosine", to=5.3e-5, steps=94)
    table_5: dict[str, tuple[list[Piece], Schedule]] = {
        "linear from min LR": ([Piece(to=0)], Schedule(kind="linear", peak=5.3e-5)),
        "constant min LR": ([Piece(kind="constant")], Schedule(kind="constant", peak=5.3e-5)),
        # Piece by piece the way up begins at the rate and not one step before it.
        "re-warm-up": (
            [Piece(to=5.3e-4, steps=10), Piece(to=0)],
            Schedule(kind="linear", start=5.3e-5, peak=5.3e-4, warmup_steps=10),
        ),
    }
    for name, (pieces, second) in table_5.items():
        chain = Schedule(kind="chain", peak=5.3e-4, warmup_steps=6, pieces=(cosine, *pieces))
        found = [learning_rate(chain, step, 150) for step in range(151)]
        apart = [learning_rate(first, step, 100) for step in range(100)]
        apart += [learning_rate(second, step, 50) for step in range(51)]
        if name == "re-warm-up":
            apart[100:110] = np.linspace(5.3e-5, 5.3e-4, 10, endpoint=False).tolist()
        assert found == pytest.approx(apart), name


def test_shares_of_a_chain_are_of_the_whole_phase() -> None:
    chain = Schedule(
        kind="chain",
        peak=1,
        warmup_steps=10,
        pieces=(
            Piece(kind="constant"),
            Piece(to=0.5, share=0.25),
            Piece(kind="inverse_square_root", steps=30),
            Piece(kind="1-sqrt", to=0.1, share=0.1),
        ),
    )
    corners = [(part.first, part.last) for part in segments(chain, 200)]
    assert corners == [(10, 100), (100, 150), (150, 180), (180, 200)]
    at = {step: learning_rate(chain, step, 200) for step in (99, 125, 150, 180, 200)}
    after = 0.5 * math.sqrt(151 / 181)
    assert at == pytest.approx({99: 1, 125: 0.75, 150: 0.5, 180: after, 200: 0.1})


@given(data=st.data())
def test_a_chain_never_jumps(data: st.DataObject) -> None:
    kinds = st.sampled_from(["linear", "cosine", "constant", "inverse_square_root"])
    pieces = []
    for number in range(data.draw(st.integers(1, 5))):
        kind = data.draw(kinds)
        to = data.draw(st.floats(0, 1)) if kind in ("linear", "cosine") else None
        length = 100 if number else None
        pieces.append(Piece(kind=kind, to=to, steps=length))
    chain = Schedule(kind="chain", peak=1.0, warmup_steps=50, pieces=tuple(pieces))
    steps = 50 + 100 * len(pieces)
    found = rates(chain, steps)
    # A hundred steps lead over at most 1; a cosine is steepest at pi/2 of the mean.
    assert max(abs(a - b) for a, b in pairwise(found)) < 0.021
    assert 0 <= min(found) <= max(found) <= 1


def test_points_hold_every_corner_and_describe_names_them() -> None:
    schedule = Schedule(
        kind="wsd", peak=3e-4, floor=1e-6, warmup_steps=1325, decay="1-sqrt", decay_steps=7777
    )
    found = dict(points(schedule, 119_210, 50))
    assert len(found) == 53
    assert found[1325] == found[119_210 - 7777] == 3e-4
    assert found[119_210] == pytest.approx(1e-6)
    assert all(rate == learning_rate(schedule, step, 119_210) for step, rate in found.items())
    assert describe(schedule, 119_210) == (
        "linear from 0 to 0.0003 at step 1,325, constant 0.0003 to step 111,433, "
        "1-sqrt to 1e-06 at step 119,210"
    )
    assert describe(PHASE_1, 1000).endswith("cosine to 5.3e-05 at step 1,000")


@pytest.mark.parametrize(
    ("schedule", "steps", "words"),
    [
        (PHASE_2, 1000, "warm-up of 1,000 steps leaves nothing of the phase's 1,000 steps"),
        (
            Schedule(kind="wsd", peak=1, warmup_steps=60, decay_share=0.5),
            100,
            r"60 steps and the 50 steps that the wsd schedule .* end at step 110 .* 100 steps",
        ),
        (
            Schedule(
                kind="chain",
                peak=1,
                pieces=(Piece(to=0, steps=70), Piece(kind="constant"), Piece(to=1, share=0.3)),
            ),
            100,
            "100 steps that the chain schedule gives its parts end at step 100",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused_with_the_step(
    schedule: Schedule, steps: int, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        segments(schedule, steps)
    with pytest.raises(ValueError, match=words):
        learning_rate(schedule, steps, steps)


def test_a_step_outside_the_phase_is_refused() -> None:
    with pytest.raises(ValueError, match="step 7 is none of a phase of 5 steps"):
        learning_rate(PHASE_1, 7, 5)


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
        ({"kind": "linear", "peak": 1, "start": 2, "warmup_steps": 3}, "start .* above peak"),
        ({"kind": "linear", "peak": 1, "start": 0.5}, "start has no meaning without warmup"),
        ({"kind": "linear", "peak": 1, "decay": "linear"}, "decay has no meaning in a linear"),
        ({"kind": "cosine", "peak": 1, "decay_share": 0.1}, "decay_share has no meaning"),
        ({"kind": "cosine", "peak": 1, "pieces": [{"to": 0}]}, "pieces has no meaning"),
        ({"kind": "wsd", "peak": 1}, "decay_steps or decay_share, one of"),
        ({"kind": "wsd", "peak": 1, "decay_steps": 1, "decay_share": 0.1}, "one of the two"),
        ({"kind": "chain", "peak": 1}, "0 of 0 pieces give neither"),
        ({"kind": "chain", "peak": 1, "floor": 0.1, "pieces": [{"to": 0}]}, "floor has no meaning"),
        ({"kind": "chain", "peak": 1, "pieces": [{"to": 0}, {"to": 1}]}, "2 of 2 pieces"),
        ({"kind": "chain", "peak": 1, "pieces": [{"kind": "cosine"}]}, "needs to, the rate"),
        ({"kind": "chain", "peak": 1, "pieces": [{"kind": "constant", "to": 1}]}, "to has no mean"),
        (
            {"kind": "chain", "peak": 1, "pieces": [{"to": 0, "steps": 1, "share": 0.5}]},
            "steps or share, not both",
        ),
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


def test_a_phase_refuses_a_schedule_that_does_not_fit_it() -> None:
    decay = Schedule(kind="wsd", peak=1e-3, decay_steps=50)
    shape = {"name": "short", "tokens": 1000, "sequence_length": 10, "batch_sequences": 10}
    with pytest.raises(ValueError, match=r"10 steps .*1,000 tokens at 100 for each step"):
        PhaseConfig.model_validate({**shape, "schedule": decay})


def test_a_copied_phase_counts_its_own_steps() -> None:
    rate = Schedule(kind="constant", peak=1e-3)
    one = PhaseConfig(
        name="one", tokens=1000, sequence_length=10, batch_sequences=10, schedule=rate
    )
    assert (one.steps, one.model_copy(update={"batch_sequences": 2}).steps) == (10, 50)
