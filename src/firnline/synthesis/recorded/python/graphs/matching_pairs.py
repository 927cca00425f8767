"""Assign people to jobs: maximum bipartite matching with a proof of optimality.

Given which applicant is qualified for which job, the task is to fill as many jobs
as possible with one person each.  A greedy choice can block later people.  The
cure is an augmenting path: a chain of reassignments that frees a job at its end.
A matching is maximal when no augmenting path is left (Berge).

The solver can also explain its result.  By Koenig's theorem the size of a maximum
matching equals the size of a minimum vertex cover, and when somebody is left
over, Hall's theorem promises a group of people who together qualify for fewer
jobs than there are members.  Such a group convinces everyone that nothing better
was possible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

L = TypeVar("L", bound=Hashable)
R = TypeVar("R", bound=Hashable)


@dataclass
class Matching(Generic[L, R]):
    """The chosen pairs, both ways, and the people without a job."""

    job_of: dict[L, R] = field(default_factory=dict)
    person_of: dict[R, L] = field(default_factory=dict)
    left_over: list[L] = field(default_factory=list)

    def assign(self, person: L, job: R) -> None:
        self.job_of[person] = job
        self.person_of[job] = person

    def __len__(self) -> int:
        return len(self.job_of)


def match(skills: Mapping[L, Iterable[R]]) -> Matching[L, R]:
    """Fill as many jobs as possible; earlier people are preferred.

    >>> match({"ann": ["cook", "bake"], "bob": ["cook"]}).job_of
    {'ann': 'bake', 'bob': 'cook'}
    """
    options = {person: list(dict.fromkeys(jobs)) for person, jobs in skills.items()}
    matching: Matching[L, R] = Matching()
    for person in options:
        if not _augment(person, options, matching):
            matching.left_over.append(person)
    return matching


def _augment(start: L, options: Mapping[L, list[R]], matching: Matching[L, R]) -> bool:
    """Search breadth first for a free job and shift assignments along the path."""
    asked_by: dict[R, L] = {}
    pending = deque([start])
    while pending:
        person = pending.popleft()
        for job in options[person]:
            if job in asked_by:
                continue
            asked_by[job] = person
            holder = matching.person_of.get(job)
            if holder is not None:
                pending.append(holder)
                continue
            while True:  # walk back: everyone on the path takes the job they asked for
                asker = asked_by[job]
                previous = matching.job_of.get(asker)
                matching.assign(asker, job)
                if asker == start:
                    return True
                assert previous is not None
                job = previous
    return False


def bottleneck(skills: Mapping[L, Iterable[R]], matching: Matching[L, R]) -> tuple[set[L], set[R]]:
    """Return people and all the jobs they can do, with more people than jobs.

    Both sets are empty when everyone has a job.
    """
    people = set(matching.left_over)
    jobs: set[R] = set()
    pending = deque(matching.left_over)
    while pending:
        for job in skills[pending.popleft()]:
            if job in jobs:
                continue
            jobs.add(job)
            holder = matching.person_of[job]  # a free job would be an augmenting path
            if holder not in people:
                people.add(holder)
                pending.append(holder)
    return people, jobs


def vertex_cover(
    skills: Mapping[L, Iterable[R]], matching: Matching[L, R]
) -> tuple[set[L], set[R]]:
    """Return people and jobs that touch every pair, as few as there are matches."""
    stuck, contested = bottleneck(skills, matching)
    return set(matching.job_of) - stuck, contested


if __name__ == "__main__":
    import random

    skills = {
        "ines": ["harp", "flute"],
        "jon": ["flute"],
        "kim": ["drums", "harp"],
        "lou": ["harp", "flute"],
        "max": ["drums", "piano", "horn"],
    }
    band = match(skills)
    for person, job in band.job_of.items():
        print(f"{person} plays the {job}")
    assert len(band) == 4 and band.left_over == ["lou"]
    group, instruments = bottleneck(skills, band)
    print(f"{sorted(group)} share only {sorted(instruments)}")
    assert len(group) == len(instruments) + 1
    assert all(set(skills[person]) <= instruments for person in group)

    rng = random.Random(99)
    for _ in range(200):
        size = rng.randint(1, 12)
        sample = {p: [j for j in "abcdefgh" if rng.random() < 0.25] for p in range(size)}
        result = match(sample)
        assert all(job in sample[person] for person, job in result.job_of.items())
        assert {job: person for person, job in result.job_of.items()} == result.person_of
        people, jobs = vertex_cover(sample, result)
        assert all(p in people or j in jobs for p, js in sample.items() for j in js)
        # A cover as small as the matching proves that both are optimal.
        assert len(people) + len(jobs) == len(result)
    print("200 random cases carry a proof of optimality")
