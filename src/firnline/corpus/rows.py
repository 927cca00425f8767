"""Rows of Parquet and JSONL files as dictionaries, for sources whose rows are not files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from firnline.corpus import cells
from firnline.corpus.damage import or_problem
from firnline.corpus.git import true_time
from firnline.corpus.jsonl import CHUNK_BYTES, json_object, lines
from firnline.corpus.parts import Found, Limits, as_text
from firnline.corpus.storage import Blob, Storage, open_blob
from firnline.corpus.unpack import Unpacked

Row = dict[str, Any]

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
        where = f"{self.blob.place}/{path}" if path else self.blob.place
        return Found("adjacent", "", "", where, None, 0, problem=text)

    def files(self, limits: Limits) -> Iterator[Found]:
        if self.blob.problem is not None:
            yield self.problem(self.blob.problem)
            return
        yield from or_problem(self._read(limits), self.problem)

    def _read(self, limits: Limits) -> Iterator[Found]:
        parquet = self.blob.name.lower().endswith(".parquet")
        for number, row in self._parquet() if parquet else self._jsonl(limits):
            path = f"{number:012d}"
            try:
                if isinstance(row, str):
                    raise RefusedError(row)
                yield self.convert(row, f"{self.blob.place}/{path}")
            except RefusedError as error:
                yield self.problem(str(error), path)

    def _parquet(self) -> Iterator[tuple[int, Row | str]]:
        with open_blob(self.blob, self.storage) as file:
            table = pq.ParquetFile(file, buffer_size=CHUNK_BYTES, pre_buffer=False)
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
            most = 4 * limits.max_file_bytes + CHUNK_BYTES
            for number, (_, line) in enumerate(lines(stream, most)):
                if line is None:
                    yield number, f"too_large: a line of over {most:,} bytes"
                elif line.strip():
                    row, problem = json_object(line)
                    yield number, f"unreadable: {problem}" if row is None else row


def first(row: Row, *names: str) -> Any:
    """The value of the first of these columns that is there and not null."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def text_of(value: Any) -> str:
    """A value as text: lines end with a newline alone, lone surrogates are replaced."""
    text = "" if value is None else value if isinstance(value, str) else str(value)
    return text.replace("\r\n", "\n").encode("utf-8", "replace").decode()


def seconds(value: Any) -> int | None:
    """Seconds since 1970 of a date, an ISO 8601 text, or a number; None where it can be none."""
    told = cells.seconds(value)
    return None if told is None else true_time(told)
