"""Exact duplicates: rows of equal 128-bit hashes, found in parts so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from firnline.kernels import clusters

# Hashes, row numbers and their order that are held at a time; a large corpus is read in parts.
PART_BYTES = 512 << 20
_ROW_BYTES = 28

Pieces = Callable[[], Iterator[NDArray[np.uint64]]]


def exact_duplicates(
    hashes: Pieces, ranks: NDArray[np.uint32], part_bytes: int = PART_BYTES
) -> NDArray[np.uint32]:
    """The row that stays for each row: the one of smallest rank with the same hash.

    `hashes()` yields the hashes of all rows in order, uint64 (rows, 2), in pieces; it is called
    once for each part, and the upper bits of hashes must be as good as random. A row of
    `clusters.NO_RANK` takes no part and stays its own.
    """
    keeper = np.arange(len(ranks), dtype=np.uint32)
    part_bits = 0
    while len(ranks) * _ROW_BYTES >> part_bits > max(part_bytes, 2 * len(ranks)):
        part_bits += 1
    for part in range(1 << part_bits):
        pieces, rows, start = [np.zeros((0, 2), dtype=np.uint64)], [], 0
        for piece in hashes():
            wanted = ranks[start : start + len(piece)] != clusters.NO_RANK
            if part_bits:
                wanted &= piece[:, 0] >> np.uint64(64 - part_bits) == part
            mine = np.flatnonzero(wanted)
            pieces.append(piece[mine])
            rows.append((mine + start).astype(np.uint32))
            start += len(piece)
        if start != len(ranks):
            raise ValueError(f"{start} rows of hashes for {len(ranks)} ranks")
        found = np.concatenate(pieces)
        numbers = np.concatenate([keeper[:0], *rows])
        del pieces, rows
        order = np.argsort(found[:, 0])
        clusters.equal(found[order], numbers[order], ranks, keeper)
    return keeper


def digest_words(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """16-byte digests, uint8 (rows, 16), as `exact_duplicates` takes them."""
    return np.ascontiguousarray(digests).reshape(-1, 16).view(">u8").astype(np.uint64)
