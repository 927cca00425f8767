"""Decide which server keeps which key, so that few keys move when servers change.

``hash(key) % servers`` moves almost every key when a server is added.  Two schemes
avoid that.  *Consistent hashing* puts many points per server on a ring and gives a
key to the next point clockwise.  *Rendezvous hashing* lets every server bid for each
key and takes the highest bid; it needs no table, but one hash per server and lookup.

Both support weights and replicas, so they can be exchanged for one another.  Hashes
come from BLAKE2, because ``hash()`` of a string differs from run to run.
"""

from __future__ import annotations

import math
from bisect import bisect, insort
from collections import Counter
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import islice
from typing import Protocol


def stable_hash(*parts: str) -> int:
    """Return 64 bits that depend on the parts and on where they are divided.

    >>> stable_hash("ab", "c") == stable_hash("a", "bc")
    False
    """
    digest = blake2b(digest_size=8)
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return int.from_bytes(digest.digest(), "big")


class Placement(Protocol):
    def preference(self, key: str) -> Iterator[str]:
        """Yield all the servers, the best one for this key first."""


def owners(placement: Placement, key: str, replicas: int = 1) -> list[str]:
    """Return the servers that keep copies of a key, all of them different."""
    chosen = list(islice(placement.preference(key), replicas))
    if len(chosen) < replicas:
        raise LookupError(f"{replicas} replicas need more than {len(chosen)} servers")
    return chosen


class Ring:
    """Consistent hashing with ``points`` places on the ring per unit of weight."""

    def __init__(self, points: int = 128) -> None:
        self._points = points
        self._ring: list[tuple[int, str]] = []
        self._servers: set[str] = set()

    def add(self, server: str, weight: int = 1) -> None:
        if server in self._servers or weight < 1:
            raise ValueError(f"cannot add {server!r} with weight {weight}")
        self._servers.add(server)
        for number in range(self._points * weight):
            insort(self._ring, (stable_hash("point", server, str(number)), server))

    def remove(self, server: str) -> None:
        if server not in self._servers:
            raise KeyError(server)
        self._servers.discard(server)
        self._ring = [point for point in self._ring if point[1] != server]

    def preference(self, key: str) -> Iterator[str]:
        start = bisect(self._ring, (stable_hash("key", key), ""))
        seen: set[str] = set()
        for step in range(len(self._ring)):
            server = self._ring[(start + step) % len(self._ring)][1]
            if server not in seen:
                seen.add(server)
                yield server
                if len(seen) == len(self._servers):
                    return


class Rendezvous:
    """Highest-random-weight hashing."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        if any(weight <= 0 for weight in weights.values()):
            raise ValueError("weights must be positive")
        self.weights = dict(weights)

    def _bid(self, server: str, key: str) -> float:
        # A uniform number in (0, 1]; -log turns it into an exponential waiting time,
        # and the server whose time is shortest relative to its weight wins.
        uniform = (stable_hash(server, key) + 1) / 2**64
        return -math.log(uniform) / self.weights[server]

    def preference(self, key: str) -> Iterator[str]:
        yield from sorted(self.weights, key=lambda server: (self._bid(server, key), server))


def moved(before: Mapping[str, str], after: Mapping[str, str]) -> Counter[tuple[str, str]]:
    """Count the keys that changed hands, by old and new owner."""
    return Counter((before[k], after[k]) for k in before if before[k] != after[k])


if __name__ == "__main__":
    keys = [f"photo-{number}" for number in range(1500)]

    def assignment(placement: Placement) -> dict[str, str]:
        return {key: owners(placement, key)[0] for key in keys}

    ring = Ring()
    for name in ("ash", "elm", "oak"):
        ring.add(name)
    before = assignment(ring)
    shares = Counter(before.values())
    print("ring:", dict(shares))
    assert max(shares.values()) < 1.35 * min(shares.values())

    ring.add("fir")
    changes = moved(before, assignment(ring))
    assert {new for _, new in changes} == {"fir"}, "keys move to the new server only"
    print(f"{sum(changes.values())} of {len(keys)} keys moved, a quarter is the least possible")
    assert 0.18 < sum(changes.values()) / len(keys) < 0.33
    ring.remove("fir")
    assert assignment(ring) == before, "placement depends on the servers, not on history"

    uneven = Rendezvous({"small": 1, "large": 3})
    load = Counter(assignment(uneven).values())
    print("rendezvous:", dict(load))
    assert 2.5 < load["large"] / load["small"] < 3.6

    trio = Rendezvous({"a": 1, "b": 1, "c": 1})
    pair = Rendezvous({"a": 1, "b": 1})
    for key in keys[:200]:  # when a server fails, its keys go to the next in line
        first, second, _ = owners(trio, key, replicas=3)
        assert owners(pair, key) == [second if first == "c" else first]
    try:
        owners(pair, "x", replicas=3)
    except LookupError as error:
        print("refused:", error)
