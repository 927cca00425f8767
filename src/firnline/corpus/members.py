"""What the readers of archives give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

UNNAMED = "unnamed"
"""The path of a member whose name is empty."""


class ArchiveError(Exception):
    """The rest of an archive cannot be read; the text is the problem, `rule: detail`."""


class Stream(Protocol):
    """What an archive is read from."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(slots=True)
class Member:
    """One member of an archive, read or with the reason why not.

    `path` is as the archive has it (not UTF-8: `\\xNN`), empty for the archive's own comment;
    `modified` in seconds since 1970. `whole` marks a problem of the archive as a whole.
    """

    path: str
    size: int
    modified: int | None = None
    problem: str | None = None
    content: bytes | None = None
    whole: bool = False


Refuse = Callable[[str, int], str | None]
"""Why a member of that path and size need not be read."""
