"""Code tokens and their n-grams, hashed over Arrow buffers.

A token is a run of `[A-Za-z0-9_]` and bytes from 0x80 up, or any other single byte that is not
ASCII white space. Case and punctuation are kept; white space separates tokens and is not one.
Every kernel takes a `large_string` column as (`data` uint8, `offsets` int64), as
`firnline.documents.buffers` gives it, and makes no Python object for a document.

Hashes are 64-bit, the same on every machine and in every run. An n-gram's hash is a polynomial in
its tokens' hashes, mixed: it rolls, so its cost does not depend on n. It is never 0, so that hash
tables can use 0 for an empty slot.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Offsets = NDArray[np.int64]

SPACE, WORD, OTHER = 0, 1, 2

_WHITE_CHUNK = 1 << 13


def _byte_classes() -> NDArray[np.uint8]:
    classes = np.full(256, OTHER, dtype=np.uint8)
    classes[list(b" \t\n\r\x0b\x0c")] = SPACE
    word = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
    classes[list(word)] = WORD
    classes[128:] = WORD
    return classes


BYTE_CLASSES = _byte_classes()
_CLASSES = BYTE_CLASSES.astype(np.uint64)
_IS_TOKEN = (BYTE_CLASSES != SPACE).astype(np.uint64)

# Odd 64-bit multipliers of MurmurHash3's and SplitMix64's finalizers (public domain).
_SEED = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = np.uint64(0xFF51AFD7ED558CCD)
_MULTIPLIER_2 = np.uint64(0xC4CEB9FE1A85EC53)
_BASE = np.uint64(0xBF58476D1CE4E5B9)
_32 = np.uint64(32)
_31 = np.uint64(31)
_33 = np.uint64(33)
_29 = np.uint64(29)
_64 = np.uint64(64)
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
def scan(data: Bytes, start: int, stop: int, before: int, out: Hashes, place: int) -> int:
    """Hashes the tokens of data[start:stop] into out[place + 1:]; returns the last one's place.

    The hashes are raw: `mix` finishes them. `before` is the class of the byte before `start`; if
    it is a word, the token at `place` goes on. out[place + 1] of the returned place is
    overwritten. There are no branches on the data, because the ends of tokens are what a branch
    predictor cannot foresee.
    """
    state = out[max(place, 0)]
    # Unsigned, because numba looks whether a signed index is negative at each access.
    following = np.uint64(place + 1)
    last = np.uint64(before)
    for position in range(np.uint64(start), np.uint64(stop)):
        byte = data[position]
        kind = _CLASSES[byte]
        token = _IS_TOKEN[byte]
        continues = kind & last & _1  # WORD is the one class with this bit
        state = ((state if continues else _SEED) ^ np.uint64(byte)) * _MULTIPLIER_1
        following += token - continues
        out[following - token] = state  # white space leaves its mark where the next one will be
        last = kind
    return int(np.int64(following)) - 1


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
def windows(tokens: Hashes, n: int, count: int, out: Hashes) -> None:
    """The hashes of the n-grams that begin at tokens[:count], mixed tokens, into `out`.

    What `roll` and `finish` give, in loops that the compiler turns into vector instructions.
    """
    for place in range(count):
        out[place] = tokens[place]
    for step in range(1, n):
        for place in range(count):
            out[place] = out[place] * _BASE + tokens[place + step]
    for place in range(count):
        out[place] = finish(out[place])


@kernel
def _count(data: Bytes, starts: Offsets, stops: Offsets) -> Offsets:
    counts = np.zeros(len(stops) + 1, dtype=np.int64)
    for document in range(len(stops)):
        tokens = 0
        before = SPACE
        for position in range(starts[document], stops[document]):
            kind = BYTE_CLASSES[data[position]]
            tokens += not (kind == SPACE or (kind & before) == WORD)
            before = kind
        counts[document + 1] = counts[document] + tokens
    return counts


@kernel
def _tokens(data: Bytes, starts: Offsets, stops: Offsets, token_offsets: Offsets) -> Hashes:
    total = token_offsets[-1]
    hashes = np.zeros(total + 1, dtype=np.uint64)
    for document in range(len(stops)):
        first = token_offsets[document]
        scan(data, starts[document], stops[document], SPACE, hashes, first - 1)
    for token in range(total):
        hashes[token] = mix(hashes[token])
    return hashes[:total]


@kernel
def _spans(data: Bytes, offsets: Offsets, total: int) -> tuple[Offsets, Offsets]:
    starts = np.empty(total + 1, dtype=np.int64)
    stops = np.empty(total + 1, dtype=np.int64)
    place = -1
    for document in range(len(offsets) - 1):
        before = SPACE
        for position in range(offsets[document], offsets[document + 1]):
            kind = BYTE_CLASSES[data[position]]
            if kind != SPACE:
                if (kind & before) != WORD:
                    place += 1
                    starts[place] = position
                stops[place] = position + 1
            before = kind
    return starts[:total], stops[:total]


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
    for document in range(documents):
        tokens = hashes[token_offsets[document] : token_offsets[document + 1]]
        its_ngrams = out[offsets[document] : offsets[document + 1]]
        windows(tokens, min(n, len(tokens)), len(its_ngrams), its_ngrams)
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


@kernel
def _absorb(state: np.uint64, value: np.uint64, turn: np.uint64) -> np.uint64:
    state ^= (value << turn) | (value >> (_64 - turn))
    return ((state << _29) | (state >> (_64 - _29))) * _BASE + _SEED


@kernel
def _white_free(data: Bytes, offsets: Offsets) -> Hashes:
    out = np.empty((len(offsets) - 1, 2), dtype=np.uint64)
    # What is not white space, gathered: a word may wait for its last bytes, a byte of white space
    # may be written past the end and is overwritten or cleared.
    buffer = np.zeros(_WHITE_CHUNK + 24, dtype=np.uint8)
    words = buffer[: (len(buffer) // 8) * 8].view(np.uint64)
    for document in range(len(offsets) - 1):
        high, low = _SEED, _BASE
        place = length = 0
        end = offsets[document + 1]
        for start in range(offsets[document], end, _WHITE_CHUNK):
            stop = min(start + _WHITE_CHUNK, end)
            for position in range(start, stop):
                byte = data[position]
                buffer[place] = byte
                place += BYTE_CLASSES[byte] != SPACE
            whole = place // 8
            for word in range(whole):
                high = _absorb(high, words[word] * _MULTIPLIER_1, _31)
                low = _absorb(low, words[word] * _MULTIPLIER_2, _33)
            length += 8 * whole
            place -= 8 * whole
            words[0] = words[whole]
        buffer[place:8] = 0
        length += place
        high = _absorb(high, words[0] * _MULTIPLIER_1, _31) ^ np.uint64(length)
        low = _absorb(low, words[0] * _MULTIPLIER_2, _33) + np.uint64(length)
        out[document, 0] = mix(high + low)
        out[document, 1] = mix(mix(low) + (high ^ (high >> _29)))
    return out


def token_hashes(
    data: Bytes, offsets: Offsets, starts: Offsets | None = None
) -> tuple[Hashes, Offsets]:
    """Every token's hash, and where each document's tokens begin and end: (hashes, offsets).

    `starts` says where in `data` each document is read from, if not from its first byte.
    """
    starts = offsets[:-1].copy() if starts is None else starts
    token_offsets = _count(data, starts, offsets[1:])
    return _tokens(data, starts, offsets[1:], token_offsets), token_offsets


def white_free_hashes(data: Bytes, offsets: Offsets) -> Hashes:
    """128-bit hashes of each document's bytes without ASCII white space: uint64 (documents, 2).

    Two documents that differ in white space alone have the same hash; others differ but for
    chance (the hash is not cryptographic).
    """
    return _white_free(data, offsets)


def token_spans(data: Bytes, offsets: Offsets) -> tuple[Hashes, Offsets, Offsets, Offsets]:
    """Tokens with their places: (hashes, starts, stops, token_offsets).

    `starts` and `stops` are byte positions in `data`; document i's tokens are
    `token_offsets[i]:token_offsets[i + 1]`.
    """
    hashes, token_offsets = token_hashes(data, offsets)
    starts, stops = _spans(data, offsets, len(hashes))
    return hashes, starts, stops, token_offsets


def ngram_hashes(hashes: Hashes, token_offsets: Offsets, n: int) -> tuple[Hashes, Offsets]:
    """Hashes of each document's runs of `n` consecutive tokens, in order: (hashes, offsets).

    N-gram j of a document starts at its token j. A document of 1 to n - 1 tokens has one n-gram
    of all its tokens; a document without tokens has none. Raises ValueError where n < 1.
    """
    if n < 1:
        raise ValueError(f"n-grams of {n} tokens: n must be 1 or more")
    return _ngrams(hashes, token_offsets, n)


def shingle_sets(
    data: Bytes, offsets: Offsets, n: int = 5, starts: Offsets | None = None
) -> tuple[Hashes, Offsets]:
    """Each document's set of n-gram hashes: (hashes, offsets); `starts` as in `token_hashes`."""
    return distinct(*ngram_hashes(*token_hashes(data, offsets, starts), n))
