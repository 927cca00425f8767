"""Training samples: every token once an epoch, pure in (seed, phase, number), explained."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.errors import FirnlineError
from firnline.tokens import pack
from firnline.tokens.permutation import permute, random_words, shuffled_groups, unpermute
from firnline.tokens.samples import Samples, check
from firnline.tokens.tokenizer import Tokenizer

LENGTH = 96


@pytest.fixture(scope="module")
def folder(corpus: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("samples") / "tokens"
    return pack.run(pack.PackConfig(), corpus, tokenizer_folder, out).folder


def documents_of(folder: Path) -> dict[bytes, np.ndarray]:
    """Every document's tokens, read plainly."""
    return {
        row["id"]: np.fromfile(
            folder / f"shard-{row['shard']:05d}.bin",
            dtype=np.uint16,
            offset=2 * row["offset"],
            count=row["tokens"],
        )
        for row in pq.read_table(folder / "index.parquet").to_pylist()
    }


def samples_of(folder: Path, length: int = LENGTH, seed: int = 3, phase: str = "alpha") -> Samples:
    return Samples(folder, sequence_length=length, seed=seed, phase=phase)


@pytest.mark.parametrize("length", [1, 31, LENGTH, 4096])
@pytest.mark.parametrize("epoch", [0, 2])
def test_each_token_of_an_epoch_is_a_target_once_but_for_the_tail(
    folder: Path, length: int, epoch: int
) -> None:
    samples = samples_of(folder, length)
    documents = documents_of(folder)
    everything = {(name, place) for name, ids in documents.items() for place in range(len(ids))}
    assert samples.epoch_tokens == len(everything)
    assert samples.samples_per_epoch == (len(everything) - 1) // length
    first = epoch * samples.samples_per_epoch
    count = samples.samples_per_epoch
    if length < LENGTH:  # one Python call for each sample: a part will do
        count = 1500
    targets: Counter[tuple[bytes, int]] = Counter()
    for number in range(first, first + count):
        places = [
            (piece.id, place)
            for piece in samples.documents(number)
            for place in range(piece.start, piece.end)
        ]
        assert len(places) == length + 1
        targets.update(places[1:])
    assert set(targets.values()) == {1}
    assert len(targets) == count * length
    assert targets.keys() <= everything


@pytest.mark.parametrize("length", [31, LENGTH, 4096])
def test_numbers_of_a_document_are_those_a_scan_finds(folder: Path, length: int) -> None:
    samples = samples_of(folder, length)
    count = min(samples.samples_per_epoch * 5 // 2, 400)  # ends inside an epoch
    scanned: dict[bytes, list[int]] = {name: [] for name in documents_of(folder)}
    for number in range(count):
        for name in {piece.id for piece in samples.documents(number)}:
            scanned[name].append(number)
    for name, numbers in scanned.items():
        assert samples.numbers_of(name, count).tolist() == numbers
    assert samples.numbers_of(bytes(16), count).tolist() == []
    assert samples.numbers_of(next(iter(scanned)), 0).tolist() == []


def test_documents_say_what_the_batch_holds(folder: Path) -> None:
    samples, documents = samples_of(folder), documents_of(folder)
    rows = {row["id"]: row for row in pq.read_table(folder / "index.parquet").to_pylist()}
    start = samples.samples_per_epoch - 20
    batch = samples.batch(start, 40).ids  # across two epochs
    assert batch.dtype == np.int64
    assert batch.shape == (40, LENGTH + 1)
    for number in range(40):
        pieces = samples.documents(start + number)
        joined = np.concatenate([documents[p.id][p.start : p.end] for p in pieces])
        assert joined.tolist() == batch[number].tolist()
        for piece in pieces:
            assert (piece.repo, piece.path) == (rows[piece.id]["repo"], rows[piece.id]["path"])


def test_the_stream_keeps_groups_together_and_documents_whole(folder: Path) -> None:
    """Undoing the permutation of the sequences gives the concatenated groups back."""
    samples = samples_of(folder)
    rows = {row["id"]: row for row in pq.read_table(folder / "index.parquet").to_pylist()}
    count = samples.samples_per_epoch
    place = permute(np.arange(count), count, samples.seed, samples.phase, 0)
    number_at = np.argsort(place)
    seen: list[bytes] = []
    for number in number_at.tolist():
        for piece in samples.documents(number):
            if not seen or seen[-1] != piece.id:
                assert piece.start == 0 or not seen
                seen.append(piece.id)
    assert len(seen) == len(set(seen))
    groups = [rows[name]["group"] for name in seen]
    runs = 1 + sum(a != b for a, b in itertools.pairwise(groups))
    assert runs == len(set(groups))
    assert groups != sorted(groups)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 40), min_size=1, max_size=6), start=st.integers(0, 10**12))
def test_a_batch_is_the_same_however_it_is_sliced(
    folder: Path, cuts: list[int], start: int
) -> None:
    samples = samples_of(folder)
    whole = samples.batch(start, sum(cuts)).ids
    at, parts = start, []
    for count in cuts:
        parts.append(samples_of(folder).batch(at, count).ids)
        at += count
    assert np.array_equal(np.concatenate(parts), whole)


def test_a_batch_is_the_same_in_another_process(folder: Path) -> None:
    code = (
        "import sys, hashlib; from pathlib import Path;"
        "from firnline.tokens.samples import Samples;"
        "s = Samples(Path(sys.argv[1]), sequence_length=96, seed=3, phase='alpha');"
        "print(hashlib.sha256(s.batch(10**10, 50).ids.tobytes()).hexdigest())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True
    )
    mine = hashlib.sha256(samples_of(folder).batch(10**10, 50).ids.tobytes()).hexdigest()
    assert answer.stdout.strip() == mine


def test_seeds_phases_and_epochs_have_their_own_orders(folder: Path) -> None:
    one = samples_of(folder)
    first = one.batch(0, 30).ids
    others = [
        samples_of(folder, seed=4).batch(0, 30).ids,
        samples_of(folder, phase="beta").batch(0, 30).ids,
        one.batch(one.samples_per_epoch, 30).ids,
    ]
    assert all(not np.array_equal(first, other) for other in others)
    assert np.array_equal(first, samples_of(folder).batch(0, 30).ids)


def test_a_batch_mixes_groups(folder: Path) -> None:
    samples = samples_of(folder)
    repositories = {piece.repo for n in range(16) for piece in samples.documents(n)}
    assert len(repositories) > 2


def test_orders_are_fixed_for_ever() -> None:
    """Known answers: another NumPy, or an edit, must not silently change what is trained on."""
    assert random_words(2, 3, "alpha", 0).tolist() == WORDS
    assert permute(np.arange(8), 8, 3, "alpha", 0).tolist() == PERMUTED
    groups = np.array([0, 1, 1, 2, 0, 2, 2])
    assert shuffled_groups(groups, 3, "alpha", 0).tolist() == SHUFFLED


WORDS = [7576284815935210427, 10930718797507257237]
PERMUTED = [0, 2, 7, 3, 6, 5, 4, 1]
SHUFFLED = [4, 0, 3, 6, 5, 2, 1]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 1000, 4097, 65536])
def test_the_permutation_is_one(size: int) -> None:
    sent = permute(np.arange(size), size, 1, "x")
    assert unpermute(sent, size, 1, "x").tolist() == list(range(size))
    assert np.array_equal(np.sort(sent), np.arange(size))
    part = permute(np.arange(size // 2, size), size, 1, "x")
    assert np.array_equal(part, sent[size // 2 :])
    if size >= 1000:
        assert not np.array_equal(sent, permute(np.arange(size), size, 2, "x"))
        # As from a shuffle: few fixed points, neighbours far apart.
        assert np.count_nonzero(sent == np.arange(size)) < 12
        assert np.abs(np.diff(sent)).mean() == pytest.approx(size / 3, rel=0.1)


def test_the_permutation_reaches_large_numbers() -> None:
    size = 10**15 + 37
    numbers = np.arange(size - 1000, size)
    sent = permute(numbers, size, 5, "x")
    assert len(set(sent.tolist())) == 1000
    assert sent.min() >= 0
    assert sent.max() < size


@settings(deadline=None)
@given(groups=st.lists(st.integers(0, 9), max_size=60), seed=st.integers(0, 9))
def test_shuffled_groups_is_a_permutation_that_keeps_groups(groups: list[int], seed: int) -> None:
    order = shuffled_groups(np.array(groups, dtype=np.int32), seed)
    assert sorted(order.tolist()) == list(range(len(groups)))
    met = [groups[row] for row in order]
    runs = sum(n == 0 or met[n - 1] != group for n, group in enumerate(met))
    assert runs == len(set(groups))


def test_another_tokenizer_is_refused(folder: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    check(folder, Tokenizer.load(tokenizer_folder))
    data = (tokenizer_folder / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(data + b" ")
    other = Tokenizer.load(tmp_path)
    with pytest.raises(FirnlineError, match="was packed with tokenizer") as caught:
        check(folder, other)
    assert other.digest in str(caught.value)


def test_a_corpus_shorter_than_a_sample_names_both_numbers(folder: Path) -> None:
    tokens = json.loads((folder / "tokens.json").read_text())["tokens"]
    with pytest.raises(FirnlineError, match=f"{tokens:,} tokens, one sample takes {tokens + 1:,}"):
        samples_of(folder, tokens)
    assert samples_of(folder, tokens - 1).samples_per_epoch == 1
    with pytest.raises(FirnlineError, match="sequence_length is 0"):
        samples_of(folder, 0)


def test_damaged_folders_are_one_line(folder: Path, tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        (tmp_path / name).mkdir()
        for path in folder.iterdir():
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
        return tmp_path / name

    short = copy("short")
    shard = short / "shard-00002.bin"
    size = shard.stat().st_size
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(FirnlineError, match=f"holds {size - 2:,} bytes, its index says {size:,}"):
        samples_of(short)
    missing = copy("missing")
    (missing / "shard-00000.bin").unlink()
    with pytest.raises(FirnlineError, match="holds 0 bytes"):
        samples_of(missing)
    index = copy("index")
    (index / "index.parquet").write_bytes((folder / "index.parquet").read_bytes()[:100])
    with pytest.raises(FirnlineError, match="cannot read"):
        samples_of(index)
    unlike = copy("unlike")
    (unlike / "tokens.json").write_text("[]")
    with pytest.raises(FirnlineError, match="not a token folder"):
        samples_of(unlike)
    with pytest.raises(FirnlineError, match="not a token folder"):
        samples_of(tmp_path / "absent")


def test_an_index_that_reaches_beyond_its_shard_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tokens"
    shutil.copytree(folder, copy)
    index = pq.read_table(copy / "index.parquet")
    places = index.column("offset").to_numpy().copy()
    places[-1] += 1
    moved = index.set_column(index.column_names.index("offset"), "offset", pa.array(places))
    pq.write_table(moved, copy / "index.parquet")
    with pytest.raises(FirnlineError, match="documents do not follow"):
        samples_of(copy)
