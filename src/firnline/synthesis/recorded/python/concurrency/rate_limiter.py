"""Limit how often coroutines may do something, tested in virtual time.

A token bucket holds up to ``burst`` tokens and gains ``rate`` tokens per second.
Every call takes a token or waits until one is there.  Waiting calls are served
first come, first served, and a call that is cancelled while it waits gives its
place away without disturbing the others.

Real sleeping would make the tests slow and unreliable.  ``VirtualLoop`` is an event
loop whose clock jumps straight to the next timer whenever nothing else is left to
do, so an hour of waiting passes in a moment and every measured time is exact.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Coroutine
from typing import Any


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which ``time()`` advances only when all tasks are waiting."""

    def __init__(self) -> None:
        super().__init__(_InstantSelector(self))
        self.now = 0.0

    def time(self) -> float:
        return self.now


class _InstantSelector(selectors.SelectSelector):
    """Turns a wait of n seconds into a step of the virtual clock by n seconds."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("every task waits and no timer is set: deadlock")
        self._loop.now += max(0.0, timeout)
        return super().select(0)


def run_virtual(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class RateLimiter:
    """An asynchronous token bucket; use it as ``async with limiter: ...``."""

    def __init__(self, rate: float, burst: int = 1) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError("rate must be positive and burst at least 1")
        self.rate = rate
        self.burst = burst
        self._tokens = float(burst)
        self._updated: float | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def _refill(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._updated is not None:
            gained = (now - self._updated) * self.rate
            self._tokens = min(self.burst, self._tokens + gained)
        self._updated = now

    def try_acquire(self) -> bool:
        """Take a token if one is free and nobody waits for it."""
        self._refill()
        if self._tokens < 1 - 1e-9 or any(not f.done() for f in self._waiting):
            return False
        self._tokens -= 1
        return True

    async def acquire(self) -> None:
        """Wait for a token and take it."""
        if self.try_acquire():
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._arm()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._tokens += 1  # it was granted just before the cancellation
            self._arm()
            raise

    def _arm(self) -> None:
        """Set a timer for the moment at which the next waiter can be served."""
        if self._timer is None and self._waiting:
            delay = max(0.0, (1 - self._tokens) / self.rate)
            self._timer = asyncio.get_running_loop().call_later(delay, self._serve)

    def _serve(self) -> None:
        self._timer = None
        self._refill()
        while self._waiting and (self._waiting[0].done() or self._tokens >= 1 - 1e-9):
            future = self._waiting.popleft()
            if not future.done():
                self._tokens -= 1
                future.set_result(None)
        self._arm()

    async def __aenter__(self) -> RateLimiter:
        await self.acquire()
        return self

    async def __aexit__(self, *details: object) -> None: ...


async def _demonstration() -> None:
    loop = asyncio.get_running_loop()
    limiter = RateLimiter(rate=2, burst=3)
    log: list[tuple[str, float]] = []

    async def call(name: str) -> None:
        async with limiter:
            log.append((name, round(loop.time(), 3)))

    await asyncio.gather(*(call(name) for name in "abcdefg"))
    print(log)
    assert [name for name, _ in log] == list("abcdefg"), "first come, first served"
    assert [time for _, time in log] == [0, 0, 0, 0.5, 1, 1.5, 2]

    await asyncio.sleep(3600)  # an idle hour must not allow more than one burst
    log.clear()
    await asyncio.gather(*(call(name) for name in "hijkl"))
    assert [time - 3602 for _, time in log] == [0, 0, 0, 0.5, 1]

    log.clear()
    tasks = [asyncio.create_task(call(name)) for name in "mno"]
    await asyncio.sleep(0.1)
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert tasks[0].cancelled() and [name for name, _ in log] == ["n", "o"]
    assert log[0][1] == 3603.5, "the place of the cancelled call goes to the next one"
    print("virtual time:", loop.time(), "seconds")


if __name__ == "__main__":
    run_virtual(_demonstration())

    async def stuck() -> None:
        await asyncio.get_running_loop().create_future()

    try:
        run_virtual(stuck())
    except RuntimeError as error:
        print("detected:", error)
    else:
        raise AssertionError("the deadlock went unnoticed")
