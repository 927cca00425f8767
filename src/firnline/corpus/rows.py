"""Rows of Parquet and JSONL files as dictionaries, for sources whose rows are not files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from firnline.corpus.git import true_time
from firnline.corpus.http import ChangedError
from firnline.corpus.members import ArchiveError
from firnline.corpus.parts import Found, Limits, as_text
from firnline.corpus.storage import Blob, Storage, open_blob
from firnline.corpus.unpack import Unpacked

Row = dict[str, Any]

_CHUNK_BYTES = 1 << 20
_BATCH_BYTES = 8 << 20


class RefusedError(Exception):
    """A row or a commit that is not kept: the message is a ledger rule, or `rule: detail`."""


@dataclass(frozen=True)
class RowsPart:
    """A part: one file of rows. `convert` makes a document of a row and the place it is at."""

    blob: Blob
    storage: Storage
    convert: Callable[[Row, str], Found]

    @property
    def name(self) -> str:
        return as_text(self.blob.url)

    @property
    def size(self) -> int:
        return self.blob.size

    def fingerprint(self) -> str:
        """Changes with the file and what is made of its rows."""
        function = getattr(self.convert, "func", self.convert)  # of a partial
        options = getattr(self.convert, "args", ())
        return f"{self.blob.fingerprint()} {function.__module__} {options}"

    def problem(self, text: str, path: str = "") -> Found:
        """A ledger row for the file, or for the row at `path` in it."""
        where = f"{self.blob.name}/{path}" if path else self.blob.name
        return Found("adjacent", "", "", where, None, 0, problem=text)

    def files(self, limits: Limits) -> Iterator[Found]:
        if self.blob.problem is not None:
            yield self.problem(self.blob.problem)
            return
        parquet = self.blob.name.lower().endswith(".parquet")
        try:
            for number, row in self._parquet() if parquet else self._jsonl(limits):
                path = f"{number:012d}"
                try:
                    if isinstance(row, str):
                        raise RefusedError(row)
                    yield self.convert(row, f"{self.blob.name}/{path}")
                except RefusedError as error:
                    yield self.problem(str(error), path)
        except ArchiveError as error:
            yield self.problem(str(error).replace("archive_", "table_"))
        except ChangedError as error:
            yield self.problem(f"changed: {error}")
        except (pa.ArrowException, OSError) as error:
            yield self.problem(f"unreadable: {' '.join(str(error).split())[:200]}")

    def _parquet(self) -> Iterator[tuple[int, Row | str]]:
        with open_blob(self.blob, self.storage) as file:
            table = pq.ParquetFile(file, buffer_size=_CHUNK_BYTES, pre_buffer=False)
            about = table.metadata
            total = sum(about.row_group(g).total_byte_size for g in range(about.num_row_groups))
            each = max(1, total // max(1, about.num_rows))
            size = max(1, min(1024, _BATCH_BYTES // each))
            number = 0
            for batch in table.iter_batches(batch_size=size, use_threads=False):
                for row in batch.to_pylist():
                    yield number, row
                    number += 1

    def _jsonl(self, limits: Limits) -> Iterator[tuple[int, Row | str]]:
        with open_blob(self.blob, self.storage) as file:
            stream = Unpacked(file, limits)
            most = 4 * limits.max_file_bytes + _CHUNK_BYTES
            for number, line in enumerate(_lines(stream, most)):
                if line is None:
                    yield number, f"too_large: a line of over {most:,} bytes"
                elif line.strip():
                    yield number, _object(line)


def _lines(stream: Unpacked, most: int) -> Iterator[bytes | None]:
    """Lines of a stream; None for one of over `most` bytes, which is not held in memory."""
    rest = b""
    dropping = False
    while data := stream.read(_CHUNK_BYTES):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            if not dropping:
                yield line
            dropping = False
        if len(rest) > most and not dropping:
            yield None
            dropping = True
        rest = b"" if dropping else rest
    if rest:
        yield rest


def _object(line: bytes) -> Row | str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"unreadable: {' '.join(str(error).split())[:200]}"
    return row if isinstance(row, dict) else "unreadable: not a JSON object"


def first(row: Row, *names: str) -> Any:
    """The value of the first of these columns that is there and not null."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def text_of(value: Any) -> str:
    """A value as text: lines end with a newline alone, lone surrogates are replaced."""
    text = "" if value is None else value if isinstance(value, str) else str(value)
    return text.replace("\r\n", "\n").encode("utf-8", "replace").decode()


def seconds(value: Any) -> int | None:
    """Seconds since 1970 of a date, an ISO 8601 text, or a number; None where it can be none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, datetime):
        zoned = value if value.tzinfo else value.replace(tzinfo=UTC)
        value = zoned.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return true_time(int(value)) if abs(value) < 1 << 40 else None
