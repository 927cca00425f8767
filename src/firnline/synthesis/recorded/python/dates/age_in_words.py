"""Spans of calendar time: exact differences and phrases for people.

``date - date`` gives days, but people speak in months and years, and those have
no fixed length.  ``Span.between`` finds the largest number of whole months that
fits, then the days left over, so that adding the span to the earlier date always
gives the later one.  Adding a month to the 31st is defined as clamping to the last
day of the shorter month; everything else follows from that one decision.

The module also reads ISO 8601 durations such as ``P1Y2M10D`` and phrases ages
the way a person would: exact for a baby, rough for a castle.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, timedelta

_ISO = re.compile(r"(-)?P(?=\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?")


def add_months(day: date, months: int) -> date:
    """Move a date by months, clamping to the end of a short month.

    >>> add_months(date(2024, 1, 31), 1), add_months(date(2024, 3, 31), -13)
    (datetime.date(2024, 2, 29), datetime.date(2023, 2, 28))
    """
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not date.min.year <= year <= date.max.year:
        raise OverflowError(f"year {year} is outside the calendar")
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(day.day, last))


@dataclass(frozen=True)
class Span:
    """A number of months and a number of days, which are kept apart.

    Both have the same sign.  A span has no length in days until it is added to a
    date, which is why spans can be compared for equality but not ordered.
    """

    months: int = 0
    days: int = 0

    def __post_init__(self) -> None:
        if self.months * self.days < 0:
            raise ValueError("months and days must point in the same direction")

    @classmethod
    def between(cls, start: date, end: date) -> Span:
        """Return the span with ``start + span == end``.

        >>> Span.between(date(2023, 11, 30), date(2024, 3, 1))
        Span(months=3, days=1)
        """
        months = (end.year - start.year) * 12 + end.month - start.month
        step = 1 if end >= start else -1
        # The guess is at most one too large, when the day of the month is not reached.
        if months and (add_months(start, months) - end).days * step > 0:
            months -= step
        return cls(months, (end - add_months(start, months)).days)

    @classmethod
    def parse(cls, text: str) -> Span:
        """Read an ISO 8601 duration made of dates parts only.

        >>> Span.parse("P1Y2M1W3D")
        Span(months=14, days=10)
        """
        match = _ISO.fullmatch(text)
        if match is None:
            raise ValueError(f"not a date duration: {text!r}")
        years, months, weeks, days = (int(part or 0) for part in match.groups()[1:])
        span = cls(12 * years + months, 7 * weeks + days)
        return -span if match[1] else span

    def __str__(self) -> str:
        if not self.months and not self.days:
            return "P0D"
        sign = "-" if self.months < 0 or self.days < 0 else ""
        years, months = divmod(abs(self.months), 12)
        parts = [(years, "Y"), (months, "M"), (abs(self.days), "D")]
        return f"{sign}P" + "".join(f"{number}{unit}" for number, unit in parts if number)

    def __neg__(self) -> Span:
        return Span(-self.months, -self.days)

    def __radd__(self, day: date) -> date:
        if not isinstance(day, date):
            return NotImplemented
        return add_months(day, self.months) + timedelta(days=self.days)

    def in_words(self) -> str:
        """Describe the size of the span with a sensible precision."""
        years, months = divmod(abs(self.months), 12)
        days = abs(self.days)
        if years >= 3:
            parts = [(years, "year")]
        elif years or months >= 3:
            parts = [(years, "year"), (months, "month")]
        else:
            parts = [(months, "month"), (days // 7, "week"), (days % 7, "day")]
        named = [f"{n} {unit}{'s' * (n != 1)}" for n, unit in parts if n]
        if not named:
            return "less than a day"
        return " and ".join([", ".join(named[:-1]), named[-1]] if named[1:] else named)


if __name__ == "__main__":
    today = date(2024, 3, 1)
    for born in ("2024-02-27", "2023-12-13", "2023-08-30", "2022-02-28", "1887-06-05"):
        age = Span.between(date.fromisoformat(born), today)
        print(f"born {born}: {age.in_words()} ({age})")

    # The defining law, in both directions, over dates around month ends.
    anchors = [date(2023, 12, 25) + timedelta(days=n) for n in range(0, 100, 3)]
    for start in anchors:
        for end in anchors:
            span = Span.between(start, end)
            assert start + span == end, (start, end, span)
            assert Span.parse(str(span)) == span
            assert abs(span.days) <= 30

    assert Span.between(date(2024, 2, 29), date(2025, 2, 28)) == Span(12, 0)
    assert Span(0, 10).in_words() == "1 week and 3 days"
    assert Span(2, 8).in_words() == "2 months, 1 week and 1 day"
    for wrong in ("", "P", "1Y", "P1H", "P-1D"):
        try:
            Span.parse(wrong)
        except ValueError as error:
            print("rejected:", error)
        else:
            raise AssertionError(wrong)
    try:
        add_months(date(9999, 12, 1), 1)
    except OverflowError as error:
        print("too far:", error)
