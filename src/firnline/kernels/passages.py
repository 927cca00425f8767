"""The tokens of source text with their places, and which of them are comments or strings.

A token is a run of `[A-Za-z0-9_]` and bytes from 0x80 up (a word), or any other single byte that is
not ASCII white space. A text is `data[start:stop]` of a buffer of UTF-8 bytes; places count from
`start`. Callers lend the arrays, of at least `stop - start + 1` items, so that a search over many
documents allocates once.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel
from firnline.kernels.shingles import BYTE_CLASSES, SPACE, WORD
from firnline.languages import LANGUAGES

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Places = NDArray[np.int32]
Offsets = NDArray[np.int64]

# Comment styles, as bits.
HASH, SLASHES, BLOCK, DASHES, TRIPLE, BACKTICK = 1, 2, 4, 8, 16, 32
_STYLES = {"#": HASH, "//": SLASHES, "/*": BLOCK, "--": DASHES, '"""': TRIPLE, "`": BACKTICK}

# What a token is part of, as bits; the signs and quotes are parts too. A LONG string has three
# quotes, the words of a FORMATTED one may be code.
COMMENT, STRING, LONG, FORMATTED = 1, 2, 4, 8

_SEED = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER = np.uint64(0xFF51AFD7ED558CCD)
_BACKSLASH, _NEWLINE, _BACKQUOTE = 92, 10, 96


def _signs() -> Bytes:
    signs = np.zeros(256, dtype=np.uint8)
    signs[list(b"#/-\"'`")] = 1
    return signs


_SIGNS = _signs()


@cache
def comment_style(language: str) -> int:
    """The bits of a language's comments; 0 for a language that has none or is not listed."""
    known = LANGUAGES.get(language)
    return sum(_STYLES.get(sign, 0) for sign in known.comments) if known else 0


@kernel
def split(data: Bytes, start: int, stop: int, hashes: Hashes, places: Places) -> int:
    """Hashes and places of the tokens of a text; returns how many there are.

    No branch depends on the data: the ends of tokens are what a branch predictor cannot foresee.
    White space leaves its mark where the next token will be.
    """
    last = -1
    place = 0
    state = _SEED
    before = SPACE
    for position in range(start, stop):
        byte = data[position]
        kind = BYTE_CLASSES[byte]
        begins = not ((kind == SPACE) | ((kind & before) == WORD))
        place = position - start if begins else place
        state = ((_SEED if begins else state) ^ np.uint64(byte)) * _MULTIPLIER
        last += begins
        slot = last + (kind == SPACE)
        hashes[slot] = state
        places[slot] = place
        before = kind
    return last + 1


@kernel
def token_end(data: Bytes, position: int, stop: int) -> int:
    """Where the token that begins at `position` ends."""
    if BYTE_CLASSES[data[position]] != WORD:
        return position + 1
    while position < stop and BYTE_CLASSES[data[position]] == WORD:
        position += 1
    return position


@kernel
def mark(
    data: Bytes, start: int, stop: int, style: int, places: Places, count: int, kinds: Bytes
) -> bool:
    """Sets each token's kind (0 for code) and returns whether there are comments.

    Strings are followed, so that a comment sign inside one is none. A string in single or double
    quotes ends with its line at the latest, so a stray apostrophe hides one line at most. Where a
    language has no comments (`style` 0) nothing is marked.
    """
    kinds[:count] = 0
    comments = False
    token = 0
    while token < count and style:
        position = start + places[token]
        if not _SIGNS[data[position]]:
            token += 1
            continue
        kind = COMMENT
        end = _comment_end(data, position, stop, style)
        if end == position:
            end, kind = _string_end(data, start, position, stop, style)
        comments |= kind == COMMENT
        while token < count and start + places[token] < end:
            kinds[token] = kind
            token += 1
    return comments


@kernel
def _comment_end(data: Bytes, position: int, stop: int, style: int) -> int:
    """The end of the comment that begins at `position`; `position` where none does."""
    byte = data[position]
    following = data[position + 1] if position + 1 < stop else _NEWLINE
    end = position
    if (
        (style & HASH and byte == 35)
        or (style & SLASHES and byte == 47 and following == 47)
        or (style & DASHES and byte == 45 and following == 45)
    ):
        while end < stop and data[end] != _NEWLINE:
            end += 1
    elif style & BLOCK and byte == 47 and following == 42:
        end += 2
        while end < stop and not (data[end] == 42 and end + 1 < stop and data[end + 1] == 47):
            end += 1
        end = min(end + 2, stop)
    return end


@kernel
def _string_end(data: Bytes, start: int, position: int, stop: int, style: int) -> tuple[int, int]:
    """The end of the string that begins at `position`, and its kind; one byte of code if none."""
    quote = data[position]
    if not (quote == 34 or quote == 39 or (style & BACKTICK and quote == _BACKQUOTE)):
        return position + 1, 0
    kind = STRING
    prefix = data[position - 1] | 32 if position > start else 0
    if (prefix == 114) and position - 1 > start:  # fr"..."
        prefix = data[position - 2] | 32
    if prefix == 102 or quote == _BACKQUOTE:
        kind |= FORMATTED
    i = position + 1
    long = style & TRIPLE and i + 1 < stop and data[i] == quote and data[i + 1] == quote
    if long:
        kind |= LONG
        i += 2
    while i < stop:
        byte = data[i]
        if byte == _BACKSLASH:
            i += 2
        elif byte == quote:
            if not long:
                return i + 1, kind
            if i + 2 < stop and data[i + 1] == quote and data[i + 2] == quote:
                return i + 3, kind
            i += 1
        elif byte == _NEWLINE and not long and quote != _BACKQUOTE:
            return i, kind
        else:
            i += 1
    return stop, kind


@kernel
def words_of(data: Bytes, offsets: Offsets) -> tuple[Hashes, Offsets, Bytes, Offsets]:
    """All words of texts that follow each other: (hashes, starts, named, word_offsets).

    `starts` are positions in `data`. A word is `named` if it has two bytes or more and one of them
    is no digit. Text i's words are `word_offsets[i]:word_offsets[i + 1]`.
    """
    longest = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    token_hashes = np.empty(longest + 1, dtype=np.uint64)
    places = np.empty(longest + 1, dtype=np.int32)
    room = (len(data) + len(offsets)) // 2 + 1
    hashes = np.empty(room, dtype=np.uint64)
    starts = np.empty(room, dtype=np.int64)
    named = np.zeros(room, dtype=np.uint8)
    word_offsets = np.zeros(len(offsets), dtype=np.int64)
    words = 0
    for text in range(len(offsets) - 1):
        start, stop = offsets[text], offsets[text + 1]
        for token in range(split(data, start, stop, token_hashes, places)):
            position = start + places[token]
            if BYTE_CLASSES[data[position]] != WORD:
                continue
            end = token_end(data, position, stop)
            hashes[words], starts[words] = token_hashes[token], position
            for k in range(position, end):
                if end - position > 1 and not 48 <= data[k] <= 57:
                    named[words] = 1
            words += 1
        word_offsets[text + 1] = words
    return hashes[:words], starts[:words], named[:words], word_offsets


@kernel
def without_comments(data: Bytes, style: int) -> Bytes:
    """A text's tokens outside comments, from the first word on, each with a blank after it."""
    hashes = np.empty(len(data) + 1, dtype=np.uint64)
    places = np.empty(len(data) + 1, dtype=np.int32)
    kinds = np.empty(len(data) + 1, dtype=np.uint8)
    count = split(data, 0, len(data), hashes, places)
    mark(data, 0, len(data), style, places, count, kinds)
    out = np.empty(2 * len(data), dtype=np.uint8)
    size = 0
    for token in range(count):
        position = places[token]
        if kinds[token] & COMMENT or (size == 0 and BYTE_CLASSES[data[position]] != WORD):
            continue
        end = token_end(data, position, len(data))
        out[size : size + end - position] = data[position:end]
        size += end - position
        out[size] = 32
        size += 1
    return out[:size]


@kernel
def different(previous: Offsets, counted: Bytes, first: Offsets, lengths: Offsets) -> Offsets:
    """How many different values among `counted` ones each window has.

    Window w is `first[w]` and the `lengths[w] - 1` places after it; `previous` is the place before
    with the same value, or -1.
    """
    counts = np.zeros(len(first), dtype=np.int64)
    for window in range(len(first)):
        for place in range(first[window], first[window] + lengths[window]):
            counts[window] += counted[place] and previous[place] < first[window]
    return counts


def previous_place(values: Hashes) -> Offsets:
    """For each value, the place before it that has the same, or -1."""
    order = np.argsort(values, kind="stable")
    previous = np.full(len(values), -1, dtype=np.int64)
    same = values[order[1:]] == values[order[:-1]]
    previous[order[1:][same]] = order[:-1][same]
    return previous
