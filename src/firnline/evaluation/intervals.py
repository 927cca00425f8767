"""Estimates with 95% intervals: bootstrap for means and ratios, Wilson for shares, pass@k.

An estimate is `{"value", "low", "high", "n"}`, as docs/contracts.md has it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Estimate = dict[str, Any]
RESAMPLES = 2000
FEWEST_UNITS = 6  # six signs that agree have a probability of 2 / 2**6 = 0.03 by chance
_QUANTILES = (0.025, 0.975)
_Z = 1.959963984540054  # the normal distribution's 0.975 quantile
_CHUNK = 1 << 22  # resampled values held at a time

Floats = NDArray[np.float64]


def ratio(numerators: ArrayLike, denominators: ArrayLike, seed: int) -> Estimate:
    """sum(numerators) / sum(denominators) over n units, with a percentile bootstrap over units."""
    pairs = np.stack([np.asarray(numerators, float), np.asarray(denominators, float)])
    resampled = _resample(pairs, seed)
    return _estimate(pairs, resampled[:, 0] / resampled[:, 1], pairs[0].sum() / pairs[1].sum())


def mean(values: ArrayLike, seed: int) -> Estimate:
    """Mean of n values, with a percentile bootstrap over them."""
    values = np.asarray(values, float)
    return ratio(values, np.ones_like(values), seed)


def ratio_difference(
    first: ArrayLike, second: ArrayLike, denominators: ArrayLike, seed: int
) -> Estimate:
    """Difference of two ratios measured on the same units: a paired bootstrap.

    Adds `verdict`: `higher` or `lower` (the first, against the second), or `cannot tell apart`
    where the interval holds 0, or where there are fewer than FEWEST_UNITS: there the bootstrap is
    too narrow (at one unit it has no width), and no sign test could reach 5% either.
    """
    difference = np.asarray(first, float) - np.asarray(second, float)
    estimate = ratio(difference, denominators, seed)
    verdict = "cannot tell apart"
    if estimate["n"] >= FEWEST_UNITS and estimate["low"] > 0:
        verdict = "higher"
    elif estimate["n"] >= FEWEST_UNITS and estimate["high"] < 0:
        verdict = "lower"
    return {**estimate, "verdict": verdict}


def mean_difference(first: ArrayLike, second: ArrayLike, seed: int) -> Estimate:
    """Difference of two means over the same units, as `ratio_difference`."""
    return ratio_difference(first, second, np.ones_like(np.asarray(first, float)), seed)


def share(passed: int, n: int) -> Estimate:
    """passed / n with Wilson's interval, which holds up at 0 and at 1 (Wilson 1927)."""
    if not 0 <= passed <= n or n == 0:
        raise ValueError(f"{passed} of {n} is no share")
    p = passed / n
    centre = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    low = 0.0 if passed == 0 else centre - half
    high = 1.0 if passed == n else centre + half
    return {"value": p, "low": low, "high": high, "n": n}


def pass_at_k(n: int, c: int, k: int) -> float:
    """Probability that one of k samples passes, unbiased from c passes among n >= k samples.

    1 - C(n - c, k) / C(n, k) as a product (Chen et al. 2021, section 2.1).
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} needs at least {k} samples: {c} of {n} passed")
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def _resample(columns: Floats, seed: int) -> Floats:
    """Sums over RESAMPLES samples of n units with replacement: [RESAMPLES, columns]."""
    n = columns.shape[1]
    if n == 0:
        raise ValueError("an estimate needs at least one unit")
    random = np.random.default_rng(seed)
    rows = max(1, _CHUNK // n)
    sums = [
        columns[:, random.integers(0, n, size=(min(rows, RESAMPLES - start), n))].sum(axis=2).T
        for start in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(sums)


def _estimate(units: Floats, resampled: Floats, value: float) -> Estimate:
    low, high = np.quantile(resampled, _QUANTILES)
    return {"value": float(value), "low": float(low), "high": float(high), "n": units.shape[1]}
