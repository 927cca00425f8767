"""Find the earliest arrival in a timetable, with waiting and changes of line.

Shortest-path search on a road map assumes that an edge always costs the same.  In
a timetable the cost depends on when you stand at the platform: missing a train by
a minute can cost an hour.  Dijkstra's method still works, because leaving a stop
later never makes you arrive earlier; so the label of a stop is the earliest time
at which it can be reached, and stops are settled in order of that time.

Times are minutes since midnight.  ``change`` minutes are needed to move from one
line to another, so a search state is a stop together with the line you came on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from heapq import heappop, heappush
from operator import attrgetter


@dataclass(frozen=True)
class Ride:
    """One vehicle that goes from one stop to the next."""

    line: str
    origin: str
    target: str
    leaves: int
    arrives: int

    def __str__(self) -> str:
        return (
            f"{clock(self.leaves)} {self.origin} - {clock(self.arrives)} {self.target}"
            f" ({self.line})"
        )


class NoConnection(LookupError):
    """There is no way to reach the destination on this day."""


def clock(minutes: int) -> str:
    """Format minutes since midnight.

    >>> clock(545), clock(1500)
    ('09:05', '25:00')
    """
    return f"{minutes // 60:02}:{minutes % 60:02}"


def minutes(text: str) -> int:
    hour, minute = map(int, text.split(":"))
    return 60 * hour + minute


class Timetable:
    """All rides of a day, grouped by stop and line and sorted by departure."""

    def __init__(self, change: int = 3) -> None:
        self.change = change
        self._rides: dict[str, dict[str, list[Ride]]] = defaultdict(lambda: defaultdict(list))

    def add_line(self, line: str, stops: str, legs: list[int], starts: list[str]) -> None:
        """Add a line that serves ``stops`` in order, once for each start time."""
        names = stops.split()
        if len(legs) != len(names) - 1 or min(legs, default=1) < 1:
            raise ValueError(f"line {line}: need one positive travel time per leg")
        for start in starts:
            time = minutes(start)
            for origin, target, leg in zip(names, names[1:], legs):
                ride = Ride(line, origin, target, time, time + leg)
                self._rides[origin][line].append(ride)
                time += leg
        for by_line in self._rides.values():
            by_line[line].sort(key=attrgetter("leaves"))

    def _boardable(self, stop: str, line: str | None, time: int) -> list[Ride]:
        """For every line at ``stop``, the first ride that can still be caught."""
        result = []
        for other, rides in self._rides[stop].items():
            ready = time if line in (None, other) else time + self.change
            index = bisect_left(rides, ready, key=attrgetter("leaves"))
            if index < len(rides):
                result.append(rides[index])
        return result

    def plan(self, origin: str, target: str, start: str) -> list[Ride]:
        """Return the rides of a trip that reaches ``target`` as early as possible."""
        if origin == target:
            return []
        came_by: dict[tuple[str, str], tuple[tuple[str, str | None], Ride]] = {}
        settled: set[tuple[str, str | None]] = set()
        # The counter breaks ties, so that rides are never compared.
        queue: list[tuple[int, int, int, str, str | None]] = [(minutes(start), 0, 0, origin, None)]
        counter = 0
        while queue:
            time, rides, _, stop, line = heappop(queue)
            if (stop, line) in settled:
                continue
            settled.add((stop, line))
            if stop == target and line is not None:
                return self._trace(came_by, stop, line)
            for ride in self._boardable(stop, line, time):
                state = (ride.target, ride.line)
                known = came_by.get(state)
                if state in settled or (known and known[1].arrives <= ride.arrives):
                    continue
                came_by[state] = ((stop, line), ride)
                counter += 1
                heappush(queue, (ride.arrives, rides + 1, counter, *state))
        raise NoConnection(f"no way from {origin} to {target} after {start}")

    @staticmethod
    def _trace(
        came_by: dict[tuple[str, str], tuple[tuple[str, str | None], Ride]], stop: str, line: str
    ) -> list[Ride]:
        path: list[Ride] = []
        state: tuple[str, str | None] = (stop, line)
        while state in came_by:
            state, ride = came_by[state]
            path.append(ride)
        return path[::-1]


if __name__ == "__main__":
    table = Timetable(change=4)
    table.add_line("red", "Quay Mill Park Zoo", [6, 5, 9], ["08:00", "08:30", "09:00"])
    table.add_line("blue", "Fort Mill Dome", [7, 8], ["08:01", "08:05", "08:40"])
    table.add_line("tram", "Dome Zoo", [3], ["08:17", "08:25"])

    trip = table.plan("Quay", "Zoo", "07:55")
    print(*trip, sep="\n")
    assert [ride.line for ride in trip] == ["red"] * 3 and trip[-1].arrives == minutes("08:20")

    # Mill is reached at 08:06; the blue line leaves at 08:08, too soon to change.
    dome = table.plan("Quay", "Dome", "07:55")
    assert [ride.leaves for ride in dome] == [minutes("08:00"), minutes("08:12")]
    assert table.plan("Park", "Park", "08:00") == []
    late = table.plan("Fort", "Zoo", "08:02")
    assert [ride.line for ride in late] == ["blue", "blue", "tram"]
    print("Fort to Zoo arrives at", clock(late[-1].arrives))
    try:
        table.plan("Zoo", "Quay", "08:00")
    except NoConnection as error:
        print("as expected:", error)
