r"""Encoded data in text: runs of base64, escapes and numbers (StarCoder2, section 3.1).

- An encoded run (StarCoder2, section 3.1) is one of
  - base64: 64 or more of `A-Za-z0-9+/=` with a letter among them, a sixteenth or more of them
    digits and a sixteenth or fewer slashes (of random bytes in base64 it is 10 and 1 in 64), so
    that a ruler such as `//////`, a path and a long name are none. A line end inside is allowed
    after 32 or more of them on its line, so that a list of one word a line is none either.
  - escapes: 8 or more `\xHH`, `\uHHHH`, `\UHHHHHHHH`, with or without numbers as below between.
  - numbers: 8 or more `0xHH` or `HH` and nothing else. They count for the share only: a table of
    256 bytes is half of many a hash function, and a file of nothing else is data.
  Between items there may be blanks, commas and a line end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.characters import BASE64, CLASSES, DIGIT, END, HEX, LETTER, WORD
from firnline.kernels.jit import kernel

Bytes = NDArray[np.uint8]

BASE64_CHARACTERS = 64
BASE64_LINE = 32
BASE64_DIGITS = 16  # in one of so many a digit at least, a slash at most
HEX_ITEMS = 8

# The fewest bytes of a run of numbers, `ab ab ...`, and the bytes that one can have.
_HEX_BYTES = 3 * HEX_ITEMS - 1
_IN_HEX = np.zeros(256, dtype=np.uint8)
_IN_HEX[list(b"0123456789abcdefABCDEFxXuU\\ \t,\r\n")] = 1


@kernel
def encoded_runs(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """Characters inside runs of data[start:end], and the longest run of base64 or escapes.

    No run reaches across a byte that it cannot hold, and in code such a byte is soon found when
    one looks from the right of where the shortest run would end; few others are looked at.
    """
    encoded = longest = 0
    i = start
    while i < end:
        if not CLASSES[data[i]] & BASE64:
            i += 1
            continue
        after, found = _base64_run(data, i, end)
        if found:
            encoded += after - i
            longest = max(longest, after - i)
        i = after
    i = known = start  # all of data[i:known] may be in a run of numbers
    while i + _HEX_BYTES <= end:
        last = i + _HEX_BYTES - 1
        while last >= known and _IN_HEX[data[last]]:
            last -= 1
        if last >= known:
            i = known = last + 1
            continue
        known = max(known, i + _HEX_BYTES)
        inside = i > start and CLASSES[data[i - 1]] & WORD
        if data[i] == 92 or (CLASSES[data[i]] & HEX and not inside):
            after, found, escapes = _hex_run(data, i, end)
            if found:
                encoded += after - i
                longest = max(longest, after - i if escapes else 0)
            i = after
        else:
            i += 1
        known = max(known, i)
    return encoded, longest


@kernel
def _base64_run(data: Bytes, start: int, end: int) -> tuple[int, bool]:
    """Where to look for the next base64 run, and whether one from `start` ends there."""
    # Most words are short: the last byte that breaks a run of the least length is soon found
    # from the right, and no run reaches across it.
    if start + BASE64_CHARACTERS > end:
        return end, False
    for i in range(start + BASE64_CHARACTERS - 1, start, -1):
        if not CLASSES[data[i]] & (BASE64 | END):
            return i, False
    letters = digits = slashes = 0
    i = line_start = start
    while True:
        while i < end and CLASSES[data[i]] & BASE64:
            letters += CLASSES[data[i]] & LETTER
            digits += CLASSES[data[i]] & DIGIT != 0
            slashes += data[i] == 47
            i += 1
        after = _after_line_end(data, i, end)
        goes_on = after < end and i - line_start >= BASE64_LINE and CLASSES[data[after]] & BASE64
        if after == i or not goes_on:
            size = i - start
            coded = slashes * BASE64_DIGITS <= size <= digits * BASE64_DIGITS
            return i, size >= BASE64_CHARACTERS and letters > 0 and coded
        i = line_start = after


@kernel
def _hex_run(data: Bytes, position: int, end: int) -> tuple[int, bool, bool]:
    """End of the run of hex items at `position`, whether it is long enough, and has escapes.

    Where no item starts, the end is the next position.
    """
    items = escapes = 0
    run_end = position + 1
    i = position
    while i < end:
        after = _after_hex_item(data, i, end)
        if after == i:
            break
        items += 1
        escapes += data[i] == 92
        run_end = after
        i = _after_blanks(data, after, end)
        separated = i > after
        i = _after_line_end(data, i, end)
        after = i
        i = _after_blanks(data, after, end)
        if i < end and data[i] != 92 and not (separated or i > after):
            break
    return run_end, items >= HEX_ITEMS, escapes > 0


@kernel
def _after_hex_item(data: Bytes, i: int, end: int) -> int:
    r"""End of `\xHH`, `\uHHHH`, `\UHHHHHHHH`, `0xHH` or `HH` at `i`; `i` where there is none."""
    digits, j = 2, i
    if data[i] == 92:
        if i + 1 == end:
            return i
        letter = data[i + 1]
        if letter == 117:  # u
            digits = 4
        elif letter == 85:  # U
            digits = 8
        elif letter != 120:  # x
            return i
        j = i + 2
    elif data[i] == 48 and i + 1 < end and data[i + 1] | 32 == 120:  # 0x or 0X
        j = i + 2
    if j + digits > end:
        return i
    for k in range(j, j + digits):
        if not CLASSES[data[k]] & HEX:
            return i
    j += digits
    ends_word = j == end or not CLASSES[data[j]] & WORD
    return j if data[i] == 92 or ends_word else i


@kernel
def _after_blanks(data: Bytes, i: int, end: int) -> int:
    while i < end and (data[i] == 32 or data[i] == 9 or data[i] == 44):  # blank, tab, comma
        i += 1
    return i


@kernel
def _after_line_end(data: Bytes, i: int, end: int) -> int:
    if i < end and data[i] == 13:
        i += 1
        return i + 1 if i < end and data[i] == 10 else i
    return i + 1 if i < end and data[i] == 10 else i
