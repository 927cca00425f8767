"""The pass across shards: which of the documents that passed are duplicates, and of which.

Works on narrow arrays: for each document its id, content hash, size, band keys and what the keep
rule asks. The keep rule, the first that differs decides: documents that are already there; a
permissive license before another before none; more stars; not in a folder for vendored code; a
shorter path; the smaller id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from firnline.curate import duplicates
from firnline.curate.measure import Scratch, small_batches
from firnline.documents import write_table
from firnline.stage import Stats, Workspace

DECISIONS_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("rule", pa.string()),
        ("keeper", pa.binary(16)),
        ("repo", pa.string()),
        ("path", pa.string()),
        ("jaccard", pa.float32()),
    ]
)


class Passed:
    """The documents of all shards that passed the first pass, as narrow arrays.

    A document's number is its place here: shards in the order given, rows in the shard's order.
    `shard` and `row` lead back to the place in the shard's table.
    """

    def __init__(self, shards: Sequence[Scratch], resident: int) -> None:
        """The first `resident` shards are those of documents that are already there."""
        columns = ["id", "content_hash", "bytes", "license_rank", "stars", "vendored", "path"]
        ids, hashes, sizes, priorities, numbers, places = [], [], [], [], [], []
        for number, scratch in enumerate(shards):
            table = pq.read_table(scratch.table, columns=["rule", *columns])
            rows = np.flatnonzero(table["rule"].is_null().to_numpy())
            table = table.take(pa.array(rows)).combine_chunks()
            keys = np.stack(
                [
                    np.full(len(rows), 0 if number < resident else 1),
                    table["license_rank"].to_numpy(),
                    -table["stars"].to_numpy(),
                    table["vendored"].to_numpy(zero_copy_only=False),
                    pc.utf8_length(table["path"]).to_numpy(),
                ]
            ).astype(np.int64)
            ids.append(_digests(table["id"]))
            hashes.append(_digests(table["content_hash"]))
            sizes.append(table["bytes"].to_numpy())
            priorities.append(keys)
            numbers.append(np.full(len(rows), number, dtype=np.int64))
            places.append(rows)
        self.hashes: NDArray[np.uint8] = np.concatenate(hashes)
        self.sizes: NDArray[np.int64] = np.concatenate(sizes)
        self.shard: NDArray[np.int64] = np.concatenate(numbers)
        self.row: NDArray[np.int64] = np.concatenate(places)
        priority = np.concatenate(priorities, axis=1)
        self.priority = duplicates.priority_ranks(*priority, ids=np.concatenate(ids))


def decide(
    workspace: Workspace,
    inputs: Mapping[str, tuple[Path, Scratch]],
    resident: int,
    threshold: float,
) -> Stats:
    """Writes each shard's decisions: the rows that go, and the document that each duplicates.

    `inputs` maps a name to (Document shard, scratch files), those of documents already there
    first. Returns the counts of the comparison.
    """
    shards = list(inputs.values())
    documents = Passed([scratch for _, scratch in shards], resident)
    keeper = duplicates.exact_duplicates(documents.hashes, documents.priority)
    unique = np.flatnonzero(keeper == np.arange(len(keeper)))
    keys = np.concatenate([np.load(scratch.keys, mmap_mode="r") for _, scratch in shards])[unique]
    candidates = duplicates.candidate_rows(keys)
    store = _shingle_store(workspace, inputs, documents, unique, candidates)
    near = duplicates.near_duplicates(
        keys, documents.priority[unique], store, threshold, documents.sizes[unique]
    )
    jaccard = np.ones(len(keeper), dtype=np.float32)
    jaccard[unique] = near.jaccard
    # An exact copy keeps the name of the copy that stood for it, whether or not that one stays.
    rule = np.where(keeper == np.arange(len(keeper)), "near_duplicate", "exact_duplicate")
    keeper[unique] = unique[near.keeper]
    dropped = np.flatnonzero(keeper != np.arange(len(keeper)))
    _write_decisions([scratch for _, scratch in shards], documents, dropped, keeper, rule, jaccard)
    return {
        "candidate_documents": int(candidates.sum()),
        "pairs_compared": near.compared,
        "dropped": int((near.keeper != np.arange(len(unique))).sum()),
    }


def _shingle_store(
    workspace: Workspace,
    inputs: Mapping[str, tuple[Path, Scratch]],
    documents: Passed,
    unique: NDArray[np.int64],
    candidates: NDArray[np.bool_],
) -> duplicates.ShingleStore:
    """Shingle sets of the candidates, by their place in `unique`, on disk."""
    places = np.flatnonzero(candidates)
    shard, row = documents.shard[unique[places]], documents.row[unique[places]]
    items = {}
    for number, (name, (path, scratch)) in enumerate(inputs.items()):
        mine = shard == number
        if mine.any():
            items[name] = (path, scratch.shingles, row[mine], places[mine])
    workspace.map("shingles", _write_shingles, items)
    return duplicates.ShingleStore([shingles for _, shingles, _, _ in items.values()])


def _write_shingles(item: tuple[Path, Path, NDArray[np.int64], NDArray[np.int64]]) -> Stats:
    shard, out, rows, places = item

    def batches() -> Iterator[tuple[NDArray[np.int64], pa.Array]]:
        start = 0
        for batch in small_batches(shard, ("content",)):
            first, last = np.searchsorted(rows, [start, start + len(batch)])
            content = batch["content"].take(pa.array(rows[first:last] - start))
            if len(content):
                yield places[first:last], content
            start += len(batch)

    duplicates.write_shingle_sets(out, batches())
    return {"documents": len(rows)}


def _write_decisions(
    shards: Sequence[Scratch],
    documents: Passed,
    dropped: NDArray[np.int64],
    keeper: NDArray[np.int64],
    rule: NDArray[np.str_],
    jaccard: NDArray[np.float32],
) -> None:
    keepers, keeper_place = np.unique(keeper[dropped], return_inverse=True)
    known = pa.schema([DECISIONS_SCHEMA.field(name) for name in ("repo", "path")])
    known = known.insert(0, pa.field("id", pa.binary(16)))
    names = [known.empty_table()]
    for number in np.unique(documents.shard[keepers]):  # ascending, as documents are
        rows = documents.row[keepers[documents.shard[keepers] == number]]
        table = pq.read_table(shards[number].table, columns=known.names)
        names.append(table.take(pa.array(rows)))
    keeper_names = pa.concat_tables(names)
    for number, scratch in enumerate(shards):
        mine = np.flatnonzero(documents.shard[dropped] == number)
        rows = dropped[mine]
        about = keeper_names.take(pa.array(keeper_place[mine]))
        columns = [
            pa.array(documents.row[rows]),
            pa.array(rule[rows], pa.string()),
            about["id"],
            about["repo"],
            about["path"],
            pa.array(jaccard[rows]),
        ]
        write_table(scratch.decisions, pa.table(columns, schema=DECISIONS_SCHEMA))


def _digests(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    """A binary(16) column as uint8 (rows, 16)."""
    array = pa.concat_arrays(
        [column.chunk(i) for i in range(column.num_chunks)] or [pa.array([], column.type)]
    )
    data = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    return data[16 * array.offset : 16 * (array.offset + len(array))].reshape(-1, 16)
