"""Files over HTTP: their size, and reading them in ranges with retries."""

from __future__ import annotations

import io
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from typing import Any, TypeVar

Result = TypeVar("Result")

_AGENT = {"User-Agent": "firnline"}
_FIRST_WAIT_SECONDS = 0.25
_PASSING = frozenset({408, 429, 500, 502, 503, 504})


class ChangedError(OSError):
    """A file is no longer the one that was listed."""


def check_size(listed: int, found: int) -> None:
    """Raises ChangedError where a file's size is not the one listed."""
    if listed != found:
        raise ChangedError(f"listed {listed:,} bytes, now {found:,}")


@dataclass(frozen=True)
class Head:
    """Size in bytes, modification time in nanoseconds where it is told, a version mark."""

    size: int
    modified: int | None
    mark: str


def head(url: str, attempts: int, timeout: float) -> Head:
    """What a server says of a file. OSError where it does not answer or tells no size."""

    def ask() -> Head:
        # One byte, not HEAD: an address signed for reading answers nothing else.
        request = urllib.request.Request(url, headers={**_AGENT, "Range": "bytes=0-0"})
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            length = answer.headers.get("Content-Length", "")
            if answer.status == 206:
                length = answer.headers.get("Content-Range", "").rpartition("/")[2]
            if not length.isdigit():
                raise ValueError("the server does not tell the file's size")
            changed = answer.headers.get("Last-Modified", "")
            return Head(int(length), _nanoseconds(changed), answer.headers.get("ETag") or changed)

    return _with_retries(ask, attempts)


def _nanoseconds(date: str) -> int | None:
    try:
        return int(parsedate_to_datetime(date).timestamp()) * 1_000_000_000
    except ValueError:
        return None


class HttpFile(io.RawIOBase):
    """A file read in ranges; a broken connection goes on from where it broke."""

    def __init__(self, url: str, size: int, attempts: int, timeout: float) -> None:
        self.name, self._size = url, size
        self._attempts, self._timeout = attempts, timeout
        self._position = 0
        self._answer: HTTPResponse | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        target = offset + (0, self._position, self._size)[whence]
        if target != self._position:
            self._drop()
        self._position = target
        return target

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size:
            return 0
        count = _with_retries(lambda: self._read(buffer), self._attempts)
        self._position += count
        return count

    def _read(self, buffer: Any) -> int:
        try:
            if self._answer is None:
                self._answer = self._open()
            count = self._answer.readinto(buffer)
            if count == 0:
                raise ConnectionError(f"the connection ended at byte {self._position:,}")
            return count
        except (OSError, HTTPException):
            self._drop()
            raise

    def _open(self) -> HTTPResponse:
        headers = {**_AGENT, "Range": f"bytes={self._position}-"} if self._position else _AGENT
        request = urllib.request.Request(self.name, headers=headers)
        answer: HTTPResponse = urllib.request.urlopen(request, timeout=self._timeout)
        if self._position and answer.status != 206:
            answer.close()
            raise ValueError("the server does not serve ranges of the file")
        if "Content-Length" in answer.headers:
            check_size(self._size, self._position + int(answer.headers["Content-Length"]))
        return answer

    def _drop(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def close(self) -> None:
        self._drop()
        super().close()


def _with_retries(work: Callable[[], Result], attempts: int) -> Result:
    """Tries again, with doubling waits, what may pass; OSError after the last attempt."""
    for attempt in range(attempts):
        try:
            return work()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise FileNotFoundError(f"HTTP 404 {error.reason}") from error
            failure: Exception = OSError(f"HTTP {error.code} {error.reason}")
            if error.code not in _PASSING:
                raise failure from error
        except ChangedError:
            raise
        except (OSError, HTTPException) as error:
            failure = error
        except ValueError as error:
            raise OSError(str(error)) from error
        if attempt + 1 < attempts:
            time.sleep(_FIRST_WAIT_SECONDS * 2**attempt)
    raise OSError(f"{failure}, after {attempts} attempts")
