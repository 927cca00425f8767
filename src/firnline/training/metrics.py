"""`metrics.jsonl`: one line for each optimizer step, in order, no step twice.

A value that is not finite (the loss of a step that was skipped) is null in the file, since JSON
has no name for it, and NaN again when it is read.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any


class MetricsFile:
    """Appends lines and flushes each, so that a reader sees a step as soon as it is done."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")

    def write(self, row: Mapping[str, Any]) -> None:
        self._file.write(json_line(row))
        self._file.flush()

    def sync(self) -> None:
        """Makes the lines so far outlive a power cut; called before a state that counts them."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def json_line(row: Mapping[str, Any]) -> str:
    """A row as a line of JSON, with null for what is not finite."""
    finite = {key: value if _has_name(value) else None for key, value in row.items()}
    return json.dumps(finite, allow_nan=False) + "\n"


def whole_lines(path: Path) -> int:
    """Lines that end in a newline; 0 where there is no file."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(line.endswith(b"\n") for line in file)


def truncate(path: Path, lines: int) -> None:
    """Keeps the first `lines` lines: what came after the state that a phase goes on from."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        size = sum(map(len, islice(file, lines)))
        file.truncate(size)


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file one after the other; none where there is no file."""
    if path.exists():
        with path.open() as file:
            for line in file:
                row: dict[str, Any] = json.loads(line)
                yield {key: math.nan if value is None else value for key, value in row.items()}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All rows of a phase: `docs/training.md` says what each key means."""
    return list(rows_of(path))


def _has_name(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
