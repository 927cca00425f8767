"""What a line of code begins with: words, an indentation, a directive, Ruby's `=begin`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel
from firnline.kernels.lexical import STARTER_FOREIGN, STARTER_HASHES
from firnline.kernels.spans import is_word, starts_with

Bytes = NDArray[np.uint8]

PROSE_WORDS = 7
"""So many small words with one blank between them are prose."""
BEGIN = np.frombuffer(b"=begin", dtype=np.uint8)
_END = np.frombuffer(b"=end", dtype=np.uint8)
_MARKERS = tuple(
    np.frombuffer(text, dtype=np.uint8)
    for text in (b"<<<<<<< ", b">>>>>>> ", b"@@ -", b"diff --git ")
)
_DIRECTIVES = tuple(np.frombuffer(text, dtype=np.uint8) for text in (b"if", b"el", b"endif"))
IF, ELSE, ENDIF = range(3)


@kernel
def words_at(data: Bytes, i: int, end: int, number: int) -> int:
    """How many words a line starts with (small letters, one blank between).

    -1 for a marker, -2 for a beginning that the language `number` does not have.
    """
    if i >= end:
        return 0
    byte = data[i]
    if byte == 60 or byte == 62 or byte == 64 or byte == 100:
        for marker in _MARKERS:
            if starts_with(data, i, end, marker):
                return -1
    while i < end and (data[i] == 32 or data[i] == 9):
        i += 1
    words = hashed = 0
    while i < end and 97 <= (data[i] | 32 if words == 0 else data[i]) <= 122:
        first = i
        i += 1
        while i < end and 97 <= data[i] <= 122:
            i += 1
        words += 1
        if (
            words == 1
            and i - first <= 10
            and i + 1 < end
            and data[i] == 32
            and is_word(data[i + 1])
        ):
            for j in range(first, i):
                hashed = (hashed * 31 + data[j]) & 0xFFFFFFFF
            place = hashed & 1023
            if STARTER_HASHES[place] == hashed and (STARTER_FOREIGN[place] >> number) & 1:
                return -2
        if words == PROSE_WORDS or i + 1 >= end or data[i] != 32:
            break
        i += 1
    return words


@kernel
def after_begin(data: Bytes, i: int, end: int) -> int:
    """The line end before the `=end` that closes Ruby's `=begin` at `i`."""
    while i < end and not (data[i] == 10 and starts_with(data, i + 1, end, _END)):
        i += 1
    return i


@kernel
def indent_of(data: Bytes, i: int, end: int) -> int:
    """The columns a line is indented by; -1 where it is blank or a comment."""
    indent = 0
    while i < end and (data[i] == 32 or data[i] == 9):
        indent = indent + 1 if data[i] == 32 else (indent // 8 + 1) * 8
        i += 1
    return indent if i < end and data[i] > 32 and data[i] != 35 else -1


@kernel
def directive_of(data: Bytes, i: int, end: int) -> int:
    """Whether `#if`, `#else` (or `#elif`), `#endif` or another one follows the `#` before `i`."""
    while i < end and (data[i] == 32 or data[i] == 9):
        i += 1
    for place in range(len(_DIRECTIVES)):
        if starts_with(data, i, end, _DIRECTIVES[place]):
            return place
    return -1
