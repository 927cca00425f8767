"""Compute when a cron-style schedule fires next.

A schedule has five fields: minute, hour, day of month, month and day of week
(0 or 7 is Sunday).  A field is ``*``, a number, a range ``a-b``, a list ``a,b,c``
or any of these with a step, as in ``*/15`` or ``8-18/2``.

Testing every minute until one matches may take half a million tests for a rare
schedule.  The search below advances the largest unit that does not match: if the
month is wrong, it jumps to the first minute of the next month, and so on.

By tradition, when both day fields are restricted a day matches if *either* does.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
NAMES = {
    "month": {name.lower(): n for n, name in enumerate(calendar.month_abbr) if n},
    "weekday": {name: n for n, name in enumerate("sun mon tue wed thu fri sat".split())},
}
SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}


class ScheduleError(ValueError):
    """The text of a schedule does not make sense."""


def _parse_field(text: str, name: str, low: int, high: int) -> frozenset[int]:
    def number(word: str) -> int:
        value = NAMES.get(name, {}).get(word.lower())
        if value is None:
            if not word.isdigit():
                raise ScheduleError(f"{name}: {word!r} is not a number")
            value = int(word)
        if not low <= value <= high:
            raise ScheduleError(f"{name}: {value} is not between {low} and {high}")
        return value

    members: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = int(step_text) if step_text.isdigit() else 0
        if slash and not step:
            raise ScheduleError(f"{name}: bad step in {part!r}")
        if span == "*":
            first, last = low, high
        elif "-" in span:
            first, last = map(number, span.split("-", 1))
            if last < first:
                raise ScheduleError(f"{name}: {span!r} runs backwards")
        else:
            first = number(span)
            last = high if slash else first
        members.update(range(first, last + 1, step or 1))
    return frozenset(members)


@dataclass(frozen=True)
class Schedule:
    """A parsed schedule; make one with ``Schedule.parse``."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read a schedule.

        >>> sorted(Schedule.parse("*/20 9-11 * * mon").minutes)
        [0, 20, 40]
        """
        words = SHORTHANDS.get(text.strip(), text).split()
        if len(words) != len(FIELDS):
            raise ScheduleError(f"expected {len(FIELDS)} fields, found {len(words)}")
        parsed = [_parse_field(word, *field) for word, field in zip(words, FIELDS)]
        weekdays = frozenset(day % 7 for day in parsed[4])
        either = not words[2].startswith("*") and not words[4].startswith("*")
        return cls(*parsed[:4], weekdays, either)

    def _day_matches(self, moment: datetime) -> bool:
        by_date = moment.day in self.days
        by_weekday = moment.isoweekday() % 7 in self.weekdays
        return (by_date or by_weekday) if self.either_day else (by_date and by_weekday)

    def next_after(self, moment: datetime) -> datetime:
        """Return the first firing time strictly after ``moment``."""
        time = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        limit = time.year + 8  # the leap-day gap around a year like 2100
        while time.year <= limit:
            if time.month not in self.months:
                year, month = divmod(time.year * 12 + time.month, 12)
                time = time.replace(year=year, month=month + 1, day=1, hour=0, minute=0)
            elif not self._day_matches(time):
                time = time.replace(hour=0, minute=0) + timedelta(days=1)
            elif time.hour not in self.hours:
                time = time.replace(minute=0) + timedelta(hours=1)
            elif time.minute not in self.minutes:
                time += timedelta(minutes=1)
            else:
                return time
        raise ScheduleError("this schedule never fires")

    def upcoming(self, moment: datetime) -> Iterator[datetime]:
        while True:
            moment = self.next_after(moment)
            yield moment


if __name__ == "__main__":
    now = datetime(2024, 2, 28, 17, 45, 30)
    cases = {
        "*/15 9-17 * * 1-5": "2024-02-29 09:00",
        "0 12 29 feb *": "2024-02-29 12:00",
        "30 8 1,15 * *": "2024-03-01 08:30",
        "0 0 13 * 5": "2024-03-01 00:00",  # the 13th or a Friday, whichever is first
        "50 17 * * *": "2024-02-28 17:50",
        "@yearly": "2025-01-01 00:00",
    }
    for text, expected in cases.items():
        due = Schedule.parse(text).next_after(now)
        print(f"{text:20} {due:%a %Y-%m-%d %H:%M}")
        assert f"{due:%Y-%m-%d %H:%M}" == expected, text

    # Compare with a test of every single minute of four days.
    odd = Schedule.parse("7-59/13 */5 * * 0,6")
    minute, hits = datetime(2024, 3, 1), []
    for _ in range(4 * 24 * 60):
        if (minute.minute - 7) % 13 == 0 and minute.minute >= 7 and minute.hour % 5 == 0:
            if minute.weekday() >= 5:
                hits.append(minute)
        minute += timedelta(minutes=1)
    firing = odd.upcoming(datetime(2024, 2, 29, 23, 59))
    assert [next(firing) for _ in hits] == hits

    for wrong in ("* * * *", "60 * * * *", "5-1 * * * *", "*/0 * * * *", "x * * * *"):
        try:
            Schedule.parse(wrong)
        except ScheduleError as error:
            print(f"{wrong!r}: {error}")
    try:
        Schedule.parse("0 0 30 2 *").next_after(now)
    except ScheduleError as error:
        print("the 30th of February:", error)
