"""The keep rule against Python's tuples."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from firnline.curate.priority import NOT_RANKED, UNKNOWN_DATE, pack, priority_ranks

Document = dict[str, Any]


def document(rng: random.Random) -> Document:
    """Fields that often tie, long common prefixes and unusual paths among them."""
    folder = rng.choice(["", "src/", "source/with/a/long/name/", "ünïcode/", "s"])
    return {
        "there": rng.random() < 0.2,
        "license_rank": rng.randrange(3),
        "stars": rng.choice([-1, 0, 1, 7, 300_000]),
        "fork": rng.random() < 0.5,
        "vendored": rng.random() < 0.5,
        "created": rng.choice([0, 1_300_000_000, 1_300_000_001, UNKNOWN_DATE]),
        "path": folder + rng.choice(["a.py", "b.py", "ab.py", "z", "é.py"]),
        "id": rng.randbytes(16),
    }


def key(one: Document) -> tuple[Any, ...]:
    path = one["path"].encode()
    first = (not one["there"], one["license_rank"], -one["stars"], one["fork"], one["vendored"])
    return (*first, one["created"], len(path), path, one["id"])


def packed(documents: list[Document]) -> np.ndarray:
    rows = []
    for one in documents:
        rows.append(
            pack(
                there=one["there"],
                license_rank=np.array([one["license_rank"]]),
                stars=np.array([one["stars"]]),
                fork=np.array([one["fork"]]),
                vendored=np.array([one["vendored"]]),
                created=np.array([one["created"]]),
                path=pa.array([one["path"]]),
            )
        )
    return np.concatenate(rows) if rows else np.zeros((0, 2), dtype=np.uint64)


def ranked(documents: list[Document], part_rows: int = 1 << 20) -> list[int]:
    numbers = packed(documents)

    def pieces() -> Iterator[np.ndarray]:
        yield from (numbers[start : start + 100] for start in range(0, len(numbers), 100))

    def names(rows: np.ndarray) -> tuple[pa.Array, np.ndarray]:
        assert (np.diff(rows) > 0).all()
        chosen = [documents[row] for row in rows.tolist()]
        ids = [[int.from_bytes(one["id"][a : a + 8], "big") for a in (0, 8)] for one in chosen]
        return pa.array([one["path"] for one in chosen]), np.array(ids, dtype=np.uint64)

    return priority_ranks(pieces, len(documents), names, part_rows).tolist()


@pytest.mark.parametrize("part_rows", [1 << 20, 150])
def test_ranks_follow_the_keep_rule(part_rows: int) -> None:
    rng = random.Random(4)
    documents = [document(rng) for _ in range(1500)]
    order = sorted(range(len(documents)), key=lambda row: key(documents[row]))
    truth = [0] * len(documents)
    for rank, row in enumerate(order):
        truth[row] = rank
    assert ranked(documents, part_rows) == truth


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"there": True, "license_rank": 2}, {"license_rank": 0}),
        ({"license_rank": 0, "stars": 1}, {"license_rank": 1, "stars": 9}),
        ({"license_rank": 1}, {"license_rank": 2}),
        ({"stars": 5, "fork": True}, {"stars": 4}),
        ({"stars": 0}, {"stars": -1}),
        ({"vendored": True}, {"fork": True}),
        ({"created": 9}, {"vendored": True, "created": 1}),
        ({"created": 5, "path": "longer"}, {"created": 6, "path": "b"}),
        ({"created": 5}, {}),
        ({"path": "zz"}, {"path": "aaa"}),
        ({"path": "same/length/a"}, {"path": "same/length/b"}),
        ({"id": bytes(16)}, {"id": bytes(15) + b"\1"}),
    ],
)
def test_the_first_difference_decides(better: Document, worse: Document) -> None:
    plain = {"there": False, "license_rank": 0, "stars": 3, "fork": False, "vendored": False}
    plain |= {"created": UNKNOWN_DATE, "path": "a.py", "id": b"i" * 16}
    assert ranked([plain | worse, plain | better]) == [1, 0]


def test_rows_that_take_no_part_have_no_rank() -> None:
    rng = random.Random(5)
    numbers = packed([document(rng) for _ in range(9)])
    numbers[::2] = NOT_RANKED
    ranks = priority_ranks(lambda: iter([numbers]), 9, lambda rows: (pa.array([]), numbers[:0]))
    assert sorted(ranks[1::2].tolist()) == [0, 1, 2, 3]
    assert set(ranks[::2].tolist()) == {0xFFFFFFFF}
    assert priority_ranks(lambda: iter([numbers[:0]]), 0, lambda rows: None).tolist() == []
