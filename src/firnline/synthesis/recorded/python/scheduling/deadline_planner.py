"""Choose and order jobs on one machine, by three classic exact methods.

* ``least_lateness``: when every job must be done, working in the order of deadlines
  makes the worst delay as small as possible (Jackson's rule).
* ``most_on_time``: when late jobs are worthless, drop the longest accepted job each time
  a deadline would be missed; the number of jobs in time is then maximal (Moore, Hodgson).
* ``best_selection``: when jobs have fixed times and different values, dynamic programming
  over finishing times picks the most valuable set without overlaps.

Each of them is compared with an exhaustive search at the end, since greedy methods look
convincing even when they are wrong.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate, combinations, permutations


@dataclass(frozen=True)
class Job:
    """Work of a given length that should be finished by a deadline."""

    name: str
    length: int
    deadline: int

    def __post_init__(self) -> None:
        if self.length <= 0:
            raise ValueError(f"job {self.name!r} has no length")


@dataclass(frozen=True)
class Offer:
    """Work at a fixed time, from ``start`` up to ``stop``, with its pay."""

    name: str
    start: int
    stop: int
    pay: int

    def __post_init__(self) -> None:
        if self.start >= self.stop:
            raise ValueError(f"offer {self.name!r} ends before it starts")


def lateness(order: Sequence[Job]) -> int:
    """Return the largest delay when the jobs are done one after another."""
    finished = accumulate(job.length for job in order)
    return max((max(0, end - job.deadline) for end, job in zip(finished, order)), default=0)


def least_lateness(jobs: Iterable[Job]) -> list[Job]:
    """Return the order with the smallest largest delay.

    If two neighbours are out of deadline order, swapping them never makes the worse of
    the two any later, so the sorted order can be reached without ever losing.
    """
    return sorted(jobs, key=lambda job: job.deadline)


def most_on_time(jobs: Iterable[Job]) -> list[Job]:
    """Return as many jobs as possible that all meet their deadlines, in order."""
    accepted: list[tuple[int, int, Job]] = []  # a heap with the longest job on top
    elapsed = 0
    for number, job in enumerate(least_lateness(jobs)):
        heappush(accepted, (-job.length, number, job))
        elapsed += job.length
        if elapsed > job.deadline:
            negative_length, _, _ = heappop(accepted)
            elapsed += negative_length
    return least_lateness(job for _, _, job in accepted)


def best_selection(offers: Iterable[Offer]) -> tuple[int, list[Offer]]:
    """Return the highest total pay and offers that reach it without overlapping.

    >>> offers = [Offer("a", 0, 3, 5), Offer("b", 2, 5, 8), Offer("c", 5, 6, 1)]
    >>> [offer.name for offer in best_selection(offers)[1]]
    ['b', 'c']
    """
    ordered = sorted(offers, key=lambda offer: offer.stop)
    stops = [offer.stop for offer in ordered]
    # best[i] is the highest pay from the first i offers; before[i] tells how many of
    # them are over when offer i starts.
    best, before = [0], []
    for index, offer in enumerate(ordered):
        before.append(bisect_right(stops, offer.start, hi=index))
        best.append(max(best[index], best[before[index]] + offer.pay))
    chosen, index = [], len(ordered)
    while index:
        if best[index] == best[index - 1]:
            index -= 1
        else:
            chosen.append(ordered[index - 1])
            index = before[index - 1]
    return best[-1], chosen[::-1]


def gantt(jobs: Sequence[Job]) -> Iterator[str]:
    """Draw each job as a bar; an exclamation mark shows the part after its deadline."""
    start = 0
    for job in jobs:
        bar = "".join("=" if start + i < job.deadline else "!" for i in range(job.length))
        yield f"{job.name:10}|{' ' * start}{bar}"
        start += job.length


def _subsets(items: Sequence[Job] | Sequence[Offer]) -> Iterator[tuple]:
    for size in range(len(items), -1, -1):
        yield from combinations(items, size)


if __name__ == "__main__":
    import random

    workshop = [
        Job("chair", 3, 6), Job("table", 6, 8), Job("shelf", 2, 9),
        Job("frame", 1, 9), Job("bench", 4, 11),
    ]
    print("all of them, as punctual as possible:")
    print(*gantt(least_lateness(workshop)), sep="\n")
    on_time = most_on_time(workshop)
    print("those worth starting:")
    print(*gantt(on_time), sep="\n")
    assert lateness(least_lateness(workshop)) == 5
    assert len(on_time) == 4 and lateness(on_time) == 0

    rng = random.Random(3)
    for round_number in range(60):
        jobs = [Job(str(n), rng.randint(1, 6), rng.randint(1, 16)) for n in range(5)]
        assert lateness(least_lateness(jobs)) == min(map(lateness, permutations(jobs)))
        kept = most_on_time(jobs)
        assert lateness(kept) == 0
        fitting = (s for s in _subsets(jobs) if lateness(least_lateness(s)) == 0)
        assert len(kept) == len(next(fitting)), "no larger set is punctual"

        starts = [rng.randrange(20) for _ in range(7)]
        offers = [
            Offer(str(n), s, s + rng.randint(1, 7), rng.randint(1, 9))
            for n, s in enumerate(starts)
        ]
        pay, chosen = best_selection(offers)
        assert pay == sum(offer.pay for offer in chosen)
        assert all(a.stop <= b.start for a, b in zip(chosen, chosen[1:]))
        compatible = (
            subset for subset in _subsets(offers)
            if all(a.stop <= b.start or b.stop <= a.start for a, b in combinations(subset, 2))
        )
        assert pay == max(sum(offer.pay for offer in subset) for subset in compatible)
    print("60 random rounds agree with exhaustive search")
    assert most_on_time([]) == [] and best_selection([]) == (0, [])
    try:
        Job("nothing", 0, 5)
    except ValueError as error:
        print("refused:", error)
