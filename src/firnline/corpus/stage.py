"""Ingest: sources in, Documents and a ledger of every file seen out."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from firnline.corpus.sources import Entry, Repository, Source, read_entry
from firnline.documents import (
    DOCUMENT_SCHEMA,
    LEDGER_SCHEMA,
    SHARD_BYTES,
    TableWriter,
    content_hash,
    document_id,
)
from firnline.errors import FirnlineError
from firnline.languages import detect
from firnline.stage import StageResult, Stats, Workspace, run_stage

INGEST_LEDGER = pa.schema(
    [*LEDGER_SCHEMA, ("repo", pa.string()), ("path", pa.string()), ("size", pa.int64())]
)
_ROWS = 512
_BATCH_BYTES = 16 << 20


class IngestConfig(BaseModel):
    """What to read."""

    model_config = ConfigDict(extra="forbid")
    sources: tuple[Source, ...] = Field(min_length=1)
    """Where code comes from, in order."""
    max_file_mib: float = Field(default=8.0, gt=0)
    """Larger files are not read; the ledger names them (`too_large`)."""
    shard_mib: int = Field(default=SHARD_BYTES >> 20, gt=0)
    """Listed bytes to a shard. Smaller shards spread a small corpus over the cores."""


@dataclass(frozen=True)
class _Shard:
    name: str
    parts: tuple[Repository, ...]
    size: int
    """Listed bytes that will be read."""


def run(config: IngestConfig, out: Path, *, workers: int | None = None) -> StageResult:
    """Reads the sources into Documents.

    `out/data` holds the documents, `out/ledger` a row for each file seen, kept or not, with the
    rule that dropped it: `symlink`, `not_a_file`, `submodule`, `unknown_language`, `too_large`,
    `unreadable`, `binary`, `not_utf8`, `empty`. Raises FirnlineError where a source cannot be
    listed or where no file of a known language is found.
    """
    repositories = [found for source in config.sources for found in source.repositories()]
    inputs = {f"{r.source}:{r.name}@{r.revision}": r.fingerprint() for r in repositories}

    def body(workspace: Workspace) -> Stats:
        shards = {shard.name: shard for shard in _shards(repositories, config)}
        if not shards:
            paths = ", ".join(str(getattr(s, "path", s.kind)) for s in config.sources)
            raise FirnlineError(f"no files in {paths}", mend="check the sources' paths")
        work = partial(_read_shard, workspace.folder, int(config.max_file_mib * (1 << 20)))
        sizes = {name: max(shard.size, 1) / 1e6 for name, shard in shards.items()}
        parts = workspace.map("read", work, shards, weights=sizes, unit="MB")
        stats = _merge(parts.values())
        if stats["documents"] == 0:
            raise FirnlineError(
                f"no code found: {stats['files']:,} files seen, none of a known language",
                mend="check the sources' paths; firnline.languages lists what is known",
            )
        return {**stats, "repositories": len(repositories), "shards": len(shards)}

    return run_stage("ingest", config, inputs, out, body, room="corpus", workers=workers)


def _shards(repositories: list[Repository], config: IngestConfig) -> list[_Shard]:
    """Cuts the listing into shards of about `shard_mib`, in order; a repository may span several.

    A file that will not be read counts nothing, so that a large binary does not make a shard.
    """
    limit = config.shard_mib << 20
    too_large = config.max_file_mib * (1 << 20)
    shards: list[_Shard] = []
    parts: list[Repository] = []
    size = 0
    for repository in repositories:
        start = 0
        for index, entry in enumerate(repository.entries):
            read = entry.size <= too_large and detect(entry.path, b"") is not None
            if read and size and size + entry.size > limit:
                parts.append(replace(repository, entries=repository.entries[start:index]))
                shards.append(_Shard(f"shard-{len(shards):05d}", tuple(parts), size))
                parts, start, size = [], index, 0
            size += entry.size if read else 0
        parts.append(replace(repository, entries=repository.entries[start:]))
    if any(part.entries for part in parts):
        shards.append(_Shard(f"shard-{len(shards):05d}", tuple(parts), size))
    return shards


def _read_shard(folder: Path, max_bytes: int, shard: _Shard) -> Stats:
    name = f"{shard.name}.parquet"
    stats = _empty_stats()
    with (
        TableWriter(folder / "data" / name, DOCUMENT_SCHEMA) as data,
        TableWriter(folder / "ledger" / name, INGEST_LEDGER) as ledger,
    ):
        kept = _Rows(data.write, DOCUMENT_SCHEMA)
        seen = _Rows(ledger.write, INGEST_LEDGER)
        for repository in shard.parts:
            for entry in repository.entries:
                key = document_id(
                    repository.source, repository.name, repository.revision, entry.path
                )
                content, language, rule, detail = _read(repository, entry, max_bytes)
                row = {"id": key, "kept": rule is None, "rule": rule, "detail": detail}
                place = {"repo": repository.name, "path": entry.path, "size": entry.size}
                seen.add({**row, **place})
                _count(stats, rule, language, len(content))
                if rule is None:
                    kept.add(_document(key, repository, entry, language, content), len(content))
        kept.flush()
        seen.flush()
    return stats


def _document(
    key: bytes, repository: Repository, entry: Entry, language: str | None, content: bytes
) -> dict[str, Any]:
    return {
        "id": key,
        "content_hash": content_hash(content),
        "repo": repository.name,
        "path": entry.path,
        "revision": repository.revision,
        "language": language,
        "license": repository.license,
        "size": len(content),
        "source": repository.source,
        "stars": None,
        "content": content.decode("utf-8"),
    }


def _read(
    repository: Repository, entry: Entry, max_bytes: int
) -> tuple[bytes, str | None, str | None, str | None]:
    """(content, language, rule, detail) of one file; content is empty where a rule dropped it."""
    if entry.problem is not None:
        rule, _, detail = entry.problem.partition(": ")
        return b"", None, rule, detail or None
    named = "." in entry.path.rsplit("/", 1)[-1].lstrip(".")
    language = detect(entry.path, b"")
    if named and language is None:
        return b"", None, "unknown_language", None
    if entry.size > max_bytes:
        return b"", language, "too_large", f"{entry.size:,} bytes, limit {max_bytes:,}"
    try:
        content = read_entry(repository, entry)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        return b"", language, "unreadable", error.strerror or str(error)
    language = detect(entry.path, content[:4096])
    if language is None:
        return b"", None, "unknown_language", None
    if not content.strip():
        return b"", language, "empty", None
    if b"\0" in content:
        return b"", language, "binary", f"null byte at {content.index(0):,}"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return b"", language, "not_utf8", f"byte {error.start:,}"
    return content, language, None, None


class _Rows:
    """Collects rows and hands them on as record batches of bounded size."""

    def __init__(self, write: Callable[[pa.RecordBatch], None], schema: pa.Schema) -> None:
        self._write, self._schema = write, schema
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def add(self, row: dict[str, Any], size: int = 0) -> None:
        self._rows.append(row)
        self._bytes += size
        if len(self._rows) >= _ROWS or self._bytes >= _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._write(pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
            self._rows, self._bytes = [], 0


def _empty_stats() -> Stats:
    return {"files": 0, "documents": 0, "bytes": 0, "dropped": {}, "languages": {}}


def _count(stats: Stats, rule: str | None, language: str | None, size: int) -> None:
    stats["files"] += 1
    if rule is not None:
        stats["dropped"][rule] = stats["dropped"].get(rule, 0) + 1
        return
    stats["documents"] += 1
    stats["bytes"] += size
    row = stats["languages"].setdefault(language, {"documents": 0, "bytes": 0})
    row["documents"] += 1
    row["bytes"] += size


def _merge(parts: Any) -> Stats:
    total = _empty_stats()
    for part in parts:
        for key in ("files", "documents", "bytes"):
            total[key] += part[key]
        for rule, count in part["dropped"].items():
            total["dropped"][rule] = total["dropped"].get(rule, 0) + count
        for language, row in part["languages"].items():
            into = total["languages"].setdefault(language, {"documents": 0, "bytes": 0})
            into["documents"] += row["documents"]
            into["bytes"] += row["bytes"]
    return total
