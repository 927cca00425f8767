"""Code tokens and their n-grams, hashed over Arrow buffers.

A token is a run of `[A-Za-z0-9_]` and bytes from 0x80 up, or any other single byte that is not
ASCII white space. Case and punctuation are kept; white space separates tokens and is not one.
Every kernel takes a `large_string` column as (`data` uint8, `offsets` int64), as
`firnline.documents.buffers` gives it, and makes no Python object for a document.

Hashes are 64-bit, the same on every machine and in every run; 0 is never one, so that hash tables
can use it for an empty slot. An n-gram's hash is a polynomial in its tokens' hashes, mixed: it
rolls, so its cost does not depend on n.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Offsets = NDArray[np.int64]

_SPACE, _WORD, _OTHER = 0, 1, 2


def _byte_classes() -> NDArray[np.uint8]:
    classes = np.full(256, _OTHER, dtype=np.uint8)
    classes[list(b" \t\n\r\x0b\x0c")] = _SPACE
    word = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
    classes[list(word)] = _WORD
    classes[128:] = _WORD
    return classes


BYTE_CLASSES = _byte_classes()

# Odd 64-bit multipliers of MurmurHash3's and SplitMix64's finalizers (public domain).
_SEED = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = np.uint64(0xFF51AFD7ED558CCD)
_MULTIPLIER_2 = np.uint64(0xC4CEB9FE1A85EC53)
_BASE = np.uint64(0xBF58476D1CE4E5B9)
_32 = np.uint64(32)
_29 = np.uint64(29)
_8 = np.uint64(8)
_0 = np.uint64(0)
_1 = np.uint64(1)


@kernel
def mix(value: np.uint64) -> np.uint64:
    """Spreads a 64-bit value over 64 bits, one to one."""
    value ^= value >> _32
    value *= _MULTIPLIER_1
    value ^= value >> _29
    value *= _MULTIPLIER_2
    return value ^ (value >> _32)


@kernel
def next_token(data: Bytes, position: int, end: int) -> tuple[int, int, np.uint64]:
    """The first token in data[position:end] as (start, stop, hash); start == end if none."""
    while position < end and BYTE_CLASSES[data[position]] == _SPACE:
        position += 1
    start = position
    if start == end:
        return start, start, _0
    state = _SEED
    word = np.uint64(data[position])
    position += 1
    if BYTE_CLASSES[data[start]] == _WORD:
        while position < end and BYTE_CLASSES[data[position]] == _WORD:
            if (position - start) & 7 == 0:  # eight bytes are in `word`
                state = mix(state ^ word)
                word = _0
            word = (word << _8) | np.uint64(data[position])
            position += 1
    # The length keeps "\x80" after a full word apart from a longer run of zeros before it.
    return start, position, mix((state + np.uint64(position - start)) ^ word)


@kernel
def power(exponent: int) -> np.uint64:
    """The polynomial's base to `exponent`, modulo 2**64."""
    result = _1
    for _ in range(exponent):
        result *= _BASE
    return result


@kernel
def roll(total: np.uint64, entering: np.uint64, leaving: np.uint64, top: np.uint64) -> np.uint64:
    """The polynomial of a window moved by one token; `top` is `power(n)`."""
    return total * _BASE + entering - leaving * top


@kernel
def finish(total: np.uint64) -> np.uint64:
    """An n-gram's hash from its polynomial; never 0."""
    value = mix(total)
    return value if value != _0 else _1


@kernel
def _count(data: Bytes, offsets: Offsets) -> Offsets:
    counts = np.zeros(len(offsets), dtype=np.int64)
    for document in range(len(offsets) - 1):
        tokens = 0
        before = _SPACE
        for position in range(offsets[document], offsets[document + 1]):
            kind = BYTE_CLASSES[data[position]]
            if kind == _OTHER or (kind == _WORD and before != _WORD):
                tokens += 1
            before = kind
        counts[document + 1] = counts[document] + tokens
    return counts


@kernel
def _tokens(
    data: Bytes, offsets: Offsets, token_offsets: Offsets
) -> tuple[Hashes, Offsets, Offsets]:
    total = token_offsets[-1]
    hashes = np.empty(total, dtype=np.uint64)
    starts = np.empty(total, dtype=np.int64)
    stops = np.empty(total, dtype=np.int64)
    for document in range(len(offsets) - 1):
        position = offsets[document]
        end = offsets[document + 1]
        for token in range(token_offsets[document], token_offsets[document + 1]):
            start, position, value = next_token(data, position, end)
            hashes[token] = value
            starts[token] = start
            stops[token] = position
    return hashes, starts, stops


@kernel
def _ngrams(hashes: Hashes, token_offsets: Offsets, n: int) -> tuple[Hashes, Offsets]:
    documents = len(token_offsets) - 1
    offsets = np.zeros(documents + 1, dtype=np.int64)
    for document in range(documents):
        tokens = token_offsets[document + 1] - token_offsets[document]
        offsets[document + 1] = offsets[document] + (
            min(tokens, 1) if tokens < n else tokens - n + 1
        )
    out = np.empty(offsets[-1], dtype=np.uint64)
    top = power(n)
    for document in range(documents):
        first = token_offsets[document]
        last = token_offsets[document + 1]
        place = offsets[document]
        total = _0
        for token in range(first, last):
            leaving = hashes[token - n] if token - first >= n else _0
            total = roll(total, hashes[token], leaving, top)
            if token - first >= n - 1:
                out[place] = finish(total)
                place += 1
        if 0 < last - first < n:
            out[place] = finish(total)
    return out, offsets


@kernel
def insert(table: Hashes, mask: np.uint64, value: np.uint64) -> bool:
    """Puts a hash into an open-addressing table of `mask + 1` slots; True where it is new."""
    slot = value & mask
    while table[slot] != _0:
        if table[slot] == value:
            return False
        slot = (slot + _1) & mask
    table[slot] = value
    return True


@kernel
def contains(table: Hashes, mask: np.uint64, value: np.uint64) -> bool:
    """True where `insert` put the hash into the table."""
    slot = value & mask
    while table[slot] != _0:
        if table[slot] == value:
            return True
        slot = (slot + _1) & mask
    return False


@kernel
def table_size(count: int) -> int:
    """A power of two that leaves at least half of the slots free."""
    size = 8
    while size < 2 * count:
        size *= 2
    return size


@kernel
def distinct(hashes: Hashes, offsets: Offsets) -> tuple[Hashes, Offsets]:
    """Each document's hashes without repetition, in order of first appearance."""
    documents = len(offsets) - 1
    largest = 0
    for document in range(documents):
        largest = max(largest, offsets[document + 1] - offsets[document])
    table = np.empty(table_size(largest), dtype=np.uint64)
    out = np.empty(len(hashes), dtype=np.uint64)
    out_offsets = np.zeros(documents + 1, dtype=np.int64)
    place = 0
    for document in range(documents):
        size = table_size(offsets[document + 1] - offsets[document])
        table[:size] = _0
        mask = np.uint64(size - 1)
        for index in range(offsets[document], offsets[document + 1]):
            if insert(table, mask, hashes[index]):
                out[place] = hashes[index]
                place += 1
        out_offsets[document + 1] = place
    return out[:place].copy(), out_offsets


def token_hashes(data: Bytes, offsets: Offsets) -> tuple[Hashes, Offsets]:
    """Every token's hash, and where each document's tokens begin and end: (hashes, offsets)."""
    hashes, _, _, token_offsets = token_spans(data, offsets)
    return hashes, token_offsets


def token_spans(data: Bytes, offsets: Offsets) -> tuple[Hashes, Offsets, Offsets, Offsets]:
    """Tokens with their places: (hashes, starts, stops, token_offsets).

    `starts` and `stops` are byte positions in `data`; document i's tokens are
    `token_offsets[i]:token_offsets[i + 1]`.
    """
    token_offsets = _count(data, offsets)
    hashes, starts, stops = _tokens(data, offsets, token_offsets)
    return hashes, starts, stops, token_offsets


def ngram_hashes(hashes: Hashes, token_offsets: Offsets, n: int) -> tuple[Hashes, Offsets]:
    """Hashes of each document's runs of `n` consecutive tokens, in order: (hashes, offsets).

    N-gram j of a document starts at its token j. A document of 1 to n - 1 tokens has one n-gram
    of all its tokens; a document without tokens has none. Raises ValueError where n < 1.
    """
    if n < 1:
        raise ValueError(f"n-grams of {n} tokens: n must be 1 or more")
    return _ngrams(hashes, token_offsets, n)


def shingle_sets(data: Bytes, offsets: Offsets, n: int = 5) -> tuple[Hashes, Offsets]:
    """Each document's set of n-gram hashes: (hashes, offsets)."""
    return distinct(*ngram_hashes(*token_hashes(data, offsets), n))
