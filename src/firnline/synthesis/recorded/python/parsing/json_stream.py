"""Split a stream of concatenated JSON values that arrives in pieces.

A process that writes one JSON value after another to a pipe gives its reader no
promise about where a chunk ends: a value may be cut in the middle of a string,
of an escape or of a number.  ``JsonSplitter`` accepts text chunk by chunk and
returns the values that are complete.  It does not parse; it only tracks nesting
and strings to find the borders, then hands each whole value to ``json.loads``.

Bare numbers and words such as ``true`` have no closing mark.  They end at white
space or at the start of another value, or when the stream is closed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

_OPEN = {"{": "}", "[": "]"}
_SPACE = " \t\r\n"


class StreamError(ValueError):
    """The stream breaks the rules of JSON; ``offset`` counts from its start."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} (offset {offset})")
        self.offset = offset


class JsonSplitter:
    """Feed text in, get decoded values out.

    >>> splitter = JsonSplitter()
    >>> splitter.feed('{"a": [1, "}')
    []
    >>> splitter.feed('"]} tru')
    [{'a': [1, '}']}]
    >>> splitter.feed('e '), splitter.close()
    ([True], [])
    """

    def __init__(self, max_length: int = 1_000_000) -> None:
        self._max_length = max_length
        self._parts: list[str] = []  # text of the value being collected
        self._length = 0
        self._closers: list[str] = []  # brackets that are still open
        self._in_string = False
        self._escaped = False
        self._offset = 0

    def feed(self, chunk: str) -> list[Any]:
        """Take the next chunk and return all values that it completes."""
        values: list[Any] = []
        for character in chunk:
            self._step(character, values)
            self._offset += 1
        return values

    def close(self) -> list[Any]:
        """Declare the end of the stream and return the last value, if any."""
        if self._in_string:
            raise StreamError("stream ends inside a string", self._offset)
        if self._closers:
            raise StreamError(f"stream ends before {self._closers[-1]!r}", self._offset)
        return self._flush()

    def _step(self, character: str, values: list[Any]) -> None:
        if self._in_string:
            self._keep(character)
            if self._escaped:
                self._escaped = False
            elif character == "\\":
                self._escaped = True
            elif character == '"':
                self._in_string = False
                if not self._closers:
                    values += self._flush()
            return
        if not self._closers and (character in _SPACE or character in '{["'):
            values += self._flush()  # ends a bare number or word
            if character in _SPACE:
                return
        if character in _OPEN:
            self._closers.append(_OPEN[character])
        elif character in "]}":
            if not self._closers or self._closers.pop() != character:
                raise StreamError(f"unexpected {character!r}", self._offset)
            self._keep(character)
            if not self._closers:
                values += self._flush()
            return
        elif character == '"':
            self._in_string = True
        self._keep(character)

    def _keep(self, character: str) -> None:
        self._length += 1
        if self._length > self._max_length:
            raise StreamError(f"a value is longer than {self._max_length}", self._offset)
        self._parts.append(character)

    def _flush(self) -> list[Any]:
        if not self._parts:
            return []
        text = "".join(self._parts)
        self._parts, self._length = [], 0
        try:
            return [json.loads(text)]
        except json.JSONDecodeError:
            raise StreamError(f"invalid value {text!r}", self._offset) from None


def iter_values(chunks: Iterable[str]) -> Iterator[Any]:
    """Decode a whole iterable of chunks lazily."""
    splitter = JsonSplitter()
    for chunk in chunks:
        yield from splitter.feed(chunk)
    yield from splitter.close()


if __name__ == "__main__":
    originals = [{"k": "a\"b\\", "n": [1, [2, {}]]}, [], "text ] }", -1.5e3, True, None, 42]
    text = " ".join(json.dumps(value) for value in originals)
    for size in range(1, len(text) + 1):
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert list(iter_values(pieces)) == originals
    print(f"{len(originals)} values survive every chunk size from 1 to {len(text)}")

    assert list(iter_values(['1[2]"3"{}'])) == [1, [2], "3", {}]
    for wrong in ("[1}", "]", '"open', "[1, [2]", "nul ", "[1,]"):
        try:
            list(iter_values([wrong]))
        except StreamError as error:
            print(f"{wrong!r:10} {error}")
        else:
            raise AssertionError(wrong)
    try:
        JsonSplitter(max_length=8).feed("[" + "1," * 10)
    except StreamError as error:
        assert error.offset == 8
