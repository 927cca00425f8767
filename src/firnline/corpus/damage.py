"""What becomes of a file that cannot be read: a row of the ledger, and the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa

from firnline.corpus.http import ChangedError
from firnline.corpus.members import ArchiveError
from firnline.corpus.parts import Found

DAMAGE = (pa.ArrowException, OSError, ValueError)
"""What readers raise for bytes that are not what the file says it is."""


def or_problem(files: Iterable[Found], problem: Callable[[str], Found]) -> Iterator[Found]:
    """The files; where reading breaks off, last a ledger row that says why."""
    try:
        yield from files
    except ArchiveError as error:
        yield problem(str(error).replace("archive_", "table_"))
    except ChangedError as error:
        yield problem(f"changed: {error}")
    except DAMAGE as error:
        yield problem(f"unreadable: {one_line(error)}")


def one_line(error: BaseException) -> str:
    """An error's text for the ledger: one line of at most 200 characters."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:200] or type(error).__name__
