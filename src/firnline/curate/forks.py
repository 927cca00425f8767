"""Forks and mirrors: repositories whose content is, for the most part, in another one.

DeepSeek-Coder (Guo et al. 2024, section 2.3) takes the concatenated code of a repository as one
sample and near-deduplicates these, so that what stays is whole. Here the contents of a
repository's files are compared instead, as sets of content hashes weighted by bytes: exact, blind
to the order of files, and without reading text again. And it is not Jaccard that counts but
containment, the share of the *loser's* bytes that the other one has: a small fork that lags
behind its original is found, and what its drop can lose is bounded by 1 - share. Edited files
count as different here; the near-duplicates of files find them afterwards.

The keep rule for repositories, the first difference decides: already there; more stars; not a
fork; a permissive license before another before none; the oldest (unknown last); more files; the
smaller name. There are no chains: a repository goes only for one that stays.

What is left out: files in folders for other people's code (a program that brings its library along
is no mirror of it), tiny files, and contents that very many repositories hold (licenses,
templates).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from firnline.curate.exact import digest_words
from firnline.kernels import overlap

FILES_SCHEMA = pa.schema(
    [
        ("repo", pa.string()),
        ("content_hash", pa.binary(16)),
        ("bytes", pa.int64()),
        ("vendored", pa.bool_()),
        ("there", pa.bool_()),
        ("stars", pa.int64()),
        ("fork", pa.bool_()),
        ("license_rank", pa.int8()),
        ("created", pa.int64()),
    ]
)

# Files (24 bytes each, and as much while they are sorted) that are compared at a time.
PART_ROWS = 8 << 20
# Holders of a content, from the first in the keep rule on, that propose pairs with all others.
_FRONT = 4
_PAIRS = 8 << 20

Files = Callable[[], Iterator[pa.RecordBatch]]


class Repositories(BaseModel):
    """What makes a repository a fork or mirror of another one, and what happens to it."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["drop", "mark", "off"] = "drop"
    """`drop`: all its files go. `mark`: its files count as a fork's in the keep rule, so that its
    duplicates go and what only it has stays. `off`: repositories are not compared."""
    share: float = Field(default=0.8, gt=0.5, le=1.0)
    """Share of its bytes that the other repository must hold."""
    min_files: int = Field(default=5, ge=1)
    """Different contents that the two must share."""
    min_file_bytes: int = Field(default=100, ge=0)
    """Smaller files do not count."""
    common: int = Field(default=1000, ge=2)
    """Contents that more repositories than this hold do not count."""


@dataclass(frozen=True)
class Forks:
    """The repositories that lose: `original[i]` holds `share[i]` of the bytes of `repo[i]`.

    `repo` ascends; all three are as long as there are losers.
    """

    repo: pa.StringArray
    original: pa.StringArray
    share: NDArray[np.float64]

    def find(self, repo: pa.Array) -> NDArray[np.int64]:
        """The place of each name among the losers, -1 where it is none."""
        found = pc.index_in(repo, value_set=self.repo).fill_null(-1)
        return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)


def find_forks(files: Files, config: Repositories, part_rows: int = PART_ROWS) -> Forks:
    """Forks among the repositories of `files()`, batches of FILES_SCHEMA; called several times.

    Holds about 100 bytes for each repository and 16 for each pair that shares a content, and
    `part_rows` files at a time: contents are taken in parts, by the upper bits of their hashes.
    """
    known = _repositories(files)
    parts = 1
    while known.files / parts > part_rows:
        parts *= 2
    sizes = np.zeros(len(known.names), dtype=np.int64)
    sums = _Sums()
    for part in range(parts):
        contents, holders, content_sizes = _contents(files, known, config, part, parts)
        np.add.at(sizes, holders, content_sizes)
        for start, stop in _slices(contents, _PAIRS // _FRONT):
            mine = slice(start, stop)
            found = overlap.front_pairs(contents[mine], holders[mine], content_sizes[mine], _FRONT)
            sums.add(*found)
    pairs, weights = sums.total()

    # A pair at the share is proposed by half of it, whatever other repositories have the rest.
    later = (pairs >> np.uint64(32)).astype(np.int64)
    proposed = weights >= 0.5 * config.share * sizes[later]
    proposed &= ~known.there[later]
    later, earlier = later[proposed], pairs[proposed].astype(np.uint32)
    offsets = np.searchsorted(later, np.arange(len(sizes) + 1))
    shared = np.zeros(len(later), dtype=np.int64)
    shared_files = np.zeros(len(later), dtype=np.int64)
    stamps = np.full(len(sizes), -1, dtype=np.int64)
    for part in range(parts if len(later) else 0):
        contents, holders, content_sizes = _contents(files, known, config, part, parts)
        overlap.add_shared(
            contents, holders, content_sizes, offsets, earlier, stamps, shared, shared_files
        )
    share = shared / np.maximum(sizes[later], 1)
    share[shared_files < config.min_files] = 0
    return _losers(known, offsets, earlier, share, config.share)


@dataclass(frozen=True)
class _Known:
    """Repositories in order of the keep rule; `rank` is by place among the sorted names."""

    names: pa.StringArray
    rank: NDArray[np.uint32]
    there: NDArray[np.bool_]
    files: int


def _repositories(files: Files) -> _Known:
    facts = {"there": "max", "stars": "max", "fork": "max", "license_rank": "min"}
    facts |= {"created": "min", "files": "sum"}
    schema = pa.schema([*(FILES_SCHEMA.field(n) for n in ("repo", *facts) if n != "files")])
    schema = schema.append(pa.field("files", pa.int64()))
    waiting = [schema.empty_table()]
    rows = 0

    def together() -> pa.Table:
        grouped = pa.concat_tables(waiting).group_by("repo").aggregate(list(facts.items()))
        grouped = grouped.select(["repo", *(f"{name}_{how}" for name, how in facts.items())])
        return grouped.rename_columns(schema.names).cast(schema)

    for batch in files():
        rows += len(batch)
        one = pa.table(batch).append_column("files", pa.array(np.ones(len(batch), np.int64)))
        waiting.append(one.select(schema.names))
        if sum(map(len, waiting)) > max(1 << 20, 2 * len(waiting[0])):
            waiting = [together()]
    merged = together().sort_by("repo")
    columns = {name: merged[name].to_numpy() for name in facts}
    order = np.lexsort(
        (
            -columns["files"],
            columns["created"],
            columns["license_rank"],
            columns["fork"],
            -columns["stars"],
            ~columns["there"],
        )
    )
    rank = np.empty(len(order), dtype=np.uint32)
    rank[order] = np.arange(len(order), dtype=np.uint32)
    names = merged["repo"].combine_chunks()
    return _Known(names, rank, columns["there"].astype(bool)[order], rows)


def _contents(
    files: Files, known: _Known, config: Repositories, part: int, parts: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint32], NDArray[np.int64]]:
    """The contents that count of one part: (hashes, repositories by rank, bytes), sorted."""
    contents, holders, sizes = [], [], []
    shift = np.uint64(64 - (parts.bit_length() - 1))
    for batch in files():
        hashes = digest_words(fixed_bytes(batch["content_hash"]))[:, 0]
        size = batch["bytes"].to_numpy()
        counts = ~batch["vendored"].to_numpy(zero_copy_only=False) & (size >= config.min_file_bytes)
        counts &= pc.not_equal(batch["repo"], "").to_numpy(zero_copy_only=False)
        if parts > 1:
            counts &= hashes >> shift == part
        mine = np.flatnonzero(counts)
        name = pc.index_in(batch["repo"].take(pa.array(mine)), value_set=known.names)
        contents.append(hashes[mine])
        holders.append(known.rank[name.to_numpy(zero_copy_only=False)])
        sizes.append(size[mine])
    all_contents = np.concatenate([np.zeros(0, np.uint64), *contents])
    all_holders = np.concatenate([np.zeros(0, np.uint32), *holders])
    order = np.lexsort((all_holders, all_contents))
    ordered = (
        all_contents[order],
        all_holders[order],
        np.concatenate([np.zeros(0, np.int64), *sizes])[order],
    )
    left = overlap.without_common(*ordered, config.common)
    return ordered[0][:left], ordered[1][:left], ordered[2][:left]


def _slices(contents: NDArray[np.uint64], rows: int) -> Iterator[tuple[int, int]]:
    """Ranges of about `rows` rows that do not divide a content."""
    start = 0
    while start < len(contents):
        stop = min(start + rows, len(contents))
        stop = int(np.searchsorted(contents, contents[stop - 1], side="right"))
        yield start, stop
        start = stop


class _Sums:
    """Sums of weights by pair; what is added is merged when it is as long as the sums are."""

    def __init__(self) -> None:
        self._pairs = [np.zeros(0, dtype=np.uint64)]
        self._weights = [np.zeros(0, dtype=np.int64)]

    def add(self, pairs: NDArray[np.uint64], weights: NDArray[np.int64]) -> None:
        self._pairs.append(pairs)
        self._weights.append(weights)
        if sum(map(len, self._pairs)) > max(_PAIRS, 2 * len(self._pairs[0])):
            self.total()

    def total(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """(pairs, their sums), ascending."""
        pairs, weights = np.concatenate(self._pairs), np.concatenate(self._weights)
        order = np.argsort(pairs)
        pairs = pairs[order]
        first = np.flatnonzero(np.r_[True, pairs[1:] != pairs[:-1]][: len(pairs)])
        summed = np.add.reduceat(weights[order], first) if len(first) else weights
        self._pairs, self._weights = [pairs[first]], [summed]
        return self._pairs[0], self._weights[0]


def _losers(
    known: _Known,
    offsets: NDArray[np.int64],
    earlier: NDArray[np.uint32],
    share: NDArray[np.float64],
    least: float,
) -> Forks:
    """In order of rank, a repository goes for the one that stays and holds most of it."""
    lost: dict[int, tuple[int, float]] = {}
    enough = share >= least
    for repository in np.unique(np.searchsorted(offsets, np.flatnonzero(enough), "right") - 1):
        best = (0.0, -1)
        for place in range(offsets[repository], offsets[repository + 1]):
            if enough[place] and int(earlier[place]) not in lost and share[place] > best[0]:
                best = (float(share[place]), int(earlier[place]))
        if best[1] >= 0:
            lost[int(repository)] = (best[1], best[0])
    by_rank = np.argsort(known.rank)
    losers = np.array(list(lost), dtype=np.int64)
    winners = np.array([winner for winner, _ in lost.values()], dtype=np.int64)
    shares = np.array([held for _, held in lost.values()])
    order = np.argsort(by_rank[losers])
    return Forks(
        known.names.take(pa.array(by_rank[losers[order]])),
        known.names.take(pa.array(by_rank[winners[order]])),
        shares[order],
    )


def fixed_bytes(column: pa.Array) -> NDArray[np.uint8]:
    """A binary(16) column without nulls as uint8 (rows, 16)."""
    data = np.frombuffer(column.buffers()[1] or b"", dtype=np.uint8)
    return data[16 * column.offset : 16 * (column.offset + len(column))].reshape(-1, 16)
