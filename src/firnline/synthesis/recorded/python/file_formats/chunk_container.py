"""A container file for named chunks with checksums, readable after a crash.

Layout: an eight-byte signature, then chunks.  Each chunk has a four-letter tag, the
length of its data, the data and a checksum over tag and data.  A reader skips tags
that it does not know if they are in lower case (optional) and refuses the file if
they are in upper case (critical), so the format can grow without a version number.

Files are often damaged at the end, when a program dies while it writes.  ``salvage``
returns all chunks up to the first damage and says what went wrong.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

# A byte above 127 and both kinds of line ends reveal transfers that alter bytes.
SIGNATURE = b"\x8fCHK\r\n\x1a\n"
_HEAD = struct.Struct("<4sI")
_SUM = struct.Struct("<I")
MAX_CHUNK = 1 << 28


class FormatError(ValueError):
    """The file is damaged; ``offset`` tells where."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"{reason} at byte {offset}")
        self.offset = offset


@dataclass(frozen=True)
class Chunk:
    tag: str
    data: bytes

    def __post_init__(self) -> None:
        if len(self.tag) != 4 or not (self.tag.isascii() and self.tag.isalpha()):
            raise ValueError(f"a tag has four letters, not {self.tag!r}")
        if len(self.data) > MAX_CHUNK:
            raise ValueError("chunk too large")

    @property
    def critical(self) -> bool:
        return self.tag[0].isupper()


class Writer:
    """Writes chunks to a binary stream; use it as a context manager.

    The end marker is written only if the block finishes without an exception, so
    an incomplete file can be told from a complete one.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        stream.write(SIGNATURE)

    def write(self, chunk: Chunk) -> None:
        tag = chunk.tag.encode()
        self._stream.write(_HEAD.pack(tag, len(chunk.data)))
        self._stream.write(chunk.data)
        self._stream.write(_SUM.pack(zlib.crc32(chunk.data, zlib.crc32(tag))))

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.write(Chunk("Done", b""))


def read_chunks(stream: BinaryIO, known: Iterable[str]) -> Iterator[Chunk]:
    """Yield the chunks with known tags; raise FormatError at the first damage."""
    known = set(known)
    offset = 0

    def take(count: int, what: str) -> bytes:
        nonlocal offset
        data = stream.read(count)
        if len(data) < count:
            raise FormatError(f"file ends inside the {what}", offset + len(data))
        offset += count
        return data

    if take(len(SIGNATURE), "signature") != SIGNATURE:
        raise FormatError("not a chunk file", 0)
    while True:
        start = offset
        raw_tag, length = _HEAD.unpack(take(_HEAD.size, "chunk header"))
        if length > MAX_CHUNK or not raw_tag.isalpha():
            raise FormatError("senseless chunk header", start)
        tag = raw_tag.decode("ascii")
        data = take(length, f"chunk {tag}")
        (expected,) = _SUM.unpack(take(_SUM.size, "checksum"))
        if zlib.crc32(data, zlib.crc32(raw_tag)) != expected:
            raise FormatError(f"wrong checksum of chunk {tag}", start)
        chunk = Chunk(tag, data)
        if tag == "Done":
            if stream.read(1):
                raise FormatError("bytes behind the end marker", offset)
            return
        if tag in known:
            yield chunk
        elif chunk.critical:
            raise FormatError(f"unknown critical chunk {tag}", start)


def salvage(stream: BinaryIO, known: Iterable[str]) -> tuple[list[Chunk], FormatError | None]:
    """Return the undamaged chunks at the beginning, and the first error if any."""
    chunks: list[Chunk] = []
    try:
        chunks.extend(read_chunks(stream, known))  # extend keeps what came before an error
    except FormatError as error:
        return chunks, error
    return chunks, None


if __name__ == "__main__":
    original = [Chunk("Text", b"first"), Chunk("Text", b""), Chunk("Data", bytes(range(200)))]
    buffer = io.BytesIO()
    with Writer(buffer) as writer:
        for chunk in original:
            writer.write(chunk)
        writer.write(Chunk("note", b"an optional remark of a later version"))
    image = buffer.getvalue()
    known = ("Text", "Data")
    assert list(read_chunks(io.BytesIO(image), known)) == original

    # Every cut is noticed, and what was saved is always a true beginning.
    for cut in range(len(image)):
        saved, damage = salvage(io.BytesIO(image[:cut]), known)
        assert damage is not None and saved == original[: len(saved)]

    # So is every change of a single byte.
    for position in range(len(image)):
        bad = bytearray(image)
        bad[position] ^= 0x21
        saved, damage = salvage(io.BytesIO(bytes(bad)), known)
        assert damage is not None and saved == original[: len(saved)], position
    print(f"all {len(image)} cuts and {len(image)} changed bytes were detected")

    for name, data, expected in [
        ("unknown", image, "unknown critical chunk Data"),
        ("longer", image + b"!", "bytes behind the end marker"),
        ("other file", b"GIF89a" + image, "not a chunk file"),
    ]:
        _, damage = salvage(io.BytesIO(data), known if name != "unknown" else ("Text",))
        print(f"{name}: {damage}")
        assert damage is not None and expected in str(damage)
