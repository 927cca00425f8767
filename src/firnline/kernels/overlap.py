"""Shared content of repositories, from files sorted by content and then by repository."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel

Contents = NDArray[np.uint64]
Repositories = NDArray[np.uint32]
Sizes = NDArray[np.int64]

_32 = np.uint64(32)


@kernel
def without_common(
    contents: Contents, repositories: Repositories, sizes: Sizes, common: int
) -> int:
    """Leaves each repository once for each content, and no content of over `common` of them.

    Works in place on arrays sorted by (content, repository); returns how many rows are left.
    """
    place = start = 0
    while start < len(contents):
        content = contents[start]
        first = place
        row = start
        while row < len(contents) and contents[row] == content:
            if place == first or repositories[row] != repositories[place - 1]:
                contents[place] = contents[row]  # never ahead of what has been read
                repositories[place] = repositories[row]
                sizes[place] = sizes[row]
                place += 1
            row += 1
        if place - first > common:
            place = first
        start = row
    return place


@kernel
def front_pairs(
    contents: Contents, repositories: Repositories, sizes: Sizes, front: int
) -> tuple[NDArray[np.uint64], Sizes]:
    """(later << 32 | earlier, bytes): each content's first `front` holders with its later ones."""
    pairs = np.empty(front * len(contents), dtype=np.uint64)
    weights = np.empty(front * len(contents), dtype=np.int64)
    place = start = 0
    for row in range(len(contents)):
        if contents[row] != contents[start]:
            start = row
        for first in range(start, min(start + front, row)):
            pairs[place] = (np.uint64(repositories[row]) << _32) | np.uint64(repositories[first])
            weights[place] = sizes[row]
            place += 1
    return pairs[:place].copy(), weights[:place].copy()


@kernel
def add_shared(
    contents: Contents,
    repositories: Repositories,
    sizes: Sizes,
    offsets: NDArray[np.int64],
    earlier: Repositories,
    stamps: NDArray[np.int64],
    shared: Sizes,
    files: NDArray[np.int64],
) -> None:
    """Adds the bytes and the number of contents that each pair of repositories shares.

    `offsets` and `earlier` list, for each repository, the ones it is compared with; `shared` and
    `files` have an entry for each of `earlier`. `stamps` has one for each repository, -1 at first.
    """
    start = 0
    for row in range(len(contents)):
        if contents[row] != contents[start]:
            start = row
        repository = repositories[row]
        stamps[repository] = start
        for place in range(offsets[repository], offsets[repository + 1]):
            if stamps[earlier[place]] == start:
                shared[place] += sizes[row]
                files[place] += 1
    for row in range(len(contents)):
        stamps[repositories[row]] = -1
