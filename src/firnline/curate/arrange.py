"""The arrange stage: in which order the files of a repository come, dependencies first.

Three passes: over each shard to read what its documents import (imports.py), over the documents
of some repositories at a time to resolve and order them (resolve.py, order.py), and over each shard
again to write its ledger. Repositories may span shards. Nothing is dropped and no data is
written: `pack` takes the order from the ledger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from firnline.curate.imports import read_imports
from firnline.curate.order import order_repositories
from firnline.documents import (
    LEDGER_SCHEMA,
    TableWriter,
    atomic_path,
    document_shards,
    parquet_file,
    read_batches,
)
from firnline.stage import StageResult, Stats, Workspace, run_stage

Integers = NDArray[np.int64]

ARRANGE_LEDGER_SCHEMA = pa.schema(
    [
        *LEDGER_SCHEMA,
        pa.field("place", pa.int32(), nullable=False),
        pa.field("language_place", pa.int32(), nullable=False),
        pa.field("imports", pa.int32(), nullable=False),
        pa.field("resolved", pa.int32(), nullable=False),
        pa.field("dependencies", pa.int32(), nullable=False),
        pa.field("unmet", pa.int32(), nullable=False),
    ]
)
_VALUES = ARRANGE_LEDGER_SCHEMA.names[4:]
_READ_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("id", pa.binary(16)),
        ("repo", pa.string()),
        ("path", pa.string()),
        ("language", pa.string()),
        ("lines", pa.string()),
    ]
)
_PLACED_SCHEMA = pa.schema(
    [("row", pa.int64()), *((name, pa.int32()) for name in _VALUES), ("detail", pa.string())]
)
_ROWS = 256  # documents read at once: their content, and their imports as Python strings


class ArrangeConfig(BaseModel):
    """Settings of the `arrange` stage."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    bucket_mib: int = Field(default=2048, ge=1)
    """Content, in MiB, of the repositories that one process orders at a time: memory is about a
    tenth of it, or of the largest repository's. The result does not depend on it."""


def run(
    config: ArrangeConfig, documents: Path, out: Path, *, workers: int | None = None
) -> StageResult:
    """Orders the documents of each repository by what they import, into the ledger of `out`.

    The ledger's `place` numbers a repository's documents so that a document's dependencies have
    lower numbers (DeepSeek-Coder, section 2.2: where imports make a cycle, the file with the
    fewest unmet dependencies comes first); `language_place` numbers the repository's languages in
    the same manner. `dependencies` counts what it depends on, `unmet` what of that comes later,
    and `detail` names the first of them. A document without a repository name depends on nothing.

    Statistics: for each language documents, imports and how many were resolved; of those that by
    their form mean a file of their own repository (`local`) likewise.
    """
    paths = document_shards(documents)
    shards = {path.stem: path for path in paths}
    content = sum(_content_bytes(path) for path in paths)
    buckets = max(1, -(-content // (config.bucket_mib << 20)))
    weights = {name: path.stat().st_size / 1e6 for name, path in shards.items()}

    def body(workspace: Workspace) -> Stats:
        scratch = workspace.folder / "parts" / "scratch"  # `parts` goes when the stage is finished
        for name in ("imports", "places"):
            (scratch / name).mkdir(parents=True, exist_ok=True)
        read = partial(_read_shard, scratch / "imports", buckets)
        workspace.map("imports", read, shards, weights=weights, unit="MB")
        order = partial(_order_bucket, scratch, tuple(shards))
        numbers = {f"bucket-{number:05d}": number for number in range(buckets)}
        ordered = workspace.map("order", order, numbers, unit="buckets")
        write = partial(_write_ledger, workspace.folder, scratch / "places", buckets)
        items = {name: (number, path) for number, (name, path) in enumerate(shards.items())}
        written = workspace.map("ledger", write, items, weights=weights, unit="MB")
        return _total(ordered, written)

    inputs: dict[str, Path | str] = {"documents": documents}
    return run_stage("arrange", config, inputs, out, body, room="curate", workers=workers)


def _content_bytes(path: Path) -> int:
    file = parquet_file(path)
    column = file.schema_arrow.names.index("content")
    groups = (file.metadata.row_group(n) for n in range(file.metadata.num_row_groups))
    return sum(group.column(column).total_uncompressed_size for group in groups)


def _read_shard(folder: Path, buckets: int, shard: Path) -> Stats:
    """Writes the imports of a shard's documents, one record batch for each bucket."""
    tables = []
    start = 0
    columns = ["id", "repo", "path", "language", "content"]
    for batch in read_batches(shard, columns, rows=_ROWS):
        rows = pa.array(np.arange(start, start + len(batch)))
        start += len(batch)
        for column in ("repo", "path", "language", "content"):
            place = batch.schema.get_field_index(column)
            batch = batch.set_column(place, column, batch[column].fill_null(""))
        lines = read_imports(
            batch["content"], batch["language"].to_pylist(), batch["path"].to_pylist()
        )
        batch = batch.drop_columns(["content"]).append_column("row", rows)
        batch = batch.append_column("lines", pa.array(["\n".join(own) for own in lines]))
        tables.append(batch.select(_READ_SCHEMA.names).cast(_READ_SCHEMA))
    table = pa.Table.from_batches(tables, schema=_READ_SCHEMA).combine_chunks()
    bucket = np.array([_bucket(repo, buckets) for repo in table["repo"].to_pylist()])
    _write_parts(folder / f"{shard.stem}.arrow", table, bucket, buckets)
    return {}


@lru_cache(maxsize=1 << 16)
def _bucket(repo: str, buckets: int) -> int:
    """The bucket of a repository; -1 for a document without one, which needs no order."""
    if not repo:
        return -1
    digest = hashlib.blake2b(repo.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % buckets


def _write_parts(path: Path, table: pa.Table, part: Integers, parts: int) -> None:
    """Writes the rows of each part as one record batch; rows of part -1 are left out."""
    order = np.argsort(part, kind="stable")
    bounds = np.searchsorted(part[order], np.arange(parts + 1))
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with (
        atomic_path(path) as temporary,
        pa.ipc.new_file(temporary, table.schema, options=options) as writer,
    ):
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            rows = table.take(pa.array(order[start:stop])).combine_chunks()
            (batch,) = rows.to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
            writer.write_batch(batch)


def _read_part(path: Path, part: int) -> pa.RecordBatch:
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).get_batch(part)


def _order_bucket(scratch: Path, shards: Sequence[str], bucket: int) -> Stats:
    """Orders the repositories of one bucket and writes a record batch for each shard."""
    parts = [_read_part(scratch / "imports" / f"{name}.arrow", bucket) for name in shards]
    shard = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    table = pa.Table.from_batches(parts, schema=_READ_SCHEMA)
    del parts
    sorting = pc.sort_indices(table, [(name, "ascending") for name in ("repo", "path", "id")])
    table = table.take(sorting).combine_chunks()
    places, stats = order_repositories(table)
    placed = pa.table({"row": table["row"], **places}).select(_PLACED_SCHEMA.names)
    path = scratch / "places" / f"{bucket:05d}.arrow"
    _write_parts(path, placed.cast(_PLACED_SCHEMA), shard[sorting.to_numpy()], len(shards))
    return stats


def _write_ledger(folder: Path, scratch: Path, buckets: int, item: tuple[int, Path]) -> Stats:
    """Writes a row for each document of a shard, in the shard's order."""
    number, shard = item
    ids = pa.chunked_array(
        [batch["id"] for batch in read_batches(shard, ["id"], rows=65536)], pa.binary(16)
    )
    parts = [_read_part(scratch / f"{bucket:05d}.arrow", number) for bucket in range(buckets)]
    placed = pa.Table.from_batches(parts, schema=_PLACED_SCHEMA)
    rows = placed["row"].to_numpy()
    columns: dict[str, Any] = {"id": ids.fill_null(bytes(16))}
    columns |= {"kept": np.ones(len(ids), dtype=bool), "rule": pa.nulls(len(ids), pa.string())}
    for name in _VALUES:
        columns[name] = np.zeros(len(ids), dtype=np.int32)
        columns[name][rows] = placed[name].to_numpy()
    source = np.full(len(ids), -1)
    source[rows] = np.arange(len(rows))
    columns["detail"] = placed["detail"].take(pa.array(source, mask=source < 0))
    ledger = pa.table({name: columns[name] for name in ARRANGE_LEDGER_SCHEMA.names})
    with TableWriter(folder / "ledger" / shard.name, ARRANGE_LEDGER_SCHEMA) as writer:
        for batch in ledger.to_batches(max_chunksize=65536):
            writer.write(batch)
    return {"documents": len(ids), "without_repository": len(ids) - len(rows)}


def _total(ordered: Mapping[str, Stats], written: Mapping[str, Stats]) -> Stats:
    stats: Stats = {
        key: sum(shard[key] for shard in written.values())
        for key in ("documents", "without_repository")
    }
    stats["repositories"] = sum(bucket["repositories"] for bucket in ordered.values())
    languages: dict[str, Stats] = {}
    for bucket in ordered.values():
        for language, row in bucket["languages"].items():
            total = languages.setdefault(language, dict.fromkeys(row, 0))
            for key, count in row.items():
                total[key] += count
    stats["languages"] = dict(sorted(languages.items()))
    return stats
