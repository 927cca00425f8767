"""The learning rate as a pure function of the step. Imports no torch.

Whatever its kind, a schedule is a warm-up and then segments, each from a first step and its rate to
a last step and its rate: `segments` lays them out, `learning_rate` reads one off.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

Shape = Literal["constant", "linear", "cosine", "1-sqrt", "inverse_square_root"]

# How much of the way between its two rates a segment has gone, by the share of its steps gone.
_WAY: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 0.0,
    "linear": lambda progress: progress,
    "cosine": lambda progress: (1 - math.cos(math.pi * progress)) / 2,
    "1-sqrt": math.sqrt,  # the rate left is 1 - sqrt(progress): Hägele et al. 2024
}


class Piece(BaseModel):
    """A piece of a chain; it begins at the rate where the one before ended."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kind: Shape = "linear"
    """Its shape; `inverse_square_root` falls as 1/sqrt(step) and is told no rate to reach."""
    to: float | None = Field(default=None, ge=0)
    """Learning rate it reaches when it is over. Above the rate where it began is a re-warm-up."""
    steps: int | None = Field(default=None, ge=1)
    """Its optimizer steps."""
    share: float | None = Field(default=None, gt=0, lt=1)
    """Its share of all the phase's steps, rounded to whole ones, instead of `steps`."""

    @model_validator(mode="after")
    def _whole(self) -> Piece:
        if self.steps is not None and self.share is not None:
            raise ValueError("give steps or share, not both")
        if self.kind in ("constant", "inverse_square_root"):
            if self.to is not None:
                raise ValueError(f"to has no meaning in a piece of kind {self.kind}")
        elif self.to is None:
            raise ValueError(f"a piece of kind {self.kind} needs to, the rate that it reaches")
        return self


class Schedule(BaseModel):
    """Linear warm-up from `start` to `peak`, then `kind`.

    Arctic-SnowCoder, phase 1: cosine, peak 5.3e-4, floor 5.3e-5, 600 steps of warm-up; phases 2
    and 3: linear, peak 5.3e-4, floor 0, 1,000 steps of re-warm-up. Table 5's other two:
    linear with peak 5.3e-5 and no warm-up, constant at 5.3e-5. The cooldown of "To Code, or Not To
    Code": linear with floor 1e-6, its peak the rate where the phase before ended.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kind: Literal["cosine", "linear", "constant", "wsd", "inverse_square_root", "chain"]
    """What follows the warm-up: a fall over all its steps (`cosine`, `linear`), the peak throughout
    (`constant`), the peak and a fall over the last steps (`wsd`: warm-up, stable, decay), a fall
    as 1/sqrt(step) (`inverse_square_root`, Vaswani et al. 2017), or `pieces` (`chain`)."""
    peak: float = Field(gt=0)
    """Learning rate at the end of the warm-up."""
    floor: float = Field(default=0.0, ge=0)
    """Learning rate that `cosine`, `linear` and `wsd` reach when the phase is over, and below
    which `inverse_square_root` does not go."""
    warmup_steps: int = Field(default=0, ge=0)
    """Optimizer steps of warm-up."""
    start: float = Field(default=0.0, ge=0)
    """Learning rate from which the warm-up begins."""
    decay: Literal["linear", "cosine", "1-sqrt"] | None = None
    """`wsd`: shape of the fall; default linear."""
    decay_steps: int | None = Field(default=None, ge=1)
    """`wsd`: optimizer steps of the fall."""
    decay_share: float | None = Field(default=None, gt=0, le=1)
    """`wsd`: share of all the phase's steps in the fall, instead of `decay_steps`."""
    pieces: tuple[Piece, ...] = ()
    """`chain`: what follows the warm-up. One of them, and only one, gives neither steps nor share:
    it takes what the others leave."""

    @model_validator(mode="after")
    def _whole(self) -> Schedule:
        if self.floor > self.peak:
            raise ValueError(f"floor ({self.floor:g}) is above peak ({self.peak:g})")
        if self.start > self.peak:
            raise ValueError(f"start ({self.start:g}) is above peak ({self.peak:g})")
        if self.start and not self.warmup_steps:
            raise ValueError("start has no meaning without warmup_steps")
        meaningless = {
            "floor": self.floor and self.kind in ("constant", "chain"),
            "decay": self.decay and self.kind != "wsd",
            "decay_steps": self.decay_steps and self.kind != "wsd",
            "decay_share": self.decay_share and self.kind != "wsd",
            "pieces": self.pieces and self.kind != "chain",
        }
        for field, found in meaningless.items():
            if found:
                raise ValueError(f"{field} has no meaning in a {self.kind} schedule")
        if self.kind == "wsd" and (self.decay_steps is None) == (self.decay_share is None):
            raise ValueError("a wsd schedule needs decay_steps or decay_share, one of the two")
        if self.kind == "chain":
            rest = sum(piece.steps is None and piece.share is None for piece in self.pieces)
            if rest != 1:
                raise ValueError(
                    f"{rest} of {len(self.pieces)} pieces give neither steps nor share: one must, "
                    "and takes what the others leave"
                )
        return self


class Segment(NamedTuple):
    """Steps `first` to `last - 1`: `before` is the rate at `first`, `after` the one at `last`."""

    first: int
    last: int
    before: float
    after: float
    shape: Shape
    floor: float = 0.0


def learning_rate(schedule: Schedule, step: int, steps: int) -> float:
    """Learning rate of optimizer step `step` (0 is the first) of a phase of `steps`.

    The warm-up is at its start one step before the first and `peak` at step `warmup_steps`; the
    last segment is at its end one step after the last. So no step is spent at a rate of zero.
    Raises ValueError for a step before -1 or after `steps`, and as `segments` does.
    """
    if not -1 <= step <= steps:
        raise ValueError(f"step {step:,} is none of a phase of {steps:,} steps")
    if step < schedule.warmup_steps:
        rise = (schedule.peak - schedule.start) * (step + 1) / (schedule.warmup_steps + 1)
        return schedule.start + rise
    parts = segments(schedule, steps)
    return _rate(next((part for part in parts if step < part.last), parts[-1]), step)


def segments(schedule: Schedule, steps: int) -> list[Segment]:
    """What follows the warm-up in a phase of `steps`, in order and without gaps.

    Raises ValueError, which says at which step, where the parts do not fit into the phase.
    """
    first, rate = schedule.warmup_steps, schedule.peak
    if schedule.kind == "constant":  # the one kind whose warm-up may outlast the phase
        return [Segment(first, max(first, steps), rate, rate, "constant")]
    if first >= steps:
        raise ValueError(
            f"the warm-up of {first:,} steps leaves nothing of the phase's {steps:,} steps"
        )
    parts: list[Segment] = []
    for piece, length in _lengths(schedule, steps):
        after = rate if piece.to is None else piece.to
        part = Segment(first, first + length, rate, after, piece.kind, schedule.floor)
        if piece.kind == "inverse_square_root":
            part = part._replace(after=_rate(part, part.last))
        parts.append(part)
        first, rate = part.last, part.after
    return parts


def points(schedule: Schedule, steps: int, count: int = 200) -> list[tuple[int, float]]:
    """Steps and their rates for a plot: both ends, every corner, `count` even ones between."""
    corners = {0, steps, min(schedule.warmup_steps, steps)}
    corners |= {min(part.last, steps) for part in segments(schedule, steps)}
    even = {round(steps * number / count) for number in range(count)}
    return [(step, learning_rate(schedule, step, steps)) for step in sorted(corners | even)]


def describe(schedule: Schedule, steps: int) -> str:
    """In words: `linear from 0 to 0.00053 at step 600, cosine to 5.3e-05 at step 119,210`."""
    words = []
    if schedule.warmup_steps:
        start, peak, end = schedule.start, schedule.peak, schedule.warmup_steps
        words.append(f"linear from {start:g} to {peak:g} at step {end:,}")
    for part in segments(schedule, steps):
        if part.shape == "constant":
            words.append(f"constant {part.before:g} to step {part.last:,}")
        else:
            shape = part.shape.replace("_", " ")
            words.append(f"{shape} to {part.after:g} at step {part.last:,}")
    return ", ".join(words)


def _lengths(schedule: Schedule, steps: int) -> list[tuple[Piece, int]]:
    """The parts after the warm-up as pieces, each with its number of steps."""
    pieces: tuple[Piece, ...]
    match schedule.kind:
        case "cosine" | "linear":
            pieces = (Piece(kind=schedule.kind, to=schedule.floor),)
        case "inverse_square_root":
            pieces = (Piece(kind=schedule.kind),)
        case "wsd":
            fall = _steps(schedule.decay_steps, schedule.decay_share, steps)
            decay = Piece(kind=schedule.decay or "linear", to=schedule.floor, steps=fall)
            if schedule.warmup_steps + fall == steps:
                return [(decay, fall)]
            pieces = (Piece(kind="constant"), decay)
        case _:
            pieces = schedule.pieces
    given = [_steps(piece.steps, piece.share, steps) for piece in pieces]
    taken = schedule.warmup_steps + sum(given)
    if taken >= steps:
        raise ValueError(
            f"the warm-up of {schedule.warmup_steps:,} steps and the {sum(given):,} steps that the "
            f"{schedule.kind} schedule gives its parts end at step {taken:,} and leave nothing of "
            f"the phase's {steps:,} steps for the part that takes the rest"
        )
    return [
        (piece, steps - taken if piece.steps is None and piece.share is None else length)
        for piece, length in zip(pieces, given, strict=True)
    ]


def _steps(number: int | None, share: float | None, steps: int) -> int:
    """Steps of a part that gives a number or a share, at least one; 0 where it gives neither."""
    if share is not None:
        return max(1, round(share * steps))
    return number or 0


def _rate(part: Segment, step: int) -> float:
    if part.shape == "inverse_square_root":
        return max(part.floor, part.before * math.sqrt((part.first + 1) / (step + 1)))
    progress = (step - part.first) / max(part.last - part.first, 1)
    return part.before + (part.after - part.before) * _WAY[part.shape](progress)
