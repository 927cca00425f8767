"""Ingest: sources in, Documents and a ledger of every file seen out."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, Field

from firnline.corpus.content_type import language_of
from firnline.corpus.damage import one_line
from firnline.corpus.licenses import from_header
from firnline.corpus.notebooks import as_script
from firnline.corpus.parts import MAX_FILE_MIB, Found, Limits, Part
from firnline.corpus.shards import ShardWriter
from firnline.corpus.sources import Source
from firnline.documents import SHARD_BYTES, atomic_path
from firnline.errors import FirnlineError
from firnline.stage import StageResult, Stats, Workspace, run_stage

_SHARD_PARTS = 1024
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


class IngestConfig(BaseModel):
    """What to read."""

    model_config = ConfigDict(extra="forbid")
    sources: tuple[Source, ...] = Field(min_length=1)
    """Where code comes from, in order."""
    max_file_mib: float = Field(default=MAX_FILE_MIB, gt=0)
    """Larger files are not read; the ledger names them (`too_large`)."""
    shard_mib: int = Field(default=SHARD_BYTES >> 20, gt=0)
    """Bytes to a shard. Smaller shards spread a small corpus over the cores."""
    notebooks: Literal["script", "raw"] = "script"
    """`script`: a notebook becomes its code, with its prose as comments; `raw`: as it is."""
    max_archive_members: int = Field(default=Limits.max_members, gt=0)
    """An archive is read up to this many members."""
    max_archive_gib: float = Field(default=Limits.max_total_bytes / (1 << 30), gt=0)
    """An archive is read up to this much unpacked."""
    max_archive_ratio: float = Field(default=Limits.max_ratio, gt=1)
    """An archive is read no further where it unpacks to more than this many times its size."""

    def limits(self) -> Limits:
        """What one part may read."""
        return Limits(
            max_file_bytes=int(self.max_file_mib * (1 << 20)),
            max_members=self.max_archive_members,
            max_total_bytes=int(self.max_archive_gib * (1 << 30)),
            max_ratio=self.max_archive_ratio,
        )


def run(config: IngestConfig, out: Path, *, workers: int | None = None) -> StageResult:
    """Reads the sources into Documents.

    `out/data` holds the documents with the columns of `OPTIONAL_SCHEMA` after them, `out/ledger` a
    row for each file seen, kept or not, with the rule that dropped it (`docs/ingest.md` lists
    them). Raises FirnlineError where a source cannot be listed or where no file of a known
    language is found.
    """
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    # The listing may be large: it goes through a file, which is gone with this process.
    with tempfile.TemporaryFile(dir=out.parent) as listing:
        inputs = _list(config, listing)

        def body(workspace: Workspace) -> Stats:
            listing.seek(0)
            folder = workspace.folder / "listing"
            sizes = _cut(_load(listing), folder, config.shard_mib << 20)
            if not sizes:
                paths = ", ".join(str(getattr(s, "path", s.kind)) for s in config.sources)
                raise FirnlineError(f"no files in {paths}", mend="check the sources' paths")
            work = partial(_read_shard, workspace.folder, config)
            weights = {name: max(size, 1) / 1e6 for name, size in sizes.items()}
            shards = {name: folder / name for name in sizes}
            parts = workspace.map("read", work, shards, weights=weights, unit="MB")
            stats = _merge(parts.values())
            if stats["documents"] == 0:
                raise FirnlineError(
                    f"no code found: {stats['files']:,} files seen, none of a known language",
                    mend="check the sources' paths; firnline.languages lists what is known",
                )
            shutil.rmtree(folder)
            return stats

        return run_stage("ingest", config, inputs, out, body, room="corpus", workers=workers)


def _list(config: IngestConfig, listing: IO[bytes]) -> dict[str, str]:
    """Writes the sources' parts to `listing`; returns a fingerprint for each source."""
    inputs = {}
    for number, source in enumerate(config.sources):
        digest = hashlib.blake2b(digest_size=16)
        for part in source.parts():
            digest.update(part.fingerprint().encode())
            pickle.dump(part, listing)
        inputs[f"{number:03d} {source.kind}"] = digest.hexdigest()
    return inputs


def _load(listing: IO[bytes]) -> Iterator[Part]:
    while True:
        try:
            yield pickle.load(listing)
        except EOFError:
            return


def _cut(parts: Iterable[Part], folder: Path, limit: int) -> dict[str, int]:
    """Groups parts, in order, into shards of about `limit` bytes: a file of parts for each.

    Returns the bytes to read for each shard's name.
    """
    sizes: dict[str, int] = {}
    group: list[Part] = []

    def close() -> None:
        name = f"shard-{len(sizes):05d}"
        with atomic_path(folder / name) as temporary, temporary.open("wb") as file:
            for part in group:
                pickle.dump(part, file)
        sizes[name] = sum(part.size for part in group)
        group.clear()

    size = 0
    for part in parts:
        if group and (size + part.size > limit or len(group) == _SHARD_PARTS):
            close()
            size = 0
        group.append(part)
        size += part.size
    if group:
        close()
    return sizes


def _read_shard(folder: Path, config: IngestConfig, shard: Path) -> Stats:
    stats = _empty_stats()
    limits = config.limits()
    repositories = set()
    with (
        ShardWriter(folder, shard.name, config.shard_mib << 20) as writer,
        shard.open("rb") as listing,
    ):
        for part in _load(listing):
            for found in part.files(limits):
                language, text, problem = judge(found, limits)
                if problem is None:
                    found, text, problem = rewrite(found, language, text, config.notebooks)
                rule, _, detail = (problem or "").partition(": ")
                writer.add(found, language, text, rule or None, detail or None)
                _count(stats, rule, language, found.size)
                repositories.add((found.source, found.repo))
        stats["shards"] = writer.shards
    stats["repositories"] = len(repositories)
    return stats


def judge(found: Found, limits: Limits) -> tuple[str | None, str, str | None]:
    """(language, text, problem) of one file; the text is empty where there is a problem."""
    if found.problem is not None or found.content is None:
        return None, "", found.problem or "unreadable"
    content = found.content
    if len(content) > limits.max_file_bytes:
        detail = f"{len(content):,} bytes, limit {limits.max_file_bytes:,}"
        return None, "", f"too_large: {detail}"
    if content.startswith(_LFS_POINTER):
        return None, "", "lfs_pointer"
    language = found.language or language_of(found.path, content)
    if language is None:
        return None, "", "unknown_language"
    if not content.strip():
        return language, "", "empty"
    if b"\0" in content:
        return language, "", f"binary: null byte at {content.index(0):,}"
    try:
        return language, content.decode("utf-8"), None
    except UnicodeDecodeError as error:
        return language, "", f"not_utf8: byte {error.start:,}"


def rewrite(
    found: Found, language: str | None, text: str, keep: Literal["script", "raw"]
) -> tuple[Found, str, str | None]:
    """(file, text, problem) with the license that the file states, and a notebook as a script.

    A table may hold notebooks that are scripts already; those stay.
    """
    if spdx := from_header(text[:4096].encode()):
        found = replace(found, license=spdx)
    if language != "Jupyter Notebook" or keep == "raw":
        return found, text, None
    if found.language is not None and not text.lstrip().startswith("{"):
        return found, text, None
    try:
        content, _ = as_script(text.encode())
    except ValueError as error:
        return found, "", f"notebook_broken: {one_line(error)}"
    if not content.strip():
        return found, "", "empty"
    return replace(found, content=content, size=len(content)), content.decode(), None


def _empty_stats() -> Stats:
    counts = dict.fromkeys(("files", "documents", "bytes", "repositories", "shards"), 0)
    return {**counts, "dropped": {}, "languages": {}}


def _count(stats: Stats, rule: str, language: str | None, size: int) -> None:
    stats["files"] += 1
    if rule:
        stats["dropped"][rule] = stats["dropped"].get(rule, 0) + 1
        return
    stats["documents"] += 1
    stats["bytes"] += size
    row = stats["languages"].setdefault(language, {"documents": 0, "bytes": 0})
    row["documents"] += 1
    row["bytes"] += size


def _merge(parts: Iterable[Stats]) -> Stats:
    """Sums. A repository that lies in several shards counts in each."""
    total = _empty_stats()
    for part in parts:
        for key in ("files", "documents", "bytes", "repositories", "shards"):
            total[key] += part[key]
        for rule, count in part["dropped"].items():
            total["dropped"][rule] = total["dropped"].get(rule, 0) + count
        for language, row in part["languages"].items():
            into = total["languages"].setdefault(language, {"documents": 0, "bytes": 0})
            into["documents"] += row["documents"]
            into["bytes"] += row["bytes"]
    return total
