"""Numbers as the page writes them."""

from __future__ import annotations


def short(value: float) -> str:
    """A count: `1.2M`."""
    for limit, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:,.1f}{suffix}"
    return f"{value:,.0f}"


def size(value: float) -> str:
    """Bytes: `1.2 MB`."""
    for limit, suffix in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= limit:
            return f"{value / limit:,.1f} {suffix}"
    return f"{value:,.0f} B"
