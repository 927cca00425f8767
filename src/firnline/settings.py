"""Settings from people: `key=value` lines and pydantic's complaints, as one error each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ValidationError

from firnline.errors import FirnlineError

Config = TypeVar("Config", bound=BaseModel)

_BOOL = "tag:yaml.org,2002:bool"


class _Yaml(yaml.SafeLoader):
    """YAML 1.1 but for its booleans, which are those of 1.2: `off` is a key and a value here."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own attribute)
        first: [resolver for resolver in resolvers if resolver[0] != _BOOL or first in "tTfF"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_SUFFIXES = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


def read_count(value: Any) -> Any:
    """`12.5B` is 12,500,000,000 (K, M, B, T); anything else passes unchanged."""
    if isinstance(value, str) and (match := re.fullmatch(r"([\d._]+)([kmbt])", value.lower())):
        exact = float(match[1]) * _SUFFIXES[match[2]]
        return round(exact) if abs(exact - round(exact)) < 1e-6 * exact else value
    return value


Count = Annotated[int, BeforeValidator(read_count)]
"""A whole number that people may write as `500B`."""


def read_yaml(text: str) -> Any:
    """YAML as plain values; of booleans only `true` and `false`. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Yaml)


def parse_settings(lines: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """`a.b=3` lines as nested mappings; values are YAML. Every malformed line is reported.

    `option` is what the lines were given with.
    """
    tree: dict[str, Any] = {}
    mistakes = []
    for line in lines:
        key, equals, text = line.partition("=")
        try:
            value = read_yaml(text)
        except yaml.YAMLError:
            equals = ""
        if not equals or not key.strip():
            mistakes.append(f"{line!r} is not key=value")
            continue
        *parents, last = key.strip().split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                mistakes.append(f"{key}: {parent} has a value of its own")
                break
        else:
            place[last] = value
    if mistakes:
        raise FirnlineError(f"{option}: {'; '.join(mistakes)}", mend=f"write {option} key=value")
    return tree


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`: mappings are merged key by key, anything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def complaints(error: ValidationError, prefix: str = "") -> list[str]:
    """One line for each mistake: `key: what is wrong, got VALUE`."""
    lines = []
    for item in error.errors(include_url=False):
        # A tagged union puts the tag into the location; people did not write it.
        place = ".".join(str(part) for part in item["loc"])
        key = f"{prefix}.{place}".strip(".")
        message = item["msg"].removeprefix("Value error, ")
        got = item.get("input")
        shown = f", got {got!r}" if isinstance(got, str | int | float | bool) else ""
        if item["type"] == "extra_forbidden":
            message, shown = "no such key", ""
        lines.append(f"{key}: {message}{shown}" if key else message + shown)
    return lines


def make(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """A config from plain values; raises FirnlineError with every mistake at once."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = complaints(error)
        if len(lines) == 1:
            raise FirnlineError(lines[0], mend="correct the setting") from None
        raise FirnlineError(
            f"{len(lines)} mistakes in the settings", mend="correct each", details=tuple(lines)
        ) from None
