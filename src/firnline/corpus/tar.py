"""Reads tar archives as a stream: ustar, pax and GNU names; nothing is trusted.

POSIX.1-2017, pax, "pax Interchange Format" and "ustar Interchange Format". Python's own reader
takes a damaged header for the end of the archive and reads long names of any length.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from firnline.corpus.members import UNNAMED, ArchiveError, Member, Refuse, Stream

_BLOCK = 512
_NAME_BYTES = 1 << 20
_SKIP_BYTES = 1 << 18
_CHECKSUM = slice(148, 156)
_REFUSED = {
    b"1": "hard_link",
    b"2": "symlink",
    b"3": "not_a_file",
    b"4": "not_a_file",
    b"6": "not_a_file",
    b"S": "not_a_file: sparse",
}


def read_tar(stream: Stream, refuse: Refuse) -> Iterator[Member]:
    """The members that are not folders, in their order.

    The comment of a pax global header (git writes the commit there) comes as a member without a
    path. Raises ArchiveError where the archive is cut short or its structure is damaged; what was
    whole before has been given.
    """
    override: dict[str, bytes] = {}
    everywhere: dict[str, bytes] = {}
    count = 0
    while True:
        header = _exactly(stream, _BLOCK, "a header", may_end=count > 0)
        if not header.strip(b"\0"):
            return
        if not _is_header(header):
            what = "no tar header" if count else "not a tar archive"
            raise ArchiveError(f"{'archive_corrupt' if count else 'not_an_archive'}: {what}")
        kind, size = header[156:157], _number(header[124:136])
        count += 1
        if kind in (b"x", b"g", b"L", b"K"):
            if size > _NAME_BYTES:
                raise ArchiveError(f"archive_corrupt: a header of {size:,} bytes")
            body = _exactly(stream, size, "a header")
            _skip(stream, -size % _BLOCK)
            if kind == b"x":
                override |= _pax(body)
            elif kind == b"g":
                everywhere |= _pax(body)
                if comment := everywhere.get("comment"):
                    yield Member("", 0, content=comment)
            elif kind == b"L":
                override["path"] = body.rstrip(b"\0")
            continue
        values, override = everywhere | override, {}
        if "size" in values:
            size = _decimal(values["size"])
        name = values.get("path") or _name(header)
        path = name.decode("utf-8", "backslashreplace")
        if kind == b"5" or (kind == b"\0" and path.endswith("/")):
            _skip(stream, size + -size % _BLOCK)
            continue
        problem = _REFUSED.get(kind)
        if any(key.startswith("GNU.sparse") for key in values):
            problem = _REFUSED[b"S"]
        if kind == b"S" and header[482]:
            while _exactly(stream, _BLOCK, "a sparse map")[504]:
                pass
        if kind in (b"1", b"2", b"3", b"4", b"6"):
            size = 0
        problem = problem or refuse(path, size)
        modified = _time(values.get("mtime"), header)
        if problem is not None:
            yield Member(path or UNNAMED, size, modified, problem)
            _skip(stream, size + -size % _BLOCK)
        else:
            content = _exactly(stream, size, path)
            yield Member(path or UNNAMED, size, modified, content=content)
            _skip(stream, -size % _BLOCK)


def _is_header(header: bytes) -> bool:
    """Whether the checksum over the header, its own field taken as spaces, is right."""
    try:
        stated = _number(header[_CHECKSUM])
    except ArchiveError:
        return False
    return stated == sum(header) - sum(header[_CHECKSUM]) + 8 * 0x20


def _number(digits: bytes) -> int:
    """A number of a header: octal digits, or base 256 where the first bit is set."""
    if digits[0] & 0x80:
        value = int.from_bytes(bytes([digits[0] & 0x7F]) + digits[1:], "big")
        if digits[0] & 0x40 or value >= 1 << 62:
            raise ArchiveError("archive_corrupt: a negative number in a header")
        return value
    text = digits.split(b"\0", 1)[0].strip()
    if not all(0x30 <= digit <= 0x37 for digit in text):
        raise ArchiveError("archive_corrupt: a number in a header")
    return int(text or b"0", 8)


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 18:
        raise ArchiveError("archive_corrupt: a size in a pax header")
    return int(digits)


def _name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0]
    # GNU's old format keeps times where ustar keeps the prefix.
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def _time(pax: bytes | None, header: bytes) -> int | None:
    try:
        return int(float(pax)) if pax else _number(header[136:148])
    except (ArchiveError, ValueError, OverflowError):
        return None


def _pax(body: bytes) -> dict[str, bytes]:
    """Records `length key=value\\n`, where the length counts the whole record."""
    values: dict[str, bytes] = {}
    position = 0
    while position < len(body) and body[position : position + 1] != b"\0":
        digits, space, _ = body[position : position + 20].partition(b" ")
        if not space or not digits.isdigit():
            raise ArchiveError("archive_corrupt: a pax header")
        end = position + int(digits)
        record = body[position + len(digits) + 1 : end]
        key, equals, value = record.partition(b"=")
        if not equals or end > len(body) or not record.endswith(b"\n"):
            raise ArchiveError("archive_corrupt: a pax header")
        values[key.decode("utf-8", "replace")] = value[:-1]
        position = end
    return values


def _exactly(stream: Stream, size: int, what: str, *, may_end: bool = False) -> bytes:
    """`size` bytes; ArchiveError where the stream ends before."""
    data = stream.read(size)
    if len(data) == size:
        return data
    rest = io.BytesIO()
    rest.write(data)
    while data and rest.tell() < size:
        data = stream.read(size - rest.tell())
        rest.write(data)
    if rest.tell() < size:
        # A tar may lack the blocks of zeros at its end; what is missing then is not known.
        detail = "no end mark" if may_end and not rest.tell() else f"cut short in {what}"
        raise ArchiveError(f"archive_truncated: {detail}")
    return rest.getvalue()


def _skip(stream: Stream, size: int) -> None:
    while size > 0:
        data = stream.read(min(size, _SKIP_BYTES))
        if not data:
            raise ArchiveError("archive_truncated: cut short in a member")
        size -= len(data)
