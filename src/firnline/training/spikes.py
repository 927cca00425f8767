"""What to do with a step whose loss or gradient is out of line: go on, skip it, or stop.

The decision is a function of the rows of `metrics.jsonl` before the step, so that a phase that goes
on after a kill decides as it would have, and no state is saved for it. Imports no torch.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

# The median absolute deviation of a normal distribution times this is its standard deviation.
_NORMAL = 1.4826


class SpikeConfig(BaseModel):
    """When a step is out of line, and what then. A step that is skipped leaves the weights and the
    optimizer as they were; its samples are not read again."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    not_finite: Literal["stop", "skip"] = "stop"
    """What to do where loss or gradient norm is NaN or infinite."""
    spike: Literal["ignore", "stop", "skip"] = "ignore"
    """What to do where one of them is far above its last values."""
    deviations: float = Field(default=8.0, gt=0)
    """How far: so many standard deviations above the median, the deviation taken from the median
    absolute one, as a spike would enlarge the usual one."""
    window: int = Field(default=128, ge=8)
    """How many of the last good steps are compared with; the first so many are not judged."""
    most_skips: int = Field(default=10, ge=0)
    """Steps that a phase may skip; the next one stops it."""


class Verdict(NamedTuple):
    """What to do with a step, and why in words where it is not fine."""

    action: Literal["go on", "skip", "stop"]
    reason: str = ""


class SpikePolicy:
    """Judges each step by those before it.

        policy = SpikePolicy(config, read_metrics(path))     # rows so far
        verdict = policy.judge(loss, gradient_norm)          # before the optimizer's step
        policy.add(row)                                      # the row that was written for it

    Loss and norm must be the whole step's, not a rank's, so that all ranks decide alike. A row of a
    skipped step has the key `skipped`, its reason.
    """

    def __init__(self, config: SpikeConfig, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._config = config
        self._losses: deque[float] = deque(maxlen=config.window)
        self._norms: deque[float] = deque(maxlen=config.window)
        self.skips = 0
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        """Takes note of a step's row: `loss`, `gradient_norm` and, if it was, `skipped`."""
        if row.get("skipped"):
            self.skips += 1
        else:
            self._losses.append(row["loss"])
            self._norms.append(row["gradient_norm"])

    def judge(self, loss: float, gradient_norm: float) -> Verdict:
        """What to do with a step of this loss and gradient norm; takes no note of it."""
        named = (
            ("loss", loss, self._losses),
            ("gradient norm", gradient_norm, self._norms),
        )
        for name, value, _ in named:
            if not math.isfinite(value):
                return self._bounded(self._config.not_finite, f"{name} is {value}")
        if self._config.spike == "ignore" or len(self._losses) < self._config.window:
            return Verdict("go on")
        for name, value, past in named:
            limit = self._limit(past)
            if value > limit:
                reason = (
                    f"{name} is {value:.4g}, above {limit:.4g}: the median of the last "
                    f"{len(past)} good steps and {self._config.deviations:g} deviations"
                )
                return self._bounded(self._config.spike, reason)
        return Verdict("go on")

    def _limit(self, past: deque[float]) -> float:
        """The largest value in line with the past ones."""
        median = statistics.median(past)
        deviation = _NORMAL * statistics.median(abs(value - median) for value in past)
        # At least a hundredth of the median, lest values that hardly differ condemn the next.
        return median + self._config.deviations * max(deviation, 0.01 * abs(median))

    def _bounded(self, action: Literal["stop", "skip"], reason: str) -> Verdict:
        if action == "skip" and self.skips >= self._config.most_skips:
            return Verdict("stop", f"{reason}, and {self.skips:,} steps were skipped before")
        return Verdict(action, reason)


def ledger_row(
    *,
    phase: str,
    step: int,
    first_sample: int,
    samples: int,
    verdict: Verdict,
    loss: float,
    gradient_norm: float,
    learning_rate: float,
) -> dict[str, Any]:
    """What `spikes.jsonl` tells of a step that was skipped or stopped the phase.

    `step` counts from 1 as in `metrics.jsonl`; `firnline why --step` leads from the samples to the
    files.
    """
    return {
        "phase": phase,
        "step": step,
        "action": verdict.action,
        "reason": verdict.reason,
        "loss": loss,
        "gradient_norm": gradient_norm,
        "learning_rate": learning_rate,
        "first_sample": first_sample,
        "samples": samples,
    }
