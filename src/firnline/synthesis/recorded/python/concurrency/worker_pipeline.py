"""A pipeline of threads connected by bounded queues, with clean failure.

Each stage applies a function to items in its own worker threads.  Bounded queues
between the stages give back-pressure: a fast stage waits instead of filling the
memory.  The difficult part of such a design is its end, and here are the rules:

* A sentinel object travels behind the last item and stops each worker.
* The first exception of any stage stops all of them; no thread is left waiting on
  a queue that nobody empties, and the exception reaches the caller.
* If the caller stops reading early, the threads end as well.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_END = object()


class Cancelled(Exception):
    """Raised inside workers to leave their loop when the pipeline is shut down."""


@dataclass(frozen=True)
class Stage:
    """A function that maps an item to an iterable of results, and its threads."""

    work: Callable[[Any], Iterable[Any]]
    threads: int = 1


class Channel:
    """A bounded queue whose operations give up once the pipeline is cancelled."""

    def __init__(self, size: int, cancelled: threading.Event, writers: int) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(size)
        self._cancelled = cancelled
        self._writers = writers
        self._lock = threading.Lock()

    def put(self, item: Any) -> None:
        while not self._cancelled.is_set():
            try:
                return self._queue.put(item, timeout=0.02)
            except queue.Full:
                continue
        raise Cancelled

    def close(self) -> None:
        """Called once by each writer; the last one puts the sentinel."""
        with self._lock:
            self._writers -= 1
            last = self._writers == 0
        if last:
            self.put(_END)

    def __iter__(self) -> Iterator[Any]:
        while not self._cancelled.is_set():
            try:
                item = self._queue.get(timeout=0.02)
            except queue.Empty:
                continue
            if item is _END:
                self.put(_END)  # leave it for the other readers of this channel
                return
            yield item
        raise Cancelled


class Pipeline:
    """Runs items through a series of stages.

    Results of stages with several threads may come in any order.
    """

    def __init__(self, *stages: Stage, buffer: int = 8) -> None:
        if not stages:
            raise ValueError("a pipeline needs at least one stage")
        self._stages = stages
        self._buffer = buffer

    def run(self, items: Iterable[Any]) -> Iterator[Any]:
        """Start the threads and yield the results of the last stage."""
        cancelled = threading.Event()
        errors: list[BaseException] = []
        writers = [1, *(stage.threads for stage in self._stages)]
        # One place more than asked for, so that the sentinel always fits in.
        channels = [Channel(self._buffer + 1, cancelled, count) for count in writers]

        def guarded(body: Callable[[], None]) -> None:
            try:
                body()
            except Cancelled:
                pass
            except BaseException as error:  # handed to the caller below
                errors.append(error)
                cancelled.set()

        def feed() -> None:
            for item in items:
                channels[0].put(item)
            channels[0].close()

        def work(stage: Stage, source: Channel, target: Channel) -> None:
            for item in source:
                for result in stage.work(item):
                    target.put(result)
            target.close()

        jobs: list[Callable[[], None]] = [feed]
        for stage, source, target in zip(self._stages, channels, channels[1:]):
            jobs += [lambda s=stage, a=source, b=target: work(s, a, b)] * stage.threads
        threads = [threading.Thread(target=guarded, args=(job,), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        try:
            yield from channels[-1]
        except Cancelled:
            pass
        finally:
            cancelled.set()
            for thread in threads:
                thread.join()
        if errors:
            raise errors[0]


if __name__ == "__main__":
    pages = [f"page {n}: " + "tick tock " * n for n in range(20)]
    pipeline = Pipeline(
        Stage(lambda page: page.split(": ")[1].split()),
        Stage(lambda word: [word.upper()] if word == "tock" else (), threads=3),
        Stage(lambda word: [word, word], threads=2),
        buffer=2,
    )
    results = list(pipeline.run(pages))
    print(f"{len(results)} words came out")
    assert results == ["TOCK"] * (2 * sum(range(20)))
    assert list(pipeline.run([])) == []

    def fragile(number: int) -> list[float]:
        return [10 / (number - 50)]

    before = threading.active_count()
    collected = []
    try:
        for value in Pipeline(Stage(fragile), Stage(lambda x: [x], 4), buffer=1).run(range(10**6)):
            collected.append(value)
    except ZeroDivisionError as error:
        print(f"stopped by {error!r}, fewer than a million items were read")
        assert len(collected) <= 50

    endless = Pipeline(Stage(lambda n: [n * n])).run(iter(int, 1))
    assert next(endless) == 0
    endless.close()
    assert threading.active_count() == before, "no thread may survive"
