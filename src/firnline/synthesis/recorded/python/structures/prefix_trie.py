"""A compressed trie (radix tree) for prefix lookups and completion.

A plain trie spends one node per letter.  This one stores a whole run of letters
on an edge and splits the edge only when two words part in its middle, so the
number of nodes is at most twice the number of words.  It is offered as a mapping
from strings to values with three more queries that a dictionary cannot answer:

* all entries that start with a prefix, in order,
* the longest stored key that is a prefix of a given text (as in routing tables),
* the text that can be completed without a choice, as a shell does on Tab.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from os.path import commonprefix
from typing import Generic, TypeVar

V = TypeVar("V")
_MISSING = object()


class _Node(Generic[V]):
    __slots__ = ("edges", "value")

    def __init__(self, value: object = _MISSING) -> None:
        # The first letter of a label finds the edge: labels of one node never
        # share a first letter.
        self.edges: dict[str, tuple[str, _Node[V]]] = {}
        self.value = value


class PrefixTrie(MutableMapping[str, V]):
    """A mapping with string keys that knows about prefixes.

    >>> trie = PrefixTrie({"car": 1, "cart": 2, "cat": 3, "dog": 4})
    >>> list(trie.with_prefix("car"))
    [('car', 1), ('cart', 2)]
    >>> trie.longest_prefix("cartography")
    ('cart', 2)
    """

    def __init__(self, entries: object = ()) -> None:
        self._root: _Node[V] = _Node()
        self._size = 0
        self.update(entries)

    def __setitem__(self, key: str, value: V) -> None:
        node, rest = self._root, key
        while rest:
            label, child = node.edges.get(rest[0], ("", None))
            if child is None:
                child = _Node()
                node.edges[rest[0]] = (rest, child)
                node, rest = child, ""
                break
            shared = len(commonprefix([label, rest]))
            if shared < len(label):
                middle: _Node[V] = _Node()
                middle.edges[label[shared]] = (label[shared:], child)
                node.edges[rest[0]] = (label[:shared], middle)
                child = middle
            node, rest = child, rest[shared:]
        self._size += node.value is _MISSING
        node.value = value

    def _path(self, key: str) -> list[_Node[V]]:
        """Return the nodes from the root to ``key``; raise KeyError if absent."""
        nodes, rest = [self._root], key
        while rest:
            label, child = nodes[-1].edges.get(rest[0], ("", None))
            if child is None or not rest.startswith(label):
                raise KeyError(key)
            nodes.append(child)
            rest = rest[len(label) :]
        if nodes[-1].value is _MISSING:
            raise KeyError(key)
        return nodes

    def __getitem__(self, key: str) -> V:
        return self._path(key)[-1].value  # type: ignore[return-value]

    def __delitem__(self, key: str) -> None:
        *parents, node = self._path(key)
        node.value = _MISSING
        self._size -= 1
        if not node.edges and parents:
            parent = parents[-1]
            first = next(f for f, (_, child) in parent.edges.items() if child is node)
            del parent.edges[first]
            node, parents = parent, parents[:-1]
        if parents and node.value is _MISSING and len(node.edges) == 1:
            # The node no longer branches: melt its two edges into one.
            for first, (label, child) in parents[-1].edges.items():
                if child is node:
                    ((tail, grandchild),) = node.edges.values()
                    parents[-1].edges[first] = (label + tail, grandchild)
                    break

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self.with_prefix(""))

    def with_prefix(self, prefix: str) -> Iterator[tuple[str, V]]:
        """Yield the entries whose key starts with ``prefix`` in sorted order."""
        node, rest, path = self._root, prefix, ""
        while rest:
            label, child = node.edges.get(rest[0], ("", None))
            if child is None or not (label.startswith(rest) or rest.startswith(label)):
                return
            node, path, rest = child, path + label, rest[len(label) :]
        pending = [(path, node)]
        while pending:
            path, node = pending.pop()
            if node.value is not _MISSING:
                yield path, node.value  # type: ignore[misc]
            for first in sorted(node.edges, reverse=True):
                label, child = node.edges[first]
                pending.append((path + label, child))

    def longest_prefix(self, text: str) -> tuple[str, V] | None:
        """Return the entry with the longest key that ``text`` starts with."""
        node, depth, best = self._root, 0, None
        while True:
            if node.value is not _MISSING:
                best = (text[:depth], node.value)
            label, child = node.edges.get(text[depth : depth + 1], ("", None))
            if child is None or not text.startswith(label, depth):
                return best  # type: ignore[return-value]
            node, depth = child, depth + len(label)

    def complete(self, prefix: str) -> str:
        """Extend ``prefix`` as far as all the matching keys agree."""
        return commonprefix([key for key, _ in self.with_prefix(prefix)]) or prefix


if __name__ == "__main__":
    commands = PrefixTrie({name: len(name) for name in "commit compare config clone".split()})
    assert commands.complete("com") == "com" and commands.complete("con") == "config"
    assert commands.complete("zip") == "zip"
    print("co ->", [name for name, _ in commands.with_prefix("co")])

    routes = PrefixTrie({"": "front page", "/blog": "blog", "/blog/admin": "editor"})
    assert routes.longest_prefix("/blog/2024") == ("/blog", "blog")
    assert routes.longest_prefix("/about") == ("", "front page")

    words = [format(n * 37 % 512, "b") for n in range(300)]
    trie, model = PrefixTrie(), {}
    for turn, word in enumerate(words):
        trie[word] = model[word] = turn
        if turn % 3 == 2:
            victim = words[turn // 2]
            assert trie.pop(victim, None) == model.pop(victim, None)
        assert len(trie) == len(model)
    assert list(trie.items()) == sorted(model.items())
    assert [k for k, _ in trie.with_prefix("101")] == sorted(k for k in model if k[:3] == "101")
    print(f"{len(trie)} keys agree with a dictionary")
