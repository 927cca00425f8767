"""Strongly connected parts of a directed graph, without recursion.

Two nodes belong together when each can be reached from the other.  In a call graph
such groups are mutually recursive functions; in a module graph they are import
cycles; in a web of links they are communities.  Collapsing every group to one node
always leaves a graph without cycles, which is the starting point for many analyses.

Tarjan's algorithm finds all groups in a single depth-first walk.  The textbook
version is recursive and hits the recursion limit on long chains, so this one keeps
its own stack of half-finished iterators.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

N = TypeVar("N", bound=Hashable)


def strong_components(graph: Mapping[N, Iterable[N]]) -> Iterator[list[N]]:
    """Yield the groups; a group comes after all the groups that it points to.

    Nodes that occur only as targets count as nodes without successors.

    >>> list(strong_components({"a": "b", "b": "ac", "c": ""}))
    [['c'], ['b', 'a']]
    """
    order: dict[N, int] = {}  # when each node was first seen
    lowest: dict[N, int] = {}  # the oldest open node that it is known to reach
    open_nodes: list[N] = []
    is_open: set[N] = set()

    walk: list[tuple[N, Iterator[N]]] = []

    def enter(node: N) -> None:
        order[node] = lowest[node] = len(order)
        open_nodes.append(node)
        is_open.add(node)
        walk.append((node, iter(graph.get(node, ()))))

    for root in graph:
        if root in order:
            continue
        enter(root)
        while walk:
            node, successors = walk[-1]
            for target in successors:
                if target not in order:
                    enter(target)
                    break
                if target in is_open:
                    lowest[node] = min(lowest[node], order[target])
            else:
                walk.pop()
                if walk:
                    parent = walk[-1][0]
                    lowest[parent] = min(lowest[parent], lowest[node])
                if lowest[node] == order[node]:
                    group = []
                    while not group or group[-1] != node:
                        group.append(open_nodes.pop())
                        is_open.discard(group[-1])
                    yield group


def condense(graph: Mapping[N, Iterable[N]]) -> dict[frozenset[N], set[frozenset[N]]]:
    """Return the graph of the groups: which group has an edge into which other."""
    groups = [frozenset(group) for group in strong_components(graph)]
    group_of = {node: group for group in groups for node in group}
    return {
        group: {
            group_of[target] for node in group for target in graph.get(node, ())
        } - {group}
        for group in groups
    }


def cyclic_groups(graph: Mapping[N, Iterable[N]]) -> Iterator[list[N]]:
    """Yield only the groups with a cycle: several nodes, or one with a self-loop."""
    for group in strong_components(graph):
        if len(group) > 1 or group[0] in graph.get(group[0], ()):
            yield group


def implications_hold(clauses: Iterable[tuple[int, int]]) -> dict[int, bool] | None:
    """Solve a 2-SAT problem: each clause demands that one of two literals is true.

    Literals are nonzero integers, ``-3`` meaning "variable 3 is false".  The
    clause (a or b) says that "not a" implies b and "not b" implies a.  There is a
    solution unless a variable and its negation share a group.

    >>> implications_hold([(1, 2), (-1, 2), (-2, 3)])
    {1: True, 2: True, 3: True}
    """
    graph: dict[int, list[int]] = {}
    for a, b in clauses:
        if not a or not b:
            raise ValueError("zero is not a literal")
        for literal in (a, b):
            graph.setdefault(literal, [])
            graph.setdefault(-literal, [])
        graph[-a].append(b)
        graph[-b].append(a)
    # Groups arrive with the most implied first: whatever is met first is made true.
    values: dict[int, bool] = {}
    for group in strong_components(graph):
        members = set(group)
        if any(-literal in members for literal in members):
            return None
        for literal in group:
            values.setdefault(abs(literal), literal > 0)
    return dict(sorted(values.items()))


if __name__ == "__main__":
    imports = {
        "app": ["views", "models"],
        "views": ["forms", "auth"],
        "forms": ["models", "views"],
        "auth": ["models"],
        "models": ["models", "db"],
    }
    print("import cycles:", [sorted(group) for group in cyclic_groups(imports)])
    assert {frozenset(g) for g in cyclic_groups(imports)} == {
        frozenset({"views", "forms"}), frozenset({"models"})
    }
    collapsed = condense(imports)
    seen: set[frozenset[str]] = set()
    for group, targets in collapsed.items():
        assert targets <= seen, "targets come first, so there is no cycle left"
        seen.add(group)

    chain = {n: [n + 1] for n in range(30_000)}
    assert sum(1 for _ in strong_components(chain)) == 30_001
    chain[30_000] = [0]
    (ring,) = strong_components(chain)
    print("size of the long ring:", len(ring))

    clauses = [(1, 2), (-1, -2), (2, 3), (-3, -1), (4, -2)]
    answer = implications_hold(clauses)
    assert answer is not None
    assert all(answer[abs(a)] == (a > 0) or answer[abs(b)] == (b > 0) for a, b in clauses)
    print("a solution:", answer)
    assert implications_hold([(1, 1), (-1, -1)]) is None
