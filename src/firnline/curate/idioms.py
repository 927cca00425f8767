"""Passages that tell of no task: what many tasks share, and what everybody writes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from firnline.documents import buffers
from firnline.kernels.passages import words_of
from firnline.kernels.shingles import ngram_hashes

SHARED_TASKS = 2
"""How many tasks of a benchmark may share a passage that still tells of them."""

# The 10-grams of tasks that lie in two or more of 51 packages that hold no task (`double` of
# benchmarks/gather.py; of the others each lies in one at most), joined where they overlap.
PHRASES = (
    "months January February March April May June July August September",
    "January February March April May June July August September October November December",
    "one 1 two 2 three 3 four 4 five 5 six 6 seven 7 eight 8 nine 9",
    "for i in range rows for j in range cols if",
    "for j in range cols for i in range rows",
    "import matplotlib pyplot as plt fig plt figure ax fig add_subplot",
    "fig ax plt subplots ax plot x y o label",
    "fig ax plt subplots ax plot x y ax set_title",
    "The number of clusters to form as well as the number of centroids to generate",
    "must be less than or equal to the number of",
)


def distinct(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The values without repetition, ascending: `np.unique` goes by a hash table, and is slower."""
    values = np.sort(values)
    new = np.ones(len(values), dtype=bool)
    new[1:] = values[1:] != values[:-1]
    return values[new]


def everybodys(ngrams: NDArray[np.uint64], ngram: int) -> NDArray[np.bool_]:
    """Which n-grams of words lie in one of PHRASES."""
    words, _, _, offsets = words_of(
        *buffers(pa.array([p + "\n" for p in PHRASES], pa.large_string()))
    )
    hashes, hash_offsets = ngram_hashes(words, offsets, ngram)
    long = np.repeat(np.diff(offsets) >= ngram, np.diff(hash_offsets))
    return np.isin(ngrams, hashes[long])


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
