"""Join sorted streams without loading them.

Two exports are sorted by customer number: orders and addresses.  Building a
dictionary of one of them needs memory for all of it.  A merge join walks over both
at the same time, in step, and holds only the records of the current key.  Like the
joins of a database it comes in several kinds: ``inner`` keeps keys found on both
sides, ``left`` also those found only on the left, and ``full`` all of them.

The inputs must be sorted.  This is checked while they are read, since an unsorted
input would otherwise lose matches in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

L = TypeVar("L")
R = TypeVar("R")
T = TypeVar("T")
Key = Callable[[Any], Any]


class Kind(Enum):
    INNER = "inner"
    LEFT = "left"
    FULL = "full"


class Unsorted(ValueError):
    """An input is not in ascending order of its key."""


class Group(NamedTuple):
    """All records of one key from both inputs."""

    key: Any
    left: list[Any]
    right: list[Any]


def checked_groups(records: Iterable[T], key: Key, name: str) -> Iterator[tuple[Any, list[T]]]:
    """Yield each key with its records and insist that the keys ascend."""
    previous: list[Any] = []
    for value, group in groupby(records, key):
        if previous and not previous[0] < value:
            raise Unsorted(f"{name}: {value!r} comes after {previous[0]!r}")
        previous = [value]
        yield value, list(group)


def cogroup(
    left: Iterable[L], right: Iterable[R], left_key: Key, right_key: Key | None = None
) -> Iterator[Group]:
    """Yield a group for every key of either input, in ascending order.

    >>> [g.key for g in cogroup("ac", "bc", str.lower)]
    ['a', 'b', 'c']
    """
    lefts = checked_groups(left, left_key, "left input")
    rights = checked_groups(right, right_key or left_key, "right input")
    one, two = next(lefts, None), next(rights, None)
    while one or two:
        if two is None or (one is not None and one[0] < two[0]):
            assert one is not None
            yield Group(one[0], one[1], [])
            one = next(lefts, None)
        elif one is None or two[0] < one[0]:
            yield Group(two[0], [], two[1])
            two = next(rights, None)
        else:
            yield Group(one[0], one[1], two[1])
            one, two = next(lefts, None), next(rights, None)


def join(
    left: Iterable[L],
    right: Iterable[R],
    left_key: Key,
    right_key: Key | None = None,
    kind: Kind = Kind.INNER,
) -> Iterator[tuple[L | None, R | None]]:
    """Yield pairs of records with equal keys; None stands in for a missing partner."""
    for _, lefts, rights in cogroup(left, right, left_key, right_key):
        if not rights and kind is Kind.INNER:
            continue
        if not lefts and kind is not Kind.FULL:
            continue
        for one in lefts or [None]:
            for two in rights or [None]:
                yield one, two


def changes(
    old: Iterable[T], new: Iterable[T], key: Key
) -> Iterator[tuple[str, T | None, T | None]]:
    """Compare two sorted snapshots and yield what was added, removed or changed.

    Keys must be unique within a snapshot.
    """
    for group in cogroup(old, new, key):
        if len(group.left) > 1 or len(group.right) > 1:
            raise ValueError(f"key {group.key!r} is not unique")
        before = group.left[0] if group.left else None
        after = group.right[0] if group.right else None
        if not group.left:
            yield "added", None, after
        elif not group.right:
            yield "removed", before, None
        elif before != after:
            yield "changed", before, after


if __name__ == "__main__":
    people = [(1, "Ada"), (2, "Bo"), (4, "Cy")]
    orders = [(1, "tea"), (1, "cup"), (3, "pot"), (4, "jar")]

    def number(record: tuple[int, str]) -> int:
        return record[0]

    for kind, size in ((Kind.INNER, 3), (Kind.LEFT, 4), (Kind.FULL, 5)):
        pairs = list(join(people, orders, number, kind=kind))
        print(f"{kind.value:5}", [(a and a[1], b and b[1]) for a, b in pairs])
        assert len(pairs) == size

    # The join must agree with the obvious nested loop, duplicates included.
    for mask in range(256):
        a = sorted(n % 3 for n in range(4) if mask >> n & 1)
        b = sorted(n % 2 for n in range(4) if mask >> n + 4 & 1)
        expected = [(x, y) for x in a for y in b if x == y]
        assert list(join(a, b, lambda n: n)) == expected

    def endless() -> Iterator[int]:
        n = 0
        while True:
            yield n
            n += 2

    lazy = join(endless(), range(1, 10**9), lambda n: n)
    assert next(lazy) == (2, 2) and next(lazy) == (4, 4), "nothing is read in advance"

    new = [(1, "Ada"), (2, "Bob"), (5, "Di")]
    assert [c[0] for c in changes(people, new, number)] == ["changed", "removed", "added"]
    try:
        list(join(people, [(2, "x"), (1, "y")], number))
    except Unsorted as error:
        print("refused:", error)
    try:
        list(changes(orders, orders, number))
    except ValueError as error:
        print("refused:", error)
