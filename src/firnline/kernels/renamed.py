"""Runs of tokens that are equal up to a consistent renaming of identifiers.

Two runs of one length are alike if the tokens that are no names are equal, and the names of one
map one to one to the names of the other (Baker, "Parameterized pattern matching", 1996). What
formatters add and take away is left out: comments, strings in three quotes, parentheses, commas,
semicolons, quotes and backslashes.

A name is a word that is not in `fixed` (keywords, builtins), does not begin with a digit, does not
follow a full stop, and is not inside a string. A token is one uint64: its hash with the lowest bit
set if it is a name.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from firnline.kernels.jit import kernel
from firnline.kernels.passages import (
    COMMENT,
    FORMATTED,
    LONG,
    STRING,
    Bytes,
    Hashes,
    Offsets,
    Places,
    mark,
    split,
)
from firnline.kernels.shingles import BYTE_CLASSES, WORD, contains, finish, roll

NAME = np.uint64(1)
_0 = np.uint64(0)
_FULL_STOP = 46


class Programs(NamedTuple):
    """Known programs as runs of tokens to look for.

    Unit u is `tokens[starts[u]:stops[u]]`; any `lengths[u]` consecutive tokens of it that are alike
    count if `telling` is set at the first of them. Units overlap. The windows that are indexed lie
    so that each telling run holds one.
    """

    fixed: Hashes
    """Open-addressing table of the words that are no names."""
    window: int
    tokens: Hashes
    starts: Offsets
    stops: Offsets
    lengths: Offsets
    telling: Bytes
    """For each of `tokens`, whether a telling run begins there."""


def _left_out() -> Bytes:
    table = np.zeros(256, dtype=np.uint8)
    table[list(b"(),;\"'`\\")] = 1
    return table


_LEFT_OUT = _left_out()


@kernel
def blind(token: np.uint64) -> np.uint64:
    """The token, with 1 for any name."""
    return NAME if token & NAME else token


@kernel
def blind_tokens(
    data: Bytes,
    start: int,
    hashes: Hashes,
    places: Places,
    kinds: Bytes,
    count: int,
    fixed: Hashes,
    out: Hashes,
    blinded: Hashes,
    origins: Places,
) -> int:
    """Writes the tokens to compare into `out`, and what they are from into `origins`.

    `blinded` has them with all names as one. Returns how many there are.

    `hashes`, `places` and `kinds` are those of `firnline.kernels.passages`.
    """
    mask = np.uint64(len(fixed) - 1)
    kept = 0
    before = 0
    for token in range(count):
        kind = kinds[token]
        byte = data[start + places[token]]
        if _LEFT_OUT[byte] or kind & (COMMENT | LONG):
            continue
        value = hashes[token] & ~NAME
        literal = (kind & STRING) and not kind & FORMATTED
        name = BYTE_CLASSES[byte] == WORD and not (48 <= byte <= 57) and not literal
        if name and before != _FULL_STOP and not contains(fixed, mask, value):
            value |= NAME
        out[kept] = value
        blinded[kept] = blind(value)
        origins[kept] = token
        kept += 1
        before = byte
    return kept


@kernel
def alike(left: Hashes, i: int, right: Hashes, j: int, length: int) -> bool:
    """Whether left[i:i + length] and right[j:j + length] are equal up to a one-to-one renaming."""
    names = np.empty(length, dtype=np.uint64)
    others = np.empty(length, dtype=np.uint64)
    known = 0
    for k in range(length):
        a, b = left[i + k], right[j + k]
        if blind(a) != blind(b):
            return False
        if not a & NAME:
            continue
        place = 0
        while place < known and names[place] != a and others[place] != b:
            place += 1
        if place == known:
            names[place], others[place] = a, b
            known += 1
        elif names[place] != a or others[place] != b:
            return False
    return True


@kernel
def run_around(
    tokens: Hashes, count: int, i: int, known: Programs, unit: int, j: int
) -> tuple[int, int]:
    """The runs of a text that are alike the unit's and hold the window at `i`, known at `j`.

    Returns the first token of the first and the end of the last one, (-1, -1) if there is none.
    """
    length = known.lengths[unit]
    first, last = i, i + known.window
    lowest, highest = known.starts[unit], known.stops[unit]
    shift = j - i
    if last > count:
        return -1, -1
    for k in range(i, last):
        if blind(tokens[k]) != blind(known.tokens[k + shift]):
            return -1, -1
    # No run reaches beyond the tokens that are equal when all names are one.
    while first > max(0, lowest - shift, last - length) and blind(tokens[first - 1]) == blind(
        known.tokens[first - 1 + shift]
    ):
        first -= 1
    while last < min(count, highest - shift, i + length) and blind(tokens[last]) == blind(
        known.tokens[last + shift]
    ):
        last += 1
    begin, end = -1, -1
    for k in range(first, last - length + 1):
        if known.telling[k + shift] and alike(tokens, k, known.tokens, k + shift, length):
            begin = k if begin < 0 else begin
            end = k + length
    return begin, end


@kernel
def read_blind(data: Bytes, style: int, fixed: Hashes) -> Hashes:
    """The tokens of a text that are compared."""
    hashes = np.empty(len(data) + 1, dtype=np.uint64)
    places = np.empty(len(data) + 1, dtype=np.int32)
    kinds = np.empty(len(data) + 1, dtype=np.uint8)
    tokens = np.empty(len(data) + 1, dtype=np.uint64)
    count = split(data, 0, len(data), hashes, places)
    mark(data, 0, len(data), style, places, count, kinds)
    origins = np.empty(len(data) + 1, dtype=np.int32)
    kept = blind_tokens(
        data, 0, hashes, places, kinds, count, fixed, tokens, hashes.copy(), origins
    )
    return tokens[:kept].copy()


@kernel
def run_hashes(tokens: Hashes, first: Offsets, lengths: Offsets) -> Hashes:
    """The hash of each run of `lengths[r]` tokens from `first[r]`, in which all names are one."""
    out = np.empty(len(first), dtype=np.uint64)
    for run in range(len(first)):
        total = _0
        for place in range(first[run], first[run] + lengths[run]):
            total = roll(total, blind(tokens[place]), _0, _0)
        out[run] = finish(total)
    return out
