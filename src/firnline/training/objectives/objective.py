"""What all objectives have: a setup, random states, and samples as arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from firnline.batch import Batch
from firnline.errors import FirnlineError
from firnline.model.loss import IGNORE
from firnline.training.objectives.models import HeadedModel, build_model
from firnline.training.objectives.shapes import Family, ModelShape
from firnline.training.objectives.vocabulary import Vocabulary, sample_states

Integers = NDArray[np.int64]
Tensors = Mapping[str, Tensor]
Loss = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Setup:
    """A phase's model, vocabulary and randomness: one object for all of its objectives."""

    shape: ModelShape
    vocabulary: Vocabulary
    seed: int
    phase: str
    init: Path | None = None
    """A checkpoint folder to begin with; random weights without one."""

    def __post_init__(self) -> None:
        if self.shape.sentinels != self.vocabulary.sentinels:
            raise FirnlineError(
                f"the model has {self.shape.sentinels} sentinels, the vocabulary "
                f"{self.vocabulary.sentinels}",
                mend="make the vocabulary with the model's",
            )

    def build(self, heads: Collection[str]) -> HeadedModel:
        """The model at the beginning of the phase, with these heads."""
        return build_model(self.shape, self.vocabulary, self.seed, heads, self.init)


class Objective(ABC):
    """A `Task` whose samples are hidden, tagged or paired in one way.

    All that is random about sample n is a function of (seed, phase, objective, n); numbers past an
    epoch go on, so that the next epoch hides other tokens.
    """

    name: ClassVar[str]
    families: ClassVar[tuple[Family, ...]] = ("t5", "bert")
    heads: tuple[str, ...] = ()
    """Heads that the model must have beside those of its family."""

    def __init__(self, setup: Setup) -> None:
        """Raises FirnlineError where the model's family has no such objective."""
        if setup.shape.family not in self.families:
            raise FirnlineError(
                f"objective {self.name}: the model is {setup.shape.family}",
                mend=f"choose {' or '.join(self.families)}",
            )
        self.setup = setup
        self.vocabulary = setup.vocabulary

    def build(self) -> HeadedModel:
        """The model at the beginning of the phase."""
        return self.setup.build(self.heads)

    @abstractmethod
    def batch(self, first: int, count: int) -> Tensors:
        """Samples `first` to `first + count - 1`, as a `Task`'s."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Tensors) -> Loss:
        """The sum (nats) of the losses of all targets, and how many targets there are."""

    def describe(self) -> dict[str, Any]:
        """What the objective is, for a manifest: its name and its settings."""
        plain = {k: v for k, v in vars(self).items() if isinstance(v, int | float | str)}
        return {"objective": self.name, **plain}

    def states(self, first: int, count: int) -> NDArray[np.uint64]:
        """The random states of samples `first` to `first + count - 1`."""
        numbers = np.arange(first, first + count, dtype=np.int64)
        return sample_states(self.setup.seed, self.setup.phase, self.name, numbers)

    def visible(self, inputs: Tensor) -> Tensor:
        """Which inputs attention sees: all but padding."""
        return inputs != self.vocabulary.pad

    def tokens(self, batch: Batch, length: int) -> Integers:
        """A copy of the first `length` ids of each sample, the padding id where it is padded.

        Raises FirnlineError where samples are shorter, or an id is not the tokenizer's.
        """
        if batch.ids.shape[1] < length:
            raise FirnlineError(
                f"objective {self.name}: samples have {batch.ids.shape[1]} tokens, not {length}",
                mend="give the samples the same sequence_length",
            )
        ids = batch.ids[:, :length].copy()
        padded = np.zeros(ids.shape, dtype=bool)
        if batch.documents is not None:
            padded = batch.documents[:, :length] < 0
        unknown = ((ids < 0) | (ids >= self.vocabulary.tokenizer_size)) & ~padded
        if unknown.any():
            raise FirnlineError(
                f"objective {self.name}: token id {int(ids[unknown][0])} is outside the "
                f"vocabulary of {self.vocabulary.tokenizer_size:,}",
                mend="use the tokenizer that the tokens were made with",
            )
        ids[padded] = self.vocabulary.pad
        return ids

    def empty(self, count: int, length: int, fill: int | None = None) -> Integers:
        """[count, length] of the padding id, or of `fill`."""
        return np.full((count, length), self.vocabulary.pad if fill is None else fill, np.int64)


def fit(objective: Objective, what: str, length: int) -> int:
    """`length`, unless it is longer than the table of positions of the model."""
    shape = objective.setup.shape
    if shape.family == "bert" and length > shape.context:
        raise FirnlineError(
            f"objective {objective.name}: {what} takes {length} tokens, the model's context is "
            f"{shape.context}",
            mend="shorten the samples or raise context",
        )
    return length


def sequence_loss(model: nn.Module, objective: Objective, batch: Tensors) -> Loss:
    """Cross-entropy of the decoder's targets, given the encoder's inputs."""
    inputs, targets = batch["inputs"], batch["targets"]
    logits = model("generate", inputs, objective.visible(inputs), targets)
    total = functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    return total, (targets != IGNORE).sum()


def tensors(**arrays: NDArray[np.generic]) -> dict[str, Tensor]:
    """Arrays as tensors, by their names."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
