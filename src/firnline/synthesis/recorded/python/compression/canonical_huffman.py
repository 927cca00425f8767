"""Huffman coding with canonical codes and a limit on the length of a code.

The textbook algorithm builds a tree and sends it along.  In practice only the *lengths*
of the codes are sent: if codes of equal length are numbered in the order of their
symbols, both sides can rebuild the same codes from the lengths alone.

Decoders want short tables, so codes must not be longer than, say, 15 bits.  The
package-merge method finds the best lengths under such a limit.  It treats each code bit
as a coin and buys the cheapest collection of coins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

MAX_LENGTH = 15


def code_lengths(weights: Mapping[int, int], limit: int = MAX_LENGTH) -> dict[int, int]:
    """Return the length of the code of each symbol, none of them above ``limit``.

    >>> code_lengths({65: 10, 66: 3, 67: 1})
    {65: 1, 66: 2, 67: 2}
    """
    symbols = sorted(weights)
    if len(symbols) > 2**limit:
        raise ValueError(f"{limit} bits are too few for {len(symbols)} symbols")
    if len(symbols) == 1:
        return {symbols[0]: 1}
    singles = sorted((weights[symbol], (symbol,)) for symbol in symbols)
    packages: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(limit):
        merged = sorted(singles + packages)
        pairs = zip(merged[::2], merged[1::2])
        packages = [(a[0] + b[0], a[1] + b[1]) for a, b in pairs]
    lengths: Counter[int] = Counter()
    for _, members in packages[: len(symbols) - 1]:
        lengths.update(members)
    return {symbol: lengths[symbol] for symbol in symbols}


def canonical_codes(lengths: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Return code and length for each symbol.

    >>> {k: format(c, f"0{n}b") for k, (c, n) in canonical_codes({1: 2, 2: 1, 3: 2}).items()}
    {2: '0', 1: '10', 3: '11'}
    """
    codes: dict[int, tuple[int, int]] = {}
    code = previous = 0
    for length, symbol in sorted((n, s) for s, n in lengths.items() if n):
        code <<= length - previous
        if code >> length:
            raise ValueError("the code lengths claim more codes than there are")
        codes[symbol] = (code, length)
        code, previous = code + 1, length
    return codes


class BitWriter:
    """Collects bits, most significant first."""

    def __init__(self) -> None:
        self._value = self._count = 0
        self._bytes = bytearray()

    def write(self, value: int, count: int) -> None:
        self._value = self._value << count | value
        self._count += count
        while self._count >= 8:
            self._count -= 8
            self._bytes.append(self._value >> self._count)
            self._value &= (1 << self._count) - 1

    def finish(self) -> bytes:
        if self._count:
            self.write(0, 8 - self._count)
        return bytes(self._bytes)


def bits(data: bytes) -> Iterator[int]:
    for byte in data:
        for shift in range(7, -1, -1):
            yield byte >> shift & 1


def compress(data: bytes) -> bytes:
    """Encode bytes: the size, the table of lengths, then the codes."""
    writer = BitWriter()
    writer.write(len(data), 32)
    if not data:
        return writer.finish()
    lengths = code_lengths(Counter(data))
    last = max(lengths)
    writer.write(last, 8)
    for symbol in range(last + 1):
        # One bit says whether the symbol occurs, four more give its length.
        if symbol in lengths:
            writer.write(16 | lengths[symbol], 5)
        else:
            writer.write(0, 1)
    codes = canonical_codes(lengths)
    for symbol in data:
        writer.write(*codes[symbol])
    return writer.finish()


def decompress(packed: bytes) -> bytes:
    """Undo ``compress``; raise ValueError for damaged data."""
    stream = bits(packed)

    def read(count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | next(stream)
        return value

    try:
        size = read(32)
        if size == 0:
            return b""
        lengths = {symbol: read(4) for symbol in range(read(8) + 1) if read(1)}
        symbols = {(n, code): symbol for symbol, (code, n) in canonical_codes(lengths).items()}
        result = bytearray()
        while len(result) < size:
            code = length = 0
            while (length, code) not in symbols:
                code, length = code << 1 | next(stream), length + 1
                if length > MAX_LENGTH:
                    raise ValueError("a code that no symbol has")
            result.append(symbols[length, code])
    except StopIteration:
        raise ValueError("the data ends too early") from None
    return bytes(result)


if __name__ == "__main__":
    text = b"she sells sea shells; the shells she sells are sea shells, surely. " * 20
    packed = compress(text)
    assert decompress(packed) == text
    print(f"{len(text)} bytes became {len(packed)}")
    for sample in (b"", b"a", b"aaaa", bytes(range(256)) * 2):
        assert decompress(compress(sample)) == sample

    # Fibonacci weights make the deepest trees that there are.
    fibonacci = [1, 1]
    while len(fibonacci) < 24:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    weights = dict(enumerate(fibonacci))
    for limit in (5, 8, 15, 30):
        lengths = code_lengths(weights, limit)
        assert max(lengths.values()) <= limit
        assert sum(2.0**-n for n in lengths.values()) == 1, "no code is wasted"
        average = sum(weights[s] * n for s, n in lengths.items()) / sum(fibonacci)
        print(f"limit {limit:2}: longest {max(lengths.values()):2}, average {average:.3f} bits")
    for damaged in (packed[:-1], packed[:3], b"\0\0\0\1\2" + b"\xff" * 9):
        try:
            decompress(damaged)
        except ValueError as error:
            print("refused:", error)
