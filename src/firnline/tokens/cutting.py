"""Which pre-tokenizers are simple splits in a row: what each matches is a class of characters.

The class is asked of `tokenizers`, so that both follow one version of Unicode.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Members = npt.NDArray[np.bool_]  # by code point

CODE_POINTS = 0x110000
# Where code points are assigned; one stands for all of those after each range.
_ASSIGNED = ((0, 0xD800), (0xE000, 0x34001), (0xE0000, 0xE1001), (0xF0000, 0xF0001))
_PATTERN = re.compile(
    r"(?P<before>\\s\?| \?)?(?P<one>\[.+\]|\\[pP]\{\^?\w+\}|\\[dsw])(?P<runs>\+?)(?P<end>\$?)",
    re.DOTALL,
)


class Split(NamedTuple):
    """Isolates each match: one character of `members`, or a run, after one of `before` or none."""

    members: Members
    before: Members | None
    runs: bool
    to_end: bool
    """Only a run that reaches the end of its piece."""


def parts_of(pre_tokenizer: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The steps of a pre-tokenizer, in order."""
    if pre_tokenizer is None:
        return []
    if pre_tokenizer["type"] != "Sequence":
        return [pre_tokenizer]
    return [inner for part in pre_tokenizer["pretokenizers"] for inner in parts_of(part)]


def is_bytes_alone(part: Mapping[str, Any]) -> bool:
    """Whether a step only spells bytes as characters, and cuts nothing."""
    return part["type"] == "ByteLevel" and not part.get("use_regex", True)


def splits_of(parts: list[Mapping[str, Any]]) -> list[Split] | None:
    """The steps as simple splits; None where one of them is none."""
    splits: list[Split] = []
    for part in parts:
        split = _split_of(part)
        if split is None:
            return None
        # `$` is the end of a line too: only where those stand alone is it the end of a piece.
        lines = any(each.members[0x0A] and not each.runs and not each.to_end for each in splits)
        if split.to_end and not lines:
            return None
        splits.append(split)
    return splits


def _split_of(part: Mapping[str, Any]) -> Split | None:
    if part["type"] == "Digits":
        return Split(_digits(), None, not part["individual_digits"], to_end=False)
    pattern = (part.get("pattern") or {}).get("Regex")
    if part["type"] != "Split" or part["behavior"] != "Isolated" or part["invert"] or not pattern:
        return None
    found = _PATTERN.fullmatch(pattern)
    if found is None or not _is_one_class(found["one"]):
        return None
    before = members(found["before"][:-1]) if found["before"] else None
    return Split(members(found["one"]), before, bool(found["runs"]), bool(found["end"]))


def _is_one_class(pattern: str) -> bool:
    """Whether the first bracket of a class closes at its end."""
    depth = 0
    for at, character in enumerate(re.sub(r"\\.", "..", pattern, flags=re.DOTALL), 1):
        depth += (character == "[") - (character == "]")
        if depth == 0 and at < len(pattern) and pattern[0] == "[":
            return False
    return True


@cache
def members(pattern: str) -> Members:
    """Which code points a class of a regular expression holds, as `tokenizers` reads it."""
    from tokenizers import Regex, pre_tokenizers

    cut = pre_tokenizers.Split(Regex(f"(?:{pattern})+"), "removed")
    text, points = _assigned()
    inside = np.ones(len(points), dtype=np.bool_)
    for _, (begin, end) in cut.pre_tokenize_str(text):
        inside[begin:end] = False
    return _everywhere(inside, points)


@cache
def _digits() -> Members:
    """Which code points the pre-tokenizer `Digits` takes for one."""
    from tokenizers import pre_tokenizers

    text, points = _assigned()
    inside = np.zeros(len(points), dtype=np.bool_)
    runs = pre_tokenizers.Digits(individual_digits=False).pre_tokenize_str(text)
    for _, (begin, end) in runs[1::2]:  # U+0000 is none, so every second run is one of digits
        inside[begin:end] = True
    return _everywhere(inside, points)


@cache
def _assigned() -> tuple[str, npt.NDArray[np.int64]]:
    points = np.concatenate([np.arange(begin, end) for begin, end in _ASSIGNED])
    return "".join(map(chr, points)), points


def _everywhere(inside: Members, points: npt.NDArray[np.int64]) -> Members:
    """Membership of every code point: those not asked are as the last asked before them."""
    nearest = np.searchsorted(points, np.arange(CODE_POINTS), side="right") - 1
    found: Members = inside[nearest]
    return found
