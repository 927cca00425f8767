"""Tables of code: Parquet and JSONL in the layouts of published corpora, read as streams."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, BinaryIO, Literal
from urllib.parse import urlsplit

import pyarrow.parquet as pq
from pydantic import AfterValidator, BaseModel, ConfigDict

from firnline.corpus import cells
from firnline.corpus.damage import DAMAGE, one_line, or_problem
from firnline.corpus.jsonl import CHUNK_BYTES, json_object, lines
from firnline.corpus.layouts import FIELDS, Layout, recognise
from firnline.corpus.parts import Found, Limits
from firnline.corpus.storage import Blob, Storage, find, open_blob
from firnline.corpus.unpack import Unpacked, likely_bytes
from firnline.documents import SOURCES
from firnline.languages import named

_PACKED = ("", ".gz", ".zst", ".xz")
TABLE_SUFFIXES = (
    ".parquet",
    *(f".jsonl{packed}" for packed in _PACKED),
    *(f".ndjson{packed}" for packed in _PACKED),
    *(f".json{packed}" for packed in _PACKED[1:]),
)
_PART_BYTES = 64 << 20
_BATCH_BYTES = 8 << 20
_ROWS_SEEN = 100
"""Rows of a JSONL file whose keys tell its layout."""
_STARCODER_LINE = re.compile(rb"\A(?:<(?:reponame|filename|gh_stars)>[^<\n]*)+\n?")
"""What StarCoder was trained to see before a file: half of StarCoderData's rows begin with it."""


def _fields(columns: dict[str, str]) -> dict[str, str]:
    if "content" not in columns:
        raise ValueError("must name the column of content")
    if wrong := [name for name in columns if name not in FIELDS]:
        raise ValueError(f"no field {', '.join(wrong)}; there are {', '.join(FIELDS)}")
    return columns


class TableSource(BaseModel):
    """Tables of code or text: one file, a folder of them, or a glob."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["table"] = "table"
    path: str
    """A file, a folder or a glob; here, or `s3://`, `gs://`, `https://` (one file)."""
    columns: Annotated[dict[str, str], AfterValidator(_fields)] | None = None
    """Where the layout is not known: field to column, `{content: body, path: file}`."""
    storage: Storage = Storage()
    """How remote files are reached."""

    def parts(self) -> Iterator[ParquetPart | JsonlPart]:
        """Row groups of Parquet, pieces of plain JSONL, whole files of packed JSONL."""
        for blob in find(self.path, TABLE_SUFFIXES, self.storage):
            if blob.name.lower().endswith(".parquet"):
                yield from _parquet_parts(blob, self.columns, self.storage)
            else:
                yield from _jsonl_parts(blob, self.columns, self.storage)


@dataclass(frozen=True)
class _Part(ABC):
    """What both formats have: a file, or a piece of one."""

    blob: Blob
    columns: dict[str, str] | None
    storage: Storage
    size: int

    @property
    def name(self) -> str:
        return self.blob.shown

    def fingerprint(self) -> str:
        """Changes with the file, the piece and the columns asked for."""
        return f"{self.blob.fingerprint()} {self._piece()} {self.columns}"

    def files(self, limits: Limits) -> Iterator[Found]:
        if self.blob.problem is not None:
            yield self.problem(self.blob.problem)
        else:
            yield from or_problem(self._read(limits), self.problem)

    @abstractmethod
    def _piece(self) -> str:
        """Which piece of the file."""

    @abstractmethod
    def _read(self, limits: Limits) -> Iterator[Found]:
        """Its rows as files."""

    def problem(self, text: str) -> Found:
        """A ledger row for what of the file cannot be read."""
        return Found("table", "", "", self.blob.place, None, self.blob.size, problem=text)

    def found(self, layout: Layout, values: Mapping[str, Any], number: int) -> Found:
        """A row as a file; `number` names it where the table gives it no path."""
        content = values.get("content")
        problem = None
        if isinstance(content, str):
            try:
                content = content.encode()
            except UnicodeEncodeError as error:
                content, problem = None, f"not_utf8: character {error.start:,}"
        elif not isinstance(content, bytes):
            what = "null" if content is None else type(content).__name__
            content, problem = None, f"no_content: the content is {what}"
        if content is not None and layout.name == "The Stack":
            content = _STARCODER_LINE.sub(b"", content, count=1)
        language = values.get("language")
        source = values.get("source")
        repo = cells.text(values.get("repo"))
        if layout.name == "text":
            repo = urlsplit(repo).netloc if "://" in repo else repo
        return Found(
            source=source if source in SOURCES else layout.source,
            repo=repo,
            revision=cells.text(values.get("revision")),
            path=cells.text(values.get("path")).lstrip("/") or f"{self.blob.place}/{number:012d}",
            license=cells.license(values.get("license")),
            size=len(content or b""),
            content=content,
            stars=cells.whole(values.get("stars")),
            language=layout.language or (named(language) if isinstance(language, str) else None),
            fork=values.get("fork") if isinstance(values.get("fork"), bool) else None,
            created=self.blob.true_time(cells.seconds(values.get("created"))),
            problem=problem,
        )


@dataclass(frozen=True)
class ParquetPart(_Part):
    """Some row groups of a Parquet file, with the number of each one's first row."""

    groups: tuple[tuple[int, int], ...] = field(default=())

    def _piece(self) -> str:
        return f"{self.groups}"

    def _read(self, limits: Limits) -> Iterator[Found]:
        with open_blob(self.blob, self.storage) as file:
            # Pages are read as they are wanted: a row group may be larger than memory.
            table = pq.ParquetFile(file, buffer_size=CHUNK_BYTES, pre_buffer=False)
            layout = recognise(table.schema_arrow.names, self.columns, self.name)
            for group, first in self.groups:
                yield from self._rows(table, layout, group, first)

    def _rows(
        self, table: pq.ParquetFile, layout: Layout, group: int, first: int
    ) -> Iterator[Found]:
        columns = layout.among(table.schema_arrow.names)
        about = table.metadata.row_group(group)
        each = max(1, about.total_byte_size // max(1, about.num_rows))
        number = first
        try:
            for batch in table.iter_batches(
                batch_size=max(1, min(4096, _BATCH_BYTES // each)),
                row_groups=[group],
                columns=list(columns.values()),
                use_threads=False,
            ):
                lists = [
                    cells.values(batch.column(column), ours) for ours, column in columns.items()
                ]
                for values in zip(*lists, strict=True):
                    yield self.found(layout, dict(zip(columns, values, strict=True)), number)
                    number += 1
        except DAMAGE as error:
            rows = f"rows {number:,} to {first + about.num_rows - 1:,}"
            yield self.problem(f"unreadable: {rows}: {one_line(error)}")


def _parquet_parts(
    blob: Blob, columns: dict[str, str] | None, storage: Storage
) -> Iterator[ParquetPart]:
    """Row groups, in order, up to about 64 MiB to a part; reads the footer only."""
    problem = blob.problem
    if problem is None:
        try:
            with open_blob(blob, storage) as file:
                table = pq.ParquetFile(file)
                metadata, schema = table.metadata, table.schema_arrow
        except DAMAGE as error:
            problem = f"unreadable: {one_line(error)}"
    if problem is not None:
        damaged = replace(blob, problem=problem)
        yield ParquetPart(damaged, columns, storage, 0)
        return
    recognise(schema.names, columns, blob.shown)
    groups: list[tuple[int, int]] = []
    size = first = 0
    for number in range(metadata.num_row_groups):
        # All columns and not content's alone: to ask for one column's size ends the process (an
        # abort inside pyarrow 25) where the footer is damaged.
        bytes_here = metadata.row_group(number).total_byte_size
        if groups and size + bytes_here > _PART_BYTES:
            yield ParquetPart(blob, columns, storage, size, tuple(groups))
            groups, size = [], 0
        groups.append((number, first))
        size += bytes_here
        first += metadata.row_group(number).num_rows
    if groups:
        yield ParquetPart(blob, columns, storage, size, tuple(groups))


@dataclass(frozen=True)
class JsonlPart(_Part):
    """The lines that begin in bytes `start` to `end` of a JSONL file; end 0: all of it."""

    start: int = 0
    end: int = 0

    def _piece(self) -> str:
        return f"{self.start} {self.end}"

    def _read(self, limits: Limits) -> Iterator[Found]:
        with open_blob(self.blob, self.storage) as file:
            layout = self._layout(file, limits)
        if layout is not None:
            with open_blob(self.blob, self.storage) as file:
                yield from self._rows(file, layout, limits)
        elif self.start == 0:
            yield self.problem(f"not_a_table: no JSON object in its first {_ROWS_SEEN} lines")

    def _layout(self, file: BinaryIO, limits: Limits) -> Layout | None:
        """By the keys of the file's first rows, the same for each piece of it."""
        names: dict[str, None] = {}
        for count, (_, line) in enumerate(lines(Unpacked(file, limits), _line_limit(limits))):
            if count >= _ROWS_SEEN:
                break
            row, _ = json_object(line or b"")
            names |= dict.fromkeys(row or ())
        return recognise(names, self.columns, self.name) if names else None

    def _rows(self, file: BinaryIO, layout: Layout, limits: Limits) -> Iterator[Found]:
        most = _line_limit(limits)
        start = max(0, self.start - 1)  # a line that begins at `self.start` follows a newline
        stream: Unpacked | BinaryIO = file if start else Unpacked(file, limits)
        file.seek(start)
        for position, line in lines(stream, most, start, skip=self.start > 0):
            if self.end and position >= self.end:
                return
            if line is None:
                yield self.problem(f"too_large: byte {position:,}: a line of over {most:,} bytes")
                continue
            if not line.strip():
                continue
            row, problem = json_object(line)
            if row is None:
                yield self.problem(f"unreadable: byte {position:,}: {problem}")
                continue
            columns = layout.among(row)
            values = {ours: row[column] for ours, column in columns.items()}
            yield self.found(layout, values, position)


def _jsonl_parts(
    blob: Blob, columns: dict[str, str] | None, storage: Storage
) -> Iterator[JsonlPart]:
    plain = blob.name.lower().endswith((".jsonl", ".ndjson"))
    if not plain or blob.problem is not None or blob.size <= _PART_BYTES:
        yield JsonlPart(blob, columns, storage, likely_bytes(blob.name, blob.size))
        return
    for start in range(0, blob.size, _PART_BYTES):
        end = min(start + _PART_BYTES, blob.size)
        yield JsonlPart(blob, columns, storage, end - start, start, end)


def _line_limit(limits: Limits) -> int:
    """Escapes make a text longer; a line far beyond that holds a file that is too large."""
    return 2 * limits.max_file_bytes + CHUNK_BYTES
