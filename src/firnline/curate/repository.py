"""The files of one repository, and which of several files lies nearest.

Where one name could mean several files, one rule decides: the nearest, which is the one that
shares the longest folder with the importer; then one below `include` or `src`; then the
shallowest; then the first by path.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from firnline.curate.imports import DECLARES

SOURCE_FOLDERS = ("include", "inc", "src", "lib", "source", "python")
"""Folders that hold what others import, rather than being part of its name."""

_Key = tuple[bool, int, str]


@dataclass(frozen=True)
class Repository:
    """The files of one repository, in order of their paths; a file's number is its place."""

    name: str
    paths: Sequence[str]
    languages: Sequence[str]
    lines: Sequence[Sequence[str]]
    """What `imports.read_imports` found in each file."""
    number: dict[str, int] = field(default_factory=dict, init=False)
    """The file of each path."""

    def __post_init__(self) -> None:
        for file, path in enumerate(self.paths):
            self.number.setdefault(path, file)

    def declared(self, languages: Iterable[str]) -> Iterator[tuple[str, int]]:
        """(name, file) of each declaration made by files in the languages."""
        wanted = set(languages)
        for file, lines in enumerate(self.lines):
            if self.languages[file] in wanted:
                yield from ((line[1:], file) for line in lines if line.startswith(DECLARES))

    def manifests(self, name: str) -> Iterator[tuple[str, str]]:
        """(folder, declared name) of each manifest file called `name`."""
        for file, path in enumerate(self.paths):
            if path.rpartition("/")[2] == name:
                for line in self.lines[file]:
                    if line.startswith(DECLARES):
                        yield folder_of(path), line[1:]


class Nearest:
    """Of the candidates for one name, the one that is nearest to a folder."""

    __slots__ = ("_best", "_first")

    def __init__(self) -> None:
        self._best: dict[str, tuple[_Key, int]] = {}
        self._first: tuple[str, str, int] | None = None  # alone, it is near to all

    def add(self, base: str, path: str, file: int, *, reach: int = -1) -> None:
        """Adds a file found below the folder `base`, for those in it and `reach` folders above."""
        if reach < 0 and self._first is None and not self._best:
            self._first = (base, path, file)
            return
        if self._first is not None:
            self._insert(*self._first, reach=-1)
            self._first = None
        self._insert(base, path, file, reach=reach)

    def _insert(self, base: str, path: str, file: int, *, reach: int) -> None:
        key = (base.rpartition("/")[2] not in SOURCE_FOLDERS, path.count("/"), path)
        for place, above in enumerate(upwards(base)):
            if reach >= 0 and place > reach:
                break
            if above not in self._best or key < self._best[above][0]:
                self._best[above] = (key, file)

    def find(self, folder: str) -> int | None:
        """The candidate nearest to `folder`."""
        if self._first is not None:
            return self._first[2]
        for above in upwards(folder):
            if above in self._best:
                return self._best[above][1]
        return None


def folder_of(path: str) -> str:
    """The folder of a path inside a repository; empty for the root."""
    return path.rpartition("/")[0]


def upwards(folder: str) -> Iterator[str]:
    """The folder, the one that holds it, and so on to the root."""
    yield folder
    while folder:
        folder = folder_of(folder)
        yield folder


def join(folder: str, name: str) -> str:
    """The path of `name`, which may go up by `..`, seen from a folder."""
    path = f"{folder}/{name}" if folder and name else folder or name
    if "./" in path or path.endswith("."):
        path = posixpath.normpath(path)
    return "" if path == "." else path
