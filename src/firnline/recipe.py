"""Recipes: one YAML file names sources, rules, annotator, phases and benchmarks.

A recipe may extend another (`extends: NAME_OR_PATH`); mappings are merged key by key, anything
else is replaced. `A+B` is B merged over A. Every mistake is reported at once, each with its key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from firnline.benchmarks.problems import locate
from firnline.contradictions import contradictions
from firnline.corpus.stage import IngestConfig
from firnline.curate import rules
from firnline.curate.stage import CurateConfig
from firnline.errors import FirnlineError
from firnline.evaluation.stage import EvaluateConfig
from firnline.measure import MeasureConfig
from firnline.model.config import ModelConfig
from firnline.model_section import read_shape
from firnline.phases import Phase, PhaseData, Scale, scaled
from firnline.quality.stage import AnnotateConfig
from firnline.settings import complaints, merge, parse_settings, read_yaml
from firnline.synthesis.stage import SynthesisConfig
from firnline.tokens.infilling import InfillingConfig
from firnline.tokens.pack import PackConfig
from firnline.tokens.packing import PackingConfig
from firnline.tokens.tokenizer import Tokenizer
from firnline.tokens.train import TokenizerConfig
from firnline.training.objectives.config import Objectives
from firnline.training.objectives.shapes import ModelShape
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
    "mixture",
    "packing",
    "infilling",
    "objective",
    "scale",
)
# Packaged pieces of a recipe, to be put over whole ones: `balanced-then-text+laptop`.
OVERLAYS = ("laptop",)
# Said once, at the top of the recipe, for every section that has the field.
_SHARED = ("seed", "benchmarks")


class GivenTokenizer(BaseModel):
    """A tokenizer from elsewhere, in place of one that is trained on the corpus."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    folder: Path
    """A tokenizer folder: of another run, or as `firnline import-tokenizer` and `extend-tokenizer`
    make it. Its `tokenizer.json` is taken as it is."""


@dataclass(frozen=True)
class Recipe:
    """A recipe that has been read and checked whole. `raw` is what it says, as plain values."""

    name: str
    seed: int
    benchmarks: tuple[str, ...]
    ingest: IngestConfig
    curate: CurateConfig
    synthesize: SynthesisConfig | None
    tokenizer: TokenizerConfig | GivenTokenizer
    pack: PackConfig
    annotate: AnnotateConfig | None
    model: ModelConfig | ModelShape
    phases: tuple[Phase, ...]
    evaluate: EvaluateConfig | MeasureConfig
    raw: Raw

    def phase(self, name: str) -> Phase:
        """The phase of that name."""
        return next(phase for phase in self.phases if phase.name == name)


def packaged() -> list[str]:
    """Names of the recipes that ship with the package."""
    folder = resources.files("firnline") / "recipes"
    names = (item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml"))
    return sorted(name for name in names if name not in OVERLAYS)


def load(name_or_path: str, settings: Sequence[str] = ()) -> Recipe:
    """Reads a packaged recipe or a YAML file, or several put over one another with `+` between,
    with `key=value` settings over it.

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
    if _is_packaged(name_or_path):
        path = Path(str(resources.files("firnline") / "recipes" / f"{name_or_path}.yaml"))
    elif not path.is_file() and "+" in name_or_path:
        raw: Raw = {}
        for part in name_or_path.split("+"):
            raw = merge(raw, _read(part, seen))
        return raw
    elif not path.is_file():
        raise FirnlineError(
            f"no recipe {name_or_path}", mend=f"give a YAML file or one of {', '.join(packaged())}"
        )
    try:
        raw = read_yaml(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise FirnlineError(f"{path} is not YAML: {problem}", mend="correct the file") from error
    if not isinstance(raw, dict):
        raise FirnlineError(f"{path} is not a mapping of keys", mend="see docs/recipes.md")
    if below := raw.get("extends"):
        parts = (p if _is_packaged(p) else str(path.parent / p) for p in str(below).split("+"))
        return merge(_read("+".join(parts), (*seen, name_or_path)), raw)
    return raw


def _is_packaged(name: str) -> bool:
    return name in packaged() or name in OVERLAYS


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
        tokenizer = self._tokenizer()
        pack = self._section("pack", PackConfig)
        annotate = self._section("annotate", AnnotateConfig) if "annotate" in raw else None
        phases = self._phases()
        model = self._model(tokenizer, phases)
        evaluate = self._evaluate(model)
        if "annotate" in raw and "synthesize" not in raw:
            self.mistakes.append("annotate: its good examples come from a synthesize section")
        self.mistakes += contradictions(phases, raw, model, pack, self.given)
        self._check_comparisons(evaluate)
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

    def _tokenizer(self) -> TokenizerConfig | GivenTokenizer | None:
        """Settings of the tokenizer; `given` is the one that comes from elsewhere."""
        self.given: Tokenizer | None = None
        values = self.raw.get("tokenizer")
        if not isinstance(values, Mapping) or values.get("folder") is None:
            rest = values
            if isinstance(values, Mapping):
                rest = {key: value for key, value in values.items() if key != "folder"}
            return self._make("tokenizer", TokenizerConfig, rest or {})
        settings = self._make("tokenizer", GivenTokenizer, {"folder": values["folder"]})
        if settings is not None:
            try:
                self.given = Tokenizer.load(settings.folder.expanduser())
            except FirnlineError as error:
                self.mistakes.append(f"tokenizer.folder: {error}")
        return settings

    def _phases(self) -> list[Phase]:
        found = self.raw.get("phases")
        if not isinstance(found, Mapping) or not found:
            self.mistakes.append("phases: a mapping of phase names to phases")
            return []
        sections = ("training", "mixture", "packing", "infilling", "objective")
        common = {key: self._common(key) for key in sections}
        scale = self._section("scale", Scale) or Scale()
        phases = []
        for name, values in found.items():
            key = f"phases.{name}"
            if not isinstance(values, Mapping):
                self.mistakes.append(f"{key}: a mapping of keys, got {values!r}")
                continue
            own = {k: v for k, v in values.items() if k in PhaseData.model_fields}
            if "mixture" in own:
                own["mixture"] = self._mixture(key, own["mixture"], common["mixture"])
            apart = (*own, "packing", "infilling", "objective")
            rest = merge(common["training"], {k: v for k, v in values.items() if k not in apart})
            if "attention" in rest:
                self.mistakes.append(f"{key}.attention: it belongs to packing")
            packing = self._make(
                f"{key}.packing", PackingConfig, _over(common["packing"], values, "packing") or {}
            )
            rest["attention"] = packing.attention if packing else "across"
            data = self._make(key, PhaseData, own)
            training = self._make(key, PhaseConfig, {**scaled(rest, scale), "name": str(name)})
            infilling = None
            if fill := _over(common["infilling"], values, "infilling"):
                infilling = self._make(f"{key}.infilling", InfillingConfig, fill)
            objective = None
            if shares := _over(_named(common["objective"]), values, "objective", _named):
                objective = self._make(f"{key}.objective", Objectives, shares)
            if data and training and packing and (objective or not shares):
                phases.append(Phase(str(name), data, training, packing, infilling, objective))
        return phases

    def _common(self, key: str) -> Raw:
        """A section that every phase shares, and may override."""
        values = self.raw.get(key) or {}
        if isinstance(values, dict):
            return values
        self.mistakes.append(f"{key}: a mapping of keys, got {values!r}")
        return {}

    def _mixture(self, key: str, values: Any, common: Raw) -> Any:
        """Sources with what all phases share of them; a number or `rest` alone is a share."""
        if not isinstance(values, Mapping):
            return values or {}
        sources = {}
        for name, own in values.items():
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", str(name)):
                self.mistakes.append(f"{key}.mixture: a source cannot be called {name!r}")
            elif own is not None:  # null takes a source out that the recipe below has
                own = own if isinstance(own, Mapping) else {"share": own}
                shared = common.get(name) or {}
                sources[str(name)] = merge(shared, own) if isinstance(shared, Mapping) else shared
        return sources

    def _model(
        self, tokenizer: TokenizerConfig | GivenTokenizer | None, phases: list[Phase]
    ) -> ModelConfig | ModelShape | None:
        longest = max((phase.training.sequence_length for phase in phases), default=0)
        entries = self.given.vocabulary_size if self.given else None
        trained = tokenizer.vocabulary_size if isinstance(tokenizer, TokenizerConfig) else None
        shape = read_shape(self.raw.get("model"), entries, trained, self.mistakes)
        if shape is None:
            return None
        if "family" in shape:
            return self._make("model", ModelShape, shape)
        shape.setdefault("context", longest or 1)
        model = self._make("model", ModelConfig, shape)
        if model and longest > model.context:
            self.mistakes.append(
                f"model.context: {model.context:,} is shorter than the longest training sequence,"
                f" {longest:,}"
            )
        return model

    def _evaluate(
        self, model: ModelConfig | ModelShape | None
    ) -> EvaluateConfig | MeasureConfig | None:
        if not isinstance(model, ModelShape):
            return self._section("evaluate", EvaluateConfig)
        values = self.raw.get("evaluate") or {}
        if isinstance(values, Mapping):
            theirs = EvaluateConfig.model_fields.keys() - MeasureConfig.model_fields.keys()
            for key in [key for key in values if key in theirs]:
                self.mistakes.append(
                    f"evaluate.{key}: it is for a decoder, which writes programs; this is a "
                    f"{model.family}"
                )
            values = {key: value for key, value in values.items() if key not in theirs}
        return self._make("evaluate", MeasureConfig, values)

    def _check_comparisons(self, evaluate: EvaluateConfig | MeasureConfig | None) -> None:
        written = self.raw.get("phases")
        if not isinstance(written, Mapping):
            return  # which is a mistake that was named already
        names = {str(name) for name in written}
        for pair in evaluate.compare if evaluate else ():
            for name in pair:
                if name not in names:
                    self.mistakes.append(f"evaluate.compare: no phase {name!r}")


def _over(
    common: Raw, values: Mapping[str, Any], key: str, read: Callable[[Any], Any] = lambda own: own
) -> Any:
    """A phase's own section over the one that all share; null turns it off."""
    own = read(values.get(key, {}))
    return merge(common, own) if isinstance(own, Mapping) else own


def _named(values: Any) -> Any:
    """Objectives by name; a number alone is a share, null a share of 0."""
    if not isinstance(values, Mapping):
        return values
    return {
        name: own if isinstance(own, Mapping) else {"share": 0 if own is None else own}
        for name, own in values.items()
    }
