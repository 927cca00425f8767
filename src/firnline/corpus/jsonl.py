"""Lines of JSONL from a stream, none held that is too long."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from firnline.corpus.damage import one_line
from firnline.corpus.unpack import Unpacked

CHUNK_BYTES = 1 << 20


def lines(
    stream: Unpacked | BinaryIO, most: int, position: int = 0, *, skip: bool = False
) -> Iterator[tuple[int, bytes | None]]:
    """(byte where it begins, line); None for a line of over `most` bytes.

    With `skip` the stream begins inside a line, which is left out.
    """
    rest = b""
    dropping = skip
    while data := stream.read(CHUNK_BYTES):
        *whole, last = (rest + data).split(b"\n")
        for line in whole:
            if not dropping:
                yield position, line if len(line) <= most else None
            dropping = False
            position += len(line) + 1
        rest = last
        if len(rest) > most and not dropping:
            yield position, None
            dropping = True
        if dropping:
            position += len(rest)
            rest = b""
    if rest and not dropping:
        yield position, rest


def json_object(line: bytes) -> tuple[dict[str, Any] | None, str]:
    """(the JSON object of a line, why there is none)."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return None, one_line(error)
    return (row, "") if isinstance(row, dict) else (None, "not a JSON object")
