"""Recompute only what a change affects: a tiny reactive engine.

Spreadsheets and build tools keep derived values and must know when they are stale.
Here, an ``Input`` is a value that can be set, and a ``Derived`` value is computed by a
function that reads other values.  Dependencies are not declared: while a function
runs, every value it reads is noted, so a condition that takes another branch changes
the dependencies by itself.

A change marks everything that depends on it as *perhaps stale*.  When such a value
is asked for, its inputs are brought up to date first; if none of them has really
changed, the function is not called at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class CircularError(RuntimeError):
    """A value depends on itself."""


class _Node(Generic[T]):
    _running: list[Derived[Any]] = []  # the functions being computed, innermost last

    def __init__(self, name: str) -> None:
        self.name = name
        self.version = 0  # grows whenever the value changes
        self._readers: set[Derived[Any]] = set()

    def _note_reader(self) -> None:
        for reader in _Node._running[-1:]:
            self._readers.add(reader)
            reader._sources[self] = self.version

    def _mark_readers(self) -> None:
        pending = list(self._readers)
        while pending:
            reader = pending.pop()
            if not reader._suspect:
                reader._suspect = True
                pending.extend(reader._readers)


class Input(_Node[T]):
    """A value that is set from outside."""

    def __init__(self, value: T, name: str = "input") -> None:
        super().__init__(name)
        self._value = value

    def get(self) -> T:
        self._note_reader()
        return self._value

    def set(self, value: T) -> None:
        if _Node._running:
            raise RuntimeError(f"{self.name} was set while a value is computed")
        if value != self._value:
            self._value = value
            self.version += 1
            self._mark_readers()


class Derived(_Node[T]):
    """A value computed from others, kept until one of them changes."""

    def __init__(self, function: Callable[[], T], name: str | None = None) -> None:
        super().__init__(name or function.__name__)
        self._function = function
        self._sources: dict[_Node[Any], int] = {}
        self._suspect = True
        self._outcome: tuple[bool, Any] | None = None  # (succeeded, value or exception)
        self.runs = 0

    def get(self) -> T:
        if self in _Node._running:
            names = [node.name for node in _Node._running[_Node._running.index(self) :]]
            raise CircularError(" -> ".join([*names, self.name]))
        self._refresh()
        self._note_reader()
        assert self._outcome is not None
        succeeded, value = self._outcome
        if succeeded:
            return value
        raise value

    def _refresh(self) -> None:
        if self._suspect and (self._outcome is None or self._source_changed()):
            self._compute()
        self._suspect = False

    def _source_changed(self) -> bool:
        # Check in the order of reading: an early change may make later ones moot.
        for source, version in list(self._sources.items()):
            if isinstance(source, Derived):
                source._refresh()
            if source.version != version:
                return True
        return False

    def _compute(self) -> None:
        for source in self._sources:
            source._readers.discard(self)
        self._sources, self.runs = {}, self.runs + 1
        _Node._running.append(self)
        try:
            outcome = (True, self._function())
        except CircularError:
            raise
        except Exception as error:  # an error is an outcome, cached like a value
            outcome = (False, error)
        finally:
            _Node._running.pop()
        if outcome != self._outcome:
            self._outcome = outcome
            self.version += 1


if __name__ == "__main__":
    price, amount = Input(20, "price"), Input(3, "amount")
    express = Input(False, "express")
    subtotal = Derived(lambda: price.get() * amount.get(), "subtotal")
    is_large = Derived(lambda: subtotal.get() >= 50, "is_large")

    @Derived
    def shipping() -> int:
        if express.get():
            return 15
        return 0 if is_large.get() else 5

    total = Derived(lambda: subtotal.get() + shipping.get(), "total")
    assert total.get() == 60 and total.get() == 60 and total.runs == 1

    amount.set(4)
    assert total.get() == 80
    assert (is_large.runs, shipping.runs) == (2, 1), "is_large stayed true: no need to run"
    express.set(True)
    price.set(1)
    assert total.get() == 19 and shipping.runs == 2
    print(f"total {total.get()} after {total.runs} runs")

    ratio = Derived(lambda: 100 // amount.get(), "ratio")
    amount.set(0)
    for _ in range(2):
        try:
            ratio.get()
        except ZeroDivisionError as error:
            print("an error is kept too:", error)
    assert ratio.runs == 1

    chicken: Derived[int] = Derived(lambda: egg.get() + 1, "chicken")
    egg: Derived[int] = Derived(lambda: chicken.get() + 1, "egg")
    try:
        chicken.get()
    except CircularError as error:
        print("circular:", error)
