"""The task of a phase, from what its recipe says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from firnline.training.objectives.config import (
    ContrastConfig,
    DualGenerationConfig,
    IdentifierTaggingConfig,
    MaskedIdentifiersConfig,
    MaskedTokensConfig,
    MatchingConfig,
    ObjectiveConfig,
    Objectives,
    PairConfig,
    SpanMaskingConfig,
)
from firnline.training.objectives.hiding import (
    IdentifierTagging,
    MaskedIdentifiers,
    MaskedTokens,
    SpanMasking,
)
from firnline.training.objectives.mixture import Mixture
from firnline.training.objectives.objective import Objective, Setup
from firnline.training.objectives.pairing import Contrast, DualGeneration, Matching, PairSource
from firnline.training.phase import SampleSource


@dataclass(frozen=True)
class Sources:
    """What the objectives of a phase read; each is opened when it is asked for."""

    tokens: Callable[[], SampleSource]
    labels: Callable[[], SampleSource]
    pairs: Callable[[PairConfig], PairSource]


def build_task(
    objectives: Objectives, setup: Setup, sources: Sources, *, sequence_length: int, block: int
) -> Mixture:
    """The objectives in their shares; `block` samples in a row are of one (see `Mixture`)."""
    used = objectives.used
    return Mixture(
        {name: build_objective(one, setup, sources, sequence_length) for name, one in used.items()},
        {name: one.share for name, one in used.items()},
        weights={name: one.weight for name, one in used.items()},
        block=block,
    )


def build_objective(
    config: ObjectiveConfig, setup: Setup, sources: Sources, length: int
) -> Objective:
    """One objective on samples of `length` tokens."""
    match config:
        case SpanMaskingConfig(rate=rate, words=longest):
            samples = sources.tokens()
            return SpanMasking(setup, samples, sequence_length=length, rate=rate, longest=longest)
        case MaskedIdentifiersConfig():
            return MaskedIdentifiers(
                setup,
                sources.tokens(),
                sources.labels(),
                sequence_length=length,
                input_length=config.input_length,
                target_length=config.target_length,
            )
        case IdentifierTaggingConfig():
            tokens, labels = sources.tokens(), sources.labels()
            return IdentifierTagging(setup, tokens, labels, sequence_length=length)
        case MaskedTokensConfig(rate=rate):
            return MaskedTokens(setup, sources.tokens(), sequence_length=length, rate=rate)
        case DualGenerationConfig():
            return DualGeneration(setup, sources.pairs(config))
        case ContrastConfig(group=group, temperature=temperature):
            pairs = sources.pairs(config)
            return Contrast(setup, pairs, group=group, temperature=temperature)
        case MatchingConfig(group=group, negatives=negatives):
            return Matching(setup, sources.pairs(config), group=group, negatives=negatives)
    raise TypeError(f"no objective is made from {type(config).__name__}")
