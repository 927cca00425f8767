"""Git repositories, read from their object store without a checkout."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import pygit2
from pydantic import BaseModel, ConfigDict

from firnline.corpus import licenses
from firnline.corpus.listing import Entry, Listing
from firnline.corpus.parts import as_text
from firnline.errors import FirnlineError


class GitSource(BaseModel):
    """A local git repository at one revision."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["git"] = "git"
    path: Path
    """The repository: a work tree, its `.git`, or a bare repository."""
    revision: str = "HEAD"
    """Anything git resolves to a commit: a branch, a tag, a hash."""

    def parts(self) -> Iterator[Listing]:
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
        tree = str(commit.tree_id)
        listing = GitListing(
            source="git",
            repo=_remote_name(git),
            revision=str(commit.id),
            license=_license(git, tree),
            root=git.path,
            created=commit.commit_time,
        )
        yield from listing.cut(_entries(git, tree))


class GitListing(Listing):
    """Some files of one commit; the locators are object ids."""

    def read(self, entry: Entry, most: int) -> bytes:
        try:
            return bytes(_open(self.root).odb.read(pygit2.Oid(hex=entry.locator))[1])
        except (KeyError, pygit2.GitError) as error:
            raise OSError(f"git object {entry.locator} is missing or damaged") from error


@cache
def _open(path: str) -> pygit2.Repository:
    return pygit2.Repository(path)


def _entries(git: pygit2.Repository, tree: str) -> Iterator[Entry]:
    """Files of a tree, each folder's before those of the folders below it."""
    stack = [(tree, "")]
    while stack:
        oid, prefix = stack.pop()
        try:
            items = list(git[oid])
        except (KeyError, pygit2.GitError):
            problem = f"unreadable: git tree {oid} is missing"
            yield Entry(prefix.rstrip("/"), oid, 0, problem=problem)
            continue
        deeper = []
        for item in items:
            path = prefix + item.raw_name.decode("utf-8", "backslashreplace")
            if item.filemode == pygit2.enums.FileMode.TREE:
                deeper.append((str(item.id), path + "/"))
            else:
                yield _entry(git, item, path)
        stack.extend(reversed(deeper))


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


def _license(git: pygit2.Repository, tree: str) -> str | None:
    """SPDX id from the license files at the top of a tree."""
    try:
        items = [item for item in git[tree] if licenses.is_license_file(item.name or "")]
        texts = [item.data for item in items if isinstance(item, pygit2.Blob)]
    except (KeyError, pygit2.GitError):
        return None  # the ledger names what is missing
    found = (licenses.from_text(text.decode("utf-8", "replace")) for text in texts)
    return next((spdx for spdx in found if spdx), None)


def _remote_name(git: pygit2.Repository) -> str:
    """`owner/name` from the remote's address, else the folder's name."""
    names = [remote.name for remote in git.remotes]
    for name in sorted(names, key=lambda n: (n != "origin", n)):
        match = re.search(r"([^/:]+/[^/:]+?)(?:\.git)?/?$", git.remotes[name].url or "")
        if match:
            return match[1]
    folder = Path(git.workdir or git.path).name
    return as_text(folder.removesuffix(".git") or folder)
