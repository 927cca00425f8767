"""Route URLs to handlers and build the same URLs back from their parts.

A pattern such as ``/users/<int:id>/files/<path:name>`` serves two purposes: it
recognises addresses and it builds them.  Having both in one place means that a link
can never drift apart from its route.  The law that ties them together,
``match(build(values)) == values``, is checked at the end.

Patterns are tried in the order of how specific they are, not of how they were added:
``/users/new`` wins against ``/users/<name>`` wherever it was written down.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode


@dataclass(frozen=True)
class Converter:
    """How one kind of placeholder looks in a URL and in Python."""

    regex: str
    to_python: Callable[[str], Any]
    to_text: Callable[[Any], str]
    rank: int  # specific kinds have a low rank


CONVERTERS = {
    "int": Converter(r"-?\d+", int, lambda value: str(int(value)), 1),
    "slug": Converter(r"[a-z0-9]+(?:-[a-z0-9]+)*", str, str, 2),
    "str": Converter(r"[^/]+", unquote, lambda value: quote(value, safe=""), 3),
    "path": Converter(r".+", unquote, lambda value: quote(value, safe="/"), 4),
}
_PLACEHOLDER = re.compile(r"<(?:(\w+):)?([a-z_]\w*)>")


class RouteError(LookupError):
    """A URL without a route, or values that do not fit the pattern."""


class Pattern:
    """One URL pattern.

    >>> Pattern("/posts/<int:year>/<slug:title>").match("/posts/2024/on-snow")
    {'year': 2024, 'title': 'on-snow'}
    """

    def __init__(self, text: str) -> None:
        if not text.startswith("/"):
            raise ValueError(f"a pattern starts with a slash: {text!r}")
        self.text = text
        self._parts: list[str | tuple[str, Converter]] = []
        regex, position, names = "", 0, set()
        for mark in _PLACEHOLDER.finditer(text):
            kind, name = mark[1] or "str", mark[2]
            if kind not in CONVERTERS:
                raise ValueError(f"unknown kind of placeholder {kind!r}")
            if name in names:
                raise ValueError(f"placeholder {name!r} occurs twice")
            names.add(name)
            literal = text[position : mark.start()]
            self._parts += [literal, (name, CONVERTERS[kind])]
            regex += re.escape(literal) + f"(?P<{name}>{CONVERTERS[kind].regex})"
            position = mark.end()
        self._parts.append(text[position:])
        if any(isinstance(part, str) and set(part) & set("<>") for part in self._parts):
            raise ValueError(f"malformed placeholder in {text!r}")
        self._regex = re.compile(regex + re.escape(text[position:]))

    @property
    def specificity(self) -> tuple[int, int]:
        """Sort key: precise placeholders first, then long fixed texts."""
        ranks = sum(10 ** part[1].rank for part in self._parts if not isinstance(part, str))
        return ranks, -sum(len(part) for part in self._parts if isinstance(part, str))

    def match(self, path: str) -> dict[str, Any] | None:
        found = self._regex.fullmatch(path)
        if found is None:
            return None
        converters = dict(part for part in self._parts if not isinstance(part, str))
        return {name: converters[name].to_python(text) for name, text in found.groupdict().items()}

    def build(self, values: dict[str, Any]) -> str:
        """Fill in the placeholders; values left over become the query string."""
        rest = dict(values)
        path = ""
        for part in self._parts:
            if isinstance(part, str):
                path += part
                continue
            name, converter = part
            if name not in rest:
                raise RouteError(f"{self.text}: no value for {name!r}")
            piece = converter.to_text(rest.pop(name))
            if not re.fullmatch(converter.regex, piece):
                raise RouteError(f"{self.text}: {piece!r} does not fit {name!r}")
            path += piece
        return path + ("?" + urlencode(rest, doseq=True) if rest else "")


class Router:
    """Maps URLs to names and names to URLs."""

    def __init__(self) -> None:
        self._routes: list[tuple[Pattern, str]] = []

    def add(self, name: str, text: str) -> None:
        if any(name == known for _, known in self._routes):
            raise ValueError(f"route {name!r} exists already")
        self._routes.append((Pattern(text), name))
        self._routes.sort(key=lambda route: route[0].specificity)

    def resolve(self, path: str) -> tuple[str, dict[str, Any]]:
        for pattern, name in self._routes:
            values = pattern.match(path)
            if values is not None:
                return name, values
        raise RouteError(f"no route for {path}")

    def url_for(self, name: str, /, **values: Any) -> str:
        for pattern, known in self._routes:
            if known == name:
                return pattern.build(values)
        raise RouteError(f"no route named {name!r}")


if __name__ == "__main__":
    router = Router()
    router.add("file", "/users/<int:id>/files/<path:name>")
    router.add("user", "/users/<name>")
    router.add("new", "/users/new")
    router.add("numbered", "/users/<int:id>")

    for path in ("/users/new", "/users/42", "/users/ren%C3%A9e", "/users/7/files/a/b%20c.txt"):
        print(f"{path:28} -> {router.resolve(path)}")
    assert router.resolve("/users/new") == ("new", {})
    assert router.resolve("/users/42") == ("numbered", {"id": 42})

    round_trips = [
        ("file", {"id": -3, "name": "my docs/50%/why?.txt"}),
        ("user", {"name": "a/b c&d"}),
        ("numbered", {"id": 0}),
    ]
    for name, values in round_trips:
        assert router.resolve(router.url_for(name, **values)) == (name, values)
    assert router.url_for("new", tag=["x", "y z"]) == "/users/new?tag=x&tag=y+z"

    for route, values in (("user", {}), ("user", {"name": ""}), ("gone", {})):
        try:
            router.url_for(route, **values)
        except RouteError as error:
            print("refused:", error)
        else:
            raise AssertionError("an error was expected")
