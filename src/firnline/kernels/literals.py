"""Where comments, strings and other literals of source code end, language by language.

Every kernel takes the bytes of a document as `data[start:end]` and a place `i` in it, and returns
the place after what begins at `i`: `end` where it is not closed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel
from firnline.kernels.shingles import BYTE_CLASSES, WORD

Bytes = NDArray[np.uint8]

# Families of languages that are read alike.
NONE, PYTHON, C, JAVA, CSHARP, SCRIPT, GO, RUST = range(8)

_BACK = 512  # bytes: the longest look back or ahead that may be asked again at each sign


@kernel
def is_word(data: Bytes, start: int, end: int, word: bytes) -> bool:
    """Whether data[start:end] is `word`."""
    if end - start != len(word):
        return False
    for place in range(len(word)):  # noqa: SIM110  # numba compiles no generators
        if data[start + place] != word[place]:
            return False
    return True


@kernel
def is_blank(byte: int) -> bool:
    """Whether a byte parts words without ending the line."""
    return bool(byte == 32 or byte == 9 or byte == 13 or byte == 12)


@kernel
def ends_with(data: Bytes, start: int, last: int, word: bytes) -> bool:
    """Whether data[start:last + 1] ends with `word`, whole and not as a member (`x.word`)."""
    first = last + 1 - len(word)
    if first < start or not is_word(data, first, last + 1, word):
        return False
    before = data[first - 1] if first > start else 32
    return BYTE_CLASSES[before] != WORD and before != 46 and before != 36


@kernel
def significant(data: Bytes, start: int, i: int) -> int:
    """The last byte before `i` that is no blank and in no block comment; `start - 1` if none.

    Comments are followed back a little way only: each string may ask.
    """
    start = max(start, i - _BACK)
    i -= 1
    while i >= start:
        if is_blank(data[i]) or data[i] == 10:
            i -= 1
        elif data[i] == 47 and i - 3 >= start and data[i - 1] == 42:
            i -= 3
            while i > start and not (data[i] == 47 and data[i + 1] == 42):
                i -= 1
            i -= 1
        else:
            break
    return i


@kernel
def after_quote(data: Bytes, i: int, end: int, many_lines: bool) -> int:
    """After a string in plain quotes that begins at `i`; at a line's end where it is not closed."""
    quote = data[i]
    i += 1
    while i < end:
        byte = data[i]
        if byte == quote:
            return i + 1
        if byte == 92:
            i += 1
            if i + 1 < end and data[i] == 13 and data[i + 1] == 10:
                i += 1
        elif byte == 10 and not many_lines:
            return i
        i += 1
    return end


@kernel
def after_closing(data: Bytes, i: int, end: int, quote: int, count: int, escapes: bool) -> int:
    """After the next run of `count` quotes; a backslash hides the byte that follows it."""
    run = 0
    while i < end:
        if data[i] == quote:
            run += 1
            if run == count:
                return i + 1
        else:
            run = 0
            if escapes and data[i] == 92:
                i += 1
        i += 1
    return end


@kernel
def _after_raw(data: Bytes, i: int, end: int) -> int:
    """After a C++ string R"delimiter( ... )delimiter" whose quote lies at `i`."""
    stop = i + 1
    while stop < end and data[stop] != 40 and stop - i < 18:
        stop += 1
    size = stop - i - 1
    place = stop + 1
    while place + size + 1 < end:
        if data[place] == 41 and data[place + 1 + size] == 34:
            same = True
            for k in range(size):
                same &= data[place + 1 + k] == data[i + 1 + k]
            if same:
                return place + size + 2
        place += 1
    return end


@kernel
def _after_rust_string(data: Bytes, start: int, i: int, end: int) -> int:
    """After a Rust string whose quote lies at `i`: with `r##` before it, up to `"##`."""
    hashes = i
    while hashes > start and data[hashes - 1] == 35:
        hashes -= 1
    if hashes == start or data[hashes - 1] != 114:
        return after_quote(data, i, end, True)
    count = i - hashes
    place = i + 1
    while place < end:
        if data[place] == 34:
            run = 0
            while run < count and place + 1 + run < end and data[place + 1 + run] == 35:
                run += 1
            if run == count:
                return place + 1 + count
        place += 1
    return end


@kernel
def _after_rust_mark(data: Bytes, i: int, end: int) -> int:
    """After a `'` that begins a character at `i`, or after the sign alone: a lifetime."""
    if i + 1 < end and data[i + 1] == 92:
        return after_quote(data, i, end, False)
    for size in range(1, 5):
        if i + 1 + size < end and data[i + 1 + size] == 39 and (size == 1 or data[i + 1] >= 128):
            return i + size + 2
    return i + 1


@kernel
def _after_csharp_string(data: Bytes, start: int, i: int, end: int) -> int:
    """After a C# string whose first quote lies at `i`: plain, verbatim or raw."""
    marks = 0
    while i + marks < end and data[i + marks] == 34:
        marks += 1
    sign = data[i - 1] if i > start else 32
    if sign == 64 or (sign == 36 and i - 1 > start and data[i - 2] == 64):
        i = after_closing(data, i + 1, end, 34, 1, False)
        while i < end and data[i] == 34:  # a doubled quote stands for one: the string goes on
            i = after_closing(data, i + 1, end, 34, 1, False)
        return i
    if marks > 2:
        return after_closing(data, i + marks, end, 34, marks, False)
    return after_quote(data, i, end, False)


@kernel
def _parts_digits(data: Bytes, start: int, i: int, end: int) -> bool:
    """Whether the `'` at `i` parts the digits of a number, as in 1'000'000 (C++14, 5.13.2)."""
    first = i
    start = max(start, i - _BACK)
    while first > start and (BYTE_CLASSES[data[first - 1]] == WORD or data[first - 1] == 39):
        first -= 1
    return first < i and 48 <= data[first] <= 57


@kernel
def after_block(data: Bytes, i: int, end: int, nests: bool) -> int:
    """After a `/* */` comment that begins at `i`."""
    depth = 1
    i += 2
    while i + 1 < end:
        if data[i] == 42 and data[i + 1] == 47:
            depth -= 1
            i += 2
            if depth == 0:
                return i
        elif nests and data[i] == 47 and data[i + 1] == 42:
            depth += 1
            i += 2
        else:
            i += 1
    return end


@kernel
def regex_stop(data: Bytes, i: int, end: int) -> int:
    """After a JavaScript regular expression that begins at `i`; `i + 1` where none ends."""
    place = i + 1
    inside = False
    end = min(end, i + _BACK)  # what opens none, as in `a /b`, must not cost the rest of its line
    while place < end and data[place] != 10:
        byte = data[place]
        if byte == 92:
            place += 1
        elif byte == 91:
            inside = True
        elif byte == 93:
            inside = False
        elif byte == 47 and not inside:
            return place + 1
        place += 1
    return i + 1


@kernel
def regex_may_follow(data: Bytes, start: int, i: int) -> bool:
    """Whether a `/` at `i` begins a regular expression and does not divide."""
    last = significant(data, start, i)
    if last < start:
        return True
    byte = data[last]
    if BYTE_CLASSES[byte] == WORD:
        return ends_with(data, start, last, b"return") or ends_with(data, start, last, b"typeof")
    return byte not in (41, 93, 125, 36, 34, 39)


@kernel
def after_template(data: Bytes, i: int, end: int) -> int:
    """After the text of a JavaScript template from `i` on: behind its end, or behind a `${`."""
    while i < end and data[i] != 96:
        if data[i] == 92:
            i += 1
        elif data[i] == 36 and i + 1 < end and data[i + 1] == 123:
            return i + 2
        i += 1
    return min(i + 1, end)


@kernel
def after_string(data: Bytes, start: int, i: int, end: int, family: int) -> int:
    """After the string, or character, whose first quote lies at `i`."""
    byte = data[i]
    if family == CSHARP and byte == 34:
        return _after_csharp_string(data, start, i, end)
    if family == RUST:
        if byte == 39:
            return _after_rust_mark(data, i, end)
        return _after_rust_string(data, start, i, end)
    if family == C:
        if byte == 39 and _parts_digits(data, start, i, end):
            return i + 1
        if byte == 34 and i > start and data[i - 1] == 82:
            return _after_raw(data, i, end)
    triple = i + 2 < end and data[i + 1] == byte and data[i + 2] == byte
    if triple and (family == PYTHON or (family == JAVA and byte == 34)):
        return after_closing(data, i + 3, end, byte, 3, True)
    return after_quote(data, i, end, False)
