"""Finding secrets: all rules at once over the bytes of a document, then each one where it struck.

Hyperscan looks for the anchors of all rules in one pass, at about the speed of memory. Where an
anchor ends, the rule's own pattern is matched by RE2 in a window around it, and its judge looks at
what was found. Both engines take time linear in the text, whatever the pattern, so a rule that a
user writes cannot hang a run.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import hyperscan
import re2

from firnline.curate.secret_rules import BLOCKS, CONTEXTS, PERSONAL, Rule
from firnline.errors import FirnlineError

_PIECE_BYTES = 1 << 30  # hyperscan counts bytes in 32 bits
_OVERLAP_BYTES = 1 << 16
_LONGEST_BYTES = 1 << 16


@dataclass(frozen=True)
class Finding:
    """One secret: its kind and the spans of bytes that hold it, in order, in its document."""

    kind: str
    rank: int
    spans: tuple[tuple[int, int], ...]

    @property
    def start(self) -> int:
        return self.spans[0][0]

    @property
    def end(self) -> int:
        return self.spans[-1][1]


@functools.lru_cache(maxsize=8)
def scanner(rules: tuple[Rule, ...]) -> Scanner:
    """The scanner for these rules, compiled (0.3 s) the first time in a process."""
    return Scanner(rules)


class Scanner:
    """Finds what a set of rules describes. Threads share the database; each has scratch space.

    Raises FirnlineError, naming every rule at fault, for patterns that cannot be compiled.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        mistakes = []
        self._patterns: list[Any] = []
        for rule in self.rules:
            try:
                self._patterns.append(compile_pattern(rule.pattern))
            except re2.error as error:
                mistakes.append(f"{rule.kind}: {_reason(error)}")
        self._groups = [pattern.groups for pattern in self._patterns]
        self._scratch = threading.local()
        mistakes += [] if mistakes else self._build()
        if mistakes:
            raise FirnlineError(
                "these patterns for secrets cannot be compiled",
                mend="patterns are RE2 syntax: no look-around, no back-references",
                details=tuple(mistakes),
            )

    def _build(self) -> list[str]:
        """Compiles the anchors into one database; returns what is wrong with them, by rule."""
        anchors = [_translate(rule.anchor or rule.pattern) for rule in self.rules]
        flags = hyperscan.HS_FLAG_PREFILTER | hyperscan.HS_FLAG_MULTILINE
        try:
            self._database = _database(anchors, flags)
        except hyperscan.error:
            mistakes = []
            for rule, anchor in zip(self.rules, anchors, strict=True):
                try:
                    _database([anchor], flags)
                except hyperscan.error as error:
                    mistakes.append(f"{rule.kind}: {_reason(error)}")
            return mistakes or ["together they are too large for one database"]
        return []

    def find(self, text: memoryview) -> list[Finding]:
        """The secrets of one document, in order, without overlaps."""
        windows = self._windows(text)
        if not windows:
            return []
        document = bytes(text)
        found = []
        for number, intervals in windows.items():
            for low, high in intervals:
                found += self._match(number, document, low, high)
        return _disjoint(found)

    def _windows(self, text: memoryview) -> dict[int, list[list[int]]]:
        """For each rule that struck, the intervals to look at; they do not overlap."""
        windows: dict[int, list[list[int]]] = {}
        offset = 0

        def struck(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            reach = self.rules[number].reach
            low, high = offset + end - reach, offset + end + reach
            intervals = windows.setdefault(number, [])
            if intervals and low <= intervals[-1][1]:
                intervals[-1][1] = max(high, intervals[-1][1])
            else:
                intervals.append([max(0, low), high])

        scratch = getattr(self._scratch, "own", None)
        if scratch is None:
            scratch = self._scratch.own = hyperscan.Scratch(self._database)
        for offset in range(0, max(1, len(text)), _PIECE_BYTES - _OVERLAP_BYTES):
            piece = text[offset : offset + _PIECE_BYTES]
            self._database.scan(piece, match_event_handler=struck, scratch=scratch)
        return windows

    def _match(self, number: int, document: bytes, low: int, high: int) -> list[Finding]:
        rule, pattern, groups = self.rules[number], self._patterns[number], self._groups[number]
        found = []
        position, high = low, min(high, len(document))
        while position < high and (match := pattern.search(document, position, high)):
            if match.end() == high < min(len(document), match.start() + _LONGEST_BYTES):
                high = min(2 * high - match.start(), len(document))  # it may go on: look further
                continue
            start, end = match.span(rule.group or _first_group(match, groups))
            spans = rule.judge(document, start, end)
            if spans:
                found.append(Finding(rule.kind, rule.rank, tuple(spans)))
            elif rule.rank == CONTEXTS:
                end = start  # name = "other = 'secret'": the value may hold one itself
            position = max(end, match.start() + 1)
        return found


def _first_group(match: Any, groups: int) -> int:
    return next((group for group in range(1, groups + 1) if match.start(group) >= 0), 0)


def _disjoint(found: list[Finding]) -> list[Finding]:
    """The findings in order, one for each stretch of text that several have seen."""
    kept: list[Finding] = []
    stretch: list[Finding] = []
    end = 0
    for each in sorted(found, key=lambda each: each.start):
        if each.start >= end:
            kept += _settled(stretch)
            stretch = []
        stretch.append(each)
        end = max(end, each.end)
    return kept + _settled(stretch)


def _settled(rivals: list[Finding]) -> list[Finding]:
    """Of findings that overlap the one of smallest rank, then the longest, then the first.

    What a loser covers beyond the winner goes into the winner, unless the loser is an address or
    the winner a key block: no part of a secret may stay because another rule saw less of it.
    """
    if len(rivals) < 2:
        return rivals
    kept: list[Finding] = []
    for each in sorted(rivals, key=lambda each: (each.rank, each.start - each.end, each.start)):
        hit = [k for k in kept if each.start < k.end and k.start < each.end]
        if not hit:
            kept.append(each)
        elif (
            each.rank < PERSONAL
            and hit[0].rank > BLOCKS
            and any(each.start < k.start or k.end < each.end for k in hit)
        ):
            spans = _union([span for k in (*hit, each) for span in k.spans])
            kept = [k for k in kept if k not in hit]
            kept.append(Finding(hit[0].kind, hit[0].rank, spans))
    return sorted(kept, key=lambda each: each.start)


def _union(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[list[int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1][1] = max(end, merged[-1][1])
        else:
            merged.append([start, end])
    return tuple((start, end) for start, end in merged)


@functools.cache
def compile_pattern(pattern: str) -> Any:
    """A pattern in RE2 over bytes; raises re2.error."""
    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1  # offsets in bytes
    return re2.compile(pattern.encode(), options)


def _translate(pattern: str) -> bytes:
    r"""RE2 as PCRE, where they differ for a pattern that need only find too much: `\z`, names."""
    return pattern.replace(r"\z", "$").replace("(?P<", "(?<").encode()


def _database(anchors: list[bytes], flags: int) -> Any:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=anchors,
        ids=list(range(len(anchors))),
        elements=len(anchors),
        flags=[flags] * len(anchors),
    )
    return database


def _reason(error: Exception) -> str:
    value = error.args[0] if error.args else error
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
