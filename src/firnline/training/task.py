"""What a phase learns: a model, its batches and its loss. The loop knows nothing else of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

Tensors = Mapping[str, Tensor]


class Task(Protocol):
    """An objective: next token with or without infilling, span masking, tagging, contrast, …"""

    def build(self) -> nn.Module:
        """The model at the beginning of the phase, on the CPU, float32, the same on every rank."""

    def batch(self, first: int, count: int) -> Tensors:
        """Samples `first` to `first + count - 1`, a pure function of these numbers.

        Each tensor is on the CPU and has the samples as its first dimension. The loop asks for a
        micro-batch at a time and each rank for its own, so that a sample must not depend on those
        beside it.
        """

    def loss(self, model: nn.Module, batch: Tensors) -> tuple[Tensor, Tensor]:
        """The sum (nats) of the losses of all targets in the batch, and how many there are.

        The batch is on the model's device. Sums, so that the gradient of a step is that of its
        mean loss whatever the micro-batches and ranks are: the loop divides by the targets of the
        whole step. With no target the sum is 0 and has a gradient of 0.
        """
