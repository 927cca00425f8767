"""Sketches of shingle sets: one pass from bytes to 256 bins, about one hash for each token.

Fast similarity sketching (Dahlgaard, Knudsen and Thorup, FOCS 2017, algorithm 1) with 256 bins
over shingles of 5 tokens. Round 0 throws each shingle into one bin and a bin keeps its least
value, which is one-permutation hashing. While bins are empty, further rounds throw all shingles
again with fresh hashes; rounds 256 to 511 fill one bin each, so small sets end with every bin
full too. A value carries its round in its top bits, so that each bin holds a true minimum over
all rounds: two sketches agree in a bin with probability equal to their sets' Jaccard similarity,
and the share of equal bins concentrates as 256 independent samples do, for small sets as for
large ones. Later rounds cost about 1,600 throws for a document, however short; a document of
2,000 distinct shingles needs none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel
from firnline.kernels.shingles import (
    BYTE_CLASSES,
    WORD,
    Bytes,
    Hashes,
    Offsets,
    insert,
    mix,
    scan,
    table_size,
    windows,
)

Sketches = NDArray[np.uint32]

BINS = 256
SHINGLE_TOKENS = 5

_0 = np.uint64(0)
_1 = np.uint64(1)
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_LOW = np.uint64(0xFFFFFFFF)
_EMPTY_BIN = np.uint32(0xFFFFFFFF)
_BIN_MASK = np.uint64(BINS - 1)
_VALUE_SHIFT = np.uint64(9)  # 55 bits of value, above them 9 bits of round
_ROUND_SHIFT = np.uint64(55)
_ROUND_STEP = np.uint64(0x9E3779B97F4A7C15)
# Shingles kept for later rounds. With 2**13 distinct shingles the chance that a bin is empty is
# 256 * exp(-32); what is beyond is a document that repeats itself, and is compacted.
_KEPT = 1 << 14
_CHUNK_BYTES = 1 << 13


@kernel
def _throw(bins: Hashes, shingle: np.uint64) -> int:
    """Round 0 for one shingle; 1 where its bin was empty, else 0."""
    bin = shingle & _BIN_MASK
    least = shingle >> _VALUE_SHIFT
    before = bins[bin]
    if least < before:
        bins[bin] = least
        return int(before == _EMPTY)
    return 0


@kernel
def _compact(kept: Hashes, count: int, table: Hashes) -> int:
    """Drops repetitions from kept[:count]; returns how many are left."""
    size = table_size(count)
    table[:size] = _0
    mask = np.uint64(size - 1)
    distinct = 0
    for index in range(count):
        if insert(table, mask, kept[index]):
            kept[distinct] = kept[index]
            distinct += 1
    return distinct


@kernel
def _later_rounds(bins: Hashes, filled: int, kept: Hashes, count: int, thrown: Hashes) -> None:
    """Rounds 1 and up for the `count` distinct shingles in `kept`; `thrown` is room for as many."""
    for number in range(1, BINS):
        if filled == BINS:
            return
        step = _ROUND_STEP * np.uint64(number)
        top = np.uint64(number) << _ROUND_SHIFT
        for index in range(count):  # apart, for the compiler to make vector instructions of it
            thrown[index] = mix(kept[index] + step)
        for index in range(count):
            place = thrown[index] & _BIN_MASK
            value = top | (thrown[index] >> _VALUE_SHIFT)
            if value < bins[place]:
                if bins[place] == _EMPTY:
                    filled += 1
                bins[place] = value
    for target in range(BINS):
        if bins[target] == _EMPTY:
            step = _ROUND_STEP * np.uint64(BINS + target)
            top = np.uint64(BINS + target) << _ROUND_SHIFT
            for index in range(count):
                value = top | (mix(kept[index] + step) >> _VALUE_SHIFT)
                bins[target] = min(bins[target], value)


@kernel
def _sketch(data: Bytes, starts: Offsets, stops: Offsets, n: int) -> Sketches:
    sketches = np.empty((len(stops), BINS), dtype=np.uint32)
    bins = np.empty(BINS, dtype=np.uint64)
    kept = np.empty(_KEPT, dtype=np.uint64)
    table = np.empty(table_size(_KEPT), dtype=np.uint64)
    thrown = np.empty(_KEPT, dtype=np.uint64)
    # The last n - 1 tokens before a chunk, the chunk's own, and a slot that `scan` may overwrite.
    tokens = np.zeros(n + _CHUNK_BYTES + 2, dtype=np.uint64)
    shingles = np.empty(n + _CHUNK_BYTES + 2, dtype=np.uint64)
    for document in range(len(stops)):
        bins[:] = _EMPTY
        filled = count = history = before = 0
        place = -1
        end = stops[document]
        for start in range(starts[document], end, _CHUNK_BYTES):
            stop = min(start + _CHUNK_BYTES, end)
            place = scan(data, start, stop, before, tokens, place)
            before = BYTE_CLASSES[data[stop - 1]]
            # A word at the end of a chunk may go on in the next one.
            ready = place if stop < end and before == WORD else place + 1
            for index in range(history, ready):
                tokens[index] = mix(tokens[index])
            found = max(0, ready - n + 1)
            windows(tokens, n, found, shingles)
            index = 0
            while index < found and filled < BINS:
                if count == _KEPT:
                    count = _compact(kept, count, table)
                if count < _KEPT:
                    kept[count] = shingles[index]
                    count += 1
                filled += _throw(bins, shingles[index])
                index += 1
            for later in range(index, found):
                _throw(bins, shingles[later])
            history = min(n - 1, ready)
            unfinished = tokens[ready]
            tokens[:history] = tokens[ready - history : ready].copy()
            tokens[history] = unfinished
            place += history - ready
        if history > 0 and filled == 0:  # fewer than n tokens: one shingle of all
            windows(tokens, history, 1, shingles)
            kept[0] = shingles[0]
            filled = _throw(bins, kept[0])
            count = 1
        if 0 < filled < BINS:
            _later_rounds(bins, filled, kept, _compact(kept, count, table), thrown)
        for column in range(BINS):  # low bits: a minimum's high bits are mostly zeros
            sketches[document, column] = np.uint32(bins[column] & _LOW)
    return sketches


@kernel
def _sketch_sets(hashes: Hashes, offsets: Offsets) -> Sketches:
    sketches = np.empty((len(offsets) - 1, BINS), dtype=np.uint32)
    bins = np.empty(BINS, dtype=np.uint64)
    thrown = np.empty(len(hashes), dtype=np.uint64)
    for document in range(len(offsets) - 1):
        members = hashes[offsets[document] : offsets[document + 1]]
        bins[:] = _EMPTY
        filled = 0
        for shingle in members:
            filled += _throw(bins, shingle)
        if len(members):
            _later_rounds(bins, filled, members, len(members), thrown)
        for column in range(BINS):
            sketches[document, column] = np.uint32(bins[column] & _LOW)
    return sketches


@kernel
def _band_hashes(sketches: Sketches, bands: int, rows: int) -> Hashes:
    keys = np.zeros((len(sketches), bands), dtype=np.uint64)
    for document in range(len(sketches)):
        empty = True
        for place in range(sketches.shape[1]):
            if sketches[document, place] != _EMPTY_BIN:
                empty = False
                break
        if empty:
            continue
        for band in range(bands):
            state = _1
            for row in range(rows):
                state = mix(state ^ np.uint64(sketches[document, band * rows + row])) + _1
            keys[document, band] = state if state != _0 else _1
    return keys


def sketch(
    data: Bytes, offsets: Offsets, n: int = SHINGLE_TOKENS, starts: Offsets | None = None
) -> Sketches:
    """Sketches of a `large_string` column's shingles of `n` tokens: uint32 (documents, 256).

    The share of equal bins estimates the Jaccard similarity of two documents' shingle sets,
    with a standard error of at most sqrt(J (1 - J) / 256). A document without tokens has
    0xFFFFFFFF in every bin. `starts` as in `shingles.token_hashes`.
    """
    starts = offsets[:-1].copy() if starts is None else starts
    return _sketch(data, starts, offsets[1:], n)


def sketch_sets(hashes: Hashes, offsets: Offsets) -> Sketches:
    """Sketches of the sets of `shingles.shingle_sets`: what `sketch` gives for their documents."""
    return _sketch_sets(hashes, offsets)


def band_hashes(sketches: Sketches, bands: int, rows: int) -> Hashes:
    """Hashes of `bands` groups of `rows` bins: uint64 (documents, bands).

    0 stands for the bands of a document without tokens, which resembles nothing.
    """
    if bands * rows > sketches.shape[1]:
        raise ValueError(f"{bands} bands of {rows} rows need more than {sketches.shape[1]} bins")
    return _band_hashes(sketches, bands, rows)
