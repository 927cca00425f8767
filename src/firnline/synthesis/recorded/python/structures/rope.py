"""A rope: a long text that is cheap to edit in the middle.

Inserting one character near the start of a ten-megabyte string copies the whole
string.  A rope keeps the text in the leaves of a binary tree whose inner nodes
record how many characters lie to their left.  Splitting and joining touch only
one path of the tree, so an edit costs logarithmic time, and since nodes are never
changed, every older version stays valid: undo is just keeping the old root.

Balance comes from the node depth: a rope that has become too deep for its length
is rebuilt from its leaves, by the Fibonacci rule of Boehm, Atkinson and Plass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

LEAF_SIZE = 64


@dataclass(frozen=True)
class Leaf:
    text: str
    depth: int = 0

    def __len__(self) -> int:
        return len(self.text)


@dataclass(frozen=True)
class Branch:
    left: Tree
    right: Tree
    length: int
    depth: int

    def __len__(self) -> int:
        return self.length


Tree = Union[Leaf, Branch]

def _join(left: Tree, right: Tree) -> Tree:
    if not len(left) or not len(right):
        return left if len(left) else right
    length = len(left) + len(right)
    if isinstance(left, Leaf) and isinstance(right, Leaf) and length <= LEAF_SIZE:
        return Leaf(left.text + right.text)
    return Branch(left, right, length, 1 + max(left.depth, right.depth))


def _split(tree: Tree, position: int) -> tuple[Tree, Tree]:
    if isinstance(tree, Leaf):
        return Leaf(tree.text[:position]), Leaf(tree.text[position:])
    border = len(tree.left)
    if position <= border:
        first, second = _split(tree.left, position)
        return first, _join(second, tree.right)
    first, second = _split(tree.right, position - border)
    return _join(tree.left, first), second


def _leaves(tree: Tree) -> Iterator[str]:
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, Branch):
            pending += (node.right, node.left)
        else:
            yield node.text


def _build(pieces: list[str]) -> Tree:
    if len(pieces) <= 1:
        return Leaf("".join(pieces))
    middle = len(pieces) // 2
    return _join(_build(pieces[:middle]), _build(pieces[middle:]))


def _is_balanced(tree: Tree) -> bool:
    """Tell whether the rope is as long as its depth deserves."""
    a, b = 0, 1
    for _ in range(tree.depth):
        a, b = b, a + b
    return a <= len(tree)


class Rope:
    """An immutable text with cheap ``insert`` and ``delete``.

    >>> draft = Rope("the fox")
    >>> final = draft.insert(4, "quick ").delete(0, 3).insert(0, "A")
    >>> str(final), str(draft)
    ('A quick fox', 'the fox')
    """

    __slots__ = ("_tree",)

    def __init__(self, text: str = "", _tree: Tree | None = None) -> None:
        if _tree is None:
            cuts = range(0, len(text), LEAF_SIZE)
            _tree = _build([text[cut : cut + LEAF_SIZE] for cut in cuts])
        elif not _is_balanced(_tree):
            _tree = _build(list(_leaves(_tree)))
        self._tree: Tree = _tree

    def __len__(self) -> int:
        return len(self._tree)

    def __str__(self) -> str:
        return "".join(_leaves(self._tree))

    def __getitem__(self, position: int) -> str:
        if not 0 <= position < len(self):
            raise IndexError(f"no character at {position}")
        node = self._tree
        while isinstance(node, Branch):
            if position < len(node.left):
                node = node.left
            else:
                node, position = node.right, position - len(node.left)
        return node.text[position]

    def insert(self, position: int, text: str) -> Rope:
        if not 0 <= position <= len(self):
            raise IndexError(f"position {position} is outside the text")
        before, after = _split(self._tree, position)
        return Rope(_tree=_join(_join(before, Rope(text)._tree), after))

    def delete(self, start: int, stop: int) -> Rope:
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"range {start}:{stop} is outside the text")
        before, rest = _split(self._tree, start)
        return Rope(_tree=_join(before, _split(rest, stop - start)[1]))


if __name__ == "__main__":
    import random

    rng, plain, rope = random.Random(5), "", Rope()
    history: list[tuple[Rope, str]] = []
    for step in range(1500):
        if rng.random() < 0.7 or not plain:
            spot, word = rng.randint(0, len(plain)), rng.choice("abc") * rng.randint(1, 90)
            plain, rope = plain[:spot] + word + plain[spot:], rope.insert(spot, word)
        else:
            start = rng.randrange(len(plain))
            stop = min(len(plain), start + 40)
            plain, rope = plain[:start] + plain[stop:], rope.delete(start, stop)
        history.append((rope, plain))
    assert all(str(old) == text for old, text in history[::50] + history[-1:])
    assert all(rope[spot] == plain[spot] for spot in range(0, len(plain), 997))
    print(f"{len(rope)} characters in a tree of depth {rope._tree.depth}")
    assert rope._tree.depth < 40
    try:
        rope[len(rope)]
    except IndexError as error:
        print("rejected:", error)
