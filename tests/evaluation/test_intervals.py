"""Estimates against closed forms, enumeration and simulation."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binomtest

from firnline.evaluation.intervals import (
    mean,
    mean_difference,
    pass_at_k,
    ratio,
    ratio_difference,
    share,
)


@pytest.mark.parametrize("n", [1, 4, 7])
def test_pass_at_k_is_the_share_of_subsets_with_a_pass(n: int) -> None:
    for c in range(n + 1):
        for k in range(1, n + 1):
            subsets = list(combinations([True] * c + [False] * (n - c), k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_of_published_samples() -> None:
    """The infilling examples: 3 of 10 pass, pass@1 0.3 and pass@10 1.0."""
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert pass_at_k(10, 3, 10) == 1.0
    assert pass_at_k(10, 3, 8) == 1.0  # only 7 fail
    for n, c, k in ((0, 0, 1), (3, 4, 1), (3, 1, 4), (3, 1, 0), (3, -1, 1)):
        with pytest.raises(ValueError, match="pass@"):
            pass_at_k(n, c, k)


@pytest.mark.parametrize(("passed", "n"), [(0, 72), (72, 72), (1, 3), (72, 164), (60, 164)])
def test_share_is_wilsons_interval(passed: int, n: int) -> None:
    expected = binomtest(passed, n).proportion_ci(method="wilson")
    estimate = share(passed, n)
    assert estimate["value"] == passed / n
    assert (estimate["low"], estimate["high"]) == pytest.approx((expected.low, expected.high))
    assert 0 <= estimate["low"] <= estimate["value"] <= estimate["high"] <= 1


def test_mean_has_the_normal_interval_of_many_values() -> None:
    values = np.random.default_rng(1).normal(2.0, 3.0, size=400)
    estimate = mean(values, seed=5)
    half = 1.96 * values.std() / np.sqrt(400)
    assert estimate["value"] == pytest.approx(values.mean())
    assert estimate["low"] == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert estimate["high"] == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert estimate["n"] == 400
    assert mean(values, seed=5) == estimate
    assert mean(values, seed=6) != estimate


def test_the_interval_of_a_ratio_covers_the_truth() -> None:
    """95% of intervals hold it; of 200 simulations at least 178 (3 sigma below 190)."""
    random = np.random.default_rng(2)
    held = 0
    for trial in range(200):
        sizes = random.integers(50, 150, size=60)
        nats = sizes * 1.5 + random.normal(0, 20, size=60)
        estimate = ratio(nats, sizes, seed=trial)
        held += estimate["low"] <= 1.5 <= estimate["high"]
    assert held >= 178


def test_one_unit_has_no_width_and_none_is_refused() -> None:
    assert mean([2.5], seed=0) == {"value": 2.5, "low": 2.5, "high": 2.5, "n": 1}
    with pytest.raises(ValueError, match="at least one"):
        mean([], seed=0)


def test_a_paired_difference_is_told_where_the_means_alone_could_not() -> None:
    random = np.random.default_rng(3)
    first = random.normal(5.0, 2.0, size=100)
    second = first + 0.1 + random.normal(0, 0.05, size=100)
    difference = mean_difference(first, second, seed=0)
    assert difference["verdict"] == "lower"
    assert difference["value"] == pytest.approx((first - second).mean())
    assert mean_difference(second, first, seed=0)["verdict"] == "higher"
    assert mean(first, 0)["high"] > mean(second, 0)["low"]  # the two intervals overlap
    noise = mean_difference(first, random.permutation(first), seed=0)
    assert noise["verdict"] == "cannot tell apart"
    assert noise["low"] <= 0 <= noise["high"]
    assert mean_difference(first, first, seed=0)["verdict"] == "cannot tell apart"
    assert mean_difference([3.0] * 5, [1.0] * 5, seed=0)["verdict"] == "cannot tell apart"
    assert mean_difference([3.0] * 6, [1.0] * 6, seed=0)["verdict"] == "higher"
    weighted = ratio_difference([2.0, 9.0], [1.0, 5.0], [1.0, 4.0], seed=0)
    assert weighted["value"] == 1.0
