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
    Bytes,
    Hashes,
    Offsets,
    finish,
    insert,
    mix,
    next_token,
    power,
    roll,
)

Sketches = NDArray[np.uint32]

BINS = 256
SHINGLE_TOKENS = 5

_0 = np.uint64(0)
_1 = np.uint64(1)
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_EMPTY_BIN = np.uint32(0xFFFFFFFF)
_BIN_MASK = np.uint64(BINS - 1)
_VALUE_SHIFT = np.uint64(9)  # 55 bits of value, above them 9 bits of round
_ROUND_SHIFT = np.uint64(55)
_ROUND_STEP = np.uint64(0x9E3779B97F4A7C15)
# Shingles kept for later rounds. With 2**13 distinct shingles the chance that a bin is empty is
# 256 * exp(-32); what is beyond is a document that repeats itself, and is compacted.
_KEPT = 1 << 14
_TABLE_MASK = np.uint64((1 << 15) - 1)


@kernel
def _compact(kept: Hashes, count: int, table: Hashes) -> int:
    table[:] = _0
    distinct = 0
    for index in range(count):
        if insert(table, _TABLE_MASK, kept[index]):
            kept[distinct] = kept[index]
            distinct += 1
    return distinct


@kernel
def _later_rounds(bins: Hashes, filled: int, kept: Hashes, count: int) -> None:
    for number in range(1, BINS):
        if filled == BINS:
            return
        step = _ROUND_STEP * np.uint64(number)
        top = np.uint64(number) << _ROUND_SHIFT
        for index in range(count):
            value = mix(kept[index] + step)
            place = value & _BIN_MASK
            value = top | (value >> _VALUE_SHIFT)
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
def _sketch(data: Bytes, offsets: Offsets, n: int) -> Sketches:
    documents = len(offsets) - 1
    sketches = np.empty((documents, BINS), dtype=np.uint32)
    bins = np.empty(BINS, dtype=np.uint64)
    kept = np.empty(_KEPT, dtype=np.uint64)
    table = np.empty(int(_TABLE_MASK) + 1, dtype=np.uint64)
    window = np.empty(n, dtype=np.uint64)
    top = power(n)
    for document in range(documents):
        bins[:] = _EMPTY
        window[:] = _0
        filled = 0
        count = 0
        tokens = 0
        oldest = 0
        total = _0
        position = offsets[document]
        end = offsets[document + 1]
        while True:
            start, position, token = next_token(data, position, end)
            last = start == end
            if not last:
                tokens += 1
                total = roll(total, token, window[oldest], top)
                window[oldest] = token
                oldest = oldest + 1 if oldest + 1 < n else 0
                if tokens < n:
                    continue
            elif tokens == 0 or tokens >= n:
                break
            # A whole window, or the end of a document of fewer than n tokens.
            value = finish(total)
            place = value & _BIN_MASK
            least = value >> _VALUE_SHIFT
            if filled < BINS:
                if count == _KEPT:
                    count = _compact(kept, count, table)
                if count < _KEPT:
                    kept[count] = value
                    count += 1
                if bins[place] == _EMPTY:
                    filled += 1
            if least < bins[place]:
                bins[place] = least
            if last:
                break
        if 0 < filled < BINS:
            _later_rounds(bins, filled, kept, _compact(kept, count, table))
        for column in range(BINS):  # low bits: a minimum's high bits are mostly zeros
            sketches[document, column] = np.uint32(bins[column] & np.uint64(0xFFFFFFFF))
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


def sketch(data: Bytes, offsets: Offsets, n: int = SHINGLE_TOKENS) -> Sketches:
    """Sketches of a `large_string` column's shingles of `n` tokens: uint32 (documents, 256).

    The share of equal bins estimates the Jaccard similarity of two documents' shingle sets,
    with a standard error of at most sqrt(J (1 - J) / 256). A document without tokens has
    0xFFFFFFFF in every bin.
    """
    return _sketch(data, offsets, n)


def band_hashes(sketches: Sketches, bands: int, rows: int) -> Hashes:
    """Hashes of `bands` groups of `rows` bins: uint64 (documents, bands).

    0 stands for the bands of a document without tokens, which resembles nothing.
    """
    if bands * rows > sketches.shape[1]:
        raise ValueError(f"{bands} bands of {rows} rows need more than {sketches.shape[1]} bins")
    return _band_hashes(sketches, bands, rows)
