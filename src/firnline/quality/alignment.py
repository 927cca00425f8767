"""Alignment of an annotator with a benchmark (Arctic-SnowCoder, section 3.4 and Figure 2).

ROC-AUC is the probability that a reference solution scores higher than a random file, where an
equal score counts half. The paper finds it higher where pass@1 is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

Scores = NDArray[np.float32]
CURVE_POINTS = 100


def alignment(solutions: Scores, random_files: Scores, seed: int, draws: int) -> dict[str, Any]:
    """ROC-AUC with a 95% bootstrap interval, the ROC curve, and the size of both groups."""
    wins = _wins(solutions, random_files)
    low, high = _interval(wins, seed, draws)
    return {
        "roc_auc": {"value": float(wins.mean()), "low": low, "high": high},
        "solutions": len(solutions),
        "random_files": len(random_files),
        "roc_curve": _curve(solutions, random_files),
    }


def _wins(solutions: Scores, random_files: Scores) -> NDArray[np.float64]:
    """1, 1/2 or 0 for each pair of a solution and a random file: higher, equal, lower."""
    difference = solutions[:, None] - random_files[None, :]
    wins: NDArray[np.float64] = np.sign(difference).astype(np.float64)
    wins += 1
    wins /= 2
    return wins


def _interval(wins: NDArray[np.float64], seed: int, draws: int) -> tuple[float, float]:
    """Percentile interval; each draw takes solutions and files anew, with replacement.

    Weights are whole and wins are halves, so the sums are exact whatever their order.
    """
    generator = np.random.default_rng(seed)
    solutions, files = wins.shape
    first = generator.multinomial(solutions, np.full(solutions, 1 / solutions), size=draws)
    second = generator.multinomial(files, np.full(files, 1 / files), size=draws)
    drawn = ((first.astype(np.float64) @ wins) * second).sum(axis=1) / (solutions * files)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _curve(solutions: Scores, random_files: Scores) -> list[list[float]]:
    """At most 100 points [false positive rate, true positive rate], both ends among them."""
    scores = np.concatenate([solutions, random_files])
    is_solution = np.repeat([1, 0], [len(solutions), len(random_files)])
    false_rate, true_rate, _ = roc_curve(is_solution, scores)
    kept = np.unique(np.linspace(0, len(false_rate) - 1, CURVE_POINTS).round().astype(np.int64))
    return [[float(x), float(y)] for x, y in zip(false_rate[kept], true_rate[kept], strict=True)]
