"""Code inside string literals: where it lies, and how it reads with its escapes undone.

A program in a JSON file, or in a string of another program, has `\\n` where its lines end and `\\"`
for its quotes. To what reads tokens these are letters of the next word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]

_AROUND = 1024  # bytes before the first and after the last line end that are looked at too
_LEAST = 2  # line ends: one ends a message as often as it parts two lines
_PIECE = 1 << 20
_QUOTES = b"\"'`"


def escaped_code(data: Bytes, starts: Offsets, stops: Offsets, every: Bytes) -> NDArray[np.int64]:
    """Rows (text, start, stop) of the places in data[starts[i]:stops[i]] that may be such code.

    They have `\\n` at least twice, no more than 2 KiB apart, and not right before a quote, as
    messages end, where `every[i]` is 0. Texts follow each other and do not overlap.
    """
    ends = _line_ends(data)
    text = np.searchsorted(starts, ends, side="right") - 1
    inside = (text >= 0) & (ends + 1 < stops[text])
    quoted = np.isin(data[ends + 2], np.frombuffer(_QUOTES, np.uint8))
    chosen = inside & (~quoted | every[text].astype(np.bool_))
    ends, text = ends[chosen], text[chosen]
    if len(ends) == 0:
        return np.empty((0, 3), dtype=np.int64)
    parted = (np.diff(text) != 0) | (np.diff(ends) > 2 * _AROUND)
    first = np.flatnonzero(np.concatenate(([True], parted)))
    last = np.append(first[1:], len(ends)) - 1
    enough = last - first + 1 >= _LEAST
    first, last = first[enough], last[enough]
    text = text[first]
    start = np.maximum(ends[first] - _AROUND, starts[text])
    stop = np.minimum(ends[last] + _AROUND, stops[text])
    return np.stack([text, start, stop], axis=1)


def _line_ends(data: Bytes) -> Offsets:
    """Where `\n` is, written out, with at least one byte behind it."""
    found = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(data), _PIECE):  # NumPy compares many bytes at a time
        found.append(np.flatnonzero(data[start : start + _PIECE] == 92) + start)
    ends: Offsets = np.concatenate(found)
    ends = ends[ends + 2 < len(data)]
    found_there: Offsets = ends[data[ends + 1] == 110]
    return found_there


@kernel
def unescaped(data: Bytes, start: int, stop: int) -> Bytes:
    """A copy of data[start:stop] of the same length, where one level of escapes is undone.

    What an escape leaves over is blank: `\\n` is a blank and a line end, `\\"` a blank and a quote,
    `\\u0041` five blanks and an A.
    """
    out = data[start:stop].copy()
    at = 0
    while at + 1 < len(out):
        if out[at] != 92:
            at += 1
            continue
        out[at] = 32
        at += 1
        if out[at] == 110:  # n
            out[at] = 10
        elif out[at] == 114 or out[at] == 116:  # r, t
            out[at] = 32
        elif out[at] == 117 and at + 4 < len(out) and out[at + 1] == 48 and out[at + 2] == 48:
            high, low = _digit(out[at + 3]), _digit(out[at + 4])
            if 0 <= high < 8 and low >= 0:
                out[at : at + 4] = 32
                at += 4
                out[at] = 16 * high + low
        at += 1
    return out


@kernel
def _digit(byte: int) -> int:
    if 48 <= byte <= 57:
        return byte - 48
    lower = byte | 32
    return lower - 87 if 97 <= lower <= 102 else -1
