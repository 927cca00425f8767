"""Dictionary compression in the manner of LZ77, with lazy matching.

A repeated passage is replaced by a reference: "copy n bytes from d bytes ago".  To find
passages quickly, the encoder remembers where each sequence of three bytes occurred and
follows a chain of earlier places, the nearest first.  Taking the first good match is not
always best: before using it, the encoder looks whether the next position has a longer
one, and if so it sends a literal byte instead.

The decoder must copy byte by byte, because a reference may overlap its own output: that
is how a run such as "aaaa" is encoded with one literal and one reference.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Union

MIN_MATCH = 3
MAX_MATCH = 258


class Copy(NamedTuple):
    """Repeat ``length`` bytes that were written ``distance`` bytes ago."""

    length: int
    distance: int


Token = Union[int, Copy]  # an integer is a literal byte


class Encoder:
    """Turns bytes into tokens.

    ``window`` bounds the distance of references, ``effort`` how many candidates are tried.
    """

    def __init__(self, window: int = 1 << 15, effort: int = 32, lazy: bool = True) -> None:
        if window < 1 or effort < 1:
            raise ValueError("window and effort must be positive")
        self.window, self.effort, self.lazy = window, effort, lazy

    def tokens(self, data: bytes) -> Iterator[Token]:
        """Yield the tokens of ``data``.

        >>> list(Encoder().tokens(b"aaaaaaa"))
        [97, Copy(length=6, distance=1)]
        """
        places: dict[bytes, deque[int]] = defaultdict(lambda: deque(maxlen=self.effort))

        def remember(position: int) -> None:
            key = data[position : position + MIN_MATCH]
            if len(key) == MIN_MATCH:
                places[key].appendleft(position)

        position = 0
        pending = self._longest(data, 0, places)
        while position < len(data):
            match = pending
            remember(position)
            if match is None:
                yield data[position]
                position += 1
                pending = self._longest(data, position, places)
                continue
            if self.lazy and match.length < 64:
                pending = self._longest(data, position + 1, places)
                if pending is not None and pending.length > match.length:
                    yield data[position]
                    position += 1
                    continue
            yield match
            for covered in range(position + 1, position + match.length):
                remember(covered)
            position += match.length
            pending = self._longest(data, position, places)

    def _longest(
        self, data: bytes, position: int, places: dict[bytes, deque[int]]
    ) -> Copy | None:
        candidates = places.get(data[position : position + MIN_MATCH], ())
        limit = min(MAX_MATCH, len(data) - position)
        best: Copy | None = None
        for start in candidates:
            if position - start > self.window:
                break  # all the others are even farther away
            length = 0
            while length < limit and data[start + length] == data[position + length]:
                length += 1
            if best is None or length > best.length:
                best = Copy(length, position - start)
                if length == limit:
                    break
        return best


def expand(tokens: Iterable[Token]) -> bytes:
    """Turn tokens back into bytes.

    >>> expand([97, 98, Copy(5, 2)])
    b'abababa'
    """
    output = bytearray()
    for token in tokens:
        if isinstance(token, int):
            output.append(token)
            continue
        if not 1 <= token.distance <= len(output):
            raise ValueError(f"{token} refers to a place before the beginning")
        for _ in range(token.length):
            output.append(output[-token.distance])
    return bytes(output)


def cost(tokens: Iterable[Token]) -> int:
    """Estimate the size in bits: 9 for a literal, 24 for a reference."""
    return sum(9 if isinstance(token, int) else 24 for token in tokens)


if __name__ == "__main__":
    poem = (
        b"The wheels on the bus go round and round, round and round, round and round.\n"
        b"The wipers on the bus go swish swish swish, swish swish swish, swish swish swish.\n"
    ) * 3
    samples = [b"", b"x", b"abc" * 100, bytes(range(256)), poem, bytes(1000) + poem]
    for sample in samples:
        for encoder in (Encoder(), Encoder(window=40, effort=4), Encoder(lazy=False)):
            tokens = list(encoder.tokens(sample))
            assert expand(tokens) == sample
            assert all(t.distance <= encoder.window for t in tokens if isinstance(t, Copy))
    for lazy in (False, True):
        tokens = list(Encoder(lazy=lazy).tokens(poem))
        print(f"lazy={lazy}: {len(tokens)} tokens, {len(poem)} -> {cost(tokens) // 8} bytes")

    tricky = b"bcd abc " + b"bcde" + b" abcde"
    eager, patient = (list(Encoder(lazy=flag).tokens(tricky)) for flag in (False, True))
    assert len(patient) <= len(eager)
    for wrong in (Copy(3, 1), Copy(3, 0)):
        try:
            expand([wrong])
        except ValueError as error:
            print("refused:", error)
        else:
            raise AssertionError("damage was not noticed")
