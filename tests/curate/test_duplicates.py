"""Duplicates against brute force over Python sets, and the promises of the clustering rule."""

from __future__ import annotations

import itertools
import random
import re
import sysconfig
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from firnline.curate import duplicates
from firnline.curate.duplicates import (
    BANDS,
    ROWS,
    ShingleStore,
    band_keys,
    candidate_rows,
    choose_bands,
    exact_duplicates,
    near_duplicates,
    priority_ranks,
    shingle_sets_batch,
    sketch_batch,
    write_shingle_sets,
)
from firnline.documents import content_hash
from firnline.kernels.sketch import BINS

TOKEN = re.compile(rb"[A-Za-z0-9_\x80-\xff]+|[^ \t\n\r\x0b\x0c]")


def shingles(text: str) -> set[tuple[bytes, ...]]:
    tokens = TOKEN.findall(text.encode())
    if len(tokens) < 5:
        return {tuple(tokens)} if tokens else set()
    return {tuple(tokens[i : i + 5]) for i in range(len(tokens) - 4)}


def jaccard(one: set[tuple[bytes, ...]], other: set[tuple[bytes, ...]]) -> float:
    common = len(one & other)
    return common / (len(one) + len(other) - common) if one and other else 0.0


def alike(one: set[tuple[bytes, ...]], other: set[tuple[bytes, ...]]) -> bool:
    # Sizes decide most pairs: the intersection is no larger than the smaller set.
    few, many = sorted((len(one), len(other)))
    return few >= 0.7 * many and jaccard(one, other) >= 0.7


def near_copy(rng: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True)
    for _ in range(rng.randrange(1, 2 + len(lines) // 8)):
        place = rng.randrange(len(lines))
        lines[place] = rng.choice(["", lines[place].replace("e", "o"), "added = line(here)\n"])
    return "".join(lines)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Real functions and files with near copies of them, small ones among them."""
    rng = random.Random(5)
    originals: list[str] = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:60]:
        content = path.read_text(encoding="utf-8", errors="replace")[:6000]
        originals += [content, *re.split(r"\n(?=def |class )", content)[:4]]
    result = [text for text in originals if text.strip()]
    result += [near_copy(rng, text) for text in result for _ in range(rng.randrange(4))]
    result += ["", " \n", "x", "x", "y = 1", "y = 1\n", "y  =  1"]
    rng.shuffle(result)
    return result


def column(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def run(texts: list[str], priority: np.ndarray, **options: object) -> duplicates.NearDuplicates:
    content = column(texts)
    keys = band_keys(sketch_batch(content))
    return near_duplicates(
        keys, priority, lambda rows: shingle_sets_batch(content.take(pa.array(rows))), **options
    )


def test_bands_follow_the_formula() -> None:
    assert choose_bands(256, 0.7, 0.999) == (BANDS, ROWS)
    assert BANDS * ROWS <= BINS
    assert 1 - (1 - 0.7**ROWS) ** BANDS >= 0.999
    assert 1 - (1 - 0.7**ROWS) ** (BANDS - 1) < 0.999
    assert 1 - (1 - 0.7 ** (ROWS + 1)) ** (BINS // (ROWS + 1)) < 0.999
    with pytest.raises(ValueError, match="cannot find pairs"):
        choose_bands(4, 0.1, 0.999)


def test_candidates_hold_the_pairs_that_brute_force_finds(texts: list[str]) -> None:
    sets = [shingles(text) for text in texts]
    keys = band_keys(sketch_batch(column(texts)))
    pairs = [
        (a, b) for a, b in itertools.combinations(range(len(texts)), 2) if alike(sets[a], sets[b])
    ]
    found = sum(bool((keys[a] == keys[b])[keys[a] != 0].any()) for a, b in pairs)
    small = [pair for pair in pairs if len(sets[pair[0]]) < BINS]
    assert len(pairs) > 500
    assert len(small) > 100
    assert found >= 0.99 * len(pairs)
    assert candidate_rows(keys)[list({row for pair in pairs for row in pair})].mean() >= 0.99


def test_clusters_are_the_greedy_ones(texts: list[str]) -> None:
    """In order of priority, a document stays unless it resembles one that stays."""
    sets = [shingles(text) for text in texts]
    priority = np.random.default_rng(0).permutation(len(texts))
    result = run(texts, priority)
    kept: list[int] = []
    for row in np.argsort(priority).tolist():
        if not any(alike(sets[row], sets[other]) for other in kept):
            kept.append(row)
    found = np.flatnonzero(result.keeper == np.arange(len(texts))).tolist()
    # Bands miss a pair at the threshold once in a thousand.
    assert len(set(found) ^ set(kept)) <= 2
    for row, keeper in enumerate(result.keeper.tolist()):
        assert result.keeper[keeper] == keeper  # no chain
        if keeper == row:
            assert result.jaccard[row] == 1
        else:
            assert priority[keeper] < priority[row]
            assert result.jaccard[row] >= np.float32(0.7)
            assert result.jaccard[row] == pytest.approx(jaccard(sets[row], sets[keeper]))


def test_no_document_without_tokens_is_a_duplicate(texts: list[str]) -> None:
    result = run(texts, np.arange(len(texts)))
    for row, text in enumerate(texts):
        if not text.strip():
            assert result.keeper[row] == row
            assert row not in np.delete(result.keeper, row)


def test_short_documents_resemble_their_equals_only() -> None:
    result = run(["x", "x ", "y", "y = 1", "y=1", "y = 2", "", ""], np.arange(8))
    assert result.keeper.tolist() == [0, 0, 2, 3, 3, 5, 6, 7]


def test_clusters_do_not_depend_on_the_order_of_rows(texts: list[str]) -> None:
    rng = np.random.default_rng(1)
    priority = rng.permutation(len(texts))
    shuffled = rng.permutation(len(texts))
    one = run(texts, priority)
    other = run([texts[row] for row in shuffled], priority[shuffled])
    assert (shuffled[other.keeper] == one.keeper[shuffled]).all()
    assert (other.jaccard == one.jaccard[shuffled]).all()
    assert one.compared == other.compared


def test_small_blocks_give_the_same_clusters(
    texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    priority = np.arange(len(texts))
    sizes = np.array([len(text.encode()) for text in texts])
    whole = run(texts, priority)
    monkeypatch.setattr(duplicates, "BLOCK_BYTES", 20_000)
    content = column(texts)
    asked = []

    def shingle_sets(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert (np.diff(rows) > 0).all()
        asked.append((sizes[rows].sum(), len(rows)))
        return shingle_sets_batch(content.take(pa.array(rows)))

    blocks = near_duplicates(band_keys(sketch_batch(content)), priority, shingle_sets, sizes=sizes)
    assert (blocks.keeper == whole.keeper).all()
    assert (blocks.jaccard == whole.jaccard).all()
    assert len(asked) > 5
    assert all(total <= 20_000 or count == 2 for total, count in asked)


def test_a_chain_is_not_one_cluster() -> None:
    """a ~ b and b ~ c but not a ~ c: c stays when b is dropped, and goes when b stays."""
    words = [f"w{i}" for i in range(260)]
    a, b, c = (" ".join(words[start : start + 200]) for start in (0, 30, 60))
    assert jaccard(shingles(a), shingles(b)) >= 0.7 > jaccard(shingles(a), shingles(c))
    assert run([a, b, c], np.array([0, 1, 2])).keeper.tolist() == [0, 0, 2]
    assert run([a, b, c], np.array([1, 0, 2])).keeper.tolist() == [1, 1, 1]


def test_a_bucket_of_copies_is_compared_with_its_keeper_only() -> None:
    rng = random.Random(2)
    stub = [f"w{i}" for i in range(400)]
    texts = [" ".join([*stub, str(rng.random())]) for _ in range(2000)]
    result = run(texts, np.arange(2000))
    assert (result.keeper == 0).all()
    assert result.compared == 1999


def test_many_keepers_in_one_bucket_are_still_found() -> None:
    """One key for all: 60 dissimilar documents, 20 copies of each."""
    texts = [" ".join(f"d{doc}w{i}" for i in range(30)) for doc in range(60)] * 20
    content = column(texts)
    keys = np.ones((len(texts), 1), dtype=np.uint64)
    result = near_duplicates(
        keys,
        np.arange(len(texts)),
        lambda rows: shingle_sets_batch(content.take(pa.array(rows))),
    )
    assert result.keeper.tolist() == list(range(60)) * 20
    # Twice 60 keepers at most for each document; all pairs would be 719,400.
    assert result.compared <= 2 * 60 * len(texts)
    assert result.unfinished == 0


def test_a_bucket_of_dissimilar_documents_stays_linear() -> None:
    """One key for 1,500 documents of one template: nothing false is dropped, the rest is said."""
    template = " ".join(f"w{i}" for i in range(20))
    texts = [f"{template} {' '.join(f'd{doc}w{i}' for i in range(20))}" for doc in range(1500)]
    content = column([*texts, *texts[:10], *texts[-10:]])
    result = near_duplicates(
        np.ones((len(content), 1), dtype=np.uint64),
        np.arange(len(content)),
        lambda rows: shingle_sets_batch(content.take(pa.array(rows))),
    )
    assert result.keeper.tolist() == [*range(1500), *range(10), *range(1510, 1520)]
    assert result.compared <= 63 * len(content)
    assert result.unfinished == 1520 - 10 - 63


def test_exact_duplicates_keep_the_smallest_priority() -> None:
    contents = [b"a", b"b", b"a", b"c", b"a", b"b"]
    hashes = np.array([list(content_hash(content)) for content in contents], dtype=np.uint8)
    keeper = exact_duplicates(hashes, np.array([5, 0, 2, 3, 4, 1]))
    assert keeper.tolist() == [2, 1, 2, 3, 2, 1]
    assert exact_duplicates(hashes[:0], np.zeros(0, np.int64)).tolist() == []


def test_hashes_that_share_a_half_differ() -> None:
    hashes = np.zeros((4, 16), dtype=np.uint8)
    hashes[1, 0] = hashes[2, 15] = 1
    assert exact_duplicates(hashes, np.arange(4)).tolist() == [0, 1, 2, 0]


def test_priority_ranks_sort_by_keys_then_id() -> None:
    ids = np.array([[row] * 16 for row in (9, 1, 200, 1)], dtype=np.uint8)
    ids[3, 15] = 0
    stars = np.array([-5, -7, -7, -7])
    assert priority_ranks(stars, ids=ids).tolist() == [3, 1, 2, 0]
    assert priority_ranks(ids=ids).tolist() == [2, 1, 3, 0]


def test_priorities_must_differ() -> None:
    with pytest.raises(ValueError, match="a priority of its own"):
        run(["a", "b"], np.array([1, 1]))


def test_nothing_to_compare() -> None:
    assert run([], np.zeros(0, np.int64)).keeper.tolist() == []
    alone = run(["a b c", "d e f"], np.arange(2))
    assert alone.keeper.tolist() == [0, 1]
    assert alone.compared == 0


def test_shingle_files_answer_as_the_content_does(texts: list[str], tmp_path: Path) -> None:
    content = column(texts)
    rows = np.arange(len(texts))
    half = len(texts) // 2
    batches = [
        (rows[start : start + 40], content[start : start + 40]) for start in range(0, half, 40)
    ]
    write_shingle_sets(
        tmp_path / "a.arrow", [(r[r < half], c[: (r < half).sum()]) for r, c in batches]
    )
    write_shingle_sets(tmp_path / "b.arrow", [(rows[half:], content[half:])])
    write_shingle_sets(tmp_path / "empty.arrow", [])
    store = ShingleStore([tmp_path / name for name in ("b.arrow", "a.arrow", "empty.arrow")])
    for wanted in (rows[::7], rows[:0], rows[-3:]):
        hashes, offsets = store(wanted)
        truth, truth_offsets = shingle_sets_batch(content.take(pa.array(wanted)))
        assert (hashes == truth).all()
        assert (offsets == truth_offsets).all()
    for missing in (np.array([len(texts)]), np.array([-1, 0])):
        with pytest.raises(KeyError):
            store(missing)
