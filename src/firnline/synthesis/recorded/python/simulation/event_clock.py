"""Discrete-event simulation with processes written as generators.

A simulated customer is a generator: ``yield 5`` lets five minutes pass, and
``yield desk.request()`` waits until a desk is free.  The clock never ticks; it jumps
from one event to the next, so an hour with three events takes three steps.

Events at the same time happen in the order in which they were planned.  That makes
every run repeatable, which is as important for finding mistakes as it is for
comparing two designs under the same circumstances.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Union

Process = Generator[Union[float, "Request"], None, None]


class Request:
    """Something to wait for: a place at a resource."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource


class Simulation:
    """The clock and the list of things to come."""

    def __init__(self) -> None:
        self.now = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def plan(self, delay: float, action: Callable[[], None]) -> None:
        if not delay >= 0:
            raise ValueError(f"cannot plan {delay} minutes ahead")
        heappush(self._agenda, (self.now + delay, next(self._numbers), action))

    def start(self, process: Process, delay: float = 0) -> None:
        self.plan(delay, lambda: self._resume(process))

    def _resume(self, process: Process) -> None:
        try:
            wish = next(process)
        except StopIteration:
            return
        if isinstance(wish, Request):
            wish.resource._enqueue(lambda: self._resume(process))
        else:
            self.plan(wish, lambda: self._resume(process))

    def run(self, until: float = float("inf")) -> None:
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, action = heappop(self._agenda)
            action()
        if until < float("inf"):
            self.now = until


@dataclass
class Resource:
    """A number of equal servers with one queue, first come, first served."""

    simulation: Simulation
    capacity: int
    busy: int = 0
    work: float = 0.0  # busy servers, integrated over time
    longest_queue: int = 0
    _waiting: deque[Callable[[], None]] = field(default_factory=deque)
    _changed: float = 0.0

    def request(self) -> Request:
        return Request(self)

    def _account(self) -> None:
        now = self.simulation.now
        self.work, self._changed = self.work + self.busy * (now - self._changed), now

    def _enqueue(self, resume: Callable[[], None]) -> None:
        if self.busy < self.capacity:
            self._account()
            self.busy += 1
            self.simulation.plan(0, resume)
        else:
            self._waiting.append(resume)
            self.longest_queue = max(self.longest_queue, len(self._waiting))

    def release(self) -> None:
        if not self.busy:
            raise RuntimeError("released a server that nobody held")
        if self._waiting:  # the server goes straight to the next one in the queue
            self.simulation.plan(0, self._waiting.popleft())
        else:
            self._account()
            self.busy -= 1

    def utilisation(self) -> float:
        self._account()
        return self.work / (self.capacity * self.simulation.now)


def post_office(desks: int, customers: int, seed: int = 1) -> tuple[float, Resource]:
    """Return the mean waiting time and the desks after a simulated day."""
    rng = random.Random(seed)
    simulation = Simulation()
    counter = Resource(simulation, desks)
    waits: list[float] = []

    def customer() -> Process:
        arrival = simulation.now
        yield counter.request()
        waits.append(simulation.now - arrival)
        yield rng.expovariate(1 / 4)  # being served takes four minutes on average
        counter.release()

    def door() -> Process:
        for _ in range(customers):
            yield rng.expovariate(1 / 2.5)  # somebody comes every two and a half
            simulation.start(customer())

    simulation.start(door())
    simulation.run()
    return sum(waits) / len(waits), counter


if __name__ == "__main__":
    for desks in (1, 2, 3):
        wait, counter = post_office(desks, customers=3000)
        print(
            f"{desks} desk(s): mean wait {wait:8.2f} min, longest queue"
            f" {counter.longest_queue:4}, busy {counter.utilisation():.0%}"
        )
        if desks == 2:
            # Queueing theory for two servers at 80 % load predicts 7.1 minutes.
            assert 5 < wait < 10 and abs(counter.utilisation() - 0.8) < 0.04
        assert counter.busy == 0, "everybody has gone home"
    assert post_office(2, 500)[0] == post_office(2, 500)[0]

    order: list[tuple[float, str]] = []
    sim = Simulation()

    def ticker(name: str, pause: float) -> Process:
        while True:
            order.append((sim.now, name))
            yield pause

    sim.start(ticker("slow", 2))
    sim.start(ticker("fast", 1), delay=1)
    sim.run(until=3.5)
    assert order == [(0, "slow"), (1, "fast"), (2, "slow"), (2, "fast"), (3, "fast")]
    try:
        sim.plan(-1, lambda: None)
    except ValueError as error:
        print("refused:", error)
