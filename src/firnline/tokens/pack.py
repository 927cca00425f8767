"""Documents to token shards: flat binary files and an index of every document in them.

A token shard belongs to one shard of Documents. `docs/contracts.md` describes the folder;
`samples.py` makes training samples from it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from firnline import engine
from firnline.documents import (
    TableWriter,
    atomic_path,
    document_shards,
    parquet_file,
    write_json,
)
from firnline.errors import FirnlineError
from firnline.stage import StageResult, Stats, Workspace, run_stage
from firnline.tokens.splits import read_split
from firnline.tokens.tokenizer import Tokenizer

INDEX_SCHEMA = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("group", pa.int32(), nullable=False),
    ]
)
# Less than this is encoded faster by the threads of one process than processes start.
SMALL_MIB = 1024
_COLUMNS = ("id", "repo", "path", "language", "source")

GroupBy = Literal["language_repository", "repository", "file"]
_GROUP_COLUMNS: dict[GroupBy, tuple[str, ...]] = {
    "language_repository": ("language", "repo"),
    "repository": ("repo",),
    "file": (),
}


class PackConfig(BaseModel):
    """Settings of the `pack` stage. Order is drawn at training time: no seed is needed here."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    group_by: GroupBy = "language_repository"
    """Which documents stay together in a training sequence: those of one language in one
    repository (best in Arctic-SnowCoder, Table 3), of one repository, or none."""
    splits: tuple[str, ...] = ("train",)
    """Which documents are packed, where the corpus has a `split` column."""


def run(
    config: PackConfig,
    documents: Path,
    tokenizer_folder: Path,
    out: Path,
    *,
    workers: int | None = None,
) -> StageResult:
    """Encodes `documents` into the token folder `out`, each followed by end of text.

    Statistics: documents, bytes, tokens and bytes for each token, in all and by language. Raises
    FirnlineError where no document is left to pack.
    """
    tokenizer = Tokenizer.load(tokenizer_folder)
    dtype = "uint16" if tokenizer.vocabulary_size <= 1 << 16 else "uint32"

    def body(workspace: Workspace) -> Stats:
        paths = document_shards(documents)
        weights = {f"shard-{n:05d}": _content_mib(path) for n, path in enumerate(paths)}
        small = sum(weights.values()) < SMALL_MIB
        workspace.workers = workers or (1 if small else engine.cores())
        parallel = min(workspace.workers, len(paths)) == 1
        jobs = {
            name: _Job(number, path, tokenizer, dtype, config.splits, workspace.folder, parallel)
            for number, (name, path) in enumerate(zip(weights, paths, strict=True))
        }
        parts = workspace.map("encode", _encode, jobs, weights=weights, unit="MiB")
        languages = _sum_languages(parts)
        total = _sum_rows(languages.values())
        if not total["documents"]:
            raise FirnlineError(
                f"no documents to pack in {documents}",
                mend=f"give documents whose split is {' or '.join(config.splits)}",
            )
        _write_index(config, workspace.folder, list(jobs.values()))
        write_json(
            workspace.folder / "tokens.json",
            {
                "vocabulary_size": tokenizer.vocabulary_size,
                "dtype": dtype,
                "end_of_text": tokenizer.end_of_text,
                "tokenizer": tokenizer.digest,
                **total,
            },
        )
        return {
            **_with_rate(total),
            "languages": {name: _with_rate(row) for name, row in languages.items()},
        }

    inputs: dict[str, Path | str] = {"documents": documents, "tokenizer": tokenizer.digest}
    return run_stage("pack", config, inputs, out, body, room="tokens", workers=workers)


@dataclass(frozen=True)
class _Job:
    number: int
    documents: Path
    tokenizer: Tokenizer
    dtype: str
    splits: tuple[str, ...]
    folder: Path
    parallel: bool  # cores are shared out by shards, or all to one shard

    @property
    def tokens(self) -> Path:
        return self.folder / f"shard-{self.number:05d}.bin"

    @property
    def index(self) -> Path:  # `parts` goes when the stage is finished
        return self.folder / "parts" / "index" / f"shard-{self.number:05d}.parquet"


def _encode(job: _Job) -> Stats:
    """Writes one token shard and its part of the index, without groups."""
    rows: dict[str, dict[str, int]] = {}
    schema = INDEX_SCHEMA.remove(INDEX_SCHEMA.get_field_index("group"))
    offset = 0
    with (
        atomic_path(job.tokens) as temporary,
        temporary.open("wb") as file,
        TableWriter(job.index, schema) as index,
    ):
        for batch in read_split(job.documents, [*_COLUMNS, "content"], job.splits):
            content = batch.column("content")
            ids, ends = job.tokenizer.encode_batch(content, parallel=job.parallel)
            with_ends = np.insert(ids.astype(job.dtype), ends[1:], job.tokenizer.end_of_text)
            with_ends.tofile(file)
            tokens = np.diff(ends) + 1
            sizes = pc.binary_length(content).cast(pa.int64()).fill_null(0)
            table = pa.table({name: batch.column(name) for name in _COLUMNS})
            table = table.append_column("shard", pa.array(np.full(len(tokens), job.number)))
            starts = offset + np.cumsum(tokens) - tokens
            table = table.append_column("offset", pa.array(starts))
            table = table.append_column("tokens", pa.array(tokens))
            table = table.append_column("bytes", sizes)
            for record_batch in table.to_batches():
                index.write(record_batch)
            _count(rows, table)
            offset += len(with_ends)
    return {"languages": rows}


def _count(rows: dict[str, dict[str, int]], table: Any) -> None:
    sums = table.group_by("language").aggregate(
        [("tokens", "count"), ("tokens", "sum"), ("bytes", "sum")]
    )
    for new in sums.to_pylist():
        row = rows.setdefault(new["language"], {"documents": 0, "bytes": 0, "tokens": 0})
        row["documents"] += new["tokens_count"]
        row["bytes"] += new["bytes_sum"]
        row["tokens"] += new["tokens_sum"]


def _write_index(config: PackConfig, folder: Path, jobs: list[_Job]) -> None:
    """Joins the parts of the index and numbers the groups, in the order of their names."""
    keys = _GROUP_COLUMNS[config.group_by]
    names: set[tuple[str, ...]] = set()
    if keys:
        for job in jobs:
            table = parquet_file(job.index).read(list(keys)).group_by(list(keys)).aggregate([])
            names.update(zip(*(table.column(key).to_pylist() for key in keys), strict=True))
    number_of = {name: number for number, name in enumerate(sorted(names))}
    with TableWriter(folder / "index.parquet", INDEX_SCHEMA) as index:
        for job in jobs:
            for batch in parquet_file(job.index).iter_batches():
                if keys:
                    columns = (batch.column(key).to_pylist() for key in keys)
                    groups = [number_of[name] for name in zip(*columns, strict=True)]
                else:
                    groups = list(range(index.rows, index.rows + batch.num_rows))
                index.write(batch.append_column("group", pa.array(groups, pa.int32())))


def _sum_languages(parts: dict[str, Stats]) -> dict[str, dict[str, int]]:
    found: dict[str, list[dict[str, int]]] = defaultdict(list)
    for part in parts.values():
        for language, row in part["languages"].items():
            found[language].append(row)
    return {language: _sum_rows(found[language]) for language in sorted(found)}


def _sum_rows(rows: Any) -> dict[str, int]:
    total = {"documents": 0, "bytes": 0, "tokens": 0}
    for row in rows:
        for key in total:
            total[key] += row[key]
    return total


def _with_rate(row: dict[str, int]) -> Stats:
    return {**row, "bytes_per_token": round(row["bytes"] / max(row["tokens"], 1), 4)}


def _content_mib(path: Path) -> float:
    """Uncompressed content of a shard, from the file's own figures."""
    metadata = parquet_file(path).metadata
    sizes = (metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))
    return float(sum(sizes)) / (1 << 20)
