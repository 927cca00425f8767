"""Test doubles that keep to the interface of what they replace.

A mock that accepts every call hides mistakes: the test passes although the real object
has no such method, or takes other arguments.  ``Recorder`` is made from a class and
checks each call against the signature of the real method.  Answers are programmed in
advance, unexpected calls fail at once, and the order of calls over several recorders
can be verified, since they share one journal.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class Call(NamedTuple):
    """One call; arguments are kept by name, so positions do not matter."""

    target: str
    method: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.target}.{self.method}({inside})"


class Anything:
    """Equals everything; use it for arguments that do not matter."""

    def __eq__(self, other: object) -> bool:
        return True


ANYTHING: Any = Anything()


class Journal:
    """The calls to all recorders of one test, in order."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def verify(self, *expected: Call) -> None:
        """Fail unless exactly these calls were made, in this order."""
        for number, (wanted, seen) in enumerate(zip(expected, self.calls), start=1):
            if wanted != seen:
                raise AssertionError(f"call {number}: expected {wanted}, but saw {seen}")
        if len(expected) != len(self.calls):
            extra = self.calls[len(expected) :] or expected[len(self.calls) :]
            problem = "surplus" if len(self.calls) > len(expected) else "missing"
            raise AssertionError(f"{problem}: " + "; ".join(map(str, extra)))


class Recorder:
    """Stands in for an instance of ``kind``."""

    def __init__(self, kind: type, name: str, journal: Journal) -> None:
        self._kind, self._name, self._journal = kind, name, journal
        self._answers: dict[str, deque[Any]] = {}

    def _bind(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        real = getattr(self._kind, method)
        bound = inspect.signature(real).bind(self, *args, **kwargs)
        bound.apply_defaults()
        (_, *arguments) = bound.arguments.items()
        return Call(self._name, method, dict(arguments))

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("__") or not hasattr(self._kind, method):
            raise AttributeError(f"{self._kind.__name__} has no method {method!r}")

        def invoke(*args: Any, **kwargs: Any) -> Any:
            call = self._bind(method, args, kwargs)
            self._journal.calls.append(call)
            answers = self._answers.get(method)
            if not answers:
                raise AssertionError(f"no answer for {call}")
            # The last answer is kept for all further calls.
            answer = answers.popleft() if len(answers) > 1 else answers[0]
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return invoke


def answers(recorder: Recorder, method: str, *values: Any) -> None:
    """Program answers; an exception is raised instead of returned."""
    recorder._answers.setdefault(method, deque()).extend(values)


def call(recorder: Recorder, method: str, *args: Any, **kwargs: Any) -> Call:
    """Describe a call for ``Journal.verify``, checked against the signature as well."""
    return recorder._bind(method, args, kwargs)


@contextmanager
def fails(kind: type[BaseException], text: str) -> Iterator[None]:
    """Expect an exception whose message contains ``text``."""
    try:
        yield
    except kind as error:
        assert text in str(error), f"{text!r} is not in {str(error)!r}"
        print(f"{kind.__name__}: {error}")
    else:
        raise AssertionError(f"{kind.__name__} was not raised")


class Mailer:
    def send(self, to: str, text: str, urgent: bool = False) -> bool: ...


class Store:
    def load(self, key: str) -> list[str]: ...

    def save(self, key: str, names: list[str]) -> None: ...


def remind(store: Store, mailer: Mailer) -> int:
    """The code under test: mail everyone and keep those that could not be reached."""
    failed = []
    for name in (names := store.load("late")):
        if not mailer.send(name, "Please bring back the book."):
            failed.append(name)
    store.save("late", names=failed)
    return len(failed)


if __name__ == "__main__":
    journal = Journal()
    store, mailer = Recorder(Store, "store", journal), Recorder(Mailer, "mailer", journal)
    answers(store, "load", ["ann", "bob"])
    answers(store, "save", None)
    answers(mailer, "send", True, False)
    assert remind(store, mailer) == 1
    expected = (
        call(store, "load", "late"), call(mailer, "send", "ann", ANYTHING),
        call(mailer, "send", to="bob", text=ANYTHING, urgent=False),
        call(store, "save", "late", ["bob"]),
    )
    journal.verify(*expected)
    with fails(AssertionError, "expected store.load(key='early')"):
        journal.verify(call(store, "load", "early"), *expected[1:])
    with fails(AssertionError, "surplus"):
        journal.verify(*expected[:3])
    with fails(AttributeError, "no method 'dispatch'"):
        mailer.dispatch("ann")
    with fails(TypeError, "missing a required argument: 'text'"):
        mailer.send("ann")
    with fails(AssertionError, "no answer for fresh.load"):
        Recorder(Store, "fresh", journal).load("x")
    answers(store, "load", OSError("disk on fire"))
    assert store.load("late") == ["ann", "bob"]
    with fails(OSError, "disk on fire"):
        remind(store, mailer)
