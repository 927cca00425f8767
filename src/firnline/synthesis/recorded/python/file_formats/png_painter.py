"""Draw a small picture and save it as PNG, using nothing but ``zlib``.

A PNG file is a signature and a list of chunks; the pixels are filtered line by line
and compressed.  A filter replaces each byte by its difference from a neighbour, so
that smooth areas become runs of zeros.  Which neighbour is best depends on the line;
the usual rule is to try all five filters and keep the one whose differences have the
smallest sum of absolute values.

The decoder at the end handles exactly what the encoder writes and serves as its test.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
Colour = tuple[int, int, int]


class Canvas:
    """A grid of RGB pixels; drawing outside of it is ignored."""

    def __init__(self, width: int, height: int, background: Colour = (255, 255, 255)) -> None:
        if width < 1 or height < 1:
            raise ValueError("a picture has at least one pixel")
        self.width, self.height = width, height
        self.rows = [bytearray(bytes(background) * width) for _ in range(height)]

    def __getitem__(self, place: tuple[int, int]) -> Colour:
        x, y = place
        return tuple(self.rows[y][3 * x : 3 * x + 3])  # type: ignore[return-value]

    def dot(self, x: int, y: int, colour: Colour) -> None:
        if 0 <= x < self.width and 0 <= y < self.height:
            self.rows[y][3 * x : 3 * x + 3] = bytes(colour)

    def line(self, x0: int, y0: int, x1: int, y1: int, colour: Colour) -> None:
        """Draw a straight line with Bresenham's integer method."""
        dx, dy = abs(x1 - x0), -abs(y1 - y0)
        step_x, step_y = (1 if x0 < x1 else -1), (1 if y0 < y1 else -1)
        error = dx + dy
        while True:
            self.dot(x0, y0, colour)
            if (x0, y0) == (x1, y1):
                return
            doubled = 2 * error
            if doubled >= dy:
                error, x0 = error + dy, x0 + step_x
            if doubled <= dx:
                error, y0 = error + dx, y0 + step_y

    def disc(self, cx: int, cy: int, radius: int, colour: Colour) -> None:
        for y in range(cy - radius, cy + radius + 1):
            for x in range(cx - radius, cx + radius + 1):
                if (x - cx) ** 2 + (y - cy) ** 2 <= radius**2:
                    self.dot(x, y, colour)


def _paeth(left: int, up: int, corner: int) -> int:
    """Return the neighbour that is nearest to ``left + up - corner``."""
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))


def _predictor(kind: int, left: int, up: int, corner: int) -> int:
    return (0, left, up, (left + up) // 2, _paeth(left, up, corner))[kind]


def _filter(kind: int, row: bytes, above: bytes) -> bytes:
    result = bytearray()
    for i, value in enumerate(row):
        left, corner = (row[i - 3], above[i - 3]) if i >= 3 else (0, 0)
        result.append((value - _predictor(kind, left, above[i], corner)) & 0xFF)
    return bytes(result)


def _unfilter(kind: int, data: bytes, above: bytes) -> bytearray:
    row = bytearray()
    for i, difference in enumerate(data):
        left, corner = (row[i - 3], above[i - 3]) if i >= 3 else (0, 0)
        row.append((difference + _predictor(kind, left, above[i], corner)) & 0xFF)
    return row


def _cost(filtered: bytes) -> int:
    return sum(min(value, 256 - value) for value in filtered)


def _chunk(tag: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def encode(canvas: Canvas) -> bytes:
    """Return the picture as the bytes of a PNG file."""
    lines, above = [], bytes(3 * canvas.width)
    for row in canvas.rows:
        candidates = [(kind, _filter(kind, row, above)) for kind in range(5)]
        kind, filtered = min(candidates, key=lambda item: _cost(item[1]))
        lines.append(bytes([kind]) + filtered)
        above = bytes(row)
    header = struct.pack(">2I5B", canvas.width, canvas.height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(lines), 9)
    parts = [_chunk(b"IHDR", header), _chunk(b"IDAT", pixels), _chunk(b"IEND", b"")]
    return SIGNATURE + b"".join(parts)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(SIGNATURE)
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        body = data[position + 4 : position + 8 + length]
        if struct.pack(">I", zlib.crc32(body)) != data[position + 8 + length :][:4]:
            raise ValueError(f"damaged chunk at byte {position}")
        yield body[:4], body[4:]
        position += length + 12


def decode(data: bytes) -> Canvas:
    """Read an RGB picture with 8 bits per channel back into a canvas."""
    if not data.startswith(SIGNATURE):
        raise ValueError("not a PNG file")
    chunks = dict(_chunks(data))
    width, height, *rest = struct.unpack(">2I5B", chunks[b"IHDR"])
    if rest != [8, 2, 0, 0, 0]:
        raise ValueError(f"unsupported kind of PNG: {rest}")
    canvas, raw = Canvas(width, height), zlib.decompress(chunks[b"IDAT"])
    above, stride = bytes(3 * width), 3 * width + 1
    for y in range(height):
        line = raw[y * stride : (y + 1) * stride]
        canvas.rows[y] = _unfilter(line[0], line[1:], above)
        above = bytes(canvas.rows[y])
    return canvas


if __name__ == "__main__":
    picture = Canvas(48, 32, background=(200, 220, 255))
    for y in range(32):
        picture.line(0, y, 47, y, (120 + 4 * y, 180, 255 - 3 * y))
    picture.disc(36, 8, 5, (255, 220, 0))
    picture.line(-5, 40, 60, 12, (20, 90, 20))
    image = encode(picture)
    assert decode(image).rows == picture.rows
    print(f"{48 * 32 * 3} bytes of pixels became a file of {len(image)} bytes")
    assert len(image) < 1500 and picture[36, 8] == (255, 220, 0)
    for damage in (b"JFIF" + image, image[:60] + b"?" + image[61:]):
        try:
            decode(damage)
        except ValueError as error:
            print("refused:", error)
        else:
            raise AssertionError("damage was not noticed")
