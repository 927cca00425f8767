"""Typed settings from several layers, with the origin of every value.

A program takes its settings from defaults, a file, the environment and the command
line; later layers win.  When something goes wrong, the first question is "where does
this value come from?".  So each value here remembers its layer, errors name it, and
all the mistakes are reported together rather than one per start.

The wanted settings are an ordinary dataclass.  Field names, types and defaults are
taken from it, and the result is an instance of it.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

S = TypeVar("S")


class ConfigError(ValueError):
    """All the problems that were found, one per line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_bool(text: str) -> bool:
    words = {"yes": True, "on": True, "true": True, "1": True}
    words |= {"no": False, "off": False, "false": False, "0": False}
    if text.lower() not in words:
        raise ValueError("expected yes or no")
    return words[text.lower()]


def read_duration(text: str) -> timedelta:
    """Read a number with a unit.

    >>> read_duration("1.5h")
    datetime.timedelta(seconds=5400)
    """
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    if text[-1:] not in units:
        raise ValueError("expected a number with a unit s, m, h or d")
    return timedelta(**{units[text[-1]]: float(text[:-1])})


READERS: dict[type, Callable[[str], Any]] = {
    str: str, int: int, float: float, bool: read_bool, timedelta: read_duration,
}


def convert(text: str, hint: Any) -> Any:
    """Convert text to the type of a field; lists are separated by commas."""
    if typing.get_origin(hint) is list:
        (inner,) = typing.get_args(hint)
        return [convert(part.strip(), inner) for part in text.split(",") if part.strip()]
    return READERS[hint](text)


@dataclass
class Loaded(Generic[S]):
    """The settings and, for each of them, the name of its layer."""

    settings: S
    origins: dict[str, str] = field(default_factory=dict)

    def explain(self) -> str:
        secret = {f.name for f in dataclasses.fields(self.settings) if f.metadata.get("secret")}
        return "\n".join(
            f"{name} = {'***' if name in secret else getattr(self.settings, name)!r}  ({origin})"
            for name, origin in self.origins.items()
        )


def load(shape: type[S], layers: Mapping[str, Mapping[str, str]]) -> Loaded[S]:
    """Build an instance of ``shape`` from layers, given from weakest to strongest."""
    hints = typing.get_type_hints(shape)
    fields = {f.name: f for f in dataclasses.fields(shape)}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    problems: list[str] = []
    for layer, entries in layers.items():
        for name in sorted(entries.keys() - fields.keys()):
            problems.append(f"{layer}: unknown setting {name!r}")
    for name, info in fields.items():
        origin = next((n for n in reversed(list(layers)) if name in layers[n]), "default")
        origins[name] = origin
        if origin != "default":
            try:
                values[name] = convert(layers[origin][name], hints[name])
            except ValueError as error:
                problems.append(f"{origin}: {name}: {error}")
                continue
            check = info.metadata.get("check")
            if check and not check[0](values[name]):
                problems.append(f"{origin}: {name} {check[1]}")
        elif info.default is info.default_factory is dataclasses.MISSING:
            problems.append(f"{name} is required")
    if problems:
        raise ConfigError(problems)
    return Loaded(shape(**values), origins)


def from_environment(environment: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Pick the variables with a prefix: ``APP_PORT`` becomes ``port``."""
    return {
        name[len(prefix) :].lower(): value
        for name, value in environment.items()
        if name.startswith(prefix)
    }


@dataclass(frozen=True)
class Settings:
    folder: str
    password: str = field(default="", metadata={"secret": True})
    port: int = field(
        default=8000, metadata={"check": (lambda n: 0 < n < 65536, "must be a port number")}
    )
    debug: bool = False
    timeout: timedelta = timedelta(seconds=30)
    plugins: list[str] = field(default_factory=list)


if __name__ == "__main__":
    environment = {"HOME": "/root", "APP_DEBUG": "yes", "APP_PORT": "9000", "APP_PASSWORD": "x"}
    layers = {
        "file": {"folder": "/srv", "port": "7000", "timeout": "2m", "plugins": "a, b,"},
        "environment": from_environment(environment, "APP_"),
        "command line": {"port": "9100"},
    }
    loaded = load(Settings, layers)
    assert loaded.settings == Settings("/srv", "x", 9100, True, timedelta(minutes=2), ["a", "b"])
    print(loaded.explain())
    assert loaded.origins["port"] == "command line" and "'x'" not in loaded.explain()

    broken = {"file": {"prot": "1", "debug": "maybe"}, "command line": {"port": "99999"}}
    try:
        load(Settings, broken)
    except ConfigError as error:
        print(error)
        assert len(error.problems) == 4 and "folder is required" in error.problems
    else:
        raise AssertionError("four mistakes went unnoticed")
