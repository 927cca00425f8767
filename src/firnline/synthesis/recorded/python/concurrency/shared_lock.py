"""A lock that many readers may share but that writers hold alone.

A table that is read often and changed seldom wastes time behind an ordinary lock,
for readers do not disturb each other.  The naive version of a shared lock has a
flaw: while readers keep coming, a writer never gets its turn.  This one is fair in
phases: a waiting writer stops new readers from entering, and when it is done, the
readers that piled up meanwhile go before the next writer.

Timeouts are honoured, misuse is reported instead of corrupting the counters, and a
writer may downgrade to a reader without letting another writer slip in.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SharedLock:
    """Readers share it through ``reading()``, writers own it through ``writing()``."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0
        self._writer: int | None = None  # the identifier of the thread that writes
        self._writers_waiting = 0
        self._readers_waiting = 0
        self._readers_admitted = 0  # waiting readers that go before the next writer

    def acquire_read(self, timeout: float | None = None) -> bool:
        with self._condition:
            if self._writer == threading.get_ident():
                raise RuntimeError("this thread holds the lock for writing")
            if self._writer is None and not self._writers_waiting:
                self._readers += 1
                return True
            self._readers_waiting += 1
            try:
                entered = self._condition.wait_for(self._may_read, timeout)
            finally:
                self._readers_waiting -= 1
                self._readers_admitted = min(self._readers_admitted, self._readers_waiting + 1)
            if entered:
                self._readers += 1
            self._readers_admitted = max(0, self._readers_admitted - 1)
            self._condition.notify_all()
            return entered

    def _may_read(self) -> bool:
        if self._writer is not None:
            return False
        return self._readers_admitted > 0 or not self._writers_waiting

    def release_read(self) -> None:
        with self._condition:
            if not self._readers:
                raise RuntimeError("released more often than acquired")
            self._readers -= 1
            if not self._readers:
                self._condition.notify_all()

    def acquire_write(self, timeout: float | None = None) -> bool:
        with self._condition:
            if self._writer == threading.get_ident():
                raise RuntimeError("this thread holds the lock for writing already")
            self._writers_waiting += 1
            try:
                entered = self._condition.wait_for(self._may_write, timeout)
            finally:
                self._writers_waiting -= 1
            if entered:
                self._writer = threading.get_ident()
            else:
                self._condition.notify_all()  # readers held back by us may enter now
            return entered

    def _may_write(self) -> bool:
        return self._writer is None and not self._readers and not self._readers_admitted

    def release_write(self) -> None:
        with self._condition:
            self._check_owner()
            self._writer = None
            self._readers_admitted = self._readers_waiting
            self._condition.notify_all()

    def downgrade(self) -> None:
        """Turn the hold for writing into one for reading, without a gap."""
        with self._condition:
            self._check_owner()
            self._writer = None
            self._readers += 1
            self._readers_admitted = self._readers_waiting
            self._condition.notify_all()

    def _check_owner(self) -> None:
        if self._writer != threading.get_ident():
            raise RuntimeError("this thread does not hold the lock for writing")

    @contextmanager
    def reading(self) -> Iterator[None]:
        self.acquire_read()
        try:
            yield
        finally:
            self.release_read()

    @contextmanager
    def writing(self) -> Iterator[None]:
        self.acquire_write()
        try:
            yield
        finally:
            self.release_write()


if __name__ == "__main__":
    lock = SharedLock()
    accounts, torn = {"left": 1000, "right": 0}, []
    together = threading.Barrier(3)

    def reader() -> None:
        with lock.reading():
            together.wait(timeout=5)  # passes only if three readers are inside at once
        for _ in range(200):
            with lock.reading():
                if (total := sum(accounts.values())) != 1000:
                    torn.append(total)

    def writer() -> None:
        for _ in range(100):
            with lock.writing():
                accounts["left"] -= 5
                accounts["right"] += 5

    readers = [threading.Thread(target=reader) for _ in range(3)]
    writers = [threading.Thread(target=writer) for _ in range(2)]
    for thread in readers + writers:
        thread.start()
    for thread in readers + writers:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in readers + writers), "deadlock"
    assert not torn and accounts == {"left": 0, "right": 1000}
    print("after 200 transfers:", accounts)

    lock.acquire_read()
    assert not lock.acquire_write(timeout=0.01), "a reader keeps writers out"
    assert lock.acquire_read(timeout=0.01), "the failed writer must not block readers"
    lock.release_read()
    lock.release_read()
    lock.acquire_write()
    lock.downgrade()
    assert lock.acquire_read(timeout=0)
    lock.release_read()
    for misuse in (lock.release_read, lock.release_read, lock.release_write):
        try:
            misuse()
        except RuntimeError as error:
            print(f"{misuse.__name__}: {error}")
