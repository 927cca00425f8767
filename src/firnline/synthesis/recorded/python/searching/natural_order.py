"""Order file names the way people do: "page 9" before "page 10".

Plain string comparison looks at one character at a time and therefore puts
"img10" before "img2".  A natural sort key cuts a name into text and number
pieces and compares numbers by value.  Three details decide whether such a key
is dependable:

* Pieces of different kinds must never be compared with each other directly,
  because Python refuses to order an ``int`` and a ``str``.
* Names that differ only in case or in leading zeros should stay together, but
  the order between them must still be well defined.
* Chapters and versions use dots, so "1.10" is two whole numbers, not a decimal.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import total_ordering

_NUMBER = re.compile(r"(\d+)")


@total_ordering
class NaturalKey:
    """A sort key for one name; equal keys mean equal names.

    >>> sorted(["b2", "B10", "a03", "a3"], key=NaturalKey)
    ['a3', 'a03', 'b2', 'B10']
    """

    __slots__ = ("_pieces", "_tiebreak")

    def __init__(self, name: str) -> None:
        text = unicodedata.normalize("NFKC", name)
        # re.split with a group puts the numbers at the odd positions, always.
        parts = _NUMBER.split(text)
        self._pieces: tuple[tuple[int, int, str], ...] = tuple(
            (0, int(part), "") if position % 2 else (1, 0, part.casefold())
            for position, part in enumerate(parts)
            if part
        )
        zeros = tuple(len(part) for part in parts[1::2])
        self._tiebreak = (zeros, text, name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NaturalKey):
            return NotImplemented
        return self._tiebreak == other._tiebreak

    def __lt__(self, other: NaturalKey) -> bool:
        if not isinstance(other, NaturalKey):
            return NotImplemented
        return (self._pieces, self._tiebreak) < (other._pieces, other._tiebreak)

    def __hash__(self) -> int:
        return hash(self._tiebreak)


def path_key(path: str) -> tuple[NaturalKey, ...]:
    """Key for whole paths: folders are compared before the names inside them."""
    return tuple(NaturalKey(part) for part in re.split(r"[\\/]+", path) if part)


def find_missing(names: Iterable[str]) -> dict[str, list[int]]:
    """Report holes in numbered series such as scan1, scan2, scan4.

    Names are grouped by everything around their last number.  A series with one
    member has no holes, and unnumbered names are left out.

    >>> find_missing(["scan1.png", "scan2.png", "scan5.png", "notes.txt"])
    {'scan#.png': [3, 4]}
    """
    series: dict[str, set[int]] = {}
    for name in names:
        parts = _NUMBER.split(name)
        if len(parts) < 3:
            continue
        label = "".join(parts[:-2]) + "#" + parts[-1]
        series.setdefault(label, set()).add(int(parts[-2]))
    return {
        label: holes
        for label, seen in series.items()
        if (holes := [n for n in range(min(seen), max(seen)) if n not in seen])
    }


def is_sorted(names: Sequence[str]) -> bool:
    """Tell whether ``names`` is already in natural order."""
    return all(NaturalKey(a) <= NaturalKey(b) for a, b in zip(names, names[1:]))


if __name__ == "__main__":
    shuffled = ["ch10.txt", "Ch2.txt", "ch1.txt", "appendix", "ch1.10.txt", "ch1.9.txt", "7"]
    ordered = sorted(shuffled, key=NaturalKey)
    print(*ordered, sep="\n")
    assert ordered == [
        "7", "appendix", "ch1.9.txt", "ch1.10.txt", "ch1.txt", "Ch2.txt", "ch10.txt"
    ]
    assert is_sorted(ordered) and not is_sorted(shuffled)

    # A total order: whatever order the names start in, the result is the same.
    assert sorted(reversed(shuffled), key=NaturalKey) == ordered
    assert len({NaturalKey("a1"), NaturalKey("a01"), NaturalKey("a1")}) == 2

    paths = ["v10/a", "v9/z10", "v9/z9", "v9"]
    assert sorted(paths, key=path_key) == ["v9", "v9/z9", "v9/z10", "v10/a"]
    try:
        NaturalKey("a") < "a"
    except TypeError as error:
        print("no mixing with strings:", error)
    print("holes:", find_missing(["s1-8", "s1-11", "s2-1"]))
