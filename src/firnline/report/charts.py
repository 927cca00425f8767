"""Charts as SVG text: no script, so that they print and open anywhere.

Colours are CSS variables (`--c1` …), so that one chart serves light, dark and paper. Every mark
has the class `mark` and a `<title>` that a pointer or a screen reader finds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]

# Pixels that a dot and the room around it take.
_DOT = 9


@dataclass(frozen=True)
class Series:
    """A named line, or dots. `color` is 1 to 8; points that are not finite are left out."""

    name: str
    points: Sequence[Point]
    color: int = 1
    dashed: bool = False
    """Sets off what is not on the main path."""
    dots: bool = False
    """Points that no line joins; those that would touch are left out."""
    band: Sequence[tuple[float, float, float]] = ()
    """x, least and greatest value there: a shade behind the line, cut where it leaves the chart."""


@dataclass(frozen=True)
class Event:
    """Something that happened at x: a mark at the upper edge of a chart, with its text."""

    x: float
    text: str


@dataclass(frozen=True)
class Interval:
    """A value with its interval, one row of a dot plot."""

    label: str
    value: float
    low: float
    high: float
    color: int = 1


def lines(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    boundaries: Sequence[tuple[float, str]] = (),
    events: Sequence[Event] = (),
    event_name: str = "event",
    dots_name: str = "dots",
    diagonal: bool = False,
    y_from_zero: bool = False,
    height: int = 260,
) -> str:
    """Lines over a common axis; `boundaries` are named vertical rules, `diagonal` draws chance.

    The axes hold the lines and dots; bands and `events` do not stretch them. `event_name` and
    `dots_name` say what all events and all dots are.
    """
    drawn = [(one, [p for p in one.points if math.isfinite(p[0] + p[1])]) for one in series]
    points = [point for _, own in drawn for point in own]
    if not points:
        return _nothing(title)
    x_ticks = _ticks(min(p[0] for p in points), max(p[0] for p in points))
    low = 0.0 if y_from_zero else min(p[1] for p in points)
    y_ticks = _ticks(low, max(p[1] for p in points))
    box = _Box(640, height, left=58, right=16, top=26, bottom=44)
    box.scale(x_ticks, y_ticks)
    names, rows = _placed(boundaries, box)
    if rows > 1:
        more = 14 * (rows - 1)
        box = _Box(640, height + more, left=58, right=16, top=26 + more, bottom=44)
        box.scale(x_ticks, y_ticks)
    parts = [box.axes(x_ticks, y_ticks, x_label, y_label), *names]
    for x, _ in boundaries:
        parts.append(
            f'<line class="boundary" x1="{box.x(x):.1f}" x2="{box.x(x):.1f}" y1="{box.top}"'
            f' y2="{box.bottom:.1f}"/>'
        )
    if diagonal:
        parts.append(
            f'<line class="boundary" x1="{box.x(0):.1f}" y1="{box.y(0):.1f}"'
            f' x2="{box.x(1):.1f}" y2="{box.y(1):.1f}"/>'
        )
    parts += [_shade(one, box) for one in series if one.band]
    parts += [_curve(one, own, box) for one, own in sorted(drawn, key=lambda d: d[0].dots) if own]
    parts += _events(events, box)
    keys = [
        (one.name, f"--c{one.color}", "dashed" if one.dashed else "")
        for one, own in drawn
        if own and not one.dots
    ]
    if any(own and one.dots for one, own in drawn):
        keys.append((dots_name, "--soft", "dots"))
    if events:
        keys.append((event_name, "--bad", "event"))
    return _figure(title, box, parts) + _keys(keys)


def _placed(boundaries: Sequence[tuple[float, str]], box: _Box) -> tuple[list[str], int]:
    """Names of boundaries above the chart, in as many rows as it takes to keep them apart."""
    ends: list[float] = []  # of the last name in each row, the lowest row first
    texts = []
    for x, name in sorted(boundaries):
        width = 7 * len(name)
        start = min(box.x(x) + 4, box.width - width - 2)
        row = next((n for n, end in enumerate(ends) if end + 8 <= start), len(ends))
        ends[row : row + 1] = [start + width]
        texts.append((start, row, name))
    lowest = box.top - 8 + 14 * (max(len(ends), 1) - 1)
    return [
        f'<text class="note" x="{start:.1f}" y="{lowest - 14 * row}">{escape(name)}</text>'
        for start, row, name in texts
    ], len(ends)


def _curve(one: Series, points: Sequence[Point], box: _Box) -> str:
    title = f"<title>{escape(one.name)}</title>"
    style = f'style="stroke:var(--c{one.color})"'
    if one.dots or len(points) == 1:
        apart = _apart(points, box)
        path = "".join(f"M{box.x(x):.1f},{box.y(y):.1f}h0" for x, y in apart)
        return (
            f'<path class="halo" d="{path}"/>'
            f'<path class="mark dots" d="{path}" {style}>{title}</path>'
        )
    path = "M" + "L".join(f"{box.x(x):.1f},{box.y(y):.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if one.dashed else ""
    return f'<path class="mark line" d="{path}" {style}{dash}>{title}</path>'


def _apart(points: Sequence[Point], box: _Box) -> list[Point]:
    """The last point and those before it that do not touch one another, side by side."""
    kept: list[Point] = []
    for point in reversed(points):
        if not kept or box.x(kept[-1][0]) - box.x(point[0]) >= _DOT:
            kept.append(point)
    return kept[::-1]


def _shade(one: Series, box: _Box) -> str:
    def inside(value: float) -> float:
        return min(max(box.y(value), box.top), box.bottom)

    held = [(x, low, high) for x, low, high in one.band if math.isfinite(x + low + high)]
    upper = [f"{box.x(x):.1f},{inside(high):.1f}" for x, _, high in held]
    lower = [f"{box.x(x):.1f},{inside(low):.1f}" for x, low, _ in reversed(held)]
    path = "M" + "L".join(upper + lower) + "Z" if held else ""
    return f'<path class="band" d="{path}" style="fill:var(--c{one.color})"/>'


def _events(events: Sequence[Event], box: _Box) -> list[str]:
    """One mark for all events that fall on the same pixel."""
    by_place: dict[int, list[str]] = {}
    for event in events:
        by_place.setdefault(round(box.x(event.x)), []).append(event.text)
    marks = []
    for x, texts in sorted(by_place.items()):
        more = f", and {len(texts) - 1:,} more here" if len(texts) > 1 else ""
        marks.append(
            f'<path class="mark event" d="M{x},{box.top}l-4,-6h8z">'
            f"<title>{escape(texts[0])}{more}</title></path>"
        )
    return marks


def histogram(
    edges: Sequence[float],
    layers: Sequence[tuple[str, Sequence[float]]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    height: int = 220,
) -> str:
    """Bars over bins; later layers are drawn over earlier ones, each to its own height."""
    top = max((value for _, counts in layers for value in counts), default=0)
    if not top:
        return _nothing(title)
    box = _Box(640, height, left=58, right=16, top=16, bottom=44)
    y_ticks = _ticks(0, top)
    x_ticks = _ticks(edges[0], edges[-1])
    box.scale(x_ticks, y_ticks)
    parts = [box.axes(x_ticks, y_ticks, x_label, y_label)]
    for color, (name, counts) in enumerate(layers, 1):
        for start, stop, value in zip(edges, edges[1:], counts, strict=False):
            if value:
                parts.append(
                    f'<rect class="mark" x="{box.x(start) + 1:.1f}" y="{box.y(value):.1f}"'
                    f' width="{max(box.x(stop) - box.x(start) - 2, 1):.1f}"'
                    f' height="{box.bottom - box.y(value):.1f}" style="fill:var(--c{color})">'
                    f"<title>{escape(name)} {start:.2f} to {stop:.2f}: {value:,.4g}</title></rect>"
                )
    return _figure(title, box, parts) + legend([(name, n) for n, (name, _) in enumerate(layers, 1)])


def shares(rows: Sequence[tuple[str, dict[str, float]]], *, title: str, keys: Sequence[str]) -> str:
    """Stacked bars of shares, one row each; `keys` (at most 8) fix colours, the rest is grey."""
    rows = [(label, parts) for label, parts in rows if sum(parts.values()) > 0]
    if not rows:
        return _nothing(title)
    box = _Box(640, 34 * len(rows) + 12, left=132, right=16, top=6, bottom=6)
    marks = []
    for number, (label, parts) in enumerate(rows):
        y = box.top + 34 * number
        marks.append(f'<text class="label" x="{box.left - 8}" y="{y + 19}">{escape(label)}</text>')
        total = sum(parts.values())
        known = [(key, parts.get(key, 0.0), n) for n, key in enumerate(keys, 1)]
        rest = total - sum(value for _, value, _ in known)
        x = float(box.left)
        for key, value, color in [*known, ("other", rest, 0)]:
            width = (box.right - box.left) * value / total
            if width < 0.2:
                continue
            marks.append(
                f'<rect class="mark" x="{x:.1f}" y="{y + 4}" width="{max(width - 1, 0.5):.1f}"'
                f' height="22" style="fill:var(--c{color})">'
                f"<title>{escape(label)}: {escape(key)} {value / total:.1%}</title></rect>"
            )
            if width > 44:
                marks.append(
                    f'<text class="inside" x="{x + width / 2:.1f}" y="{y + 19}">'
                    f"{value / total:.0%}</text>"
                )
            x += width
    names = [(key, n) for n, key in enumerate(keys, 1)]
    return _figure(title, box, marks) + legend([*names, ("other", 0)])


def dots(rows: Sequence[Interval], *, title: str, x_label: str) -> str:
    """One row for each value with its interval as a whisker."""
    if not rows:
        return _nothing(title)
    box = _Box(640, 28 * len(rows) + 56, left=132, right=24, top=8, bottom=44)
    x_ticks = _ticks(min(row.low for row in rows), max(row.high for row in rows))
    box.scale(x_ticks, [0.0, 1.0])
    marks = [box.axes(x_ticks, [], x_label, "")]
    for number, row in enumerate(rows):
        y = box.top + 28 * number + 14
        marks.append(
            f'<text class="label" x="{box.left - 8}" y="{y + 4}">{escape(row.label)}</text>'
            f'<line class="mark whisker" x1="{box.x(row.low):.1f}" x2="{box.x(row.high):.1f}"'
            f' y1="{y}" y2="{y}" style="stroke:var(--c{row.color})"/>'
            f'<circle class="mark" cx="{box.x(row.value):.1f}" cy="{y}" r="5"'
            f' style="fill:var(--c{row.color})"><title>{escape(row.label)}: {row.value:.4g}'
            f" [{row.low:.4g}, {row.high:.4g}]</title></circle>"
        )
    return _figure(title, box, marks)


def legend(names: Sequence[tuple[str, int]]) -> str:
    """Colour keys under a chart; nothing where there is only one series."""
    return _keys([(name, f"--c{color}", "") for name, color in names])


def _keys(names: Sequence[tuple[str, str, str]]) -> str:
    """Keys of a name, a colour variable and a class that gives the shape."""
    if len(names) < 2:
        return ""
    items = "".join(
        f'<span><i class="{kind}" style="--k:var({color})"></i>{escape(name)}</span>'
        for name, color, kind in names
    )
    return f'<div class="legend">{items}</div>'


class _Box:
    """The plotting area of a chart and its scales from values to pixels."""

    def __init__(
        self, width: int, height: int, *, left: int, right: int, top: int, bottom: int
    ) -> None:
        self.width, self.height = width, height
        self.left, self.right, self.top = left, width - right, top
        self.bottom = float(height - bottom)
        self._x = self._y = (0.0, 1.0)

    def scale(self, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> None:
        self._x = (x_ticks[0], x_ticks[-1])
        self._y = (y_ticks[0], y_ticks[-1])

    def x(self, value: float) -> float:
        low, high = self._x
        return self.left + (self.right - self.left) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self._y
        return self.bottom - (self.bottom - self.top) * (value - low) / (high - low)

    def axes(
        self, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str, y_label: str
    ) -> str:
        parts = []
        for value in y_ticks:
            y = self.y(value)
            parts.append(
                f'<line class="grid" x1="{self.left}" x2="{self.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text class="tick" x="{self.left - 6}" y="{y + 4:.1f}" text-anchor="end">'
                f"{_short(value)}</text>"
            )
        for value in x_ticks:
            parts.append(
                f'<text class="tick" x="{self.x(value):.1f}" y="{self.bottom + 16:.1f}"'
                f' text-anchor="middle">{_short(value)}</text>'
            )
        parts.append(
            f'<line class="axis" x1="{self.left}" x2="{self.right}" y1="{self.bottom:.1f}"'
            f' y2="{self.bottom:.1f}"/>'
            f'<text class="tick" x="{(self.left + self.right) / 2:.0f}" y="{self.height - 8}"'
            f' text-anchor="middle">{escape(x_label)}</text>'
        )
        if y_label:
            middle = (self.top + self.bottom) / 2
            parts.append(
                f'<text class="tick" text-anchor="middle" transform="translate(13 {middle:.0f})'
                f' rotate(-90)">{escape(y_label)}</text>'
            )
        return "".join(parts)


def _figure(title: str, box: _Box, parts: Sequence[str]) -> str:
    return (
        f'<div class="plot"><svg class="chart" viewBox="0 0 {box.width} {box.height}" role="img"'
        f' aria-label="{escape(title)}">{"".join(parts)}</svg></div>'
    )


def _nothing(title: str) -> str:
    return f'<p class="empty">{escape(title)}: nothing was measured.</p>'


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round values that hold the range."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * number for number in range(first, last + 1)]


def _short(value: float) -> str:
    size = abs(value)
    for limit, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size >= limit:
            return f"{value / limit:g}{suffix}"
    if 0 < size < 1e-3:
        number, power = f"{value:.2e}".split("e")
        return f"{float(number):g}e{int(power)}"
    return f"{value:.4g}"
