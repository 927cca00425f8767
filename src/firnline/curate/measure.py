"""The first pass over a shard: measure and judge each document alone, sketch those that pass.

The result is narrow: a table with one row for each document (no content) and, for the documents
that passed, the band keys that near-duplicates are looked for with.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from firnline.curate import rules
from firnline.curate.contamination import Index
from firnline.curate.duplicates import sketch_batch
from firnline.documents import (
    DOCUMENT_SCHEMA,
    atomic_path,
    buffers,
    content_hash,
    read_batches,
    write_table,
)
from firnline.kernels.sketch import band_hashes
from firnline.stage import Stats

# Kernels hold a few arrays of the batch's length, so this bounds memory, not the row group.
BATCH_BYTES = 16 << 20
BATCH_ROWS = 1024

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
        ("license_rank", pa.int8()),
        ("stars", pa.int64()),
        ("vendored", pa.bool_()),
    ]
)

PERMISSIVE_LICENSES = frozenset(
    {
        *("MIT", "MIT-0", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "Zlib"),
        *("Unlicense", "CC0-1.0", "PSF-2.0", "Python-2.0", "BSL-1.0", "NCSA", "PostgreSQL"),
        *("X11", "HPND", "BSD-3-Clause-Clear", "BlueOak-1.0.0", "UPL-1.0", "Artistic-2.0"),
    }
)

_VENDORED_PARTS = frozenset(
    {
        *("vendor", "_vendor", "vendored", "_vendored", "third_party", "third-party"),
        *("thirdparty", "3rdparty", "3rd_party", "extern", "external", "externals"),
        *("node_modules", "bower_components", "site-packages", "dist-packages", "Godeps"),
    }
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
        return self.folder / f"{self.name}.keys.npy"

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
    bands: int
    rows: int


def measure_shard(settings: Measuring, item: tuple[Path, Scratch]) -> Stats:
    """Measures one shard, writes its table and keys, and counts contaminated documents by task."""
    shard, scratch = item
    tables, keys = [], [np.zeros((0, settings.bands), dtype=np.uint64)]
    tasks: Counter[int] = Counter()
    for batch in small_batches(shard, tuple(DOCUMENT_SCHEMA.names)):
        table, passed, found = _measure(settings, batch)
        tables.append(table)
        tasks.update(found)
        sketches = sketch_batch(batch["content"].filter(passed))
        keys.append(band_hashes(sketches, settings.bands, settings.rows))
    write_table(scratch.table, pa.Table.from_batches(tables, schema=MEASURED_SCHEMA))
    with atomic_path(scratch.keys) as temporary, temporary.open("wb") as file:
        np.save(file, np.concatenate(keys))
    return {"tasks": {str(task): count for task, count in sorted(tasks.items())}}


def small_batches(shard: Path, columns: tuple[str, ...] | None = None) -> Iterator[pa.RecordBatch]:
    """Streams a shard in batches of at most BATCH_BYTES of content, or of one document."""
    for batch in read_batches(shard, columns, rows=BATCH_ROWS):
        offsets = buffers(batch["content"])[1]
        start = 0
        while start < len(batch):
            limit = offsets[start] + BATCH_BYTES
            stop = max(start + 1, int(np.searchsorted(offsets, limit, side="right")) - 1)
            yield batch.slice(start, stop - start)
            start = stop


def _measure(
    settings: Measuring, batch: pa.RecordBatch
) -> tuple[pa.RecordBatch, pa.Array, Counter[int]]:
    """(narrow rows, which of them passed, contaminated documents by task number)."""
    broken = unreadable(batch)
    if any(broken):
        batch = _without_values(batch, broken)
    languages = batch["language"].to_pylist()
    data, offsets = buffers(batch["content"])
    rule = np.array(["unreadable" if reason else None for reason in broken], dtype=object)
    detail = np.array([reason or None for reason in broken], dtype=object)
    values: rules.Statistics = {name: np.full(len(batch), np.nan) for name in rules.STATISTICS}
    found: Counter[int] = Counter()
    contaminated: list[int | None] = [None] * len(batch)
    if settings.table is not None:
        values = rules.measure(data, offsets, languages)
        for column in values.values():
            column[[bool(reason) for reason in broken]] = np.nan
        verdicts = rules.judge(settings.table, values, languages)
        for row in np.flatnonzero(verdicts >= 0).tolist():
            failed = settings.table[verdicts[row]]
            rule[row] = failed.name
            detail[row] = rules.explain(failed, values[failed.statistic][row], languages[row])
    passed = np.array([name is None for name in rule], dtype=bool)
    if settings.index is not None:
        rows = np.flatnonzero(passed)
        content = batch["content"].take(pa.array(rows))
        evidence = settings.index.find(content, [languages[row] for row in rows])
        for place, row in enumerate(rows.tolist()):
            contaminated[row] = len(evidence[place].tasks) if place in evidence else 0
        for place, seen in evidence.items():
            found.update(seen.tasks)
            rule[rows[place]] = "contaminated"
            detail[rows[place]] = settings.index.explain(seen)
            passed[rows[place]] = False
    columns: dict[str, Any] = {
        "id": batch["id"],
        "language": batch["language"],
        "bytes": np.diff(offsets),
        "rule": rule,
        "detail": detail,
        **values,
        "contaminated_tasks": contaminated,
        "repo": batch["repo"],
        "path": batch["path"],
        "content_hash": [
            content_hash(data[start:stop])
            for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        ],
        "license_rank": [license_rank(name) for name in batch["license"].to_pylist()],
        "stars": batch["stars"].fill_null(-1),
        "vendored": [is_vendored(path) for path in batch["path"].to_pylist()],
    }
    arrays = [
        pa.array(columns[field.name], field.type, from_pandas=True) for field in MEASURED_SCHEMA
    ]
    return pa.record_batch(arrays, schema=MEASURED_SCHEMA), pa.array(passed), found


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


def license_rank(expression: str | None) -> int:
    """0 for an SPDX expression that permits by a permissive license, 1 for another, 2 for none."""
    if not expression:
        return 2
    plain = re.sub(r"[()]", " ", expression)
    alternatives = (re.split(r"\s+AND\s+", option) for option in re.split(r"\s+OR\s+", plain))
    permissive = any(
        all(name.strip() in PERMISSIVE_LICENSES for name in option) for option in alternatives
    )
    return 0 if permissive else 1


def is_vendored(path: str) -> bool:
    """Whether a path lies in a folder for other people's code."""
    return any(part in _VENDORED_PARTS for part in PurePosixPath(path).parts[:-1])
