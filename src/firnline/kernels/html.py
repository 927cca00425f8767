"""What a reader sees of an HTML page."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.characters import CLASSES, CONTINUATION, WHITE
from firnline.kernels.jit import kernel

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Counts = NDArray[np.int64]

_HIDDEN = ("script", "style", "template", "noscript")


def visible_text(data: Bytes, offsets: Offsets, rows: Offsets) -> Counts:
    """Characters of each of the HTML documents `rows` that a reader sees.

    A run of white space counts as one.

    Left out: tags, comments, declarations, and the content of `script`, `style`, `template` and
    `noscript`. Entities count as they are written.
    """
    text = np.frombuffer("".join(_HIDDEN).encode(), dtype=np.uint8)
    bounds = np.cumsum([0, *(len(name) for name in _HIDDEN)])
    return _visible_text(data, offsets, rows, text, bounds)


@kernel
def _visible_text(
    data: Bytes, offsets: Offsets, rows: Offsets, text: Bytes, bounds: Offsets
) -> Counts:
    visible = np.zeros(len(rows), dtype=np.int64)
    for place in range(len(rows)):
        i, end = offsets[rows[place]], offsets[rows[place] + 1]
        count = pending = 0
        while i < end:
            kind = CLASSES[data[i]]
            if data[i] == 60 and i + 1 < end:  # <
                after = _after_tag(data, i, end, text, bounds)
                if after > i:
                    i = after
                    continue
            if kind & WHITE:
                pending = 1 if count else 0  # white space at the start is not seen
            elif not kind & CONTINUATION:
                count += 1 + pending
                pending = 0
            i += 1
        visible[place] = count
    return visible


@kernel
def _after_tag(data: Bytes, i: int, end: int, text: Bytes, bounds: Offsets) -> int:
    """End of the tag, comment, declaration or hidden element at `<`; `i` for a bare `<`."""
    if i + 4 <= end and data[i + 1] == 33 and data[i + 2] == 45 and data[i + 3] == 45:  # <!--
        for j in range(i + 4, end - 2):
            if data[j] == 45 and data[j + 1] == 45 and data[j + 2] == 62:
                return j + 3
        return end
    opener = data[i + 1] | 32
    if not (97 <= opener <= 122 or data[i + 1] == 47 or data[i + 1] == 33 or data[i + 1] == 63):
        return i
    after = end
    quote = np.uint8(0)
    for j in range(i + 1, end):
        if quote:
            if data[j] == quote:
                quote = np.uint8(0)
        elif data[j] == 62:  # >
            after = j + 1
            break
        elif (data[j] == 34 or data[j] == 39) and data[j - 1] == 61:  # a quoted attribute value
            quote = data[j]
    for name in range(len(bounds) - 1):
        if _is_name(data, i + 1, end, text, bounds, name):
            for j in range(after, end - 1):
                closes = data[j] == 60 and data[j + 1] == 47  # </
                if closes and _is_name(data, j + 2, end, text, bounds, name):
                    return j
            return end
    return after


@kernel
def _is_name(data: Bytes, i: int, end: int, text: Bytes, bounds: Offsets, name: int) -> bool:
    size = bounds[name + 1] - bounds[name]
    if i + size > end:
        return False
    for j in range(size):
        if data[i + j] | 32 != text[bounds[name] + j]:
            return False
    if i + size == end:
        return True
    following = data[i + size]
    return not (97 <= following | 32 <= 122 or 48 <= following <= 57 or following == 45)
