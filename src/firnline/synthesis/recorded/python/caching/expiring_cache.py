"""A bounded cache whose entries expire, with an eviction order that can be chosen.

``functools.lru_cache`` never forgets a value because of its age, and it cannot be
told to drop one entry.  ``ExpiringCache`` does both.  Time comes from a function
given by the caller, so tests can let a year pass without waiting.

Two bookkeeping structures are needed: a dictionary in order of use, which gives the
entry to evict, and a heap in order of expiry, which gives the entries that are too
old.  Entries in the heap may be outdated; they are recognised by a serial number.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import wraps
from heapq import heapify, heappop, heappush
from typing import Any, Generic, ParamSpec, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
P = ParamSpec("P")


@dataclass
class _Entry(Generic[V]):
    value: V
    expires: float
    serial: int


class ExpiringCache(Generic[K, V]):
    """Keeps at most ``capacity`` values, each for at most ``lifetime`` seconds."""

    def __init__(
        self,
        capacity: int,
        lifetime: float,
        clock: Callable[[], float] = time.monotonic,
        on_removal: Callable[[K, V, str], None] = lambda key, value, reason: None,
    ) -> None:
        if capacity < 1 or lifetime <= 0:
            raise ValueError("capacity and lifetime must be positive")
        self.capacity, self.lifetime = capacity, lifetime
        self.statistics: Counter[str] = Counter()
        self._clock, self._on_removal = clock, on_removal
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._deadlines: list[tuple[float, int, K]] = []
        self._serial = 0

    def set(self, key: K, value: V, lifetime: float | None = None) -> None:
        """Store a value; an earlier one under the same key is replaced."""
        self._drop_expired()
        self._remove(key, "replaced")
        while len(self._entries) >= self.capacity:
            self._remove(next(iter(self._entries)), "evicted")
        self._serial += 1
        expires = self._clock() + (self.lifetime if lifetime is None else lifetime)
        self._entries[key] = _Entry(value, expires, self._serial)
        heappush(self._deadlines, (expires, self._serial, key))
        if len(self._deadlines) > 2 * self.capacity + 16:
            self._deadlines = [(e.expires, e.serial, key) for key, e in self._entries.items()]
            heapify(self._deadlines)

    def get(self, key: K, default: Any = None) -> V | Any:
        """Return the value and mark it as recently used."""
        self._drop_expired()
        entry = self._entries.get(key)
        if entry is None:
            self.statistics["misses"] += 1
            return default
        self.statistics["hits"] += 1
        self._entries.move_to_end(key)
        return entry.value

    def delete(self, key: K) -> bool:
        """Forget a key; return whether it was there."""
        self._drop_expired()
        return self._remove(key, "deleted")

    def __contains__(self, key: K) -> bool:
        """Test for a key without counting as a use of it."""
        self._drop_expired()
        return key in self._entries

    def __iter__(self) -> Iterator[K]:
        """Iterate over the keys, the one to be evicted next comes first."""
        self._drop_expired()
        return iter(list(self._entries))

    def _remove(self, key: K, reason: str) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self.statistics[reason] += 1
        self._on_removal(key, entry.value, reason)
        return True

    def _drop_expired(self) -> None:
        now = self._clock()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, serial, key = heappop(self._deadlines)
            entry = self._entries.get(key)
            if entry is not None and entry.serial == serial:
                self._remove(key, "expired")


def cached(cache: ExpiringCache[Any, Any]) -> Callable[[Callable[P, V]], Callable[P, V]]:
    """Decorate a function to keep its results; ``None`` is a result like any other."""
    missing = object()

    def decorate(function: Callable[P, V]) -> Callable[P, V]:
        @wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> V:
            key = (function, args, tuple(sorted(kwargs.items())))
            value = cache.get(key, missing)
            if value is missing:
                value = function(*args, **kwargs)
                cache.set(key, value)
            return value

        return wrapper

    return decorate


if __name__ == "__main__":
    now = 0.0
    log: list[tuple[str, str]] = []
    cache = ExpiringCache(3, 10, lambda: now, lambda key, value, why: log.append((key, why)))
    for number, name in enumerate("abc"):
        cache.set(name, number)
    assert cache.get("a") == 0
    cache.set("d", 3)
    assert list(cache) == ["c", "a", "d"] and log == [("b", "evicted")]
    now = 5.0
    cache.set("c", 20)
    cache.set("short", 1, lifetime=2)
    now = 8.0
    assert "short" not in cache and "c" in cache
    now = 12.0
    assert list(cache) == ["c"] and cache.get("d", "gone") == "gone"
    assert cache.delete("c") and not cache.delete("c")
    print(cache.statistics)
    assert cache.statistics["evicted"] == 2 and cache.statistics["expired"] == 2
    for turn in range(1000):
        cache.set("same", turn)
    assert len(cache._deadlines) < 30, "outdated deadlines must not pile up"

    calls: list[int] = []

    @cached(ExpiringCache(8, lifetime=1, clock=lambda: now))
    def lookup(n: int) -> None:
        calls.append(n)

    for now, number in ((20, 1), (20, 2), (20.5, 1), (21, 1)):
        lookup(number)
    assert calls == [1, 2, 1]
