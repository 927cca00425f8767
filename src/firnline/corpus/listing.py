"""Repositories as listed: files by name and size, cut into parts of bounded size."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from firnline.corpus import folder_licenses, licenses
from firnline.corpus.parts import MAX_FILE_MIB, Found, Limits, as_text, refusal
from firnline.languages import detect

SKIPPED_FOLDERS = frozenset({".git", ".hg", ".svn", "__pycache__"})
REPOSITORY = ""
_PART_BYTES = 1 << 20
_PART_FILES = 512


class Entry(NamedTuple):
    """One file as listed: path in the repository, where to read it, size in bytes.

    `changed` is its modification time in nanoseconds where the source has one. `problem` is a
    ledger rule for what is not to be read at all (a symbolic link, a device). `license` is that of
    its folder where it is another than the repository's, else REPOSITORY.
    """

    path: str
    locator: str
    size: int
    changed: int = 0
    problem: str | None = None
    license: str | None = REPOSITORY

    @property
    def weight(self) -> int:
        """Bytes that reading it is likely to take: none by its name or where it is too large."""
        known = detect(self.path, b"") is not None and self.size <= MAX_FILE_MIB * (1 << 20)
        return self.size if known else 0


@dataclass(frozen=True)
class Listing:
    """A part: some files of one repository. `root` is where their locators are read from."""

    source: str
    repo: str
    revision: str
    license: str | None
    root: str
    created: int | None = None
    entries: tuple[Entry, ...] = field(default=(), repr=False)
    size: int = 0

    @property
    def name(self) -> str:
        return f"{self.source}:{self.repo}@{self.revision}".rstrip("@")

    def fingerprint(self) -> str:
        """Changes with names, sizes, modification times and the revision."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(f"{self.name}\0{self.license}\0{self.created}\0".encode())
        for entry in self.entries:
            row = f"{entry.path}\0{entry.locator}\0{entry.size}\0{entry.changed}\0{entry.problem}\0"
            row += f"{entry.license}\0"
            digest.update(row.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def cut(self, entries: Iterable[Entry]) -> Iterator[Listing]:
        """Parts of about 1 MiB or 512 files that hold `entries`, in order."""
        pending: list[Entry] = []
        size = 0
        for entry in entries:
            weight = entry.weight
            full = size + weight > _PART_BYTES or len(pending) == _PART_FILES
            if pending and full:
                yield replace(self, entries=tuple(pending), size=size)
                pending, size = [], 0
            pending.append(entry)
            size += weight
        if pending:
            yield replace(self, entries=tuple(pending), size=size)

    def files(self, limits: Limits) -> Iterator[Found]:
        for entry in self.entries:
            problem = entry.problem or refusal(entry.path, entry.size, limits)
            content = None
            if problem is None:
                try:
                    content = self.read(entry, limits.max_file_bytes)
                except OSError as error:
                    problem = f"unreadable: {error.strerror or error}"
            if content is not None and len(content) != entry.size:
                problem = f"changed: listed {entry.size:,} bytes, read {len(content):,}"
                content = None
            yield Found(
                source=self.source,
                repo=self.repo,
                revision=self.revision,
                path=entry.path,
                license=self.license if entry.license == REPOSITORY else entry.license,
                size=entry.size,
                content=content,
                created=self.created,
                problem=problem,
            )

    def read(self, entry: Entry, most: int) -> bytes:
        """At most `most` + 1 bytes of a file. OSError where it cannot be read."""
        # O_NOFOLLOW: a file that became a link since it was listed is not followed.
        path = f"{self.root}/{entry.locator}"
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError("not a regular file")
            left = min(status.st_size, most) + 1
            data = os.read(descriptor, left)
            while len(data) < left and (more := os.read(descriptor, left - len(data))):
                data += more
            return data
        finally:
            os.close(descriptor)


def walk(
    root: Path, skipped: frozenset[str] = frozenset(), license: str | None = REPOSITORY
) -> Iterator[Entry]:
    """Files below `root` in a fixed order, links and devices as entries with a problem.

    A folder's files come before those of the folders in it. Memory is a folder's names. Where the
    repository's `license` is given, license files of folders below its top are read.
    """
    top = str(root)
    stack = [("", license)]
    while stack:
        prefix, above = stack.pop()
        files, folders = [], []
        try:
            with os.scandir(f"{top}/{prefix}") as items:
                for item in items:
                    if not item.is_dir(follow_symlinks=False):
                        files.append(item.name)
                    elif item.name not in SKIPPED_FOLDERS and item.name not in skipped:
                        folders.append(item.name)
        except OSError as error:
            locator = prefix.rstrip("/") or "."
            yield Entry(as_text(locator), locator, 0, problem=f"unreadable: {error.strerror}")
            continue
        if prefix and license != REPOSITORY:
            texts = _read_all(top, [prefix + name for name in files if folder_licenses.tells(name)])
            above = folder_licenses.within(above, [folder_licenses.read(*text) for text in texts])
        own = REPOSITORY if above == license else folder_licenses.stated(above)
        for name in sorted(files, key=os.fsencode):
            yield entry_of(top, prefix + name)._replace(license=own)
        folders.sort(key=os.fsencode, reverse=True)
        stack.extend((f"{prefix}{name}/", above) for name in folders)


def entry_of(root: str, locator: str) -> Entry:
    """The file `locator` below a folder as an entry; nothing is followed or opened."""
    name = as_text(locator)
    try:
        status = os.lstat(f"{root}/{locator}")
    except OSError as error:
        return Entry(name, locator, 0, problem=f"unreadable: {error.strerror}")
    if stat.S_ISLNK(status.st_mode):
        return Entry(name, locator, 0, problem="symlink")
    if not stat.S_ISREG(status.st_mode):
        return Entry(name, locator, 0, problem="not_a_file")
    return Entry(name, locator, status.st_size, status.st_mtime_ns)


def folder_license(root: Path) -> str | None:
    """The SPDX expression of the license files and manifests at the top of a folder."""
    try:
        names = [path.name for path in root.iterdir()]
        for below in licenses.FOLDERS:
            if below in names and not (root / below).is_symlink() and (root / below).is_dir():
                names += [f"{below}/{path.name}" for path in (root / below).iterdir()]
    except OSError:
        return None  # the walk names the folder that cannot be listed
    return licenses.of_repository(_read_all(str(root), filter(licenses.tells, names)))


def _read_all(root: str, locators: Iterable[str]) -> list[tuple[str, bytes]]:
    """(name, content) of the files that can be read."""
    files = []
    for locator in locators:
        entry = entry_of(root, locator)
        if entry.problem is None:
            try:
                content = Listing("", "", "", None, root).read(entry, licenses.READ_BYTES)
            except OSError:
                continue  # the ledger names the unreadable file when its shard is read
            files.append((as_text(locator), content))
    return files
