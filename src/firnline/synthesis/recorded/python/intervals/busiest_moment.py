"""Find when the most bookings overlap, with one sweep over their end points.

A room planner wants to know how many desks are needed so that nobody waits, and
at what time the crowd is largest.  Comparing every booking with every other is
quadratic.  The sweep below sorts the arrivals and departures once, walks over
them from left to right and keeps a running count, so it needs only
``O(n log n)`` time for any number of bookings.

Departures at an instant are counted before arrivals at that instant: a desk
freed at 10:00 can be used by the person who comes at 10:00.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import groupby
from operator import itemgetter


@dataclass(frozen=True, order=True)
class Booking:
    """One visit, from ``start`` up to but not including ``stop``."""

    start: datetime
    stop: datetime
    name: str

    def __post_init__(self) -> None:
        if self.stop <= self.start:
            raise ValueError(f"{self.name}: a booking must end after it starts")


@dataclass(frozen=True)
class Segment:
    """A stretch of time during which the number of visitors does not change."""

    start: datetime
    stop: datetime
    count: int

    @property
    def length(self) -> timedelta:
        return self.stop - self.start


def load_profile(bookings: Iterable[Booking]) -> Iterator[Segment]:
    """Yield the occupancy over time as segments with a positive count.

    Neighbouring segments that have the same count are joined, which happens
    when one visitor leaves at the very moment at which another one arrives.
    """
    changes: list[tuple[datetime, int]] = []
    for booking in bookings:
        changes.append((booking.start, +1))
        changes.append((booking.stop, -1))
    changes.sort()

    opened: datetime | None = None
    count = 0
    for moment, group in groupby(changes, key=itemgetter(0)):
        delta = sum(step for _, step in group)
        if delta == 0:
            continue
        if count and opened is not None:
            yield Segment(opened, moment, count)
        count += delta
        opened = moment
    assert count == 0, "every arrival has a departure"


def busiest(bookings: Iterable[Booking]) -> Segment | None:
    """Return the earliest segment with the highest count, or None if empty."""
    return max(load_profile(bookings), key=lambda segment: segment.count, default=None)


def assign_desks(bookings: Iterable[Booking]) -> dict[str, int]:
    """Give each booking a desk number, using as few desks as possible.

    Bookings are served in order of arrival.  A heap holds the departure time of
    every occupied desk; another one the numbers of the desks that are free.
    """
    occupied: list[tuple[datetime, int]] = []
    free: list[int] = []
    desks = 0
    result: dict[str, int] = {}
    for booking in sorted(bookings):
        while occupied and occupied[0][0] <= booking.start:
            heappush(free, heappop(occupied)[1])
        if free:
            desk = heappop(free)
        else:
            desks += 1
            desk = desks
        result[booking.name] = desk
        heappush(occupied, (booking.stop, desk))
    return result


def _parse(day: datetime, line: str) -> Booking:
    name, start, stop = line.split()
    clock = [datetime.strptime(text, "%H:%M").time() for text in (start, stop)]
    return Booking(*(datetime.combine(day, time) for time in clock), name)


if __name__ == "__main__":
    today = datetime(2024, 5, 6)
    plan = """ada 08:00 10:00
    ben 09:00 12:00
    cleo 10:00 11:30
    dan 10:30 11:00
    eve 13:00 14:00"""
    visits = [_parse(today, line) for line in plan.splitlines()]

    for segment in load_profile(visits):
        print(f"{segment.start:%H:%M}-{segment.stop:%H:%M} " + "#" * segment.count)
    peak = busiest(visits)
    assert peak is not None and peak.count == 3
    assert peak.length == timedelta(minutes=30)

    desks = assign_desks(visits)
    print("desks:", desks)
    assert max(desks.values()) == peak.count, "the greedy plan needs no spare desk"
    assert desks["ada"] == desks["cleo"] == 1
    assert busiest([]) is None
    try:
        _parse(today, "zoe 09:00 09:00")
    except ValueError as error:
        print("rejected:", error)
    else:
        raise AssertionError("an empty booking was accepted")
