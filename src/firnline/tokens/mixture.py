"""A mixture: what a phase reads, from several sources in exact shares of its tokens.

Which source sample *n* comes from, and which of that source's own samples it is, are closed forms
(`turns.Turns`): the loader's whole state is still one number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field, field_validator, model_validator

from firnline.batch import Batch
from firnline.errors import FirnlineError
from firnline.languages import LANGUAGES
from firnline.tokens.infilling import InfillingConfig
from firnline.tokens.packing import PackingConfig
from firnline.tokens.rows import RowFilter, Rows, Supply, choose
from firnline.tokens.samples import Piece, Samples
from firnline.tokens.tokenizer import Tokenizer
from firnline.tokens.turns import Turns, apportion

_NEAR = Fraction(1, 10**9)  # three times 0.333333333 is 1
# Repeating code or text up to four times is about as good as new data (Muennighoff et al. 2023,
# Scaling Data-Constrained Language Models; Arctic-SnowCoder, Table 6, has its best at four).
MOST_EPOCHS = 4.0


def _read_share(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value != "rest" and not (number and 0 <= value <= 1):
        raise ValueError("a share between 0 and 1, or rest")
    return value


class SourceConfig(RowFilter):
    """One source of a mixture: its share of the phase's tokens and which documents it has."""

    share: Annotated[float | Literal["rest"], BeforeValidator(_read_share)]
    """Share of the phase's tokens; one source may have the `rest`. At 0 it is left out."""
    data: Literal["corpus", "selected", "synthetic"] = "corpus"
    """`corpus`: all that curation kept; `selected`: the best of it by score, as many tokens as the
    share needs; `synthetic`: the synthetic documents after curation."""
    tokens: Path | None = None
    """A token folder from elsewhere instead, made with the same tokenizer."""
    repeat: float = Field(default=1.0, ge=1)
    """For `selected`: how often its tokens are seen; that many times fewer are selected."""
    language_share: dict[str, float] = Field(default_factory=dict)
    """Share of the source's tokens set for a language; the others keep their proportions."""
    max_epochs: float = Field(default=MOST_EPOCHS, gt=0)
    """How often a document may be seen in the phase; more is refused."""

    @model_validator(mode="after")
    def _repeat_is_allowed(self) -> SourceConfig:
        if self.repeat > max(self.max_epochs, 1):
            raise ValueError(f"repeat ({self.repeat:g}) is above max_epochs ({self.max_epochs:g})")
        return self

    @field_validator("language_share")
    @classmethod
    def _are_shares(cls, value: dict[str, float]) -> dict[str, float]:
        return check_language_share(value)


def check_language_share(value: dict[str, float]) -> dict[str, float]:
    """Raises ValueError where a language is unknown or the shares are none."""
    for language, share in value.items():
        if language not in LANGUAGES:
            raise ValueError(f"no language {language!r}")
        if not 0 <= share <= 1:
            raise ValueError(f"{language}: between 0 and 1, got {share}")
    if sum(value.values()) > 1 + _NEAR:
        raise ValueError("the shares add up to more than 1")
    return value


def shares(sources: Mapping[str, SourceConfig]) -> dict[str, Fraction]:
    """The share of each source that has one; raises ValueError where they do not add up to 1."""
    found = {name: Fraction(str(one.share)) for name, one in sources.items() if one.share != "rest"}
    rest = [name for name in sources if name not in found]
    given = sum(found.values(), Fraction())
    if len(rest) > 1:
        raise ValueError(f"only one share can be the rest, {' and '.join(rest)} are")
    if given > 1 + _NEAR or (not rest and given < 1 - _NEAR):
        raise ValueError(f"the shares add up to {float(given):.6g}, not to 1")
    for name in rest:
        found[name] = max(1 - given, Fraction())
    return {name: found[name] for name in sources if found[name] > 0}


@dataclass(frozen=True)
class Part:
    """Samples of one source, or of some of its languages, and their share of the mixture."""

    source: str
    languages: str
    """`all`, one language that has a share of its own, or `others`."""
    share: Fraction
    samples: Samples
    supply: Mapping[str, Supply]
    """What there is of each language."""
    max_epochs: float

    @property
    def name(self) -> str:
        """`code`, or `code/Python` where languages have shares of their own."""
        return self.source if self.languages == "all" else f"{self.source}/{self.languages}"


class Mixture:
    """Samples of several sources, in exact shares of a phase of `samples` samples.

    Each source gives its share of them to within one sample, evenly in every stretch, and goes
    through its own epochs in its own random orders. A sample holds documents of one part only.
    """

    def __init__(self, parts: Sequence[Part], *, samples: int, phase: str) -> None:
        """Raises FirnlineError where a source would be seen more often than it may be."""
        self.parts = tuple(parts)
        self.turns = Turns(apportion(samples, [part.share for part in parts]))
        short = [
            line
            for part, count in zip(self.parts, self.turns.counts, strict=True)
            if (line := _shortage(part, count))
        ]
        if short:
            raise FirnlineError(
                f"phase {phase} asks for more than its sources have",
                mend="add documents, lower the share or the phase's tokens, or raise max_epochs",
                details=tuple(short),
            )

    def batch(self, start: int, count: int) -> Batch:
        """Samples `start` to `start + count - 1`: ids of shape (count, sequence_length + 1)."""
        if start < 0 or count < 1:
            raise ValueError(f"no samples from {start}, {count} of them")
        if len(self.parts) == 1:
            return self.parts[0].samples.batch(start, count)
        turns = self.turns.of(start, count)
        batches = [
            self.parts[turn.source].samples.batch(turn.first, len(turn.places)) for turn in turns
        ]
        ids = np.empty((count, batches[0].ids.shape[1]), dtype=np.int64)
        documents = None
        if any(batch.documents is not None for batch in batches):
            documents = np.zeros(ids.shape, dtype=np.int32)
        for turn, batch in zip(turns, batches, strict=True):
            ids[turn.places] = batch.ids
            if documents is not None and batch.documents is not None:
                documents[turn.places] = batch.documents
        return Batch(ids, documents)

    @property
    def bytes_per_token(self) -> float:
        """Bytes of content for each token that the mixture gives, on average."""
        rates = []
        for part, count in zip(self.parts, self.turns.counts, strict=True):
            held = part.supply.values()
            rates.append(count * sum(one.bytes for one in held) / sum(one.tokens for one in held))
        return sum(rates) / sum(self.turns.counts)

    def epochs(self, samples: int) -> dict[str, float]:
        """How often the samples 0 to `samples - 1` go through each part, by its name."""
        counts = self.turns.before(samples)
        return {
            part.name: count / part.samples.samples_per_epoch
            for part, count in zip(self.parts, counts, strict=True)
        }

    def table(self, tokens: int) -> list[dict[str, Any]]:
        """Code Llama's Table 1 for the first `tokens` tokens, the last sample cut where they end:
        a row for each part, then one for each of its languages.

        Keys: `source`, `language` (None in a part's own row), `share` of the tokens, `epochs`,
        `tokens` seen, and what there is: `supply_documents`, `supply_tokens`, `supply_bytes`.
        Languages inside a part are seen in proportion to their tokens, over a whole epoch exactly.
        """
        rows = []
        length = self.parts[0].samples.sequence_length
        samples = -(-tokens // length)
        epochs = self.epochs(samples)
        last, _ = self.find(samples - 1)
        for part, count in zip(self.parts, self.turns.before(samples), strict=True):
            seen = count * length - (samples * length - tokens if part is last else 0)
            held = [(language, one) for language, one in part.supply.items()]
            whole = sum(one.tokens for _, one in held)
            total = Supply(
                sum(one.documents for _, one in held), whole, sum(one.bytes for _, one in held)
            )
            for language, one in [(None, total), *held]:
                share = one.tokens / whole
                rows.append(
                    {
                        "source": part.name,
                        "language": language,
                        "share": share * seen / tokens,
                        "epochs": epochs[part.name],
                        "tokens": round(share * seen),
                        "supply_documents": one.documents,
                        "supply_tokens": one.tokens,
                        "supply_bytes": one.bytes,
                    }
                )
        return rows

    def find(self, number: int) -> tuple[Part, int]:
        """The part that sample `number` comes from, and its number among that part's samples."""
        (turn,) = self.turns.of(number, 1)
        return self.parts[turn.source], turn.first

    def documents(self, number: int) -> list[Piece]:
        """Which documents sample `number` holds, and which of their tokens, in its order."""
        part, own = self.find(number)
        return part.samples.documents(own)

    def numbers_of(self, document: bytes, samples: int) -> npt.NDArray[np.int64]:
        """Which of the samples 0 to `samples - 1` hold tokens of the document, in order."""
        found: list[int] = []
        for source, count in enumerate(self.turns.before(samples)):
            if count:
                own = self.parts[source].samples.numbers_of(document, count)
                found += self.turns.numbers(source, own.tolist())
        return np.array(sorted(found), dtype=np.int64)


def open_mixture(
    sources: Mapping[str, SourceConfig],
    folders: Mapping[str, Path],
    *,
    phase: str,
    seed: int,
    tokens: int,
    sequence_length: int,
    packing: PackingConfig | None = None,
    infilling: InfillingConfig | None = None,
    tokenizer: Tokenizer | None = None,
    scores: Path | None = None,
) -> Mixture:
    """The samples of a phase of `tokens` tokens.

    `folders` gives the token folder of each source that has a share; `scores` is the `annotate`
    folder, for quality buckets. Infilling needs the tokenizer, which must have made every folder
    where it is given. Raises FirnlineError where a folder is of another tokenizer, and where a
    source has no documents, or fewer than its share needs.
    """
    parts: list[Part] = []
    wanted = shares(sources)
    for name, share in wanted.items():
        source = sources[name]
        rows = choose(folders[name], source, scores)
        for languages, inside, own in _by_language(rows, source):
            label = name if languages == "all" else f"{name}/{languages}"
            supply = own.supply()
            if not supply:
                raise FirnlineError(
                    f"phase {phase}: {folders[name]} has no documents for {label}",
                    mend=f"its languages are {', '.join(rows.languages) or 'none'}",
                )
            try:
                samples = Samples(
                    folders[name],
                    sequence_length=sequence_length,
                    seed=seed,
                    # Alone, a source has the orders that the folder has without a mixture.
                    phase=phase if len(wanted) == 1 and languages == "all" else f"{phase}/{label}",
                    keep=None if own.keep.all() else own.keep,
                    packing=packing or PackingConfig(),
                    infilling=infilling,
                    tokenizer=tokenizer,
                )
            except FirnlineError as error:
                where = f"phase {phase}, source {label}: {error.what}"
                raise FirnlineError(where, mend=error.mend, details=error.details) from error
            parts.append(Part(name, languages, share * inside, samples, supply, source.max_epochs))
    return Mixture(parts, samples=-(-tokens // sequence_length), phase=phase)


def _by_language(rows: Rows, source: SourceConfig) -> list[tuple[str, Fraction, Rows]]:
    """The parts of a source: one for each language with a share of its own, one for the others."""
    if not source.language_share:
        return [("all", Fraction(1), rows)]
    fixed = {name: Fraction(str(share)) for name, share in source.language_share.items()}
    parts = [(name, share, rows.only({name})) for name, share in fixed.items() if share]
    left = 1 - sum(fixed.values(), Fraction())
    if left > _NEAR:
        parts.append(("others", left, rows.only(set(rows.languages) - set(fixed))))
    return parts


def _shortage(part: Part, samples: int) -> str | None:
    """What is wrong where a part would be seen too often; None where it is not.

    The sequence that the tail of an epoch does not fill is forgiven.
    """
    epochs = samples / part.samples.samples_per_epoch
    supply = sum(one.tokens for one in part.supply.values())
    seen = (samples - 1) * part.samples.sequence_length + 1
    if epochs <= part.max_epochs or seen <= part.max_epochs * supply:
        return None
    return (
        f"{part.name}: {samples * part.samples.sequence_length:,} tokens of {supply:,} are "
        f"{epochs:.2f} epochs, max_epochs is {part.max_epochs:g}"
    )
