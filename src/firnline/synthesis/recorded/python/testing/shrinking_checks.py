"""Property-based testing in a nutshell: random cases, then the smallest failure.

Instead of examples, the author of a test states a law, and the checker tries it on many
random values.  A random failure is often huge; so when one is found, it is *shrunk*:
simpler variants are tried until none of them fails.  The report shows that minimal case.

A strategy knows how to draw a value and how to simplify one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Case = tuple[Any, ...]


@dataclass(frozen=True)
class Strategy(Generic[T]):
    """Draws random values of a kind and proposes simpler variants of a value."""

    draw: Callable[[random.Random, int], T]
    simplify: Callable[[T], Iterator[T]]


Kinds = tuple[Strategy[Any], ...]


def integers(low: int = -1000, high: int = 1000) -> Strategy[int]:
    """Integers within bounds; those nearer to zero count as simpler."""
    target = min(max(0, low), high)

    def draw(rng: random.Random, size: int) -> int:
        reach = max(1, size * size)
        return rng.randint(max(low, target - reach), min(high, target + reach))

    def simplify(value: int) -> Iterator[int]:
        distance = value - target
        yield from [target][: abs(distance)]
        while abs(distance) > 1:
            distance = int(distance / 2)
            yield value - distance

    return Strategy(draw, simplify)


def lists(items: Strategy[T], max_length: int = 30) -> Strategy[list[T]]:
    """Lists; shorter ones are simpler, then those with simpler items."""

    def draw(rng: random.Random, size: int) -> list[T]:
        return [items.draw(rng, size) for _ in range(rng.randint(0, min(size, max_length)))]

    def simplify(value: list[T]) -> Iterator[list[T]]:
        chunk = len(value)
        while chunk:  # leave out large parts first, single items last
            for start in range(0, len(value), chunk):
                yield value[:start] + value[start + chunk :]
            chunk //= 2
        for index, item in enumerate(value):
            for simpler in items.simplify(item):
                yield [*value[:index], simpler, *value[index + 1 :]]

    return Strategy(draw, simplify)


def texts(alphabet: str = "abc \n\"\\") -> Strategy[str]:
    indexes = lists(integers(0, len(alphabet) - 1))

    def read(numbers: list[int]) -> str:
        return "".join(alphabet[number] for number in numbers)

    def simplify(value: str) -> Iterator[str]:
        return map(read, indexes.simplify([*map(alphabet.index, value)]))

    return Strategy(lambda rng, size: read(indexes.draw(rng, size)), simplify)


class Falsified(AssertionError):
    """The law does not hold; ``case`` is a minimal counterexample."""

    def __init__(self, case: Case, cause: Exception, steps: int) -> None:
        super().__init__(f"fails for {case} with {cause!r} ({steps} simplifications)")
        self.case = case


def check(law: Callable[..., None], *strategies: Strategy[Any], runs: int = 200) -> int:
    """Try ``law`` on random arguments and return how many cases were tried.

    Any exception is a failure.  The seed depends on the name of the law, so that a
    failing test fails again.
    """
    rng = random.Random(law.__name__)
    for run in range(runs):
        size = 1 + run * 30 // runs  # begin with small cases
        case = tuple(strategy.draw(rng, size) for strategy in strategies)
        if failure := _attempt(law, case):
            raise _shrink(law, strategies, case, failure)
    return runs


def _attempt(law: Callable[..., None], case: Case) -> Exception | None:
    try:
        return law(*case)
    except Exception as error:
        return error


def _shrink(
    law: Callable[..., None], strategies: Kinds, case: Case, failure: Exception
) -> Falsified:
    steps, budget, improved = 0, 2000, True
    while improved and budget > 0:
        improved = False
        for simpler in _simpler_cases(strategies, case):
            budget -= 1
            error = _attempt(law, simpler)
            if type(error) is type(failure):  # another kind may be another mistake
                case, failure, steps, improved = simpler, error, steps + 1, True
                break
    return Falsified(case, failure, steps)


def _simpler_cases(strategies: Kinds, case: Case) -> Iterator[Case]:
    for index, strategy in enumerate(strategies):
        for simpler in strategy.simplify(case[index]):
            yield (*case[:index], simpler, *case[index + 1 :])


if __name__ == "__main__":
    def sorting_twice(numbers: list[int]) -> None:
        assert sorted(sorted(numbers)) == sorted(numbers)

    def quoting_can_be_undone(text: str) -> None:
        quoted = text.replace('"', '\\"')  # wrong: backslashes must be doubled first
        assert re.sub(r"\\(.)", r"\1", quoted) == text

    def sums_stay_small(numbers: list[int]) -> None:
        assert sum(numbers) < 100

    def division_works(a: int, b: int) -> None:
        assert (a // b) * b + a % b == a

    assert check(sorting_twice, lists(integers())) == 200
    minimal: list[tuple[Callable[..., None], Kinds, Any]] = [
        (quoting_can_be_undone, (texts(),), ("\\a",)),
        (sums_stay_small, (lists(integers()),), ([100],)),
        (division_works, (integers(), integers()), (0, 0)),
    ]
    for law, kinds, expected in minimal:
        try:
            check(law, *kinds)
        except Falsified as error:
            print(law.__name__, error)
            assert sum(error.case[0]) == 100 if law is sums_stay_small else error.case == expected
            continue
        raise AssertionError("the law should have been falsified")
