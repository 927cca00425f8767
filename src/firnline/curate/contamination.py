"""Which documents hold a benchmark's tasks: words, whole texts, renamed copies.

Four kinds of evidence, each compared with the real text after a hash match:

- **n-gram**: `ngram` consecutive words (default 10: DeepSeek-Coder, Guo et al. 2024, section 2.2)
  of a task's prompt and reference solution. A word is an identifier, keyword or number, also
  inside strings and comments; punctuation and layout do not count.
- **solution**, **prompt**: a whole one of at least `ngram` words, punctuation included, equal but
  for white space and comments (StarCoder, Li et al. 2023, section 5.1).
- **renamed**: a run of a task's program that is equal but for formatting, comments, and a
  consistent renaming of its identifiers (`firnline.curate.renamed_index`).

Code repeats itself, so an n-gram proves nothing if half of it is not names: at least `ngram // 2`
different words of two or more characters that are not numbers. And what more than two tasks of a
benchmark share (its import lines, its harness's phrases) belongs to none of them.
`docs/contamination.md` has the measurements behind these numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from firnline.benchmarks.problems import load
from firnline.curate.passages_index import build
from firnline.documents import buffers
from firnline.errors import FirnlineError
from firnline.kernels.escapes import escaped_code, unescaped
from firnline.kernels.passages import Bytes, Offsets, Places, comment_style
from firnline.kernels.search import NGRAM, WHOLE, search
from firnline.kernels.shingles import BYTE_CLASSES, WORD

KINDS = ("solution", "prompt", "n-gram", "renamed")
"""The kinds of evidence, strongest first; of equal places the first is quoted."""

EXCERPT = 200
"""Characters of a span that are quoted."""

# Longer documents are searched in pieces, so that memory does not follow the longest document.
PIECE_BYTES = 2 << 20
OVERLAP_BYTES = 64 << 10

_ALL_STRINGS = ("JSON", "Jupyter Notebook")
"""Languages in which a line end before a quote is no sign of a message."""


@dataclass(frozen=True)
class Span:
    """A place in a document that holds something of a task."""

    task: int
    kind: str
    start: int
    stop: int
    """Byte positions in the document."""
    excerpt: str


@dataclass(frozen=True)
class Evidence:
    """What a document holds. `kind`, `start`, `excerpt` are its first span's."""

    tasks: tuple[int, ...]
    """The first span's task, then the others, ascending."""
    kind: str
    start: int
    excerpt: str
    spans: tuple[Span, ...]
    """In order; n-grams that overlap are one. Of a renamed run only what no other covers."""
    ngrams: tuple[int, ...]
    """The numbers of the n-grams found: `Index.shares` says what they are of each task."""


class Index:
    """The passages of all benchmarks given; picklable, so that worker processes share it."""

    def __init__(self, specs: Sequence[str], ngram: int) -> None:
        """`specs` as `firnline.benchmarks.problems.load` reads them; raises FirnlineError."""
        self.ngram = ngram
        benchmarks = [load(spec, tests=False) for spec in specs]
        self.names = tuple(benchmark.name for benchmark in benchmarks)
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise FirnlineError(
                f"two benchmarks are called {', '.join(twice)}", mend="name them: name=PATH"
            )
        problems = [problem for benchmark in benchmarks for problem in benchmark.problems]
        self.tasks = tuple((problem.benchmark, problem.task_id) for problem in problems)
        self._index = build(problems, ngram) if problems else None

    def find(self, content: pa.Array, languages: Sequence[str]) -> dict[int, Evidence]:
        """The contaminated rows of a content column, each with its evidence."""
        if self._index is None or len(content) == 0:
            return {}
        data, offsets = buffers(content)
        styles = np.array([comment_style(name) for name in languages], dtype=np.uint8)
        rows, starts, stops = _pieces(data, offsets)
        hits = search(data, starts, stops, styles[rows], self._index.passages)
        hits[:, 0] = rows[hits[:, 0]]
        in_strings = self._in_strings(data, offsets, languages)
        if len(in_strings):
            hits = np.concatenate([hits, in_strings])
            hits = hits[np.argsort(hits[:, 0], kind="stable")]
        edges = np.flatnonzero(np.diff(hits[:, 0], prepend=-1, append=-1))
        found = {}
        for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            row = int(hits[first, 0])
            document = data[offsets[row] : offsets[row + 1]]
            places = hits[first:last, 1:] - [0, 0, offsets[row], offsets[row]]
            found[row] = self._evidence(document, np.unique(places, axis=0))
        return found

    def _in_strings(self, data: Bytes, offsets: Offsets, languages: Sequence[str]) -> Offsets:
        """What string literals hold, as `search` gives it; comments in them count as code."""
        assert self._index is not None
        every = np.array([name in _ALL_STRINGS for name in languages], dtype=np.uint8)
        places = escaped_code(data, offsets[:-1], offsets[1:], every)
        if len(places) == 0:
            return np.empty((0, 5), dtype=np.int64)
        texts = [unescaped(data, start, stop) for _, start, stop in places.tolist()]
        bounds = np.append(0, np.cumsum([len(text) for text in texts]))
        plain = np.concatenate(texts)
        rows, starts, stops = _pieces(plain, bounds)
        hits = search(plain, starts, stops, np.zeros(len(rows), np.uint8), self._index.passages)
        place = rows[hits[:, 0]]
        hits[:, 3:] += (places[place, 1] - bounds[place])[:, None]
        hits[:, 0] = places[place, 0]
        return hits

    def _evidence(self, document: Bytes, hits: Offsets) -> Evidence:
        """From rows (kind, number, start, stop) of one document."""
        assert self._index is not None
        whole: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
        by_member: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
        for kind, number, start, stop in hits.tolist():
            if kind == WHOLE:
                for owner in self._index.wholes[number]:
                    whole[owner // 2, KINDS[owner % 2]].append((start, stop))
            elif kind == NGRAM:
                for member in self._index.ngrams[number]:
                    by_member[member, "n-gram"].append((start, stop))
            else:
                by_member[int(self._index.units[number]), "renamed"].append((start, stop))
        places = {key: _merged(found) for key, found in whole.items()}
        for (member, name), found in by_member.items():
            joined = _merged(found)
            places |= {(task, name): joined for task in self._index.members[member]}
        spans = []
        for (task, name), found in places.items():
            for start, stop in found:
                if name == "renamed" and _covered(task, start, stop, places):
                    continue
                spans.append(Span(task, name, start, stop, _excerpt(document, start, stop)))
        spans.sort(key=lambda span: (span.start, span.task, KINDS.index(span.kind), span.stop))
        first = spans[0]
        others = sorted({span.task for span in spans} - {first.task})
        ngrams = np.unique(hits[hits[:, 0] == NGRAM, 1]).tolist()
        return Evidence(
            tasks=(first.task, *others),
            kind=first.kind,
            start=first.start,
            excerpt=first.excerpt,
            spans=tuple(spans),
            ngrams=tuple(ngrams),
        )

    def explain(self, evidence: Evidence) -> str:
        """`humaneval/HumanEval/12: 10-gram at byte 1234 "..." and 3 other tasks`."""
        benchmark, task = self.tasks[evidence.tasks[0]]
        excerpt = (
            evidence.excerpt if len(evidence.excerpt) <= 120 else evidence.excerpt[:117] + "..."
        )
        kind = {
            "n-gram": f"{self.ngram}-gram",
            "renamed": "renamed copy",
        }.get(evidence.kind, f"whole {evidence.kind}")
        line = f'{benchmark}/{task}: {kind} at byte {evidence.start} "{excerpt}"'
        others = len(evidence.tasks) - 1
        return line + (f" and {others} other task{'s' * (others > 1)}" if others else "")

    @property
    def ngram_numbers(self) -> int:
        """The numbers of n-grams are below this."""
        return 0 if self._index is None else len(self._index.passages.ngrams)

    @cached_property
    def ngrams_by_task(self) -> Offsets:
        """How many different n-grams tell of each task."""
        return np.bincount(self._owned[1], minlength=len(self.tasks))

    def shares(self, ngrams: Offsets) -> dict[int, float]:
        """Of each task that has some of the n-grams, given by number, what share of its own."""
        first, tasks = self._owned
        held = [tasks[first[ngram] : first[ngram + 1]] for ngram in ngrams.tolist()]
        if not held:
            return {}
        owners, counts = np.unique(np.concatenate(held), return_counts=True)
        shares = counts / self.ngrams_by_task[owners]
        return dict(zip(owners.tolist(), shares.tolist(), strict=True))

    @cached_property
    def _owned(self) -> tuple[Offsets, Places]:
        """N-gram n tells of the tasks `second[first[n]:first[n + 1]]`."""
        if self._index is None:
            return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32)
        ngrams, members = self._index.ngrams.pairs()
        first, tasks = self._index.members.first, self._index.members.owners
        counts = np.diff(first)[members]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        tasks = tasks[np.repeat(first[members], counts) + within]
        numbers = np.arange(self.ngram_numbers + 1)
        return np.searchsorted(np.repeat(ngrams, counts), numbers), tasks


def _pieces(data: Bytes, offsets: Offsets) -> tuple[Offsets, Offsets, Offsets]:
    """(row, start, stop) of what is searched at once: documents, or pieces that overlap."""
    lengths = np.diff(offsets)
    if not len(lengths) or lengths.max() <= PIECE_BYTES:
        return np.arange(len(lengths)), offsets[:-1], offsets[1:]
    pieces = []
    for row, (start, stop) in enumerate(
        zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    ):
        while stop - start > PIECE_BYTES:
            pieces.append((row, start, start + PIECE_BYTES))
            start += PIECE_BYTES - OVERLAP_BYTES
            limit = start + OVERLAP_BYTES // 2
            while start < limit and BYTE_CLASSES[data[start]] == WORD:  # not inside a word
                start += 1
        pieces.append((row, start, stop))
    rows, starts, stops = np.array(pieces, dtype=np.int64).T.copy()
    return rows, starts, stops


def _merged(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Places that overlap as one, in order."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(places):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _covered(
    task: int, start: int, stop: int, places: dict[tuple[int, str], list[tuple[int, int]]]
) -> bool:
    """Whether something of the task that is not renamed overlaps the place."""
    return any(
        begin < stop and start < end
        for kind in KINDS[:3]
        for begin, end in places.get((task, kind), ())
    )


def _excerpt(document: Bytes, start: int, stop: int) -> str:
    text = bytes(document[start : min(stop, start + 8 * EXCERPT)]).decode("utf-8", "ignore")
    text = " ".join(text.split())
    return text if len(text) <= EXCERPT else text[: EXCERPT - 3] + "..."
