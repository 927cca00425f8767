"""Sketches against the paper's algorithm in plain Python, and against true Jaccard."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.documents import buffers
from firnline.kernels.shingles import shingle_sets
from firnline.kernels.sketch import BINS, band_hashes, sketch, sketch_sets

EMPTY = 0xFFFFFFFF


def mix(value: int) -> int:
    """MurmurHash3's finalizer shape, in Python integers."""
    value ^= value >> 32
    value = value * 0xFF51AFD7ED558CCD % 2**64
    value ^= value >> 29
    value = value * 0xC4CEB9FE1A85EC53 % 2**64
    return value ^ (value >> 32)


def reference_sketch(members: list[int]) -> list[int]:
    """Algorithm 1 of Dahlgaard, Knudsen and Thorup (2017): all rounds, nothing skipped early."""
    bins: list[tuple[int, int] | None] = [None] * BINS
    for number in range(2 * BINS):
        if all(bins) or not members:
            break
        for member in members:
            step = number * 0x9E3779B97F4A7C15
            value = mix((member + step) % 2**64) if number else member
            place = value % BINS if number < BINS else number - BINS
            candidate = (number, value >> 9)
            if bins[place] is None or candidate < bins[place]:
                bins[place] = candidate
    return [EMPTY if entry is None else entry[1] % 2**32 for entry in bins]


def of(texts: list[str]) -> np.ndarray:
    return sketch(*buffers(pa.array(texts, pa.large_string())))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text("ab (.\n", max_size=80), max_size=4))
def test_small_documents_equal_the_reference(texts: list[str]) -> None:
    hashes, offsets = shingle_sets(*buffers(pa.array(texts, pa.large_string())))
    sketches = of(texts)
    for row, text in enumerate(texts):
        members = hashes[offsets[row] : offsets[row + 1]].tolist()
        assert sketches[row].tolist() == reference_sketch(members), text


@pytest.mark.parametrize(
    "text",
    [
        " ".join(f"name{i}" for i in range(4000)),  # several chunks, words cut between them
        "x" * 20_000 + " = 1;" + "y" * 9_000,  # words longer than a chunk
        " " * 9_000 + "a b" + "\n" * 17_000 + "c d e f",  # chunks of white space
        "0, 1, " * 40_000,  # few distinct shingles, more repetitions than are kept
    ],
)
def test_large_documents_equal_the_reference(text: str) -> None:
    hashes, _ = shingle_sets(*buffers(pa.array([text], pa.large_string())))
    assert of([text])[0].tolist() == reference_sketch(hashes.tolist())


def test_a_sketch_of_the_set_is_that_of_the_document() -> None:
    texts = ["", "x", "a b c d e f", " ".join(f"n{i}" for i in range(90)), "0, 1, " * 900]
    texts.append(" ".join(f"name{i}" for i in range(4000)))
    content = buffers(pa.array(texts, pa.large_string()))
    assert (sketch_sets(*shingle_sets(*content)) == sketch(*content)).all()


def test_a_document_does_not_depend_on_its_neighbours() -> None:
    texts = ["a b c d e f g", "", "x", "long " * 3000 + "tail", "a b c d e f g"]
    together = of(texts)
    for row, text in enumerate(texts):
        assert (of([text])[0] == together[row]).all()


@pytest.mark.parametrize("size", [7, 40, 150, 300, 800, 4000])
def test_the_share_of_equal_bins_estimates_jaccard(size: int) -> None:
    """Mean and spread over 200 pairs, for sets far below and far above the number of bins."""
    rng = np.random.default_rng(size)
    texts, truths = [], []
    for pair in range(200):
        tokens = [f"p{pair}w{i}" for i in range(size + 4)]
        changed = list(tokens)
        # One changed token touches five shingles at most.
        for place in rng.integers(0, len(tokens), max(1, size // 40)):
            changed[place] = "other"
        texts += [" ".join(tokens), " ".join(changed)]
        one, other = (
            {tuple(words[i : i + 5]) for i in range(len(words) - 4)} for words in (tokens, changed)
        )
        truths.append(len(one & other) / len(one | other))
    sketches = of(texts)
    estimates = (sketches[0::2] == sketches[1::2]).mean(axis=1)
    errors = estimates - np.array(truths)
    spread = np.sqrt(np.mean([j * (1 - j) / BINS for j in truths]))
    assert abs(errors.mean()) < 4 * spread / np.sqrt(len(errors))
    assert errors.std() < 1.2 * spread  # no worse than 256 independent samples


def test_documents_without_tokens_have_no_bands() -> None:
    sketches = of(["", " \n\t", "x"])
    assert (sketches[:2] == EMPTY).all()
    keys = band_hashes(sketches, 38, 5)
    assert (keys[:2] == 0).all()
    assert (keys[2] != 0).all()


def test_bands_are_equal_where_all_their_rows_are() -> None:
    sketches = np.arange(2 * BINS, dtype=np.uint32).reshape(2, BINS)
    sketches[1, :12] = sketches[0, :12]
    keys = band_hashes(sketches, 51, 5)
    assert (keys[0] == keys[1]).tolist() == [True, True] + [False] * 49


def test_more_bands_than_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 256 bins"):
        band_hashes(np.zeros((1, BINS), np.uint32), 52, 5)
