"""Documents and ledgers: their schemas, reading them, writing them.

A stage folder holds `data/shard-*.parquet` (Documents) and `ledger/shard-*.parquet` (one row for
each document the stage was given). `docs/contracts.md` is the same contract in prose.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from firnline.errors import FirnlineError

SHARD_BYTES = 256 << 20
ROW_GROUP_BYTES = 64 << 20
_AGAIN = "make it again: where a stage wrote it, remove the stage's folder and run the stage"

DOCUMENT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("content_hash", pa.binary(16), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("license", pa.string()),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("stars", pa.int64()),
        pa.field("content", pa.large_string(), nullable=False),
    ]
)

# Columns that `ingest` adds and that a table of Documents may lack.
OPTIONAL_SCHEMA = pa.schema(
    [
        pa.field("fork", pa.bool_()),
        pa.field("created", pa.timestamp("s")),
    ]
)

LEDGER_SCHEMA = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("kept", pa.bool_(), nullable=False),
        pa.field("rule", pa.string()),
        pa.field("detail", pa.string()),
    ]
)

SOURCES = (
    "git",
    "archive",
    "directory",
    "python",
    "table",
    "synthetic",
    "text",
    "markup",
    "adjacent",
)


def document_id(source: str, repo: str, revision: str, path: str) -> bytes:
    """128-bit id of one occurrence of a file: equal for equal (source, repo, revision, path)."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (source, repo, revision, path):
        data = part.encode("utf-8", "surrogateescape")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


def content_hash(content: bytes) -> bytes:
    """128-bit hash of a document's UTF-8 bytes: equal for equal bytes."""
    return hashlib.blake2b(content, digest_size=16).digest()


def hash_share(document: bytes, salt: str) -> float:
    """A number in [0, 1) that depends on a document's id and a salt alone.

    Splits and samples are made with it, so that they do not depend on order or scheduling.
    """
    digest = hashlib.blake2b(document, digest_size=8, key=salt.encode()).digest()
    return (int.from_bytes(digest, "little") >> 11) / float(1 << 53)


def temporary_name(path: Path) -> Path:
    """A hidden name beside `path` that no other attempt at the same file uses.

    On a cluster an item may run twice at once: where a node is taken for lost, or where a run is
    killed and its tasks are not yet. Both write the same bytes, each under a name of its own.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def remove_temporary(folder: Path) -> None:
    """Removes what killed attempts left anywhere below `folder`."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`; on success it is synced and renamed to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_table(path: Path, table: pa.Table) -> None:
    """Writes a Parquet file (zstd) whole or not at all."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file whole or not at all, with sorted keys."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


class TableWriter:
    """Writes record batches to one Parquet file under a temporary name; `close` renames it.

    Rows are collected into row groups of about 64 MiB, so that a reader streams.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.rows = 0
        self._temporary = temporary_name(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._temporary, schema, compression="zstd")
        self._schema = schema
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends a batch whose columns are the schema's, in any order."""
        if batch.num_rows == 0:
            return
        self._pending.append(batch.select(self._schema.names).cast(self._schema))
        self._pending_bytes += batch.nbytes
        self.rows += batch.num_rows
        if self._pending_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            table = pa.Table.from_batches(self._pending, schema=self._schema)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
            self._pending, self._pending_bytes = [], 0

    def close(self) -> None:
        """Finishes the file and gives it its name."""
        self._flush()
        self._writer.close()
        with self._temporary.open("rb") as file:
            os.fsync(file.fileno())
        self._temporary.replace(self.path)

    def abandon(self) -> None:
        """Drops what was written so far."""
        self._writer.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def document_shards(folder: Path) -> list[Path]:
    """The Document shards of a stage folder, or of a bare folder of Parquet files, in name order.

    Raises FirnlineError where there are none, or where a shard is not readable Parquet with the
    Document columns.
    """
    data = folder / "data" if (folder / "data").is_dir() else folder
    paths = sorted(p for p in data.glob("*.parquet") if not p.name.startswith("."))
    if not paths:
        raise FirnlineError(
            f"no Documents in {folder}", mend="give a folder with data/*.parquet or *.parquet"
        )
    for path in paths:
        names = set(parquet_file(path).schema_arrow.names)
        missing = [name for name in DOCUMENT_SCHEMA.names if name not in names]
        if missing:
            raise FirnlineError(
                f"{path} is not a table of Documents: no column {', '.join(missing)}",
                mend="docs/contracts.md lists the columns",
            )
    return paths


def ledger_shards(folder: Path) -> list[Path]:
    """The ledger shards of a stage folder, in name order; empty where it has none."""
    return sorted(p for p in (folder / "ledger").glob("*.parquet") if not p.name.startswith("."))


def parquet_file(path: Path) -> pq.ParquetFile:
    """Opens a Parquet file; raises FirnlineError where it is cut short or not Parquet."""
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FirnlineError(f"cannot read {path}: {_one_line(error)}", mend=_AGAIN) from error


def read_batches(
    path: Path, columns: Sequence[str] | None = None, rows: int = 4096, *, threads: bool = True
) -> Iterator[pa.RecordBatch]:
    """Streams a shard as record batches of at most `rows` rows.

    Columns of the Document schema come in the schema's types, whatever types the writer used
    (`string` becomes `large_string`, and so on). Batches never cross a row group. `threads` lets
    Arrow decode columns side by side: of use where nothing else keeps the cores busy.
    """
    file = parquet_file(path)
    wanted = list(columns) if columns is not None else list(file.schema_arrow.names)
    try:
        for batch in file.iter_batches(batch_size=rows, columns=wanted, use_threads=threads):
            yield _as_documents(batch)
    except (pa.ArrowInvalid, OSError) as error:
        raise FirnlineError(f"cannot read {path}: {_one_line(error)}", mend=_AGAIN) from error


def read_columns(paths: Iterable[Path], columns: Sequence[str]) -> pa.Table:
    """Narrow columns of many shards as one table. Not for `content` of a large corpus."""
    paths = list(paths)
    batches = [batch for path in paths for batch in read_batches(path, columns, rows=65536)]
    if batches:
        return pa.Table.from_batches(batches)
    known = {field.name: field for path in paths for field in parquet_file(path).schema_arrow}
    known |= {field.name: field for field in DOCUMENT_SCHEMA}
    return pa.schema([known[name] for name in columns]).empty_table()


def buffers(column: pa.Array) -> tuple[Any, Any]:
    """A large_string column as (bytes, offsets) for the kernels, without a copy.

    Returns a uint8 array of the text bytes and an int64 array of `len(column) + 1` offsets into
    it. A null counts as empty.
    """
    import numpy as np

    column = column.cast(pa.large_string()) if column.type != pa.large_string() else column
    if column.null_count:
        column = column.fill_null("")
    _, offset_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)
    offsets = offsets[column.offset : column.offset + len(column) + 1]
    if data_buffer is None or len(data_buffer) == 0:
        return np.zeros(0, dtype=np.uint8), offsets
    return np.frombuffer(data_buffer, dtype=np.uint8), offsets


def _as_documents(batch: pa.RecordBatch) -> pa.RecordBatch:
    fields = []
    for field in batch.schema:
        index = DOCUMENT_SCHEMA.get_field_index(field.name)
        fields.append(field.with_type(DOCUMENT_SCHEMA.field(index).type) if index >= 0 else field)
    return batch.cast(pa.schema(fields))


def _one_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
