"""Bloom filters: small sets that sometimes say "maybe".

Before a program asks a slow disk for a key, it can ask a Bloom filter.  The filter
answers "certainly not" or "perhaps" and needs about ten bits per key, however long
the keys are.  Each key sets a few bits; a key is perhaps present if all its bits are
set.  Keys cannot be removed, because bits are shared.

The number of bits and of hashes follows from how many keys are expected and which
rate of false alarms is tolerable.  ``GrowingFilter`` drops the need to know the
number of keys: it adds filters of doubling size and of stricter and stricter rates.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from hashlib import blake2b

_HEADER = struct.Struct(">4sQIQ")


class BloomFilter:
    """A set of byte strings with one-sided errors.

    >>> seen = BloomFilter(capacity=100, error_rate=0.01)
    >>> seen.add(b"apple")
    True
    >>> b"apple" in seen, b"pear" in seen
    (True, False)
    """

    def __init__(self, capacity: int, error_rate: float = 0.01) -> None:
        if capacity < 1 or not 0 < error_rate < 1:
            raise ValueError("need a positive capacity and a rate between 0 and 1")
        bits = math.ceil(-capacity * math.log(error_rate) / math.log(2) ** 2)
        self._setup(bits, max(1, round(bits / capacity * math.log(2))), 0)

    def _setup(self, bits: int, hashes: int, count: int) -> None:
        self.bits, self.hashes, self.count = bits, hashes, count
        self._data = bytearray((bits + 7) // 8)

    def _places(self, key: bytes) -> Iterator[int]:
        # Two independent hashes are enough: the rest are their combinations.
        digest = blake2b(key, digest_size=16).digest()
        first = int.from_bytes(digest[:8], "big")
        second = int.from_bytes(digest[8:], "big") | 1
        for number in range(self.hashes):
            yield (first + number * second) % self.bits

    def add(self, key: bytes) -> bool:
        """Insert a key; return False if it was perhaps present before."""
        fresh = False
        for place in self._places(key):
            index, mask = place >> 3, 1 << (place & 7)
            if not self._data[index] & mask:
                self._data[index] |= mask
                fresh = True
        self.count += fresh
        return fresh

    def __contains__(self, key: bytes) -> bool:
        return all(self._data[place >> 3] >> (place & 7) & 1 for place in self._places(key))

    @property
    def fill(self) -> float:
        return sum(byte.bit_count() for byte in self._data) / self.bits

    def false_alarm_rate(self) -> float:
        """Probability that an absent key is reported, at the current fill."""
        return self.fill**self.hashes

    def estimate_count(self) -> float:
        """Estimate the number of different keys from the bits alone."""
        if self.fill >= 1:
            return math.inf
        return -self.bits / self.hashes * math.log1p(-self.fill)

    def __or__(self, other: BloomFilter) -> BloomFilter:
        """Return the filter of the union; both must have the same shape."""
        if (self.bits, self.hashes) != (other.bits, other.hashes):
            raise ValueError("filters of different shape cannot be united")
        union = BloomFilter.__new__(BloomFilter)
        union._setup(self.bits, self.hashes, 0)
        union._data = bytearray(a | b for a, b in zip(self._data, other._data))
        union.count = round(union.estimate_count())
        return union

    def to_bytes(self) -> bytes:
        return _HEADER.pack(b"BLM1", self.bits, self.hashes, self.count) + self._data

    @classmethod
    def from_bytes(cls, raw: bytes) -> BloomFilter:
        if len(raw) < _HEADER.size:
            raise ValueError("too short for a filter")
        magic, bits, hashes, count = _HEADER.unpack_from(raw)
        data = raw[_HEADER.size :]
        if magic != b"BLM1" or len(data) != (bits + 7) // 8 or not hashes:
            raise ValueError("not a stored filter")
        result = cls.__new__(cls)
        result._setup(bits, hashes, count)
        result._data[:] = data
        return result


class GrowingFilter:
    """A filter that keeps its promised error rate however many keys arrive."""

    def __init__(self, error_rate: float = 0.01, first_capacity: int = 256) -> None:
        self._rate = error_rate
        self._capacity = first_capacity
        self._layers = [BloomFilter(first_capacity, error_rate / 2)]

    def add(self, key: bytes) -> bool:
        if key in self:
            return False
        if self._layers[-1].count >= self._capacity:
            self._capacity *= 2
            # The rates form the series 1/2 + 1/4 + 1/8 ..., so their sum stays below 1.
            rate = self._rate / 2 ** (len(self._layers) + 1)
            self._layers.append(BloomFilter(self._capacity, rate))
        return self._layers[-1].add(key)

    def __contains__(self, key: bytes) -> bool:
        return any(key in layer for layer in reversed(self._layers))

    def __len__(self) -> int:
        return sum(layer.count for layer in self._layers)


if __name__ == "__main__":
    present = [b"user %d" % number for number in range(2000)]
    absent = [b"guest %d" % number for number in range(4000)]
    bloom = BloomFilter(2000, 0.02)
    for key in present:
        bloom.add(key)
    assert all(key in bloom for key in present), "there are no false denials"
    alarms = sum(key in bloom for key in absent) / len(absent)
    print(f"{bloom.bits / 2000:.1f} bits per key, {alarms:.1%} false alarms")
    assert alarms < 0.03 and abs(bloom.false_alarm_rate() - 0.02) < 0.005
    assert abs(bloom.estimate_count() - 2000) < 60

    copy = BloomFilter.from_bytes(bloom.to_bytes())
    assert [k in copy for k in absent] == [k in bloom for k in absent]
    halves = [BloomFilter(2000, 0.02) for _ in range(2)]
    for turn, key in enumerate(present):
        halves[turn % 2].add(key)
    assert (halves[0] | halves[1]).to_bytes()[_HEADER.size :] == bloom.to_bytes()[_HEADER.size :]

    growing = GrowingFilter(0.02, first_capacity=100)
    for key in present:
        growing.add(key)
    assert all(key in growing for key in present)
    assert sum(key in growing for key in absent) / len(absent) < 0.03
    print(f"the growing filter counted {len(growing)} keys")
    for wrong in (b"", bloom.to_bytes()[:-1], b"X" * 30):
        try:
            BloomFilter.from_bytes(wrong)
        except ValueError as error:
            print("refused:", error)
