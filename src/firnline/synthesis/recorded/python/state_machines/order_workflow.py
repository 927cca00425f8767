"""State machines declared as a table, checked before they run.

The life of an order has states, events and rules: a paid order may be shipped, a
shipped one may not be cancelled.  Spread over ``if`` statements such rules are hard
to review.  Here they form one table, and the table is examined when it is built:
unknown states, states that cannot be reached, and states from which no end can be
reached are errors of the design and are reported at once, not in production.

A transition may have a guard, which decides whether it applies, and an action.  The
state changes only after the action has succeeded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

C = TypeVar("C")


class DesignError(ValueError):
    """The table of transitions is inconsistent."""


class NotAllowed(RuntimeError):
    """The event is not possible in the present state."""


@dataclass(frozen=True)
class Transition(Generic[C]):
    source: str
    event: str
    target: str
    guard: Callable[[C], bool] = lambda context: True
    action: Callable[[C], None] = lambda context: None


class Machine(Generic[C]):
    """A checked table of transitions; it can drive any number of instances."""

    def __init__(
        self, initial: str, final: Iterable[str], transitions: Iterable[Transition[C]]
    ) -> None:
        self.initial, self.final = initial, frozenset(final)
        self._table: dict[tuple[str, str], list[Transition[C]]] = {}
        self.states = {initial, *self.final}
        for transition in transitions:
            self._table.setdefault((transition.source, transition.event), []).append(transition)
            self.states |= {transition.source, transition.target}
        self._check()

    def _check(self) -> None:
        edges = {(t.source, t.target) for options in self._table.values() for t in options}
        if leaving := {source for source, _ in edges} & self.final:
            raise DesignError(f"final states with transitions: {sorted(leaving)}")
        if lost := self.states - _closure({self.initial}, edges):
            raise DesignError(f"states that cannot be reached: {sorted(lost)}")
        backwards = {(target, source) for source, target in edges}
        if stuck := self.states - _closure(set(self.final), backwards):
            raise DesignError(f"states without a way to the end: {sorted(stuck)}")

    def events(self, state: str) -> list[str]:
        return sorted(event for source, event in self._table if source == state)

    def choose(self, state: str, event: str, context: C) -> Transition[C]:
        """Return the first transition whose guard holds."""
        options = self._table.get((state, event))
        if options is None:
            raise NotAllowed(f"cannot {event} in state {state}, only {self.events(state)}")
        for transition in options:
            if transition.guard(context):
                return transition
        raise NotAllowed(f"a condition prevents {event} in state {state}")

    def shortest_story(self, target: str) -> list[str]:
        """Return the fewest events that lead to ``target``, ignoring guards."""
        stories = {self.initial: []}
        pending = deque([self.initial])
        while pending:
            state = pending.popleft()
            for (source, event), options in self._table.items():
                for transition in options:
                    if source == state and transition.target not in stories:
                        stories[transition.target] = [*stories[state], event]
                        pending.append(transition.target)
        return stories[target]


def _closure(start: set[str], edges: set[tuple[str, str]]) -> set[str]:
    reached = set(start)
    while new := {b for a, b in edges if a in reached} - reached:
        reached |= new
    return reached


@dataclass
class Order:
    price: int
    paid: int = 0
    state: str = "draft"
    history: list[str] = field(default_factory=list)

    def handle(self, event: str) -> None:
        transition = WORKFLOW.choose(self.state, event, self)
        transition.action(self)  # if this fails, the state stays as it was
        self.history.append(f"{self.state} --{event}--> {transition.target}")
        self.state = transition.target


def refund(order: Order) -> None:
    order.paid = 0


def pack(order: Order) -> None:
    if order.price > 1000:
        raise OSError("the parcel is too big for the machine")


T = Transition[Order]
WORKFLOW: Machine[Order] = Machine("draft", ["delivered", "cancelled"], [
    T("draft", "submit", "open"),
    T("draft", "cancel", "cancelled"),
    T("open", "pay", "paid", guard=lambda order: order.paid >= order.price),
    T("open", "pay", "open"),  # a part of the price is not enough
    T("open", "cancel", "cancelled", action=refund),
    T("paid", "cancel", "cancelled", action=refund),
    T("paid", "ship", "shipped", action=pack),
    T("shipped", "sign", "delivered"),
    T("shipped", "return", "paid"),
])

if __name__ == "__main__":
    order = Order(price=50)
    order.handle("submit")
    order.handle("pay")
    order.paid = 50
    for event in ("pay", "ship", "return", "ship", "sign"):
        order.handle(event)
    print(*order.history, sep="\n")
    assert order.state == "delivered" and WORKFLOW.events("delivered") == []
    assert WORKFLOW.shortest_story("delivered") == ["submit", "pay", "ship", "sign"]

    big = Order(price=5000, paid=5000, state="paid")
    for event, failure in (("sign", NotAllowed), ("ship", OSError)):
        try:
            big.handle(event)
        except failure as error:
            print(f"{event}: {error}")
        assert big.state == "paid" and not big.history
    big.handle("cancel")
    assert (big.state, big.paid) == ("cancelled", 0)

    go = Transition("a", "go", "b")
    for final, table in ((["b", "c"], [go]), (["a", "b"], [go]), ([], [go])):
        try:
            Machine("a", final, table)
        except DesignError as error:
            print("design:", error)
