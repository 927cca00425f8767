"""Which documents of a token folder a source of a mixture uses: by language, kind, source, quality.

A choice is a mask over the rows of the folder's index: `keep` of `samples.Samples`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from firnline.documents import SOURCES, ledger_shards, parquet_file, read_batches, read_columns
from firnline.errors import FirnlineError
from firnline.languages import LANGUAGES

Kind = Literal["programming", "markup", "data", "prose", "adjacent"]
Mask = npt.NDArray[np.bool_]


class Quality(BaseModel):
    """A bucket of documents by the annotator's score.

    Documents are ranked by score; each stands at the share of tokens that rank below it, the worst
    at 0. Those from `above` on and under `below` are used, so that neighbouring buckets share no
    document and leave none out. `{above: 0.9}` is the best tenth of the tokens.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    above: float = Field(default=0.0, ge=0, lt=1)
    """Share of tokens under the bucket."""
    below: float = Field(default=1.0, gt=0, le=1)
    """Share of tokens up to its end."""
    within: Literal["language", "source"] = "language"
    """What is ranked together: the documents of one language, which keeps the mix of languages, or
    all that the source's other filters leave."""

    @model_validator(mode="after")
    def _in_order(self) -> Quality:
        if self.above >= self.below:
            raise ValueError(f"above ({self.above:g}) is not under below ({self.below:g})")
        return self


class RowFilter(BaseModel):
    """Which documents of a token folder are used; what is left empty does not filter."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    languages: tuple[str, ...] = ()
    """Languages, as `firnline.languages` names them."""
    kinds: tuple[Kind, ...] = ()
    """Kinds of language: programming, markup, data, prose, adjacent."""
    sources: tuple[str, ...] = ()
    """Where documents came from: git, archive, directory, python, table, synthetic, text, …"""
    quality: Quality | None = None
    """A bucket by the annotator's score, after the other filters."""

    @field_validator("languages")
    @classmethod
    def _known_languages(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in LANGUAGES:
                raise ValueError(f"no language {name!r}")
        return names

    @field_validator("sources")
    @classmethod
    def _known_sources(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in SOURCES:
                raise ValueError(f"no source {name!r}, there are {', '.join(SOURCES)}")
        return names


@dataclass(frozen=True)
class Supply:
    """What some documents of a folder hold: how many there are, their tokens, their bytes."""

    documents: int
    tokens: int
    bytes: int


@dataclass(frozen=True)
class Rows:
    """Rows of a token folder's index and which of them are kept. Memory: 15 bytes for each."""

    folder: Path
    languages: tuple[str, ...]
    """Names that `language` numbers."""
    language: npt.NDArray[np.int16]
    tokens: npt.NDArray[np.int32]
    bytes: npt.NDArray[np.int64]
    keep: Mask

    def only(self, languages: set[str]) -> Rows:
        """Of the kept rows those in these languages."""
        known = np.array([name in languages for name in self.languages], dtype=np.bool_)
        return replace(self, keep=self.keep & known[self.language])

    def supply(self) -> dict[str, Supply]:
        """What is kept of each language, by name; languages without a row are left out."""
        language = self.language[self.keep]
        documents = np.bincount(language, minlength=len(self.languages))
        # Sums of whole numbers below 2**53 are exact in the floats that bincount adds.
        tokens = np.bincount(language, self.tokens[self.keep], len(self.languages))
        sizes = np.bincount(language, self.bytes[self.keep], len(self.languages))
        return {
            self.languages[k]: Supply(int(documents[k]), int(tokens[k]), int(sizes[k]))
            for k in sorted(range(len(self.languages)), key=lambda k: self.languages[k])
            if documents[k]
        }


def choose(folder: Path, wanted: RowFilter, scores: Path | None = None) -> Rows:
    """The rows of a token folder that a filter keeps.

    `scores` is the folder of the `annotate` stage, for `quality`: of the documents that were
    packed, or of those that they were selected from, shard for shard. Raises FirnlineError where it
    is missing or lacks a document, and where the folder is not whole.
    """
    names: dict[str, int] = {}
    language, tokens, sizes, keep = [], [], [], []
    for batch in _index(folder, ["language", "source", "tokens", "bytes"]):
        coded = batch["language"].dictionary_encode()
        codes = [names.setdefault(name, len(names)) for name in coded.dictionary.to_pylist()]
        language.append(np.array(codes, dtype=np.int16)[coded.indices.to_numpy()])
        tokens.append(batch["tokens"].to_numpy())
        sizes.append(batch["bytes"].to_numpy())
        kept = pc.is_in(coded, pa.array(_languages(wanted, names), pa.string()))
        if wanted.sources:
            kept = pc.and_(kept, pc.is_in(batch["source"], pa.array(wanted.sources)))
        keep.append(kept.to_numpy(zero_copy_only=False))
    rows = Rows(
        folder,
        tuple(names),
        np.concatenate([np.zeros(0, np.int16), *language]),
        np.concatenate([np.zeros(0, np.int32), *tokens]),
        np.concatenate([np.zeros(0, np.int64), *sizes]),
        np.concatenate([np.zeros(0, np.bool_), *keep]),
    )
    if wanted.quality is None:
        return rows
    if scores is None:
        raise FirnlineError(f"a quality bucket of {folder} needs scores", mend="annotate first")
    return replace(rows, keep=_bucket(rows, wanted.quality, _scores(folder, scores, rows.keep)))


def _languages(wanted: RowFilter, names: dict[str, int]) -> list[str]:
    """Of the folder's languages those that the filter lets through."""
    return [
        name
        for name in names
        if (not wanted.languages or name in wanted.languages)
        and (not wanted.kinds or (name in LANGUAGES and LANGUAGES[name].kind in wanted.kinds))
    ]


def _bucket(rows: Rows, quality: Quality, score: npt.NDArray[np.float32]) -> Mask:
    """Of the kept rows those whose share of tokens below is in the bucket; ties by row."""
    kept = np.flatnonzero(rows.keep)
    together = rows.language[kept]
    if quality.within == "source":
        together = np.zeros_like(together)
    order = np.lexsort((score[kept], together))
    group, tokens = together[order], rows.tokens[kept][order].astype(np.int64)
    sums = np.cumsum(tokens)
    first = np.flatnonzero(np.diff(group, prepend=-1))  # of each group
    lengths = np.diff(first, append=len(group))
    base = sums[first] - tokens[first]
    whole = np.repeat(np.add.reduceat(tokens, first), lengths) if len(first) else sums
    position = (sums - tokens - np.repeat(base, lengths)) / np.maximum(whole, 1)
    mask = np.zeros(len(rows.keep), dtype=np.bool_)
    mask[kept[order]] = (position >= quality.above) & (position < quality.below)
    return mask


def _scores(folder: Path, scores: Path, needed: Mask) -> npt.NDArray[np.float32]:
    """The score of each row of the index, in its order; NaN where none is needed nor there."""
    ledgers = ledger_shards(scores)
    if not ledgers or "score" not in parquet_file(ledgers[0]).schema_arrow.names:
        raise FirnlineError(f"{scores} is not an annotate folder", mend="run annotate")

    @lru_cache(maxsize=2)  # the index is in the order of the shards
    def ledger(number: int) -> pa.Table:
        if number >= len(ledgers):
            raise FirnlineError(
                f"{scores} has {len(ledgers)} shards, {folder} was made of {number + 1} or more",
                mend="annotate the documents that are packed, or that they come from",
            )
        return read_columns([ledgers[number]], ["id", "score"])

    found = [np.zeros(0, np.float32)]
    for batch in _index(folder, ["id", "shard"]):
        shards = batch["shard"].to_numpy()
        for number in np.unique(shards).tolist():
            table = ledger(number)
            ids = batch["id"].filter(pa.array(shards == number))
            score = table["score"].take(pc.index_in(ids, value_set=table["id"]))
            found.append(score.to_numpy().astype(np.float32))
    score = np.concatenate(found)
    missing = int((needed & ~np.isfinite(score)).sum())
    if missing:
        raise FirnlineError(
            f"{scores} has no score for {missing:,} of {int(needed.sum()):,} documents of {folder}",
            mend="annotate the documents that are packed, or that they come from",
        )
    return score


def _index(folder: Path, columns: list[str]) -> Iterator[Any]:
    path = folder / "index.parquet"
    if not path.is_file():
        raise FirnlineError(f"{folder} is not a token folder: no index.parquet", mend="run pack")
    yield from read_batches(path, columns, rows=65536)
