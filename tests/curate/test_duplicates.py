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
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.curate import duplicates
from firnline.curate.duplicates import (
    BANDS,
    NO_RANK,
    ROWS,
    band_keys,
    candidate_rows,
    choose_bands,
    near_duplicates,
    shingle_sets_batch,
    sketch_batch,
)
from firnline.curate.keyfiles import ArrayKeys, KeyFiles, KeyWriter
from firnline.curate.shinglefiles import ShingleStore, write_shingle_sets
from firnline.errors import FirnlineError
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


def named(language: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(language), count)


def keys_of(texts: list[str], language: str = "Text") -> np.ndarray:
    return band_keys(sketch_batch(column(texts), named(language, len(texts))))


def sets_of(texts: list[str], language: str = "Text") -> duplicates.ShingleSets:
    content = column(texts)
    return lambda rows: shingle_sets_batch(content.take(pa.array(rows)), named(language, len(rows)))


def run(texts: list[str], ranks: np.ndarray, language: str = "Text") -> duplicates.NearDuplicates:
    keys = ArrayKeys(keys_of(texts, language))
    return near_duplicates(keys, ranks.astype(np.uint32), sets_of(texts, language))


def one_bucket(texts: list[str]) -> duplicates.NearDuplicates:
    """All documents share the key of the only band, whatever they hold."""
    keys = ArrayKeys(np.ones((len(texts), 1), dtype=np.uint64))
    return near_duplicates(keys, np.arange(len(texts), dtype=np.uint32), sets_of(texts))


def greedy(sets: list[set[tuple[bytes, ...]]], ranks: np.ndarray) -> list[int]:
    """The rows that stay, by brute force."""
    kept: list[int] = []
    for row in np.argsort(ranks).tolist():
        if not any(alike(sets[row], sets[other]) for other in kept):
            kept.append(row)
    return sorted(kept)


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
    keys = keys_of(texts)
    pairs = [
        (a, b) for a, b in itertools.combinations(range(len(texts)), 2) if alike(sets[a], sets[b])
    ]
    found = sum(bool((keys[a] == keys[b])[keys[a] != 0].any()) for a, b in pairs)
    small = [pair for pair in pairs if len(sets[pair[0]]) < BINS]
    assert len(pairs) > 500
    assert len(small) > 100
    assert found >= 0.99 * len(pairs)
    ranks = np.arange(len(texts), dtype=np.uint32)
    candidates = candidate_rows(ArrayKeys(keys), ranks)
    assert candidates[list({row for pair in pairs for row in pair})].mean() >= 0.99
    shared = [bool(((keys == key) & (key != 0)).any(axis=1).sum() > 1) for key in keys]
    assert candidates.tolist() == shared


def test_clusters_are_the_greedy_ones(texts: list[str]) -> None:
    """In order of priority, a document stays unless it resembles one that stays."""
    sets = [shingles(text) for text in texts]
    priority = np.random.default_rng(0).permutation(len(texts))
    result = run(texts, priority)
    found = np.flatnonzero(result.keeper == np.arange(len(texts))).tolist()
    # Bands miss a pair at the threshold once in a thousand.
    assert len(set(found) ^ set(greedy(sets, priority))) <= 2
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


def test_small_blocks_and_parts_give_the_same_clusters(
    texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = np.arange(len(texts), dtype=np.uint32)
    sizes = np.array([len(text.encode()) for text in texts], dtype=np.uint32)
    whole = run(texts, ranks)
    monkeypatch.setattr(duplicates, "BLOCK_BYTES", 20_000)
    monkeypatch.setattr(duplicates, "SORT_BYTES", 0)
    monkeypatch.setattr(duplicates, "_PAIRS", 32)
    monkeypatch.setattr(duplicates, "_THREADS", 3)
    shingle_sets = sets_of(texts)
    asked = []

    def watched(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert (np.diff(rows) > 0).all()
        asked.append((sizes[rows].sum(), len(rows)))
        return shingle_sets(rows)

    keys = ArrayKeys(keys_of(texts))
    blocks = near_duplicates(keys, ranks, watched, sizes=sizes)
    assert (blocks.keeper == whole.keeper).all()
    assert (blocks.jaccard == whole.jaccard).all()
    assert blocks.compared == whole.compared
    assert len(asked) > 5
    assert all(total <= 20_000 or count == 2 for total, count in asked)


def test_rows_without_a_rank_take_no_part(texts: list[str]) -> None:
    inside = np.arange(len(texts)) % 3 > 0
    ranks = np.full(len(texts), NO_RANK, dtype=np.uint32)
    ranks[inside] = np.random.default_rng(3).permutation(inside.sum())
    result = run(texts, ranks)
    alone = run([text for text, here in zip(texts, inside, strict=True) if here], ranks[inside])
    places = np.flatnonzero(inside)
    assert (result.keeper[inside] == places[alone.keeper]).all()
    assert (result.jaccard[inside] == alone.jaccard).all()
    assert (result.keeper[~inside] == np.flatnonzero(~inside)).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_graph_of_likeness_gives_the_greedy_choice(data: st.DataObject) -> None:
    """Chains, stars and rings of windows over one text, in any order of priority: links that turn
    out to lead to a dropped document are made anew, band after band."""
    starts = data.draw(st.lists(st.integers(0, 60), min_size=2, max_size=25))
    texts = [" ".join(f"w{i}" for i in range(start, start + 80)) for start in starts]
    ranks = np.array(data.draw(st.permutations(range(len(texts)))))
    sets = [shingles(text) for text in texts]
    rows = range(len(texts))
    pairs = [p for p in itertools.combinations(rows, 2) if alike(sets[p[0]], sets[p[1]])]
    # One band for each pair of documents that are alike, in any order: only there do they meet.
    bands = data.draw(st.permutations(pairs))
    keys = np.arange(1, len(texts) * (len(bands) + 1) + 1, dtype=np.uint64)
    keys = (keys << np.uint64(40)).reshape(len(texts), -1)
    for band, (one, other) in enumerate(bands):
        keys[one, band] = keys[other, band]
    result = near_duplicates(ArrayKeys(keys), ranks.astype(np.uint32), sets_of(texts))
    stays = np.flatnonzero(result.keeper == np.arange(len(texts))).tolist()
    assert stays == greedy(sets, ranks)
    for row, keeper in enumerate(result.keeper.tolist()):
        if keeper != row:
            assert ranks[keeper] < ranks[row]
            assert alike(sets[row], sets[keeper])


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
    result = one_bucket(texts)
    assert result.keeper.tolist() == list(range(60)) * 20
    # Twice 60 keepers at most for each document; all pairs would be 719,400.
    assert result.compared <= 2 * 60 * len(texts)
    assert result.unfinished == 0


def test_a_bucket_of_dissimilar_documents_stays_linear() -> None:
    """One key for 1,500 documents of one template: nothing false is dropped, the rest is said."""
    template = " ".join(f"w{i}" for i in range(20))
    texts = [f"{template} {' '.join(f'd{doc}w{i}' for i in range(20))}" for doc in range(1500)]
    result = one_bucket([*texts, *texts[:10], *texts[-10:]])
    assert result.keeper.tolist() == [*range(1500), *range(10), *range(1510, 1520)]
    assert result.compared <= 63 * 1520
    assert result.unfinished == 1520 - 10 - 63


def test_a_million_copies_of_one_header_cost_one_comparison_each() -> None:
    """One bucket of a million in both bands; the sets are made, not read."""
    count = 1_000_000

    def shingle_sets(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hashes = np.tile(np.arange(1, 21, dtype=np.uint64), len(rows))
        hashes[19::20] = 1000 + rows  # one member of its own each: Jaccard 19 / 21
        return hashes, np.arange(0, 20 * len(rows) + 1, 20)

    keys = np.full((count, 2), 1 << 63, dtype=np.uint64)
    ranks = np.arange(count, dtype=np.uint32)[::-1].copy()
    result = near_duplicates(ArrayKeys(keys), ranks, shingle_sets)
    assert (result.keeper == count - 1).all()
    assert result.compared == count - 1
    assert result.jaccard[0] == np.float32(19 / 21)
    assert result.unfinished == 0


LICENSE = "/*\n" + "".join(f" * Copyright line {i} of a license.\n" for i in range(90)) + " */\n"


def test_a_license_header_makes_no_duplicates() -> None:
    """Short classes under one header are apart; one class under two headers is a duplicate."""
    bodies = [
        "\nclass Bee { int wings; Bee(int wings) { this.wings = wings; } int fly() { return 1; } }",
        "\ninterface Ant extends Insect { void march(List<Ant> others, String song); int legs(); }",
        "\nenum Color { RED, GREEN, BLUE; static Color of(String name) { return valueOf(name); } }",
    ]
    texts = [LICENSE + body for body in bodies] + [bodies[0], "/* SPDX: MIT */" + bodies[1]]
    texts += [LICENSE, LICENSE + "\n"]  # nothing but a header: its words count
    assert run(texts, np.arange(7), "Java").keeper.tolist() == [0, 1, 2, 0, 1, 5, 5]
    assert run(texts, np.arange(7), "Text").keeper.tolist()[1:3] == [0, 0]  # no comments there


def test_keys_that_collide_drop_nothing() -> None:
    """Keys that differ in their last bits only, and equal keys of different documents."""
    texts = [f"document {i} holds {i} words of its own {i * i}" for i in range(40)]
    keys = np.full((40, 3), 0xABCD << 48, dtype=np.uint64)
    keys[:, 1] += np.arange(40, dtype=np.uint64)
    result = near_duplicates(ArrayKeys(keys), np.arange(40, dtype=np.uint32), sets_of(texts))
    assert result.keeper.tolist() == list(range(40))
    assert result.compared > 0


@pytest.mark.parametrize("ranks", [[1, 1], [1, 2], [0, 5], [0, 2**32 - 2]])
def test_ranks_must_be_a_numbering(ranks: list[int]) -> None:
    with pytest.raises(ValueError, match="a rank of its own"):
        run(["a", "b"], np.array(ranks))


def test_nothing_to_compare() -> None:
    assert run([], np.zeros(0, np.int64)).keeper.tolist() == []
    nobody = run(["a b c", "a b c"], np.full(2, NO_RANK))
    assert nobody.keeper.tolist() == [0, 1]
    alone = run(["a b c", "d e f"], np.arange(2))
    assert alone.keeper.tolist() == [0, 1]
    assert alone.compared == 0


def test_shingle_files_answer_as_the_content_does(texts: list[str], tmp_path: Path) -> None:
    rows = np.arange(len(texts))
    half = len(texts) // 2
    sets = sets_of(texts)
    batches = [rows[start : min(start + 40, half)] for start in range(0, half, 40)]
    write_shingle_sets(tmp_path / "a", [(batch, *sets(batch)) for batch in batches])
    write_shingle_sets(tmp_path / "b", [(rows[half:], *sets(rows[half:]))])
    write_shingle_sets(tmp_path / "empty", [])
    store = ShingleStore([tmp_path / name for name in ("a", "empty", "b")])
    for wanted in (rows[::7], rows[:0], rows[-3:]):
        hashes, offsets = store(wanted)
        truth, truth_offsets = sets(wanted)
        assert (hashes == truth).all()
        assert (offsets == truth_offsets).all()
    for missing in (np.array([len(texts)]), np.array([-1, 0])):
        with pytest.raises(KeyError):
            store(missing)
    with pytest.raises(ValueError, match="order of their rows"):
        ShingleStore([tmp_path / "b", tmp_path / "a"])


def test_key_files_hold_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firnline.curate.keyfiles.BLOCK_ROWS", 8)
    keys = np.random.default_rng(0).integers(0, 2**63, (45, 5)).astype(np.uint64)
    for name, bounds in (("a", (0, 3, 3, 20)), ("b", (20,)), ("c", (20, 44, 45))):
        with KeyWriter(tmp_path / name, 5) as writer:
            for start, stop in itertools.pairwise(bounds):
                writer.write(keys[start:stop])
    files = KeyFiles([tmp_path / name for name in "abc"], 5)
    assert (files.rows, files.bands) == (45, 5)
    for band in range(5):
        assert np.concatenate(list(files.band(band))).tolist() == keys[:, band].tolist()
        assert np.concatenate(list(ArrayKeys(keys).band(band))).tolist() == keys[:, band].tolist()


def test_a_key_file_is_whole_or_absent(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), KeyWriter(tmp_path / "keys", 5) as writer:
        writer.write(np.ones((3, 5), dtype=np.uint64))
        raise RuntimeError("killed")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "cut").write_bytes(bytes(8 * 7))
    with pytest.raises(FirnlineError, match="56 bytes are not rows of 5 keys"):
        KeyFiles([tmp_path / "cut"], 5)
