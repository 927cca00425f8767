"""Writes what a worker read: data and ledger shards of bounded size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from firnline.corpus.parts import Found
from firnline.documents import (
    DOCUMENT_SCHEMA,
    LEDGER_SCHEMA,
    OPTIONAL_SCHEMA,
    TableWriter,
    content_hash,
    document_id,
)

INGEST_SCHEMA = pa.schema([*DOCUMENT_SCHEMA, *OPTIONAL_SCHEMA])
INGEST_LEDGER = pa.schema(
    [*LEDGER_SCHEMA, ("repo", pa.string()), ("path", pa.string()), ("size", pa.int64())]
)
_ROWS = 1024
_BATCH_BYTES = 16 << 20


class ShardWriter:
    """`data/NAME.parquet` and `ledger/NAME.parquet`; past `limit` bytes `NAME_00001` and so on.

    The names sort in the order of writing. Memory is one batch of about 16 MiB and one row group.
    """

    def __init__(self, folder: Path, name: str, limit: int) -> None:
        self.shards = 0
        self._folder, self._name, self._limit = folder, name, limit
        self._bytes = 0
        self._open()

    def _open(self) -> None:
        name = f"{self._name}_{self.shards:05d}" if self.shards else self._name
        self.shards += 1
        self._data = TableWriter(self._folder / "data" / f"{name}.parquet", INGEST_SCHEMA)
        self._ledger = TableWriter(self._folder / "ledger" / f"{name}.parquet", INGEST_LEDGER)
        self._documents = _Rows(self._data, INGEST_SCHEMA)
        self._decisions = _Rows(self._ledger, INGEST_LEDGER)
        self._bytes = 0

    def _close(self) -> None:
        self._documents.flush()
        self._decisions.flush()
        self._data.close()
        self._ledger.close()

    def add(
        self, found: Found, language: str | None, text: str, rule: str | None, detail: str | None
    ) -> None:
        """One file: a ledger row, and a document where no rule dropped it."""
        if rule is None and self._bytes and self._bytes + found.size > self._limit:
            self._close()
            self._open()
        key = document_id(found.source, found.repo, found.revision, found.path)
        self._decisions.add(
            (key, rule is None, rule, detail, found.repo, found.path, found.size), 0
        )
        if rule is not None or found.content is None:
            return
        size = len(found.content)
        self._bytes += size
        self._documents.add(
            (
                key,
                content_hash(found.content),
                found.repo,
                found.path,
                found.revision,
                language,
                found.license,
                size,
                found.source,
                found.stars,
                text,
                found.fork,
                found.created,
            ),
            size,
        )

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._close()
        else:
            self._data.abandon()
            self._ledger.abandon()


class _Rows:
    """Collects rows and writes them as record batches of bounded size."""

    def __init__(self, writer: TableWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self._rows: list[tuple[Any, ...]] = []
        self._bytes = 0

    def add(self, row: tuple[Any, ...], size: int) -> None:
        self._rows.append(row)
        self._bytes += size
        if len(self._rows) >= _ROWS or self._bytes >= _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [
                pa.array(column, field.type)
                for column, field in zip(columns, self._schema, strict=True)
            ]
            self._writer.write(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
            self._rows, self._bytes = [], 0
