"""Phases of a recipe: what each reads, in what sequences, how it is trained, at what scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from firnline.settings import read_count
from firnline.tokens.grammars import KINDS as GRAMMARS
from firnline.tokens.infilling import InfillingConfig
from firnline.tokens.mixture import MOST_EPOCHS, SourceConfig, check_language_share, shares
from firnline.tokens.packing import PackingConfig
from firnline.training.objectives.config import Objectives
from firnline.training.phase import PhaseConfig

# What `Scale` multiplies in a schedule.
_STEPS = ("warmup_steps", "decay_steps", "steps")
_RATES = ("peak", "floor", "start", "to")


class PhaseData(BaseModel):
    """Which documents a phase trains on, and where its weights come from."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    init: str | None = None
    """An earlier phase whose last weights this one starts from, or a checkpoint folder by its path
    (with a slash); null is a fresh model."""
    data: Literal["corpus", "selected", "synthetic"] | None = None
    """`corpus`: all that curation kept; `selected`: the best of it by score, per language, with the
    corpus's language mix; `synthetic`: the documents of `synthesize`, after curation."""
    mixture: dict[str, SourceConfig] = {}
    """Several sources by name instead of `data`, each with its share of the tokens."""
    repeat: float = Field(default=1.0, ge=1.0)
    """How often `selected` or `synthetic` tokens are seen: `tokens / repeat` of them are taken."""
    language_share: dict[str, float] = {}
    """Share of tokens set for a language; the others keep their proportions."""
    max_epochs: float = Field(default=MOST_EPOCHS, gt=0)
    """How often `corpus` data may be seen in the phase; more is refused."""

    @field_validator("language_share")
    @classmethod
    def _are_shares(cls, value: dict[str, float]) -> dict[str, float]:
        return check_language_share(value)


class Scale(BaseModel):
    """A smaller (or larger) run of the same recipe: every phase is multiplied."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    tokens: float = Field(default=1.0, gt=0)
    """Times the tokens of each phase."""
    steps: float = Field(default=1.0, gt=0)
    """Times the steps that schedules give (warm-up, decay): another number where batches differ."""
    learning_rate: float = Field(default=1.0, gt=0)
    """Times the learning rates that schedules give: small models want larger ones."""


@dataclass(frozen=True)
class Phase:
    """One phase: its data, how it becomes sequences, and its training."""

    name: str
    data: PhaseData
    training: PhaseConfig
    packing: PackingConfig
    infilling: InfillingConfig | None
    objective: Objectives | None = None
    """What an encoder or encoder-decoder learns; None is next token."""

    @property
    def sources(self) -> dict[str, SourceConfig]:
        """The sources that have a share; `data` alone is one source of that name.

        Where objectives need identifiers, of languages that have a grammar; what is selected stays.
        """
        found = self.written_sources
        if self.objective is None or not self.objective.reading("labels"):
            return found
        chosen = self.selection.data if self.selection else None
        return {
            name: one if one.data == chosen else with_identifiers(one)
            for name, one in found.items()
        }

    @property
    def written_sources(self) -> dict[str, SourceConfig]:
        """The sources as the recipe has them."""
        data = self.data
        if data.data is None:
            return {name: data.mixture[name] for name in shares(data.mixture)}
        most = max(data.max_epochs, data.repeat)
        return {
            data.data: SourceConfig(share=1, data=data.data, repeat=data.repeat, max_epochs=most)
        }

    @property
    def selection(self) -> Selection | None:
        """What is selected for this phase, and how much; None where nothing is."""
        data, tokens = self.data, self.training.tokens
        if data.data in ("selected", "synthetic"):
            budget = math.ceil(tokens / data.repeat)
            return Selection(data.data, budget, data.language_share)
        parts = shares(data.mixture) if data.data is None else {}
        for name, share in parts.items():
            source = data.mixture[name]
            if source.data == "selected" and source.tokens is None:
                budget = math.ceil(tokens * share / Fraction(str(source.repeat)))
                return Selection("selected", budget, source.language_share)
        return None


def with_identifiers(source: SourceConfig) -> SourceConfig:
    """The source without the languages whose identifiers are not known."""
    languages = source.languages or sorted(GRAMMARS)
    known = tuple(name for name in languages if name in GRAMMARS)
    return source.model_copy(update={"languages": known})


class Selection(NamedTuple):
    """Documents to choose for a phase: the best of the corpus, or synthetic ones at random."""

    data: Literal["selected", "synthetic"]
    tokens: int
    language_share: Mapping[str, float]


def checkpoint_folder(init: str) -> Path | None:
    """The checkpoint that an `init` names by its path, itself or inside a training stage's folder;
    None where it names a phase."""
    if "/" not in init:
        return None
    folder = Path(init).expanduser()
    inner = folder / "checkpoint"
    return inner if inner.is_dir() else folder


def scaled(training: Mapping[str, Any], scale: Scale) -> dict[str, Any]:
    """A phase's training with its tokens, steps and learning rates times `scale`."""
    values = dict(training)
    if "tokens" in training:
        values["tokens"] = _times(training["tokens"], scale.tokens)
    if "schedule" in training:
        values["schedule"] = _scaled_schedule(training["schedule"], scale)
    if isinstance(warmup := training.get("batch_warmup"), Mapping) and "tokens" in warmup:
        values["batch_warmup"] = {**warmup, "tokens": _times(warmup["tokens"], scale.tokens)}
    return values


def _times(tokens: Any, factor: float) -> Any:
    tokens = read_count(tokens)
    if not isinstance(tokens, int) or factor == 1:
        return tokens
    return max(1, round(tokens * factor))


def _scaled_schedule(schedule: Any, scale: Scale) -> Any:
    if isinstance(schedule, list):  # the pieces of a chain
        return [_scaled_schedule(piece, scale) for piece in schedule]
    if not isinstance(schedule, Mapping):
        return schedule
    values = dict(schedule)
    for key, value in schedule.items():
        if key in _STEPS and isinstance(value, int) and value:
            values[key] = max(1, round(value * scale.steps))
        elif key in _RATES and scale.learning_rate != 1:
            with suppress(TypeError, ValueError):  # YAML reads 1e-3 as text
                values[key] = float(value) * scale.learning_rate
        else:
            values[key] = _scaled_schedule(value, scale)
    return values
