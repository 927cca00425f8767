"""Band keys on disk: written row by row as documents are sketched, read one band at a time.

A file is a run of blocks of `BLOCK_ROWS` rows, the last one shorter; a block is uint64
(bands, rows), so that one band of a block is one read of 512 KiB. Nothing else is in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from firnline.documents import atomic_path
from firnline.errors import FirnlineError

BLOCK_ROWS = 1 << 16


class Keys(Protocol):
    """Band keys of rows, uint64, 0 where a document has no tokens."""

    @property
    def rows(self) -> int: ...

    @property
    def bands(self) -> int: ...

    def band(self, number: int) -> Iterator[NDArray[np.uint64]]:
        """One band's keys of all rows, in order, in pieces."""
        ...


class ArrayKeys:
    """Keys in memory, uint64 (rows, bands)."""

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        self._keys = keys
        self.rows, self.bands = keys.shape

    def band(self, number: int) -> Iterator[NDArray[np.uint64]]:
        for start in range(0, self.rows, BLOCK_ROWS):
            yield np.ascontiguousarray(self._keys[start : start + BLOCK_ROWS, number])


class KeyFiles:
    """The files of `KeyWriter`, one after the other, as one set of rows; holds nothing of them."""

    def __init__(self, paths: Sequence[Path], bands: int) -> None:
        self.bands = bands
        self._files = []
        for path in paths:
            size = path.stat().st_size
            if size % (8 * bands):
                raise FirnlineError(
                    f"{path} is damaged: {size} bytes are not rows of {bands} keys",
                    mend="remove the folder it is in and run the stage again",
                )
            self._files.append((path, size // (8 * bands)))
        self.rows = sum(rows for _, rows in self._files)

    def band(self, number: int) -> Iterator[NDArray[np.uint64]]:
        for path, rows in self._files:
            with path.open("rb", buffering=0) as file:
                for start in range(0, rows, BLOCK_ROWS):
                    block = min(BLOCK_ROWS, rows - start)
                    file.seek(8 * (start * self.bands + number * block))
                    yield np.fromfile(file, np.uint64, block)


class KeyWriter:
    """Writes a key file, whole or not at all; holds one block of rows (20 MiB at 38 bands)."""

    def __init__(self, path: Path, bands: int) -> None:
        self._atomic = atomic_path(path)
        self._block = np.empty((bands, BLOCK_ROWS), dtype=np.uint64)
        self._filled = 0

    def write(self, keys: NDArray[np.uint64]) -> None:
        """Appends keys, uint64 (rows, bands)."""
        start = 0
        while start < len(keys):
            count = min(BLOCK_ROWS - self._filled, len(keys) - start)
            self._block[:, self._filled : self._filled + count] = keys[start : start + count].T
            self._filled += count
            start += count
            if self._filled == BLOCK_ROWS:
                self._flush()

    def _flush(self) -> None:
        np.ascontiguousarray(self._block[:, : self._filled]).tofile(self._file)
        self._filled = 0

    def __enter__(self) -> KeyWriter:
        self._file = self._atomic.__enter__().open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._file.close()
            self._atomic.__exit__(kind, error, trace)
