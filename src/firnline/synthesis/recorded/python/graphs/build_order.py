"""Decide in which order tasks can run, and explain why if they cannot.

A build tool, an installer and a course planner ask the same question: each task
lists what must come before it; in which order can they be done, and what can be
done at the same time?  The planner below works in waves (Kahn's method).  A wave
holds every task whose requirements are finished, so the tasks of one wave could
run in parallel.

If tasks remain but none is ready, they contain a cycle.  "There is a cycle" helps
nobody to repair a plan of a thousand tasks, so one shortest cycle is reported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping


class PlanError(ValueError):
    """A plan that cannot be carried out."""


class CycleError(PlanError):
    """Tasks that wait for each other; ``cycle`` starts and ends with the same task."""

    def __init__(self, cycle: list[str]) -> None:
        super().__init__(" -> ".join(cycle))
        self.cycle = cycle


class Plan:
    """A set of named tasks with requirements.

    >>> plan = Plan({"cake": ["dough", "oven"], "dough": ["flour"], "oven": []})
    >>> list(plan.waves())
    [['flour', 'oven'], ['dough'], ['cake']]
    """

    def __init__(self, requirements: Mapping[str, Iterable[str]] | None = None) -> None:
        self._needs: dict[str, set[str]] = {}
        for task, needed in (requirements or {}).items():
            self.add(task, *needed)

    def add(self, task: str, *needed: str) -> None:
        """Declare a task; calls for the same task add up."""
        self._needs.setdefault(task, set()).update(needed)
        for name in needed:
            self._needs.setdefault(name, set())

    def waves(self) -> Iterator[list[str]]:
        """Yield groups of tasks; each group needs only tasks of earlier groups."""
        waiting = {task: len(needed) for task, needed in self._needs.items()}
        unlocks: dict[str, list[str]] = {task: [] for task in self._needs}
        for task, needed in self._needs.items():
            for name in needed:
                unlocks[name].append(task)

        ready = sorted(task for task, count in waiting.items() if count == 0)
        finished = 0
        while ready:
            yield ready
            finished += len(ready)
            following = []
            for task in ready:
                for unlocked in unlocks[task]:
                    waiting[unlocked] -= 1
                    if waiting[unlocked] == 0:
                        following.append(unlocked)
            ready = sorted(following)
        if finished < len(waiting):
            raise CycleError(self._shortest_cycle({t for t, n in waiting.items() if n}))

    def order(self) -> list[str]:
        """Return one order in which all the tasks can be done."""
        return [task for wave in self.waves() for task in wave]

    def _shortest_cycle(self, stuck: set[str]) -> list[str]:
        best: list[str] | None = None
        for start in sorted(stuck):
            path = self._path_back(start, stuck)
            if path and (best is None or len(path) < len(best)):
                best = path
        assert best is not None, "stuck tasks always contain a cycle"
        return best

    def _path_back(self, start: str, within: set[str]) -> list[str] | None:
        """Find the shortest way from ``start`` back to itself, breadth first."""
        came_from: dict[str, str] = {}
        pending = deque([start])
        while pending:
            task = pending.popleft()
            for needed in sorted(self._needs[task] & within):
                if needed == start:
                    path = [start, task]
                    while path[-1] != start:
                        path.append(came_from[path[-1]])
                    return path[::-1]
                if needed not in came_from:
                    came_from[needed] = task
                    pending.append(needed)
        return None

    def affected_by(self, changed: Iterable[str]) -> set[str]:
        """Return the tasks to be redone after ``changed``, themselves included."""
        dirty = set(changed)
        unknown = dirty - self._needs.keys()
        if unknown:
            raise PlanError(f"unknown tasks: {', '.join(sorted(unknown))}")
        for task in self.order():  # requirements come first, so one pass suffices
            if self._needs[task] & dirty:
                dirty.add(task)
        return dirty


if __name__ == "__main__":
    house = Plan()
    house.add("roof", "walls")
    house.add("walls", "foundation")
    house.add("wiring", "walls")
    house.add("plaster", "wiring", "plumbing")
    house.add("plumbing", "walls")
    house.add("move in", "plaster", "roof")
    for day, wave in enumerate(house.waves(), start=1):
        print(f"day {day}: {', '.join(wave)}")
    order = house.order()
    assert order[0] == "foundation" and order[-1] == "move in"
    assert house.affected_by(["wiring"]) == {"wiring", "plaster", "move in"}

    for plan, expected in [
        (Plan({"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": ["c"]}), ["c", "d", "c"]),
        (Plan({"x": ["x"]}), ["x", "x"]),
        (Plan({"p": ["q"], "q": ["r"], "r": ["q"], "z": ["p"]}), ["q", "r", "q"]),
    ]:
        try:
            plan.order()
        except CycleError as error:
            print("cycle:", error)
            assert error.cycle == expected, error.cycle
        else:
            raise AssertionError("the cycle went unnoticed")
    assert Plan().order() == []
    try:
        house.affected_by(["pool"])
    except PlanError as error:
        print(error)
