"""The only file that imports the dataframe engine: maps shard functions over processes.

The unit of work is an item (a shard, a repository): a picklable function from one item to one
JSON-able result, which writes its own output under a temporary name and renames it. Order of
the results is the order of the items, whatever the scheduling.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import cloudpickle  # a dependency of the engine; carries functions of __main__ and closures

Item = TypeVar("Item")
Result = TypeVar("Result")

# Telemetry off before the engine's import (tests/test_engine.py holds it).
TELEMETRY_OFF = {
    "DO_NOT_TRACK": "true",
    "SCARF_NO_ANALYTICS": "true",
    "DAFT_ANALYTICS_ENABLED": "0",
    "DAFT_PROGRESS_BAR": "0",
}


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def map_items(
    work: Callable[[Item], Result], items: Sequence[Item], *, workers: int | None = None
) -> Iterator[Result]:
    """Yields `work(item)` for each item, in order, from `workers` processes (default: cores).

    One item, or one worker, runs in this process. An exception in a worker is raised here as it
    was there; the items already finished have been yielded.
    """
    workers = min(workers or cores(), len(items))
    if workers <= 1:
        yield from map(work, items)
        return
    daft = _daft()
    column = [pickle.dumps(item) for item in items]
    mapper = _mapper(daft, workers)(cloudpickle.dumps(work))
    frame = daft.from_pydict({"item": column}).into_batches(1)
    for row in frame.select(mapper(daft.col("item")).alias("result")).iter_rows():
        value, error = pickle.loads(row["result"])
        if error is not None:
            raise error
        yield value


def _mapper(daft: Any, workers: int) -> Any:
    @daft.cls(use_process=True, max_concurrency=workers)
    class Mapper:
        def __init__(self, work: bytes) -> None:
            self.work = pickle.loads(work)

        # The engine is untyped, its decorators with it.
        @daft.method.batch(return_dtype=daft.DataType.binary(), batch_size=1)  # type: ignore[untyped-decorator]
        def __call__(self, column: Any) -> list[bytes]:
            return [_answer(self.work, pickle.loads(item)) for item in column.to_pylist()]

    return Mapper


def _answer(work: Callable[[Any], Any], item: Any) -> bytes:
    # An exception travels as a value: raised inside the engine it would lose its type.
    try:
        return pickle.dumps((work(item), None))
    except Exception as error:
        try:
            return pickle.dumps((None, pickle.loads(pickle.dumps(error))))
        except Exception:  # an error that cannot be pickled still tells its type and text
            return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))


def _daft() -> Any:
    os.environ.update(TELEMETRY_OFF)
    import daft

    return daft
