"""Commits as documents: the message, then the change as git's unified diff.

To Code or Not To Code (section 2.1) counts them as code-adjacent. They come from git histories, or
from tables with the columns of CommitPack (hf.co/datasets/bigcode/commitpack).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pygit2
from pydantic import BaseModel, ConfigDict, Field
from pygit2.enums import DeltaStatus, DiffOption, SortMode

from firnline.corpus.damage import one_line
from firnline.corpus.git import (
    BrokenRepository,
    find_repositories,
    open_repository,
    remote_name,
    reopen,
    repository_license,
    resolve,
    true_time,
)
from firnline.corpus.parts import Found, Limits, as_text
from firnline.corpus.rows import RefusedError, Row, RowsPart, first, text_of
from firnline.corpus.storage import Storage, find
from firnline.corpus.tables import TABLE_SUFFIXES
from firnline.errors import FirnlineError
from firnline.licenses import canonical

_PART_COMMITS = 256
_COMMIT_BYTES = 4096  # about what a commit gives, for the listing
# Lines of a message that are for people and machines, not about the change: they hold names and
# addresses of people, and numbers of other systems.
_TRAILER = re.compile(
    r"(?im)^[ \t]*(?:[a-z][a-z-]*-by|(?:co-?authored|signed[ -]off|reviewed|tested) by|cc|from|to"
    r"|author|committer|git-svn-id|change-id|reviewed-on|bug-url|gitlab-issue)[ \t]*:.*(?:\n|\Z)"
)
_ADDRESS = re.compile(r"(?<![\w.+-])<?[\w.+-]+@[\w-]+(?:\.[\w-]+)+>?")
_BOT = re.compile(r"(?i)\[bot\]|\bbot$|^(?:dependabot|renovate|greenkeeper|github-actions)")


class Bounds(BaseModel):
    """Which commits are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_files: int = Field(default=20, ge=1)
    """Commits that change more files are left out: imports, moves, releases."""
    max_diff_kib: int = Field(default=64, ge=1)
    """Commits whose diff is longer are left out."""
    min_message_words: int = Field(default=3, ge=1)
    """Commits with a shorter message (`fix`, `v0.8.9`) are left out: they explain nothing."""


class CommitsSource(BaseModel):
    """Commits of git repositories, or of tables."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["commits"] = "commits"
    path: str
    """A repository or a folder of them, or tables: a `.parquet` or `.jsonl` file or a glob, here or
    at `s3://`, `gs://`, `https://`."""
    revision: str = "HEAD"
    """The commit whose history is read."""
    many: bool = False
    """Look for repositories below `path` even where it is one itself."""
    bounds: Bounds = Bounds()
    """Which commits are kept."""
    storage: Storage = Storage()
    """How remote tables are reached."""

    def parts(self) -> Iterator[History | BrokenRepository | RowsPart]:
        """Pieces of histories, newest commits first, or whole tables."""
        if "://" in self.path or "*" in self.path or self.path.endswith(TABLE_SUFFIXES):
            for blob in find(self.path, TABLE_SUFFIXES, self.storage):
                yield RowsPart(blob, self.storage, partial(from_row, self.bounds))
            return
        for place in find_repositories(Path(self.path), self.many):
            try:
                git = open_repository(place.path)
                head = resolve(git, self.revision, place.path)
            except FirnlineError as error:
                if place.only:
                    raise
                yield BrokenRepository(place.name, f"unreadable: {error.what}", "adjacent")
                continue
            name = remote_name(git) or place.name
            spdx = repository_license(git, str(head.tree_id))
            for commits in _walk(git, head):
                yield History(name, git.path, spdx, commits, self.bounds)


@dataclass(frozen=True)
class History:
    """A part: some commits of one repository, by their ids."""

    repo: str
    root: str
    license: str | None
    commits: tuple[str, ...]
    bounds: Bounds

    @property
    def name(self) -> str:
        return f"commits:{self.repo}@{self.commits[0]}"

    @property
    def size(self) -> int:
        return _COMMIT_BYTES * len(self.commits)

    def fingerprint(self) -> str:
        """A commit's id stands for all that is before it."""
        return f"{self.name} {len(self.commits)} {self.license} {self.bounds}"

    def files(self, limits: Limits) -> Iterator[Found]:
        git = reopen(self.root)
        for oid in self.commits:
            content, created, problem = None, None, None
            try:
                commit = git[oid]
                created = true_time(commit.commit_time)
                content = _document(git, commit, self.bounds)
            except RefusedError as error:
                problem = str(error)
            except (KeyError, pygit2.GitError) as error:
                problem = f"unreadable: {one_line(error)}"
            yield Found(
                "adjacent",
                self.repo,
                oid,
                f"commits/{oid}",
                self.license,
                len(content or b""),
                content,
                language="Commit",
                created=created,
                problem=problem,
            )


def _walk(git: pygit2.Repository, head: pygit2.Commit) -> Iterator[tuple[str, ...]]:
    """Ids of the history, newest first, in pieces. A history that is cut short ends there."""
    found: list[str] = []
    try:
        for commit in git.walk(head.id, SortMode.TIME):
            found.append(str(commit.id))
            if len(found) == _PART_COMMITS:
                yield tuple(found)
                found = []
    except (KeyError, pygit2.GitError):
        pass  # a shallow or damaged history: what came before is whole
    if found:
        yield tuple(found)


def _document(git: pygit2.Repository, commit: pygit2.Commit, bounds: Bounds) -> bytes:
    """The text of a commit; RefusedError, `rule: detail`, where it is not to be kept."""
    if len(commit.parents) > 1:
        raise RefusedError(f"merge: {len(commit.parents)} parents")
    if _BOT.search(commit.author.raw_name.decode("utf-8", "replace")):
        raise RefusedError("bot")
    message = cleaned(commit.raw_message.decode("utf-8", "replace"))
    flags = DiffOption.IGNORE_SUBMODULES
    if commit.parents:
        diff = git.diff(commit.parents[0], commit, flags=flags)
    else:
        diff = commit.tree.diff_to_tree(swap=True, flags=flags)
    if len(diff) > bounds.max_files:
        raise RefusedError(f"many_files: {len(diff):,}, limit {bounds.max_files:,}")
    diff.find_similar()  # a renamed file is one change
    pieces = [_piece(patch) for patch in diff if patch is not None]
    return _joined(message, [piece for piece in pieces if piece], bounds)


def _piece(patch: pygit2.Patch) -> str:
    """One file's change as git writes it, without object ids; empty where it is binary, or only
    its mode changed."""
    delta = patch.delta
    if delta.is_binary:
        return ""
    old, new = (as_text(os.fsdecode(f.raw_path)) for f in (delta.old_file, delta.new_file))
    lines = [f"diff --git a/{old} b/{new}\n"]
    if delta.status == DeltaStatus.ADDED:
        lines.append(f"new file mode {delta.new_file.mode:o}\n")
    elif delta.status == DeltaStatus.DELETED:
        lines.append(f"deleted file mode {delta.old_file.mode:o}\n")
    elif delta.status == DeltaStatus.RENAMED:
        lines.append(f"rename from {old}\nrename to {new}\n")
    elif not patch.hunks:
        return ""
    if patch.hunks:
        before = "/dev/null" if delta.status == DeltaStatus.ADDED else f"a/{old}"
        after = "/dev/null" if delta.status == DeltaStatus.DELETED else f"b/{new}"
        lines.append(f"--- {before}\n+++ {after}\n")
    for hunk in patch.hunks:
        lines.append(hunk.header.rstrip("\n") + "\n")
        lines += [_line(line) for line in hunk.lines]
    return "".join(lines)


def _line(line: pygit2.DiffLine) -> str:
    if line.origin in "=<>":  # how a file without a last newline is told
        return "\\ No newline at end of file\n"
    try:
        text = line.raw_content.decode()
    except UnicodeDecodeError as error:
        raise RefusedError(f"not_utf8: byte {error.start} of a line") from error
    return f"{line.origin}{text}" if text.endswith("\n") else f"{line.origin}{text}\n"


def from_row(bounds: Bounds, row: Row, place: str) -> Found:
    """A row with CommitPack's columns as a document; RefusedError where it is not to be kept."""
    old, new = row.get("old_contents"), row.get("new_contents")
    if not isinstance(old, str) or not isinstance(new, str):
        raise RefusedError("no_content: old_contents and new_contents are not both texts")
    oid = text_of(first(row, "commit", "sha", "revision"))
    old_path = text_of(first(row, "old_file", "path", "new_file")) or "file"
    new_path = text_of(first(row, "new_file", "path", "old_file")) or "file"
    message = text_of(first(row, "message", "subject"))
    # The patch points into the two texts: they must live as long as it does.
    before, after = old.encode("utf-8", "replace"), new.encode("utf-8", "replace")
    patch = pygit2.Patch.create_from(before, after, old_path, new_path)
    piece = _piece(patch) if patch is not None else ""
    content = _joined(cleaned(message), [piece] if piece else [], bounds)
    license_name = first(row, "license", "licenses")
    return Found(
        "adjacent",
        text_of(first(row, "repos", "repo", "repo_name")).split(",")[0],
        oid,
        f"commits/{oid}/{new_path}" if oid else place,
        canonical(license_name) if isinstance(license_name, str) else None,
        len(content),
        content,
        language="Commit",
    )


def cleaned(message: str) -> str:
    """A message without trailers, addresses and the blank lines that they leave."""
    text = text_of(message).replace("\0", "")
    text = _ADDRESS.sub("", _TRAILER.sub("", text))
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _joined(message: str, pieces: list[str], bounds: Bounds) -> bytes:
    words = len(message.split())
    if words < bounds.min_message_words:
        raise RefusedError(f"short_message: {words} words, limit {bounds.min_message_words}")
    if not pieces:
        raise RefusedError("no_text_change")
    size = sum(map(len, pieces))
    if size > bounds.max_diff_kib << 10:
        raise RefusedError(f"long_diff: {size:,} characters, limit {bounds.max_diff_kib << 10:,}")
    return f"{message}\n\n{''.join(pieces)}".encode()
