"""Reads zip archives: by their directory, or forward where that is damaged, missing or huge.

PKWARE APPNOTE 6.3: local header 4.3.7, data descriptor 4.3.9, end of directory 4.3.16.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import BinaryIO

from firnline.corpus.members import UNNAMED, ArchiveError, Member, Refuse

_DIRECTORY_BYTES = 32 << 20
"""A larger directory is not held in memory."""
_LOCAL = struct.Struct("<4s5H3I2H")
_END = struct.Struct("<4s4H2IH")
_CHUNK = 1 << 16
_INFLATED_BYTES = 1 << 30
"""No member of unknown size is inflated further to find its end."""
_STORED, _DEFLATED = 0, 8
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    EOFError,
    ValueError,
    OverflowError,
    OSError,
)


def read_zip(file: BinaryIO, refuse: Refuse, most: int) -> Iterator[Member]:
    """The members that are not folders, in the order of their data.

    A comment of the archive comes first, as a member without a path (git writes the commit
    there). No member gives more than `most` bytes. Raises ArchiveError where the archive is cut
    short or its structure is damaged; what was whole before has been given.
    """
    damage = None
    if _directory_bytes(file) <= _DIRECTORY_BYTES:
        try:
            archive = zipfile.ZipFile(file)
        except _DAMAGE as error:
            damage = f"archive_truncated: no whole directory ({error})"
        else:
            yield from _by_directory(archive, refuse)
            return
    yield from _forward(file, refuse, most)
    if damage is not None:
        raise ArchiveError(damage)


def _directory_bytes(file: BinaryIO) -> int:
    """What the end record says, capped at 4 GiB; 0 where there is none."""
    size = file.seek(0, 2)
    start = file.seek(max(0, size - (1 << 16) - _END.size))
    tail = file.read(size - start)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        return 0
    return int(_END.unpack_from(tail, at)[5])


def _by_directory(archive: zipfile.ZipFile, refuse: Refuse) -> Iterator[Member]:
    if archive.comment:
        yield Member("", 0, content=archive.comment)
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        path = _name(info)
        if path.endswith("/"):
            continue
        member = Member(path or UNNAMED, info.file_size, _time(info))
        member.problem = _problem(info) or refuse(path, info.file_size)
        if member.problem is None:
            try:
                with archive.open(info) as file:
                    # The reader gives the bytes stated and no more; the checksum tells a lie.
                    member.content = file.read()
            except _DAMAGE as error:
                member.problem = f"unreadable: {error}"
            else:
                if len(member.content) != info.file_size:
                    read = len(member.content)
                    member.problem = f"unreadable: {info.file_size:,} bytes stated, {read:,} there"
                    member.content = None
        yield member


def _name(info: zipfile.ZipInfo) -> str:
    """UTF-8 that is not marked as such is common; the standard takes it for code page 437."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _time(info: zipfile.ZipInfo) -> int | None:
    """Seconds since 1970; the format knows no zone, UTC is taken."""
    try:
        return int(datetime(*info.date_time, tzinfo=UTC).timestamp())
    except ValueError:
        return None


def _problem(info: zipfile.ZipInfo) -> str | None:
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "symlink"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "not_a_file"
    if info.flag_bits & 1:
        return "encrypted"
    if info.compress_type not in (_STORED, _DEFLATED):
        return f"unreadable: compression method {info.compress_type}"
    return None


def _forward(file: BinaryIO, refuse: Refuse, most: int) -> Iterator[Member]:
    """Members by their local headers, up to the directory or the end."""
    position = 0
    while True:
        file.seek(position)
        header = file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
            if header[:4] in (b"PK\1\2", b"PK\5\6", b"PK\6\6"):
                return
            raise ArchiveError(f"archive_truncated: no member at byte {position:,}")
        _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = _LOCAL.unpack(
            header
        )
        name = file.read(name_bytes).decode("utf-8", "backslashreplace")
        extra = file.read(extra_bytes)
        start = position + _LOCAL.size + name_bytes + extra_bytes
        if 0xFFFFFFFF in (packed, size):
            packed, size = _zip64(extra, packed, size)
        streamed = bool(flags & 8)
        if streamed and (method != _DEFLATED or flags & 1):
            raise ArchiveError(f"archive_truncated: a member of unknown size at byte {position:,}")
        member = Member(name, size)
        if flags & 1:
            member.problem = "encrypted"
        elif method not in (_STORED, _DEFLATED):
            member.problem = f"unreadable: compression method {method}"
        else:
            member.problem = refuse(name, size)
        if streamed or member.problem is None:
            content, used = _member(file, start, None if streamed else packed, method, most)
            if streamed:
                member.size = len(content)
                position = _after_descriptor(file, start + used)
            if member.problem is None:
                member.problem = refuse(name, len(content))
            if member.problem is None:
                if not streamed and (zlib.crc32(content) != crc or len(content) != size):
                    member.problem = "unreadable: the checksum is wrong"
                else:
                    member.content = content
        if not streamed:
            position = start + packed
        if not name.endswith("/"):
            member.path = name or UNNAMED
            yield member


def _zip64(extra: bytes, packed: int, size: int) -> tuple[int, int]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1 and length >= 16 and at + 20 <= len(extra):
            size, packed = struct.unpack_from("<2Q", extra, at + 4)
        at += 4 + length
    return packed, size


def _member(
    file: BinaryIO, start: int, packed: int | None, method: int, most: int
) -> tuple[bytes, int]:
    """(content of at most `most` + 1 bytes, packed bytes) of the data at `start`."""
    file.seek(start)
    if method == _STORED:
        size = packed or 0
        content = file.read(min(size, most + 1))
        if len(content) < min(size, most + 1):
            raise ArchiveError("archive_truncated: cut short in a member")
        return content, size
    inflate = zlib.decompressobj(-15)
    unpacked = bytearray()
    used = inflated = 0
    while not inflate.eof:
        data = inflate.unconsumed_tail
        if not data:
            left = _CHUNK if packed is None else min(_CHUNK, packed - used)
            data = file.read(left) if left > 0 else b""
            used += len(data)
            if not data:
                raise ArchiveError("archive_truncated: cut short in a member")
        try:
            piece = inflate.decompress(data, _CHUNK)
        except zlib.error as error:
            raise ArchiveError(f"archive_corrupt: {error}") from error
        inflated += len(piece)
        if inflated > _INFLATED_BYTES:
            raise ArchiveError(f"archive_bomb: a member of more than {_INFLATED_BYTES:,} bytes")
        unpacked += piece[: max(0, most + 1 - len(unpacked))]
        if len(unpacked) > most and packed is not None:
            return bytes(unpacked), packed
    used -= len(inflate.unused_data)
    return bytes(unpacked), used if packed is None else packed


def _after_descriptor(file: BinaryIO, position: int) -> int:
    """Where the next record begins: descriptors come with and without mark, short and long."""
    file.seek(position)
    data = file.read(28)
    for length in (16, 12, 24, 20):
        if data[length : length + 4] in (b"PK\3\4", b"PK\1\2"):
            return position + length
    raise ArchiveError(f"archive_truncated: no member at byte {position:,}")
