"""Differences between nested data, as a list of small operations.

Two versions of a settings tree made of dictionaries, lists and plain values are compared.
The result says what to add, remove and replace, each with its path.  Such a patch can be
stored instead of a whole copy, reviewed, undone, and applied to a tree that has changed in
other places meanwhile.  Each operation keeps the old value, so a conflict is noticed
instead of silently overwriting somebody's work.

Lists are trimmed at both ends; what remains in the middle is compared item by item.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Step = str | int
Path = tuple[Step, ...]


class Missing:
    """Marks the absence of a value, since None is a value."""

    def __deepcopy__(self, memo: object) -> Missing:
        return self


MISSING: Any = Missing()


class Conflict(ValueError):
    """The tree does not have the value that an operation expects."""


@dataclass(frozen=True)
class Change:
    """One operation; ``old`` or ``new`` is MISSING when something appears or goes."""

    path: Path
    old: Any
    new: Any

    def inverse(self) -> Change:
        return Change(self.path, self.new, self.old)

    def __str__(self) -> str:
        where = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in self.path) or "."
        if self.old is MISSING or self.new is MISSING:
            sign, value = ("+", self.new) if self.old is MISSING else ("-", self.old)
            return f"{sign} {where} = {value!r}"
        return f"~ {where}: {self.old!r} -> {self.new!r}"


def _same(a: Any, b: Any) -> bool:
    """Equality that tells True from 1, also inside containers."""
    return next(compare(a, b), None) is None


def compare(old: Any, new: Any, path: Path = ()) -> Iterator[Change]:
    """Yield the changes that turn ``old`` into ``new``.

    >>> [str(c) for c in compare({"a": 1, "b": [1, 2]}, {"b": [1, 5, 2], "c": None})]
    ['- .a = 1', '+ .b[1] = 5', '+ .c = None']
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            before, after = old.get(key, MISSING), new.get(key, MISSING)
            if before is MISSING or after is MISSING:
                yield Change((*path, key), before, after)
            else:
                yield from compare(before, after, (*path, key))
    elif isinstance(old, list) and isinstance(new, list):
        yield from _compare_lists(old, new, path)
    elif type(old) is not type(new) or old != new:
        yield Change(path, old, new)


def _compare_lists(old: list[Any], new: list[Any], path: Path) -> Iterator[Change]:
    head, shorter = 0, min(len(old), len(new))
    while head < shorter and _same(old[head], new[head]):
        head += 1
    tail = 0
    while tail < shorter - head and _same(old[-1 - tail], new[-1 - tail]):
        tail += 1
    old_stop, new_stop = len(old) - tail, len(new) - tail
    both = min(old_stop, new_stop)
    for index in range(head, both):
        yield from compare(old[index], new[index], (*path, index))
    for index in range(both, new_stop):
        yield Change((*path, index), MISSING, new[index])
    for index in range(old_stop - 1, both - 1, -1):  # backwards keeps the indexes valid
        yield Change((*path, index), old[index], MISSING)


def patch(tree: Any, changes: Sequence[Change]) -> Any:
    """Return a changed copy of ``tree``; the original is left alone.

    Either all the changes are made, or Conflict is raised.
    """
    root = {"": copy.deepcopy(tree)}
    for change in changes:
        *parents, last = ("", *change.path)
        node: Any = root
        try:
            for step in parents:
                node = node[step]
            _apply(node, last, change)
        except (KeyError, IndexError, TypeError):
            raise Conflict(f"nothing is left at the place of: {change}") from None
    return root[""]


def _apply(node: Any, last: Step, change: Change) -> None:
    if isinstance(node, list) and change.old is MISSING:
        if last > len(node):
            raise Conflict(f"the list is too short for: {change}")
        node.insert(last, copy.deepcopy(change.new))
        return
    try:
        present = node[last]
    except (KeyError, IndexError):
        present = MISSING
    if not _same(present, change.old):
        raise Conflict(f"something else is at the place of: {change}")
    if change.new is MISSING:
        del node[last]
    else:
        node[last] = copy.deepcopy(change.new)


def undo(changes: Sequence[Change]) -> list[Change]:
    return [change.inverse() for change in reversed(changes)]


if __name__ == "__main__":
    first = {"name": "mill", "ports": [80, 443], "users": [{"id": 1}, {"id": 2}], "debug": 1}
    second = {"name": "mill", "ports": [443], "users": [{"id": 1, "role": "admin"}, {"id": 2}],
              "debug": True, "limits": {"cpu": None}}
    changes = list(compare(first, second))
    print(*changes, sep="\n")
    assert len(changes) == 4 and patch(first, changes) == second
    assert patch(first, changes)["debug"] is True, "True and 1 are not the same setting"
    assert patch(second, undo(changes)) == first
    assert "limits" not in first, "patch works on a copy"
    assert patch({**first, "name": "barn"}, changes)["name"] == "barn"
    for meddled in ({**first, "debug": 2}, {**first, "limits": {}}, {**first, "users": []}, 7):
        try:
            patch(meddled, changes)
        except Conflict as error:
            print("conflict:", error)

    samples = [[], [1], [2, 1], [3, [1, 2], {"a": [1]}], {"a": {"b": [1, 2]}}, None,
               {"a": {"b": [2], "c": 0}}, [[1], [1], [2]], [[1], [2], [2], 1.0]]
    for a in samples:
        for b in samples:
            steps = list(compare(a, b))
            assert _same(patch(a, steps), b) and _same(patch(b, undo(steps)), a), (a, b)
            assert bool(steps) == (a is not b)
