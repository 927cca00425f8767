"""Where comments, strings, characters, regular expressions and here-documents end.

Each function takes the UTF-8 bytes of a document and a place in them; `end` is where the document
ends, `start` where it starts, `bits` its language (`firnline.kernels.lexical`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel
from firnline.kernels.lexical import (
    BACKTICK,
    BLANK_HASH,
    BLOCK,
    DASHES,
    DOLLAR,
    HASH,
    HASHED_RAW,
    LONG,
    LUA,
    NESTED,
    PAREN,
    POUND,
    SLASHES,
    TAGGED,
    VERBATIM,
)
from firnline.kernels.literals import regex_stop

Bytes = NDArray[np.uint8]

CLOSED, LINE_END, OPENED, CUT = range(4)
"""Why a string ends: closed; its line ended; code follows inside it; its document ended."""

_AFTER_VALUE = np.zeros(256, dtype=np.uint8)
"""1 for the bytes after which a slash starts a regular expression."""
_AFTER_VALUE[list(b"(,=:[!&|?{;+-*%~^\n")] = 1
_WORDS_BEFORE_REGEX = tuple(
    b"return typeof case in of if unless and or when while until not else then void".split()
)
_REGEX_WORDS = np.frombuffer(b"".join(_WORDS_BEFORE_REGEX), dtype=np.uint8)
_REGEX_BOUNDS = np.cumsum([0, *map(len, _WORDS_BEFORE_REGEX)])


@kernel
def is_word(byte: int) -> bool:
    """A letter, digit or underscore, or a byte of a character beyond ASCII."""
    return 97 <= byte | 32 <= 122 or 48 <= byte <= 57 or byte == 95 or byte >= 128


@kernel
def starts_with(data: Bytes, i: int, end: int, word: Bytes) -> bool:
    """Whether `word` lies at `i` in `data`, whole before `end`."""
    if i + len(word) > end:
        return False
    for j in range(len(word)):  # noqa: SIM110 - a generator does not compile
        if data[i + j] != word[j]:
            return False
    return True


@kernel
def after_string(
    data: Bytes, i: int, end: int, quote: int, size: int, bits: int
) -> tuple[int, int]:
    """Where a string's inside from `i` ends, and why: closed, at a line's end, opened, cut off.

    Opened means that code follows inside the string, from the returned place.
    """
    escapes = not ((quote == 96 and not bits & DOLLAR) or (quote == 39 and bits & BLANK_HASH))
    long = size == 3 or bits & LONG or quote == 96
    dollar = bits & DOLLAR and (quote == 96 or not bits & BACKTICK)
    while i < end:
        byte = data[i]
        if byte == quote:
            if size == 1:
                return i + 1, CLOSED
            if i + 2 < end and data[i + 1] == quote and data[i + 2] == quote:
                return i + 3, CLOSED
        elif byte == 92 and escapes:
            i += 1
            if i + 1 < end and data[i] == 13 and data[i + 1] == 10:
                i += 1
        elif byte == 10 and not long:
            return i, LINE_END
        elif i + 1 < end and quote != 39 and (byte == 36 or byte == 35):
            following = data[i + 1]
            if following == 123 and ((byte == 36 and dollar) or (byte == 35 and bits & POUND)):
                return i + 2, OPENED
            if following == 40 and byte == 36 and bits & PAREN:
                return i + 2, OPENED
        i += 1
    return end, CUT


@kernel
def after_raw(data: Bytes, start: int, i: int, end: int, bits: int) -> int:
    """The end of the raw string whose quote is at `i`; `i` where the quote starts none."""
    if bits & VERBATIM:
        at = i - 1
        if at > start and data[at] == 36:
            at -= 1
        if at < start or data[at] != 64:
            return i
        j = i + 1
        while j < end:
            if data[j] == 34:
                if j + 1 == end or data[j + 1] != 34:
                    return j + 1
                j += 1
            j += 1
        return end
    if bits & HASHED_RAW:  # r#"..."#
        at = i - 1
        while at >= start and data[at] == 35:
            at -= 1
        signs = i - 1 - at
        if (
            at < start
            or data[at] != 114
            or (at > start and is_word(data[at - 1]) and data[at - 1] != 98)
        ):
            return i
        j = i + 1
        while j < end:
            if data[j] == 34:
                k = 0
                while k < signs and j + 1 + k < end and data[j + 1 + k] == 35:
                    k += 1
                if k == signs:
                    return j + 1 + k
            j += 1
        return end
    if i == start or data[i - 1] != 82:  # R"delimiter(...)delimiter"
        return i
    j = i + 1
    while j < end and j - i <= 17 and data[j] != 40:
        j += 1
    size = j - i - 1
    if j == end or data[j] != 40:
        return i
    j += 1
    while j + size + 1 < end:
        if data[j] == 41 and data[j + size + 1] == 34:
            k = 0
            while k < size and data[j + 1 + k] == data[i + 1 + k]:
                k += 1
            if k == size:
                return j + size + 2
        j += 1
    return end


@kernel
def after_character(data: Bytes, i: int, end: int, lifetimes: bool) -> int:
    """The end of the character literal at the quote `i`; `i` where there is none."""
    if i + 2 >= end or data[i + 1] == 10:
        return i
    if data[i + 1] == 92:
        for j in range(i + 3, min(i + 14, end)):
            if data[j] == 39:
                return j + 1
            if data[j] == 10:
                break
        return i
    first = data[i + 1]
    size = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if i + 1 + size < end and data[i + 1 + size] == 39:
        return i + 2 + size
    if lifetimes:
        return i
    for j in range(i + 1, min(i + 10, end)):  # 'abcd' in C is an int
        if data[j] == 39:
            return j + 1
        if not is_word(data[j]):
            break
    return i


@kernel
def after_regex(data: Bytes, start: int, i: int, end: int, bits: int) -> int:
    """The end of the regular expression at the slash `i`; `i` where it divides."""
    before = i - 1
    while before >= start and (data[before] == 32 or data[before] == 9):
        before -= 1
    if before >= start and not _AFTER_VALUE[data[before]]:
        if not is_word(data[before]):
            return i
        word = before
        while word >= start and before - word < 8 and is_word(data[word]):
            word -= 1
        following = data[i + 1] if i + 1 < end else np.uint8(32)
        spaced = bits & POUND and before < i - 1 and following != 32 and following != 61
        known = False
        for place in range(len(_REGEX_BOUNDS) - 1):
            size = _REGEX_BOUNDS[place + 1] - _REGEX_BOUNDS[place]
            if before - word == size and starts_with(
                data, word + 1, end, _REGEX_WORDS[_REGEX_BOUNDS[place] : _REGEX_BOUNDS[place + 1]]
            ):
                known = True
        if not (spaced or known):
            return i
    stop = regex_stop(data, i, end)
    return stop if stop > i + 1 else i


@kernel
def after_percent(data: Bytes, start: int, i: int, end: int) -> int:
    """The end of Ruby's `%w[...]` and its like at `i`; `i` where the sign divides."""
    before = i - 1
    while before >= start and data[before] == 32:
        before -= 1
    value = is_word(data[before]) or data[before] == 41 or data[before] == 93
    if before == i - 1 and before >= start and value:
        return i
    j = i + 1
    if j < end and 97 <= data[j] | 32 <= 122:
        j += 1
    if j >= end or is_word(data[j]) or data[j] <= 32 or data[j] == 61:
        return i
    opener = data[j]
    closer = opener
    if opener == 40:
        closer = np.uint8(41)
    elif opener == 91 or opener == 123:
        closer = np.uint8(opener + 2)
    elif opener == 60:
        closer = np.uint8(62)
    elif opener != 124 and opener != 33 and opener != 47 and opener != 45:
        return i
    depth = 0
    while j < end:
        if data[j] == 92:
            j += 1
        elif data[j] == closer and (depth > 0 or closer != opener):
            depth -= 1
            if depth <= 0:
                return j + 1
        elif data[j] == opener:
            depth += 1
        j += 1
    return i


@kernel
def heredoc_word(data: Bytes, i: int, end: int, bits: int) -> tuple[int, int]:
    """Start and end of the word that ends the here-document opened at `<<`; equal for none."""
    j = i + 2
    dashed = False
    if bits & TAGGED:
        if j >= end or data[j] != 60:
            return i, i
        j += 1
    while j < end and (data[j] == 45 or data[j] == 126):
        dashed = True
        j += 1
    while j < end and data[j] == 32 and not bits & POUND:
        j += 1
    quoted = j < end and (data[j] == 34 or data[j] == 39 or data[j] == 92)
    if quoted:
        j += 1
    word = j
    while j < end and is_word(data[j]):
        j += 1
    capital = word < end and (65 <= data[word] <= 90 or data[word] == 95)
    if j == word or 48 <= data[word] <= 57 or (bits & POUND and not (dashed or capital)):
        return i, i
    return word, j


@kernel
def after_heredoc(data: Bytes, i: int, end: int, word: int, word_end: int) -> int:
    """The newline after the here-document that starts with the line at `i`; -1 where it is none."""
    size = word_end - word
    while i < end:
        j = i
        while j < end and (data[j] == 32 or data[j] == 9):
            j += 1
        k = 0
        while k < size and j + k < end and data[j + k] == data[word + k]:
            k += 1
        if k == size and (j + k == end or not is_word(data[j + k])):
            return j + k
        while j < end and data[j] != 10:
            j += 1
        i = j + 1
    return -1


@kernel
def after_open_tag(data: Bytes, i: int, end: int) -> int:
    """The place after the next `<?` that opens PHP."""
    while i + 1 < end:
        if data[i] == 60 and data[i + 1] == 63:
            return i + 2
        i += 1
    return end


@kernel
def after_comment(data: Bytes, start: int, i: int, end: int, bits: int) -> int:
    """The end of the comment at `i`; `i` where none starts."""
    byte = data[i]
    following = data[i + 1] if i + 1 < end else np.uint8(10)
    line = 0
    if byte == 35:
        line = 0 if bits & TAGGED and following == 91 else bits & HASH
        if bits & BLANK_HASH and i > start:
            before = data[i - 1]
            line = line if before <= 32 or before == 59 or before == 40 else 0
    elif byte == 45 and following == 45 and bits & DASHES:
        line = DASHES
        if bits & LUA and i + 3 < end and data[i + 2] == 91 and data[i + 3] == 91:
            j = i + 4
            while j + 1 < end and not (data[j] == 93 and data[j + 1] == 93):
                j += 1
            return min(j + 2, end)
    elif byte == 47 and following == 47:
        line = bits & SLASHES
    elif byte == 47 and following == 42 and bits & BLOCK:
        depth = 1
        j = i + 2
        while j < end:
            if data[j] == 42 and j + 1 < end and data[j + 1] == 47:
                depth -= 1
                j += 2
                if depth == 0:
                    return j
            elif bits & NESTED and data[j] == 47 and j + 1 < end and data[j + 1] == 42:
                depth += 1
                j += 2
            else:
                j += 1
        return end
    if not line:
        return i
    j = i
    while j < end and data[j] != 10:
        if bits & TAGGED and data[j] == 63 and j + 1 < end and data[j + 1] == 62:
            break
        j += 1
    return j
