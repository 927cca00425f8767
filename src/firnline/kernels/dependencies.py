"""The order of files in which what a file depends on comes before it.

DeepSeek-Coder, section 2.2 and algorithm 1 (Guo et al. 2024): in each connected component the
file with the fewest unmet dependencies comes next, so that a cycle costs as few of them as the
greedy choice can. Ties go to the lower number.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel

Integers = NDArray[np.int64]

_32 = np.int64(32)


@kernel
def _root(parent: Integers, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@kernel
def _meet(
    first: Integers, users: Integers, unmet: Integers, heap: list[int], files: int, node: int
) -> None:
    """Takes `node` off the unmet dependencies of all that use it; a whole set is met in turn."""
    for edge in range(first[node], first[node + 1]):
        user = users[edge]
        unmet[user] -= 1
        if user < files:
            heapq.heappush(heap, (unmet[user] << _32) | user)
        elif unmet[user] == 0:
            for place in range(first[user], first[user + 1]):
                unmet[users[place]] -= 1
                heapq.heappush(heap, (unmet[users[place]] << _32) | users[place])


@kernel
def dependency_order(
    files: int, nodes: int, users: Integers, used: Integers
) -> tuple[Integers, Integers]:
    """The files 0 to `files - 1` in order, and each file's unmet dependencies when it was taken.

    Edge e says that `users[e]` depends on `used[e]`; no edge may come twice or join a node to
    itself. Nodes from `files` up are sets: a set depends on its members, files depend on the set,
    which counts as one dependency and is met when all its members have come. The components come
    in the order of their lowest file. Costs O((nodes + edges) log(edges)).
    """
    parent = np.arange(nodes)
    unmet = np.zeros(nodes, dtype=np.int64)
    first = np.zeros(nodes + 1, dtype=np.int64)
    for edge in range(len(users)):
        unmet[users[edge]] += 1
        first[used[edge] + 1] += 1
        a, b = _root(parent, users[edge]), _root(parent, used[edge])
        parent[max(a, b)] = min(a, b)
    first = np.cumsum(first)
    place = first[:-1].copy()
    users_of = np.empty(len(users), dtype=np.int64)
    for edge in range(len(users)):
        users_of[place[used[edge]]] = users[edge]
        place[used[edge]] += 1
    roots = np.empty(files, dtype=np.int64)
    for file in range(files):
        roots[file] = _root(parent, file)
    grouped = np.argsort(roots, kind="mergesort")
    order = np.empty(files, dtype=np.int64)
    left = np.full(files, -1, dtype=np.int64)
    taken = 0
    start = 0
    heap = [0]
    while start < files:
        stop = start
        heap.clear()
        while stop < files and roots[grouped[stop]] == roots[grouped[start]]:
            heap.append((unmet[grouped[stop]] << _32) | grouped[stop])
            stop += 1
        heapq.heapify(heap)
        while heap:
            entry = heapq.heappop(heap)
            file = entry & 0xFFFFFFFF
            if left[file] >= 0 or unmet[file] != entry >> _32:
                continue  # taken already, or an entry from before a dependency was met
            left[file] = unmet[file]
            order[taken] = file
            taken += 1
            _meet(first, users_of, unmet, heap, files, file)
        start = stop
    return order, left
