"""`metrics.jsonl`: one line for each optimizer step, in order, no step twice."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class MetricsFile:
    """Appends lines and flushes each, so that a reader sees a step as soon as it is done."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")

    def write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Makes the lines so far outlive a power cut; called before a state that counts them."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def whole_lines(path: Path) -> int:
    """Lines that end in a newline; 0 where there is no file."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def truncate(path: Path, lines: int) -> None:
    """Keeps the first `lines` lines: what came after the state that a phase goes on from."""
    if not path.exists():
        return
    kept = path.read_bytes().splitlines(keepends=True)[:lines]
    os.truncate(path, sum(map(len, kept)))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All rows of a finished phase: step, tokens, loss, learning_rate, gradient_norm,
    tokens_per_second."""
    return [json.loads(line) for line in path.read_text().splitlines()]
