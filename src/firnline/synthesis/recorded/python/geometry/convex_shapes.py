"""Convex hulls and what can be measured on them, in exact arithmetic.

Geometry programs with floats fail in odd places because three points that lie on a
line seem to turn a little.  With integer coordinates the sign of a cross product is
exact, and everything here is built on that one primitive: the hull of a point set, the
test whether a point is inside, the largest distance and the Minkowski sum.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import combinations
from typing import NamedTuple


class Point(NamedTuple):
    x: int
    y: int

    def __sub__(self, other: Point) -> Point:
        return Point(self.x - other.x, self.y - other.y)

    def __add__(self, other: Point) -> Point:  # type: ignore[override]
        return Point(self.x + other.x, self.y + other.y)


def cross(a: Point, b: Point) -> int:
    """Twice the signed area of the triangle 0, a, b; positive for a left turn."""
    return a.x * b.y - a.y * b.x


def turn(a: Point, b: Point, c: Point) -> int:
    return cross(b - a, c - a)


def distance2(a: Point, b: Point) -> int:
    """Square of the distance, which stays an integer."""
    return (a.x - b.x) ** 2 + (a.y - b.y) ** 2


class Hull:
    """The convex hull of some points, counter-clockwise, without collinear corners.

    >>> Hull([(0, 0), (4, 0), (2, 1), (4, 3), (0, 3), (2, 0)]).corners
    (Point(x=0, y=0), Point(x=4, y=0), Point(x=4, y=3), Point(x=0, y=3))
    """

    def __init__(self, points: Iterable[tuple[int, int]]) -> None:
        ordered = sorted({Point(*point) for point in points})
        if not ordered:
            raise ValueError("the hull of no points at all")
        if len(ordered) == 1:
            self.corners: tuple[Point, ...] = tuple(ordered)
            return
        lower, upper = self._chain(ordered), self._chain(reversed(ordered))
        self.corners = (*lower[:-1], *upper[:-1])

    @staticmethod
    def _chain(points: Iterable[Point]) -> list[Point]:
        chain: list[Point] = []
        for point in points:
            while len(chain) > 1 and turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        return chain

    def edges(self) -> Iterator[tuple[Point, Point]]:
        return zip(self.corners, (*self.corners[1:], self.corners[0]))

    def area(self) -> Fraction:
        return Fraction(sum(cross(a, b) for a, b in self.edges()), 2)

    def perimeter(self) -> float:
        return sum(math.dist(a, b) for a, b in self.edges())

    def __contains__(self, point: tuple[int, int]) -> bool:
        """Test with a binary search over the fan of triangles at the first corner."""
        p, corners = Point(*point), self.corners
        if len(corners) < 3:
            a, b = corners[0], corners[-1]
            inside = min(a.x, b.x) <= p.x <= max(a.x, b.x) and min(a.y, b.y) <= p.y <= max(a.y, b.y)
            return inside and turn(a, b, p) == 0
        start = corners[0]
        if turn(start, corners[1], p) < 0 or turn(start, corners[-1], p) > 0:
            return False
        low, high = 1, len(corners) - 1
        while high - low > 1:
            middle = (low + high) // 2
            if turn(start, corners[middle], p) >= 0:
                low = middle
            else:
                high = middle
        on_ray = low == len(corners) - 2 and turn(start, corners[high], p) == 0
        within = distance2(start, p) <= distance2(start, corners[high])
        return turn(corners[low], corners[high], p) >= 0 and (not on_ray or within)

    def diameter(self) -> tuple[Point, Point]:
        """Return the two corners that are farthest apart (rotating calipers)."""
        corners, count = self.corners, len(self.corners)
        if count <= 2:
            return corners[0], corners[-1]
        best, far = (corners[0], corners[1]), 1
        for a, b in self.edges():
            while True:
                for end in (a, b):
                    best = max(best, (end, corners[far]), key=lambda pair: distance2(*pair))
                following = (far + 1) % count
                if cross(b - a, corners[following] - corners[far]) <= 0:
                    break
                far = following
            # With parallel edges the next corner is just as far from the line.
            for end in (a, b):
                candidate = (end, corners[(far + 1) % count])
                best = max(best, candidate, key=lambda pair: distance2(*pair))
        return best

    def __add__(self, other: Hull) -> Hull:
        """Return the Minkowski sum: all sums of a point of each hull."""
        return Hull(a + b for a in self.corners for b in other.corners)

    def overlaps(self, other: Hull) -> bool:
        """Two convex shapes meet exactly if their difference contains the origin."""
        mirrored = Hull((-p.x, -p.y) for p in other.corners)
        return (0, 0) in self + mirrored


if __name__ == "__main__":
    rng = random.Random(12)
    for size in (1, 2, 3, 5, 8, 60):
        for spread in (2, 5, 40):
            cloud = [(rng.randint(0, spread), rng.randint(0, spread)) for _ in range(size)]
            hull = Hull(cloud)
            assert all(point in hull for point in cloud)
            if len(hull.corners) > 2:
                turns = zip(hull.edges(), (*hull.corners[2:], *hull.corners[:2]))
                assert all(turn(a, b, c) > 0 for (a, b), c in turns)
            widest = max((distance2(Point(*a), Point(*b)) for a, b in combinations(cloud, 2)),
                         default=0)
            assert distance2(*hull.diameter()) == widest, cloud
            for probe in [(x, y) for x in range(-1, 7) for y in range(-1, 7)]:
                grown = Hull([*cloud, probe])
                assert (probe in hull) == (grown.corners == hull.corners), (cloud, probe)

    field = Hull([(0, 0), (40, 5), (35, 30), (10, 28), (20, 15)])
    print("corners:", *map(tuple, field.corners))
    print(f"area {field.area()}, fence {field.perimeter():.2f}, widest {field.diameter()}")
    square, distant = Hull([(0, 0), (2, 0), (0, 2), (2, 2)]), Hull([(3, 3), (5, 3), (4, 6)])
    assert (square + square).area() == 16
    assert not square.overlaps(distant) and square.overlaps(Hull([(2, 2), (9, 9)]))
    try:
        Hull([])
    except ValueError as error:
        print("refused:", error)
