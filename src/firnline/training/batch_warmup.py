"""Batches that grow at the beginning of a phase, and which samples each step reads. No torch.

Small batches early, when gradients of few samples agree, spend fewer tokens on the same progress
(GPT-3, section 2.3: linear over the first 4 to 12 billion tokens). Where a step stands in the data
is a closed form of its number, so that a phase needs no history to go on.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from firnline.settings import Count


class BatchWarmup(BaseModel):
    """From `first_sequences` to the phase's whole batch over about `tokens` tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kind: Literal["linear", "stairs"] = "linear"
    """`linear`: the batch grows by the same amount with each step. `stairs`: it stands still on
    stairs that are `stride_sequences` high and each as many tokens long."""
    first_sequences: int = Field(ge=1)
    """Samples of the first optimizer step."""
    tokens: Count = Field(ge=1)
    """Tokens after which the batch is whole, to within a batch."""
    stride_sequences: int = Field(default=1, ge=1)
    """Batches differ from the first by a multiple of this: micro-batch times ranks, say."""


@dataclass(frozen=True)
class Batches:
    """Which samples each step of a phase reads: `whole` a step, or fewer during a warm-up.

    Step *s* (0 is the first) reads samples `first_sample(s)` to `first_sample(s + 1) - 1`; the
    phase's end cuts the last step short. Raises ValueError where the warm-up does not fit.
    """

    whole: int
    """Samples of a step after the warm-up."""
    sequence_length: int
    """Tokens a sample predicts."""
    warmup: BatchWarmup | None = None

    def __post_init__(self) -> None:
        if self.warmup is None:
            return
        first, stride = self.warmup.first_sequences, self.warmup.stride_sequences
        if first >= self.whole:
            raise ValueError(
                f"batch warm-up: the first batch of {first:,} sequences is not smaller than the "
                f"whole one of {self.whole:,}"
            )
        if (self.whole - first) % stride:
            raise ValueError(
                f"batch warm-up: from {first:,} to {self.whole:,} sequences is no multiple of "
                f"stride_sequences, {stride:,}"
            )

    @cached_property
    def warmup_steps(self) -> int:
        """Steps of the warm-up; from the next one on the batch is whole."""
        return self._stairs[-1][0] if self._stairs else self._ramp_steps

    def first_sample(self, step: int) -> int:
        """Samples that the steps before `step` read, and so the first that `step` reads."""
        warm = min(step, self.warmup_steps)
        return self._warm_samples(warm) + (step - warm) * self.whole

    def batch_at(self, step: int) -> int:
        """Samples of step `step`, where the phase's end does not cut it."""
        return self.first_sample(step + 1) - self.first_sample(step)

    def steps_for(self, samples: int) -> int:
        """Steps that read the first `samples` samples, the last and possibly smaller one included.

        The inverse of `first_sample`: `steps_for(first_sample(step)) == step`.
        """
        most = -(-samples // min(self.whole, self._first))
        return bisect_left(range(most + 1), samples, key=self.first_sample)

    def step_of(self, sample: int) -> int:
        """The step that reads sample number `sample`."""
        return self.steps_for(sample + 1) - 1

    @property
    def _first(self) -> int:
        return self.warmup.first_sequences if self.warmup else self.whole

    @property
    def _rises(self) -> int:
        """How many strides lie between the first batch and the whole one."""
        return (self.whole - self._first) // self.warmup.stride_sequences if self.warmup else 0

    @property
    def _ramp_steps(self) -> int:
        """Steps of a linear warm-up: its tokens over the mean of the first and the whole batch."""
        if self.warmup is None:
            return 0
        return -(-2 * self.warmup.tokens // ((self._first + self.whole) * self.sequence_length))

    @cached_property
    def _stairs(self) -> list[tuple[int, int]]:
        """Steps and samples before each stair, and after the last; empty without stairs."""
        if self.warmup is None or self.warmup.kind != "stairs":
            return []
        steps = samples = 0
        corners = [(0, 0)]
        for rise in range(self._rises):
            batch = self._first + rise * self.warmup.stride_sequences
            length = -(-self.warmup.tokens // (self._rises * batch * self.sequence_length))
            steps, samples = steps + length, samples + length * batch
            corners.append((steps, samples))
        return corners

    def _warm_samples(self, step: int) -> int:
        """Samples before a step that is not after the warm-up."""
        if self.warmup is None:
            return 0
        stride = self.warmup.stride_sequences
        if self._stairs:
            rise = bisect_right(self._stairs, step, key=itemgetter(0)) - 1
            begin, before = self._stairs[rise]
            return before + (step - begin) * (self._first + rise * stride)
        # Step s has risen by (rises * s / ramp_steps), rounded to the nearest: (2rs + n) // 2n.
        length = self._ramp_steps
        return step * self._first + stride * floor_sum(step, 2 * length, 2 * self._rises, length)


def floor_sum(count: int, divisor: int, slope: int, offset: int) -> int:
    """The sum of (slope * i + offset) // divisor for i from 0 to count - 1, in logarithmic time.

    Counts the lattice points under the line, swapping its axes as Euclid's algorithm does. All
    arguments are at least 0, `divisor` at least 1.
    """
    total = 0
    while count:
        total += (slope // divisor) * (count * (count - 1) // 2) + (offset // divisor) * count
        slope, offset = slope % divisor, offset % divisor
        top = slope * count + offset
        count, offset = divmod(top, divisor)
        divisor, slope = slope, divisor
    return total
