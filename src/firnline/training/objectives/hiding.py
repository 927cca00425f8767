"""Objectives on samples of text: masked spans, masked identifiers, tags, masked tokens."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from firnline.batch import Batch
from firnline.errors import FirnlineError
from firnline.kernels.identifiers import CODE, NUMBER
from firnline.kernels.masking import mask_spans, mask_tokens
from firnline.kernels.renaming import mask_identifiers
from firnline.model.loss import IGNORE
from firnline.training.objectives.objective import (
    Integers,
    Loss,
    Objective,
    Setup,
    Tensors,
    fit,
    sequence_loss,
    tensors,
)
from firnline.training.phase import SampleSource


class SpanMasking(Objective):
    """Hidden spans of words, told in order by the decoder (T5; CodeT5, section 3.2)."""

    name = "span_masking"
    families = ("t5",)

    def __init__(
        self,
        setup: Setup,
        samples: SampleSource,
        *,
        sequence_length: int,
        rate: float = 0.15,
        longest: int = 5,
    ) -> None:
        """`rate` of the tokens in spans of 1 to `longest` words; 0 < rate < 1.

        Raises FirnlineError where the vocabulary has fewer sentinels than spans of three tokens
        would take.
        """
        super().__init__(setup)
        self.samples, self.rate, self.longest = samples, rate, longest
        self.length = sequence_length
        budget = max(1, int(rate * sequence_length + 0.5))
        self.most = min(setup.vocabulary.sentinels, budget // 2 + 1)
        self.target_length = budget + self.most + 1
        if 3 * setup.vocabulary.sentinels < budget:
            raise FirnlineError(
                f"{sequence_length} tokens masked at {rate:.0%} take about {budget // 3} "
                f"sentinels, the vocabulary has {setup.vocabulary.sentinels}",
                mend="raise sentinels or shorten the sequence",
            )

    def batch(self, first: int, count: int) -> Tensors:
        """inputs [count, sequence_length]; targets [count, target_length]."""
        ids = self.tokens(self.samples.batch(first, count), self.length)
        inputs = self.empty(count, self.length)
        targets = self.empty(count, self.target_length, IGNORE)
        mask_spans(
            ids,
            self.vocabulary.joins(ids),
            self.vocabulary.maskable[ids],
            self.states(first, count),
            self.rate,
            self.longest,
            self.vocabulary.sentinel,
            self.most,
            self.vocabulary.end,
            inputs,
            targets,
        )
        return tensors(inputs=inputs, targets=targets)

    def loss(self, model: nn.Module, batch: Tensors) -> Loss:
        """Nats of the targets, and how many."""
        return sequence_loss(model, self, batch)


class MaskedIdentifiers(Objective):
    """Every identifier a sentinel wherever it stands; names are told (CodeT5, section 3.2).

    `labels` gives the labels (`firnline.kernels.identifiers`) of the tokens of `samples`.
    """

    name = "masked_identifiers"
    families = ("t5",)

    def __init__(
        self,
        setup: Setup,
        samples: SampleSource,
        labels: SampleSource,
        *,
        sequence_length: int,
        input_length: int | None = None,
        target_length: int | None = None,
    ) -> None:
        """A token that is ` name` becomes two, so inputs are longer than samples: by default by a
        quarter. Targets are by default half as long as samples."""
        super().__init__(setup)
        self.samples, self.labels = samples, labels
        self.length = sequence_length
        self.input_length = input_length or sequence_length * 5 // 4
        self.target_length = target_length or max(sequence_length // 2, 3)
        if self.input_length < sequence_length:
            raise FirnlineError(
                f"input_length {self.input_length} is less than the samples' {sequence_length}",
                mend="raise it",
            )

    def batch(self, first: int, count: int) -> Tensors:
        """inputs [count, input_length]; targets [count, target_length].

        Of a sample without identifiers the target is the end alone.
        """
        batch = self.samples.batch(first, count)
        ids = self.tokens(batch, self.length + 1)
        labels = labels_of(self, self.labels, batch, first, self.length + 1)
        inputs = self.empty(count, self.input_length)
        targets = self.empty(count, self.target_length, IGNORE)
        mask_identifiers(
            ids,
            labels,
            begins(batch, self.vocabulary.end, self.length + 1),
            self.vocabulary.spelling,
            self.states(first, count),
            self.vocabulary.sentinel,
            self.vocabulary.sentinels,
            self.vocabulary.end,
            inputs,
            targets,
        )
        targets[(targets == IGNORE).all(1), 0] = self.vocabulary.end
        return tensors(inputs=inputs, targets=targets)

    def loss(self, model: nn.Module, batch: Tensors) -> Loss:
        """Nats of the targets, and how many."""
        return sequence_loss(model, self, batch)


class IdentifierTagging(Objective):
    """Which tokens of code are of identifiers, told by the encoder (CodeT5, section 3.2)."""

    name = "identifier_tagging"
    heads = ("tag",)

    def __init__(
        self,
        setup: Setup,
        samples: SampleSource,
        labels: SampleSource,
        *,
        sequence_length: int,
    ) -> None:
        super().__init__(setup)
        self.samples, self.labels = samples, labels
        self.length = fit(self, "a sample", sequence_length)

    def batch(self, first: int, count: int) -> Tensors:
        """inputs [count, sequence_length]; targets, alike, are 1, 0, or IGNORE for what is no
        code.

        Where a sample holds no code, its first token is told to be no identifier: no step may be
        without a target.
        """
        batch = self.samples.batch(first, count)
        labels = labels_of(self, self.labels, batch, first, self.length)
        targets = np.where(labels & CODE, (labels & NUMBER != 0).astype(np.int64), IGNORE)
        targets[(targets == IGNORE).all(1), 0] = 0
        return tensors(inputs=self.tokens(batch, self.length), targets=targets)

    def loss(self, model: nn.Module, batch: Tensors) -> Loss:
        """Binary cross-entropy of the tokens of code, and how many they are."""
        inputs, targets = batch["inputs"], batch["targets"]
        used = targets != IGNORE
        logits = model("tag", inputs, self.visible(inputs))
        total = functional.binary_cross_entropy_with_logits(
            logits.float()[used], targets[used].float(), reduction="sum"
        )
        return total, used.sum()


class MaskedTokens(Objective):
    """Hidden tokens told by the encoder (BERT, section 3.1; CodeBERT, section 3.4)."""

    name = "masked_tokens"
    families = ("bert",)

    def __init__(
        self,
        setup: Setup,
        samples: SampleSource,
        *,
        sequence_length: int,
        rate: float = 0.15,
    ) -> None:
        super().__init__(setup)
        self.samples, self.rate = samples, rate
        self.length = fit(self, "a sample", sequence_length)

    def batch(self, first: int, count: int) -> Tensors:
        """inputs and targets, both [count, sequence_length]."""
        inputs = self.tokens(self.samples.batch(first, count), self.length)
        targets = self.empty(count, self.length, IGNORE)
        mask_tokens(
            self.vocabulary.maskable[inputs],
            self.states(first, count),
            self.rate,
            self.vocabulary.added("mask"),
            self.vocabulary.ordinary,
            inputs,
            targets,
        )
        return tensors(inputs=inputs, targets=targets)

    def loss(self, model: nn.Module, batch: Tensors) -> Loss:
        """Nats of the hidden tokens, and how many."""
        inputs, targets = batch["inputs"], batch["targets"]
        logits = model("mask", inputs, self.visible(inputs), targets)
        used = targets[targets != IGNORE]
        total = functional.cross_entropy(logits.float(), used, reduction="sum")
        return total, torch.tensor(len(used), device=used.device)


def labels_of(
    objective: Objective, source: SampleSource, batch: Batch, first: int, length: int
) -> Integers:
    """The labels of the first `length` tokens of each sample of a batch, 0 where it is padded.

    Raises FirnlineError where they are not labels of these samples.
    """
    labels = source.batch(first, len(batch.ids))
    same = labels.documents is batch.documents or (
        labels.documents is not None
        and batch.documents is not None
        and np.array_equal(labels.documents, batch.documents)
    )
    if labels.ids.shape != batch.ids.shape or not same:
        raise FirnlineError(
            f"objective {objective.name}: labels from sample {first:,} on are not of these tokens",
            mend="give both sources the same settings, and no infilling",
        )
    found = labels.ids[:, :length].copy()
    if batch.documents is not None:
        found[batch.documents[:, :length] < 0] = 0
    return found


def begins(batch: Batch, end: int, length: int) -> NDArray[np.bool_]:
    """[samples, length]: where a document, or a piece of one, begins."""
    found = np.ones((len(batch.ids), length), dtype=bool)
    found[:, 1:] = batch.ids[:, : length - 1] == end
    if batch.documents is not None:
        documents = batch.documents[:, :length]
        found[:, 1:] |= documents[:, 1:] != documents[:, :-1]
    return found
