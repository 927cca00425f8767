"""Git repositories, read from their object store without a checkout."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import pygit2
from pydantic import BaseModel, ConfigDict

from firnline.corpus import folder_licenses, licenses
from firnline.corpus.damage import one_line
from firnline.corpus.listing import REPOSITORY, Entry, Listing
from firnline.corpus.parts import Found, Limits, as_text
from firnline.errors import FirnlineError

_DAY_SECONDS = 86_400
_MANIFEST_BYTES = 1 << 20


class GitSource(BaseModel):
    """Local git repositories at one revision: one, or every one below a folder."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["git"] = "git"
    path: Path
    """A work tree, its `.git`, a bare repository, or a folder with repositories below it."""
    revision: str = "HEAD"
    """Anything git resolves to a commit: a branch, a tag, a hash."""
    many: bool = False
    """Look for repositories below `path` even where it is one itself."""

    def parts(self) -> Iterator[Listing | BrokenRepository]:
        """The repositories in path order. A missing object is an entry with a problem.

        Where `path` is the one repository, FirnlineError if it cannot be read; below a folder, a
        broken one is a ledger row, and so is a second clone of a repository at the same commit.
        """
        seen: dict[tuple[str, str], str] = {}
        for place in find_repositories(self.path, self.many):
            try:
                git = open_repository(place.path)
                commit = resolve(git, self.revision, place.path)
            except FirnlineError as error:
                if place.only:
                    raise
                yield BrokenRepository(place.name, f"unreadable: {error.what}")
                continue
            name, revision = remote_name(git) or place.name, str(commit.id)
            if twin := seen.get((name, revision)):
                problem = f"same_repository: {name} at this commit is also in {twin}"
                yield BrokenRepository(place.name, problem)
                continue
            seen[name, revision] = place.name
            tree = str(commit.tree_id)
            listing = GitListing(
                source="git",
                repo=name,
                revision=revision,
                license=repository_license(git, tree),
                root=git.path,
                created=true_time(commit.commit_time),
            )
            yield from listing.cut(_entries(git, tree, listing.license))


class GitListing(Listing):
    """Some files of one commit; the locators are object ids."""

    def read(self, entry: Entry, most: int) -> bytes:
        try:
            return bytes(reopen(self.root).odb.read(pygit2.Oid(hex=entry.locator))[1])
        except (KeyError, pygit2.GitError) as error:
            raise OSError(f"git object {entry.locator} is missing or damaged") from error


@dataclass(frozen=True)
class BrokenRepository:
    """A part that is one ledger row: a repository that is not read, and why."""

    name: str
    problem: str
    source: str = "git"
    size: int = 0

    def fingerprint(self) -> str:
        """Changes with the reason."""
        return f"{self.source} {self.name} {self.problem}"

    def files(self, limits: Limits) -> Iterator[Found]:
        yield Found(self.source, self.name, "", "", None, 0, problem=self.problem)


@dataclass(frozen=True)
class Place:
    """Where a repository lies. `name` is its path below the folder that was searched; `only` says
    that it is the one that was asked for."""

    path: Path
    name: str
    only: bool


def find_repositories(path: Path, many: bool) -> Iterator[Place]:
    """Repositories at or below `path`, in path order.

    The work tree of one that is found is not searched, but `path` always is where it is not the
    only one. A linked work tree whose repository was found counts as found. Raises FirnlineError
    where there is none.
    """
    root = path.expanduser()
    if not many and _is_repository(root):
        yield Place(root, _folder_name(root), only=True)
        return
    stores: set[str] = set()
    stack = [root]
    while stack:
        folder = stack.pop()
        if _is_repository(folder):
            store = _object_store(folder)
            if store not in stores:
                stores.add(store)
                relative = as_text(str(folder.relative_to(root)))
                name = _folder_name(folder) if folder == root else relative.removesuffix(".git")
                yield Place(folder, name, only=False)
            if folder != root:
                continue
        try:
            items = [i for i in os.scandir(folder) if i.is_dir(follow_symlinks=False)]
        except OSError:
            items = []  # what cannot be listed holds no repository for us
        items.sort(key=lambda item: os.fsencode(item.name), reverse=True)
        stack.extend(Path(item.path) for item in items if item.name != ".git")
    if not stores:
        raise FirnlineError(f"no git repository at {path}", mend="check the source's path")


def open_repository(path: Path) -> pygit2.Repository:
    """Opens a repository; FirnlineError where git does not take it for one."""
    try:
        return pygit2.Repository(str(path))
    except (pygit2.GitError, ValueError) as error:
        if "not owned" in str(error):
            raise FirnlineError(
                f"{path} belongs to another user",
                mend=f"git config --global --add safe.directory {path}",
            ) from error
        if "unsupported" in str(error) or "unknown object format" in str(error):
            reason = one_line(error).rpartition(": ")[2]
            raise FirnlineError(
                f"{path} is of a form that libgit2 does not read: {reason}",
                mend="read an archive of it (git archive), or its work tree as a directory",
            ) from error
        raise FirnlineError(f"no git repository at {path}", mend="check its path") from error


def resolve(git: pygit2.Repository, revision: str, path: Path) -> pygit2.Commit:
    """The commit that a revision names; FirnlineError where there is none."""
    try:
        return git.revparse_single(revision).peel(pygit2.Commit)
    except (KeyError, ValueError, pygit2.GitError) as error:
        if git.is_empty:
            raise FirnlineError(f"{path} has no commits", mend="commit, or leave it out") from error
        raise FirnlineError(
            f"no commit {revision!r} in {path}", mend="check the source's revision"
        ) from error


@lru_cache(maxsize=4)  # an open repository keeps its packs mapped
def reopen(path: str) -> pygit2.Repository:
    """The repository of a part, opened once for the parts that follow each other."""
    return pygit2.Repository(path)


def true_time(seconds: int) -> int | None:
    """A commit's time where it can be true: not in 1970's first day, nor in the future."""
    return seconds if _DAY_SECONDS < seconds <= time.time() + _DAY_SECONDS else None


def repository_license(git: pygit2.Repository, tree: str) -> str | None:
    """The SPDX expression of the files at the top of a tree."""
    files = []
    try:
        items = [(item.name or "", item) for item in git[tree]]
        for name, item in list(items):
            if name in licenses.FOLDERS and isinstance(item, pygit2.Tree):
                items += [(f"{name}/{below.name}", below) for below in item]
        for name, item in items:
            told = licenses.tells(name) and isinstance(item, pygit2.Blob)
            if told and item.size <= _MANIFEST_BYTES:
                files.append((name, item.data))
    except (KeyError, pygit2.GitError):
        pass  # the ledger names what is missing
    return licenses.of_repository(files)


def remote_name(git: pygit2.Repository) -> str | None:
    """`owner/name` from a remote's address, `origin` first."""
    names = [remote.name for remote in git.remotes]
    for name in sorted(names, key=lambda n: (n != "origin", n)):
        match = re.search(r"([^/:]+/[^/:]+?)(?:\.git)?/?$", git.remotes[name].url or "")
        if match:
            return match[1]
    return None


def _is_repository(folder: Path) -> bool:
    if (folder / ".git").exists():
        return True
    return (folder / "HEAD").is_file() and all((folder / n).is_dir() for n in ("objects", "refs"))


def _object_store(folder: Path) -> str:
    """Where the objects lie: linked work trees of one repository share it."""
    try:
        git = pygit2.Repository(str(folder))
        store = Path(git.path)
        common = store / "commondir"
        if common.is_file():
            store = store / common.read_text().strip()
        return str(store.resolve())
    except (pygit2.GitError, OSError, ValueError):
        return str(folder.resolve())


def _folder_name(path: Path) -> str:
    folder = path.resolve()
    if folder.name == ".git":
        folder = folder.parent
    return as_text(folder.name.removesuffix(".git") or folder.name)


def _entries(git: pygit2.Repository, tree: str, license: str | None) -> Iterator[Entry]:
    """Files of a tree, each folder's before those of the folders below it."""
    stack = [(tree, "", license)]
    while stack:
        oid, prefix, above = stack.pop()
        try:
            items = list(git[oid])
        except (KeyError, pygit2.GitError):
            problem = f"unreadable: git tree {oid} is missing"
            yield Entry(prefix.rstrip("/"), oid, 0, problem=problem)
            continue
        if prefix:
            above = folder_licenses.within(above, list(_told(items)))
        own = REPOSITORY if above == license else folder_licenses.stated(above)
        deeper = []
        for item in items:
            path = prefix + item.raw_name.decode("utf-8", "backslashreplace")
            if item.filemode == pygit2.enums.FileMode.TREE:
                deeper.append((str(item.id), path + "/", above))
            else:
                yield _entry(git, item, path)._replace(license=own)
        stack.extend(reversed(deeper))


def _told(items: list[pygit2.Object]) -> Iterator[folder_licenses.Told]:
    """What the license files among a folder's items say; those that cannot be read say nothing."""
    for item in items:
        name = item.raw_name.decode("utf-8", "backslashreplace")
        if folder_licenses.tells(name) and item.filemode != pygit2.enums.FileMode.LINK:
            try:
                if isinstance(item, pygit2.Blob) and item.size <= _MANIFEST_BYTES:
                    yield folder_licenses.read(name, item.data)
            except (KeyError, pygit2.GitError):
                continue  # the ledger names what is missing


def _entry(git: pygit2.Repository, item: pygit2.Object, path: str) -> Entry:
    oid = str(item.id)
    if item.filemode == pygit2.enums.FileMode.LINK:
        return Entry(path, oid, 0, problem="symlink")
    if item.filemode == pygit2.enums.FileMode.COMMIT:
        return Entry(path, oid, 0, problem="submodule")
    try:
        return Entry(path, oid, int(git.odb.read_header(item.id)[1]))
    except (KeyError, pygit2.GitError):
        return Entry(path, oid, 0, problem=f"unreadable: git object {oid} is missing")
