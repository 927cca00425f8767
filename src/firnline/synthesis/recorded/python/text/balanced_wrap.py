"""Wrap a paragraph so that its right edge is as even as possible.

Greedy wrapping puts every word on the current line if it fits.  It is fast, but
one long word can leave an ugly hole that an earlier line break would have
avoided.  Choosing all breaks together is a shortest-path problem: each gap
between words is a node, each possible line an edge, and the cost of a line is
the square of its unused columns.  Dynamic programming from the end of the
paragraph finds the cheapest set of lines; the last line costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Layout:
    """The lines of a wrapped paragraph and their total raggedness."""

    lines: tuple[str, ...]
    width: int

    @property
    def cost(self) -> int:
        """Sum of squared free columns over all lines but the last."""
        return sum((self.width - len(line)) ** 2 for line in self.lines[:-1])

    def __str__(self) -> str:
        return "\n".join(self.lines)


def greedy(text: str, width: int) -> Layout:
    """Fill each line as far as it goes, the usual way."""
    words = _words(text, width)
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return Layout(tuple(lines), width)


def balanced(text: str, width: int) -> Layout:
    """Choose the breaks that minimise ``Layout.cost``.

    >>> print(balanced("aaa bb cc ddddd", 6))
    aaa
    bb cc
    ddddd
    """
    words = _words(text, width)
    count = len(words)
    # ends[i] is the total length of the first i words, without any spaces.
    ends = [0, *accumulate(len(word) for word in words)]
    best_cost = [0] * (count + 1)
    next_break = [count] * (count + 1)
    for first in range(count - 1, -1, -1):
        best: int | None = None
        for stop in range(first + 1, count + 1):
            length = ends[stop] - ends[first] + (stop - first - 1)
            if length > width:
                break
            last_line = stop == count
            cost = 0 if last_line else (width - length) ** 2 + best_cost[stop]
            if best is None or cost < best:
                best, next_break[first] = cost, stop
        assert best is not None, "a single word always fits after _words"
        best_cost[first] = best
    lines, first = [], 0
    while first < count:
        lines.append(" ".join(words[first : next_break[first]]))
        first = next_break[first]
    return Layout(tuple(lines), width)


def justify(layout: Layout) -> str:
    """Stretch the gaps of every line but the last to fill the whole width.

    Left-over columns go to the leftmost gaps.  A line of one word stays as it is.
    """
    result = []
    for line in layout.lines[:-1]:
        words = line.split(" ")
        gaps = len(words) - 1
        if gaps:
            spare = layout.width - sum(map(len, words))
            share, extra = divmod(spare, gaps)
            pads = [" " * (share + (gap < extra)) for gap in range(gaps)] + [""]
            line = "".join(word + pad for word, pad in zip(words, pads))
        result.append(line)
    return "\n".join([*result, *layout.lines[-1:]])


def _words(text: str, width: int) -> list[str]:
    """Split on white space and cut words that are wider than a line."""
    if width < 1:
        raise ValueError("width must be at least one column")
    return [
        word[cut : cut + width]
        for word in text.split()
        for cut in range(0, len(word), width)
    ]


if __name__ == "__main__":
    story = (
        "The harbour pilot counted seven lanterns, although the manifest, "
        "countersigned by the quartermaster, mentioned only six of them."
    )
    for width in range(14, 40):
        plain, even = greedy(story, width), balanced(story, width)
        assert even.cost <= plain.cost
        assert " ".join(even.lines) == story
        assert all(len(line) <= width for line in even.lines)

    plain, even = greedy(story, 18), balanced(story, 18)
    print(f"greedy, cost {plain.cost}:\n{plain}\n")
    print(f"balanced, cost {even.cost}:\n{even}\n")
    print(justify(even))
    assert {len(line) for line in justify(even).splitlines()[:-1] if " " in line} == {18}

    assert balanced("", 10).lines == ()
    assert balanced("extraordinary", 5).lines == ("extra", "ordin", "ary")
    try:
        balanced("word", 0)
    except ValueError as error:
        print("rejected:", error)
