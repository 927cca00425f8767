"""ROC-AUC against scikit-learn; the bootstrap against AUCs known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from firnline.quality.alignment import alignment

SCORES = st.lists(st.integers(0, 9).map(lambda n: n / 9), min_size=1, max_size=40)


@settings(deadline=None, max_examples=60)
@given(SCORES, SCORES)
def test_roc_auc_agrees_with_scikit_learn(solutions: list[float], files: list[float]) -> None:
    found = alignment(np.float32(solutions), np.float32(files), 0, 100)
    labels = [1] * len(solutions) + [0] * len(files)
    assert found["roc_auc"]["value"] == pytest.approx(roc_auc_score(labels, solutions + files))
    assert found["roc_auc"]["low"] <= found["roc_auc"]["high"]
    assert (found["solutions"], found["random_files"]) == (len(solutions), len(files))


@settings(deadline=None, max_examples=20)
@given(SCORES, SCORES)
def test_the_area_under_the_curve_is_the_value(solutions: list[float], files: list[float]) -> None:
    found = alignment(np.float32(solutions), np.float32(files), 0, 100)
    curve = np.array(found["roc_curve"])
    assert curve[0].tolist() == [0, 0]
    assert curve[-1].tolist() == [1, 1]
    assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(found["roc_auc"]["value"])


def test_a_long_curve_is_thinned_to_100_points() -> None:
    generator = np.random.default_rng(0)
    found = alignment(
        generator.random(900, dtype=np.float32), generator.random(900, dtype=np.float32), 0, 100
    )
    assert 50 <= len(found["roc_curve"]) <= 100
    curve = np.array(found["roc_curve"])
    assert (np.diff(curve, axis=0) >= 0).all()
    assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(
        found["roc_auc"]["value"], abs=0.01
    )


def test_the_interval_covers_a_known_auc() -> None:
    """Normal scores a distance d apart have AUC = Phi(d / sqrt(2))."""
    distance = 1.0
    truth = 0.5 * (1 + math.erf(distance / 2))
    covered = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        solutions = generator.normal(distance, 1, 60).astype(np.float32)
        files = generator.normal(0, 1, 150).astype(np.float32)
        interval = alignment(solutions, files, seed, 300)["roc_auc"]
        covered += interval["low"] <= truth <= interval["high"]
    assert 88 <= covered <= 99  # 95 expected, give or take three standard deviations


def test_more_data_narrows_the_interval() -> None:
    generator = np.random.default_rng(1)
    widths = []
    for count in (50, 800):
        solutions = generator.normal(1, 1, count).astype(np.float32)
        interval = alignment(solutions, generator.normal(0, 1, count).astype(np.float32), 0, 300)[
            "roc_auc"
        ]
        widths.append(interval["high"] - interval["low"])
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.4)
