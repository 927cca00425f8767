"""Phases of a recipe that contradict one another, or the recipe's other sections."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from firnline import objective_contradictions as objective
from firnline.errors import FirnlineError
from firnline.languages import LANGUAGES
from firnline.model.config import ModelConfig
from firnline.phases import Phase, checkpoint_folder
from firnline.tokens.extend import check_checkpoint
from firnline.tokens.folder import read_settings
from firnline.tokens.infilling import SENTINELS
from firnline.tokens.mixture import SourceConfig, shares
from firnline.tokens.pack import PackConfig
from firnline.tokens.samples import check
from firnline.tokens.tokenizer import Tokenizer
from firnline.training.objectives.shapes import ModelShape, read_shape


def contradictions(
    phases: Sequence[Phase],
    sections: Mapping[str, object],
    model: ModelConfig | ModelShape | None,
    pack: PackConfig | None,
    tokenizer: Tokenizer | None,
) -> list[str]:
    """A line for each, with its key.

    `sections` is the recipe as it was written: `phases` may lack some of its phases, which have
    mistakes of their own. `model` and `pack` are None where they have; `tokenizer` is the one that
    comes from elsewhere.
    """
    written = sections.get("phases")
    order = [str(name) for name in written] if isinstance(written, Mapping) else []
    return [
        line
        for phase in phases
        for line in (
            *_beginning(phase, phases, order, model, tokenizer),
            *_infilling(phase, pack, tokenizer),
            *_data(phase, sections, tokenizer),
            *(objective.contradictions(phase, model, tokenizer) if model is not None else ()),
        )
    ]


def _beginning(
    phase: Phase,
    phases: Sequence[Phase],
    order: Sequence[str],
    model: ModelConfig | ModelShape | None,
    tokenizer: Tokenizer | None,
) -> list[str]:
    """Its name, what it starts from, and with which optimizer."""
    key, init = f"phases.{phase.name}", phase.data.init
    found = []
    if phase.name in ("corpus", "synthetic", "heldout"):
        found.append(f"{key}: pack-{phase.name} has that name, call it otherwise")
    folder = checkpoint_folder(init) if init is not None else None
    if folder is not None:
        if model is not None:
            found += [f"{key}.init: {line}" for line in _other_shape(folder, model)]
        if tokenizer is not None:
            found += [
                f"{key}.init: {line}" for line in _refusal(check_checkpoint, folder, tokenizer)
            ]
        return found
    if init is not None and init not in order[: order.index(phase.name)]:
        wrong = f"no phase {init!r}; a checkpoint folder has a / in it"
        if init in order:
            wrong = f"{init!r} does not come before this phase"
        found.append(f"{key}.init: {wrong}")
    if phase.training.optimizer_state == "keep":
        found += _kept_optimizer(phase, next((one for one in phases if one.name == init), None))
    return found


def _kept_optimizer(phase: Phase, before: Phase | None) -> list[str]:
    key = f"phases.{phase.name}.optimizer_state"
    if phase.data.init is None or (before and not before.training.keep_optimizer):
        return [f"{key}: keep needs an init whose phase has keep_optimizer"]
    if before is None:  # it has mistakes of its own, or is none
        return []
    theirs, own = before.training.optimizer.name, phase.training.optimizer.name
    if theirs != own:
        return [f"{key}: keep needs one optimizer, {before.name} has {theirs} and this phase {own}"]
    if before.objective and phase.objective and before.objective.heads != phase.objective.heads:
        return [f"{key}: keep needs the heads of {before.name}, its objectives have others"]
    return []


def _refusal(check: Callable[[Path, Tokenizer], object], folder: Path, by: Tokenizer) -> list[str]:
    try:
        check(folder, by)
    except FirnlineError as error:
        return [str(error)]
    return []


def _other_shape(folder: Path, model: ModelConfig | ModelShape) -> list[str]:
    other: ModelConfig | ModelShape | None
    try:
        other = read_shape(folder)
        if other is None and isinstance(model, ModelConfig):
            from firnline.model.checkpoint import read_config  # imports torch

            other = read_config(folder)
    except FirnlineError as error:
        return [str(error)]
    if type(other) is not type(model):
        return [f"{folder} is not a checkpoint of {objective.kind(model)}"]
    unsaid = {"context"} if isinstance(model, ModelShape) and model.family == "t5" else set()
    return [
        f"{folder} has {name} {getattr(other, name)}, the recipe's model has {value}"
        for name, value in model
        if name not in unsaid and getattr(other, name) != value
    ]


def _infilling(phase: Phase, pack: PackConfig | None, tokenizer: Tokenizer | None) -> list[str]:
    if phase.infilling is None:
        return []
    key, found = f"phases.{phase.name}.infilling", []
    missing = [role for role in SENTINELS if tokenizer and role not in tokenizer.roles]
    if missing:
        found.append(f"{key}: the tokenizer has no {', '.join(missing)}; extend it")
    if phase.infilling.cut == "syntax" and pack is not None and not pack.nodes:
        found.append(f"{key}.cut: syntax needs pack.nodes: true")
    return found


def _data(phase: Phase, sections: Mapping[str, object], tokenizer: Tokenizer | None) -> list[str]:
    key, data, found = f"phases.{phase.name}", phase.data, []
    if phase.training.evaluation is not None and not _held_out(sections):
        found.append(f"{key}.evaluation: curate.heldout_share is 0, nothing is held out")
    if "max_epochs" in data.model_fields_set and data.repeat > data.max_epochs:
        found.append(
            f"{key}.repeat: {data.repeat:g} is above max_epochs, which is {data.max_epochs:g}"
        )
    if (data.data is None) != bool(data.mixture):
        both = "both, set data to null" if data.mixture else "neither"
        found.append(f"{key}: either data or a mixture, there are {both}")
    changed = data.repeat != 1.0 or bool(data.language_share)
    if data.mixture and changed:
        found.append(f"{key}: repeat and language_share belong to a source of it")
    if data.data == "corpus" and changed:
        found.append(f"{key}.data: repeat and language_share need selected or synthetic data")
    if data.data is not None:
        return found + _missing_stage(f"{key}.data", data.data, sections)
    return found + _mixture(f"{key}.mixture", data.mixture, sections, tokenizer)


def _held_out(sections: Mapping[str, object]) -> bool:
    curate = sections.get("curate")
    return not isinstance(curate, Mapping) or curate.get("heldout_share") != 0


def _mixture(
    key: str,
    mixture: Mapping[str, SourceConfig],
    sections: Collection[str],
    tokenizer: Tokenizer | None,
) -> list[str]:
    if not mixture:
        return []
    found: list[str] = []
    try:
        used = list(shares(mixture))
    except ValueError as error:
        found.append(f"{key}: {error}")
        used = list(mixture)
    for name in used:
        found += _source(f"{key}.{name}", mixture[name], sections, tokenizer)
    selected = [name for name in used if _is_selected(mixture[name])]
    if len(selected) > 1:
        found.append(f"{key}: only one source can be selected, {' and '.join(selected)} are")
    return found


def _is_selected(source: SourceConfig) -> bool:
    return source.data == "selected" and source.tokens is None


def _source(
    key: str, source: SourceConfig, sections: Collection[str], tokenizer: Tokenizer | None
) -> list[str]:
    found = _languages(key, source)
    if source.tokens is None:
        found += _missing_stage(f"{key}.data", source.data, sections)
    else:
        if "data" in source.model_fields_set:
            found.append(f"{key}: either data or tokens, there are both")
        try:
            read_settings(source.tokens.expanduser())
        except FirnlineError as error:
            found.append(f"{key}.tokens: {error}")
        else:
            if tokenizer is not None:
                lines = _refusal(check, source.tokens.expanduser(), tokenizer)
                found += [f"{key}.tokens: {line}" for line in lines]
    if source.quality is not None:
        if "annotate" not in sections:
            found.append(f"{key}.quality: a bucket needs an annotate section")
        if source.tokens is not None or source.data == "synthetic":
            found.append(f"{key}.quality: only the corpus has scores")
    filters = source.languages or source.kinds or source.sources or source.quality
    if _is_selected(source) and filters:
        found.append(
            f"{key}.data: what is selected is not filtered; filter the corpus by quality instead"
        )
    if source.repeat != 1.0 and not _is_selected(source):
        found.append(f"{key}.repeat: it needs data: selected")
    return found


def _languages(key: str, source: SourceConfig) -> list[str]:
    """Shares set for languages that the source's filters leave none of, or leave alone."""
    fixed = {name: share for name, share in source.language_share.items() if share}
    out = [
        name
        for name in fixed
        if (source.languages and name not in source.languages)
        or (source.kinds and LANGUAGES[name].kind not in source.kinds)
    ]
    if out:
        return [f"{key}.language_share: its filters leave out {', '.join(out)}"]
    if source.languages and set(source.languages) <= set(source.language_share):
        total = sum(fixed.values())
        if total < 1 - 1e-9:
            return [f"{key}.language_share: adds up to {total:g}, and there is no other language"]
    return []


def _missing_stage(key: str, data: str, sections: Collection[str]) -> list[str]:
    if data == "selected" and "annotate" not in sections:
        return [f"{key}: selected needs an annotate section"]
    if data == "synthetic" and "synthesize" not in sections:
        return [f"{key}: synthetic needs a synthesize section"]
    return []
