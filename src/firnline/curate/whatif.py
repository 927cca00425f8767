"""What other thresholds would have dropped and kept, from a finished stage's ledger alone.

The rules are judged again on the values that the ledger has; nothing is read but the ledger. What
it does not have cannot be replayed: a document that a rule dropped was never looked at for
contamination, errors of syntax or copies, so what is newly kept is an upper bound; and a copy stays
dropped even where what it copies is newly dropped, so what is newly dropped is one too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from firnline.curate import rules
from firnline.errors import FirnlineError

EXAMPLES = 10
_BATCH_ROWS = 1 << 18
_UNREADABLE, _CONTAMINATED = "unreadable", "contaminated"


@dataclass(frozen=True)
class Example:
    """A document whose fate changed: where it is, its language, and the rule before and now."""

    name: str
    """Repository and path where the ledger has them, else the id in hexadecimal."""
    language: str
    before: str | None
    now: str | None


@dataclass(frozen=True)
class Replay:
    """What changes, and what a replay cannot know.

    `table` has a row for each rule (null: kept) and language: `documents_before`, `bytes_before`,
    `documents_now`, `bytes_now`. The examples are those with the smallest ids, so a fair sample.
    """

    table: pa.Table
    documents: int
    dropped: int
    """Documents kept before and dropped now."""
    kept: int
    """Documents dropped before and kept now, if nothing else drops them: see `caveats`."""
    newly_dropped: tuple[Example, ...]
    newly_kept: tuple[Example, ...]
    caveats: tuple[str, ...]


def parse_changes(changes: Sequence[str]) -> tuple[dict[str, float | dict[str, float]], list[str]]:
    """Thresholds and rules to switch off from `rule=5`, `rule=Go:5,C:6` and `rule=off`.

    Raises FirnlineError with every mistake at once.
    """
    thresholds: dict[str, float | dict[str, float]] = {}
    off, mistakes = [], []
    for change in changes:
        name, _, value = change.partition("=")
        by_language = [part.rpartition(":") for part in value.split(",")]
        try:
            if value == "off":
                off.append(name)
            elif ":" in value:
                thresholds[name] = {key.strip(): float(number) for key, _, number in by_language}
            else:
                thresholds[name] = float(value)
        except ValueError:
            mistakes.append(f"{change!r}: not rule=NUMBER, rule=LANGUAGE:NUMBER,... or rule=off")
    mistakes += rules.check(_Changes(thresholds, tuple(off)))
    if mistakes:
        raise FirnlineError(
            "these changes cannot be tried", mend="correct them", details=tuple(mistakes)
        )
    return thresholds, off


@dataclass(frozen=True)
class _Changes:
    thresholds: rules.Overrides
    off: tuple[str, ...]


def replay(folder: Path, thresholds: rules.Overrides, off: Sequence[str] = ()) -> Replay:
    """Judges the ledger of the curate stage in `folder` again, changed by `thresholds` and `off`.

    They come on top of the stage's own config. Raises FirnlineError where the folder is no
    finished curate stage or its ledger lacks a value that is asked for.
    """
    shards = sorted((folder / "ledger").glob("*.parquet"))
    if not shards:
        raise FirnlineError(f"no ledger in {folder}", mend="give the folder of a curate stage")
    table = _changed_table(folder, thresholds, off)
    _check_columns(shards[0], table, thresholds)
    totals = _Totals(table)
    for batch in _batches(shards, table):
        totals.add(batch)
    return totals.result()


def _changed_table(
    folder: Path, thresholds: rules.Overrides, off: Sequence[str]
) -> tuple[rules.Rule, ...]:
    try:
        config = json.loads((folder / "manifest.json").read_text())["config"]
        merged: dict[str, float | Mapping[str, float]] = dict(config["thresholds"])
        silent = [name for name in config["off"] if name not in thresholds] + list(off)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FirnlineError(
            f"{folder} is not a finished curate stage", mend="run firnline curate first"
        ) from error
    for name, value in thresholds.items():
        before = merged.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[name] = {**before, **value}
        elif isinstance(value, Mapping) and before is not None:
            default = {rule.name: rule for rule in rules.table({name: before})}[name]
            limits = {key: limit for key, limit in default.thresholds.items() if limit is not None}
            merged[name] = {**limits, **value}
        else:
            merged[name] = value
    return rules.table(merged, silent)


def _check_columns(shard: Path, table: Sequence[rules.Rule], thresholds: rules.Overrides) -> None:
    there = set(pq.read_schema(shard).names)
    missing = [r.statistic for r in table if r.name in thresholds and r.statistic not in there]
    if missing:
        raise FirnlineError(
            f"the ledger {shard} has no {', '.join(missing)}", mend="run firnline curate again"
        )


def _batches(shards: Sequence[Path], table: Sequence[rules.Rule]) -> Iterator[pa.RecordBatch]:
    wanted = ["id", "rule", "language", "bytes", "repo", "path", *(r.statistic for r in table)]
    for shard in shards:
        with pq.ParquetFile(shard, read_dictionary=["rule", "language"]) as file:
            columns = [name for name in file.schema_arrow.names if name in wanted]
            yield from file.iter_batches(_BATCH_ROWS, columns=columns)


class _Totals:
    """Documents and bytes by rule and language, before and now, and a sample of what changed."""

    def __init__(self, table: Sequence[rules.Rule]) -> None:
        self.table = [rule for rule in table if rule.name != "syntax"]
        self.syntax = [rule for rule in table if rule.name == "syntax"]
        self.names = [rule.name for rule in (*rules.RULES, *rules.OPTIONAL_RULES)]
        self.counts: dict[tuple[str | None, str], NDArray[np.int64]] = {}
        self.changed = {True: 0, False: 0}
        self.examples: dict[bool, list[tuple[bytes, Example]]] = {True: [], False: []}

    def add(self, batch: pa.RecordBatch) -> None:
        languages, language = _codes(batch["language"])
        given, before = _codes(batch["rule"])
        # A fate is a place in `labels`: what documents had, then the rules of the table, then kept.
        labels: list[str | None] = [*given, *(rule.name for rule in self.table), "syntax", None]
        kept = len(labels) - 1
        before = np.where(before < 0, kept, before)
        now = self._judge(batch, languages, language, before, labels)
        sizes = batch["bytes"].to_numpy()
        for side, fates in enumerate((before, now)):
            cell = fates * len(languages) + language
            count, size = np.bincount(cell), np.bincount(cell, weights=sizes)
            for place in np.flatnonzero(count).tolist():
                fate, number = divmod(place, len(languages))
                total = self.counts.setdefault(
                    (labels[fate], languages[number]), np.zeros(4, dtype=np.int64)
                )
                total[2 * side : 2 * side + 2] += (count[place], int(size[place]))
        for drops in (True, False):
            rows = np.flatnonzero((before == kept if drops else now == kept) & (before != now))
            rows = rows[(now[rows] if drops else before[rows]) != kept]
            self.changed[drops] += len(rows)
            self._sample(batch, drops, rows, [(labels[before[r]], labels[now[r]]) for r in rows])

    def _judge(
        self,
        batch: pa.RecordBatch,
        languages: Sequence[str],
        language: NDArray[np.int64],
        before: NDArray[np.int64],
        labels: Sequence[str | None],
    ) -> NDArray[np.int64]:
        """Each document's fate now, in the order of curation."""
        asked = {rule.statistic for rule in (*self.table, *self.syntax)}
        values = {
            name: batch[name].to_numpy(zero_copy_only=False)
            for name in batch.schema.names
            if name in asked
        }
        first = rules.judge_codes(self.table, values, languages, language)
        errors = rules.judge_codes(self.syntax, values, languages, language) >= 0
        kept = len(labels) - 1
        replayed = np.array([name in self.names or name is None for name in labels])[before]
        contaminated = np.array([name == _CONTAMINATED for name in labels])[before]
        unreadable = np.array([name == _UNREADABLE for name in labels])[before]
        now = np.where(replayed, kept, before)
        now = np.where(errors & ~contaminated, kept - 1, now)
        now = np.where(first >= 0, kept - 1 - len(self.table) + first, now)
        return np.where(unreadable, before, now)

    def _sample(
        self,
        batch: pa.RecordBatch,
        drops: bool,
        rows: NDArray[np.int64],
        fates: Sequence[tuple[str | None, str | None]],
    ) -> None:
        ids = batch["id"].take(pa.array(rows)).to_pylist()
        examples = self.examples[drops]
        for place in sorted(range(len(rows)), key=ids.__getitem__)[:EXAMPLES]:
            row = int(rows[place])
            name = ids[place].hex()
            if "path" in batch.schema.names:
                name = f"{batch['repo'][row].as_py()}/{batch['path'][row].as_py()}"
            example = Example(name, batch["language"][row].as_py(), *fates[place])
            examples.append((ids[place], example))
        self.examples[drops] = sorted(examples, key=lambda pair: pair[0])[:EXAMPLES]

    def result(self) -> Replay:
        keys = sorted(self.counts, key=lambda key: (key[0] or "", key[1]))
        figures = np.array([self.counts[key] for key in keys]).reshape(-1, 4)
        columns = ("documents_before", "bytes_before", "documents_now", "bytes_now")
        table = pa.table(
            {
                "rule": pa.array([rule for rule, _ in keys], pa.string()),
                "language": pa.array([language for _, language in keys], pa.string()),
                **{name: pa.array(figures[:, place]) for place, name in enumerate(columns)},
            }
        )
        return Replay(
            table,
            int(figures[:, 0].sum()),
            self.changed[True],
            self.changed[False],
            tuple(example for _, example in self.examples[True]),
            tuple(example for _, example in self.examples[False]),
            self._caveats(table),
        )

    def _caveats(self, table: pa.Table) -> tuple[str, ...]:
        caveats = []
        if self.changed[False]:
            caveats.append(
                f"{self.changed[False]:,} documents newly kept were never compared: contamination, "
                "syntax and copies may drop some of them"
            )
        copies = sum(
            row["documents_now"]
            for row in table.to_pylist()
            if row["rule"] not in (None, _UNREADABLE, _CONTAMINATED, *self.names)
        )
        if self.changed[True] and copies:
            stay = "1 copy stays" if copies == 1 else f"{copies:,} copies stay"
            caveats.append(f"{stay} dropped: those of a newly dropped document would be kept")
        return tuple(caveats)


def _codes(column: pa.DictionaryArray) -> tuple[list[str], NDArray[np.int64]]:
    """The names of a dictionary column and each row's place in them, -1 for null."""
    places = column.indices.fill_null(-1).to_numpy().astype(np.int64)
    return column.dictionary.to_pylist(), places
