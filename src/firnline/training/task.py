"""What a phase learns: a model, its batches and its loss. The loop knows nothing else of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

Tensors = Mapping[str, Tensor]


class Task(Protocol):
    """An objective: next token with or without infilling, span masking, tagging, contrast, …"""

    def build(self) -> nn.Module:
        """The model at the beginning of the phase, on the CPU, float32, the same on every rank.

        Or without memory, on the meta device, if the task is a `LateWeights`.
        """

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


class LateWeights(Task, Protocol):
    """A task whose model may exceed one rank's memory: it is sharded before it has weights."""

    def fill(self, model: nn.Module) -> object:
        """Sets the weights that a phase begins with, of what `build` made and ranks may share.

        Every rank calls it, sets what it holds (`model.shards.set_rows`), and has no more than one
        whole weight in memory at a time. A phase that goes on from a state does without it.
        """
