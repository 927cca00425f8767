"""Where the license header of a document ends.

Small files under one license resemble one another by its text and by little else, so shingles
leave it out. The header is what stands before the code and among it a comment that speaks of a
license or a copyright: comments, blank lines, a `#!` line, `<?php`, `<?xml ... ?>`, up to the end
of the last such comment. Lines of comment that follow each other are one comment; comments after
the last that speaks of a license (what the file is about) stay. A document without such a
comment, or with nothing else, has none.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel
from firnline.kernels.shingles import BYTE_CLASSES, SPACE
from firnline.languages import COMMENT_ENDS, LANGUAGES

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]

_LINES = ("#", "//", "--", "%", ";", "!", "'", '"', "REM", "::", "dnl")
_BLOCKS = tuple(COMMENT_ENDS)
_CLOSERS = tuple(COMMENT_ENDS.values())
_WORDS = ("copyright", "license", "licence", "spdx")

# What a header is made of; a tag is also a `#!` line.
_LINE, _BLOCK, _TAG = range(3)

# A language's bits: its signs in the order of _LINES + _BLOCKS, then these.
_TAGGED = 1 << len(_LINES + _BLOCKS)
"""The language has `<? ?>`."""
_PHP = _TAGGED << 1


def _packed(words: tuple[str, ...]) -> tuple[Bytes, Offsets]:
    """Words one after the other, and where each begins."""
    return np.frombuffer("".join(words).encode(), np.uint8), np.cumsum([0, *map(len, words)])


_SIGNS, _SIGN_STARTS = _packed(_LINES + _BLOCKS)
_ENDS, _END_STARTS = _packed(_CLOSERS)
_SPEAKING, _SPEAKING_STARTS = _packed(_WORDS)
_OPENS = np.zeros(256, dtype=np.uint8)
"""1 for the first bytes of what may stand in a header."""
_OPENS[[ord(sign[0]) for sign in (*_LINES, *_BLOCKS, "<")]] = 1
_FIRST = np.zeros(256, dtype=np.uint8)
_FIRST[[ord(case) for word in _WORDS for case in (word[0], word[0].upper())]] = 1


@cache
def header_style(language: str) -> int:
    """The bits of a language's comments; 0 for one that has none or is not listed."""
    known = LANGUAGES.get(language)
    if known is None:
        return 0
    style = sum(1 << i for i, sign in enumerate(_LINES + _BLOCKS) if sign in known.comments)
    if "<!--" in known.comments:
        style |= _TAGGED
    return style | (_PHP | _TAGGED if language == "PHP" else 0)


@kernel
def header_ends(data: Bytes, offsets: Offsets, styles: Offsets) -> Offsets:
    """Where the text of each document begins, after its header: positions in `data`.

    `styles` has each document's `header_style`.
    """
    ends = np.empty(len(offsets) - 1, dtype=np.int64)
    for document in range(len(ends)):
        start, stop = offsets[document], offsets[document + 1]
        ends[document] = start
        if styles[document]:
            ends[document] = _header_end(data, start, stop, styles[document])
    return ends


@kernel
def _header_end(data: Bytes, start: int, stop: int, style: int) -> int:
    end = i = start
    if start + 3 <= stop and data[i] == 0xEF and data[i + 1] == 0xBB and data[i + 2] == 0xBF:
        i += 3  # a byte order mark
    first = i
    speaks = False  # of a license: the lines of comment just before `i`
    while True:
        line_ends = 0
        while i < stop and BYTE_CLASSES[data[i]] == SPACE:
            line_ends += data[i] == 10
            i += 1
        if i == stop:
            return start  # nothing but comments
        after, kind = _after(data, i, stop, style, i == first)
        if after == i:
            return end
        speaks = speaks and kind == _LINE and line_ends == 1
        speaks = speaks or (kind != _TAG and _speaks(data, i, after))
        end = after if speaks else end
        speaks = speaks and kind == _LINE
        i = after


@kernel
def _after(data: Bytes, i: int, stop: int, style: int, first: bool) -> tuple[int, int]:
    """The end of the comment or tag at `i`, and which it is; `i` where there is none."""
    if not _OPENS[data[i]]:
        return i, _TAG
    following = data[i + 1] if i + 1 < stop else np.uint8(10)
    if data[i] == 35 and following == 33 and first:  # #!
        return _line_end(data, i, stop), _TAG
    if data[i] == 35 and following == 91 and style & _PHP:  # #[Attribute]
        return i, _TAG
    if data[i] == 60 and following == 63 and style & _TAGGED:
        if style & _PHP:
            while i < stop and BYTE_CLASSES[data[i]] != SPACE:
                i += 1
            return i, _TAG
        while i < stop and data[i] != 62:
            i += 1
        return min(i + 1, stop), _TAG
    for sign in range(len(_SIGN_STARTS) - 1):
        if style >> sign & 1 and _is(data, i, stop, _SIGNS, _SIGN_STARTS, sign):
            block = sign - (len(_SIGN_STARTS) - len(_END_STARTS))
            if block < 0:
                return _line_end(data, i, stop), _LINE
            i += _SIGN_STARTS[sign + 1] - _SIGN_STARTS[sign]
            while i < stop and not _is(data, i, stop, _ENDS, _END_STARTS, block):
                i += 1
            return min(i + _END_STARTS[block + 1] - _END_STARTS[block], stop), _BLOCK
    return i, _TAG


@kernel
def _line_end(data: Bytes, i: int, stop: int) -> int:
    while i < stop and data[i] != 10:
        i += 1
    return i


@kernel
def _is(data: Bytes, i: int, stop: int, words: Bytes, starts: Offsets, word: int) -> bool:
    """Whether word number `word` stands at `i`."""
    size = starts[word + 1] - starts[word]
    if i + size > stop:
        return False
    for j in range(size):  # noqa: SIM110 - a generator does not compile
        if data[i + j] != words[starts[word] + j]:
            return False
    return True


@kernel
def _speaks(data: Bytes, start: int, stop: int) -> bool:
    """Whether one of _WORDS is in data[start:stop], in any case."""
    for i in range(start, stop):
        if not _FIRST[data[i]]:
            continue
        for word in range(len(_SPEAKING_STARTS) - 1):
            size = _SPEAKING_STARTS[word + 1] - _SPEAKING_STARTS[word]
            j = 0
            while (
                j < size
                and i + j < stop
                and (data[i + j] | 32) == _SPEAKING[_SPEAKING_STARTS[word] + j]
            ):
                j += 1
            if j == size:
                return True
    return False
