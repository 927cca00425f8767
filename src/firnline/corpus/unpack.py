"""Unpacks gzip, zstd, bzip2 and xz as a stream, within limits."""

from __future__ import annotations

import lzma
import re
from typing import Any, BinaryIO

import pyarrow as pa

from firnline.corpus.http import ChangedError
from firnline.corpus.members import ArchiveError
from firnline.corpus.parts import Limits

_SLACK_BYTES = 64 << 20
"""Unpacked, before the ratio counts: a short archive of one repeated file is no bomb."""
_PIECE_BYTES = 4096
_COMPRESSIONS = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
)


_PACKED = re.compile(r"(?i)\.(?:gz|tgz|crate|zst|tzst|bz2|tbz2|xz|txz|zip|whl)$")
_SHRINKS = 4
"""Source code packs to about a quarter: 3.5 to 5.5 times here (docs/ingest.md)."""


def likely_bytes(name: str, size: int) -> int:
    """What a file of that name and size is likely to unpack to."""
    return size * _SHRINKS if _PACKED.search(name) else size


class Unpacked:
    """The unpacked bytes of a file, plain where no compression is known by its first bytes.

    Raises ArchiveError where they end early, are damaged or grow beyond the limits.
    """

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._packed, self._limits, self._total = file, limits, 0
        head = file.read(8)
        file.seek(0)
        compression = next((n for magic, n in _COMPRESSIONS if head.startswith(magic)), None)
        self._stream: Any = file
        self._damage: str | None = None
        self._piece = _PIECE_BYTES if compression else 1 << 30
        if compression == "xz":
            self._stream = lzma.LZMAFile(file)  # noqa: SIM115 - closed with `file`
        elif compression is not None:
            self._stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), compression)

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end. What came before damage is given first."""
        pieces: list[bytes] = []
        left = size
        while left > 0 and self._damage is None:
            try:
                # A read that meets damage gives nothing: small ones lose little.
                data = self._stream.read(min(left, self._piece))
            except ChangedError:
                raise
            except (OSError, EOFError, lzma.LZMAError) as error:
                self._damage = " ".join(str(error).split())
                break
            if not data:
                break
            pieces.append(data)
            left -= len(data)
        if self._damage is not None and not pieces:
            cut = re.search(r"(?i)truncated|end-of-stream|ended before", self._damage)
            rule = "archive_truncated" if cut else "archive_corrupt"
            raise ArchiveError(f"{rule}: {self._damage}")
        self._total += size - left
        check_growth(self._total, self._packed.tell(), self._limits)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def check_growth(unpacked: int, packed: int, limits: Limits) -> None:
    """Raises ArchiveError where more came out than the limits allow."""
    if unpacked > limits.max_total_bytes:
        raise ArchiveError(f"archive_bomb: more than {limits.max_total_bytes:,} bytes")
    if unpacked > max(_SLACK_BYTES, packed * limits.max_ratio):
        raise ArchiveError(f"archive_bomb: {unpacked:,} bytes from {packed:,}")
