"""Window scores against a plain Python pipeline; windows, saving and loading."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.errors import FirnlineError
from firnline.kernels.features import file_windows, window_features
from firnline.quality.annotator import Annotator, load

MASK = (1 << 64) - 1
MULTIPLIER_1, MULTIPLIER_2 = 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53
SEED, BASE = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9
TOKEN = re.compile(rb"[A-Za-z0-9_\x80-\xff]+|[^ \t\n\r\x0b\x0c]")
WINDOW, BUCKETS = 8, 256

ANNOTATOR = Annotator(
    weights=np.random.default_rng(3).normal(size=BUCKETS).astype(np.float32),
    bias=-0.5,
    window_tokens=WINDOW,
    ngrams=(1, 2),
)
TEXTS = st.lists(st.text("ab_ ({\né", max_size=120), min_size=1, max_size=6)


def mix(value: int) -> int:
    value = (value ^ (value >> 32)) * MULTIPLIER_1 & MASK
    value = (value ^ (value >> 29)) * MULTIPLIER_2 & MASK
    return value ^ (value >> 32)


def hash_token(token: bytes) -> int:
    state = SEED
    for byte in token:
        state = ((state ^ byte) * MULTIPLIER_1) & MASK
    return mix(state)


def window_score(tokens: list[bytes]) -> float:
    """The score of one window in plain Python: distinct n-grams, scaled to length 1."""
    found = set()
    for n in ANNOTATOR.ngrams:
        for start in range(len(tokens) - n + 1):
            total = 0
            for token in tokens[start : start + n]:
                total = (total * BASE + hash_token(token)) & MASK
            found.add((mix(total) or 1) % BUCKETS)
    logit = sum(float(ANNOTATOR.weights[bucket]) for bucket in found)
    return 1 / (1 + math.exp(-(logit / math.sqrt(max(len(found), 1)) + ANNOTATOR.bias)))


def windows_of(tokens: list[bytes]) -> tuple[list[bytes], list[bytes] | None, list[bytes] | None]:
    if len(tokens) <= WINDOW:
        return tokens, None, None
    middle = (len(tokens) - WINDOW) // 2
    return (
        tokens[:WINDOW],
        tokens[middle : middle + WINDOW] if len(tokens) > 2 * WINDOW else None,
        tokens[-WINDOW:],
    )


@settings(deadline=None, max_examples=60)
@given(TEXTS)
def test_scores_agree_with_a_plain_python_pipeline(texts: list[str]) -> None:
    column = pa.array(texts, pa.large_string())
    found = ANNOTATOR.score_windows(column)
    scores = ANNOTATOR.score(column)
    for row, text in enumerate(texts):
        windows = windows_of(TOKEN.findall(text.encode()))
        wanted = [math.nan if part is None else window_score(part) for part in windows]
        np.testing.assert_allclose(found[row], wanted, rtol=1e-5)
        present = [value for value in wanted if not math.isnan(value)]
        assert scores[row] == pytest.approx(sum(present) / len(present), rel=1e-5)


def test_scores_do_not_depend_on_the_batch() -> None:
    texts = [f"value_{n} = {n}\n" * n for n in range(30)]
    together = ANNOTATOR.score(pa.array(texts))
    alone = [ANNOTATOR.score(pa.array([text]))[0] for text in texts]
    sliced = ANNOTATOR.score(pa.array(texts).slice(7, 10))
    assert together.tolist() == [float(value) for value in alone]
    assert sliced.tolist() == together[7:17].tolist()


def test_a_file_has_windows_that_do_not_repeat_one_another() -> None:
    offsets = np.cumsum([0, 0, 1, 8, 9, 16, 17, 100], dtype=np.int64)
    starts, stops = file_windows(offsets, 8)
    local = np.stack([starts, stops], axis=2) - offsets[:-1, None, None]
    spans = [[tuple(span) for span in row if span[0] < span[1]] for row in local.tolist()]
    assert spans == [
        [],
        [(0, 1)],
        [(0, 8)],
        [(0, 8), (1, 9)],
        [(0, 8), (8, 16)],
        [(0, 8), (4, 12), (9, 17)],
        [(0, 8), (46, 54), (92, 100)],
    ]


@pytest.mark.parametrize(("ngrams", "buckets"), [((1,), 100), ((0, 1), 256), ((), 256)])
def test_impossible_features_are_refused(ngrams: tuple[int, ...], buckets: int) -> None:
    with pytest.raises(ValueError, match=r"needed|1 or more"):
        window_features(
            np.zeros(1, np.uint64), np.zeros(1, np.int64), np.ones(1, np.int64), ngrams, buckets
        )


def test_a_saved_annotator_scores_the_same(tmp_path: Path) -> None:
    ANNOTATOR.save(tmp_path, {"seed": 1})
    first = (tmp_path / "annotator.npz").read_bytes()
    ANNOTATOR.save(tmp_path, {"seed": 1})
    assert (tmp_path / "annotator.npz").read_bytes() == first
    column = pa.array(["def f(x):\n    return x\n", ""])
    assert load(tmp_path).score(column).tolist() == ANNOTATOR.score(column).tolist()


def test_a_missing_or_damaged_annotator_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FirnlineError, match="no annotator in"):
        load(tmp_path)
    ANNOTATOR.save(tmp_path, {})
    path = tmp_path / "annotator.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FirnlineError, match=r"cannot read .*annotator\.npz") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
