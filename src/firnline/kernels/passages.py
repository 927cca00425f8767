"""Finding known passages in many documents: windows of words, and text equal but for white space.

A word is a run of `[A-Za-z0-9_]` and bytes from 0x80 up. Documents come as UTF-8 bytes and
`n + 1` offsets; positions are byte positions in those bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel
from firnline.kernels.shingles import BYTE_CLASSES, SPACE, WORD, finish, mix, power, roll
from firnline.languages import LANGUAGES

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Hashes = NDArray[np.uint64]

# Comment styles, as bits.
HASH, SLASHES, BLOCK, DASHES, TRIPLE, BACKTICK = 1, 2, 4, 8, 16, 32
_STYLES = {"#": HASH, "//": SLASHES, "/*": BLOCK, "--": DASHES, '"""': TRIPLE, "`": BACKTICK}

_SEED = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER = np.uint64(0xFF51AFD7ED558CCD)
_0, _1, _6, _63 = np.uint64(0), np.uint64(1), np.uint64(6), np.uint64(63)
_BACKSLASH, _NEWLINE, _BLANK = 92, 10, 32


def comment_style(language: str) -> int:
    """The bits of a language's comments; 0 where it has none that the kernels know."""
    known = LANGUAGES.get(language)
    return sum(_STYLES.get(sign, 0) for sign in known.comments) if known else 0


def sieve(hashes: Hashes) -> Hashes:
    """A bit for each hash in a power-of-two bitmap of at least eight bits a hash.

    It turns most windows away in one look-up; what it lets through is looked up in earnest.
    """
    words = 1 << max(3, len(hashes).bit_length() - 3)
    bits = np.zeros(words, dtype=np.uint64)
    np.bitwise_or.at(bits, (hashes >> _6) & np.uint64(words - 1), _1 << (hashes & _63))
    return bits


EVERYTHING = np.full(1, 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
"""A sieve that lets every window through."""


@kernel
def _words(data: Bytes, start: int, end: int, hashes: Hashes, starts: Offsets) -> int:
    """Hashes and starts of the words of data[start:end]; returns how many there are.

    No branch depends on the data: the ends of words are what a branch predictor cannot foresee.
    What is not a word leaves its mark where the next word will be.
    """
    count = 0
    word_start = start
    state = _SEED
    before = False
    for position in range(start, end):
        byte = data[position]
        inside = BYTE_CLASSES[byte] == WORD
        first = inside and not before
        word_start = position if first else word_start
        state = ((_SEED if first else state) ^ np.uint64(byte)) * _MULTIPLIER
        count += first
        place = count - inside
        hashes[place] = state
        starts[place] = word_start
        before = inside
    return count


@kernel
def word_windows(
    data: Bytes, offsets: Offsets, n: int, bits: Hashes
) -> tuple[Offsets, Offsets, Hashes]:
    """The windows of `n` consecutive words that pass the sieve `bits`, in order.

    Returns (document, start of the first word, hash), one row for each window. Punctuation and
    white space between words do not count.
    """
    longest = 0
    for document in range(len(offsets) - 1):
        longest = max(longest, offsets[document + 1] - offsets[document])
    words = np.empty(longest // 2 + 2, dtype=np.uint64)
    word_starts = np.empty(longest // 2 + 2, dtype=np.int64)
    mask = np.uint64(len(bits) - 1)
    documents = np.empty(64, dtype=np.int64)
    starts = np.empty(64, dtype=np.int64)
    hashes = np.empty(64, dtype=np.uint64)
    found = 0
    top = power(n)
    for document in range(len(offsets) - 1):
        count = _words(data, offsets[document], offsets[document + 1], words, word_starts)
        total = _0
        for word in range(count):
            words[word] = mix(words[word])
            total = roll(total, words[word], words[word - n] if word >= n else _0, top)
            if word < n - 1:
                continue
            value = finish(total)
            if not (bits[(value >> _6) & mask] >> (value & _63)) & _1:
                continue
            if found == len(hashes):
                documents = np.concatenate((documents, documents))
                starts = np.concatenate((starts, starts))
                hashes = np.concatenate((hashes, hashes))
            documents[found] = document
            starts[found] = word_starts[word - n + 1]
            hashes[found] = value
            found += 1
    return documents[:found], starts[:found], hashes[:found]


@kernel
def _after_token(data: Bytes, position: int, end: int) -> int:
    if BYTE_CLASSES[data[position]] != WORD:
        return position + 1
    while position < end and BYTE_CLASSES[data[position]] == WORD:
        position += 1
    return position


@kernel
def _next_start(data: Bytes, position: int, end: int, words_only: bool) -> int:
    while position < end:
        kind = BYTE_CLASSES[data[position]]
        if kind == WORD or (kind != SPACE and not words_only):
            break
        position += 1
    return position


@kernel
def same_passages(
    data: Bytes,
    starts: Offsets,
    stops: Offsets,
    known: Bytes,
    known_starts: Offsets,
    known_stops: Offsets,
    words: int,
) -> Offsets:
    """Where each passage ends in `data` if it is the same as the known one, else -1.

    With `words` above 0 that many words are compared and punctuation does not count; with 0 all
    tokens up to the known passage's stop are, and only white space does not count.
    """
    ends = np.full(len(starts), -1, dtype=np.int64)
    for row in range(len(starts)):
        i, j = starts[row], known_starts[row]
        compared = 0
        last = i
        while True:
            j = _next_start(known, j, known_stops[row], words > 0)
            if j == known_stops[row] or (words and compared == words):
                ends[row] = last
                break
            i = _next_start(data, i, stops[row], words > 0)
            if i == stops[row]:
                break
            last = _after_token(data, i, stops[row])
            after = _after_token(known, j, known_stops[row])
            if last - i != after - j:
                break
            same = True
            for k in range(after - j):
                if data[i + k] != known[j + k]:
                    same = False
                    break
            if not same:
                break
            i, j = last, after
            compared += 1
    return ends


@kernel
def blank_comments(data: Bytes, offsets: Offsets, styles: Bytes) -> Bytes:
    """A copy of `data` with comments overwritten by blanks; `styles` has each document's bits.

    Quotes are followed, so that a comment sign inside a string is none. A string in single or
    double quotes ends with its line at the latest, so a stray apostrophe hides one line at most.
    """
    out = data.copy()
    for document in range(len(offsets) - 1):
        style = styles[document]
        i, end = offsets[document], offsets[document + 1]
        while i < end and style:
            byte = data[i]
            following = data[i + 1] if i + 1 < end else _NEWLINE
            stop = i
            if (
                (style & HASH and byte == 35)
                or (style & SLASHES and byte == 47 and following == 47)
                or (style & DASHES and byte == 45 and following == 45)
            ):
                while stop < end and data[stop] != _NEWLINE:
                    stop += 1
            elif style & BLOCK and byte == 47 and following == 42:
                stop += 2
                while stop < end and not (
                    data[stop] == 42 and stop + 1 < end and data[stop + 1] == 47
                ):
                    stop += 1
                stop = min(stop + 2, end)
            if stop > i:
                out[i:stop] = _BLANK
                i = stop
            elif byte == 34 or byte == 39 or (style & BACKTICK and byte == 96):
                i = _after_string(data, i, end, style)
            else:
                i += 1
    return out


@kernel
def _after_string(data: Bytes, i: int, end: int, style: int) -> int:
    quote = data[i]
    triple = style & TRIPLE and i + 2 < end and data[i + 1] == quote and data[i + 2] == quote
    size = 3 if triple else 1
    i += size
    while i < end:
        if data[i] == _BACKSLASH:
            i += 2
        elif data[i] == quote:
            if not triple:
                return i + 1
            if i + 2 < end and data[i + 1] == quote and data[i + 2] == quote:
                return i + 3
            i += 1
        elif data[i] == _NEWLINE and not triple and quote != 96:
            return i
        else:
            i += 1
    return end
