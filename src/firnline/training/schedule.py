"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Schedule(BaseModel):
    """Linear warm-up from zero to `peak`, then `kind` down to `floor`.

    Arctic-SnowCoder, phase 1: cosine, peak 5.3e-4, floor 5.3e-5, 600 steps of warm-up; phases 2
    and 3: linear, peak 5.3e-4, floor 0, 1,000 steps of re-warm-up. Table 5's other two:
    linear with peak 5.3e-5 and no warm-up, constant at 5.3e-5.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kind: Literal["cosine", "linear", "constant"]
    """Shape after the warm-up."""
    peak: float = Field(gt=0)
    """Learning rate at the end of the warm-up."""
    floor: float = Field(default=0.0, ge=0)
    """Learning rate that `cosine` and `linear` reach when the phase is over."""
    warmup_steps: int = Field(default=0, ge=0)
    """Optimizer steps of warm-up."""

    @model_validator(mode="after")
    def _floor_below_peak(self) -> Schedule:
        if self.floor > self.peak:
            raise ValueError(f"floor ({self.floor:g}) is above peak ({self.peak:g})")
        if self.kind == "constant" and self.floor:
            raise ValueError("floor has no meaning in a constant schedule")
        return self


def learning_rate(schedule: Schedule, step: int, steps: int) -> float:
    """Learning rate of optimizer step `step` (0 is the first) of a phase of `steps`.

    The warm-up is zero one step before the first and `peak` at step `warmup_steps`; the decay is
    `floor` one step after the last. So no step is spent at a rate of zero.
    """
    if step < schedule.warmup_steps:
        return schedule.peak * (step + 1) / (schedule.warmup_steps + 1)
    if schedule.kind == "constant":
        return schedule.peak
    progress = (step - schedule.warmup_steps) / max(steps - schedule.warmup_steps, 1)
    if schedule.kind == "cosine":
        progress = (1 - math.cos(math.pi * progress)) / 2
    return schedule.peak + (schedule.floor - schedule.peak) * progress
