"""Repayment plans for loans, to the cent.

A loan with equal instalments is paid back over a fixed number of months; each instalment
covers the interest of the month, and the rest reduces the debt.  The formula for the
instalment gives a number with endless decimals.  Rounded to cents it leaves a difference,
which the last instalment absorbs.

A second plan pays the same part of the debt each month.  Extra payments shorten either
plan.  The effective annual rate, which makes offers with fees comparable, is found by
bisection on the present value of all payments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, ROUND_UP, Decimal
from typing import Protocol

CENT = Decimal("0.01")


def cents(amount: Decimal, rounding: str = ROUND_HALF_UP) -> Decimal:
    return amount.quantize(CENT, rounding)


@dataclass(frozen=True)
class Loan:
    """Terms of a loan; ``rate`` is the nominal annual rate, such as Decimal("0.036")."""

    principal: Decimal
    rate: Decimal
    months: int
    fee: Decimal = Decimal(0)  # kept back when the loan is paid out

    def __post_init__(self) -> None:
        if self.principal <= 0 or self.months < 1:
            raise ValueError("a loan needs a positive principal and at least one month")
        if not 0 <= self.rate < 1 or not 0 <= self.fee < self.principal:
            raise ValueError("rate or fee is out of range")
        if self.principal != cents(self.principal):
            raise ValueError("the principal has fractions of a cent")


@dataclass(frozen=True)
class Payment:
    month: int
    interest: Decimal
    repaid: Decimal
    balance: Decimal  # what is still owed after this payment

    @property
    def amount(self) -> Decimal:
        return self.interest + self.repaid


class Plan(Protocol):
    """Decides how much to pay in a month, given the debt and its interest."""

    def instalment(self, loan: Loan, balance: Decimal, interest: Decimal) -> Decimal: ...


class Annuity:
    """The same amount each month."""

    def instalment(self, loan: Loan, balance: Decimal, interest: Decimal) -> Decimal:
        rate = loan.rate / 12
        if rate == 0:
            exact = loan.principal / loan.months
        else:
            exact = loan.principal * rate / (1 - (1 + rate) ** -loan.months)
        return cents(exact, ROUND_UP)  # rounded up, so that the last one is not larger


class EqualParts:
    """The same repayment each month, plus the interest on what is left."""

    def instalment(self, loan: Loan, balance: Decimal, interest: Decimal) -> Decimal:
        return cents(loan.principal / loan.months, ROUND_UP) + interest


def schedule(
    loan: Loan, plan: Plan, extra: Mapping[int, Decimal] | None = None
) -> Iterator[Payment]:
    """Yield the payments until the debt is gone.

    ``extra`` maps months to additional repayments, of which only as much is taken as
    is still owed.
    """
    extra = extra or {}
    if any(amount < 0 for amount in extra.values()):
        raise ValueError("an extra payment cannot be negative")
    balance, month = loan.principal, 0
    while balance > 0:
        month += 1
        interest = cents(balance * loan.rate / 12)
        repaid = plan.instalment(loan, balance, interest) - interest
        repaid += extra.get(month, Decimal(0))
        if repaid <= 0:
            raise ArithmeticError("the instalment does not even cover the interest")
        repaid = balance if month == loan.months else min(repaid, balance)
        balance -= repaid
        yield Payment(month, interest, repaid, balance)


def effective_rate(loan: Loan, payments: list[Payment]) -> Decimal:
    """Return the annual rate at which the payments are worth what was paid out."""
    received = loan.principal - loan.fee

    def present_value(monthly: Decimal) -> Decimal:
        factor, value, discount = 1 / (1 + monthly), Decimal(0), Decimal(1)
        for payment in payments:
            discount *= factor
            value += payment.amount * discount
        return value

    low, high = Decimal(0), Decimal(1)
    while high - low > Decimal("1e-10"):
        middle = (low + high) / 2
        if present_value(middle) > received:
            low = middle
        else:
            high = middle
    return (1 + low) ** 12 - 1


if __name__ == "__main__":
    loan = Loan(Decimal("12000"), Decimal("0.06"), 24, fee=Decimal("150"))
    for name, plan in (("annuity", Annuity()), ("equal parts", EqualParts())):
        payments = list(schedule(loan, plan))
        interest = sum(payment.interest for payment in payments)
        rate = effective_rate(loan, payments)
        print(f"{name}: first {payments[0].amount}, last {payments[-1].amount}, ", end="")
        print(f"interest {interest}, effective rate {rate:.2%}")
        assert len(payments) == 24 and payments[-1].balance == 0
        assert sum(payment.repaid for payment in payments) == loan.principal
        assert all(p.amount == cents(p.amount) for p in payments)
        assert rate > Decimal("0.07"), "the fee makes the loan dearer than six percent"

    level = list(schedule(loan, Annuity()))
    assert {payment.amount for payment in level[:-1]} == {Decimal("531.85")}
    assert 0 < level[0].amount - level[-1].amount < Decimal("0.25")

    quick = list(schedule(loan, Annuity(), extra={6: Decimal("4000"), 7: Decimal("10")}))
    assert len(quick) < 17 and sum(p.repaid for p in quick) == loan.principal
    everything = list(schedule(loan, EqualParts(), extra={2: Decimal(10**6)}))
    assert len(everything) == 2 and everything[-1].balance == 0

    free = Loan(Decimal("100"), Decimal(0), 3)
    parts = [payment.amount for payment in schedule(free, Annuity())]
    assert parts == [Decimal("33.34"), Decimal("33.34"), Decimal("33.32")]
    assert abs(effective_rate(free, list(schedule(free, Annuity())))) < Decimal("1e-6")
    for terms in (("0", "0.1", 5), ("10.005", "0.1", 5), ("10", "1.5", 5), ("10", "0.1", 0)):
        try:
            Loan(Decimal(terms[0]), Decimal(terms[1]), terms[2])
        except ValueError as error:
            print("refused:", error)
        else:
            raise AssertionError(terms)
