"""The passages of benchmark tasks, made ready for `firnline.kernels.search`, and who owns them.

Tasks of one benchmark with the same program (infilling cuts one program into many tasks) are one
`member`, and count as one wherever tasks are counted to tell what is common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from firnline.benchmarks.problems import Problem
from firnline.curate.idioms import distinct, everybodys, shared
from firnline.curate.renamed_index import fixed_words, programs_of, units_of
from firnline.documents import buffers
from firnline.kernels.passages import (
    Bytes,
    Hashes,
    Offsets,
    Places,
    comment_style,
    different,
    previous_place,
    without_comments,
    words_of,
)
from firnline.kernels.search import Passages, table
from firnline.kernels.shingles import ngram_hashes

_32 = np.uint64(32)


@dataclass(frozen=True)
class Owners:
    """Passage i belongs to `owners[first[i]:first[i + 1]]`."""

    first: Places
    owners: Places

    @classmethod
    def of(cls, passages: Offsets, owners: Offsets, count: int) -> Owners:
        """From pairs in any order; `count` is the number of passages."""
        pairs = distinct(passages.astype(np.uint64) << _32 | owners.astype(np.uint64))
        first = np.searchsorted(pairs >> _32, np.arange(count + 1, dtype=np.uint64))
        return cls(first.astype(np.int32), pairs.astype(np.int32))

    def __getitem__(self, passage: int) -> list[int]:
        found: list[int] = self.owners[self.first[passage] : self.first[passage + 1]].tolist()
        return found

    def pairs(self) -> tuple[Offsets, Places]:
        """All pairs (passage, owner), by passage."""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first)), self.owners


@dataclass(frozen=True)
class PassageIndex:
    """Passages for the kernel; whose they are."""

    passages: Passages
    members: Owners
    """Member: its tasks."""
    ngrams: Owners
    """Entry of `passages.table`: the members that have it as an n-gram."""
    wholes: Owners
    """Whole text: twice the number of each task whose solution it is; one more for a prompt."""
    units: Offsets
    """The member of each unit of `passages.programs`."""


def build(problems: Sequence[Problem], ngram: int) -> PassageIndex:
    """Reads the tasks' texts; `ngram` is in words."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for task, problem in enumerate(problems):
        program = f"{problem.prompt}{problem.solution}{problem.suffix}"
        groups.setdefault((problem.benchmark, problem.language, program), []).append(task)
    member_of = np.zeros(len(problems), dtype=np.int64)
    for member, tasks in enumerate(groups.values()):
        member_of[tasks] = member
    names = [benchmark for benchmark, _, _ in groups]
    benchmarks = np.unique(names, return_inverse=True)[1].astype(np.int64)
    # The line end keeps the last word of a program from running into the next one's first.
    programs = [f"{program}\n" for _, _, program in groups]
    text, offsets = buffers(pa.array(programs, pa.large_string()))

    grams, gram_starts, gram_members = _ngrams(text, offsets, ngram, benchmarks)
    wholes = _wholes(problems, ngram, benchmarks, member_of)
    hashes = distinct(np.concatenate([grams, wholes.anchors]))
    entries = np.searchsorted(hashes, grams)
    starts = np.full(len(hashes), -1, dtype=np.int32)
    starts[entries] = gram_starts

    fixed = frozenset[str]().union(*(fixed_words(language) for _, language, _ in groups))
    units = [
        unit
        for member, ((_, _, program), tasks) in enumerate(groups.items())
        for unit in units_of(member, program, [problems[task] for task in tasks], fixed)
    ]
    runs, blind = programs_of(units, benchmarks, fixed)
    blind_hashes = distinct(blind.hashes)
    passages = Passages(
        ngram=ngram,
        table=table(hashes),
        ngrams=starts,
        text=text,
        wholes=_first(wholes.anchors, hashes).astype(np.int32),
        whole_starts=wholes.starts,
        whole_stops=wholes.stops,
        whole_text=wholes.text,
        blind_table=table(blind_hashes),
        blind_first=_first(blind.hashes, blind_hashes),
        blind_units=blind.units,
        blind_places=blind.places,
        programs=runs,
    )
    return PassageIndex(
        passages=passages,
        members=Owners.of(member_of, np.arange(len(problems)), len(groups)),
        ngrams=Owners.of(entries, gram_members, len(hashes)),
        wholes=wholes.owners,
        units=np.array([unit.member for unit in units], dtype=np.int64),
    )


def _first(sorted_hashes: Hashes, entries: Hashes) -> Offsets:
    """Where each entry's rows begin, and the end of the last one's."""
    first = np.searchsorted(sorted_hashes, entries)
    return np.append(first, len(sorted_hashes)).astype(np.int64)


def _ngrams(
    text: Bytes, offsets: Offsets, ngram: int, benchmarks: Offsets
) -> tuple[Hashes, Offsets, Offsets]:
    """(hash, start in `text`, member) of each n-gram that tells of its task."""
    words, starts, named, word_offsets = words_of(text, offsets)
    counts = np.maximum(np.diff(word_offsets) - ngram + 1, 0)
    hashes, hash_offsets = ngram_hashes(words, word_offsets, ngram)
    whole = np.repeat(counts > 0, np.diff(hash_offsets))  # a shorter text has one hash of all
    hashes = hashes[whole]
    members = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(hashes)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = word_offsets[members] + within
    lengths = np.full(len(first), ngram)
    telling = different(previous_place(words), named, first, lengths) >= ngram // 2
    telling &= ~shared(hashes, benchmarks[members], members)
    telling &= ~everybodys(hashes, ngram)
    return hashes[telling], starts[first[telling]], members[telling]


@dataclass(frozen=True)
class _Wholes:
    """Whole texts in the order of their anchors: the hashes of their first words."""

    anchors: Hashes
    starts: Offsets
    stops: Offsets
    text: Bytes
    owners: Owners


def _wholes(
    problems: Sequence[Problem], ngram: int, benchmarks: Offsets, member_of: Offsets
) -> _Wholes:
    """Solutions and prompts of at least `ngram` words, without comments."""
    numbers: dict[bytes, int] = {}
    pairs = []
    for task, problem in enumerate(problems):
        style = comment_style(problem.language)
        for kind, text in enumerate((problem.solution, problem.prompt)):
            data = np.frombuffer(text.encode(), dtype=np.uint8)
            plain = without_comments(data, style).tobytes()
            pairs.append((numbers.setdefault(plain, len(numbers)), 2 * task + kind))
    text, offsets = buffers(pa.array(list(numbers), pa.large_binary()))
    words, _, _, word_offsets = words_of(text, offsets)
    hashes, hash_offsets = ngram_hashes(words, word_offsets, ngram)
    long = np.diff(word_offsets) >= ngram
    found, owners = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    members = member_of[owners // 2]
    common = shared(found.astype(np.uint64), benchmarks[members], members)
    chosen = long[found] & ~common
    found, owners = found[chosen], owners[chosen]
    kept = np.unique(found)
    kept = kept[np.argsort(hashes[hash_offsets[kept]], kind="stable")]
    rank = np.zeros(len(numbers), dtype=np.int64)
    rank[kept] = np.arange(len(kept))
    return _Wholes(
        anchors=hashes[hash_offsets[kept]],
        starts=offsets[kept],
        stops=offsets[kept + 1],
        text=text,
        owners=Owners.of(rank[found], owners, len(kept)),
    )
