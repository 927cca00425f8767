"""Is the difference between two groups more than chance?

Two recipes were baked a few times each and rated.  One has the higher mean, but
ratings vary anyway.  A permutation test needs no theory of distributions: if the
recipe made no difference, the labels on the ratings would be arbitrary, so shuffle
them and see how often the difference comes out at least as large as the real one.

For small groups all the ways to relabel are enumerated and the answer is exact; for
larger ones a fixed number of random relabellings is drawn.  The same module gives a
bootstrap confidence interval, which answers how large the difference may be.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median

Sample = Sequence[float]
Statistic = Callable[[Sample, Sample], float]


def mean_difference(a: Sample, b: Sample) -> float:
    return fmean(b) - fmean(a)


def median_difference(a: Sample, b: Sample) -> float:
    return median(b) - median(a)


@dataclass(frozen=True)
class TestResult:
    """The observed difference and how often chance alone matches it."""

    difference: float
    p_value: float
    relabellings: int
    exact: bool

    def __str__(self) -> str:
        kind = "all" if self.exact else "random"
        return (
            f"difference {self.difference:+.3f}, p = {self.p_value:.4f}"
            f" ({self.relabellings} {kind} relabellings)"
        )


def _all_splits(pool: Sample, size: int) -> Iterator[tuple[list[float], list[float]]]:
    indexes = range(len(pool))
    for chosen in combinations(indexes, size):
        taken = set(chosen)
        yield [pool[i] for i in chosen], [pool[i] for i in indexes if i not in taken]


def _random_splits(
    pool: Sample, size: int, rounds: int, rng: random.Random
) -> Iterator[tuple[list[float], list[float]]]:
    shuffled = list(pool)
    for _ in range(rounds):
        rng.shuffle(shuffled)
        yield shuffled[:size], shuffled[size:]


def permutation_test(
    a: Sample,
    b: Sample,
    statistic: Statistic = mean_difference,
    max_exact: int = 5_000,
    rounds: int = 2_000,
    seed: int = 0,
) -> TestResult:
    """Test whether ``a`` and ``b`` could come from the same source (two-sided).

    >>> str(permutation_test([1, 2, 3], [11, 12, 13]))
    'difference +10.000, p = 0.1000 (20 all relabellings)'
    """
    if not a or not b:
        raise ValueError("both groups need at least one value")
    pool = [*a, *b]
    observed = statistic(a, b)
    exact = math.comb(len(pool), len(a)) <= max_exact
    if exact:
        splits = _all_splits(pool, len(a))
    else:
        splits = _random_splits(pool, len(a), rounds, random.Random(seed))
    # Rounding must not make an equal difference look smaller than the observed one.
    threshold = abs(observed) * (1 - 1e-9)
    extreme = total = 0
    for left, right in splits:
        total += 1
        extreme += abs(statistic(left, right)) >= threshold
    if not exact:  # the real labels are one relabelling too: p can never be zero
        extreme, total = extreme + 1, total + 1
    return TestResult(observed, extreme / total, total, exact)


def bootstrap_interval(
    a: Sample,
    b: Sample,
    statistic: Statistic = mean_difference,
    confidence: float = 0.95,
    rounds: int = 2_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return bounds for the difference, from resampling each group."""
    if not 0 < confidence < 1:
        raise ValueError("confidence must lie between 0 and 1")
    rng = random.Random(seed)
    draws = sorted(
        statistic(rng.choices(a, k=len(a)), rng.choices(b, k=len(b))) for _ in range(rounds)
    )
    cut = (1 - confidence) / 2
    return draws[round(cut * (rounds - 1))], draws[round((1 - cut) * (rounds - 1))]


if __name__ == "__main__":
    butter = [6.1, 5.8, 6.4, 5.5, 6.0, 5.9]
    yoghurt = [6.9, 6.3, 7.2, 6.6, 6.2, 7.0]
    result = permutation_test(butter, yoghurt)
    low, high = bootstrap_interval(butter, yoghurt)
    print(f"yoghurt against butter: {result}")
    print(f"the true difference is probably between {low:.2f} and {high:.2f}")
    assert result.exact and result.relabellings == math.comb(12, 6)
    assert result.p_value < 0.02 and low > 0

    same = permutation_test(butter, list(reversed(butter)))
    assert same.p_value == 1.0
    sampled = permutation_test(butter, yoghurt, max_exact=0)
    assert not sampled.exact and abs(sampled.p_value - result.p_value) < 0.02
    assert sampled == permutation_test(butter, yoghurt, max_exact=0), "a seed makes it repeatable"
    assert permutation_test(butter, yoghurt, median_difference).p_value < 0.1

    # Under pure chance, p falls below 0.1 in about a tenth of all experiments.
    rng, alarms = random.Random(1), 0
    for _ in range(150):
        one, two = ([rng.gauss(0, 1) for _ in range(4)] for _ in range(2))
        alarms += permutation_test(one, two).p_value <= 0.1
    print(f"false alarms: {alarms} of 150")
    assert 5 <= alarms <= 28
    try:
        permutation_test([], butter)
    except ValueError as error:
        print("refused:", error)
