"""Divides a token budget among languages."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from firnline.errors import FirnlineError


class Supply:
    """One language's documents in the order in which they would be taken, by their tokens."""

    def __init__(self, tokens: NDArray[np.int64]) -> None:
        self._sums = np.cumsum(tokens, dtype=np.int64)
        self.first = int(tokens[0]) if len(tokens) else 0
        self.tokens = int(self._sums[-1]) if len(tokens) else 0

    def documents_for(self, budget: int) -> int:
        """How many documents from the first reach the budget; the last of them crosses it."""
        return int(np.searchsorted(self._sums, budget)) + 1 if budget > 0 else 0


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
