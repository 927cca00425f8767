"""Objectives of a phase that contradict its model, its data, or one another."""

from __future__ import annotations

from firnline.errors import FirnlineError
from firnline.model.config import ModelConfig
from firnline.phases import Phase
from firnline.tokens.grammars import KINDS as GRAMMARS
from firnline.tokens.mixture import SourceConfig
from firnline.tokens.tokenizer import Tokenizer
from firnline.training.objectives.config import MaskedIdentifiersConfig, SpanMaskingConfig
from firnline.training.objectives.shapes import ModelShape
from firnline.training.objectives.vocabulary import Vocabulary


def kind(model: ModelConfig | ModelShape) -> str:
    """A model in words."""
    return model.family if isinstance(model, ModelShape) else "a decoder"


def contradictions(
    phase: Phase, model: ModelConfig | ModelShape, tokenizer: Tokenizer | None
) -> list[str]:
    """A line for each, with its key; `tokenizer` is one that comes from elsewhere."""
    key, objectives = f"phases.{phase.name}", phase.objective
    if isinstance(model, ModelConfig):
        if objectives is None:
            return []
        return [f"{key}.objective: it needs a model of the family t5 or bert, this is a decoder"]
    if objectives is None:
        return [f"{key}.objective: a {model.family} needs one, next token is a decoder's"]
    return [
        *_model(f"{key}.objective", phase, model, tokenizer),
        *_samples(key, phase),
        *_identifiers(key, phase),
        *_pairs(key, phase),
    ]


def _model(key: str, phase: Phase, model: ModelShape, tokenizer: Tokenizer | None) -> list[str]:
    """What the family and the shape cannot do."""
    assert phase.objective is not None
    length, found = phase.training.sequence_length, []
    for name, one in phase.objective.used.items():
        if model.family not in one.families:
            found.append(
                f"{key}.{name}: it needs {' or '.join(one.families)}, the model is {model.family}"
            )
        elif model.family == "bert" and one.longest(length) > model.context:
            found.append(
                f"{key}.{name}: an input takes {one.longest(length):,} tokens, model.context is "
                f"{model.context:,}"
            )
        if isinstance(one, SpanMaskingConfig) and one.rate * length > 3 * model.sentinels + 1:
            found.append(
                f"{key}.{name}: {length:,} tokens at {one.rate:.0%} take about "
                f"{one.rate * length / 3:.0f} sentinels, model.sentinels is {model.sentinels}"
            )
        if isinstance(one, MaskedIdentifiersConfig) and (one.input_length or length) < length:
            found.append(f"{key}.{name}.input_length: a sample has {length:,} tokens")
    if tokenizer is not None:
        try:
            end, special = tokenizer.end_of_text, tokenizer.special.values()
            Vocabulary.of(tokenizer.token_bytes, special=special, end=end)
        except FirnlineError as error:
            found.append(f"{key}: {error}")
    return found


def _samples(key: str, phase: Phase) -> list[str]:
    """Settings of a decoder's samples and steps."""
    assert phase.objective is not None
    found = []
    if phase.infilling is not None:
        found.append(f"{key}.infilling: it is a decoder's, objectives hide tokens themselves")
    if phase.packing.attention == "masked":
        found.append(f"{key}.packing.attention: an encoder reads samples whole, leave it at across")
    several = len(phase.objective.used) > 1
    if several and phase.training.batch_warmup is not None:
        found.append(f"{key}.batch_warmup: objectives take turns by steps of batch_sequences")
    if several and phase.training.spikes.spike != "ignore":
        found.append(f"{key}.spikes.spike: steps of several objectives are not alike")
    return found


def _identifiers(key: str, phase: Phase) -> list[str]:
    """Sources whose identifiers are not known."""
    assert phase.objective is not None
    names = phase.objective.reading("labels")
    if not names:
        return []
    what, found = " and ".join(names), []
    for name, source in _sources(phase).items():
        where = f"{key}.mixture.{name}" if phase.data.data is None else key
        if source.tokens is not None:
            found.append(f"{where}.tokens: {what} needs the documents, give data instead")
        if source.languages and not set(source.languages) & set(GRAMMARS):
            found.append(f"{where}.languages: {what} needs a language with a grammar")
        unknown = [name for name in source.language_share if name not in GRAMMARS]
        if unknown:
            found.append(f"{where}.language_share: {what}: no grammar of {', '.join(unknown)}")
    return found


def _pairs(key: str, phase: Phase) -> list[str]:
    """Sources that do not say which pairs are read."""
    assert phase.objective is not None
    names = phase.objective.reading("pairs")
    sources = _sources(phase)
    if not names:
        return []
    what, found = " and ".join(names), []
    if len(sources) > 1:
        found.append(f"{key}.mixture: {what} reads pairs of one source, there are {len(sources)}")
    for name, source in sources.items():
        where = f"{key}.mixture.{name}" if phase.data.data is None else key
        if source.tokens is not None:
            found.append(f"{where}.tokens: {what} needs the documents, give data instead")
        if source.language_share and source.data == "corpus":
            found.append(f"{where}.language_share: {what} takes pairs as they come")
    return found


def _sources(phase: Phase) -> dict[str, SourceConfig]:
    """The sources as written; none where their shares are wrong, which is said elsewhere."""
    try:
        return phase.written_sources
    except ValueError:
        return {}
