"""The rows of a phase's `metrics.jsonl` as columns, and the curves that are drawn from them.

Memory is eight bytes for each step and key. A line that is cut (the phase is running, or its
machine went down) or that names no step is passed over.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from firnline.report.charts import Point

Floats = npt.NDArray[np.float64]

# A phase of more steps than this is drawn in buckets, so many to the width of a chart.
POINTS = 500

KEYS = (
    "step",
    "tokens",
    "loss",
    "bits_per_byte",
    "heldout_loss",
    "heldout_bits_per_byte",
    "learning_rate",
    "gradient_norm",
    "tokens_per_second",
    "mfu_full_attention",
    "mfu_causal_attention",
    "peak_memory_bytes",
)


@dataclass
class Track:
    """What happened step by step; NaN where a row does not say it or has no finite value."""

    columns: dict[str, Floats] = field(default_factory=dict)
    """Of equal length, by the keys of `metrics.jsonl`."""
    skipped: dict[int, str] = field(default_factory=dict)
    """Rows whose step was skipped, or has a loss that is not finite, and why."""

    def __len__(self) -> int:
        return len(self.columns.get("step", ()))

    def column(self, key: str) -> Floats:
        """The values of a key; of a skipped step there is no loss and no gradient."""
        values = self.columns[key]
        if self.skipped and key in ("loss", "bits_per_byte", "gradient_norm"):
            values = values.copy()
            values[list(self.skipped)] = math.nan
        return values

    def has(self, key: str) -> bool:
        """Whether any row has a finite value of the key."""
        return len(self) > 0 and bool(np.isfinite(self.column(key)).any())

    @property
    def batch_tokens(self) -> Floats:
        """Tokens of each step; NaN for a last one that the phase's end cut short."""
        steps, tokens = self.columns["step"], self.columns["tokens"]
        batch: Floats = np.diff(tokens, prepend=0.0) / np.diff(steps, prepend=0.0)
        if len(batch) > 1 and batch[-1] < batch[-2]:
            batch[-1] = math.nan
        return batch


def read_track(path: Path) -> Track:
    """The rows of a file; of none where there is no file."""
    columns = {key: array("d") for key in KEYS}
    skipped = {}
    for number, row in enumerate(_steps(path)):
        for key, column in columns.items():
            column.append(_number(row.get(key)))
        if reason := row.get("skipped"):
            skipped[number] = str(reason)
        elif not math.isfinite(_number(row.get("loss"))):
            skipped[number] = "the loss is not finite"
    return Track({key: np.array(column) for key, column in columns.items()}, skipped)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON lines file, those that are whole."""
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                if isinstance(row, dict):
                    yield row


def thin(
    tokens: Floats, values: Floats, start: float = 0.0, *, most: int = POINTS
) -> tuple[list[Point], list[tuple[float, float, float]]]:
    """A curve over `start + tokens` and the band around it, of the values that are finite.

    More than `most` of them are cut into so many buckets of equally many, in order: the curve
    goes through the buckets' means, the band from their least to their greatest value.
    """
    finite = np.isfinite(tokens) & np.isfinite(values)
    x, y = tokens[finite] + start, values[finite]
    if len(x) <= most:
        return list(zip(x.tolist(), y.tolist(), strict=True)), []
    bounds = np.linspace(0, len(x), most + 1).astype(np.int64)
    first, sizes = bounds[:-1], np.diff(bounds)
    middle = (np.add.reduceat(x, first) / sizes).tolist()
    mean = (np.add.reduceat(y, first) / sizes).tolist()
    low, high = np.minimum.reduceat(y, first), np.maximum.reduceat(y, first)
    return (
        list(zip(middle, mean, strict=True)),
        list(zip(middle, low.tolist(), high.tolist(), strict=True)),
    )


def _steps(path: Path) -> Iterator[dict[str, Any]]:
    """Rows in rising order of their steps, whatever a stop has left."""
    last = 0.0
    for row in read_rows(path):
        step = _number(row.get("step"))
        if step > last and math.isfinite(_number(row.get("tokens"))):
            last = step
            yield row


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)
