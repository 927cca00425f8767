"""Solve systems of linear equations exactly, including those without a single answer.

Real problems are seldom square and regular.  A system may contradict itself, or leave
some unknowns free.  Elimination over ``Fraction`` finds out which case applies without
any tolerance to tune, because zero is zero.  The result describes *all* solutions: one
particular solution and a basis of the directions in which one may move from it.

As an application the module balances chemical equations: atoms must be preserved, so
the coefficients form the null space of the matrix of atom counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

Number = int | Fraction
Vector = tuple[Fraction, ...]
Matrix = list[list[Fraction]]


class Contradiction(ValueError):
    """The equations cannot all be true; ``weights`` combine them to 0 = 1."""

    def __init__(self, weights: Vector) -> None:
        used = " + ".join(f"({w}) * equation {n}" for n, w in enumerate(weights, 1) if w)
        super().__init__(f"0 = 1 follows from {used}")
        self.weights = weights


@dataclass(frozen=True)
class Solution:
    """All the solutions: ``particular`` plus any combination of ``directions``."""

    particular: Vector
    directions: tuple[Vector, ...]


def reduce_rows(rows: Matrix, columns: int) -> list[int]:
    """Bring ``rows`` to reduced echelon form in place.

    Only the first ``columns`` columns are searched for pivots.  Returns the column of
    the pivot of each of the leading rows.
    """
    pivots: list[int] = []
    for column in range(columns):
        top = len(pivots)
        source = next((r for r in range(top, len(rows)) if rows[r][column]), None)
        if source is None:
            continue
        rows[top], rows[source] = rows[source], rows[top]
        pivot = rows[top][column]
        rows[top] = [value / pivot for value in rows[top]]
        for index, row in enumerate(rows):
            factor = row[column]
            if index != top and factor:
                rows[index] = [a - factor * b for a, b in zip(row, rows[top])]
        pivots.append(column)
    return pivots


def solve(coefficients: Sequence[Sequence[Number]], right: Sequence[Number]) -> Solution:
    """Solve ``coefficients * x == right``.

    >>> solve([[2, 1], [1, -1]], [5, 1]).particular
    (Fraction(2, 1), Fraction(1, 1))
    """
    height, width = len(coefficients), len(coefficients[0]) if coefficients else 0
    if len(right) != height or any(len(row) != width for row in coefficients):
        raise ValueError("the system is not rectangular")
    # An identity matrix on the right records how each row was combined.
    rows = [
        [Fraction(v) for v in (*row, value)] + [Fraction(int(i == j)) for j in range(height)]
        for i, (row, value) in enumerate(zip(coefficients, right))
    ]
    pivots = reduce_rows(rows, width)
    for row in rows[len(pivots) :]:
        if row[width]:
            raise Contradiction(tuple(v / row[width] for v in row[width + 1 :]))
    particular = [Fraction(0)] * width
    for row, column in zip(rows, pivots):
        particular[column] = row[width]
    directions = []
    for free in sorted(set(range(width)) - set(pivots)):
        direction = [Fraction(0)] * width
        direction[free] = Fraction(1)
        for row, column in zip(rows, pivots):
            direction[column] = -row[free]
        directions.append(tuple(direction))
    return Solution(tuple(particular), tuple(directions))


def smallest_integers(vector: Iterable[Fraction]) -> list[int]:
    """Scale a vector to integers without a common factor."""
    values = list(vector)
    scale = lcm(*(value.denominator for value in values))
    whole = [int(value * scale) for value in values]
    return [value // (gcd(*whole) or 1) for value in whole]


def atoms(formula: str) -> Counter[str]:
    """Count the atoms of a formula; one level of brackets is understood.

    >>> dict(atoms("Ca(OH)2"))
    {'Ca': 1, 'O': 2, 'H': 2}
    """
    if re.sub(r"[A-Z][a-z]?\d*|\((?:[A-Z][a-z]?\d*)+\)\d*", "", formula) or not formula:
        raise ValueError(f"not a chemical formula: {formula!r}")
    total: Counter[str] = Counter()
    for group, times in re.findall(r"(\([^)]*\)|[A-Z][a-z]?)(\d*)", formula):
        for symbol, number in re.findall(r"([A-Z][a-z]?)(\d*)", group):
            total[symbol] += int(number or 1) * int(times or 1)
    return total


def balance(equation: str) -> str:
    """Find the coefficients of a reaction.

    >>> balance("H2 + O2 -> H2O")
    '2 H2 + O2 -> 2 H2O'
    """
    before, after = ([f.strip() for f in side.split("+")] for side in equation.split("->"))
    counts = [atoms(formula) for formula in before + after]
    signs = [1] * len(before) + [-1] * len(after)
    elements = sorted(set().union(*counts))
    table = [[sign * count[e] for sign, count in zip(signs, counts)] for e in elements]
    directions = solve(table, [0] * len(table)).directions
    if len(directions) != 1 or min(numbers := smallest_integers(directions[0])) <= 0:
        raise ValueError(f"{equation!r} has no unique balance")
    terms = [f"{n if n > 1 else ''} {f}".strip() for n, f in zip(numbers, before + after)]
    return " + ".join(terms[: len(before)]) + " -> " + " + ".join(terms[len(before) :])


if __name__ == "__main__":
    system, right = [[1, 2, -1, 3], [2, 4, 1, 0], [3, 6, 0, 3]], [4, 5, 9]
    answer = solve(system, right)
    assert len(answer.directions) == 2
    for steps in ((0, 0), (1, -2), (Fraction(3, 7), 5)):
        moves = zip(*[[s * v for v in d] for s, d in zip(steps, answer.directions)])
        x = [p + sum(m) for p, m in zip(answer.particular, moves)]
        assert [sum(a * b for a, b in zip(row, x)) for row in system] == right

    hilbert = [[Fraction(1, i + j + 1) for j in range(8)] for i in range(8)]
    assert solve(hilbert, [sum(row) for row in hilbert]).particular == (1,) * 8
    for reaction in ("C3H8 + O2 -> CO2 + H2O", "KMnO4 + HCl -> KCl + MnCl2 + H2O + Cl2",
                     "Al + Ca(OH)2 + H2O -> Ca(AlO2)2 + H2"):
        print(balance(reaction))
    assert balance("Fe + O2 -> Fe2O3") == "4 Fe + 3 O2 -> 2 Fe2O3"
    try:
        solve([[1, 1], [1, -1], [3, 1]], [2, 0, 5])
    except Contradiction as error:
        print(error)
        assert error.weights == (-2, -1, 1)
