"""Documents to token shards: flat binary files and an index of every document in them.

A token shard belongs to one shard of Documents. `docs/contracts.md` describes the folder;
`samples.py` makes training samples from it.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, model_validator

from firnline import engine
from firnline.documents import (
    TableWriter,
    atomic_path,
    document_shards,
    parquet_file,
    write_json,
)
from firnline.errors import FirnlineError
from firnline.kernels.ends import put_ends
from firnline.stage import StageResult, Stats, Workspace, run_stage
from firnline.tokens.nodes import syntax_nodes
from firnline.tokens.path_lines import path_lines
from firnline.tokens.places import read_places
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
# Columns that the index has where the settings need them: documents of a part stay together in
# their group, `place` is the order in it, `header` the bytes of the path line.
PART, PLACE = pa.field("part", pa.int32(), nullable=False), pa.field("place", pa.int64())
HEADER = pa.field("header", pa.int32(), nullable=False)
# Less than this is encoded faster by the threads of one process than processes start.
SMALL_MIB = 1024
_COLUMNS = ("id", "repo", "path", "language", "source")

GroupBy = Literal["language_repository", "repository", "repository_language", "file"]
_GROUP_COLUMNS: dict[GroupBy, tuple[str, ...]] = {
    "language_repository": ("language", "repo"),
    "repository": ("repo",),
    "repository_language": ("repo",),
    "file": (),
}
_PART_COLUMNS = ("repo", "language")


class PackConfig(BaseModel):
    """Settings of the `pack` stage. Order is drawn at training time: no seed is needed here."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    group_by: GroupBy = "language_repository"
    """Which documents stay together in a training sequence: those of one language in one
    repository (best in Arctic-SnowCoder, Table 3), of one repository, of one repository with each
    language of it together (the hybrid that the paper leaves open), or none."""
    order: Literal["random", "dependency"] = "random"
    """How the documents of a group follow one another: in random order, new in each epoch, or as
    the `arrange` stage ordered them, what a file imports before it. Groups are in random order."""
    path_line: Literal["none", "path", "repository"] = "none"
    """What a comment before each document says: nothing, its path, or its repository and path.
    The tokens and bytes of the index count it; `header` is its share of the bytes."""
    nodes: bool = False
    """Parse each document and record nodes of its syntax tree, for infilling cut by syntax. Costs
    a second for each 7 to 12 MB on a core."""
    splits: tuple[str, ...] = ("train",)
    """Which documents are packed, where the corpus has a `split` column."""

    @model_validator(mode="after")
    def _groups_have_an_order(self) -> Self:
        if self.group_by == "file" and self.order == "dependency":
            raise ValueError("order: dependency needs groups of several files, group_by is file")
        return self


def run(
    config: PackConfig,
    documents: Path,
    tokenizer_folder: Path,
    out: Path,
    *,
    order: Path | None = None,
    workers: int | None = None,
) -> StageResult:
    """Encodes `documents` into the token folder `out`, each followed by end of text.

    `order` is the folder of an `arrange` stage, for `order: dependency`: made for these documents
    or for those that they were chosen from, shard for shard.

    Statistics: documents, bytes, tokens and bytes for each token, in all and by language. Raises
    FirnlineError where no document is left to pack, or where one has no place in the order.
    """
    if (config.order == "dependency") != (order is not None):
        raise FirnlineError(
            f"pack with order: {config.order} and {order or 'no folder of an arrange stage'}",
            mend="give both order: dependency and the folder, or neither",
        )
    tokenizer = Tokenizer.load(tokenizer_folder)
    dtype = "uint16" if tokenizer.vocabulary_size <= 1 << 16 else "uint32"

    def body(workspace: Workspace) -> Stats:
        paths = document_shards(documents)
        weights = {f"shard-{n:05d}": _content_mib(path) for n, path in enumerate(paths)}
        # Threads share an encoder, which spreads what each gives it over all cores; one more than
        # cores keeps these busy while others read and write.
        small = sum(weights.values()) < SMALL_MIB
        threads = not config.nodes and (small or engine.cores() <= engine.MOST_THREADS)
        most = min(engine.cores() + 1, engine.MOST_THREADS) if threads else engine.cores()
        workspace.workers = workers or most
        shared = threads and workspace.workers <= engine.MOST_THREADS
        parallel = shared and engine.runner() == "native"
        jobs = {
            name: _Job(number, path, tokenizer, dtype, config, order, workspace.folder, parallel)
            for number, (name, path) in enumerate(zip(weights, paths, strict=True))
        }
        parts = workspace.map("encode", _encode, jobs, weights=weights, unit="MiB", threads=threads)
        languages = _sum_languages(parts)
        total = _sum_rows(languages.values())
        if not total["documents"]:
            raise FirnlineError(
                f"no documents to pack in {documents}",
                mend=f"give documents whose split is {' or '.join(config.splits)}",
            )
        _write_index(config, workspace.folder, list(jobs.values()))
        if config.nodes:
            _join_nodes(workspace.folder, list(jobs.values()))
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
    if order is not None:
        inputs["order"] = order
    return run_stage("pack", config, inputs, out, body, room="tokens", workers=workers)


@dataclass(frozen=True)
class _Job:
    number: int
    documents: Path
    tokenizer: Tokenizer
    dtype: str
    config: PackConfig
    order: Path | None
    folder: Path
    parallel: bool  # on all cores, with the other shards' threads, or on this process's one

    @property
    def tokens(self) -> Path:
        return self.folder / f"shard-{self.number:05d}.bin"

    @property
    def index(self) -> Path:  # `parts` goes when the stage is finished
        return self.folder / "parts" / "index" / f"shard-{self.number:05d}.parquet"

    @property
    def nodes(self) -> Path:
        return self.folder / "parts" / "nodes" / f"shard-{self.number:05d}.bin"


def _encode(job: _Job) -> Stats:
    """Writes one token shard and its part of the index, without groups."""
    tokenizer = job.tokenizer
    rows: dict[str, dict[str, int]] = {}
    schema = _index_schema(job.config, groups=False)
    places = read_places(job.order, job.documents) if job.order is not None else None
    offset = 0
    with (
        atomic_path(job.tokens) as temporary,
        temporary.open("wb") as file,
        TableWriter(job.index, schema) as index,
        _node_file(job) as nodes,
    ):
        columns = [*_COLUMNS, "content"]
        for batch in read_split(job.documents, columns, job.config.splits, threads=False):
            content = batch.column("content")
            headers = _headers(job.config, batch)
            if headers is not None:
                nothing = pa.scalar("", pa.large_string())
                content = pc.binary_join_element_wise(headers, content.fill_null(""), nothing)
            ids, ends = tokenizer.encode_batch(content, parallel=job.parallel)
            with_ends = np.empty(len(ids) + len(content), dtype=job.dtype)
            put_ends(ids, ends, tokenizer.end_of_text, with_ends)
            file.write(with_ends.data)
            tokens = np.diff(ends) + 1
            sizes = pc.binary_length(content).cast(pa.int64()).fill_null(0)
            table = pa.table({name: batch.column(name) for name in _COLUMNS})
            table = table.append_column("shard", pa.array(np.full(len(tokens), job.number)))
            starts = offset + np.cumsum(tokens) - tokens
            table = table.append_column("offset", pa.array(starts))
            table = table.append_column("tokens", pa.array(tokens))
            table = table.append_column("bytes", sizes)
            if headers is not None:
                table = table.append_column("header", pc.binary_length(headers))
            if places is not None:
                by_language = job.config.group_by == "repository_language"
                table = table.append_column("place", places.of(batch["id"], by_language))
            for record_batch in table.to_batches():
                index.write(record_batch)
            if nodes is not None:
                _write_nodes(nodes, batch, content, headers)
            _count(rows, table)
            offset += len(with_ends)
    return {"languages": rows}


def _headers(config: PackConfig, batch: pa.RecordBatch) -> pa.Array | None:
    """The path line of each document, where the settings ask for one."""
    if config.path_line == "none":
        return None
    columns = (batch[name].to_pylist() for name in ("language", "path", "repo"))
    languages, paths, repositories = columns
    with_repository = repositories if config.path_line == "repository" else None
    return pa.array(path_lines(languages, paths, with_repository), pa.large_string())


@contextmanager
def _node_file(job: _Job) -> Iterator[BinaryIO | None]:
    if not job.config.nodes:
        yield None
        return
    with atomic_path(job.nodes) as temporary, temporary.open("wb") as file:
        yield file


def _write_nodes(
    file: BinaryIO, batch: pa.RecordBatch, content: pa.Array, headers: pa.Array | None
) -> None:
    """Writes the syntax nodes of each document of the batch."""
    header = pc.binary_length(headers) if headers is not None else pa.nulls(len(content))
    columns = (batch["language"], content, header, batch["id"])
    for language, text, skip, document in zip(*columns, strict=True):
        data = (text.as_py() or "").encode()
        nodes = syntax_nodes(language.as_py(), data, skip.as_py() or 0, document.as_py())
        file.write(nodes.tobytes())


def _join_nodes(folder: Path, jobs: list[_Job]) -> None:
    with atomic_path(folder / "nodes.bin") as temporary, temporary.open("wb") as file:
        for job in jobs:
            with job.nodes.open("rb") as part:
                shutil.copyfileobj(part, file)


def _index_schema(config: PackConfig, *, groups: bool = True) -> pa.Schema:
    fields = [field for field in INDEX_SCHEMA if groups or field.name != "group"]
    if config.path_line != "none":
        fields.append(HEADER)
    if config.order == "dependency":
        fields.append(PLACE)
    elif groups and config.group_by == "repository_language":
        fields.append(PART)
    return pa.schema(fields)


def _count(rows: dict[str, dict[str, int]], table: Any) -> None:
    sums = table.group_by("language", use_threads=False).aggregate(
        [("tokens", "count"), ("tokens", "sum"), ("bytes", "sum")]
    )
    for new in sums.to_pylist():
        row = rows.setdefault(new["language"], {"documents": 0, "bytes": 0, "tokens": 0})
        row["documents"] += new["tokens_count"]
        row["bytes"] += new["bytes_sum"]
        row["tokens"] += new["tokens_sum"]


def _write_index(config: PackConfig, folder: Path, jobs: list[_Job]) -> None:
    """Joins the parts of the index and numbers the groups, in the order of their names."""
    schema = _index_schema(config)
    numbered = {"group": _GROUP_COLUMNS[config.group_by]}
    if "part" in schema.names:
        numbered["part"] = _PART_COLUMNS
    names = {name: _names(jobs, keys) for name, keys in numbered.items() if keys}
    with TableWriter(folder / "index.parquet", schema) as index:
        for job in jobs:
            for batch in parquet_file(job.index).iter_batches(1 << 20):
                for name, keys in numbered.items():
                    if keys:
                        values = pc.index_in(_joined(batch, keys), value_set=names[name])
                    else:
                        values = pa.array(range(index.rows, index.rows + batch.num_rows))
                    batch = batch.append_column(name, values.cast(pa.int32()))
                index.write(batch)


def _names(jobs: list[_Job], keys: tuple[str, ...]) -> pa.Array:
    names: set[str] = set()
    for job in jobs:
        table = parquet_file(job.index).read(list(keys))
        names.update(pc.unique(_joined(table, keys)).to_pylist())
    return pa.array(sorted(names), pa.string())


def _joined(rows: pa.RecordBatch | pa.Table, keys: tuple[str, ...]) -> Any:
    """The columns `keys` as one. No character sorts before NUL: the order is that of the pairs."""
    return pc.binary_join_element_wise(*(rows.column(key) for key in keys), "\0")


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
