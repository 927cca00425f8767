"""An iterator that can look ahead, step back, and be resumed after a failed attempt.

Parsers of line-oriented text often need to know what comes next before they take
it: a record continues on the next line if that line is indented.  ``Lookahead``
wraps any iterable, even an endless one, and buffers only as much as it was asked to
look at.  A checkpoint in a ``with`` block remembers the items taken inside it and
gives them back unless the block is committed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")
D = TypeVar("D")


class Checkpoint:
    """Handed out by ``Lookahead.attempt``; call ``commit`` to keep what was taken."""

    committed = False

    def commit(self) -> None:
        self.committed = True


class Lookahead(Generic[T]):
    """An iterator with a view of the items to come.

    >>> words = Lookahead("one two three".split())
    >>> words.peek(), words.peek(2), next(words)
    ('one', 'three', 'one')
    >>> words.push_back("zero")
    >>> list(words)
    ['zero', 'two', 'three']
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._source = iter(items)
        self._ahead: deque[T] = deque()
        self._taken: list[list[T]] = []  # one list per open attempt
        self.position = 0

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        item = self._ahead.popleft() if self._ahead else next(self._source)
        for record in self._taken:
            record.append(item)
        self.position += 1
        return item

    def __bool__(self) -> bool:
        return self._fill(1)  # true while there is at least one item left

    def _fill(self, count: int) -> bool:
        while len(self._ahead) < count:
            try:
                self._ahead.append(next(self._source))
            except StopIteration:
                return False
        return True

    def peek(self, distance: int = 0, default: D | None = None) -> T | D | None:
        """Return the item ``distance`` places ahead without taking anything."""
        assert distance >= 0, "items that are gone cannot be seen"
        return self._ahead[distance] if self._fill(distance + 1) else default

    def push_back(self, *items: T) -> None:
        """Put items in front, so that the first of them comes next."""
        if self._taken:
            raise RuntimeError("cannot push back during an attempt")
        self._ahead.extendleft(reversed(items))
        self.position -= len(items)

    def take_while(self, accept: Callable[[T], bool]) -> Iterator[T]:
        """Yield items as long as they are accepted.

        Unlike ``itertools.takewhile``, the first rejected item is not lost.
        """
        while self._fill(1) and accept(self._ahead[0]):
            yield next(self)

    @contextmanager
    def attempt(self) -> Iterator[Checkpoint]:
        """Undo everything taken in the block unless it is committed.

        An exception in the block also undoes it and is passed on.
        """
        checkpoint, record, start = Checkpoint(), [], self.position
        self._taken.append(record)
        try:
            yield checkpoint
        except BaseException:
            checkpoint.committed = False
            raise
        finally:
            self._taken.pop()
            if not checkpoint.committed:
                self._ahead.extendleft(reversed(record))
                for outer in self._taken:
                    del outer[len(outer) - len(record) :]
                self.position = start


def unfold(lines: Iterable[str]) -> Iterator[str]:
    """Join indented continuation lines to the line they belong to."""
    ahead = Lookahead(lines)
    for line in ahead:
        parts = [line.rstrip()]
        parts += (more.strip() for more in ahead.take_while(lambda text: text[:1].isspace()))
        yield " ".join(parts)


def parse_dates(words: Iterable[str]) -> Iterator[str]:
    """Replace "day month year" by one item, leaving all other words alone."""
    months = "jan feb mar apr may jun jul aug sep oct nov dec".split()
    stream = Lookahead(words)
    while stream:
        with stream.attempt() as checkpoint:
            day, month, year = next(stream, ""), next(stream, ""), next(stream, "")
            if day.isdigit() and month.lower()[:3] in months and year.isdigit():
                checkpoint.commit()
                number = months.index(month.lower()[:3]) + 1
                yield f"{year}-{number:02}-{int(day):02}"
        if not checkpoint.committed:
            yield next(stream)


if __name__ == "__main__":
    from itertools import count

    header = ["Subject: a long", "  story", "\tindeed", "Date: today", ""]
    assert list(unfold(header)) == ["Subject: a long story indeed", "Date: today", ""]

    text = "from 3 March 2021 to 14 may or 5 June 2022"
    print(list(parse_dates(text.split())))
    assert " ".join(parse_dates(text.split())) == "from 2021-03-03 to 14 may or 2022-06-05"

    numbers = Lookahead(count())
    with numbers.attempt():
        with numbers.attempt() as inner:
            assert [next(numbers), next(numbers)] == [0, 1]
            inner.commit()
        with numbers.attempt():
            assert next(numbers) == 2
        assert next(numbers) == 2
    assert numbers.position == 0 and next(numbers) == 0, "the outer attempt was not kept"
    try:
        with numbers.attempt() as kept:
            next(numbers)
            kept.commit()
            raise LookupError("changed my mind")
    except LookupError:
        assert next(numbers) == 1
    assert numbers.peek(100) == 102 and Lookahead([]).peek(default="end") == "end"
