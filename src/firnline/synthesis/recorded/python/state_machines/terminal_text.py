"""Interpret terminal control codes with a small state machine.

Programs colour their output with escape sequences and overwrite lines with carriage
returns and backspaces.  A log viewer must understand them to show what a person would
have seen.  Removing them with a regular expression does not work for that, since
progress bars would pile up, and since a sequence may be cut between two reads.

The machine has three states (text, after an escape, inside a sequence) and a screen
of lines on which it writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

ESCAPE = "\x1b"


class State(Enum):
    TEXT = auto()
    ESCAPE = auto()
    SEQUENCE = auto()


@dataclass
class Screen:
    """Lines of cells; each cell is a character and whether it is bold."""

    lines: list[list[tuple[str, bool]]] = field(default_factory=lambda: [[]])
    row: int = 0
    column: int = 0
    bold: bool = False

    def put(self, character: str) -> None:
        line = self.lines[self.row]
        line += [(" ", False)] * (self.column + 1 - len(line))
        line[self.column] = (character, self.bold)
        self.column += 1

    def move(self, rows: int, columns: int) -> None:
        self.row = max(0, self.row + rows)
        self.column = max(0, self.column + columns)
        while len(self.lines) <= self.row:
            self.lines.append([])

    def erase_line(self, mode: int) -> None:
        """Erase to the end (0) or the whole line (2)."""
        start = {0: self.column, 2: 0}.get(mode, 10**6)
        del self.lines[self.row][start:]

    def text(self) -> str:
        return "\n".join("".join(c for c, _ in line).rstrip() for line in self.lines)

    def bold_text(self) -> str:
        return "".join(c for line in self.lines for c, bold in line if bold)


class Terminal:
    """Feeds text to a screen, character by character.

    >>> terminal = Terminal()
    >>> terminal.feed("10%\\r20%\\r30%")
    >>> terminal.screen.text()
    '30%'
    """

    MAX_PARAMETERS = 64  # a longer sequence is noise and is given up

    def __init__(self) -> None:
        self.screen = Screen()
        self.ignored: list[str] = []
        self._state = State.TEXT
        self._parameters = ""
        self._handlers: dict[State, Callable[[str], State]] = {
            State.TEXT: self._in_text,
            State.ESCAPE: self._after_escape,
            State.SEQUENCE: self._in_sequence,
        }

    def feed(self, text: str) -> None:
        for character in text:
            self._state = self._handlers[self._state](character)

    def _in_text(self, character: str) -> State:
        match character:
            case "\x1b":
                return State.ESCAPE
            case "\n":
                self.screen.move(1, -self.screen.column)
            case "\r":
                self.screen.column = 0
            case "\b":
                self.screen.move(0, -1)
            case "\t":
                self.screen.move(0, 8 - self.screen.column % 8)
            case _ if character.isprintable():
                self.screen.put(character)
        return State.TEXT

    def _after_escape(self, character: str) -> State:
        if character == "[":
            self._parameters = ""
            return State.SEQUENCE
        self.ignored.append(character)
        return State.TEXT

    def _in_sequence(self, character: str) -> State:
        if character == ESCAPE:
            return State.ESCAPE  # a new sequence interrupts the old one
        if "\x20" <= character <= "\x3f" and len(self._parameters) < self.MAX_PARAMETERS:
            self._parameters += character
            return State.SEQUENCE
        self._execute(character)
        return State.TEXT

    def _execute(self, command: str) -> None:
        words = self._parameters.split(";")
        if not all(word == "" or word.isdecimal() for word in words):
            self.ignored.append(self._parameters + command)
            return
        numbers = [int(word or 0) for word in words]
        count = min(max(1, numbers[0]), 1000)
        match command:
            case "A" | "B":
                self.screen.move(-count if command == "A" else count, 0)
            case "C" | "D":
                self.screen.move(0, count if command == "C" else -count)
            case "K":
                self.screen.erase_line(numbers[0])
            case "m":
                for number in numbers:
                    if number in (0, 1, 22):
                        self.screen.bold = number == 1
            case _:
                self.ignored.append(self._parameters + command)


if __name__ == "__main__":
    session = (
        "fetching  0%\rfetching 50%\rfetching done\n"
        f"{ESCAPE}[1mwarning{ESCAPE}[0m: disk is allmost\b\b\b\b\bm{ESCAPE}[Kost full\n"
        f"step 1\nstep 2{ESCAPE}[A ok{ESCAPE}[B{ESCAPE}[32m!{ESCAPE}[?25h"
    )
    whole = Terminal()
    whole.feed(session)
    print(whole.screen.text())
    assert whole.screen.text().splitlines()[0] == "fetching done"
    assert whole.screen.text().splitlines()[2:] == ["step 1 ok", "step 2   !"]
    assert whole.screen.bold_text() == "warning"
    for cut in range(len(session)):
        pieces = Terminal()
        pieces.feed(session[:cut])
        pieces.feed(session[cut:])
        assert pieces.screen == whole.screen and pieces.ignored == ["?25h"]

    noise = Terminal()
    noise.feed(f"{ESCAPE}[" + "9" * 500 + f"m ok {ESCAPE}[1;{ESCAPE}[Dx")
    assert noise.screen.text().endswith("okx")
