"""Numerical integration that puts its effort where the function is difficult.

Dividing the whole range into equal steps spends most of its evaluations where the
function is smooth.  An adaptive rule compares a coarse estimate of each piece with
a finer one and splits only the worst piece, which a priority queue finds at once.
The procedure ends when the sum of the error estimates is small enough, or when a
budget of evaluations is used up: the second case is reported, never hidden.

Infinite ranges are mapped to finite ones by a change of variable.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

Function = Callable[[float], float]

# Nodes and weights of Gauss-Legendre rules on [-1, 1] that can be written exactly.
_G2 = [(-1 / math.sqrt(3), 1.0), (1 / math.sqrt(3), 1.0)]
_INNER = math.sqrt(3 / 7 - 2 / 7 * math.sqrt(6 / 5))
_OUTER = math.sqrt(3 / 7 + 2 / 7 * math.sqrt(6 / 5))
_HEAVY, _LIGHT = (18 + math.sqrt(30)) / 36, (18 - math.sqrt(30)) / 36
_G4 = [(-_OUTER, _LIGHT), (-_INNER, _HEAVY), (_INNER, _HEAVY), (_OUTER, _LIGHT)]


@dataclass(order=True)
class Piece:
    """One part of the range; the piece with the largest error sorts first."""

    rank: float = field(init=False)
    low: float = field(compare=False)
    high: float = field(compare=False)
    value: float = field(compare=False)
    error: float = field(compare=False)

    def __post_init__(self) -> None:
        self.rank = -self.error


@dataclass(frozen=True)
class Result:
    value: float
    error: float
    evaluations: int
    converged: bool

    def __float__(self) -> float:
        return self.value


def _apply(rule: list[tuple[float, float]], f: Function, low: float, high: float) -> float:
    half, centre = (high - low) / 2, (high + low) / 2
    return half * math.fsum(weight * f(centre + half * node) for node, weight in rule)


def _measure(f: Function, low: float, high: float) -> Piece:
    middle = (low + high) / 2
    fine = _apply(_G4, f, low, middle) + _apply(_G4, f, middle, high)
    coarse = _apply(_G4, f, low, high)
    rough = _apply(_G2, f, low, high)
    if not math.isfinite(fine):
        raise ArithmeticError(f"the function is not finite between {low} and {high}")
    # Where two coarse rules disagree as much as the fine one, trust is not earned.
    error = max(abs(fine - coarse), abs(coarse - rough) ** 2 * 1e-3)
    return Piece(low, high, fine, error)


_COST = 2 * len(_G4) + len(_G4) + len(_G2)


def integrate(
    f: Function, low: float, high: float, tolerance: float = 1e-10, budget: int = 50_000
) -> Result:
    """Integrate ``f`` from ``low`` to ``high``; either bound may be infinite.

    The end points themselves are never evaluated, so an integrable singularity is
    allowed there.

    >>> abs(float(integrate(math.sin, 0, math.pi)) - 2) < 1e-10
    True
    """
    if tolerance <= 0 or math.isnan(low) or math.isnan(high):
        raise ValueError("tolerance must be positive and the bounds must be numbers")
    if low > high:
        swapped = integrate(f, high, low, tolerance, budget)
        return Result(-swapped.value, swapped.error, swapped.evaluations, swapped.converged)
    if low == high:
        return Result(0.0, 0.0, 0, True)
    f, low, high = _to_finite(f, low, high)

    heap = [_measure(f, low, high)]
    evaluations, error = _COST, heap[0].error
    while error > tolerance and evaluations + 2 * _COST <= budget:
        worst = heappop(heap)
        middle = (worst.low + worst.high) / 2
        for a, b in ((worst.low, middle), (middle, worst.high)):
            heappush(heap, _measure(f, a, b))
        evaluations += 2 * _COST
        error = math.fsum(piece.error for piece in heap)
    value = math.fsum(piece.value for piece in heap)
    return Result(value, error, evaluations, error <= tolerance)


def _to_finite(f: Function, low: float, high: float) -> tuple[Function, float, float]:
    if math.isinf(low) and math.isinf(high):
        # x = t / (1 - t*t) maps (-1, 1) onto the whole line.
        return (lambda t: f(t / (1 - t * t)) * (1 + t * t) / (1 - t * t) ** 2), -1.0, 1.0
    if math.isinf(high):
        return (lambda t: f(low + t / (1 - t)) / (1 - t) ** 2), 0.0, 1.0
    if math.isinf(low):
        return (lambda t: f(high - t / (1 - t)) / (1 - t) ** 2), 0.0, 1.0
    return f, low, high


if __name__ == "__main__":
    cases: list[tuple[str, Function, float, float, float]] = [
        ("polynomial", lambda x: x**7 - x, -1, 2, (2**8 - 1) / 8 - 1.5),
        ("bell curve", lambda x: math.exp(-x * x), -math.inf, math.inf, math.sqrt(math.pi)),
        ("decay", lambda x: math.exp(-3 * x), 0, math.inf, 1 / 3),
        ("sharp peak", lambda x: 1 / (1e-4 + x * x), -1, 1, 200 * math.atan(100)),
        ("log at zero", math.log, 0, 1, -1.0),
        ("backwards", math.cos, math.pi / 2, 0, -1.0),
    ]
    for name, function, start, stop, exact in cases:
        result = integrate(function, start, stop, tolerance=1e-8)
        print(f"{name:12} {result.value:+.10f}  {result.evaluations:5} evaluations")
        assert result.converged and math.isclose(result.value, exact, abs_tol=1e-7), name
    hopeless = integrate(lambda x: 1 / x, 0, 1, budget=2000)
    assert not hopeless.converged and hopeless.evaluations <= 2000
    try:
        integrate(lambda x: math.inf, 0, 1)
    except ArithmeticError as error:
        print("refused:", error)
