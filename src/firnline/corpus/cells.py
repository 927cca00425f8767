"""Values of a table's cells as Firnline has them."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from firnline.corpus.license_names import from_name
from firnline.licenses import canonical

_NOTHING_SAID = frozenset({"noassertion", "none", "other", "unknown", "null", "n/a"})
"""What tables write where no license was found (SPDX 2.3, 7.15, and GitHub's interface)."""


def values(column: pa.Array, ours: str) -> list[Any]:
    """Python values; content as bytes, because a writer may not have checked that it is UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("s", column.type.tz), safe=False)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return list(column.to_pylist())
    values = column.cast(pa.large_binary()).to_pylist()
    if ours == "content":
        return list(values)
    return [None if v is None else v.decode("utf-8", "backslashreplace") for v in values]


def text(value: Any) -> str:
    """Text of any value, nothing for null; half a surrogate pair becomes its escape."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else str(value)
    return text.encode("utf-8", "backslashreplace").decode()


def license(value: Any) -> str | None:
    """SPDX: one, or several that were found in the repository and so all hold."""
    named = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    said = [n for n in named if isinstance(n, str) and n.strip().lower() not in _NOTHING_SAID]
    known = sorted({one for name in said if (one := from_name(name) or canonical(name))})
    if len(known) == 1:
        return known[0]
    return canonical(" AND ".join(f"({name})" for name in known)) if known else None


def whole(value: Any) -> int | None:
    """A number as a whole one, towards zero; null for what is none or needs over 62 bits."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if abs(value) < 1 << 62 else None


def seconds(value: Any) -> int | None:
    """Seconds since 1970 from a date, an ISO 8601 text or a number."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, datetime):
        zoned = value if value.tzinfo else value.replace(tzinfo=UTC)
        return int(zoned.timestamp())
    return whole(value)
