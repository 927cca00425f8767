"""Read HTTP/1.1 requests from a byte stream, however it is cut into packets.

A server receives bytes, not messages: one read may bring half a header, another one
the end of a request together with the start of the next.  ``RequestReader`` is "sans
I/O": it is fed with bytes and hands out complete requests, so it works with sockets,
files and tests alike.

A body is announced by ``Content-Length`` or sent in chunks.  A message that has both,
or two different lengths, is refused, since two programs that disagree about where a
request ends can be tricked into treating a body as a second request.
"""

from __future__ import annotations

from collections.abc import Generator
from string import ascii_letters, digits, hexdigits
from typing import TypeVar
from dataclasses import dataclass, field

_T = TypeVar("_T")
_Step = Generator[None, None, _T]  # yields when it needs more bytes, returns a part
_TOKEN = set((ascii_letters + digits + "!#$%&'*+-.^_`|~").encode())


class BadRequest(ValueError):
    """The bytes break the protocol; ``status`` is the response code to send."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class RequestReader:
    """Collects bytes and yields requests as soon as they are complete."""

    def __init__(self, max_head: int = 8192, max_body: int = 1 << 20) -> None:
        self._max_head, self._max_body = max_head, max_body
        self._buffer = bytearray()
        self._parser = self._requests()

    def feed(self, data: bytes) -> list[Request]:
        """Add received bytes and return the requests that they complete."""
        self._buffer += data
        return list(iter(self._parser.__next__, None))

    def _requests(self) -> Generator[Request | None, None, None]:
        while True:
            line = yield from self._line(self._max_head, 414)
            if not line:
                continue  # tolerate empty lines between two requests
            request = _parse_request_line(line)
            request.headers = yield from self._header_block()
            request.body = yield from self._body(request.headers)
            yield request

    def _line(self, limit: int, status: int = 431) -> _Step[bytes]:
        while (end := self._buffer.find(b"\r\n")) < 0 and len(self._buffer) <= limit:
            yield None
        if not 0 <= end <= limit:
            raise BadRequest("line too long", status)
        return (yield from self._exactly(end + 2))[:-2]

    def _exactly(self, count: int) -> _Step[bytes]:
        while len(self._buffer) < count:
            yield None
        data, self._buffer = bytes(self._buffer[:count]), self._buffer[count:]
        return data

    def _header_block(self) -> _Step[dict[str, str]]:
        headers: dict[str, str] = {}
        room = self._max_head
        while line := (yield from self._line(room)):
            room -= len(line)
            name, colon, value = line.partition(b":")
            if not colon or not name or not set(name) <= _TOKEN:
                raise BadRequest(f"malformed header line {line!r}")
            key, text = name.decode().lower(), value.strip().decode("latin-1")
            if key in headers and key in ("content-length", "host"):
                raise BadRequest(f"repeated {key}")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        return headers

    def _body(self, headers: dict[str, str]) -> _Step[bytes]:
        coding = headers.get("transfer-encoding")
        length = headers.get("content-length")
        if coding is not None:
            if length is not None:
                raise BadRequest("both a length and a transfer coding")
            if coding.lower() != "chunked":
                raise BadRequest(f"unknown transfer coding {coding}", 501)
            return (yield from self._chunks())
        length = length or "0"
        if not (length.isascii() and length.isdigit()):
            raise BadRequest(f"bad length {length!r}")
        if int(length) > self._max_body:
            raise BadRequest("body too large", 413)
        return (yield from self._exactly(int(length)))

    def _chunks(self) -> _Step[bytes]:
        body = b""
        while True:
            size_text = (yield from self._line(64)).partition(b";")[0].strip()
            if not size_text or not set(size_text) <= set(hexdigits.encode()):
                raise BadRequest(f"bad chunk size {size_text!r}")
            size = int(size_text, 16)
            if len(body) + size > self._max_body:
                raise BadRequest("body too large", 413)
            if size == 0:
                yield from self._header_block()  # trailers are read and dropped
                return body
            body += yield from self._exactly(size)
            if (yield from self._exactly(2)) != b"\r\n":
                raise BadRequest("chunk without an end")


def _parse_request_line(line: bytes) -> Request:
    parts = line.split(b" ")
    if len(parts) != 3 or not parts[0] or not set(parts[0]) <= _TOKEN or not parts[1]:
        raise BadRequest(f"malformed request line {line!r}")
    if parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise BadRequest("unsupported version", 505)
    return Request(parts[0].decode(), parts[1].decode("latin-1"))


STREAM = (
    b"GET /a HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\naccept: image/png\r\n\r\n"
    b"\r\nPOST /b HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\n12\r\n3"
    b"PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4;x=1\r\nwiki\r\nA\r\n0123456789\r\n0\r\n\r\n"
)

if __name__ == "__main__":
    whole = RequestReader().feed(STREAM)
    assert [request.body for request in whole] == [b"", b"12\r\n3", b"wiki0123456789"]
    assert whole[0].headers["accept"] == "text/html, image/png"
    for size in range(1, 40):
        reader, requests = RequestReader(), []
        for start in range(0, len(STREAM), size):
            requests += reader.feed(STREAM[start : start + size])
        assert requests == whole, size
    head = b"POST / HTTP/1.1\r\n"
    for wrong in (
        b"GET /\r\n", b"GET / HTTP/3\r\n", head + b"a : b\r\n",
        head + b"Content-Length: -1\r\n\r\n", head + b"Content-Length: 9999999\r\n\r\n",
        head + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", b"x" * 9000,
    ):
        try:
            RequestReader().feed(wrong)
        except BadRequest as error:
            print(error.status, str(error)[:60])
            continue
        raise AssertionError(wrong)
