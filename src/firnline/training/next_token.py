"""Next-token prediction on a sample source, with or without infilling: that is in the samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from firnline.errors import FirnlineError
from firnline.model.llama import Llama
from firnline.model.loss import IGNORE
from firnline.training.phase import PhaseConfig, SampleSource
from firnline.training.task import Tensors


class NextToken:
    """A `Task`: each token from those before it, for exactly the phase's tokens.

    `limit` is the number of tokens that may be targets, from sample 0 on (None: all). Where `build`
    makes a model on the meta device, `fill` sets its weights (`task.LateWeights`).
    """

    def __init__(
        self,
        config: PhaseConfig,
        samples: SampleSource,
        build: Callable[[], Llama],
        *,
        vocabulary_size: int,
        limit: int | None,
        fill: Callable[[Llama], object] | None = None,
    ) -> None:
        self.config, self.samples, self.build = config, samples, build
        self.vocabulary_size, self.limit, self.fill = vocabulary_size, limit, fill

    def batch(self, first: int, count: int) -> Tensors:
        """`inputs` and `targets`, int64 [count, sequence_length]; IGNORE where padding or beyond
        the limit. With masked attention also `documents`, int32 of the inputs' shape."""
        length = self.config.sequence_length
        ids, documents = self.samples.batch(first, count)
        self._check(ids.shape, int(ids.min()), int(ids.max()), first, count)
        rows = torch.from_numpy(ids)
        # A copy: one sample's row is contiguous already, and masking must not reach inputs.
        inputs, targets = rows[:, :-1], rows[:, 1:].clone(memory_format=torch.contiguous_format)
        if self.limit is not None and (left := self.limit - first * length) < count * length:
            targets.view(-1)[max(left, 0) :] = IGNORE
        batch = {"inputs": inputs, "targets": targets}
        if documents is not None:
            numbers = torch.from_numpy(documents)
            targets[numbers[:, 1:] < 0] = IGNORE
            if self.config.attention == "masked":
                batch["documents"] = numbers[:, :-1]
        elif self.config.attention == "masked":
            raise FirnlineError(
                f"phase {self.config.name}: attention is masked, the samples have no documents",
                mend="pack them for masked attention, or set attention: across",
            )
        return batch

    def loss(self, model: nn.Module, batch: Tensors) -> tuple[Tensor, Tensor]:
        """As `Task.loss`."""
        targets = batch["targets"]
        given = [batch["documents"]] if "documents" in batch else []
        mean = cast(Llama, model).loss(batch["inputs"], targets, *given)
        count = (targets != IGNORE).sum()
        return mean * count, count

    def _check(self, shape: tuple[int, ...], low: int, high: int, first: int, count: int) -> None:
        config = self.config
        wanted = (count, config.sequence_length + 1)
        if shape != wanted:
            raise FirnlineError(
                f"phase {config.name}: samples are {list(shape)}, {list(wanted)} were asked for",
                mend="pack with the phase's sequence_length",
            )
        if low < 0 or high >= self.vocabulary_size:
            raise FirnlineError(
                f"phase {config.name}: token id {low if low < 0 else high} in samples {first:,} to "
                f"{first + count - 1:,} is outside the model's vocabulary of "
                f"{self.vocabulary_size:,}",
                mend="use the tokenizer that the model was made for",
            )
