"""Which objectives a phase has: their shares and settings, as a recipe says them. No torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from firnline.training.objectives.shapes import Family, Pass
from firnline.training.objectives.vocabulary import Integers, sample_states

Reads = Literal["tokens", "labels", "pairs"]


class ObjectiveConfig(BaseModel):
    """What every objective has."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    families: ClassVar[tuple[Family, ...]] = ("t5", "bert")
    reads: ClassVar[Reads] = "tokens"
    """`tokens`: samples of text; `labels`: these and which tokens are identifiers; `pairs`: of text
    and code."""
    heads: ClassVar[tuple[str, ...]] = ()
    unit: ClassVar[int] = 1
    """Samples that tell of the same text: a unit of bootstraps."""

    share: float = Field(default=0.0, ge=0, le=1)
    """Share of the phase's steps; at 0 the objective is left out."""
    weight: float = Field(default=1.0, gt=0)
    """Times the objective's loss."""

    def longest(self, length: int) -> int:
        """Tokens of the longest input, where samples have `length`."""
        return max(one.inputs for one in self.passes(length))

    @abstractmethod
    def passes(self, length: int) -> list[Pass]:
        """A sample's ways through the model, where samples of text have `length` tokens."""


class SpanMaskingConfig(ObjectiveConfig):
    """Hidden spans of words."""

    families = ("t5",)

    rate: float = Field(default=0.15, gt=0, lt=1)
    """Share of the tokens that are hidden."""
    words: int = Field(default=5, ge=1)
    """Words of the longest span."""

    def passes(self, length: int) -> list[Pass]:
        """One, with the hidden tokens and a sentinel for each span of three."""
        hidden = max(1, int(self.rate * length + 0.5))
        return [Pass(length, hidden + hidden // 3 + 1)]


class MaskedIdentifiersConfig(ObjectiveConfig):
    """The name behind each sentinel."""

    families = ("t5",)
    reads = "labels"

    input_length: int | None = Field(default=None, ge=1)
    """Tokens of an input: at least the sample's, by default a quarter more."""
    target_length: int | None = Field(default=None, ge=3)
    """Tokens of a target: by default half of the sample's."""

    def passes(self, length: int) -> list[Pass]:
        """One."""
        return [Pass(self.input_length or length * 5 // 4, self.target_length or length // 2)]


class IdentifierTaggingConfig(ObjectiveConfig):
    """Whether a token of code is an identifier."""

    reads = "labels"
    heads = ("tag",)

    def passes(self, length: int) -> list[Pass]:
        """One, of the encoder."""
        return [Pass(length)]


class MaskedTokensConfig(ObjectiveConfig):
    """Hidden tokens."""

    families = ("bert",)

    rate: float = Field(default=0.15, gt=0, lt=1)
    """Share of the tokens that are to be told."""

    def passes(self, length: int) -> list[Pass]:
        """One."""
        return [Pass(length, round(self.rate * length))]


class PairConfig(ObjectiveConfig):
    """What objectives on pairs have."""

    reads = "pairs"

    text_length: int = Field(default=64, ge=1)
    """Tokens of a text at most; longer ones are cut."""
    code_length: int = Field(default=192, ge=1)
    """Tokens of code at most."""

    @abstractmethod
    def pairs_of(self, first: int, count: int) -> tuple[int, int]:
        """The first of the pairs that samples `first` to `first + count - 1` hold, and how many."""

    @abstractmethod
    def samples_of(self, pairs: Integers) -> Integers:
        """The samples that hold these pairs."""


class DualGenerationConfig(PairConfig):
    """Code from its text, text from its code."""

    families = ("t5",)
    unit = 2

    def passes(self, length: int) -> list[Pass]:
        """One: half of the samples generate code."""
        longer = 1 + max(self.text_length, self.code_length)
        return [Pass(longer, longer)]

    def pairs_of(self, first: int, count: int) -> tuple[int, int]:
        """Two samples for a pair."""
        return first // 2, (first + count - 1) // 2 - first // 2 + 1

    def samples_of(self, pairs: Integers) -> Integers:
        """Both directions of each."""
        return np.concatenate([2 * pairs, 2 * pairs + 1])


class GroupConfig(PairConfig):
    """What objectives on groups of pairs have."""

    group: int = Field(default=16, ge=2)
    """Pairs of a sample, which are told from one another."""

    def pairs_of(self, first: int, count: int) -> tuple[int, int]:
        """A group for a sample."""
        return first * self.group, count * self.group

    def samples_of(self, pairs: Integers) -> Integers:
        """Their groups."""
        return np.unique(pairs // self.group)

    def _embedded(self) -> list[Pass]:
        lengths = (self.text_length, self.code_length)
        return [Pass(1 + length, times=self.group) for length in lengths]


class ContrastConfig(GroupConfig):
    """Which code belongs to which text."""

    heads = ("embed",)

    temperature: float = Field(default=0.07, gt=0)
    """What similarities are divided by."""

    def passes(self, length: int) -> list[Pass]:
        """Texts and codes by themselves."""
        return self._embedded()


class MatchingConfig(GroupConfig):
    """Whether a code belongs to a text."""

    heads = ("match",)

    negatives: Literal["random", "hard"] = "random"
    """The wrong code of a text: any of the group, or the one most like it by `contrast`."""

    def passes(self, length: int) -> list[Pass]:
        """Right and wrong pairs read together; hard ones are found without a backward pass."""
        together = Pass(3 + self.text_length + self.code_length, times=2 * self.group)
        search = self._embedded() if self.negatives == "hard" else []
        return [together, *(one._replace(times=one.times / 3) for one in search)]


class Objectives(BaseModel):
    """The objectives of a phase by name, each with its share of the steps; they add up to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    span_masking: SpanMaskingConfig | None = None
    masked_identifiers: MaskedIdentifiersConfig | None = None
    identifier_tagging: IdentifierTaggingConfig | None = None
    masked_tokens: MaskedTokensConfig | None = None
    dual_generation: DualGenerationConfig | None = None
    contrast: ContrastConfig | None = None
    matching: MatchingConfig | None = None

    @model_validator(mode="after")
    def _whole(self) -> Objectives:
        total = sum(one.share for one in self.used.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares add up to {total:.6g}, not to 1")
        hard = self.matching is not None and self.matching.negatives == "hard"
        if hard and "matching" in self.used and "contrast" not in self.used:
            raise ValueError(
                "hard negatives of matching are found by contrast, which has no share here: give it"
                " one, or take random negatives"
            )
        return self

    @property
    def used(self) -> dict[str, ObjectiveConfig]:
        """Those that have a share, by name."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: one for name, one in named.items() if one is not None and one.share > 0}

    def reading(self, *what: Reads) -> dict[str, ObjectiveConfig]:
        """Those that read one of these."""
        return {name: one for name, one in self.used.items() if one.reads in what}

    @property
    def heads(self) -> set[str]:
        """Heads that the model has for them."""
        found = {head for one in self.used.values() for head in one.heads}
        hard = self.matching and self.matching.share and self.matching.negatives == "hard"
        return found | ({"embed"} if hard else set())


def turns(shares: Mapping[str, float], seed: int, phase: str, numbers: Integers) -> Integers:
    """Which objective, in the order of their names, each numbered block of samples is of."""
    states = sample_states(seed, phase, "mixture", numbers)
    bounds = np.cumsum([shares[name] for name in sorted(shares)])
    chosen = np.searchsorted(bounds, states / 2.0**64, side="right")
    return np.minimum(chosen, len(shares) - 1).astype(np.int64)
