"""The Game of Life on an endless board, with pattern files and cycle detection.

Storing the board as a grid wastes memory and puts an edge where there should be none.
Here only the living cells are kept, in a set.  One generation counts, for all cells
next to a living one, how many living neighbours they have; cells far from life are
never looked at.

To find out what becomes of a pattern, each generation is shifted to the origin and
remembered.  If a shape returns at the same place it is a still life or an oscillator,
if it returns elsewhere it is a spaceship, and its speed follows from the shift.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Cell = tuple[int, int]
_AROUND = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy]


@dataclass(frozen=True)
class Rule:
    """Numbers of neighbours with which a cell is born or survives."""

    born: frozenset[int] = frozenset({3})
    survive: frozenset[int] = frozenset({2, 3})

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read the usual notation.

        >>> Rule.parse("B3/S23") == Rule()
        True
        """
        match = re.fullmatch(r"B([1-8]*)/S([0-8]*)", text)
        if match is None:  # B0 would fill the endless board at once
            raise ValueError(f"not a usable rule: {text!r}")
        born, survive = (frozenset(map(int, digits)) for digits in match.groups())
        return cls(born, survive)


def step(cells: frozenset[Cell], rule: Rule = Rule()) -> frozenset[Cell]:
    """Return the next generation."""
    neighbours = Counter((x + dx, y + dy) for x, y in cells for dx, dy in _AROUND)
    following = {
        cell
        for cell, number in neighbours.items()
        if number in (rule.survive if cell in cells else rule.born)
    }
    if 0 in rule.survive:
        following |= {cell for cell in cells if cell not in neighbours}
    return frozenset(following)


def generations(cells: Iterable[Cell], rule: Rule = Rule()) -> Iterator[frozenset[Cell]]:
    state = frozenset(cells)
    while True:
        yield state
        state = step(state, rule)


def read_rle(text: str) -> frozenset[Cell]:
    """Read a pattern in run-length notation: ``b`` dead, ``o`` alive, ``$`` next line.

    >>> sorted(read_rle("bo$2bo$3o!"))
    [(0, 2), (1, 0), (1, 2), (2, 1), (2, 2)]
    """
    body, end, _ = "".join(text.split()).partition("!")
    if not end or re.sub(r"\d*[bo$]", "", body):
        raise ValueError("not a pattern in run-length notation")
    cells, x, y = set(), 0, 0
    for digits, kind in re.findall(r"(\d*)([bo$])", body):
        run = int(digits or 1)
        if kind == "$":
            x, y = 0, y + run
            continue
        if kind == "o":
            cells.update((x + offset, y) for offset in range(run))
        x += run
    return frozenset(cells)


def draw(cells: frozenset[Cell]) -> str:
    """Return a picture of the part of the board that holds life."""
    if not cells:
        return "(nothing)"
    xs, ys = zip(*cells)
    return "\n".join(
        "".join("#" if (x, y) in cells else "." for x in range(min(xs), max(xs) + 1))
        for y in range(min(ys), max(ys) + 1)
    )


@dataclass(frozen=True)
class Fate:
    """What a pattern turns into."""

    kind: str
    settled: int  # the generation in which the final form appears first
    period: int = 0
    shift: Cell = (0, 0)


def fate(cells: Iterable[Cell], rule: Rule = Rule(), limit: int = 1500) -> Fate:
    """Follow a pattern until its shape repeats."""
    seen: dict[frozenset[Cell], tuple[int, Cell]] = {}
    for age, state in enumerate(generations(cells, rule)):
        if not state:
            return Fate("dies", age)
        if age > limit:
            return Fate("unknown", age)
        left, top = min(x for x, _ in state), min(y for _, y in state)
        shape = frozenset((x - left, y - top) for x, y in state)
        if shape in seen:
            first, (old_left, old_top) = seen[shape]
            shift, period = (left - old_left, top - old_top), age - first
            if shift != (0, 0):
                return Fate("spaceship", first, period, shift)
            return Fate("still life" if period == 1 else "oscillator", first, period)
        seen[shape] = (age, (left, top))
    raise AssertionError("generations never end")


if __name__ == "__main__":
    patterns = {
        "block": ("2o$2o!", Fate("still life", 0, 1)),
        "blinker": ("3o!", Fate("oscillator", 0, 2)),
        "pulsar seed": ("5o$o3bo!", Fate("oscillator", 21, 3)),
        "glider": ("bo$2bo$3o!", Fate("spaceship", 0, 4, (1, 1))),
        "lightweight ship": ("bo2bo$o$o3bo$4o!", Fate("spaceship", 0, 4, (-2, 0))),
        "two cells": ("2o!", Fate("dies", 1)),
    }
    for name, (text, expected) in patterns.items():
        result = fate(read_rle(text))
        print(f"{name:17} {result}")
        assert (result.kind, result.period) == (expected.kind, expected.period), name
        assert result.shift == expected.shift

    crowd = generations(read_rle("b2o$2o$bo!"))  # the R-pentomino lives for long
    for _ in range(200):
        state = next(crowd)
    assert len(state) > 50
    print(draw(step(read_rle("bo$2bo$3o!"))))
    replicator = fate(read_rle("o!"), Rule.parse("B1/S012345678"), limit=8)
    assert replicator.kind == "unknown"
    for wrong in ("B0/S23", "23/3"):
        try:
            Rule.parse(wrong)
        except ValueError as error:
            print("refused:", error)
