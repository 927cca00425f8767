"""Exact duplicates against a dictionary."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.curate.exact import digest_words, exact_duplicates
from firnline.documents import content_hash
from firnline.kernels.clusters import NO_RANK


def found(contents: list[bytes], ranks: list[int], part_bytes: int = 1 << 20) -> list[int]:
    digests = np.array([list(content_hash(content)) for content in contents], dtype=np.uint8)
    hashes = digest_words(digests.reshape(-1, 16))

    def pieces() -> Iterator[np.ndarray]:
        yield from (hashes[start : start + 3] for start in range(0, len(hashes), 3))

    return exact_duplicates(pieces, np.array(ranks, dtype=np.uint32), part_bytes).tolist()


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_the_smallest_rank_stays(data: st.DataObject) -> None:
    contents = data.draw(st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b""]), max_size=40))
    ranks = data.draw(st.permutations(range(len(contents))))
    outside = data.draw(st.sets(st.integers(0, max(0, len(contents) - 1))))
    ranks = [int(NO_RANK) if row in outside else rank for row, rank in enumerate(ranks)]
    best: dict[bytes, int] = {}
    for row in sorted(range(len(contents)), key=lambda row: ranks[row]):
        if ranks[row] != NO_RANK:
            best.setdefault(contents[row], row)
    truth = [row if ranks[row] == NO_RANK else best[contents[row]] for row in range(len(contents))]
    assert found(contents, ranks) == truth
    assert found(contents, ranks, part_bytes=0) == truth


def test_hashes_that_share_a_half_differ() -> None:
    digests = np.zeros((5, 16), dtype=np.uint8)
    digests[1, 0] = digests[2, 15] = digests[4, 15] = 1
    hashes = digest_words(digests)
    ranks = np.array([3, 2, 1, 0, 4], dtype=np.uint32)
    assert exact_duplicates(lambda: iter([hashes]), ranks).tolist() == [3, 1, 2, 3, 2]


def test_a_large_corpus_is_read_in_parts() -> None:
    contents = [str(number % 700).encode() for number in range(2000)]
    passes = []
    digests = np.array([list(content_hash(content)) for content in contents], dtype=np.uint8)

    def pieces() -> Iterator[np.ndarray]:
        passes.append(1)
        yield digest_words(digests)

    keeper = exact_duplicates(pieces, np.arange(2000, dtype=np.uint32), 10_000)
    assert keeper.tolist() == [number % 700 for number in range(2000)]
    assert len(passes) == 8  # the least power of two with 28 bytes for each row below 10,000


def test_hashes_of_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="1 rows of hashes for 2 ranks"):
        exact_duplicates(lambda: iter([np.zeros((1, 2), np.uint64)]), np.arange(2, dtype=np.uint32))
