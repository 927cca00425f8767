"""Recipes: one YAML file names sources, rules, annotator, phases and benchmarks.

A recipe may extend another (`extends: NAME_OR_PATH`); mappings are merged key by key, anything
else is replaced. Every mistake is reported at once, each with its key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from firnline.benchmarks.problems import locate
from firnline.corpus.stage import IngestConfig
from firnline.curate import rules
from firnline.curate.stage import CurateConfig
from firnline.errors import FirnlineError
from firnline.evaluation.stage import EvaluateConfig
from firnline.languages import LANGUAGES
from firnline.model.config import ModelConfig
from firnline.model.presets import PRESETS
from firnline.quality.stage import AnnotateConfig
from firnline.settings import complaints, merge, parse_settings, read_count
from firnline.synthesis.stage import SynthesisConfig
from firnline.tokens.pack import PackConfig
from firnline.tokens.train import TokenizerConfig
from firnline.training.phase import PhaseConfig

Section = TypeVar("Section", bound=BaseModel)
Raw = dict[str, Any]

_KEYS = (
    "extends",
    "name",
    "seed",
    "benchmarks",
    "ingest",
    "curate",
    "synthesize",
    "tokenizer",
    "pack",
    "annotate",
    "model",
    "training",
    "phases",
    "evaluate",
)
# Said once, at the top of the recipe, for every section that has the field.
_SHARED = ("seed", "benchmarks")


class PhaseData(BaseModel):
    """Which documents a phase trains on, and where its weights come from."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    init: str | None = None
    """An earlier phase whose last weights this one starts from; null is a fresh model."""
    data: Literal["corpus", "selected", "synthetic"]
    """`corpus`: all that curation kept; `selected`: the best of it by score, per language, with the
    corpus's language mix; `synthetic`: the documents of `synthesize`, after curation."""
    repeat: float = Field(default=1.0, ge=1.0)
    """How often `selected` or `synthetic` tokens are seen: `tokens / repeat` of them are taken."""
    language_share: dict[str, float] = {}
    """Share of tokens set for a language; the others keep their proportions."""


@dataclass(frozen=True)
class Phase:
    """One phase: its data and its training."""

    name: str
    data: PhaseData
    training: PhaseConfig


@dataclass(frozen=True)
class Recipe:
    """A recipe that has been read and checked whole. `raw` is what it says, as plain values."""

    name: str
    seed: int
    benchmarks: tuple[str, ...]
    ingest: IngestConfig
    curate: CurateConfig
    synthesize: SynthesisConfig | None
    tokenizer: TokenizerConfig
    pack: PackConfig
    annotate: AnnotateConfig | None
    model: ModelConfig
    phases: tuple[Phase, ...]
    evaluate: EvaluateConfig
    raw: Raw

    def phase(self, name: str) -> Phase:
        """The phase of that name."""
        return next(phase for phase in self.phases if phase.name == name)


def packaged() -> list[str]:
    """Names of the recipes that ship with the package."""
    folder = resources.files("firnline") / "recipes"
    return sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml"))


def load(name_or_path: str, settings: Sequence[str] = ()) -> Recipe:
    """Reads a packaged recipe or a YAML file, with `key=value` settings over it.

    Raises FirnlineError with every mistake at once, each with its key.
    """
    raw = merge(_read(name_or_path, ()), parse_settings(settings))
    raw.pop("extends", None)
    return check(raw)


def check(raw: Raw) -> Recipe:
    """A recipe from plain values; raises FirnlineError with every mistake at once."""
    reader = _Reader(raw)
    recipe = reader.read()
    if recipe is None or reader.mistakes:
        count = len(reader.mistakes)
        raise FirnlineError(
            f"{count} {'mistake' if count == 1 else 'mistakes'} in the recipe",
            mend="correct each",
            details=tuple(reader.mistakes),
        )
    return recipe


def _read(name_or_path: str, seen: tuple[str, ...]) -> Raw:
    if name_or_path in seen:
        raise FirnlineError(
            f"recipes extend one another in a circle: {' -> '.join((*seen, name_or_path))}",
            mend="remove one extends",
        )
    path = Path(name_or_path).expanduser()
    if name_or_path in packaged():
        path = Path(str(resources.files("firnline") / "recipes" / f"{name_or_path}.yaml"))
    elif not path.is_file():
        raise FirnlineError(
            f"no recipe {name_or_path}", mend=f"give a YAML file or one of {', '.join(packaged())}"
        )
    try:
        raw = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise FirnlineError(f"{path} is not YAML: {problem}", mend="correct the file") from error
    if not isinstance(raw, dict):
        raise FirnlineError(f"{path} is not a mapping of keys", mend="see docs/recipes.md")
    if below := raw.get("extends"):
        base = str(below)
        if base not in packaged():
            base = str(path.parent / base)
        return merge(_read(base, (*seen, name_or_path)), raw)
    return raw


class _Reader:
    """Reads sections one by one, so that a mistake in one does not hide those in another."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.mistakes: list[str] = []

    def read(self) -> Recipe | None:
        raw = self.raw
        for key in raw:
            if key not in _KEYS:
                self.mistakes.append(f"{key}: no such key")
        name = raw.get("name", "")
        if not isinstance(name, str) or not name:
            self.mistakes.append("name: a recipe has a name")
        seed = raw.get("seed", 0)
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            self.mistakes.append(f"seed: a whole number of 0 or more, got {seed!r}")
            seed = 0
        benchmarks = self._benchmarks()
        self.shared: Raw = {"seed": seed, "benchmarks": benchmarks}
        ingest = self._section("ingest", IngestConfig)
        curate = self._section("curate", CurateConfig)
        if curate is not None:
            self.mistakes.extend(f"curate.{line}" for line in rules.check(curate))
        synthesize = self._section("synthesize", SynthesisConfig) if "synthesize" in raw else None
        tokenizer = self._section("tokenizer", TokenizerConfig)
        pack = self._section("pack", PackConfig)
        annotate = self._section("annotate", AnnotateConfig) if "annotate" in raw else None
        phases = self._phases()
        model = self._model(tokenizer, phases)
        evaluate = self._section("evaluate", EvaluateConfig)
        self._check_phases(phases, annotate, synthesize)
        self._check_comparisons(evaluate, phases)
        if not (ingest and curate and tokenizer and pack and model and phases and evaluate):
            return None
        return Recipe(
            name=name,
            seed=seed,
            benchmarks=benchmarks,
            ingest=ingest,
            curate=curate,
            synthesize=synthesize,
            tokenizer=tokenizer,
            pack=pack,
            annotate=annotate,
            model=model,
            phases=tuple(phases),
            evaluate=evaluate,
            raw=raw,
        )

    def _benchmarks(self) -> tuple[str, ...]:
        specs = self.raw.get("benchmarks", [])
        if not isinstance(specs, list) or not all(isinstance(spec, str) for spec in specs):
            self.mistakes.append("benchmarks: a list of names, or of name=PATH")
            return ()
        for spec in specs:
            try:
                locate(spec)
            except FirnlineError as error:
                self.mistakes.append(f"benchmarks: {error}")
        return tuple(specs)

    def _section(self, key: str, kind: type[Section]) -> Section | None:
        return self._make(key, kind, self.raw.get(key) or {})

    def _make(self, key: str, kind: type[Section], values: Any) -> Section | None:
        if not isinstance(values, Mapping):
            self.mistakes.append(f"{key}: a mapping of keys, got {values!r}")
            return None
        shared = {k: v for k, v in self.shared.items() if k in kind.model_fields}
        for name in _SHARED:
            if name in values and name in shared:
                self.mistakes.append(f"{key}.{name}: set {name} at the top of the recipe")
        try:
            return kind.model_validate({**values, **shared})
        except ValidationError as error:
            self.mistakes.extend(complaints(error, key))
            return None

    def _phases(self) -> list[Phase]:
        found = self.raw.get("phases")
        if not isinstance(found, Mapping) or not found:
            self.mistakes.append("phases: a mapping of phase names to phases")
            return []
        common = self.raw.get("training") or {}
        if not isinstance(common, Mapping):
            self.mistakes.append(f"training: a mapping of keys, got {common!r}")
            common = {}
        phases = []
        for name, values in found.items():
            key = f"phases.{name}"
            if not isinstance(values, Mapping):
                self.mistakes.append(f"{key}: a mapping of keys, got {values!r}")
                continue
            own = {k: v for k, v in values.items() if k in PhaseData.model_fields}
            rest = merge(common, {k: v for k, v in values.items() if k not in own})
            if "tokens" in rest:
                rest["tokens"] = read_count(rest["tokens"])
            data = self._make(key, PhaseData, own)
            training = self._make(key, PhaseConfig, {**rest, "name": str(name)})
            if data and training:
                phases.append(Phase(str(name), data, training))
        return phases

    def _model(self, tokenizer: TokenizerConfig | None, phases: list[Phase]) -> ModelConfig | None:
        values = self.raw.get("model")
        if not isinstance(values, Mapping):
            self.mistakes.append("model: a mapping with a preset or a shape")
            return None
        shape: Raw = {}
        if preset := values.get("preset"):
            if preset not in PRESETS:
                known = ", ".join(sorted(PRESETS))
                self.mistakes.append(f"model.preset: no preset {preset!r}, there are {known}")
                return None
            shape = PRESETS[preset].model_dump()
        own = {key: value for key, value in values.items() if key != "preset"}
        if tokenizer is not None:
            if "vocabulary_size" in own:
                self.mistakes.append("model.vocabulary_size: it is the tokenizer's, leave it out")
            own["vocabulary_size"] = tokenizer.vocabulary_size
        longest = max((phase.training.sequence_length for phase in phases), default=0)
        shape = {**shape, **own}
        shape.setdefault("context", longest or 1)
        model = self._make("model", ModelConfig, shape)
        if model and longest > model.context:
            self.mistakes.append(
                f"model.context: {model.context:,} is shorter than the longest training sequence,"
                f" {longest:,}"
            )
        return model

    def _check_phases(
        self,
        phases: list[Phase],
        annotate: AnnotateConfig | None,
        synthesize: SynthesisConfig | None,
    ) -> None:
        if annotate is not None and "synthesize" not in self.raw:
            self.mistakes.append("annotate: its good examples come from a synthesize section")
        earlier: set[str] = set()
        named = set(self.raw.get("phases") or {}) if phases else set()
        for phase in phases:
            key, data = f"phases.{phase.name}", phase.data
            if phase.name in ("corpus", "synthetic"):
                self.mistakes.append(f"{key}: pack-{phase.name} has that name, call it otherwise")
            if data.init is not None and data.init not in earlier and data.init in named:
                self.mistakes.append(f"{key}.init: {data.init!r} does not come before this phase")
            elif data.init is not None and data.init not in named:
                self.mistakes.append(f"{key}.init: no phase {data.init!r}")
            if data.data == "selected" and annotate is None and "annotate" not in self.raw:
                self.mistakes.append(f"{key}.data: selected needs an annotate section")
            if data.data == "synthetic" and synthesize is None and "synthesize" not in self.raw:
                self.mistakes.append(f"{key}.data: synthetic needs a synthesize section")
            if data.data == "corpus" and (data.repeat != 1.0 or data.language_share):
                self.mistakes.append(
                    f"{key}.data: repeat and language_share need selected or synthetic data"
                )
            for language, share in data.language_share.items():
                if language not in LANGUAGES:
                    self.mistakes.append(f"{key}.language_share: no language {language!r}")
                elif not 0 <= share <= 1:
                    self.mistakes.append(
                        f"{key}.language_share.{language}: between 0 and 1, got {share}"
                    )
            if sum(data.language_share.values()) > 1 + 1e-9:
                self.mistakes.append(f"{key}.language_share: the shares add up to more than 1")
            earlier.add(phase.name)

    def _check_comparisons(self, evaluate: EvaluateConfig | None, phases: list[Phase]) -> None:
        names = set(self.raw.get("phases") or {}) if phases else set()
        for pair in evaluate.compare if evaluate else ():
            for name in pair:
                if name not in names:
                    self.mistakes.append(f"evaluate.compare: no phase {name!r}")
