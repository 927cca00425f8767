"""Compare two texts line by line and show readable differences.

The shortest list of edits is not always the one that a person would choose: it may match
the closing brace of one function with that of another.  Patience diff first pairs lines
that occur exactly once in both texts, since those are surely related, keeps the longest
increasing chain of such pairs, and repeats the idea between them.  Where no unique line
is left, Myers' algorithm finds a shortest edit script.

The result is a list of hunks that can be printed, inverted and applied.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Lines = Sequence[str]
Pair = tuple[int, int]


def _unique_anchors(a: Lines, b: Lines) -> list[Pair]:
    """Pair lines that are unique in both texts, in increasing order on both sides."""
    in_a, in_b = Counter(a), Counter(b)
    where_b = {line: j for j, line in enumerate(b)}
    pairs = [(i, where_b[x]) for i, x in enumerate(a) if in_a[x] == 1 and in_b[x] == 1]
    # Patience sorting: the longest increasing subsequence of the positions in b.
    tops: list[int] = []
    holders: list[int] = []
    previous: list[int] = []
    for number, (_, j) in enumerate(pairs):
        pile = bisect_left(tops, j)
        previous.append(holders[pile - 1] if pile else -1)
        tops[pile : pile + 1] = [j]
        holders[pile : pile + 1] = [number]
    chain, number = [], holders[-1] if holders else -1
    while number >= 0:
        chain.append(pairs[number])
        number = previous[number]
    return chain[::-1]


def _shortest_edit(a: Lines, b: Lines) -> Iterator[Pair]:
    """Yield the pairs of equal lines of a shortest edit script (Myers)."""
    frontier, trail = {1: 0}, []
    for cost in range(len(a) + len(b) + 1):
        trail.append(dict(frontier))
        for k in range(-cost, cost + 1, 2):
            down = k == -cost or (k != cost and frontier[k - 1] < frontier[k + 1])
            x = frontier[k + 1] if down else frontier[k - 1] + 1
            while x < len(a) and x - k < len(b) and a[x] == b[x - k]:
                x += 1
            frontier[k] = x
            if x >= len(a) and x - k >= len(b):
                yield from _backtrack(trail, len(a), len(b))
                return


def _backtrack(trail: list[dict[int, int]], x: int, y: int) -> list[Pair]:
    pairs: list[Pair] = []
    for cost in range(len(trail) - 1, -1, -1):
        frontier, k = trail[cost], x - y
        down = k == -cost or (k != cost and frontier[k - 1] < frontier[k + 1])
        start_k = k + 1 if down else k - 1
        start_x = frontier[start_k] if cost else 0
        start_y = start_x - start_k if cost else 0
        while x > start_x and y > start_y:
            x, y = x - 1, y - 1
            pairs.append((x, y))
        x, y = start_x, start_y
    return pairs[::-1]


def match_lines(a: Lines, b: Lines, i: int = 0, j: int = 0) -> Iterator[Pair]:
    """Yield the index pairs of lines that are considered the same, in order."""
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        yield i + start, j + start
        start += 1
    tail = 0
    while tail < min(len(a), len(b)) - start and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    a_core, b_core = a[start : len(a) - tail], b[start : len(b) - tail]
    i, j = i + start, j + start
    anchors = _unique_anchors(a_core, b_core)
    if anchors:
        x = y = 0
        for u, v in [*anchors, (len(a_core), len(b_core))]:
            yield from match_lines(a_core[x:u], b_core[y:v], i + x, j + y)
            if u < len(a_core):
                yield i + u, j + v
            x, y = u + 1, v + 1
    else:
        yield from ((i + x, j + y) for x, y in _shortest_edit(a_core, b_core))
    yield from ((i + len(a_core) + n, j + len(b_core) + n) for n in range(tail))


@dataclass(frozen=True)
class Hunk:
    """Replace the lines ``old`` at index ``start`` of the old text by ``new``."""

    start: int
    old: tuple[str, ...]
    new: tuple[str, ...]


def diff(a: Lines, b: Lines) -> list[Hunk]:
    """Return the changes from ``a`` to ``b``.

    >>> diff(["x", "y"], ["x", "z", "y"])
    [Hunk(start=1, old=(), new=('z',))]
    """
    hunks, x, y = [], 0, 0
    for i, j in [*match_lines(a, b), (len(a), len(b))]:
        if i > x or j > y:
            hunks.append(Hunk(x, tuple(a[x:i]), tuple(b[y:j])))
        x, y = i + 1, j + 1
    return hunks


def apply(hunks: Sequence[Hunk], lines: Lines) -> list[str]:
    """Carry out the changes; raise ValueError if the text is not the expected one."""
    result = list(lines)
    for hunk in reversed(hunks):  # from the end, so that indexes stay valid
        stop = hunk.start + len(hunk.old)
        if tuple(result[hunk.start : stop]) != hunk.old:
            raise ValueError(f"the text differs at line {hunk.start + 1}")
        result[hunk.start : stop] = hunk.new
    return result


if __name__ == "__main__":
    import random

    old = "def a():\n    one\n}\n\ndef c():\n    three\n}".split("\n")
    new = "def a():\n    one\n}\n\ndef b():\n    two\n}\n\ndef c():\n    three\n}".split("\n")
    (hunk,) = diff(old, new)
    print(f"at line {hunk.start + 1}:", *hunk.new, sep="\n+ ")
    assert "def b():" in hunk.new and "def c():" not in hunk.new

    rng = random.Random(8)
    for _ in range(400):
        a = [rng.choice("abcdef") for _ in range(rng.randint(0, 12))]
        b = [rng.choice("abcdefgh") for _ in range(rng.randint(0, 12))]
        pairs = list(match_lines(a, b))
        assert all(a[i] == b[j] for i, j in pairs)
        assert all(p[0] < q[0] and p[1] < q[1] for p, q in zip(pairs, pairs[1:]))
        assert apply(diff(a, b), a) == b and apply(diff(b, a), b) == a
    assert len(list(_shortest_edit("abcabba", "cbabac"))) == 4
    assert diff(old, old) == []
    try:
        apply([Hunk(0, ("other",), ())], old)
    except ValueError as error:
        print("refused:", error)
