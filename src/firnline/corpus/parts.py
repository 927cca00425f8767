"""What every source gives: parts, each read by one worker as a stream of files.

A source is a pydantic model with a `kind` and `parts()`. Listing is done once, in the main process,
and must not read content; parts are pickled and read later, in worker processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from firnline.languages import detect

MAX_FILE_MIB = 8.0
"""Default of the largest file read. A listing counts larger files as nothing to read."""


@dataclass(frozen=True)
class Limits:
    """What a part may read.

    `max_members`, `max_total_bytes` and `max_ratio` (bytes that come out for each byte that goes
    in) end the reading of one archive.
    """

    max_file_bytes: int = int(MAX_FILE_MIB * (1 << 20))
    max_members: int = 2_000_000
    max_total_bytes: int = 1 << 40
    max_ratio: float = 200.0


@dataclass(frozen=True, slots=True)
class Found:
    """One file as a source found it, read or with the reason why not.

    `path` has `/` between its parts. `size` is in bytes, as read, or as listed where it was not
    read. `language` is ours, where the source tells it; `created` is in seconds since 1970.
    `problem` is a ledger rule, or `rule: detail`; `content` is then null.
    """

    source: str
    repo: str
    revision: str
    path: str
    license: str | None
    size: int
    content: bytes | None = None
    stars: int | None = None
    language: str | None = None
    fork: bool | None = None
    created: int | None = None
    problem: str | None = None


class Part(Protocol):
    """A picklable piece of a source. Parts are small beside a shard wherever they can be."""

    @property
    def name(self) -> str:
        """Where it is from, for people: a repository, a file, a row group of a file."""

    @property
    def size(self) -> int:
        """Bytes of content that it is likely to give, by the listing alone."""

    def fingerprint(self) -> str:
        """Changes when the listing changes; needs no reading."""

    def files(self, limits: Limits) -> Iterator[Found]:
        """Every file, in an order that depends on the source alone."""


def refusal(path: str, size: int, limits: Limits, language: str | None = None) -> str | None:
    """Why a file need not be read, by its name and size: a problem, or None.

    `language` is what the source says; a file without an extension may tell by its first line.
    """
    named = "." in path.rsplit("/", 1)[-1].lstrip(".")
    if language is None and named and detect(path, b"") is None:
        return "unknown_language"
    if size > limits.max_file_bytes:
        return f"too_large: {size:,} bytes, limit {limits.max_file_bytes:,}"
    return None


def as_text(name: str) -> str:
    """A file name as text: bytes that are not UTF-8 become `\\xNN`."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")
