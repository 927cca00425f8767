"""Sort more records than fit in memory, with bounded runs and a k-way merge.

The sorter collects records in a buffer.  Whenever the buffer is full it is
sorted and spilled to a "run", a store that can be written once and read back in
order.  At the end the runs are merged with a heap that holds one record per run.
If there are too many runs to open at once, groups of them are merged first.

Where runs live is left to the caller: ``MemoryRun`` keeps pickled bytes, which
is enough to show the idea, and a file-backed run needs the same two methods.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
Key = Callable[[T], Any]


class Run(Protocol[T]):
    """A sequence of records that is written once and then read any number of times."""

    def write(self, records: Iterable[T]) -> None: ...

    def read(self) -> Iterator[T]: ...


class MemoryRun(Generic[T]):
    """A run kept as one bytes object, with the records pickled one after another."""

    def __init__(self) -> None:
        self._data = b""

    def write(self, records: Iterable[T]) -> None:
        buffer = io.BytesIO()
        for record in records:
            pickle.dump(record, buffer)
        self._data = buffer.getvalue()

    def read(self) -> Iterator[T]:
        stream, end = io.BytesIO(self._data), len(self._data)
        while stream.tell() < end:
            yield pickle.load(stream)


class ExternalSorter(Generic[T]):
    """Stable sorting of a long stream with at most ``buffer_size`` records held.

    ``fan_in`` bounds how many runs are read at the same time during a merge.
    """

    def __init__(
        self,
        key: Key[T] = lambda record: record,
        buffer_size: int = 10_000,
        fan_in: int = 16,
        make_run: Callable[[], Run[T]] = MemoryRun,
    ) -> None:
        if buffer_size < 1 or fan_in < 2:
            raise ValueError("buffer_size must be positive and fan_in at least 2")
        self._key = key
        self._buffer_size = buffer_size
        self._fan_in = fan_in
        self._make_run = make_run
        self._buffer: list[T] = []
        self._runs: list[Run[T]] = []
        self.spills = 0
        self.merge_passes = 0

    def push(self, record: T) -> None:
        self._buffer.append(record)
        if len(self._buffer) >= self._buffer_size:
            self._buffer.sort(key=self._key)
            self._spill(self._buffer)
            self._buffer = []

    def extend(self, records: Iterable[T]) -> None:
        for record in records:
            self.push(record)

    def _spill(self, records: Iterable[T]) -> None:
        run = self._make_run()
        run.write(records)
        self._runs.append(run)
        self.spills += 1

    def _merged(self, runs: list[Run[T]]) -> Iterator[T]:
        # heapq.merge prefers earlier inputs on ties, so merging neighbours is stable.
        return merge(*(run.read() for run in runs), key=self._key)

    def sorted(self) -> Iterator[T]:
        """Yield all the records pushed so far in order of their key."""
        while len(self._runs) > self._fan_in:
            pending, self._runs = self._runs, []
            self.merge_passes += 1
            for first in range(0, len(pending), self._fan_in):
                self._spill(self._merged(pending[first : first + self._fan_in]))
        tail = sorted(self._buffer, key=self._key)
        return merge(self._merged(self._runs), tail, key=self._key)


if __name__ == "__main__":
    import random

    rng = random.Random(20)
    words = ["birch", "cedar", "elm", "fir", "larch", "oak", "pine", "yew"]
    trees = [(rng.choice(words), number) for number in range(5_000)]

    sorter: ExternalSorter[tuple[str, int]] = ExternalSorter(
        key=lambda tree: tree[0], buffer_size=128, fan_in=4
    )
    sorter.extend(trees)
    result = list(sorter.sorted())

    # The key looks at the name only: equal names must keep their input order.
    assert result == sorted(trees, key=lambda tree: tree[0])
    print(f"{len(result)} records, {sorter.spills} runs, {sorter.merge_passes} extra passes")
    assert sorter.merge_passes == 2

    assert list(ExternalSorter[int]().sorted()) == []
    small: ExternalSorter[int] = ExternalSorter(key=lambda n: -n, buffer_size=2)
    small.extend([3, 1, 2])
    assert list(small.sorted()) == [3, 2, 1]
    try:
        ExternalSorter(fan_in=1)
    except ValueError as error:
        print("rejected:", error)
