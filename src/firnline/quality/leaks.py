"""Finds benchmark solutions inside files, so that none becomes a training positive."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from firnline.benchmarks.problems import Benchmark
from firnline.documents import buffers
from firnline.kernels.shingles import ngram_hashes, token_hashes

ANCHOR_TOKENS = 10
"""A solution is found by its first tokens, then compared whole. A shorter one (`return x + y`) is
no evidence alone: it is looked for together with its prompt."""


def shares_solution(content: pa.Array, benchmarks: Iterable[Benchmark]) -> NDArray[np.bool_]:
    """True for each file that holds all code tokens of a reference solution in one run.

    White space does not count; names, comments and strings do.
    """
    found = np.zeros(len(content), dtype=np.bool_)
    solutions, solution_offsets = _solutions(benchmarks)
    if len(solution_offsets) == 1:
        return found
    hashes, offsets = token_hashes(*buffers(content))
    grams, gram_offsets = ngram_hashes(hashes, offsets, ANCHOR_TOKENS)
    by_anchor: dict[int, list[NDArray[np.uint64]]] = {}
    anchors, anchor_offsets = ngram_hashes(solutions, solution_offsets, ANCHOR_TOKENS)
    for first, begin, end in zip(
        anchor_offsets[:-1], solution_offsets[:-1], solution_offsets[1:], strict=True
    ):
        by_anchor.setdefault(int(anchors[first]), []).append(solutions[begin:end])
    hits = np.flatnonzero(np.isin(grams, np.array(list(by_anchor), dtype=np.uint64)))
    files = np.searchsorted(gram_offsets, hits, side="right") - 1
    for hit, file in zip(hits, files, strict=True):
        begin = offsets[file] + hit - gram_offsets[file]
        for solution in by_anchor[int(grams[hit])]:
            end = begin + len(solution)
            if end <= offsets[file + 1] and np.array_equal(hashes[begin:end], solution):
                found[file] = True
    return found


def _solutions(benchmarks: Iterable[Benchmark]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Token hashes of every solution long enough to be told from chance, one after another."""
    problems = [problem for benchmark in benchmarks for problem in benchmark.problems]
    alone = [problem.solution for problem in problems]
    whole = [problem.prompt + problem.solution + problem.suffix for problem in problems]
    texts = [
        (text if tokens >= ANCHOR_TOKENS else program)
        for text, program, tokens in zip(alone, whole, _lengths(alone), strict=True)
    ]
    texts = [text for text, n in zip(texts, _lengths(texts), strict=True) if n >= ANCHOR_TOKENS]
    return token_hashes(*buffers(pa.array(texts, pa.large_string())))


def _lengths(texts: list[str]) -> NDArray[np.int64]:
    _, offsets = token_hashes(*buffers(pa.array(texts, pa.large_string())))
    return np.diff(offsets)
