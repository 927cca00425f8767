"""What many tasks of a benchmark share is an idiom and belongs to none of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARED_TASKS = 2
"""How many tasks of a benchmark may share a passage that still tells of them."""


def shared(
    passages: NDArray[np.uint64], benchmarks: NDArray[np.int64], members: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which of the passages more than SHARED_TASKS members of their benchmark have.

    Row i says that a member of a benchmark has a passage, known by its hash or number.
    """
    order = np.lexsort((members, benchmarks, passages))
    new_passage = np.ones(len(order), dtype=bool)
    new_passage[1:] = (np.diff(passages[order]) != 0) | (np.diff(benchmarks[order]) != 0)
    new_member = new_passage.copy()
    new_member[1:] |= np.diff(members[order]) != 0
    group = np.cumsum(new_passage) - 1
    counts = np.bincount(group, weights=new_member) if len(order) else np.zeros(0)
    common = np.empty(len(order), dtype=bool)
    common[order] = counts[group] > SHARED_TASKS
    return common
