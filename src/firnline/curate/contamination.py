"""Which documents hold a benchmark's tasks: shared n-grams of words, and whole solutions.

Two kinds of evidence, each checked against the real text after a hash match:

- **n-gram**: `ngram` consecutive words (default 10: DeepSeek-Coder, Guo et al. 2024, section 2.2)
  of a task's prompt and reference solution. A word is an identifier, keyword or number, also
  inside strings and comments; punctuation and layout do not count.
- **solution**: a whole reference solution of at least `ngram` words, punctuation included, equal
  but for white space and comments (StarCoder, Li et al. 2023, section 5.1).

Code repeats itself, so an n-gram proves nothing if half of it is not names: at least `ngram // 2`
different words of two or more characters that are not numbers. One that more than two tasks of a
benchmark share (its import lines, its harness's phrases) belongs to no task and is left out too.
`docs/curate.md` has the measurements behind these two numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from firnline.benchmarks.problems import Problem, load
from firnline.documents import buffers
from firnline.errors import FirnlineError
from firnline.kernels.passages import (
    EVERYTHING,
    blank_comments,
    comment_style,
    same_passages,
    sieve,
    word_windows,
)

SHARED_TASKS = 2

_WORD = re.compile(rb"[A-Za-z0-9_\x80-\xff]+")
_NAME = re.compile(rb"(?=.*[A-Za-z_\x80-\xff])..+", re.DOTALL)


@dataclass(frozen=True)
class _Passages:
    """Known passages, sorted by hash: the hash of a window of words, its place, its task."""

    hashes: NDArray[np.uint64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    tasks: NDArray[np.int64]
    text: NDArray[np.uint8]
    bits: NDArray[np.uint64]


@dataclass(frozen=True)
class Evidence:
    """What a document holds: each task's number, and one passage of the first of them."""

    tasks: tuple[int, ...]
    kind: str
    start: int
    """Byte position in the document."""
    excerpt: str


class Index:
    """The passages of all benchmarks given; picklable, so that worker processes share it."""

    def __init__(self, specs: Sequence[str], ngram: int) -> None:
        """`specs` as `firnline.benchmarks.problems.load` reads them; raises FirnlineError."""
        self.ngram = ngram
        benchmarks = [load(spec) for spec in specs]
        self.names = tuple(benchmark.name for benchmark in benchmarks)
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise FirnlineError(
                f"two benchmarks are called {', '.join(twice)}", mend="name them: name=PATH"
            )
        problems = [problem for benchmark in benchmarks for problem in benchmark.problems]
        self.tasks = tuple((problem.benchmark, problem.task_id) for problem in problems)
        self._ngrams = _ngram_passages(problems, ngram)
        self._solutions = _solution_passages(problems, ngram)

    def find(self, content: pa.Array, languages: Sequence[str]) -> dict[int, Evidence]:
        """The contaminated rows of a content column, each with its evidence."""
        if not len(self._ngrams.hashes) and not len(self._solutions.hashes):
            return {}
        data, offsets = buffers(content)
        styles = np.array([comment_style(name) for name in languages], dtype=np.uint8)
        grams = _occurrences(data, offsets, self._ngrams, self.ngram, self.ngram)
        blanked = blank_comments(data, offsets, styles)
        whole = _occurrences(blanked, offsets, self._solutions, self.ngram, 0)
        rows = np.concatenate([whole, grams], axis=1)
        kinds = np.repeat(["solution", "n-gram"], [whole.shape[1], grams.shape[1]])
        evidence = {}
        for row in np.unique(rows[0]).tolist():
            mine = np.flatnonzero(rows[0] == row)
            first = mine[np.lexsort((rows[1, mine], rows[2, mine]))[0]]
            tasks = sorted(set(rows[1, mine].tolist()) - {int(rows[1, first])})
            start, stop = rows[2, first], rows[3, first]
            evidence[row] = Evidence(
                (int(rows[1, first]), *tasks),
                str(kinds[first]),
                int(start - offsets[row]),
                " ".join(bytes(data[start:stop]).decode("utf-8", "replace").split()),
            )
        return evidence

    def explain(self, evidence: Evidence) -> str:
        """`humaneval/HumanEval/12: n-gram at byte 1234 "..." and 3 other tasks`."""
        benchmark, task = self.tasks[evidence.tasks[0]]
        excerpt = (
            evidence.excerpt if len(evidence.excerpt) <= 120 else evidence.excerpt[:117] + "..."
        )
        kind = f"{self.ngram}-gram" if evidence.kind == "n-gram" else "whole solution"
        line = f'{benchmark}/{task}: {kind} at byte {evidence.start} "{excerpt}"'
        others = len(evidence.tasks) - 1
        return line + (f" and {others} other task{'s' * (others > 1)}" if others else "")


def _ngram_passages(problems: Sequence[Problem], ngram: int) -> _Passages:
    programs = [f"{problem.prompt}{problem.solution}{problem.suffix}" for problem in problems]
    text, offsets = buffers(pa.array(programs, pa.large_string()))
    tasks, starts, hashes = word_windows(text, offsets, ngram, EVERYTHING)
    telling = np.zeros(len(hashes), dtype=bool)
    row = 0
    for program in programs:  # windows come in the order of the words they start with
        words = [match[0] for match in _WORD.finditer(program.encode())]
        names = [word if _NAME.fullmatch(word) else b"" for word in words]
        for first in range(len(words) - ngram + 1):
            telling[row] = len({*names[first : first + ngram]} - {b""}) >= ngram // 2
            row += 1
    names_of = np.unique([problem.benchmark for problem in problems], return_inverse=True)[1]
    telling &= ~_shared(hashes, names_of[tasks], tasks)
    return _passages(text, hashes, starts, offsets[tasks + 1], tasks, telling)


def _shared(
    hashes: NDArray[np.uint64], benchmarks: NDArray[np.int64], tasks: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which windows more than SHARED_TASKS tasks of their benchmark have."""
    order = np.lexsort((tasks, benchmarks, hashes))
    new_window = np.ones(len(order), dtype=bool)
    same = (np.diff(hashes[order]) == 0) & (np.diff(benchmarks[order]) == 0)
    new_window[1:] = ~same
    new_task = new_window.copy()
    new_task[1:] |= np.diff(tasks[order]) != 0
    group = np.cumsum(new_window) - 1
    counts = np.bincount(group, weights=new_task) if len(order) else np.zeros(0)
    shared = np.empty(len(order), dtype=bool)
    shared[order] = counts[group] > SHARED_TASKS
    return shared


def _solution_passages(problems: Sequence[Problem], ngram: int) -> _Passages:
    solutions = pa.array([problem.solution for problem in problems], pa.large_string())
    data, offsets = buffers(solutions)
    styles = [comment_style(problem.language) for problem in problems]
    text = blank_comments(data, offsets, np.array(styles, dtype=np.uint8))
    tasks, starts, hashes = word_windows(text, offsets, ngram, EVERYTHING)
    first = np.ones(len(tasks), dtype=bool)
    first[1:] = np.diff(tasks) != 0  # a solution is known by its first window
    return _passages(text, hashes, starts, offsets[tasks + 1], tasks, first)


def _passages(
    text: NDArray[np.uint8],
    hashes: NDArray[np.uint64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    tasks: NDArray[np.int64],
    chosen: NDArray[np.bool_],
) -> _Passages:
    rows = np.flatnonzero(chosen)
    rows = rows[np.lexsort((tasks[rows], hashes[rows]))]
    bits = sieve(hashes[rows])
    return _Passages(hashes[rows], starts[rows], stops[rows], tasks[rows], text, bits)


def _occurrences(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    known: _Passages,
    ngram: int,
    words: int,
) -> NDArray[np.int64]:
    """Verified passages as int64 (4, found): document, task, start and stop in `data`.

    Of one passage that a document holds several times, the first is returned.
    """
    documents, starts, hashes = word_windows(data, offsets, ngram, known.bits)
    low = np.searchsorted(known.hashes, hashes, side="left")
    high = np.searchsorted(known.hashes, hashes, side="right")
    # One row for each pair of a window and a known passage with its hash.
    windows = np.repeat(np.arange(len(hashes)), high - low)
    passages = np.arange(len(windows)) - np.repeat(np.cumsum(high - low) - (high - low), high - low)
    passages += np.repeat(low, high - low)
    if words:  # equal words are equal everywhere, so the first place of each will do
        first = np.unique(documents[windows] * len(known.hashes) + passages, return_index=True)[1]
        windows, passages = windows[first], passages[first]
    stops = offsets[documents[windows] + 1]
    ends = same_passages(
        data,
        starts[windows],
        stops,
        known.text,
        known.starts[passages],
        known.stops[passages],
        words,
    )
    same = ends >= 0
    windows, passages = windows[same], passages[same]
    return np.stack([documents[windows], known.tasks[passages], starts[windows], ends[same]])
