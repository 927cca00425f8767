"""Words of texts as several simple splits in a row cut them, spelled in letters.

A split isolates what its regular expression matches: one character of a class, a run of them, or
a run with a space before it. What an earlier split has parted stays apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel

Bytes = NDArray[np.uint8]
Classes = NDArray[np.uint16]
Numbers = NDArray[np.int64]

# Class of the second to last byte of a character, and of all but the first byte of a token.
INSIDE = 1 << 15
# Each byte of a text is written as two letters: one of A to P, one of a to p.
HIGH, LOW = ord("A"), ord("a")
BREAK = 0x0A  # stands between two words


@kernel
def spell_words(
    data: Bytes,
    offsets: Numbers,
    classes: Classes,
    steps: Numbers,
    tokens: Numbers,
    out: Bytes,
    out_offsets: Numbers,
) -> None:
    """Writes the words of each text to `out`, two letters for a byte, a break between two words.

    `classes` has the bits of each code point. A row of `steps` is one split: the bit of the class,
    the bit of what may stand once before it (0: nothing), whether it takes a run, and whether it
    must reach the end of its piece. `tokens` has begin and end of each added token in `data`, in
    order: one word each, which no split sees. `out` needs 3 bytes for each of a text;
    `out_offsets` gets the end of each text in it.
    """
    longest = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    kinds = np.empty(longest + 1, dtype=np.uint16)
    begins = np.empty(longest + 1, dtype=np.bool_)
    token, written = 0, 0
    for text in range(len(offsets) - 1):
        start, size = offsets[text], offsets[text + 1] - offsets[text]
        held = _classify(data[start : start + size], classes, kinds)
        begins[: size + 1] = False
        while token < len(tokens) and tokens[token, 0] < start + size:
            first, last = tokens[token, 0] - start, tokens[token, 1] - start
            begins[first] = begins[last] = True
            kinds[first] = 0
            kinds[first + 1 : last] = INSIDE
            token += 1
        for step in range(len(steps)):
            if held & steps[step, 0]:
                _isolate(kinds, size, steps[step], begins)
        for at in range(size):
            if begins[at] and at:
                out[written] = BREAK
                written += 1
            out[written] = HIGH + (data[start + at] >> 4)
            out[written + 1] = LOW + (data[start + at] & 15)
            written += 2
        out_offsets[text + 1] = written


@kernel
def _classify(data: Bytes, classes: Classes, kinds: Classes) -> int:
    """Writes the class of each character, at its first byte; returns the bits of all."""
    at, held = 0, 0
    while at < len(data):
        byte = np.int64(data[at])
        if byte < 0x80:
            kinds[at] = classes[byte]
            held |= classes[byte]
            at += 1
            continue
        size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
        point = byte & (0x7F >> size)
        for more in range(at + 1, at + size):
            point = (point << 6) | (data[more] & 0x3F)
            kinds[more] = INSIDE
        kinds[at] = classes[point]
        held |= classes[point]
        at += size
    return held


@kernel
def _isolate(kinds: Classes, size: int, step: Numbers, begins: NDArray[np.bool_]) -> None:
    """Marks where each match of one split begins, and what comes after it."""
    wanted, before, runs, to_end = step[0], step[1], step[2], step[3]
    at = 0
    while at < size:
        start, after = at, _next(kinds, size, at)
        if kinds[at] & before and after < size and not begins[after] and kinds[after] & wanted:
            after = _next(kinds, size, after)
        elif not kinds[at] & wanted:
            at = after
            continue
        while runs and after < size and not begins[after] and kinds[after] & wanted:
            after = _next(kinds, size, after)
        if not to_end or after == size or begins[after]:
            begins[start] = begins[after] = True
        at = after


@kernel
def drop_breaks(
    ids: NDArray[np.uint32],
    offsets: Numbers,
    names: NDArray[np.uint32],
    out: NDArray[np.uint32],
    out_offsets: Numbers,
) -> None:
    """Writes the name of each id that is no break, and where each text then ends."""
    written = 0
    for text in range(len(offsets) - 1):
        for at in range(offsets[text], offsets[text + 1]):
            if ids[at] != BREAK:
                out[written] = names[ids[at]]
                written += 1
        out_offsets[text + 1] = written


@kernel
def _next(kinds: Classes, size: int, at: int) -> int:
    at += 1
    while at < size and kinds[at] & INSIDE:
        at += 1
    return at
