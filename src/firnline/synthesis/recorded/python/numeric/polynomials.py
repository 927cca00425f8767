"""Exact polynomials in one variable over the rational numbers.

With ``Fraction`` coefficients, division with remainder is exact, and three classic
tools follow from it: the greatest common divisor, the removal of repeated factors
and Sturm's theorem, which counts the real roots in an interval without finding
them.  Together with bisection the theorem isolates each real root, however close
two of them may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise, zip_longest


class Polynomial:
    """A polynomial; coefficients are given from the constant term upward.

    >>> Polynomial([-1, 0, 1]) * Polynomial([0, 2])
    Polynomial('2x^3 - 2x')
    """

    __slots__ = ("coefficients",)

    def __init__(self, coefficients: Iterable[Fraction | int | str]) -> None:
        values = [Fraction(value) for value in coefficients]
        while values and values[-1] == 0:
            values.pop()
        self.coefficients = tuple(values)

    @classmethod
    def from_roots(cls, *roots: Fraction | int | str) -> Polynomial:
        result = cls([1])
        for root in roots:
            result *= cls([-Fraction(root), 1])
        return result

    @property
    def degree(self) -> int:
        """The degree; minus one for the zero polynomial."""
        return len(self.coefficients) - 1

    def __call__(self, x: Fraction | int) -> Fraction:
        value = Fraction(0)
        for coefficient in reversed(self.coefficients):
            value = value * x + coefficient
        return value

    def __bool__(self) -> bool:
        return bool(self.coefficients)

    def __eq__(self, other: object) -> bool:  # and so unhashable, which is fine here
        return isinstance(other, Polynomial) and self.coefficients == other.coefficients

    def __neg__(self) -> Polynomial:
        return Polynomial(-c for c in self.coefficients)

    def __add__(self, other: Polynomial) -> Polynomial:
        pairs = zip_longest(self.coefficients, other.coefficients, fillvalue=0)
        return Polynomial(a + b for a, b in pairs)

    def __sub__(self, other: Polynomial) -> Polynomial:
        return self + -other

    def __mul__(self, other: Polynomial) -> Polynomial:
        result = [Fraction(0)] * (len(self.coefficients) + len(other.coefficients))
        for i, a in enumerate(self.coefficients):
            for j, b in enumerate(other.coefficients):
                result[i + j] += a * b
        return Polynomial(result)

    def __divmod__(self, other: Polynomial) -> tuple[Polynomial, Polynomial]:
        if not other:
            raise ZeroDivisionError("division by the zero polynomial")
        rest = list(self.coefficients)
        shift = len(rest) - len(other.coefficients)
        quotient = [Fraction(0)] * max(0, shift + 1)
        for place in range(shift, -1, -1):
            factor = rest[place + other.degree] / other.coefficients[-1]
            quotient[place] = factor
            for i, c in enumerate(other.coefficients):
                rest[place + i] -= factor * c
        return Polynomial(quotient), Polynomial(rest)

    def derivative(self) -> Polynomial:
        return Polynomial(n * c for n, c in enumerate(self.coefficients) if n)

    def __repr__(self) -> str:
        text = ""
        for power in range(self.degree, -1, -1):
            c = self.coefficients[power]
            if not c:
                continue
            size = "" if abs(c) == 1 and power else str(abs(c))
            variable = "" if power == 0 else "x" if power == 1 else f"x^{power}"
            sign = (" - " if c < 0 else " + ") if text else ("-" if c < 0 else "")
            text += sign + size + variable
        return f"Polynomial({text or '0'!r})"


def gcd(a: Polynomial, b: Polynomial) -> Polynomial:
    """Return the greatest common divisor with leading coefficient one."""
    while b:
        a, b = b, divmod(a, b)[1]
    return a * Polynomial([1 / a.coefficients[-1]]) if a else a


def squarefree(p: Polynomial) -> Polynomial:
    """Return a polynomial with the same roots as ``p``, each of them simple."""
    return divmod(p, gcd(p, p.derivative()))[0] if p.degree > 0 else p


def sturm_chain(p: Polynomial) -> list[Polynomial]:
    chain = [p, p.derivative()]
    while chain[-1]:
        chain.append(-divmod(chain[-2], chain[-1])[1])
    return chain[:-1]


def _sign_changes(chain: list[Polynomial], x: Fraction) -> int:
    signs = [value > 0 for q in chain if (value := q(x))]
    return sum(a != b for a, b in pairwise(signs))


def isolate_roots(p: Polynomial, width: Fraction) -> Iterator[tuple[Fraction, Fraction]]:
    """Yield for each real root an interval ``(low, high]`` not wider than ``width``."""
    if not p:
        raise ValueError("every number is a root of the zero polynomial")
    chain = sturm_chain(squarefree(p))
    largest = max(abs(c / p.coefficients[-1]) for c in p.coefficients)
    pending = [(-1 - largest, 1 + largest)]  # Cauchy's bound for all the roots
    while pending:
        low, high = pending.pop()
        count = _sign_changes(chain, low) - _sign_changes(chain, high)
        if count == 1 and high - low <= width:
            yield low, high
        elif count:
            middle = (low + high) / 2
            pending += [(middle, high), (low, middle)]


if __name__ == "__main__":
    p = Polynomial.from_roots(2, 2, "-1/3") * Polynomial([1, 0, 1])
    print(p)
    assert gcd(p, p.derivative()) == Polynomial([-2, 1])
    assert squarefree(p).degree == 4
    found = list(isolate_roots(p, Fraction(1, 1000)))
    assert len(found) == 2, "the double root counts once, the complex ones not at all"
    assert all(low < root <= high for (low, high), root in zip(found, [Fraction(-1, 3), 2]))
    print("roots near", [round(float(low + high) / 2, 3) for low, high in found])

    twins = Polynomial.from_roots(1, Fraction(1000001, 1000000))
    assert len(list(isolate_roots(twins, Fraction(1)))) == 2
    assert repr(Polynomial([])) == "Polynomial('0')" and Polynomial([1, -1])(3) == -2
    try:
        divmod(p, Polynomial([0]))
    except ZeroDivisionError as error:
        print("refused:", error)
