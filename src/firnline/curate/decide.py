"""The pass across shards: which of the documents that passed are duplicates, and of which.

In this order: repositories that are forks or mirrors (forks.py), exact duplicates, those that
differ in white space alone (exact.py), near-duplicates (duplicates.py). Which one stays is the
keep rule's to say (priority.py).

Tables and keys are read in batches; held are about 50 bytes for each document, and while their
parts are sorted what PART_BYTES and its like allow. All of it may be run again from the start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from firnline.curate import duplicates, priority
from firnline.curate.exact import digest_words, exact_duplicates
from firnline.curate.forks import Forks, Repositories, find_forks, fixed_bytes
from firnline.curate.keyfiles import KeyFiles, Keys
from firnline.curate.measure import Scratch, small_batches
from firnline.curate.passed import Passed
from firnline.curate.shinglefiles import ShingleStore, write_shingle_sets
from firnline.documents import write_table
from firnline.engine import spread
from firnline.kernels.clusters import NO_RANK
from firnline.kernels.shingles import Hashes, Offsets
from firnline.kernels.sketch import BINS
from firnline.stage import Stats, Workspace

RULES = ("fork", "exact_duplicate", "whitespace_duplicate", "near_duplicate")
_FORK, _EXACT, _WHITESPACE, _NEAR = range(len(RULES))

DECISIONS_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("rule", pa.string()),
        ("keeper", pa.binary(16)),
        ("repo", pa.string()),
        ("path", pa.string()),
        ("similarity", pa.float32()),
    ]
)

# Dropped documents whose keepers' names are looked up at a time, or a 64th of all documents.
_NAMED = 1 << 20


# Rows read at a time for a few of them: Arrow grows a batch's content by copying it.
_ROWS_READ = 1024


def explain(rule: str, keeper: bytes | None, repo: str, path: str | None, similarity: float) -> str:
    """The ledger's `detail` for a row of the decisions."""
    if rule == "fork":
        return f"{similarity:.1%} of its repository's bytes are in {repo}"
    name = f"{repo}/{path} ({keeper.hex() if keeper else ''})"
    if rule == "exact_duplicate":
        return f"equal to {name}"
    if rule == "whitespace_duplicate":
        return f"equal but for white space to {name}"
    return f"Jaccard {similarity:.3f} with {name}"


def decide(
    workspace: Workspace,
    inputs: Mapping[str, tuple[Path, Scratch]],
    resident: int,
    threshold: float,
    repositories: Repositories | None = None,
) -> Stats:
    """Writes each shard's decisions: the rows that go, and the document that each duplicates.

    `inputs` maps a name to (Document shard, scratch files), those of documents already there
    first. Without `repositories` these are not compared. Returns the counts of the comparison.
    """
    shards = [scratch for _, scratch in inputs.values()]
    passed = Passed(shards, resident)
    forks = _forks(passed, repositories)
    ranks = _ranks(passed, forks, repositories)
    keeper = exact_duplicates(lambda: passed.hashes("content_hash"), ranks)
    rows = np.arange(len(keeper), dtype=np.uint32)
    rule = np.full(len(keeper), _NEAR, dtype=np.uint8)
    rule[keeper != rows] = _EXACT
    if passed.has("normal_hash"):
        rest = np.where(rule == _NEAR, ranks, NO_RANK)
        normal = exact_duplicates(lambda: passed.hashes("normal_hash"), rest)
        rule[normal != rows] = _WHITESPACE
        keeper = np.where(rule == _WHITESPACE, normal, keeper)
        del normal, rest
    _rank_again(ranks, rule == _NEAR)

    keys = _keys(shards, threshold)
    candidates = duplicates.candidate_rows(keys, ranks)
    store = _shingle_store(workspace, inputs, passed, candidates)
    near = duplicates.near_duplicates(keys, ranks, store, threshold, _sizes(passed))
    # A copy keeps the name of the copy that stood for it, whether or not that one stays.
    keeper = np.where(rule == _NEAR, near.keeper, keeper)
    _write_decisions(passed, keeper, rule, near.jaccard, forks, repositories)
    return {
        "candidate_documents": int(candidates.sum()),
        "pairs_compared": near.compared,
        "steps": near.steps,
        "unfinished": near.unfinished,
        "dropped": int((near.keeper != rows).sum()),
        "forks": len(forks.repo),
    }


def _forks(passed: Passed, repositories: Repositories | None) -> Forks:
    if repositories is None or repositories.mode == "off":
        nothing = pa.array([], pa.string())
        return Forks(nothing, nothing, np.zeros(0))
    return find_forks(passed.files, repositories)


def _ranks(passed: Passed, forks: Forks, repositories: Repositories | None) -> NDArray[np.uint32]:
    """The documents' ranks in the keep rule; NO_RANK for those of repositories that are dropped."""
    drop = repositories is not None and repositories.mode == "drop"
    columns = ["license_rank", "stars", "fork", "vendored", "created", "path", "repo"]
    packed = passed.shards[0].folder / "priority.u64"
    with packed.open("wb") as file:
        for shard in range(len(passed.shards)):
            there = shard < passed.resident
            for batch in passed.batches(shard, columns):
                lost = np.zeros(len(batch), bool) if there else forks.find(batch["repo"]) >= 0
                numbers = priority.pack(
                    there=there,
                    license_rank=batch["license_rank"].to_numpy(),
                    stars=batch["stars"].to_numpy(),
                    fork=batch["fork"].fill_null(False).to_numpy(zero_copy_only=False) | lost,
                    vendored=batch["vendored"].to_numpy(zero_copy_only=False),
                    created=batch["created"].fill_null(priority.UNKNOWN_DATE).to_numpy(),
                    path=batch["path"],
                )
                if drop:
                    numbers[lost] = priority.NOT_RANKED
                numbers.tofile(file)

    def pieces() -> Iterator[NDArray[np.uint64]]:
        with packed.open("rb", buffering=0) as file:
            while len(piece := np.fromfile(file, np.uint64, 1 << 18)):
                yield piece.reshape(-1, 2)

    def names(rows: NDArray[np.int64]) -> tuple[pa.Array, NDArray[np.uint64]]:
        table = passed.take(rows, ["path", "id"]).combine_chunks()
        return pa.array(table["path"].combine_chunks()), digest_words(
            fixed_bytes(table["id"].combine_chunks())
        )

    return priority.priority_ranks(pieces, len(passed), names)


def _rank_again(ranks: NDArray[np.uint32], stays: NDArray[np.bool_]) -> None:
    """Numbers the ranked rows that stay from 0 on, in the same order; the others get NO_RANK."""
    order = duplicates.row_order(ranks)
    order = order[stays[order]]
    ranks[:] = NO_RANK
    ranks[order] = np.arange(len(order), dtype=np.uint32)


def _sizes(passed: Passed) -> NDArray[np.uint32]:
    sizes = np.zeros(len(passed), dtype=np.uint32)
    place = 0
    for shard in range(len(passed.shards)):
        for batch in passed.batches(shard, ["bytes"]):
            size = np.minimum(batch["bytes"].to_numpy(), (1 << 32) - 1)
            sizes[place : place + len(batch)] = size
            place += len(batch)
    return sizes


def _keys(shards: list[Scratch], threshold: float) -> Keys:
    bands, _ = duplicates.choose_bands(BINS, threshold, duplicates.RECALL_AT_THRESHOLD)
    return KeyFiles([scratch.keys for scratch in shards], bands)


def _shingle_store(
    workspace: Workspace,
    inputs: Mapping[str, tuple[Path, Scratch]],
    passed: Passed,
    candidates: NDArray[np.bool_],
) -> ShingleStore:
    """Shingle sets of the candidates, by their number, on disk."""
    items = {}
    for number, (name, (path, scratch)) in enumerate(inputs.items()):
        start, stop = int(passed.starts[number]), int(passed.starts[number + 1])
        if candidates[start:stop].any():
            bits = np.packbits(candidates[start:stop]).tobytes()
            items[name] = (path, scratch, start, bits)
    workspace.map("shingles", _write_shingles, items, threads=True)
    return ShingleStore([scratch.shingles for _, scratch, _, _ in items.values()])


def _write_shingles(item: tuple[Path, Scratch, int, bytes]) -> Stats:
    shard, scratch, start, bits = item
    documents = Passed([scratch], 0).rows(0)
    places = np.flatnonzero(np.unpackbits(np.frombuffer(bits, np.uint8), count=len(documents)))
    rows = documents[places]

    def batches() -> Iterator[tuple[Offsets, pa.RecordBatch]]:
        before = 0
        for batch in small_batches(shard, ("content", "language"), _ROWS_READ):
            first, last = np.searchsorted(rows, [before, before + len(batch)])
            if last > first:
                taken = batch.take(pa.array(rows[first:last] - before))
                yield places[first:last] + start, taken
            before += len(batch)

    write_shingle_sets(scratch.shingles, spread(_shingle_sets, batches()))
    return {"documents": len(rows)}


def _shingle_sets(part: tuple[Offsets, pa.RecordBatch]) -> tuple[Offsets, Hashes, Offsets]:
    numbers, batch = part
    return numbers, *duplicates.shingle_sets_batch(batch["content"], batch["language"])


def _write_decisions(
    passed: Passed,
    keeper: NDArray[np.uint32],
    rule: NDArray[np.uint8],
    jaccard: NDArray[np.float32],
    forks: Forks,
    repositories: Repositories | None,
) -> None:
    dropped = keeper != np.arange(len(keeper), dtype=np.uint32)
    drop = repositories is not None and repositories.mode == "drop"
    at_once = max(_NAMED, len(keeper) // 64)
    stop = 0
    while stop < len(passed.shards):
        # As many shards together as have few enough dropped documents, at least one.
        first, stop, count = stop, stop + 1, 0
        while stop < len(passed.shards) and count <= at_once:
            count = int(np.count_nonzero(dropped[passed.starts[first] : passed.starts[stop + 1]]))
            stop += count <= at_once
        start, end = passed.starts[first], passed.starts[stop]
        keepers = np.unique(keeper[start:end][dropped[start:end]]).astype(np.int64)
        names = passed.take(keepers, ["id", "repo", "path"])
        for shard in range(first, stop):
            mine = np.arange(passed.starts[shard], passed.starts[shard + 1])
            mine = mine[dropped[mine]]
            about = names.take(pa.array(np.searchsorted(keepers, keeper[mine])))
            similar = np.where(rule[mine] == _NEAR, jaccard[mine], np.float32(1))
            columns = [
                pa.array(mine - passed.starts[shard]),
                pa.array(np.array(RULES)[rule[mine]], pa.string()),
                about["id"],
                about["repo"],
                about["path"],
                pa.array(similar.astype(np.float32)),
            ]
            decisions = pa.table(columns, schema=DECISIONS_SCHEMA)
            if drop and shard >= passed.resident:
                decisions = pa.concat_tables([decisions, _lost(passed, shard, forks)])
            rows = passed.rows(shard)[decisions["row"].to_numpy()]
            decisions = decisions.set_column(0, "row", pa.array(rows)).sort_by("row")
            write_table(passed.shards[shard].decisions, decisions)


def _lost(passed: Passed, shard: int, forks: Forks) -> pa.Table:
    """Decisions about the documents of repositories that are dropped, by place in the shard."""
    tables = [DECISIONS_SCHEMA.empty_table()]
    before = 0
    for batch in passed.batches(shard, ["repo"]):
        found = forks.find(batch["repo"])
        rows = np.flatnonzero(found >= 0)
        columns = [
            pa.array(rows + before),
            pa.repeat(pa.scalar(RULES[_FORK]), len(rows)),
            pa.nulls(len(rows), pa.binary(16)),
            forks.original.take(pa.array(found[rows])),
            pa.nulls(len(rows), pa.string()),
            pa.array(forks.share[found[rows]].astype(np.float32)),
        ]
        tables.append(pa.table(columns, schema=DECISIONS_SCHEMA))
        before += len(batch)
    return pa.concat_tables(tables)
