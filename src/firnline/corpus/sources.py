"""Sources of code: what they list, and how one file of them is read.

A source lists repositories; a repository lists its files by name and size without reading them.
Reading happens later, shard by shard, in worker processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import pygit2
from pydantic import BaseModel, ConfigDict, Field

from firnline.corpus import licenses
from firnline.errors import FirnlineError

SKIPPED_FOLDERS = frozenset({".git", ".hg", ".svn", "__pycache__"})


@dataclass(frozen=True)
class Entry:
    """One file as listed: path in the repository, where to read it, size in bytes.

    `problem` is a ledger rule for what is not to be read at all (a symbolic link, a device).
    """

    path: str
    locator: str
    size: int
    problem: str | None = None


@dataclass(frozen=True)
class Repository:
    """One repository as listed. `root` is where the locators of its entries are read from."""

    source: str
    name: str
    revision: str
    license: str | None
    root: str
    entries: tuple[Entry, ...] = field(repr=False)

    def fingerprint(self) -> str:
        """Changes when the listing changes (names, sizes, revision; for folders also times)."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(f"{self.source}\0{self.name}\0{self.revision}\0{self.license}\0".encode())
        for entry in self.entries:
            digest.update(
                f"{entry.path}\0{entry.locator}\0{entry.size}\0".encode("utf-8", "replace")
            )
            if self.source != "git":
                try:
                    changed = os.lstat(Path(self.root) / entry.locator).st_mtime_ns
                except OSError:
                    changed = 0
                digest.update(changed.to_bytes(12, "little", signed=True))
        return digest.hexdigest()


class DirectorySource(BaseModel):
    """A folder; each folder directly under it is a repository, its own files form one more."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["directory"] = "directory"
    path: Path
    """The folder that holds the repositories."""

    def repositories(self) -> Iterator[Repository]:
        """Repositories in name order. Symbolic links are listed, never followed."""
        root = self.path.expanduser()
        if not root.is_dir():
            raise FirnlineError(f"no folder {self.path}", mend="check the source's path")
        loose = []
        try:
            below = sorted(os.scandir(root), key=lambda item: os.fsencode(item.name))
        except OSError as error:
            raise FirnlineError(
                f"cannot list {root}: {error.strerror}", mend="check its permissions"
            ) from error
        for item in below:
            if item.is_dir(follow_symlinks=False):
                if item.name not in SKIPPED_FOLDERS:
                    entries = tuple(_walk(Path(item.path)))
                    yield _folder_repository(Path(item.path), _text(item.name), entries)
            else:
                loose.append(_entry(Path(item.path), root))
        if loose:
            yield _folder_repository(root, _text(root.resolve().name), tuple(loose))


class GitSource(BaseModel):
    """A local git repository at one revision, read from its object store without a checkout."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["git"] = "git"
    path: Path
    """The repository: a work tree, its `.git`, or a bare repository."""
    revision: str = "HEAD"
    """Anything git resolves to a commit: a branch, a tag, a hash."""

    def repositories(self) -> Iterator[Repository]:
        """The one repository. A missing object is an entry with a problem, not an error."""
        try:
            git = pygit2.Repository(str(self.path.expanduser()))
        except pygit2.GitError as error:
            raise FirnlineError(
                f"no git repository at {self.path}", mend="check the source's path"
            ) from error
        try:
            commit = git.revparse_single(self.revision).peel(pygit2.Commit)
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise FirnlineError(
                f"no commit {self.revision!r} in {self.path}", mend="check the source's revision"
            ) from error
        entries = tuple(_git_entries(git, str(commit.tree_id), ""))
        spdx = None
        for entry in entries:
            if "/" not in entry.path and licenses.is_license_file(entry.path) and not entry.problem:
                text = bytes(git.odb.read(pygit2.Oid(hex=entry.locator))[1])
                spdx = spdx or licenses.from_text(text.decode("utf-8", "replace"))
        yield Repository("git", _remote_name(git), str(commit.id), spdx, git.path, entries)


class PythonSource(BaseModel):
    """The distributions installed in a Python interpreter, and its standard library."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["python"] = "python"
    interpreter: Path | None = None
    """The interpreter to look into; null is the one that runs Firnline."""
    only: tuple[str, ...] = ()
    """Name patterns to take (`cpython` is the standard library); empty: all."""
    exclude: tuple[str, ...] = ()
    """Name patterns to leave out."""

    def repositories(self) -> Iterator[Repository]:
        """The standard library (`cpython`), then the distributions in name order."""
        found = _ask_interpreter(str(self.interpreter or sys.executable))
        for row in found:
            name = re.sub(r"[-_.]+", "-", row["name"]).lower()
            if self.only and not any(fnmatch(name, pattern) for pattern in self.only):
                continue
            if any(fnmatch(name, pattern) for pattern in self.exclude):
                continue
            entries: list[Entry] = []
            for prefix, folder in row["folders"]:
                for entry in _walk(Path(folder), frozenset({"site-packages", "dist-packages"})):
                    entries.append(_moved(entry, prefix, folder))
            root = Path(row["root"])
            for path in row["files"]:
                if not path.startswith("..") and not Path(path).is_absolute():
                    entries.append(_entry(root / path, root))
            spdx = row["spdx"] or licenses.from_metadata(
                row["expression"], row["classifiers"], row["license"]
            )
            if entries:
                entries.sort(key=lambda entry: entry.path)
                yield Repository("python", name, row["version"], spdx, row["root"], tuple(entries))


Source = Annotated[DirectorySource | GitSource | PythonSource, Field(discriminator="kind")]


def read_entry(repository: Repository, entry: Entry) -> bytes:
    """The bytes of one file; raises OSError where it cannot be read."""
    if repository.source != "git":
        # O_NOFOLLOW: a file that became a link since it was listed is not followed.
        descriptor = os.open(
            Path(repository.root) / entry.locator, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        )
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError("not a regular file")
            return file.read()
    try:
        return bytes(_open_git(repository.root).odb.read(pygit2.Oid(hex=entry.locator))[1])
    except (KeyError, pygit2.GitError) as error:
        raise OSError(f"git object {entry.locator} is missing or damaged") from error


@cache
def _open_git(path: str) -> pygit2.Repository:
    return pygit2.Repository(path)


def _text(name: str) -> str:
    """A file name as text: bytes that are not UTF-8 become `\\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _walk(root: Path, skipped: frozenset[str] = frozenset()) -> Iterator[Entry]:
    """Files below `root` in a fixed order, links and devices as entries with a problem."""
    stack = [root]
    while stack:
        folder = stack.pop()
        try:
            items = sorted(os.scandir(folder), key=lambda item: os.fsencode(item.name))
        except OSError as error:
            name = _text(str(folder.relative_to(root)))
            yield Entry(name, str(folder.relative_to(root)), 0, f"unreadable: {error.strerror}")
            continue
        deeper = []
        for item in items:
            if not item.is_dir(follow_symlinks=False):
                yield _entry(Path(item.path), root)
            elif item.name not in SKIPPED_FOLDERS and item.name not in skipped:
                deeper.append(Path(item.path))
        stack.extend(reversed(deeper))


def _entry(path: Path, root: Path) -> Entry:
    locator = str(path.relative_to(root))
    try:
        status = path.lstat()
    except OSError as error:
        return Entry(_text(locator), locator, 0, f"unreadable: {error.strerror}")
    if stat.S_ISLNK(status.st_mode):
        return Entry(_text(locator), locator, 0, "symlink")
    if not stat.S_ISREG(status.st_mode):
        return Entry(_text(locator), locator, 0, "not_a_file")
    return Entry(_text(locator), locator, status.st_size)


def _moved(entry: Entry, prefix: str, folder: str) -> Entry:
    locator = str(Path(folder) / entry.locator)
    return Entry(f"{prefix}{entry.path}", locator, entry.size, entry.problem)


def _folder_repository(root: Path, name: str, entries: tuple[Entry, ...]) -> Repository:
    spdx = None
    for entry in entries:
        if "/" in entry.path or entry.problem or not licenses.is_license_file(entry.path):
            continue
        try:
            with (root / entry.locator).open("rb") as file:
                text = file.read(200_000).decode("utf-8", "replace")
        except OSError:
            continue  # the ledger names the unreadable file when its shard is read
        spdx = spdx or licenses.from_text(text)
    return Repository("directory", name, "", spdx, str(root), entries)


def _git_entries(git: pygit2.Repository, tree: str, prefix: str) -> Iterator[Entry]:
    try:
        items = list(git[tree])
    except (KeyError, pygit2.GitError):
        yield Entry(prefix.rstrip("/"), tree, 0, f"unreadable: git tree {tree} is missing")
        return
    for item in items:
        path = prefix + item.raw_name.decode("utf-8", "backslashreplace")
        oid = str(item.id)
        if item.filemode == pygit2.enums.FileMode.TREE:
            yield from _git_entries(git, oid, path + "/")
        elif item.filemode == pygit2.enums.FileMode.LINK:
            yield Entry(path, oid, 0, "symlink")
        elif item.filemode == pygit2.enums.FileMode.COMMIT:
            yield Entry(path, oid, 0, "submodule")
        else:
            try:
                size = int(git.odb.read_header(item.id)[1])
            except (KeyError, pygit2.GitError):
                yield Entry(path, oid, 0, f"unreadable: git object {oid} is missing")
                continue
            yield Entry(path, oid, size)


def _remote_name(git: pygit2.Repository) -> str:
    """`owner/name` from the remote's address, else the folder's name."""
    names = [remote.name for remote in git.remotes]
    for name in sorted(names, key=lambda n: (n != "origin", n)):
        match = re.search(r"([^/:]+/[^/:]+?)(?:\.git)?/?$", git.remotes[name].url or "")
        if match:
            return match[1]
    folder = Path(git.workdir or git.path).name
    return _text(folder.removesuffix(".git") or folder)


# Runs in the other interpreter, which may be an older Python: standard library only.
_LIST_DISTRIBUTIONS = """
import json, os, platform, sys, sysconfig
from importlib import metadata
paths = sysconfig.get_paths()
stdlib = paths["stdlib"]
folders = [["", stdlib]]
if os.path.isdir(paths["include"]):
    folders.append(["include/", paths["include"]])
rows = [{"name": "cpython", "version": platform.python_version(), "spdx": "PSF-2.0",
         "root": stdlib, "folders": folders, "files": [], "expression": None,
         "classifiers": [], "license": None}]
seen = set()
for one in metadata.distributions():
    name = one.metadata["Name"]
    if not name or name.lower() in seen:
        continue
    seen.add(name.lower())
    files = [str(f) for f in (one.files or [])]
    files = [f for f in files if "__pycache__" not in f and ".dist-info" not in f.split("/")[0]
             and ".egg-info" not in f.split("/")[0]]
    if files:
        rows.append({"name": name, "version": one.version, "spdx": None,
                     "root": str(one.locate_file("")), "folders": [], "files": sorted(set(files)),
                     "expression": one.metadata.get("License-Expression"),
                     "classifiers": [c for c in (one.metadata.get_all("Classifier") or [])
                                     if c.startswith("License ::")],
                     "license": one.metadata.get("License")})
rows[1:] = sorted(rows[1:], key=lambda r: r["name"].lower())
print(json.dumps(rows))
"""


def _ask_interpreter(interpreter: str) -> list[dict[str, Any]]:
    command = [interpreter, "-I", "-c", _LIST_DISTRIBUTIONS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return list(json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise FirnlineError(
            f"cannot list the distributions of {interpreter}: {error}",
            mend="the source's interpreter must be Python 3.8 or newer",
        ) from error
