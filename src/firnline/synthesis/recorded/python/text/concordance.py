"""Keyword-in-context listings (concordances) for plain text.

Readers who study a text want to see every place where a word occurs, each in a
line with the word in a fixed column and a little context on both sides.  The
index below maps a folded form of each word to its positions, so that looking up
a word does not scan the text again, and it also answers phrase queries by
following positions from one word to the next.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")


class Occurrence(NamedTuple):
    """Where a match lies: line number from 1 and the span in the whole text."""

    line: int
    start: int
    stop: int


class Concordance:
    """An index of all the words of one text.

    >>> c = Concordance("No man is an island, entire of itself; every man...")
    >>> len(c.find("MAN")), len(c.find("is an island"))
    (2, 1)
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._spans: list[tuple[int, int]] = []
        self._where: dict[str, list[int]] = defaultdict(list)
        for number, match in enumerate(_WORD.finditer(text)):
            self._spans.append(match.span())
            self._where[match.group().casefold()].append(number)
        self._line_starts = [0] + [m.end() for m in re.finditer("\n", text)]

    def _line_of(self, offset: int) -> int:
        low, high = 0, len(self._line_starts)
        while high - low > 1:
            middle = (low + high) // 2
            if self._line_starts[middle] <= offset:
                low = middle
            else:
                high = middle
        return low + 1

    def find(self, phrase: str) -> list[Occurrence]:
        """Return every occurrence of a word, or of several words in a row."""
        words = [word.casefold() for word in _WORD.findall(phrase)]
        if not words:
            raise ValueError(f"no word in {phrase!r}")
        candidates = set(self._where.get(words[0], ()))
        for distance, word in enumerate(words[1:], start=1):
            candidates &= {number - distance for number in self._where.get(word, ())}
        found = []
        for number in sorted(candidates):
            start = self._spans[number][0]
            stop = self._spans[number + len(words) - 1][1]
            found.append(Occurrence(self._line_of(start), start, stop))
        return found

    def lines(self, phrase: str, context: int = 24) -> Iterator[str]:
        """Yield one aligned line per occurrence, with ``context`` columns each side."""
        for line, start, stop in self.find(phrase):
            before = self._flatten(self._text[:start])[-context:]
            after = self._flatten(self._text[stop : stop + 4 * context])[:context]
            word = self._text[start:stop]
            yield f"{line:>4}  {before:>{context}}[{self._flatten(word)}]{after}".rstrip()

    @staticmethod
    def _flatten(text: str) -> str:
        return re.sub(r"\s+", " ", text)

    def common(self, count: int, skip: frozenset[str] = frozenset()) -> list[tuple[str, int]]:
        """List the most frequent words; equal counts are in alphabetical order."""
        totals = Counter({w: len(p) for w, p in self._where.items() if w not in skip})
        return sorted(totals.items(), key=lambda item: (-item[1], item[0]))[:count]

    def neighbours(self, word: str, span: int = 2) -> Counter[str]:
        """Count which words stand at most ``span`` words away from ``word``."""
        nearby: Counter[str] = Counter()
        for number in self._where.get(word.casefold(), ()):
            for other in range(max(0, number - span), number + span + 1):
                if other != number and other < len(self._spans):
                    start, stop = self._spans[other]
                    nearby[self._text[start:stop].casefold()] += 1
        return nearby


SAMPLE = """\
The river rose in the night. By dawn the river
had reached the mill, and the miller's boat lay
across the road. Nobody crossed the river that
day; the ferry-man slept beside the
river and dreamed of dry land.
"""

if __name__ == "__main__":
    index = Concordance(SAMPLE)
    for row in index.lines("the river", context=18):
        print(row)
    hits = index.find("the river")
    assert [hit.line for hit in hits] == [1, 1, 3, 4], hits
    assert SAMPLE[hits[3].start : hits[3].stop] == "the\nriver"

    assert index.common(2) == [("the", 9), ("river", 4)]
    assert index.common(1, skip=frozenset({"the"})) == [("river", 4)]
    assert [hit.line for hit in index.find("Ferry-Man")] == [4]
    assert index.find("glacier") == [] and index.neighbours("glacier") == Counter()
    print("around 'river':", index.neighbours("river", 1).most_common(2))
    try:
        index.find("42 !")
    except ValueError as error:
        print("rejected:", error)
