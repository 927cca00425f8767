"""Archives: tar (plain, gz, zst, bz2, xz) and zip, read as streams, never unpacked to disk."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from pydantic import BaseModel, ConfigDict

from firnline.corpus.http import ChangedError
from firnline.corpus.members import ArchiveError, Member
from firnline.corpus.packages import ARCHIVE_SUFFIXES, Package, survey, tells
from firnline.corpus.parts import Found, Limits, refusal
from firnline.corpus.storage import Blob, Storage, find, open_blob
from firnline.corpus.tar import read_tar
from firnline.corpus.unpack import Unpacked, check_growth, likely_bytes
from firnline.corpus.zip import read_zip

_HELD_BYTES = 32 << 20
_CONSTANT_TIMES = frozenset({499_162_500, 1_153_704_088, 1_451_606_400, 1_580_601_600})
"""What npm, cargo, poetry and hatchling give every member of a package."""


class ArchiveSource(BaseModel):
    """Archives: one, a folder of them, or a glob; each is one repository."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["archive"] = "archive"
    path: str
    """A file, a folder or a glob; here, or `s3://`, `gs://`, `https://` (one file)."""
    storage: Storage = Storage()
    """How remote files are reached."""

    def parts(self) -> Iterator[Archive]:
        """One part for each archive, in name order."""
        for blob in find(self.path, ARCHIVE_SUFFIXES, self.storage):
            yield Archive(blob, self.storage)


@dataclass(frozen=True)
class Archive:
    """A part: one archive. What it is decides its first bytes, not its name."""

    blob: Blob
    storage: Storage

    @property
    def name(self) -> str:
        return self.blob.shown

    @property
    def size(self) -> int:
        return likely_bytes(self.blob.name, self.blob.size)

    def fingerprint(self) -> str:
        """Changes with the archive's place, size and version."""
        return self.blob.fingerprint()

    def files(self, limits: Limits) -> Iterator[Found]:
        """Every member that is not a folder.

        The license of a member may come after it. Up to 32 MiB of members are held until the end
        of the archive is seen; a larger archive is read twice, first for its name and license.
        """
        members = self._members(limits)
        held: deque[Member] = deque()
        size = 0
        for member in members:
            held.append(member)
            size += 256 + len(member.content or b"")
            if size > _HELD_BYTES:
                package = survey(self.blob.place, self._members(limits))
                break
        else:
            package = survey(self.blob.place, held)
        while held:
            yield from self._found(held.popleft(), package)
        for member in members:
            yield from self._found(member, package)

    def _found(self, member: Member, package: Package) -> Iterator[Found]:
        if not member.path:
            return
        path = member.path
        if package.top and not member.whole and unsafe(path) is None:
            path = path.removeprefix(package.top + "/")
        constant = member.modified in _CONSTANT_TIMES
        yield Found(
            source="archive",
            repo=package.repo,
            revision=package.revision,
            path=path,
            license=package.license_of(path),
            size=member.size,
            content=member.content,
            created=None if constant else self.blob.true_time(member.modified),
            problem=member.problem,
        )

    def _members(self, limits: Limits) -> Iterator[Member]:
        """Members with clean paths; a last one with a problem where the rest is not read."""
        seen: set[bytes] = set()
        try:
            if self.blob.problem is not None:
                raise ArchiveError(self.blob.problem)
            with open_blob(self.blob, self.storage) as file:
                for number, member in enumerate(self._read(file, limits)):
                    if number >= limits.max_members:
                        raise ArchiveError(f"archive_bomb: more than {number:,} members")
                    if member.path:
                        member.path = clean(member.path)
                        key = hashlib.blake2b(member.path.encode(), digest_size=8).digest()
                        if key in seen and member.problem is None:
                            member.problem, member.content = "repeated_path", None
                        seen.add(key)
                    yield member
            if not seen:
                raise ArchiveError("empty: no files in the archive")
        except ArchiveError as error:
            yield self._whole(str(error))
        except ChangedError as error:
            yield self._whole(f"changed: {error}")
        except OSError as error:
            yield self._whole(f"unreadable: {error.strerror or error}")

    def _whole(self, problem: str) -> Member:
        return Member(self.blob.place, self.blob.size, problem=problem, whole=True)

    def _read(self, file: BinaryIO, limits: Limits) -> Iterator[Member]:
        def refuse(path: str, size: int) -> str | None:
            problem = unsafe(path)
            if problem is None and size <= limits.max_file_bytes and tells(clean(path)):
                return None
            return problem or refusal(path, size, limits)

        head = file.read(2)
        file.seek(0)
        if head == b"PK":
            total = 0
            for member in read_zip(file, refuse, limits.max_file_bytes):
                total += len(member.content or b"")
                check_growth(total, self.blob.size, limits)
                yield member
            return
        yield from read_tar(Unpacked(file, limits), refuse)


def unsafe(path: str) -> str | None:
    """The problem of a path that would lead out of the folder it is unpacked in."""
    if not path:
        return "unsafe_path: no name"
    parts = re.split(r"[/\\]", path)
    if path.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[/\\]", path):
        return "unsafe_path: absolute"
    if ".." in parts:
        return "unsafe_path: .. in it"
    if "\0" in path:
        return "unsafe_path: a null byte in it"
    return None


def clean(path: str) -> str:
    """A path without empty parts and `.`; one that leads out of its folder stays as it is."""
    if unsafe(path) is not None:
        return path.replace("\0", "\\x00")
    return "/".join(part for part in path.split("/") if part not in ("", ".")) or path
