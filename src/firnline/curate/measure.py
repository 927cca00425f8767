"""The first pass over a shard: measure and judge each document alone, sketch those that pass.

The result is narrow: a table with one row for each document (no content), for the documents that
passed the band keys that near-duplicates are looked for with, and what they hold of benchmarks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from firnline.curate import rules, syntax
from firnline.curate.contamination import Evidence, Index
from firnline.curate.duplicates import sketch_batch
from firnline.curate.keyfiles import KeyWriter
from firnline.curate.names import name_statistics
from firnline.curate.priority import UNKNOWN_DATE
from firnline.curate.tally import Tally
from firnline.documents import (
    DOCUMENT_SCHEMA,
    OPTIONAL_SCHEMA,
    TableWriter,
    buffers,
    content_hash,
    parquet_file,
    read_batches,
    write_json,
)
from firnline.engine import spread
from firnline.kernels.shingles import white_free_hashes
from firnline.kernels.sketch import band_hashes
from firnline.licenses import permissive
from firnline.stage import Stats

# Kernels hold a few arrays of the batch's length, so this bounds memory, not the row group.
BATCH_BYTES = 16 << 20
BATCH_ROWS = 8192

# Often other people's code, so of two copies the other stays; not often enough for the rule.
_OTHERS_CODE = r"(?:^|/)(?:extern|externals?|pods)/"

_REQUIRED = tuple(field.name for field in DOCUMENT_SCHEMA if not field.nullable)

MEASURED_SCHEMA = pa.schema(
    [
        ("id", pa.binary(16)),
        ("language", pa.string()),
        ("bytes", pa.int64()),
        ("rule", pa.string()),
        ("detail", pa.string()),
        *((name, pa.float64()) for name in rules.STATISTICS),
        ("contaminated_tasks", pa.int32()),
        ("repo", pa.string()),
        ("path", pa.string()),
        ("content_hash", pa.binary(16)),
        ("normal_hash", pa.binary(16)),
        ("license_rank", pa.int8()),
        ("stars", pa.int64()),
        ("fork", pa.bool_()),
        ("created", pa.int64()),
        ("vendored", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class Scratch:
    """Where a shard's narrow files lie between the passes."""

    folder: Path
    name: str

    @property
    def table(self) -> Path:
        return self.folder / f"{self.name}.measured.parquet"

    @property
    def keys(self) -> Path:
        return self.folder / f"{self.name}.keys"

    @property
    def tally(self) -> Path:
        return self.folder / f"{self.name}.tally.json"

    @property
    def shingles(self) -> Path:
        return self.folder / f"{self.name}.shingles.arrow"

    @property
    def decisions(self) -> Path:
        return self.folder / f"{self.name}.decisions.parquet"


@dataclass(frozen=True)
class Measuring:
    """What the first pass needs beside the shard; picklable.

    With `table` None every readable document passes: so it is for documents that are already in
    the corpus (`against`).
    """

    table: tuple[rules.Rule, ...] | None
    index: Index | None
    syntax: Literal["suspects", "all", "off"]
    licenses: frozenset[str]
    bands: int
    rows: int


def measure_shard(settings: Measuring, item: tuple[Path, Scratch]) -> Stats:
    """Measures one shard and writes its table, its keys and what it holds of benchmarks."""
    shard, scratch = item
    tally = Tally(settings.index) if settings.index is not None else None
    optional = set(parquet_file(shard).schema_arrow.names) & set(OPTIONAL_SCHEMA.names)
    with (
        TableWriter(scratch.table, MEASURED_SCHEMA) as writer,
        KeyWriter(scratch.keys, settings.bands) as keys,
    ):
        batches = small_batches(shard, (*DOCUMENT_SCHEMA.names, *sorted(optional)))
        for measured in spread(partial(_measure, settings), batches):
            writer.write(measured.table)
            keys.write(measured.keys)
            if tally is not None:
                tally.add(measured.found, *measured.searched)
    if tally is not None:
        write_json(scratch.tally, tally.pack())
    return {"documents": writer.rows}


def small_batches(
    shard: Path, columns: tuple[str, ...] | None = None, rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Streams a shard in batches of at most BATCH_BYTES of content, or of one document."""
    for batch in read_batches(shard, columns, rows=rows):
        offsets = buffers(batch["content"])[1]
        start = 0
        while start < len(batch):
            limit = offsets[start] + BATCH_BYTES
            stop = max(start + 1, int(np.searchsorted(offsets, limit, side="right")) - 1)
            yield batch.slice(start, stop - start)
            start = stop


class _Measured(NamedTuple):
    """What is known of a batch: narrow rows, band keys of those that passed, benchmarks' tasks."""

    table: pa.RecordBatch
    keys: NDArray[np.uint64]
    found: dict[int, Evidence]
    """By place among the documents that were searched."""
    searched: tuple[list[bytes], list[str], list[str]]
    """Their ids, repositories and paths."""


def _measure(settings: Measuring, batch: pa.RecordBatch) -> _Measured:
    broken = unreadable(batch)
    if any(broken):
        batch = _without_values(batch, broken)
    languages, paths = batch["language"].to_pylist(), batch["path"].to_pylist()
    data, offsets = buffers(batch["content"])
    judged = _Judged(batch, broken)
    ranks = license_ranks(batch["license"], settings.licenses)
    if settings.table is not None:
        judged.values |= rules.measure(data, offsets, languages, paths)
        judged.values["license_rank"] = ranks.astype(np.float64)
        for column in judged.values.values():
            column[judged.broken] = np.nan
        judged.judge(settings.table, languages)
        if settings.index is not None:
            judged.search(batch, languages, settings.index)
        if settings.syntax != "off":
            judged.parse(batch["content"], languages, settings)
        vendored = judged.values["vendored_path"] > 0
    else:
        vendored = name_statistics(paths, languages)["vendored_path"] > 0
    others = pc.match_substring_regex(batch["path"], _OTHERS_CODE, ignore_case=True)
    vendored |= others.to_numpy(zero_copy_only=False)
    columns: dict[str, Any] = {
        "id": batch["id"],
        "language": batch["language"],
        "bytes": np.diff(offsets),
        "rule": judged.rule,
        "detail": judged.detail,
        **judged.values,
        "contaminated_tasks": judged.tasks,
        "repo": batch["repo"],
        "path": batch["path"],
        "content_hash": [
            content_hash(data[start:stop])
            for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        ],
        "normal_hash": _digests(white_free_hashes(data, offsets)),
        "license_rank": ranks,
        "stars": batch["stars"].fill_null(-1),
        "fork": _optional(batch, "fork", False),
        "created": _optional(batch, "created", UNKNOWN_DATE),
        "vendored": vendored,
    }
    arrays = [
        value
        if isinstance(value := columns[field.name], pa.Array) and value.type == field.type
        else pa.array(value, field.type, from_pandas=True)
        for field in MEASURED_SCHEMA
    ]
    passed = pa.array(judged.passed())
    sketches = sketch_batch(batch["content"].filter(passed), batch["language"].filter(passed))
    return _Measured(
        pa.record_batch(arrays, schema=MEASURED_SCHEMA),
        band_hashes(sketches, settings.bands, settings.rows),
        judged.found,
        judged.searched,
    )


class _Judged:
    """The verdicts on a batch so far."""

    def __init__(self, batch: pa.RecordBatch, broken: list[str]) -> None:
        self.broken = np.array([bool(reason) for reason in broken], dtype=bool)
        self.rule = np.array(["unreadable" if reason else None for reason in broken], dtype=object)
        self.detail = np.array([reason or None for reason in broken], dtype=object)
        self.tasks: list[int | None] = [None] * len(batch)
        self.found: dict[int, Evidence] = {}
        self.searched: tuple[list[bytes], list[str], list[str]] = ([], [], [])
        self.values: rules.Statistics = {
            name: np.full(len(batch), np.nan) for name in rules.STATISTICS
        }

    def passed(self) -> NDArray[np.bool_]:
        return np.array([name is None for name in self.rule], dtype=bool)

    def judge(self, table: tuple[rules.Rule, ...], languages: list[str]) -> None:
        """Names the first rule of the table for each row that has none yet."""
        verdicts = rules.judge(table, self.values, languages)
        for row in np.flatnonzero((verdicts >= 0) & self.passed()).tolist():
            failed = table[verdicts[row]]
            self.rule[row] = failed.name
            value = float(self.values[failed.statistic][row])
            self.detail[row] = rules.explain(failed, value, languages[row])

    def search(self, batch: pa.RecordBatch, languages: list[str], index: Index) -> None:
        """Looks for benchmarks in the rows that passed."""
        rows = np.flatnonzero(self.passed())
        found = self.found = index.find(
            batch["content"].take(pa.array(rows)), [languages[row] for row in rows.tolist()]
        )
        searched = batch.select(["id", "repo", "path"]).take(pa.array(rows))
        ids, repos, paths = (column.to_pylist() for column in searched.columns)
        self.searched = (ids, repos, paths)
        for place, row in enumerate(rows.tolist()):
            self.tasks[row] = len(found[place].tasks) if place in found else 0
        for place, seen in found.items():
            self.rule[rows[place]] = "contaminated"
            self.detail[rows[place]] = index.explain(seen)

    def parse(self, content: pa.Array, languages: list[str], settings: Measuring) -> None:
        """Parses the rows that passed, or those of them that look as if they would not parse."""
        wanted = self.passed()
        if settings.syntax == "suspects":
            wanted &= self.values["syntax_suspect"] > 0
        self.values["syntax_error_share"] = syntax.error_shares(
            content, languages, suspected=wanted
        )
        parsed = tuple(r for r in settings.table or () if r.statistic == "syntax_error_share")
        self.judge(parsed, languages)


def _optional(batch: pa.RecordBatch, name: str, unknown: Any) -> pa.Array:
    kind = MEASURED_SCHEMA.field(name).type
    if name not in batch.schema.names:
        return pa.repeat(pa.scalar(unknown, kind), len(batch))
    return batch[name].cast(kind).fill_null(unknown)


def _digests(hashes: NDArray[np.uint64]) -> pa.Array:
    """uint64 (rows, 2) as binary(16)."""
    buffer = pa.py_buffer(np.ascontiguousarray(hashes, dtype="<u8").tobytes())
    return pa.Array.from_buffers(pa.binary(16), len(hashes), [None, buffer])


def unreadable(batch: pa.RecordBatch) -> list[str]:
    """Why each row cannot be used: a value is missing or is not UTF-8; empty where it can."""
    reasons = [""] * len(batch)
    for name in _REQUIRED:
        column = batch[name]
        if column.null_count:
            for row in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)).tolist():
                reasons[row] = reasons[row] or f"no {name}"
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            for row in range(len(column)):
                try:
                    column.slice(row, 1).validate(full=True)
                except pa.ArrowInvalid:
                    reasons[row] = reasons[row] or f"{name} is not UTF-8"
    return reasons


def _without_values(batch: pa.RecordBatch, broken: list[str]) -> pa.RecordBatch:
    """The batch with empty text in the broken rows, and zeros for an id that is missing."""
    whole = pa.array([not reason for reason in broken])
    for name in ("repo", "path", "language", "license", "content"):
        place = batch.schema.get_field_index(name)
        column = pc.if_else(whole, batch[name], pa.scalar("", batch[name].type))
        batch = batch.set_column(place, name, column)
    identity = batch["id"].fill_null(bytes(16))
    return batch.set_column(batch.schema.get_field_index("id"), "id", identity)


def license_ranks(column: pa.Array, allowed: frozenset[str]) -> NDArray[np.int8]:
    """0 for an SPDX expression that a license of `allowed` permits, 1 for another, 2 for none."""
    known = column.fill_null("").dictionary_encode()
    names = known.dictionary.to_pylist()
    ranks = [0 if permissive(name, allowed) else 1 if name else 2 for name in names]
    return np.array(ranks, dtype=np.int8).take(np.asarray(known.indices))
