"""Suggest corrections for misspelt words with a Burkhard-Keller tree.

Comparing a typo with each word of a big dictionary is slow.  The edit distance
is a metric, so the triangle inequality can rule out most of the words: if the
query is ``d`` edits away from a node, then all words within ``r`` edits of the
query hang below edges labelled ``d - r`` to ``d + r``.  Whole subtrees outside
that band are never visited.

The distance here is "optimal string alignment": insertions, deletions and
substitutions count one, and so does swapping two neighbouring letters, which is
the most common slip of a typist.  Alignment distance breaks the triangle rule in
rare cases, so the tree is built on plain Levenshtein distance and the suggestions
are then ranked with the typist's distance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def edit_distance(a: str, b: str, swaps: bool = False) -> int:
    """Count the single-letter edits that turn ``a`` into ``b``.

    >>> edit_distance("kitten", "sitting")
    3
    >>> edit_distance("form", "from"), edit_distance("form", "from", swaps=True)
    (2, 1)
    """
    before: list[int] = []
    above = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        row = [i]
        for j, y in enumerate(b, start=1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y))
            if swaps and i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, above = above, row
    return above[-1]


class _Node:
    __slots__ = ("word", "children")

    def __init__(self, word: str) -> None:
        self.word = word
        self.children: dict[int, _Node] = {}


class SpellingTree:
    """A set of words that can be searched by similarity."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self._root: _Node | None = None
        self._size = 0
        self.visited = 0  # nodes compared by the latest search, for measuring
        for word in words:
            self.add(word)

    def __len__(self) -> int:
        return self._size

    def add(self, word: str) -> bool:
        """Insert ``word``; return False if it was there already."""
        if not word:
            raise ValueError("cannot store an empty word")
        if self._root is None:
            self._root, self._size = _Node(word), 1
            return True
        node = self._root
        while distance := edit_distance(word, node.word):
            child = node.children.get(distance)
            if child is None:
                node.children[distance] = _Node(word)
                self._size += 1
                return True
            node = child
        return False

    def within(self, query: str, radius: int) -> Iterator[tuple[int, str]]:
        """Yield ``(distance, word)`` for all words at most ``radius`` edits away."""
        self.visited = 0
        pending = [self._root] if self._root else []
        while pending:
            node = pending.pop()
            self.visited += 1
            distance = edit_distance(query, node.word)
            if distance <= radius:
                yield distance, node.word
            pending.extend(
                child
                for label, child in node.children.items()
                if distance - radius <= label <= distance + radius
            )

    def suggest(self, typo: str, count: int = 3) -> list[str]:
        """Return the most plausible corrections, the best one first."""
        for radius in range(3):
            found = [word for _, word in self.within(typo, radius)]
            if len(found) >= count or (radius == 0 and found):
                break
        found.sort(key=lambda word: (edit_distance(typo, word, swaps=True), word))
        return found[:count]


WORDS = """anchor barrel beacon bridge candle canvas castle cellar corner desert
    dragon engine falcon forest friend garden hammer harbor island jacket kettle
    ladder lantern marble market meadow mirror needle orange palace pencil planet
    pocket rabbit ribbon rocket saddle shadow silver spring stream summer temple
    timber tunnel valley velvet violin walnut window winter wonder yellow""".split()

if __name__ == "__main__":
    tree = SpellingTree(WORDS)
    assert len(tree) == len(WORDS) and not tree.add("winter")
    for typo in ("sumemr", "rokcet", "lanten", "casle", "winder"):
        print(f"{typo:8} -> {', '.join(tree.suggest(typo))}")
    assert tree.suggest("sumemr")[0] == "summer"
    assert tree.suggest("island") == ["island"]

    # The pruned search must agree with a scan over the whole dictionary.
    for query in ("market", "wander", "zzz", "cand"):
        for radius in range(4):
            scan = {(d, w) for w in WORDS if (d := edit_distance(query, w)) <= radius}
            assert set(tree.within(query, radius)) == scan
    assert list(tree.within("garden", 0)) == [(0, "garden")]
    print(f"an exact lookup compared {tree.visited} of {len(tree)} words")
    assert tree.visited < len(tree) // 3
    assert SpellingTree().suggest("any") == []
