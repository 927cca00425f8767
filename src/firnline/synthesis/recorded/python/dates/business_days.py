"""Working-day arithmetic with weekends and public holidays.

"Payment within ten working days" needs a calendar, since weekends differ between
countries and holidays between years.  Walking day by day is simple, but slow for
long spans, so the calendar counts whole weeks by division and then corrects for
the holidays in the span, which a sorted list answers with two binary searches.

Holidays come from rules, because most are not fixed dates: "the last Monday of
May", "two days before Easter Sunday", or "the first of January, observed on Monday
when it falls on a weekend".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from datetime import date, timedelta

Rule = Callable[[int], date]
DAY = timedelta(days=1)


def easter(year: int) -> date:
    """Return Easter Sunday of a Gregorian year (Gauss's rule as restated by Lichtenberg).

    >>> easter(2024).isoformat()
    '2024-03-31'
    """
    century = year // 100
    shift = 15 + (3 * century + 3) // 4 - (8 * century + 13) // 25
    sun = 2 - (3 * century + 3) // 4
    moon = (19 * (year % 19) + shift) % 30
    correction = (moon + year % 19 // 11) // 29
    boundary = 21 + moon - correction
    first_sunday = 7 - (year + year // 4 + sun) % 7
    offset = 7 - (boundary - first_sunday) % 7
    return date(year, 3, 1) + timedelta(days=boundary + offset - 1)


def fixed(month: int, day: int, observed: bool = False) -> Rule:
    """A holiday on the same date each year, moved to Monday if ``observed``."""

    def rule(year: int) -> date:
        holiday = date(year, month, day)
        if observed and holiday.weekday() >= 5:
            holiday += timedelta(days=7 - holiday.weekday())
        return holiday

    return rule


def nth_weekday(month: int, weekday: int, number: int) -> Rule:
    """The ``number``-th given weekday of a month; -1 means the last one."""
    if number == 0:
        raise ValueError("number counts from 1 or, backwards, from -1")

    def rule(year: int) -> date:
        if number > 0:
            first = date(year, month, 1)
            ahead = (weekday - first.weekday()) % 7
            return first + timedelta(days=ahead, weeks=number - 1)
        last = (date(year, month, 28) + timedelta(days=4)).replace(day=1) - DAY
        return last - timedelta(days=(last.weekday() - weekday) % 7, weeks=-number - 1)

    return rule


def from_easter(days: int) -> Rule:
    return lambda year: easter(year) + timedelta(days=days)


class WorkCalendar:
    """Knows which days are working days and counts them."""

    def __init__(self, rules: Iterable[Rule], weekend: Iterable[int] = (5, 6)) -> None:
        self._rules = list(rules)
        self._workdays = sorted(set(range(7)) - set(weekend))
        if not self._workdays:
            raise ValueError("a week without working days")
        self._holidays: dict[int, list[date]] = {}

    def _holidays_of(self, year: int) -> list[date]:
        """Holidays of one year that fall on what would be a working day."""
        if year not in self._holidays:
            dates = {rule(year) for rule in self._rules}
            self._holidays[year] = sorted(d for d in dates if d.weekday() in self._workdays)
        return self._holidays[year]

    def is_workday(self, day: date) -> bool:
        return day.weekday() in self._workdays and day not in self._holidays_of(day.year)

    def count(self, start: date, stop: date) -> int:
        """Count the working days from ``start`` up to but not including ``stop``."""
        if stop < start:
            return -self.count(stop, start)
        weeks, rest = divmod((stop - start).days, 7)
        total = weeks * len(self._workdays)
        total += sum((start.weekday() + i) % 7 in self._workdays for i in range(rest))
        for year in range(start.year, stop.year + 1):
            holidays = self._holidays_of(year)
            total -= bisect_left(holidays, stop) - bisect_left(holidays, start)
        return total

    def add(self, start: date, days: int) -> date:
        """Return the day that is ``days`` working days after ``start``.

        Zero moves to the next working day unless ``start`` is one already.
        """
        step, day = (DAY if days >= 0 else -DAY), start
        while days == 0 and not self.is_workday(day):
            day += step
        while days:
            # At most one working day per day, so this leap can never overshoot.
            leap = abs(days)
            target = day + step * leap
            days -= self.count(day + DAY, target + DAY) if days > 0 else self.count(day, target)
            day = target
        return day


if __name__ == "__main__":
    office = WorkCalendar([
        fixed(1, 1, observed=True), from_easter(-2), from_easter(1),
        nth_weekday(5, 0, 1), nth_weekday(5, 0, -1), fixed(12, 25), fixed(12, 26),
    ])
    assert easter(2000) == date(2000, 4, 23) and easter(2019) == date(2019, 4, 21)
    assert nth_weekday(5, 0, -1)(2024) == date(2024, 5, 27)
    assert not office.is_workday(date(2023, 1, 2)), "New Year 2023 fell on a Sunday"

    start, model = date(2023, 11, 20), 0
    for offset in range(500):
        day = start + timedelta(days=offset)
        assert office.count(start, day) == model
        model += office.is_workday(day)
    for days in (*range(1, 60), 260):
        due = office.add(start, days)
        assert office.is_workday(due) and office.count(start + DAY, due + DAY) == days
        assert office.is_workday(back := office.add(due, -days)) and office.count(back, due) == days
    assert office.add(date(2024, 3, 29), 0) == date(2024, 4, 2), "over the Easter weekend"
    print("due:", office.add(date(2023, 12, 20), 10))
    try:
        WorkCalendar([], weekend=range(7))
    except ValueError as error:
        print("rejected:", error)
