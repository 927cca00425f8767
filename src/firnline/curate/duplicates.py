"""Exact and near-duplicates: which document stays, and how closely the others resemble it.

Near-duplicates are documents whose sets of 5-token shingles, license headers left out, have a
Jaccard similarity of 0.7 or more (the convention of The Stack, Kocetkov et al. 2022). They are
found in four steps:

1. `sketch_batch` and `band_keys`, shard by shard: 8 bytes on disk for each document and band.
2. Candidates: documents that share a band. With `r` rows in each of `b` bands a pair of
   similarity s shares one with probability 1 - (1 - s^r)^b; `BANDS` and `ROWS` are computed
   from it so that a pair at the threshold is missed once in a thousand.
3. True Jaccard of the candidates, from shingle sets that are read again in blocks. What the bands
   say decides nothing, so every reported pair is a pair.
4. Clusters without chaining: in order of priority, a document stays unless it resembles one that
   stays. So every dropped document resembles its own keeper, and no two kept candidates
   resemble each other, but for the limit that `near_duplicates` states.

The steps across shards read the keys from disk, one band at a time, and hold about 33 bytes for
each document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from firnline.curate.keyfiles import Keys
from firnline.documents import buffers
from firnline.engine import cores
from firnline.kernels import clusters, shingles
from firnline.kernels.headers import header_ends, header_style
from firnline.kernels.shingles import Bytes, Hashes, Offsets
from firnline.kernels.sketch import BINS, SHINGLE_TOKENS, band_hashes, sketch

THRESHOLD = 0.7
RECALL_AT_THRESHOLD = 0.999

# What `near_duplicates` asks of `shingle_sets` in one call, unless one pair alone is more.
BLOCK_BYTES = 32 << 20

# The words of a band that one thread sorts. The floor of one byte for each row keeps a band's
# parts at eight, each of which reads its keys.
SORT_BYTES = 32 << 20
_THREADS = min(cores(), 8)

# How many first members of a bucket are compared with the rest in the last of the steps, which
# double it from 1, so a row meets at most 63 keepers of each bucket it is in.
FRONT_LIMIT = 32

_PAIRS = 1 << 22

ShingleSets = Callable[[NDArray[np.int64]], tuple[NDArray[np.uint64], NDArray[np.int64]]]
Ranks = NDArray[np.uint32]

NO_RANK = clusters.NO_RANK


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
    the keeper, 1 for a kept row. `compared` counts the similarities computed, `steps` the bands
    that were read, `unfinished` the kept rows that were not compared with every keeper of their
    buckets (see FRONT_LIMIT).
    """

    keeper: Ranks
    jaccard: NDArray[np.float32]
    compared: int
    steps: int
    unfinished: int


def sketch_batch(content: pa.Array, languages: pa.Array) -> NDArray[np.uint32]:
    """Sketches of a content column, uint32 (rows, 256); a null counts as empty.

    What counts of a document begins after its license header (`firnline.kernels.headers`).
    """
    data, offsets = buffers(content)
    return sketch(data, offsets, SHINGLE_TOKENS, _after_headers(data, offsets, languages))


def _after_headers(data: Bytes, offsets: Offsets, languages: pa.Array) -> Offsets:
    names = languages.fill_null("").dictionary_encode()
    styles = np.array([header_style(name) for name in names.dictionary.to_pylist()], dtype=np.int64)
    return header_ends(data, offsets, styles[names.indices.to_numpy()])


def band_keys(sketches: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Band keys of sketches, uint64 (rows, BANDS); 0 where the document has no tokens."""
    return band_hashes(sketches, BANDS, ROWS)


def shingle_sets_batch(content: pa.Array, languages: pa.Array) -> tuple[Hashes, Offsets]:
    """The sets that `sketch_batch` sketches: (hashes, offsets), distinct inside each row."""
    data, offsets = buffers(content)
    starts = _after_headers(data, offsets, languages)
    return shingles.shingle_sets(data, offsets, SHINGLE_TOKENS, starts)


def candidate_rows(keys: Keys, ranks: Ranks) -> NDArray[np.bool_]:
    """Which ranked rows share a band with another: only their shingle sets are ever read.

    Given for each row; `ranks` as in `near_duplicates`.
    """
    order = row_order(ranks)
    link = np.arange(len(order), dtype=np.uint32)
    until = np.full(len(order), keys.bands, dtype=np.uint32)
    found = np.zeros(len(ranks), dtype=bool)
    with ThreadPoolExecutor(_THREADS) as pool:
        for band in range(keys.bands):
            for members, _ in _buckets(pool, keys, ranks, link, until, band):
                found[order[members]] = True
    return found


def near_duplicates(
    keys: Keys,
    ranks: Ranks,
    shingle_sets: ShingleSets,
    threshold: float = THRESHOLD,
    sizes: NDArray[np.uint32] | None = None,
) -> NearDuplicates:
    """Clusters rows around keepers; see the module's text for the rule.

    `ranks` numbers the rows that take part from 0, the one that goes first, and is NO_RANK for
    the others. `shingle_sets(rows)`, given ascending row numbers, returns their sets as (hashes,
    offsets); two threads call it. `sizes` (bytes of each row) bounds what one call asks for to
    `BLOCK_BYTES` of content; without it a call asks for at most 4,096 rows.

    Bands are taken one after the other. In each, a row that resembles an earlier one is linked to
    it and meets no others: a bucket of m copies costs m - 1 comparisons, whatever the number of
    bands. A row whose link leads to a row that has been linked since is freed, and meets the free
    rows of the following bands, round and round, until every free row has been through all bands
    and every link leads to a free row: these are the rows that stay. (That is the one solution:
    by rank, a row stays unless it resembles an earlier one that stays.)

    To stay linear where many members of a bucket resemble one another less than `threshold`
    (thousands of files from one template), a row meets at most 63 keepers of each of its buckets;
    a duplicate of a later one is found only in another band. `unfinished` counts the rows that
    this leaves kept.
    """
    order = row_order(ranks)
    if sizes is None:
        sizes = np.full(len(ranks), BLOCK_BYTES // 4096, dtype=np.uint32)
    link = np.arange(len(order), dtype=np.uint32)
    jaccard = np.ones(len(order), dtype=np.float32)
    unfinished = np.zeros(len(order), dtype=bool)
    until = np.full(len(order), keys.bands, dtype=np.uint32)
    compared = step = 0
    last = keys.bands if len(order) else 0
    with ThreadPoolExecutor(_THREADS) as pool:

        def alike(pairs: NDArray[np.uint64], front: int) -> NDArray[np.float64]:
            return _verify(pool, pairs, front, order, sizes, shingle_sets, threshold)

        while step < last:
            for members, offsets in _buckets(pool, keys, ranks, link, until, step):
                front = 1
                while len(members) and front <= FRONT_LIMIT:
                    rows = _PAIRS // front
                    for start in range(0, len(members), rows):
                        stop = min(start + rows, len(members))
                        pairs = clusters.front_pairs(
                            members, offsets, until, step, front, start, stop
                        )
                        clusters.connect(pairs, alike(pairs, front), threshold, link, jaccard)
                        compared += len(pairs)
                    members, offsets = clusters.without_front(
                        members, offsets, link, until, step, front
                    )
                    front *= 2
                unfinished[members] = True
            step += 1
            if clusters.reopen(link, jaccard, until, step + keys.bands):
                last = step + keys.bands
    unfinished &= link == np.arange(len(link), dtype=np.uint32)
    keeper = np.arange(len(ranks), dtype=np.uint32)
    keeper[order] = order[link]
    row_jaccard = np.ones(len(ranks), dtype=np.float32)
    row_jaccard[order] = jaccard
    return NearDuplicates(keeper, row_jaccard, compared, step, int(unfinished.sum()))


def row_order(ranks: Ranks) -> Ranks:
    """The row of each rank; raises ValueError where the ranks are not 0, 1, 2, ..."""
    ranked = np.flatnonzero(ranks != NO_RANK).astype(np.uint32)
    order = np.full(len(ranked), NO_RANK, dtype=np.uint32)
    if len(ranked) and int(ranks[ranked].max()) < len(ranked):
        order[ranks[ranked]] = ranked
    if (order == NO_RANK).any():
        raise ValueError("each row that takes part needs a rank of its own, from 0 on")
    return order


def _buckets(
    pool: ThreadPoolExecutor,
    keys: Keys,
    ranks: Ranks,
    link: Ranks,
    until: NDArray[np.uint32],
    step: int,
) -> Iterator[tuple[Ranks, NDArray[np.int64]]]:
    """The buckets of free rows, one of them fresh, at a step: (members as ranks, offsets).

    In parts by the keys' first bits, one for each thread at a time. What the caller links
    meanwhile is in no bucket of another part.
    """
    if keys.rows != len(ranks):
        raise ValueError(f"{keys.rows} rows of keys for {len(ranks)} ranks")
    part_bits = 0
    while 8 * len(link) >> part_bits > max(SORT_BYTES, len(link)):
        part_bits += 1
    found = np.zeros(0, dtype=np.uint8)
    if step >= keys.bands:
        found = np.zeros(1 << (clusters.FILTER_BITS - 3), dtype=np.uint8)
        for piece, its_ranks in _pieces(keys, step, ranks):
            clusters.mark(piece, its_ranks, until, step, found)
    rank_bits = max(1, (len(link) - 1).bit_length())

    def part_buckets(part: int) -> tuple[Ranks, NDArray[np.int64]]:
        words = _words(keys, ranks, link, found, step, part, part_bits, rank_bits)
        return clusters.buckets(words, rank_bits, link, until, step)

    for first in range(0, 1 << part_bits, _THREADS):
        yield from pool.map(part_buckets, range(first, min(first + _THREADS, 1 << part_bits)))


def _words(
    keys: Keys,
    ranks: Ranks,
    link: Ranks,
    found: NDArray[np.uint8],
    step: int,
    part: int,
    part_bits: int,
    rank_bits: int,
) -> NDArray[np.uint64]:
    """The sorted words of one part of a band's free rows, those in the filter `found`."""
    expected = (len(link) >> part_bits) // (8 if len(found) else 1)
    words = np.empty(expected + expected // 64 + 4096, dtype=np.uint64)
    while True:
        count = 0
        for piece, its_ranks in _pieces(keys, step, ranks):
            count = clusters.pack(
                piece, its_ranks, link, found, part, part_bits, rank_bits, words, count
            )
        if count <= len(words):
            break
        words = np.empty(count, dtype=np.uint64)  # one bucket holds much of the corpus
    words = words[:count]
    words.sort()
    return words


def _pieces(keys: Keys, step: int, ranks: Ranks) -> Iterator[tuple[NDArray[np.uint64], Ranks]]:
    start = 0
    for piece in keys.band(step % keys.bands):
        yield piece, ranks[start : start + len(piece)]
        start += len(piece)


def _verify(
    pool: ThreadPoolExecutor,
    pairs: NDArray[np.uint64],
    front: int,
    order: Ranks,
    sizes: NDArray[np.uint32],
    shingle_sets: ShingleSets,
    threshold: float,
) -> NDArray[np.float64]:
    """True Jaccard of pairs of ranks, read in blocks; 0 where sizes rule `threshold` out."""
    later = order[pairs >> np.uint64(32)].astype(np.int64)
    earlier = order[pairs & np.uint64(0xFFFFFFFF)].astype(np.int64)
    # Whichever side repeats (see `front_pairs`) has its hash table made once for all its pairs.
    first, second = (earlier, later) if front == 1 else (later, earlier)

    def block(start: int, stop: int) -> NDArray[np.float64]:
        both = np.concatenate([first[start:stop], second[start:stop]])
        rows, places = np.unique(both, return_inverse=True)
        hashes, offsets = shingle_sets(rows)
        one, other = places[: stop - start], places[stop - start :]
        return clusters.jaccard(hashes, offsets, one, other, threshold)

    stops = [0]
    while stops[-1] < len(pairs):
        stops.append(clusters.block_stop(first, second, sizes, stops[-1], BLOCK_BYTES))
    return np.concatenate([np.zeros(0), *pool.map(block, stops[:-1], stops[1:])])
