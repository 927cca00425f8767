"""Known passages in many documents: n-grams of words, whole texts, and renamed runs.

Each document is read into tokens once. Windows of words and windows of tokens without names roll
over them; a sieve turns nearly all away; what it lets through is looked up, and then compared with
the known text itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from firnline.kernels.jit import kernel
from firnline.kernels.passages import (
    COMMENT,
    Bytes,
    Hashes,
    Offsets,
    Places,
    mark,
    split,
    token_end,
)
from firnline.kernels.renamed import Programs, blind_tokens, run_around
from firnline.kernels.shingles import BYTE_CLASSES, SPACE, WORD, finish, power, roll

NGRAM, WHOLE, RENAMED = 0, 1, 2

_0, _1 = np.uint64(0), np.uint64(1)
_LOW, _6 = np.uint64(63), np.uint64(6)
_SECOND, _BLOCK = np.uint64(12), np.uint64(18)
_TOP = np.uint64(48)
DIRECTORY = 1 << 16


class Table(NamedTuple):
    """Hashes of known windows, ascending, behind a sieve; entry e is the e-th hash."""

    sieve: Hashes
    hashes: Hashes
    directory: Offsets
    """Where the hashes with given upper 16 bits begin; one more than there are such bits."""


class Passages(NamedTuple):
    """What documents are searched for."""

    ngram: int
    table: Table
    """Windows of `ngram` words."""
    ngrams: Places
    """For each entry, where an n-gram begins in `text`; -1 where it is none."""
    text: Bytes
    wholes: Places
    """For each entry, its first whole text; texts of one entry follow each other."""
    whole_starts: Offsets
    whole_stops: Offsets
    whole_text: Bytes
    """Texts without comments; each starts with a word."""
    blind_table: Table
    """Windows of `programs.window` tokens without names."""
    blind_first: Offsets
    """For each blind entry, its first place; places of one entry follow each other."""
    blind_units: Offsets
    blind_places: Offsets
    """The unit of a place, and the place in `programs.tokens`."""
    programs: Programs


def table(hashes: Hashes) -> Table:
    """A table of hashes that ascend and differ. The sieve has at least eight bits for each."""
    words = 1 << max(3, len(hashes).bit_length() - 3)
    sieve = np.zeros(words, dtype=np.uint64)
    bits = (_1 << (hashes & _LOW)) | (_1 << ((hashes >> _6) & _LOW))
    bits |= _1 << ((hashes >> _SECOND) & _LOW)
    np.bitwise_or.at(sieve, (hashes >> _BLOCK) & np.uint64(words - 1), bits)
    edges = np.arange(DIRECTORY, dtype=np.uint64) << _TOP
    directory = np.append(np.searchsorted(hashes, edges), len(hashes)).astype(np.int64)
    return Table(sieve, hashes, directory)


@kernel
def sift(
    values: Hashes, count: int, n: int, first: int, sieve: Hashes, places: Places, out: Hashes
) -> int:
    """The windows of `n` of values[:count] that may be known, from those that begin at `first` on.

    Writes where they begin into `places` and their hashes into `out`; returns how many.
    """
    mask = np.uint64(len(sieve) - 1)
    top = power(n)
    found = 0
    total = _0
    for place in range(first, min(first + n - 1, count)):
        total = roll(total, values[place], _0, top)
    for place in range(first + n - 1, count):
        total = roll(total, values[place], values[place - n] if place >= first + n else _0, top)
        value = finish(total)
        bits = sieve[(value >> _BLOCK) & mask]
        both = (bits >> (value & _LOW)) & (bits >> ((value >> _6) & _LOW))
        places[found] = place - n + 1
        out[found] = value
        found += int(both & (bits >> ((value >> _SECOND) & _LOW)) & _1)
    return found


@kernel
def resolve(hashes: Hashes, directory: Offsets, places: Places, values: Hashes, count: int) -> int:
    """Keeps those of `count` windows that are known; their hashes give way to their entries."""
    found = 0
    for window in range(count):
        top = int(values[window] >> _TOP)
        for entry in range(directory[top], directory[top + 1]):
            if hashes[entry] == values[window]:
                places[found] = places[window]
                values[found] = np.uint64(entry)
                found += 1
                break
    return found


@kernel
def _windows(
    values: Hashes, count: int, n: int, first: int, known: Table, places: Places, entries: Hashes
) -> int:
    """The known windows of `n` of values[:count], from those that begin at `first` on.

    Writes where they begin into `places` and their entries into `entries`; returns how many.
    """
    found = sift(values, count, n, first, known.sieve, places, entries)
    return resolve(known.hashes, known.directory, places, entries, found)


class Text(NamedTuple):
    """One document in pieces: its bytes and tokens, and room for what is made of them."""

    data: Bytes
    start: int
    stop: int
    hashes: Hashes
    places: Places
    kinds: Bytes
    values: Hashes
    origins: Places
    """Hashes of what is compared (words, or what is no formatting), and the token of each."""
    tokens: int


class Room(NamedTuple):
    """Room to work in, as long as the longest document."""

    entries: Hashes
    places: Places
    """Windows found."""
    values: Hashes
    gaps: Bytes


@kernel
def _add(hits: Offsets, found: int, kind: int, entry: int, start: int, stop: int) -> Offsets:
    if found == len(hits):
        hits = np.concatenate((hits, hits))
    hits[found, 1], hits[found, 2] = kind, entry
    hits[found, 3], hits[found, 4] = start, stop
    return hits


@kernel
def _same_token(data: Bytes, i: int, stop: int, known: Bytes, j: int, known_stop: int) -> int:
    """Where the token at `i` ends if it is the same as the known one at `j`, else -1."""
    end, known_end = token_end(data, i, stop), token_end(known, j, known_stop)
    if end - i != known_end - j:
        return -1
    for k in range(end - i):
        if data[i + k] != known[j + k]:
            return -1
    return end


@kernel
def same_words(text: Text, word: int, last: int, known: Bytes, j: int, n: int) -> int:
    """Where `n` words from number `word` (of `last`) end if they are those at known[j], else -1."""
    end = -1
    if word + n > last:
        return -1
    for k in range(word, word + n):
        while j < len(known) and BYTE_CLASSES[known[j]] != WORD:
            j += 1
        if j == len(known):
            return -1
        i = text.start + text.places[text.origins[k]]
        end = _same_token(text.data, i, text.stop, known, j, len(known))
        if end < 0:
            return -1
        j += end - i
    return end


@kernel
def same_whole(text: Text, token: int, known: Bytes, j: int, known_stop: int) -> int:
    """Where known[j:known_stop] ends if it begins at a token and only comments differ, else -1."""
    end = -1
    while True:
        while j < known_stop and BYTE_CLASSES[known[j]] == SPACE:
            j += 1
        if j == known_stop:
            return end
        while token < text.tokens and text.kinds[token] & COMMENT:
            token += 1
        if token == text.tokens:
            return -1
        i = text.start + text.places[token]
        end = _same_token(text.data, i, text.stop, known, j, known_stop)
        if end < 0:
            return -1
        j += end - i
        token += 1


@kernel
def _look_up(
    text: Text,
    word: int,
    last: int,
    entry: int,
    whole_only: bool,
    known: Passages,
    hits: Offsets,
    found: int,
) -> tuple[Offsets, int]:
    """Adds what a window of words begins: an n-gram, whole texts."""
    token = text.origins[word]
    start = text.start + text.places[token]
    if known.ngrams[entry] >= 0 and not whole_only:
        end = same_words(text, word, last, known.text, known.ngrams[entry], known.ngram)
        if end >= 0:
            hits = _add(hits, found, NGRAM, entry, start, end)
            found += 1
    if text.kinds[token] & COMMENT:
        return hits, found
    for whole in range(known.wholes[entry], known.wholes[entry + 1]):
        end = same_whole(
            text, token, known.whole_text, known.whole_starts[whole], known.whole_stops[whole]
        )
        if end >= 0:
            hits = _add(hits, found, WHOLE, whole, start, end)
            found += 1
    return hits, found


@kernel
def _find_words(
    text: Text, comments: bool, room: Room, known: Passages, hits: Offsets, found: int
) -> tuple[Offsets, int]:
    n = known.ngram
    words, origins = text.values, text.origins
    count = _words(text.data, text.start, text.hashes, text.places, text.tokens, words, origins)
    for window in range(_windows(words, count, n, 0, known.table, room.places, room.entries)):
        first, entry = room.places[window], int(room.entries[window])
        hits, found = _look_up(text, first, count, entry, False, known, hits, found)
    if not comments:
        return hits, found
    # Whole texts without comments: the windows that are left are those that a comment cut.
    count = _code_words(text.kinds, words, origins, count, room.gaps)
    checked = 0
    for place in range(1, count):
        if not room.gaps[place]:
            continue
        first = max(checked, place - n + 1)
        last = min(count, place + n - 1)
        checked = place
        for window in range(
            _windows(words, last, n, first, known.table, room.places, room.entries)
        ):
            start, entry = room.places[window], int(room.entries[window])
            hits, found = _look_up(text, start, count, entry, True, known, hits, found)
    return hits, found


@kernel
def _words(
    data: Bytes,
    start: int,
    hashes: Hashes,
    places: Places,
    tokens: int,
    words: Hashes,
    origins: Places,
) -> int:
    count = 0
    for token in range(tokens):
        words[count] = hashes[token]
        origins[count] = token
        count += BYTE_CLASSES[data[start + places[token]]] == WORD
    return count


@kernel
def _code_words(kinds: Bytes, words: Hashes, origins: Places, count: int, gaps: Bytes) -> int:
    """Leaves out words in comments, in place; `gaps` says before which others they were."""
    code = 0
    gap = False
    for word in range(count):
        comment = kinds[origins[word]] & COMMENT
        words[code] = words[word]
        origins[code] = origins[word]
        gaps[code] = gap or comment
        gap = gaps[code] and comment
        code += not comment
    return code


@kernel
def _find_renamed(
    text: Text, room: Room, known: Passages, hits: Offsets, found: int
) -> tuple[Offsets, int]:
    programs = known.programs
    tokens = text.values
    count = blind_tokens(
        text.data,
        text.start,
        text.hashes,
        text.places,
        text.kinds,
        text.tokens,
        programs.fixed,
        tokens,
        room.values,
        text.origins,
    )
    n = programs.window
    table = known.blind_table
    for window in range(_windows(room.values, count, n, 0, table, room.places, room.entries)):
        entry = int(room.entries[window])
        for place in range(known.blind_first[entry], known.blind_first[entry + 1]):
            unit = known.blind_units[place]
            begin, end = run_around(
                tokens, count, room.places[window], programs, unit, known.blind_places[place]
            )
            if begin >= 0:
                start = text.start + text.places[text.origins[begin]]
                final = text.start + text.places[text.origins[end - 1]]
                stop = token_end(text.data, final, text.stop)
                hits = _add(hits, found, RENAMED, unit, start, stop)
                found += 1
    return hits, found


@kernel
def search(data: Bytes, starts: Offsets, stops: Offsets, styles: Bytes, known: Passages) -> Offsets:
    """Every known passage in data[starts[i]:stops[i]], one row for each.

    A row is (i, kind, number, start, stop). The number is that of an entry, of a whole text, of a
    unit; start and stop are positions in `data`. `styles` are the comment bits of each text.
    """
    longest = 0
    for number in range(len(starts)):
        longest = max(longest, stops[number] - starts[number])
    hashes = np.empty(longest + 1, dtype=np.uint64)
    places = np.empty(longest + 1, dtype=np.int32)
    kinds = np.empty(longest + 1, dtype=np.uint8)
    values = np.empty(longest + 1, dtype=np.uint64)
    origins = np.empty(longest + 1, dtype=np.int32)
    room = Room(
        np.empty(longest + 1, dtype=np.uint64),
        np.empty(longest + 1, dtype=np.int32),
        np.empty(longest + 1, dtype=np.uint64),
        np.empty(longest + 1, dtype=np.uint8),
    )
    hits = np.empty((64, 5), dtype=np.int64)
    found = 0
    for number in range(len(starts)):
        start, stop = starts[number], stops[number]
        count = split(data, start, stop, hashes, places)
        comments = mark(data, start, stop, styles[number], places, count, kinds)
        text = Text(data, start, stop, hashes, places, kinds, values, origins, count)
        before = found
        if len(known.table.hashes):
            hits, found = _find_words(text, comments, room, known, hits, found)
        if len(known.blind_table.hashes):
            hits, found = _find_renamed(text, room, known, hits, found)
        hits[before:found, 0] = number
    return hits[:found]
