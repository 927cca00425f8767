"""The order of files in which what a file depends on comes before it.

After DeepSeek-Coder, section 2.2 and algorithm 1 (Guo et al. 2024): in each connected component
the file with the fewest unmet dependencies comes next, ties by number. One thing is done better:
a file comes only when all it depends on has come, but for the cycle that it is itself part of.
The published rule lets a file that waits for nothing but a cycle come before the cycle.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel

Integers = NDArray[np.int64]

_32 = np.int64(32)
_LOW = np.int64(0xFFFFFFFF)


@kernel
def _root(parent: Integers, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@kernel
def _rows(keys: Integers, values: Integers, size: int) -> tuple[Integers, Integers]:
    """The values of each key: those of key k are at `first[k]` to `first[k + 1] - 1`."""
    first = np.zeros(size + 1, dtype=np.int64)
    for key in keys:
        first[key + 1] += 1
    first = np.cumsum(first)
    place = first[:-1].copy()
    sorted_values = np.empty(len(values), dtype=np.int64)
    for entry in range(len(keys)):
        sorted_values[place[keys[entry]]] = values[entry]
        place[keys[entry]] += 1
    return first, sorted_values


@kernel
def _cycles(first: Integers, used: Integers, nodes: int) -> Integers:
    """A number for each node, equal for nodes that lie on a common cycle (Tarjan 1972)."""
    number = np.full(nodes, -1, dtype=np.int64)
    low = np.zeros(nodes, dtype=np.int64)
    cycle = np.full(nodes, -1, dtype=np.int64)
    place = first[:-1].copy()  # the next edge of each node that is open
    path = np.empty(nodes, dtype=np.int64)
    open_nodes = np.empty(nodes, dtype=np.int64)
    seen = cycles = opened = 0
    for start in range(nodes):
        if number[start] >= 0:
            continue
        depth = 0
        path[0] = start
        while depth >= 0:
            node = path[depth]
            if number[node] < 0:
                number[node] = low[node] = seen
                seen += 1
                open_nodes[opened] = node
                opened += 1
            if place[node] < first[node + 1]:
                other = used[place[node]]
                place[node] += 1
                if number[other] < 0:
                    depth += 1
                    path[depth] = other
                elif cycle[other] < 0:
                    low[node] = min(low[node], number[other])
                continue
            if low[node] == number[node]:
                while cycle[node] < 0:
                    opened -= 1
                    cycle[open_nodes[opened]] = cycles
                cycles += 1
            depth -= 1
            if depth >= 0:
                low[path[depth]] = min(low[path[depth]], low[node])
    return cycle


@kernel
def dependency_order(
    files: int, nodes: int, users: Integers, used: Integers
) -> tuple[Integers, Integers]:
    """The files 0 to `files - 1` in order, and each file's unmet dependencies when it was taken.

    Edge e says that `users[e]` depends on `used[e]`; no edge may come twice or join a node to
    itself. Nodes from `files` up are sets: a set depends on its members, files depend on the set,
    which counts as one dependency and is met when all its members have come. The components come
    in the order of their lowest file. Costs O((nodes + edges) log(nodes + edges)).
    """
    parent = np.arange(nodes)
    for edge in range(len(users)):
        a, b = _root(parent, users[edge]), _root(parent, used[edge])
        parent[max(a, b)] = min(a, b)
    roots = np.empty(files, dtype=np.int64)
    for row in range(files):
        roots[row] = _root(parent, row)
    by_component = np.argsort(roots, kind="mergesort")
    first_used, used_by = _rows(users, used, nodes)
    cycle = _cycles(first_used, used_by, nodes)
    first_user, users_of = _rows(used, users, nodes)
    first_file, files_of = _rows(cycle[:files], np.arange(files), nodes)
    unmet = np.zeros(nodes, dtype=np.int64)
    outside = np.zeros(nodes, dtype=np.int64)  # for each cycle: unmet dependencies not part of it
    for edge in range(len(users)):
        unmet[users[edge]] += 1
        outside[cycle[users[edge]]] += cycle[users[edge]] != cycle[used[edge]]
    order = np.empty(files, dtype=np.int64)
    left = np.full(files, -1, dtype=np.int64)
    taken = 0
    start = 0
    heap = [np.int64(0)]
    met = [np.int64(0)]
    while start < files:
        stop = start
        heap.clear()
        while stop < files and roots[by_component[stop]] == roots[by_component[start]]:
            member = by_component[stop]
            if outside[cycle[member]] == 0:
                heapq.heappush(heap, (unmet[member] << _32) | member)
            stop += 1
        start = stop
        while heap:
            entry = heapq.heappop(heap)
            file = entry & _LOW
            if left[file] >= 0 or unmet[file] != entry >> _32:
                continue  # taken already, or an entry from before a dependency was met
            left[file] = unmet[file]
            order[taken] = file
            taken += 1
            met.clear()
            met.append(file)
            while met:
                node = met.pop()
                for place in range(first_user[node], first_user[node + 1]):
                    user = users_of[place]
                    unmet[user] -= 1
                    if user >= files and unmet[user] == 0:
                        met.append(user)
                    own = cycle[user]
                    if own == cycle[node]:
                        if user < files and outside[own] == 0:
                            heapq.heappush(heap, (unmet[user] << _32) | user)
                        continue
                    outside[own] -= 1
                    if outside[own] == 0:
                        for member in files_of[first_file[own] : first_file[own + 1]]:
                            heapq.heappush(heap, (unmet[member] << _32) | member)
    return order, left
