"""Packing: best fit against brute force, nothing cut that fits, every token once."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.errors import FirnlineError
from firnline.kernels.bins import best_fit_decreasing, cut_chunks
from firnline.tokens.packing import PackingConfig
from firnline.tokens.samples import Samples

LENGTH = 32
BEST_FIT = PackingConfig(method="best_fit")
GENERATOR = np.random.default_rng(1)
SIZES = np.minimum(GENERATOR.lognormal(3, 1, 900).astype(int) + 1, 200)
SIZES[:12] = [1, 2, 32, 33, 34, 64, 65, 66, 97, 98, 129, 130]  # about whole sequences


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_token_folder: Callable[..., Path]):
    documents = [[*GENERATOR.integers(7, 1200, size - 1).tolist(), 0] for size in SIZES.tolist()]
    return write_token_folder(tmp_path_factory.mktemp("packing") / "tokens", documents)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory, write_token_folder: Callable[..., Path]):
    documents = [[7 + n % 1000] * (size - 1) + [0] for n, size in enumerate(SIZES.tolist())]
    out = tmp_path_factory.mktemp("grouped") / "tokens"
    groups = [n % 40 for n in range(len(documents))]
    return write_token_folder(out, documents, group=groups, place=list(range(len(documents))))


def samples_of(folder: Path, packing: PackingConfig = BEST_FIT, **options) -> Samples:
    given = {"sequence_length": LENGTH, "seed": 3, "phase": "alpha"} | options
    return Samples(folder, packing=packing, **given)


def best_fit_slowly(sizes: list[int], capacity: int) -> list[int]:
    """The room left in each bin: each item, largest first, into the fullest that has room."""
    room: list[int] = []
    for size in sorted(sizes, reverse=True):
        fitting = [left for left in room if left >= size]
        if fitting:
            room.remove(min(fitting))
            room.append(min(fitting) - size)
        else:
            room.append(capacity - size)
    return room


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), max_size=80),
    capacity=st.sampled_from([40, 41, 63, 64, 100]),
)
def test_best_fit_is_that_of_brute_force(sizes: list[int], capacity: int) -> None:
    order, bins, count = best_fit_decreasing(np.array(sizes, dtype=np.int32), capacity)
    assert sorted(order.tolist()) == list(range(len(sizes)))
    assert sorted(-sizes[item] for item in order) == [-sizes[item] for item in order]
    left = [capacity] * count
    for item, bin_ in zip(order, bins, strict=True):
        left[bin_] -= sizes[item]
    assert sorted(left) == sorted(best_fit_slowly(sizes, capacity))


def cut_slowly(tokens, groups, length, reserve, whole_only):
    """Chunks as lists of (document, start, tokens), with the tokens that each takes."""
    capacity = length + 1
    runs: list[tuple[int, int, int, int]] = []  # document, start, tokens, tokens taken
    for document, size in enumerate(tokens):
        # Parts that are infilled need room, but each has half a sequence at least.
        step = length if whole_only else max(length - reserve, -(-length // 2))
        starts = [0] if size <= capacity else range(0, size - 1, step)
        for start in starts:
            held = min(size - start, capacity if size <= capacity else step + 1)
            extra = 0 if start and whole_only and start + held == size else reserve
            runs.append((document, start, held, min(held + extra, capacity)))
    together: list[list[tuple[int, int, int, int]]] = []
    for run in runs:
        last = together[-1] if together else []
        fits = sum(each[3] for each in last) + run[3] <= capacity
        if last and groups[last[0][0]] == groups[run[0]] and fits:
            last.append(run)
        else:
            together.append([run])
    chunks: list[list[tuple[int, int, int, int]]] = []
    for chunk in together:
        room = capacity - sum(run[3] for run in chunk)
        if not capacity // 32 < room < capacity // 4:
            chunks.append(chunk)
            continue
        for place, run in enumerate(chunk):
            if place and sum(each[3] for each in chunks[-1]) + run[3] <= capacity // 4:
                chunks[-1].append(run)
            else:
                chunks.append([run])
    shapes = [[run[:3] for run in chunk] for chunk in chunks]
    return shapes, [sum(run[3] for run in chunk) for chunk in chunks]


@settings(max_examples=200, deadline=None)
@given(
    documents=st.lists(st.tuples(st.integers(1, 90), st.integers(0, 2)), max_size=40),
    length=st.integers(1, 70),
    reserve=st.integers(0, 4),
    whole_only=st.booleans(),
)
def test_chunks_are_those_of_plain_python(documents, length, reserve, whole_only) -> None:
    tokens = np.array([size for size, _ in documents], dtype=np.int32)
    groups = np.array([group for _, group in documents], dtype=np.int32)
    document, start, taken, first, sizes = cut_chunks(tokens, groups, length, reserve, whole_only)
    runs = list(zip(document.tolist(), start.tolist(), taken.tolist(), strict=True))
    found = [runs[a:b] for a, b in itertools.pairwise(first)]
    expected = cut_slowly(tokens.tolist(), groups.tolist(), length, reserve, whole_only)
    assert (found, sizes.tolist()) == expected
    assert len(runs) == (first[-1] if len(first) else 0)


@pytest.mark.parametrize("epoch", [0, 3])
def test_best_fit_cuts_no_document_that_fits_and_holds_every_token(
    folder: Path, epoch: int
) -> None:
    samples = samples_of(folder)
    sizes = dict(enumerate(SIZES.tolist()))
    runs = defaultdict(list)
    for number in range(samples.samples_per_epoch):
        pieces = samples.documents(epoch * samples.samples_per_epoch + number)
        assert sum(piece.end - piece.start for piece in pieces) <= LENGTH + 1
        for piece in pieces:
            runs[int(piece.path)].append((piece.start, piece.end))
    assert runs.keys() == sizes.keys()
    for document, size in sizes.items():
        found = sorted(runs[document])
        if size <= LENGTH + 1:
            assert found == [(0, size)]
        else:  # each token but the first is a target once
            assert found[0][0] == 0
            assert found[-1][1] == size
            assert all(b[0] == a[1] - 1 for a, b in itertools.pairwise(found))
            assert all(end - start == LENGTH + 1 for start, end in found[:-1])


def test_best_fit_pads_less_than_brute_force_allows(folder: Path) -> None:
    sizes = []
    for size in SIZES.tolist():
        while size > LENGTH + 1:
            sizes.append(LENGTH + 1)
            size -= LENGTH
        sizes += [size] if size > 1 or sizes[-1:] != [LENGTH + 1] else []
    bins = len(best_fit_slowly(sizes, LENGTH + 1))
    assert abs(samples_of(folder).samples_per_epoch - bins) <= 1


@pytest.mark.parametrize("name", ["folder", "grouped"])
@pytest.mark.parametrize("attention", ["across", "masked"])
@pytest.mark.parametrize("method", ["concatenate", "best_fit"])
def test_documents_say_what_the_batch_holds(
    name: str, method, attention, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    samples = samples_of(folder, PackingConfig(method=method, attention=attention))
    start = samples.samples_per_epoch - 30
    batch = samples.batch(start, 60)  # across two epochs
    if method == "concatenate" and attention == "across":
        assert batch.documents is None
    for number in range(60):
        ids, documents = [], []
        for place, piece in enumerate(samples.documents(start + number)):
            ids += documents_of(folder)[piece.id][piece.start : piece.end]
            documents += [place if attention == "masked" else 0] * (piece.end - piece.start)
        padding = LENGTH + 1 - len(ids)
        assert batch.ids[number].tolist() == ids + [0] * padding
        if batch.documents is not None:
            assert batch.documents[number].tolist() == documents + [-1] * padding


_READ: dict[Path, dict[bytes, list[int]]] = {}


def documents_of(folder: Path) -> dict[bytes, list[int]]:
    if folder not in _READ:
        shards = [np.fromfile(path, np.uint16) for path in sorted(folder.glob("*.bin"))]
        _READ[folder] = {
            row["id"]: shards[row["shard"]][row["offset"] :][: row["tokens"]].tolist()
            for row in pq.read_table(folder / "index.parquet").to_pylist()
        }
    return _READ[folder]


def test_epochs_swap_documents_of_equal_size_alone(folder: Path) -> None:
    samples = samples_of(folder)
    count = samples.samples_per_epoch
    seen = []
    for epoch in range(3):
        held = [samples.documents(epoch * count + n) for n in range(count)]
        shapes = Counter(tuple(p.end - p.start for p in pieces) for pieces in held)
        neighbours = {frozenset(p.path for p in pieces) for pieces in held if len(pieces) > 1}
        seen.append((shapes, neighbours))
    assert seen[0][0] == seen[1][0] == seen[2][0]
    assert len(seen[0][1] & seen[1][1]) < len(seen[0][1]) / 2


def test_best_fit_keeps_groups_together_and_in_order(grouped: Path) -> None:
    """Document n is of group n % 40 and its place is n; other chunks of a group come seldom."""
    samples = samples_of(grouped)
    steps: Counter[int] = Counter()
    for number in range(samples.samples_per_epoch):
        paths = [int(piece.path) for piece in samples.documents(number)]
        steps.update(b - a for a, b in itertools.pairwise(paths) if a % 40 == b % 40)
    assert steps[40] > 150
    assert steps[40] > 0.9 * steps.total()


@pytest.mark.parametrize("name", ["folder", "grouped"])
@pytest.mark.parametrize("method", ["concatenate", "best_fit"])
def test_numbers_of_a_document_are_those_a_scan_finds(
    name: str, method, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    samples = samples_of(folder, PackingConfig(method=method))
    count = samples.samples_per_epoch * 5 // 2
    scanned = defaultdict(list)
    for number in range(count):
        for document in {piece.id for piece in samples.documents(number)}:
            scanned[document].append(number)
    for document in documents_of(folder):
        assert samples.numbers_of(document, count).tolist() == scanned[document]


@pytest.mark.parametrize("method", ["concatenate", "best_fit"])
def test_kept_rows_alone_are_used(folder: Path, method) -> None:
    keep = np.arange(len(SIZES)) % 3 == 1
    samples = samples_of(folder, PackingConfig(method=method), keep=keep)
    assert samples.epoch_tokens == SIZES[keep].sum()
    count = samples.samples_per_epoch
    seen = {int(piece.path) for n in range(count) for piece in samples.documents(n)}
    assert seen <= set(np.flatnonzero(keep).tolist())
    assert len(seen) >= keep.sum() - 3
    everything = samples_of(folder, PackingConfig(method=method), keep=np.ones(len(SIZES), bool))
    plain = samples_of(folder, PackingConfig(method=method))
    assert np.array_equal(everything.batch(5, 20).ids, plain.batch(5, 20).ids)
    dropped = np.flatnonzero(~keep)[0]
    name = list(documents_of(folder))[dropped]
    assert samples.numbers_of(name, count).tolist() == []


def test_bad_settings_are_refused(folder: Path) -> None:
    with pytest.raises(FirnlineError, match=r"no document of .* is used"):
        samples_of(folder, keep=np.zeros(len(SIZES), dtype=bool))
    with pytest.raises(ValueError, match="the index has 900 rows"):
        samples_of(folder, keep=np.ones(3, dtype=bool))
    with pytest.raises(ValueError, match="method"):
        PackingConfig(method="first_fit")


def test_batches_are_the_same_however_they_are_sliced(folder: Path) -> None:
    samples = samples_of(folder, PackingConfig(method="best_fit", attention="masked"))
    whole = samples.batch(10**10, 40)
    parts = [samples_of(folder, samples.packing).batch(10**10 + n, 8) for n in range(0, 40, 8)]
    assert np.array_equal(np.concatenate([part.ids for part in parts]), whole.ids)
    assert np.array_equal(np.concatenate([part.documents for part in parts]), whole.documents)


def test_best_fit_is_fixed_for_ever(
    tmp_path: Path, write_token_folder: Callable[..., Path]
) -> None:
    """A known answer: an edit must not silently change what is trained on."""
    sizes = [1 + n * n * 7919 % 61 for n in range(120)]
    documents = [[7 + n] * (size - 1) + [0] for n, size in enumerate(sizes)]
    folder = write_token_folder(tmp_path / "tokens", documents, group=[n // 9 for n in range(120)])
    samples = samples_of(folder)
    assert samples.samples_per_epoch == SEQUENCES
    held = [[int(p.path) for p in samples.documents(n)] for n in (0, 1, 2, 10**10)]
    assert held == HELD


SEQUENCES = 119
HELD = [[94], [1], [99], [96, 105, 73]]
