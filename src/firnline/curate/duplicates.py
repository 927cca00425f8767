"""Exact and near-duplicates: which document stays, and how closely the others resemble it.

Near-duplicates are documents whose sets of 5-token shingles have a Jaccard similarity of 0.7 or
more (the convention of The Stack, Kocetkov et al. 2022). They are found in four steps:

1. `sketch_batch` and `band_keys`, shard by shard: 8 bytes for each document and band.
2. Candidates: documents that share a band. With `r` rows in each of `b` bands a pair of
   similarity s shares one with probability 1 - (1 - s^r)^b; `BANDS` and `ROWS` are computed
   from it so that a pair at the threshold is missed once in a thousand.
3. True Jaccard of the candidates, from shingle sets that are read again in blocks. What the bands
   say decides nothing, so every reported pair is a pair.
4. Clusters without chaining: in order of priority, a document stays unless it resembles one that
   stays. So every dropped document resembles its own keeper, and no two kept candidates
   resemble each other, but for the limit that `near_duplicates` states.

The steps across shards hold narrow arrays only: keys (which may be memory-mapped), row numbers
and the pairs found so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from firnline.documents import atomic_path, buffers
from firnline.kernels import clusters, shingles
from firnline.kernels.sketch import BINS, SHINGLE_TOKENS, band_hashes, sketch

THRESHOLD = 0.7
RECALL_AT_THRESHOLD = 0.999

# What `near_duplicates` asks of `shingle_sets` in one call, unless one document alone is more.
BLOCK_BYTES = 32 << 20

# How many first members of a bucket the last round compares with the rest. Rounds double it from
# 1, so a row meets at most 63 keepers of each bucket it is in.
FRONT_LIMIT = 32

ShingleSets = Callable[[NDArray[np.int64]], tuple[NDArray[np.uint64], NDArray[np.int64]]]


def choose_bands(bins: int, threshold: float, recall: float) -> tuple[int, int]:
    """(bands, rows): the most rows, then the fewest bands, that find a pair at `threshold` with
    probability `recall`: 1 - (1 - threshold^rows)^bands >= recall, with bands * rows <= bins.

    More rows mean fewer false candidates to verify. Raises ValueError where no choice will do.
    """
    for rows in range(bins, 0, -1):
        missed = np.log1p(-(threshold**rows))
        bands = int(np.ceil(np.log1p(-recall) / missed))
        if bands * rows <= bins:
            return bands, rows
    raise ValueError(f"{bins} bins cannot find pairs at {threshold} with probability {recall}")


BANDS, ROWS = choose_bands(BINS, THRESHOLD, RECALL_AT_THRESHOLD)


@dataclass(frozen=True)
class NearDuplicates:
    """Who stays: `keeper[i] == i` where row i is kept, else the row it resembles.

    A dropped row names the most similar of the keepers that it had been compared with when it was
    dropped; that depends on the keys and priorities alone. `jaccard[i]` is the true similarity to
    the keeper, 1 for a kept row. `compared` counts the pairs whose similarity was computed,
    `unfinished` the kept rows that were not compared with every keeper of their buckets (see
    FRONT_LIMIT).
    """

    keeper: NDArray[np.int64]
    jaccard: NDArray[np.float32]
    compared: int
    unfinished: int


def sketch_batch(content: pa.Array) -> NDArray[np.uint32]:
    """Sketches of a content column, uint32 (rows, 256); a null counts as empty."""
    return sketch(*buffers(content))


def band_keys(sketches: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Band keys of sketches, uint64 (rows, BANDS); 0 where the document has no tokens."""
    return band_hashes(sketches, BANDS, ROWS)


def shingle_sets_batch(content: pa.Array) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Shingle sets of a content column: (hashes, offsets), distinct inside each row."""
    return shingles.shingle_sets(*buffers(content), SHINGLE_TOKENS)


def write_shingle_sets(path: Path, batches: Iterable[tuple[NDArray[np.int64], pa.Array]]) -> None:
    """Writes the shingle sets of rows to an Arrow file that `ShingleStore` maps.

    Each batch is (row numbers, their content). For the rows that `candidate_rows` names; takes
    about twice the bytes of their content.
    """
    schema = pa.schema([("row", pa.int64()), ("shingles", pa.large_list(pa.uint64()))])
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, schema) as writer,
    ):
        for rows, content in batches:
            hashes, offsets = shingle_sets_batch(content)
            sets = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(hashes))
            writer.write_batch(pa.record_batch([pa.array(rows), sets], schema=schema))


class ShingleStore:
    """Shingle sets on disk, in the files of `write_shingle_sets`, as `near_duplicates` asks.

    The files are memory-mapped, so that reading sets in any order holds only the ones asked for.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._sets: list[tuple[NDArray[np.uint64], NDArray[np.int64]]] = []
        rows, batch_numbers, places = [], [], []
        for path in paths:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                sets = batch.column("shingles")
                rows.append(batch.column("row").to_numpy())
                batch_numbers.append(np.full(len(batch), len(self._sets), dtype=np.int32))
                places.append(np.arange(len(batch)))
                self._sets.append((sets.values.to_numpy(), sets.offsets.to_numpy()))
        empty = [np.zeros(0, dtype=np.int64)]
        all_rows = np.concatenate(rows or empty)
        order = np.argsort(all_rows)
        self._rows = all_rows[order]
        self._batches = np.concatenate(batch_numbers or empty)[order]
        self._places = np.concatenate(places or empty)[order]

    def __call__(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """The sets of `rows`: (hashes, offsets). Raises KeyError for a row not in the files."""
        at = np.searchsorted(self._rows, rows)
        if len(rows) and (at[-1] >= len(self._rows) or (self._rows[at] != rows).any()):
            raise KeyError("a row asked for is not in the shingle files")
        pieces = [np.zeros(0, dtype=np.uint64)]
        for batch, place in zip(self._batches[at], self._places[at], strict=True):
            hashes, offsets = self._sets[batch]
            pieces.append(hashes[offsets[place] : offsets[place + 1]])
        ends = np.cumsum([len(piece) for piece in pieces])
        return np.concatenate(pieces), ends.astype(np.int64)


def priority_ranks(*keys: NDArray[Any], ids: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The place of each row when sorted by `keys` (the first decides first), then by id.

    `ids` are the 16 bytes of each document's id, uint8 (rows, 16); they end all ties, so the
    order does not depend on the order of the rows.
    """
    high, low = _halves(ids)
    order = np.lexsort((low, high, *reversed(keys)))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def exact_duplicates(
    content_hashes: NDArray[np.uint8], priority: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The row that stays for each row: the one of smallest priority with the same content hash.

    `content_hashes` is uint8 (rows, 16). Priorities must differ from row to row.
    """
    _check_priority(priority, len(content_hashes))
    high, low = _halves(content_hashes)
    order = np.lexsort((priority, low, high))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (high[order[1:]] != high[order[:-1]]) | (low[order[1:]] != low[order[:-1]])
    keeper = np.empty(len(order), dtype=np.int64)
    keeper[order] = order[np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))]
    return keeper


def candidate_rows(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which rows share a band with another: the only ones whose shingle sets are ever read."""
    found = np.zeros(len(keys), dtype=bool)
    for band in range(keys.shape[1]):
        found[_shared(np.asarray(keys[:, band]))[0]] = True
    return found


def near_duplicates(
    keys: NDArray[np.uint64],
    priority: NDArray[np.int64],
    shingle_sets: ShingleSets,
    threshold: float = THRESHOLD,
    sizes: NDArray[np.int64] | None = None,
) -> NearDuplicates:
    """Clusters rows around keepers; see the module's text for the rule.

    `keys` is uint64 (rows, bands) with 0 for a row without tokens. `priority` differs from row to
    row; the smallest stays. `shingle_sets(rows)`, given ascending row numbers, returns their sets
    as (hashes, offsets). `sizes` (bytes of each row) bounds what one call asks for to
    `BLOCK_BYTES` of content; without it a call asks for at most 4,096 rows.

    A row is compared with keepers, and with possible keepers, that share a band with it and come
    before it, never with what has already been dropped: a bucket of m copies of k different
    documents costs about m * k comparisons, not m * m. To stay linear where k grows with m
    (thousands of files from one template that resemble one another less than `threshold`), a row
    meets at most 63 keepers of each of its buckets; a duplicate of a later one is found only in
    another band. `unfinished` counts the rows that this leaves kept.
    """
    _check_priority(priority, len(keys))
    order = np.argsort(priority)  # from here on a row is its rank; rank 0 goes first
    rows = len(order)
    if sizes is None:
        sizes = np.full(rows, BLOCK_BYTES // 4096, dtype=np.int64)
    state = np.full(rows, clusters.OPEN, dtype=np.uint8)
    keeper = np.arange(rows, dtype=np.int64)
    jaccard = np.ones(rows, dtype=np.float32)
    compared = edges = np.zeros(0, dtype=np.uint64)
    edge_jaccard = np.zeros(0, dtype=np.float32)
    comparisons = 0
    buckets = _Buckets.of(keys, order)
    front = 1
    while buckets.bands and front <= FRONT_LIMIT:
        pairs = np.setdiff1d(buckets.pairs(front), compared, assume_unique=True)
        similarity = _verify(pairs, order, sizes, shingle_sets, threshold)
        comparisons += len(pairs)
        compared = _union(compared, pairs)
        alike = similarity >= threshold
        edges = np.concatenate([edges, pairs[alike]])
        edge_jaccard = np.concatenate([edge_jaccard, similarity[alike].astype(np.float32)])
        by_later = np.argsort(edges)
        edges, edge_jaccard = edges[by_later], edge_jaccard[by_later]
        clusters.decide(edges, edge_jaccard, buckets.ready(front, rows), state, keeper, jaccard)
        buckets = buckets.without_decided(state)
        undecided = state == clusters.OPEN
        later = undecided[clusters.later(edges)]
        edges, edge_jaccard = edges[later], edge_jaccard[later]
        compared = compared[undecided[clusters.later(compared)]]
        # One round settles a bucket of copies of one document, k rounds 2**k - 1 keepers.
        front *= 2
    open_rows = state == clusters.OPEN
    clusters.decide(edges, edge_jaccard, np.ones(rows, dtype=bool), state, keeper, jaccard)
    unfinished = open_rows & (state == clusters.KEEPER) & buckets.holds(rows)
    result = np.empty(rows, dtype=np.int64)
    result[order] = order[keeper]
    result_jaccard = np.empty(rows, dtype=np.float32)
    result_jaccard[order] = jaccard
    return NearDuplicates(result, result_jaccard, comparisons, int(unfinished.sum()))


def _halves(digests: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    words = np.ascontiguousarray(digests, dtype=np.uint8).reshape(-1, 16).view(">u8")
    return words[:, 0].astype(np.uint64), words[:, 1].astype(np.uint64)


def _check_priority(priority: NDArray[np.int64], rows: int) -> None:
    if len(priority) != rows or len(np.unique(priority)) != rows:
        raise ValueError("each row needs a priority of its own; priority_ranks makes them")


def _shared(keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that share their key with another row: (rows, offsets of the groups).

    Rows ascend inside a group; key 0 shares nothing.
    """
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(keys) else order
    sizes = np.diff(np.r_[first, len(keys)])
    wanted = (sizes > 1) & (ordered[first] != 0)
    rows = order[np.repeat(wanted, sizes)]
    return rows, np.r_[0, np.cumsum(sizes[wanted])]


def _union(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sorted, distinct. Sorting beats np.union1d, whose hash table misses the cache."""
    both = np.concatenate([one, other])
    both.sort()
    return both[np.r_[True, both[1:] != both[:-1]]] if len(both) else both


@dataclass(frozen=True)
class _Buckets:
    """Groups of rows (as ranks, ascending) that share a band key, for each band."""

    bands: list[tuple[NDArray[np.int32], NDArray[np.int64]]]

    @classmethod
    def of(cls, keys: NDArray[np.uint64], order: NDArray[np.int64]) -> _Buckets:
        found = (_shared(np.asarray(keys[:, band])[order]) for band in range(keys.shape[1]))
        return cls([(rows.astype(np.int32), offsets) for rows, offsets in found if len(rows)])

    def pairs(self, front: int) -> NDArray[np.uint64]:
        """The first `front` members of each bucket against all its later members.

        Sorted, distinct; a pair is (later << 32 | earlier).
        """
        found = np.zeros(0, dtype=np.uint64)
        for members, offsets in self.bands:  # band by band: near copies share most bands
            found = _union(found, clusters.front_pairs(members, offsets, front))
        return found

    def ready(self, front: int, rows: int) -> NDArray[np.bool_]:
        """Rows that `pairs(front)` compares with every other member of their buckets."""
        result = np.ones(rows, dtype=bool)
        for members, offsets in self.bands:
            place = np.arange(len(members)) - np.repeat(offsets[:-1], np.diff(offsets))
            result[members[place >= front]] = False
        return result

    def holds(self, rows: int) -> NDArray[np.bool_]:
        """Rows that are in a bucket."""
        result = np.zeros(rows, dtype=bool)
        for members, _ in self.bands:
            result[members] = True
        return result

    def without_decided(self, state: NDArray[np.uint8]) -> _Buckets:
        """The buckets without decided rows, where two or more members are left."""
        bands = []
        for members, offsets in self.bands:
            kept = state[members] == clusters.OPEN
            sizes = np.add.reduceat(kept, offsets[:-1], dtype=np.int64)
            kept &= np.repeat(sizes > 1, np.diff(offsets))
            if kept.any():
                bands.append((members[kept], np.r_[0, np.cumsum(sizes[sizes > 1])]))
        return _Buckets(bands)


def _verify(
    pairs: NDArray[np.uint64],
    order: NDArray[np.int64],
    sizes: NDArray[np.int64],
    shingle_sets: ShingleSets,
    threshold: float,
) -> NDArray[np.float64]:
    """True Jaccard of pairs of ranks, read in blocks; 0 where sizes rule `threshold` out."""
    result = np.zeros(len(pairs), dtype=np.float64)
    # Grouped by the earlier row, whose hash table then serves all its pairs.
    by_earlier = np.lexsort((pairs, clusters.earlier(pairs)))
    earlier = order[clusters.earlier(pairs[by_earlier])]
    later = order[clusters.later(pairs[by_earlier])]
    stamps = np.zeros(len(order), dtype=np.int32)
    start = block = 0
    while start < len(pairs):
        block += 1
        stop = clusters.block_stop(earlier, later, sizes, stamps, start, block, BLOCK_BYTES)
        rows = np.unique(np.r_[earlier[start:stop], later[start:stop]])
        hashes, offsets = shingle_sets(rows)
        result[by_earlier[start:stop]] = clusters.jaccard(
            hashes,
            offsets,
            np.searchsorted(rows, earlier[start:stop]),
            np.searchsorted(rows, later[start:stop]),
            threshold,
        )
        start = stop
    return result
