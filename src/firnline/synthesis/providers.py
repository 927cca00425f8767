"""Providers of synthetic documents: where generated code comes from.

The stage asks a provider for generations; what made them (a recording, an endpoint) is the
provider's own affair.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Protocol

from firnline.errors import FirnlineError
from firnline.languages import LANGUAGES

_KEYS = ("path", "language", "subject", "seed", "title")


@dataclass(frozen=True)
class Generation:
    """One generated document and the seed that inspired it."""

    path: str
    language: str
    subject: str
    title: str
    seed_path: str
    """Path of the seed inside its repository."""
    content: str


class Provider(Protocol):
    """Anything that yields generations in a fixed order."""

    name: str
    seed_repo: str
    """The repository that the seeds' paths belong to."""

    def digest(self) -> str:
        """Changes when what the provider would yield changes."""

    def generations(self) -> Iterator[Generation]:
        """Every generation, in a fixed order."""


class RecordedProvider:
    """Generations that were recorded earlier: a folder of files and `*.jsonl` indexes of them.

    An index row has `path` (of the file, below the folder), `language`, `subject`, `seed` (path of
    the seed in the seed repository) and `title`. The default folder ships with the package: whole
    documents in the OSS-Instruct manner, each inspired by a file of the standard library.
    """

    name = "recorded"

    def __init__(self, folder: Path | None = None, seed_repo: str = "cpython") -> None:
        self.folder = folder or Path(str(resources.files("firnline") / "synthesis" / "recorded"))
        self.seed_repo = seed_repo

    def digest(self) -> str:
        """Hash over every index row and document."""
        digest = hashlib.blake2b(digest_size=16)
        for made in self.generations():
            for part in (made.path, made.language, made.seed_path, made.content):
                digest.update(hashlib.blake2b(part.encode()).digest())
        return digest.hexdigest()

    def generations(self) -> Iterator[Generation]:
        """Rows in index order; raises FirnlineError at a broken row, with file and line."""
        indexes = sorted(self.folder.glob("*.jsonl"))
        if not indexes:
            raise FirnlineError(
                f"no recorded documents in {self.folder}", mend="it must hold *.jsonl indexes"
            )
        for index in indexes:
            for number, line in enumerate(index.read_text().splitlines(), 1):
                yield self._generation(index, number, line)

    def _generation(self, index: Path, number: int, line: str) -> Generation:
        try:
            row = json.loads(line)
            path, language, subject, seed, title = (str(row[key]) for key in _KEYS)
            if language not in LANGUAGES:
                raise ValueError(f"unknown language {language}")
            content = (self.folder / path).read_text()
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise FirnlineError(
                f"{index}:{number}: {type(error).__name__}: {error}",
                mend=f"a row has the keys {', '.join(_KEYS)} and names a UTF-8 file",
            ) from error
        return Generation(path, language, subject, title, seed, content)
