"""Print tables for people: alignment, units and too narrow terminals.

Command-line reports are read by eye, so numbers should line up at their decimal point,
text should start at the left, and a line must not wrap in the middle.  When the
columns do not fit, the widest text column gives way first, and shortened cells end
with an ellipsis.  Widths count columns on the screen, not characters: an East Asian
letter takes two, a combining accent none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any


def display_width(text: str) -> int:
    """Return the number of terminal columns that ``text`` takes.

    >>> display_width("abc"), display_width("\u6771\u4eac"), display_width("e\u0301")
    (3, 4, 1)
    """
    width = 0
    for character in text:
        if unicodedata.combining(character) or unicodedata.category(character) == "Cf":
            continue
        width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return width


def fit(text: str, width: int, ellipsis: str = "~") -> str:
    """Shorten ``text`` to at most ``width`` columns.

    >>> fit("mountain", 5), fit("hill", 5)
    ('moun~', 'hill')
    """
    if display_width(text) <= width:
        return text
    kept = ""
    for character in text:
        if display_width(kept + character) > width - len(ellipsis):
            break
        kept += character
    return kept + ellipsis if width >= len(ellipsis) else ""


def pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - display_width(text))
    return space + text if right else text + space


def bytes_in_words(size: float) -> str:
    """Format a size with a binary unit.

    >>> bytes_in_words(999), bytes_in_words(1536), bytes_in_words(1024**2 - 1)
    ('999 B', '1.5 KiB', '1.0 MiB')
    """
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        size /= 1024
        if round(size, 1) < 1024 or unit == "TiB":
            return f"{size:.1f} {unit}"
    raise AssertionError("unreachable")


@dataclass(frozen=True)
class Column:
    """How one column is shown; columns with ``right`` are never shortened."""

    title: str
    show: Callable[[Any], str] = str
    right: bool = False
    minimum: int = 4


def decimals(title: str, places: int = 2) -> Column:
    return Column(title, lambda value: f"{value:,.{places}f}", right=True)


class Table:
    """Collects rows and renders them."""

    def __init__(self, *columns: Column) -> None:
        if not columns:
            raise ValueError("a table has at least one column")
        self.columns = columns
        self._rows: list[list[str]] = []

    def add(self, *values: Any) -> None:
        """Add a row; ``None`` is shown as a dash."""
        if len(values) != len(self.columns):
            raise ValueError(f"expected {len(self.columns)} values, got {len(values)}")
        cells = (
            "-" if value is None else column.show(value)
            for column, value in zip(self.columns, values)
        )
        # White space inside a cell would destroy the layout.
        self._rows.append([" ".join(cell.split()) for cell in cells])

    def _widths(self, total: int) -> list[int]:
        columns = zip(*([column.title for column in self.columns], *self._rows))
        widths = [max(map(display_width, cells)) for cells in columns]
        excess = sum(widths) + 2 * (len(widths) - 1) - total
        while excess > 0:
            flexible = [
                index
                for index, column in enumerate(self.columns)
                if not column.right and widths[index] > column.minimum
            ]
            if not flexible:
                break  # better a line too long than a table without content
            widest = max(flexible, key=lambda index: widths[index])
            widths[widest] -= 1
            excess -= 1
        return widths

    def render(self, total: int = 80) -> str:
        """Return the table as text that is at most ``total`` columns wide if possible."""
        widths = self._widths(total)
        lines = [self._line([column.title for column in self.columns], widths)]
        lines.append("  ".join("-" * width for width in widths))
        lines += (self._line(row, widths) for row in self._rows)
        return "\n".join(lines)

    def _line(self, cells: Sequence[str], widths: Iterable[int]) -> str:
        parts = [
            pad(fit(cell, width), width, column.right)
            for cell, width, column in zip(cells, widths, self.columns)
        ]
        return "  ".join(parts).rstrip()


if __name__ == "__main__":
    table = Table(
        Column("file"), Column("owner"), Column("size", bytes_in_words, right=True),
        decimals("share %", 1),
    )
    table.add("holiday pictures from the island.zip", "Zo\u00eb", 73_400_320, 92.25)
    table.add("notes\n(old).txt", "\u6771\u4eac office", 1_536, 0.002)
    table.add("empty", None, 0, 0)
    wide, narrow = table.render(), table.render(48)
    print(narrow.encode("ascii", "replace").decode())

    for text, limit in ((wide, 80), (narrow, 48)):
        lines = text.splitlines()
        assert len(lines) == 5 and all(display_width(line) <= limit for line in lines)
        assert {display_width(line) for line in lines if line} == {display_width(lines[1])}
    assert "holiday pictures from the island.zip" in wide
    assert "~" in narrow and "notes (old).txt" in narrow
    assert table.render(5) == table.render(20), "there is a smallest useful width"
    for width in range(12):
        assert display_width(fit("\u6771\u4eac tower", width)) <= width
    try:
        table.add("too", "few")
    except ValueError as error:
        print("refused:", error)
