"""Phrases in the first lines of documents."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Counts = NDArray[np.int64]


def first_marker(
    data: Bytes,
    offsets: Offsets,
    head_bytes: Counts,
    markers: tuple[str, ...],
    harmless: tuple[str, ...] = (),
) -> Counts:
    """Which of `markers` (ASCII, lower case) comes first in each document's first `head_bytes`.

    The number is the marker's place in the tuple counted from 1; 0 where none occurs. Case of the
    text is ignored. Where two start at one place, the one listed first counts. Text that matches a
    `harmless` phrase is passed over, so that a marker inside it is none.
    """
    phrases = (*harmless, *markers)
    text, bounds, numbers, first = _by_first_byte(phrases)
    return _first_marker(data, offsets, head_bytes, text, bounds, numbers, first, len(harmless))


@cache
def _by_first_byte(phrases: tuple[str, ...]) -> tuple[Bytes, Offsets, Offsets, Offsets]:
    """Phrases sorted by their first byte: their text, its bounds, their numbers in `phrases`, and
    where the phrases of each first byte begin."""
    order = sorted(range(len(phrases)), key=lambda number: (ord(phrases[number][0]), number))
    text = "".join(phrases[number] for number in order).encode("ascii")
    bounds = np.cumsum([0, *(len(phrases[number]) for number in order)])
    starts = [ord(phrases[number][0]) for number in order]
    first = np.searchsorted(starts, np.arange(257))
    return np.frombuffer(text, dtype=np.uint8), bounds, np.array(order, dtype=np.int64), first


@kernel
def _first_marker(
    data: Bytes,
    offsets: Offsets,
    head_bytes: Counts,
    text: Bytes,
    bounds: Offsets,
    numbers: Offsets,
    first: Offsets,
    harmless: int,
) -> Counts:
    found = np.zeros(len(offsets) - 1, dtype=np.int64)
    for document in range(len(found)):
        head_end = offsets[document] + head_bytes[document]
        i = offsets[document]
        while i < head_end and not found[document]:
            step = 1
            byte = data[i] | 32 if 65 <= data[i] <= 90 else data[i]
            for place in range(first[byte], first[byte + 1]):
                if _has_phrase(data, i, head_end, text[bounds[place] : bounds[place + 1]]):
                    if numbers[place] < harmless:
                        step = bounds[place + 1] - bounds[place]
                    else:
                        found[document] = numbers[place] - harmless + 1
                    break
            i += step
    return found


@kernel
def _has_phrase(data: Bytes, i: int, end: int, phrase: Bytes) -> bool:
    if i + len(phrase) > end:
        return False
    for j in range(len(phrase)):
        byte = data[i + j]
        if 65 <= byte <= 90:
            byte |= 32
        if byte != phrase[j]:
            return False
    return True
