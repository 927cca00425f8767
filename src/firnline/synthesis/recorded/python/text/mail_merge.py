"""A small template language for form letters, with filters and sections.

Text is copied as it stands, except for these marks:

``{{name}}``            the value of a field, with dots for nested fields
``{{name|upper}}``      the value after one or more filters
``{{#each items}}``     repeats the block up to ``{{/each}}`` for every item
``{{#if name}}``        keeps the block up to ``{{/if}}`` when the field is truthy

Templates are compiled to a tree once and can then be rendered for any number of
recipients.  Unknown fields are an error, not an empty string: a letter that
starts with "Dear ," is worse than no letter at all.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any, Union

Node = Union[str, "Field", "Block"]
_MARK = re.compile(r"\{\{\s*(#each|#if|/each|/if)?\s*([\w.|]*)\s*\}\}")

FILTERS: dict[str, Callable[[Any], Any]] = {
    "upper": lambda value: str(value).upper(),
    "title": lambda value: str(value).title(),
    "money": lambda value: f"{value:,.2f}",
    "count": len,
}


class TemplateError(ValueError):
    """The template text is malformed, or a value it needs is missing."""


class Field:
    """A place where one value is inserted."""

    def __init__(self, source: str) -> None:
        self.name, *self.filters = source.split("|")
        unknown = [name for name in self.filters if name not in FILTERS]
        if not self.name or unknown:
            raise TemplateError(f"bad field {source!r}")

    def value(self, fields: Mapping[str, Any]) -> Any:
        value: Any = fields
        for part in self.name.split("."):
            try:
                value = value[part] if isinstance(value, Mapping) else getattr(value, part)
            except (KeyError, AttributeError):
                raise TemplateError(f"no value for {self.name!r}") from None
        for name in self.filters:
            value = FILTERS[name](value)
        return value


class Block:
    """A repeated or conditional part of the template."""

    def __init__(self, kind: str, source: str) -> None:
        self.kind = kind
        self.field = Field(source) if source else None
        self.body: list[Node] = []

    def render(self, fields: Mapping[str, Any]) -> str:
        if self.field is None:
            return self._render_body(fields)
        value = self.field.value(fields)
        if self.kind == "if":
            return self._render_body(fields) if value else ""
        parts = []
        for number, item in enumerate(value, start=1):
            local = dict(item) if isinstance(item, Mapping) else {}
            scope = ChainMap({"item": item, "number": number}, local, dict(fields))
            parts.append(self._render_body(scope))
        return "".join(parts)

    def _render_body(self, fields: Mapping[str, Any]) -> str:
        parts = []
        for node in self.body:
            if isinstance(node, str):
                parts.append(node)
            elif isinstance(node, Block):
                parts.append(node.render(fields))
            else:
                parts.append(str(node.value(fields)))
        return "".join(parts)


def compile_template(text: str) -> Block:
    """Turn template text into a tree that can be rendered.

    >>> compile_template("Hi {{who|title}}!").render({"who": "ann"})
    'Hi Ann!'
    """
    root = Block("root", "")
    stack, position = [root], 0
    for match in _MARK.finditer(text):
        stack[-1].body.append(text[position : match.start()])
        position = match.end()
        mark, source = match.groups()
        if mark is None:
            stack[-1].body.append(Field(source))
        elif mark.startswith("#"):
            block = Block(mark[1:], source)
            if block.field is None:
                raise TemplateError(f"{mark} needs a field")
            stack[-1].body.append(block)
            stack.append(block)
        elif stack[-1].kind != mark[1:]:
            raise TemplateError(f"{mark} closes nothing at offset {match.start()}")
        else:
            stack.pop()
    if len(stack) > 1:
        raise TemplateError(f"#{stack[-1].kind} is never closed")
    root.body.append(text[position:])
    return root


LETTER = """\
Dear {{person.name|title}},
you ordered {{lines|count}} article(s):
{{#each lines}}  {{number}}. {{what}} at {{price|money}}{{#if gift}} (a gift){{/if}}
{{/each}}Yours, {{shop}}"""

if __name__ == "__main__":
    letter = compile_template(LETTER)
    order = {
        "person": {"name": "mina okafor"},
        "shop": "The Corner Shop",
        "lines": [
            {"what": "teapot", "price": 1234.5, "gift": True},
            {"what": "spoon", "price": 2, "gift": False},
        ],
    }
    print(letter.render(order))
    assert "1. teapot at 1,234.50 (a gift)\n" in letter.render(order)
    assert letter.render(order | {"lines": []}).count("\n") == 2
    for wrong in ("{{#if a}}x", "x{{/each}}", "{{#each a}}{{/if}}", "{{a|nosuch}}", "{{}}"):
        try:
            compile_template(wrong)
        except TemplateError as error:
            print(f"{wrong!r}: {error}")
        else:
            raise AssertionError(wrong)
    try:
        letter.render({"person": {}, "lines": []})
    except TemplateError as error:
        assert "person.name" in str(error)
