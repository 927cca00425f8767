"""Turn plain functions into a command line with subcommands.

The signature of a function already says what its command needs: parameters without a
default are positional, those with a default are options, a ``bool`` is a switch, and
the annotation says how to convert the text.  The first line of the docstring is the
help text.  So the command line cannot disagree with the code behind it.

Printing and exit codes stay in one place, which makes commands easy to test: they
return text, or raise ``UserError`` for a problem that deserves no traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import typing
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

Command = Callable[..., str]


class UserError(Exception):
    """A mistake of the user; its text is shown without a traceback."""


class App:
    """A collection of commands."""

    def __init__(self, name: str, description: str) -> None:
        self._parser = argparse.ArgumentParser(prog=name, description=description)
        self._commands = self._parser.add_subparsers(metavar="COMMAND", required=True)

    def command(self, function: Command) -> Command:
        """Register a function as a command; usable as a decorator."""
        name = function.__name__.replace("_", "-")
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        parser = self._commands.add_parser(name, help=summary, description=summary)
        hints = typing.get_type_hints(function)
        for parameter in inspect.signature(function).parameters.values():
            self._add_argument(parser, parameter, hints.get(parameter.name, str))
        parser.set_defaults(_function=function)
        return function

    @staticmethod
    def _add_argument(
        parser: argparse.ArgumentParser, parameter: inspect.Parameter, hint: Any
    ) -> None:
        flag = "--" + parameter.name.replace("_", "-")
        if hint is bool:
            if parameter.default is not False:
                raise TypeError(f"switch {parameter.name!r} must be False by default")
            parser.add_argument(flag, action="store_true", dest=parameter.name)
            return
        options: dict[str, Any] = {"type": hint}
        if isinstance(hint, type) and issubclass(hint, Enum):
            options["type"] = _enum_reader(hint)
            options["metavar"] = "{" + ",".join(member.value for member in hint) + "}"
        elif typing.get_origin(hint) is list:
            options.update(type=typing.get_args(hint)[0], nargs="+")
        if parameter.default is inspect.Parameter.empty:
            parser.add_argument(parameter.name, **options)
        else:
            options.update(default=parameter.default, dest=parameter.name)
            parser.add_argument(flag, help=f"default: {parameter.default}", **options)

    def run(self, words: Sequence[str]) -> int:
        """Run the command given by ``words`` and return an exit code."""
        try:
            values = vars(self._parser.parse_args(words))
        except SystemExit as stop:  # argparse has printed help or a message already
            return int(stop.code or 0)
        function = values.pop("_function")
        try:
            print(function(**values))
        except UserError as error:
            print(f"{self._parser.prog}: {error}")
            return 1
        return 0


def _enum_reader(kind: type[Enum]) -> Callable[[str], Enum]:
    def read(text: str) -> Enum:
        try:
            return kind(text)
        except ValueError:
            names = ", ".join(str(member.value) for member in kind)
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {names}") from None

    return read


class Unit(Enum):
    METRES = "m"
    FEET = "ft"


app = App("trail", "Plan a hike.")


@app.command
def distance(legs: list[float], unit: Unit = Unit.METRES, round_trip: bool = False) -> str:
    """Add up the legs of a hike."""
    total = sum(legs) * (2 if round_trip else 1)
    return f"{total:g} {unit.value}"


@app.command
def duration(metres: float, climb: float = 0.0, speed: float = 4000.0) -> str:
    """Estimate the walking time.

    An hour per 4000 metres, and another one per 300 metres of climb.
    """
    if metres < 0 or speed <= 0:
        raise UserError("distances and speeds must be positive")
    minutes = round(60 * (metres / speed + climb / 300))
    return f"{minutes // 60} h {minutes % 60:02} min"


def capture(*words: str) -> tuple[int, str]:
    """Run a command and return its exit code and everything it printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = app.run(words)
    return code, output.getvalue().rstrip()


if __name__ == "__main__":
    checks = [
        (("distance", "300", "450.5"), 0, "750.5 m"),
        (("distance", "3", "4", "--unit", "ft", "--round-trip"), 0, "14 ft"),
        (("duration", "9000", "--climb", "400"), 0, "3 h 35 min"),
        (("duration", "-5"), 1, "trail: distances and speeds must be positive"),
    ]
    for words, code, text in checks:
        assert capture(*words) == (code, text), capture(*words)
        print("$ trail", *words)
        print(text)

    for words in (["distance", "x"], ["distance", "1", "--unit", "mile"], ["swim"], []):
        code, text = capture(*words)
        assert code == 2, words
        print(text.splitlines()[-1])
    code, text = capture("--help")
    assert code == 0 and "Estimate the walking time." in text and "300 metres" not in text
    assert distance([1, 2]) == "3 m", "commands are still ordinary functions"

    def shout(loud: bool = True) -> str:
        return "!" if loud else ""

    try:
        app.command(shout)
    except TypeError as error:
        print("refused:", error)
