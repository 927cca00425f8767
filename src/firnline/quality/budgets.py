"""Divides a token budget among languages, and says how many documents of each come nearest."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from firnline.errors import FirnlineError


class Supply:
    """One language's documents in the order in which they would be taken, by their tokens."""

    def __init__(self, tokens: NDArray[np.int64]) -> None:
        self._sums = np.concatenate([[0], np.cumsum(tokens, dtype=np.int64)])
        self.first = int(tokens[0]) if len(tokens) else 0
        self.tokens = int(self._sums[-1])

    def taken(self, documents: int) -> int:
        """Tokens of the first `documents`."""
        return int(self._sums[documents])

    def next(self, documents: int) -> int:
        """Tokens of the document after the first `documents`; 0 where there is none."""
        return int(self._sums[min(documents + 1, len(self._sums) - 1)] - self._sums[documents])

    def within(self, tokens: int) -> int:
        """The most documents from the first that have no more than `tokens`."""
        return int(np.searchsorted(self._sums, tokens, side="right")) - 1


def document_counts(budget: Mapping[str, int], supply: Mapping[str, Supply]) -> dict[str, int]:
    """How many documents each language gives, so that in all they have at least the budget.

    `budget` is what `budgets` returns. What is minimised is the surplus: the tokens that languages
    give above their budgets, added up. It bounds what matters: the total is above the whole budget
    by no more, and all languages together are below theirs by no more.

    Each language first gives the documents that fit. Then the next document of the language
    follows whose surplus is the least part of it, until one more would do; the last is the one
    that ends the shortage at the least surplus. The surplus is above the least possible by less
    than the last document: what came before is what a greedy fractional knapsack takes, which
    is optimal, and was still short. A language without a budget gives nothing.
    """
    counts = {name: supply[name].within(tokens) for name, tokens in budget.items() if tokens}
    short = sum(budget.values()) - sum(supply[name].taken(n) for name, n in counts.items())
    surplus = 0
    ends = []  # (surplus, tokens of the last document, counts): the shortages ended on the way
    while short > 0:
        steps = []  # (surplus added, tokens added, language)
        for name, count in sorted(counts.items()):
            if more := supply[name].next(count):
                above = supply[name].taken(count) + more - budget[name]
                steps.append((min(above, more), more, name))
        for above, more, name in steps:
            if more >= short:
                ends.append((surplus + above, more, counts | {name: counts[name] + 1}))
        above, more, name = min(steps, key=lambda step: (Fraction(step[0], step[1]), step))
        counts[name] += 1
        surplus += above
        short -= more
    if ends:
        counts = min(ends, key=lambda end: end[:2])[2]
    return {name: counts.get(name, 0) for name in budget}


def budgets(
    tokens: int, supply: Mapping[str, Supply], language_share: Mapping[str, float]
) -> dict[str, int]:
    """Tokens for each language; they add up to `tokens`.

    Budgets are in proportion to the supply, except for languages whose share is set. A language
    whose budget is less than half its first document gets none, because that document would more
    than double its share of the mix; the other languages divide its budget in proportion. The
    largest budget always stays. Raises FirnlineError, with both numbers, where the supply is
    short of the whole budget or of a language's.
    """
    total = sum(item.tokens for item in supply.values())
    if tokens > total:
        raise FirnlineError(
            f"a budget of {tokens:,} tokens is above the supply of {total:,}",
            mend="lower the budget, or repeat the selection, or add documents",
        )
    shares = _without_tiny(tokens, supply, _shares(supply, language_share))
    divided = _divide(tokens, shares)
    short = [
        f"{name}: a budget of {budget:,} tokens is above its supply of {have:,}"
        for name, budget in sorted(divided.items())
        if budget > (have := _have(supply, name))
    ]
    if short:
        mend = "lower the budget or the language's share, or add documents"
        if len(short) == 1:
            raise FirnlineError(short[0], mend=mend)
        raise FirnlineError(
            f"{len(short)} languages are short of tokens", mend=mend, details=tuple(short)
        )
    return {name: divided.get(name, 0) for name in supply}


def _without_tiny(
    tokens: int, supply: Mapping[str, Supply], shares: Mapping[str, Fraction]
) -> dict[str, Fraction]:
    """Leaves out one language after another, the smallest budget first, and divides again."""
    shares = dict(shares)
    while True:
        divided = _divide(tokens, shares)
        for name in sorted(shares, key=lambda name: (divided[name], name)):
            rest = {other: share for other, share in shares.items() if other != name}
            tiny = name in supply and 2 * divided[name] < supply[name].first
            if tiny and any(rest.values()) and _fits(_divide(tokens, rest), supply):
                shares = rest
                break
        else:
            return shares


def _fits(divided: Mapping[str, int], supply: Mapping[str, Supply]) -> bool:
    return all(budget <= _have(supply, name) for name, budget in divided.items())


def _have(supply: Mapping[str, Supply], name: str) -> int:
    return supply[name].tokens if name in supply else 0


def _shares(
    supply: Mapping[str, Supply], language_share: Mapping[str, float]
) -> dict[str, Fraction]:
    fixed = {name: Fraction(str(share)) for name, share in language_share.items()}
    rest = {name: item.tokens for name, item in supply.items() if name not in fixed}
    left = 1 - sum(fixed.values(), Fraction())
    left = left if left > Fraction(1, 10**9) else Fraction()  # three times 0.333333333333 is 1
    others = sum(rest.values())
    if left > 0 and not others:
        raise FirnlineError(
            f"language_share adds up to {float(1 - left):g} and there is no other language",
            mend="let the shares add up to 1",
        )
    return fixed | {name: left * Fraction(have, others or 1) for name, have in rest.items()}


def _divide(tokens: int, shares: Mapping[str, Fraction]) -> dict[str, int]:
    """Whole numbers in proportion to the shares that add up to `tokens` (largest remainder)."""
    whole = sum(shares.values(), Fraction())
    exact = {name: tokens * share / whole for name, share in shares.items()}
    divided = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (divided[name] - exact[name], name))
    for name in by_remainder[: tokens - sum(divided.values())]:
        divided[name] += 1
    return divided
