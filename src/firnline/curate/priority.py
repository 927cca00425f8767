"""The keep rule: which of several documents that resemble one another stays.

The first difference decides: documents already there (`--against`); a permissive license before
another before none; more stars; not a fork; not in a folder for other people's code; the oldest
(unknown last); the shorter path (bytes), then the smaller; the smaller id. It orders all
documents, so that the same corpus gives the same result in whatever order it is read.

A document's place in it is packed into two 64-bit numbers that decide all but the last bytes of
paths and the ids; these are read again for the documents that tie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from firnline.kernels.clusters import NO_RANK

UNKNOWN_DATE = np.iinfo(np.int64).max
NOT_RANKED = np.uint64(0xFFFFFFFFFFFFFFFF)
"""In both numbers of a document that takes no part."""

# What is held while a part of the documents is sorted, at about 100 bytes for each.
PART_ROWS = 4 << 20

Pieces = Callable[[], Iterator[NDArray[np.uint64]]]
Names = Callable[[NDArray[np.int64]], tuple[pa.Array, NDArray[np.uint64]]]


def pack(
    *,
    there: bool,
    license_rank: NDArray[np.integer],
    stars: NDArray[np.int64],
    fork: NDArray[np.bool_],
    vendored: NDArray[np.bool_],
    created: NDArray[np.int64],
    path: pa.Array,
) -> NDArray[np.uint64]:
    """The two numbers of each document, uint64 (rows, 2); what goes first is smaller.

    `license_rank` is 0 permissive, 1 another, 2 none; `stars` -1 where unknown; `created` seconds
    since 1970, UNKNOWN_DATE where unknown.
    """
    most = (1 << 24) - 1
    result = np.zeros((len(path), 2), dtype=np.uint64)
    for values, bits in (
        (np.full(len(path), not there), 1),
        (license_rank, 2),
        (most - np.clip(stars + 1, 0, most), 24),
        (fork, 1),
        (vendored, 1),
        (np.clip(created, 0, (1 << 35) - 1), 35),
    ):
        result[:, 0] = (result[:, 0] << np.uint64(bits)) | values.astype(np.uint64)
    lengths = pc.binary_length(path).to_numpy(zero_copy_only=False)
    result[:, 1] = np.minimum(lengths, (1 << 16) - 1).astype(np.uint64) << np.uint64(48)
    result[:, 1] |= _first_six_bytes(path)
    return result


def _first_six_bytes(path: pa.Array) -> NDArray[np.uint64]:
    path = path.cast(pa.large_string())
    _, offset_buffer, data = path.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)[path.offset :][: len(path) + 1]
    text = np.frombuffer(data or b"", dtype=np.uint8)
    result = np.zeros(len(path), dtype=np.uint64)
    for place in range(6):
        at = offsets[:-1] + place
        inside = at < offsets[1:]
        result <<= np.uint64(8)
        result[inside] |= text[at[inside]]
    return result


def priority_ranks(
    packed: Pieces, rows: int, names: Names, part_rows: int = PART_ROWS
) -> NDArray[np.uint32]:
    """The rank of each of `rows` documents, 0 for the one that goes first, uint32.

    `packed()` yields the numbers of `pack` for all rows in order, in pieces, and is called
    several times; NOT_RANKED gives NO_RANK. `names(rows)`, given ascending row numbers, returns
    their paths and their ids as uint64 (rows, 2); it is asked for those that tie.
    """
    if rows >= int(NO_RANK):
        raise ValueError(f"{rows:,} documents at once: ranks end at {int(NO_RANK) - 1:,}")
    ranks = np.full(rows, NO_RANK, dtype=np.uint32)
    ranked = 0
    bounds = _bounds(packed, max(1, -(-rows // part_rows)))
    for low, high in zip([None, *bounds], [*bounds, None], strict=True):
        pieces, numbers, start = [np.zeros((0, 2), dtype=np.uint64)], [], 0
        for piece in packed():
            wanted = piece[:, 0] != NOT_RANKED
            if low is not None:
                wanted &= ~_before(piece, low)
            if high is not None:
                wanted &= _before(piece, high)
            mine = np.flatnonzero(wanted)
            pieces.append(piece[mine])
            numbers.append(mine + start)
            start += len(piece)
        part = np.concatenate(pieces)
        its_rows = np.concatenate([np.zeros(0, dtype=np.int64), *numbers])
        order = np.lexsort((part[:, 1], part[:, 0]))
        order = _break_ties(part[order], its_rows[order], names)
        ranks[order] = np.arange(ranked, ranked + len(order), dtype=np.uint32)
        ranked += len(order)
    return ranks


def _bounds(packed: Pieces, parts: int) -> list[NDArray[np.uint64]]:
    """Numbers that divide the documents into about equal parts, from a sample of them."""
    if parts == 1:
        return []
    sample = np.concatenate([piece[::64] for piece in packed()])
    sample = sample[np.lexsort((sample[:, 1], sample[:, 0]))]
    bounds = [sample[len(sample) * part // parts] for part in range(1, parts)]
    return list(np.unique(np.stack(bounds), axis=0))


def _before(piece: NDArray[np.uint64], bound: NDArray[np.uint64]) -> NDArray[np.bool_]:
    high, low = piece[:, 0], piece[:, 1]
    before: NDArray[np.bool_] = (high < bound[0]) | ((high == bound[0]) & (low < bound[1]))
    return before


def _break_ties(
    ordered: NDArray[np.uint64], rows: NDArray[np.int64], names: Names
) -> NDArray[np.int64]:
    """The sorted rows, with those of equal numbers in order of path, then id."""
    same = (ordered[1:] == ordered[:-1]).all(axis=1)
    tied = np.flatnonzero(np.r_[False, same] | np.r_[same, False])
    if not len(tied):
        return rows
    group = np.cumsum(np.r_[True, ~same])[tied]
    ascending = np.argsort(rows[tied])
    paths, ids = names(rows[tied][ascending])
    table = pa.table(
        {
            "group": group[ascending],
            "path": paths.cast(pa.large_binary()),
            "high": np.ascontiguousarray(ids[:, 0]),
            "low": np.ascontiguousarray(ids[:, 1]),
        }
    )
    keys = [(name, "ascending") for name in table.column_names]
    by_name = pc.sort_indices(table, sort_keys=keys).to_numpy()
    result = rows.copy()
    result[tied] = rows[tied][ascending][by_name]
    return result
