"""Shingle sets of candidates on disk, read back in any order without holding them.

A file is the hashes of all its sets, one set after the other (uint64), then the row numbers
(int64, ascending), then where each set ends (int64), then the number of rows (int64).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from firnline.documents import atomic_path
from firnline.kernels.shingles import Hashes, Offsets

_NONE = np.zeros(0, dtype=np.int64)


def write_shingle_sets(path: Path, batches: Iterable[tuple[Offsets, Hashes, Offsets]]) -> None:
    """Writes the shingle sets of rows; takes about twice the bytes of their content.

    Each batch is (row numbers, hashes, offsets), the sets as `duplicates.shingle_sets_batch`
    gives them; row numbers ascend over all batches. For the rows that `candidate_rows` names.
    """
    rows, ends = [_NONE], [_NONE]
    total = 0
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for numbers, hashes, offsets in batches:
            hashes.tofile(file)
            rows.append(np.asarray(numbers, dtype=np.int64))
            ends.append(offsets[1:] + total)
            total += len(hashes)
        numbers = np.concatenate(rows)
        for part in (numbers, np.concatenate(ends), np.array([len(numbers)], dtype=np.int64)):
            part.tofile(file)


class ShingleStore:
    """Answers `near_duplicates` from the files of `write_shingle_sets`, given in row order.

    Sets are read when they are asked for. Held are 16 bytes for each row in the files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        rows, starts, lengths, counts = [_NONE], [_NONE], [_NONE], [0]
        for path in paths:
            numbers, ends = _index(path)
            rows.append(numbers)
            starts.append(np.r_[0, ends][:-1])
            lengths.append(ends - starts[-1])
            counts.append(len(numbers))
        self._rows = np.concatenate(rows).astype(np.uint32)
        self._starts = np.concatenate(starts)
        self._lengths = np.concatenate(lengths).astype(np.uint32)
        self._first = np.cumsum(counts)
        if (self._rows[1:] <= self._rows[:-1]).any():
            raise ValueError("the files of shingle sets must be given in the order of their rows")

    def __call__(self, rows: Offsets) -> tuple[Hashes, Offsets]:
        """The sets of `rows`, which ascend: (hashes, offsets). KeyError for an unknown row."""
        at = np.searchsorted(self._rows, rows)
        if len(rows) and (at[-1] >= len(self._rows) or (self._rows[at] != rows).any()):
            raise KeyError("a row asked for is not in the shingle files")
        offsets = np.r_[0, np.cumsum(self._lengths[at], dtype=np.int64)]
        hashes = np.empty(offsets[-1], dtype=np.uint64)
        into = memoryview(hashes.data).cast("B")
        bounds = np.searchsorted(at, self._first)
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            mine = slice(bounds[number], bounds[number + 1])
            firsts, lasts = 8 * offsets[mine], 8 * offsets[mine.start + 1 : mine.stop + 1]
            starts = 8 * self._starts[at[mine]]
            places = zip(firsts.tolist(), lasts.tolist(), starts.tolist(), strict=True)
            with self._paths[number].open("rb", buffering=0) as file:
                for first, last, start in places:
                    if last > first:
                        os.preadv(file.fileno(), [into[first:last]], start)
        return hashes, offsets


def _index(path: Path) -> tuple[Offsets, Offsets]:
    """(row numbers, where the set of each ends)."""
    with path.open("rb", buffering=0) as file:
        size = file.seek(-8, os.SEEK_END) + 8
        count = int(np.fromfile(file, np.int64, 1)[0])
        file.seek(size - 8 - 16 * count)
        numbers, ends = np.fromfile(file, np.int64, 2 * count).reshape(2, count)
    return numbers, ends
