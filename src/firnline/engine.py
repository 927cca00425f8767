"""The only file that imports an engine: maps shard functions over processes, here or on a cluster.

The unit of work is an item (a shard, a repository): a picklable function from one item to one
JSON-able result, which writes its own output under a temporary name and renames it. Order of
the results is the order of the items, whatever the scheduling.

On one machine the processes are Daft's (its native runner). On a cluster the items are Ray tasks
and not Daft's Ray runner: that starts every item again when a node is lost (docs/cluster.md has
the measurement), where a task alone is run again.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import pickle
import re
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import cloudpickle  # a dependency of the engine; carries functions of __main__ and closures

from firnline.errors import FirnlineError
from firnline.progress import say

Item = TypeVar("Item")
Result = TypeVar("Result")

# Telemetry off before an engine's import (tests/test_engine.py holds it).
TELEMETRY_OFF = {
    "DO_NOT_TRACK": "true",
    "SCARF_NO_ANALYTICS": "true",
    "DAFT_ANALYTICS_ENABLED": "0",
    "DAFT_PROGRESS_BAR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}

ATTEMPTS = 4
"""How often an item is started that is lost with the process or node that ran it."""

MOST_THREADS = 4
"""Workers that share a process, where the work allows it: more would wait for its lock."""

_RUNNER = re.compile(r"native|ray|ray:([^/\s]+):(\d+)")
_chosen: str | None = None


def use(runner: str | None) -> None:
    """Chooses where items run; None takes FIRNLINE_RUNNER from the environment, else `native`.

    `native` is processes of this machine. `ray` is the cluster that RAY_ADDRESS names, or one of
    this machine alone that lives as long as the run; `ray:HOST:PORT` is a cluster by its head's
    address. Raises FirnlineError for any other.
    """
    global _chosen
    if runner is not None and not _RUNNER.fullmatch(runner):
        raise FirnlineError(f"no runner {runner!r}", mend="choose native, ray or ray:HOST:PORT")
    _chosen = runner


def runner() -> str:
    """Where items run: what `use` chose, else FIRNLINE_RUNNER, else `native`."""
    if _chosen is None:
        use(os.environ.get("FIRNLINE_RUNNER") or "native")
    return _chosen or "native"


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def map_items(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int | None = None,
    threads: bool = False,
) -> Iterator[Result]:
    """Yields `work(item)` for each item, in order, from at most `workers` processes.

    The default is one for each core, of this machine or of the cluster. On this machine one item,
    or one worker, runs in this process; so do up to MOST_THREADS workers of work that says, by
    `threads`, that it may be called from several threads at once and spends its time in kernels
    and libraries that release the GIL (its threads help each other: `spread`). An exception in a
    worker is raised here as it was there; the items already finished have been yielded. Raises
    FirnlineError where a worker dies: at once on this machine, on a cluster where one item's
    worker is lost ATTEMPTS times.
    """
    if not items:
        return
    width = min(workers or cores(), len(items))
    if runner() != "native":
        answers = _ray_answers(work, items, workers)
    elif threads and width <= MOST_THREADS and (workers or cores()) > 1:
        yield from _Crew(min(workers or cores(), MOST_THREADS)).results(work, items)
        return
    elif width <= 1:
        yield from map(work, items)
        return
    else:
        answers = _native_answers(work, items, width)
    for answer in answers:
        value, error = pickle.loads(answer)
        if error is not None:
            raise error
        yield value


def _answer(work: Callable[[Any], Any], item: Any) -> bytes:
    # An exception travels as a value: raised inside the engine it would lose its type.
    try:
        return pickle.dumps((work(item), None))
    except Exception as error:
        try:
            return pickle.dumps((None, pickle.loads(pickle.dumps(error))))
        except Exception:  # an error that cannot be pickled still tells its type and text
            return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))


def spread(work: Callable[[Item], Result], parts: Iterable[Item]) -> Iterator[Result]:
    """Yields `work(part)` for each part of an item, in order; to be called by `map_items`' work.

    Threads that have no item left take parts of those that others are still at, so that the last
    item does not run alone. At most as many parts as workers are in memory at a time.
    """
    crew: _Crew | None = getattr(_here, "crew", None)
    ahead: deque[Future[Result]] = deque()
    for part in parts:
        if crew is not None and crew.idle.acquire(blocking=False):
            ahead.append(crew.begin(work, part))
            continue
        result = work(part)
        while ahead:
            yield ahead.popleft().result()
        yield result
    while ahead:
        yield ahead.popleft().result()


_here = threading.local()


class _Crew:
    """The threads of one map: processes take two seconds to start, and each loads for itself."""

    def __init__(self, workers: int) -> None:
        self.idle = threading.Semaphore(0)
        """Threads without an item, now that none is left, and without a part of another's."""
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, initializer=self._enter)

    def _enter(self) -> None:
        _here.crew = self

    def results(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        for _ in range(self._workers - len(items)):
            self.idle.release()
        unstarted = itertools.count(len(items) - self._workers, -1)  # when an item ends

        def finish(item: Item) -> Result:
            try:
                return work(item)
            finally:
                if next(unstarted) <= 0:
                    self.idle.release()

        try:
            yield from self._pool.map(finish, items)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def begin(self, work: Callable[[Item], Result], part: Item) -> Future[Result]:
        def finish() -> Result:
            try:
                return work(part)
            finally:
                self.idle.release()

        return self._pool.submit(finish)


def _native_answers(
    work: Callable[[Any], Any], items: Sequence[Any], workers: int
) -> Iterator[bytes]:
    daft = _daft()
    column = [pickle.dumps(item) for item in items]
    mapper = _mapper(daft, workers)(cloudpickle.dumps(work))
    frame = daft.from_pydict({"item": column}).into_batches(1)
    rows = frame.select(mapper(daft.col("item")).alias("result")).iter_rows()
    try:
        for row in rows:
            yield row["result"]
    except RuntimeError as error:  # `work` itself raises nothing: see _answer
        if "connection" not in str(error):
            raise
        raise FirnlineError(
            "a worker process died: stopped by the system, often for memory, or crashed",
            mend="run again: finished items are kept; fewer workers need less memory",
        ) from error


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


def _daft() -> Any:
    os.environ.update(TELEMETRY_OFF)
    import daft

    return daft


def _ray_answers(
    work: Callable[[Any], Any], items: Sequence[Any], workers: int | None
) -> Iterator[bytes]:
    """Answers in the items' order from Ray tasks, `workers` of them in flight.

    A task that is lost with its worker is started again here and not by Ray, which would not
    tell, and would start a task that is killed for memory without end.
    """
    ray = _ray()
    # Without a bound the cluster gets more than it has cores, so that one that can grow does.
    width = workers or max(2 * int(ray.cluster_resources().get("CPU", 1)), 2)
    task = ray.remote(num_cpus=1, max_retries=0)(_remote_answer)
    shared = ray.put(cloudpickle.dumps(work))
    running: dict[Any, int] = {}
    starts = [0] * len(items)
    answers: dict[int, bytes] = {}
    todo = list(reversed(range(len(items))))
    given = 0
    try:
        while given < len(items):
            while todo and len(running) < width:
                place = todo.pop()
                starts[place] += 1
                reference = task.remote(shared, cloudpickle.dumps(items[place]), _code())
                running[reference] = place
            for reference in ray.wait(list(running))[0]:
                place = running.pop(reference)
                try:
                    answers[place] = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    raise FirnlineError(
                        f"a worker of the cluster cannot run Firnline: {_last_line(error)}",
                        mend="install the same version on every node of the cluster",
                    ) from error
                except ray.exceptions.RayError as error:
                    _again(place, starts[place], len(items), error)
                    todo.append(place)
            while given in answers:
                yield answers.pop(given)
                given += 1
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


def _again(place: int, starts: int, items: int, error: Exception) -> None:
    """Says that an item is run again, or raises where it was lost too often."""
    reason = type(error).__name__
    if starts >= ATTEMPTS:
        raise FirnlineError(
            f"item {place + 1} of {items} was lost {starts} times with its worker: {reason}",
            mend="run again: finished items are kept; give workers more memory if they lack it",
        ) from error
    say(f"item {place + 1} of {items} was lost with its worker ({reason}): running it again")


def _remote_answer(work: bytes, item: bytes, code: str) -> bytes:
    os.environ.update(TELEMETRY_OFF)
    if _code() != code:
        host = os.uname().nodename
        error = FirnlineError(
            f"Firnline on {host} is not the Firnline that started this run",
            mend="install the same version on every node of the cluster",
        )
        return pickle.dumps((None, error))
    return _answer(_loaded(work), pickle.loads(item))


@lru_cache(maxsize=1)
def _loaded(work: bytes) -> Callable[[Any], Any]:
    # A worker runs many items of one map: what they share (an index, say) is loaded once.
    return pickle.loads(work)  # type: ignore[no-any-return]  # what was pickled is untyped


@cache
def _code() -> str:
    """Digest of the package's code and of the Python that runs it."""
    root = Path(__file__).parent
    digest = hashlib.blake2b(repr(sys.version_info[:2]).encode(), digest_size=8)
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _ray() -> Any:
    """The `ray` module, connected to the cluster that `use` chose."""
    os.environ.update(TELEMETRY_OFF)
    try:
        import ray
    except ImportError as error:
        raise FirnlineError(
            "the ray runner needs the package ray", mend="pip install 'firnline[ray]'"
        ) from error
    if ray.is_initialized():
        return ray
    address = os.environ.get("RAY_ADDRESS") if runner() == "ray" else runner().removeprefix("ray:")
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if not address:
        ray.init(address="local", num_cpus=cores(), include_dashboard=False, **quiet)
        return ray
    try:
        host, colon, port = address.rpartition(":")
        if colon and port.isdecimal() and "/" not in host:  # Ray itself would wait for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, **quiet)
    except OSError as error:
        raise FirnlineError(
            f"no Ray cluster answers at {address}: {error}",
            mend="start it with `ray start`; if it asks for a token, set RAY_AUTH_MODE=token",
        ) from error
    return ray
