"""Amounts of money that cannot lose a cent.

Three rules keep accounts right.  Amounts are whole numbers of the smallest unit, never
floats.  Amounts of different currencies do not mix by accident.  And a sum that is divided
is *allocated*: ten euros for three people are 3.34, 3.33 and 3.33, so that the parts add
up to the whole again.  Which parts get the spare cents is decided by the largest remainder.

Where rounding is needed, as in taxes, it happens in one place with a stated rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation, localcontext
from fractions import Fraction
from functools import total_ordering

UNITS = {"EUR": 2, "USD": 2, "JPY": 0, "KWD": 3}


@total_ordering
@dataclass(frozen=True)
class Money:
    """An amount in the smallest unit of a currency.

    >>> Money.parse("12.50 EUR") + Money.parse("0.75 EUR")
    Money(units=1325, currency='EUR')
    """

    units: int
    currency: str

    def __post_init__(self) -> None:
        if self.currency not in UNITS:
            raise ValueError(f"unknown currency {self.currency!r}")

    @classmethod
    def parse(cls, text: str) -> Money:
        """Read an amount such as ``1,234.50 USD``; surplus digits are an error."""
        try:
            number_text, currency = text.split()
            number = Decimal(number_text.replace(",", ""))
            scaled = number.scaleb(UNITS[currency])
        except (ValueError, KeyError, InvalidOperation):
            raise ValueError(f"not an amount of money: {text!r}") from None
        if not scaled.is_finite() or scaled != scaled.to_integral_value():
            raise ValueError(f"{currency} has {UNITS[currency]} decimal places: {text!r}")
        return cls(int(scaled), currency)

    def __str__(self) -> str:
        places = UNITS[self.currency]
        return f"{Decimal(self.units).scaleb(-places):,.{places}f} {self.currency}"

    def _units_of(self, other: Money) -> int:
        if not isinstance(other, Money) or other.currency != self.currency:
            raise TypeError(f"{self} and {other} do not mix")
        return other.units

    def __add__(self, other: Money) -> Money:
        return Money(self.units + self._units_of(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.units - self._units_of(other), self.currency)

    def __mul__(self, count: int) -> Money:
        if not isinstance(count, int):
            raise TypeError("use scaled() to multiply by a rate")
        return Money(self.units * count, self.currency)

    __rmul__ = __mul__

    def __lt__(self, other: Money) -> bool:
        return self.units < self._units_of(other)

    def scaled(self, rate: str | Decimal | Fraction, rounding: str = ROUND_HALF_EVEN) -> Money:
        """Multiply by a rate and round once.

        >>> str(Money.parse("0.25 EUR").scaled("0.5")), str(Money.parse("0.35 EUR").scaled("0.1"))
        ('0.12 EUR', '0.04 EUR')
        """
        exact = self.units * Fraction(rate)
        with localcontext() as context:
            context.prec = len(str(abs(exact.numerator))) + len(str(exact.denominator)) + 10
            quotient = Decimal(exact.numerator) / Decimal(exact.denominator)
            return Money(int(quotient.quantize(Decimal(1), rounding)), self.currency)

    def allocate(self, weights: Sequence[int | Fraction]) -> list[Money]:
        """Divide in proportion to ``weights``, without losing or adding a unit.

        >>> [str(part) for part in Money.parse("10.00 EUR").allocate([1, 1, 1])]
        ['3.34 EUR', '3.33 EUR', '3.33 EUR']
        """
        total = sum(weights)
        if not weights or min(weights) < 0 or total == 0:
            raise ValueError("weights must not be negative or all zero")
        sign = -1 if self.units < 0 else 1
        exact = [Fraction(abs(self.units)) * weight / total for weight in weights]
        shares = [int(share) for share in exact]
        spare = abs(self.units) - sum(shares)
        by_remainder = sorted(range(len(exact)), key=lambda i: shares[i] - exact[i])
        for index in by_remainder[:spare]:
            shares[index] += 1
        return [Money(sign * share, self.currency) for share in shares]


def total(amounts: Iterable[Money], currency: str) -> Money:
    """Add up amounts; the currency is needed in case there are none."""
    return sum(amounts, start=Money(0, currency))


def settle(paid: dict[str, Money]) -> list[tuple[str, str, Money]]:
    """Tell who pays whom so that everybody has spent the same in the end."""
    names = sorted(paid)
    whole = total(paid.values(), paid[names[0]].currency)
    balance = {n: paid[n] - fair for n, fair in zip(names, whole.allocate([1] * len(names)))}
    transfers = []
    while any(amount.units for amount in balance.values()):
        debtor = min(names, key=lambda name: balance[name].units)
        creditor = max(names, key=lambda name: balance[name].units)
        amount = min(-1 * balance[debtor], balance[creditor])
        balance[debtor] += amount
        balance[creditor] -= amount
        transfers.append((debtor, creditor, amount))
    return transfers


if __name__ == "__main__":
    trip = {"ann": "96.10 EUR", "bob": "12.00 EUR", "cy": "0.00 EUR", "dee": "31.95 EUR"}
    for debtor, creditor, amount in settle({n: Money.parse(t) for n, t in trip.items()}):
        print(f"{debtor} pays {amount} to {creditor}")

    for units in (-1001, 0, 1, 99, 100, 12345):
        for weights in ([1], [1, 1, 1], [3, 0, 7], [1, 2, 3, 4, 5, 6], [Fraction(1, 3), 2]):
            parts = Money(units, "USD").allocate(weights)
            assert total(parts, "USD") == Money(units, "USD")
            assert all(p.units == 0 for p, w in zip(parts, weights) if w == 0)
    assert str(Money.parse("-1,234,567.5 USD")) == "-1,234,567.50 USD"
    assert str(Money(1500, "JPY")) == "1,500 JPY" and str(Money(1500, "KWD")) == "1.500 KWD"
    assert Money(1, "EUR").scaled(Fraction(10**30, 3)).units == 10**30 // 3
    for attempt in (
        lambda: Money(1, "EUR") + Money(1, "USD"), lambda: Money.parse("1.005 EUR"),
        lambda: Money(1, "EUR") * 0.5, lambda: Money.parse("5 XXX"), lambda: Money(1, "EUR") + 1,
        lambda: Money(5, "EUR").allocate([]), lambda: Money.parse("NaN EUR"),
    ):
        try:
            attempt()
        except (TypeError, ValueError) as error:
            print(f"{type(error).__name__}: {error}")
        else:
            raise AssertionError("an error was expected")
