"""Files that sources read whole or in ranges: on this machine, `s3://`, `gs://`, `https://`.

Object stores go through Arrow's file systems: they read ranges as they are asked for, which the
dataframe engine's own readers, made for whole tables, do not. HTTP goes through the standard
library and reads on, after a broken connection, from the byte where it broke.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from pyarrow import fs
from pydantic import BaseModel, ConfigDict, Field

from firnline.corpus import http
from firnline.corpus.listing import entry_of, walk
from firnline.corpus.parts import as_text
from firnline.errors import FirnlineError

_BUFFER_BYTES = 1 << 20
_EARLIEST = 315_619_200
"""1980-01-02: zip knows no earlier time, and writes its first day where there is none."""
_DAY_SECONDS = 86_400
_GLOB = re.compile(r"[*?\[]")


class Storage(BaseModel):
    """How remote files are reached; credentials come from the environment as the vendors name it.

    S3: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`,
    `AWS_ENDPOINT_URL` or `~/.aws`. Google: `GOOGLE_APPLICATION_CREDENTIALS`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    endpoint: str | None = None
    """An S3 or Google endpoint of your own: `http://localhost:9000`."""
    region: str | None = None
    """The S3 region; null: as the environment says, else us-east-1."""
    anonymous: bool = False
    """Ask without credentials, for public buckets."""
    attempts: int = Field(default=6, ge=1)
    """Tries of one request; the waits between them double. Then the run ends with one line."""
    timeout_seconds: float = Field(default=30.0, gt=0)
    """For a connection, and for an answer over HTTP."""


@dataclass(frozen=True, slots=True)
class Blob:
    """One file as listed: where it is, bytes, modification time in nanoseconds, a version mark.

    `problem` is a ledger rule for what is not to be read at all; `below` is the path below the
    folder that was searched, where one was.
    """

    url: str
    size: int
    modified: int | None = None
    mark: str = ""
    problem: str | None = None
    below: str = ""

    @property
    def place(self) -> str:
        """What tells it from the others of its source, the same on every machine."""
        return as_text(self.below) or self.name

    @property
    def name(self) -> str:
        """The last part of its path, as text."""
        return self.shown.rstrip("/").rsplit("/", 1)[-1]

    @property
    def shown(self) -> str:
        """Its address as text for people, without what a signed address has after `?`."""
        return _shown(as_text(self.url))

    def fingerprint(self) -> str:
        """Changes with the file's place, size and version."""
        mark = f"{as_text(self.url)}\0{self.size}\0{self.mark}\0{self.problem}"
        return hashlib.blake2b(mark.encode(), digest_size=16).hexdigest()

    def true_time(self, seconds: int | None) -> int | None:
        """A time told inside the file where it can be true: after 1979, no later than the file.

        The file's own time stands for now, so that the answer does not depend on today.
        """
        if seconds is None or self.modified is None:
            return None
        latest = self.modified // 1_000_000_000 + _DAY_SECONDS
        return seconds if _EARLIEST <= seconds <= latest else None


def _shown(url: str) -> str:
    return url.split("?")[0] if url.startswith(("http://", "https://")) else url


def find(path: str, suffixes: tuple[str, ...], storage: Storage) -> list[Blob]:
    """What a path names, in name order: one file, the files below a folder, or those of a glob.

    Below a folder only files with one of `suffixes` count. `*` stays inside a folder, `**` goes
    below. Raises FirnlineError where nothing is found.
    """
    if path.startswith(("http://", "https://")):
        found = [_http_blob(path, storage)]
    elif path.startswith(("s3://", "gs://")):
        found = _remote(path, suffixes, storage)
    elif "://" in path:
        raise FirnlineError(
            f"no storage for {path}", mend="give a path, or s3://, gs://, https:// or http://"
        )
    else:
        found = _local(Path(path).expanduser(), suffixes)
    if not found:
        kinds = " ".join(suffixes)
        raise FirnlineError(f"no files in {path}", mend=f"a folder is searched for {kinds}")
    return sorted(found, key=lambda blob: os.fsencode(blob.url))


def _local(path: Path, suffixes: tuple[str, ...]) -> list[Blob]:
    if path.is_file():
        entry = entry_of(str(path.resolve().parent), path.resolve().name)
        return [Blob(str(path), entry.size, entry.changed, str(entry.changed), entry.problem)]
    if path.is_dir():
        root, matches = path, _ends(suffixes)
    elif _GLOB.search(str(path)):
        root, matches = _split_glob(path)
    else:
        raise FirnlineError(f"no file or folder {path}", mend="check the source's path")
    return [
        Blob(str(root / e.locator), e.size, e.changed, str(e.changed), e.problem, e.locator)
        for e in walk(root)
        if matches.fullmatch(e.locator)
    ]


def _split_glob(path: Path) -> tuple[Path, re.Pattern[str]]:
    at = next(n for n, part in enumerate(path.parts) if _GLOB.search(part))
    return Path(*path.parts[:at]), glob_pattern("/".join(path.parts[at:]))


def glob_pattern(glob: str) -> re.Pattern[str]:
    """A glob as a regular expression: `*` and `?` inside a folder, `**/` any folders."""
    pattern = ""
    for token in re.findall(r"\*\*/?|\[!?\]?[^\]]*\]|.", glob, re.DOTALL):
        if token.startswith("**"):
            pattern += "(?:.*/)?" if token.endswith("/") else ".*"
        elif token == "*":
            pattern += "[^/]*"
        elif token == "?":
            pattern += "[^/]"
        elif token.startswith("[") and len(token) > 1:
            pattern += "[" + token[1:].replace("\\", "\\\\").replace("!", "^", token[1] == "!")
        else:
            pattern += re.escape(token)
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise FirnlineError(f"no glob {glob!r}: {error}", mend="correct the brackets") from error


def _ends(suffixes: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(".*(?:" + "|".join(map(re.escape, suffixes)) + ")", re.DOTALL | re.IGNORECASE)


def _remote(url: str, suffixes: tuple[str, ...], storage: Storage) -> list[Blob]:
    scheme, _, path = url.partition("://")
    system = _system(scheme, storage)
    path = path.rstrip("/")
    matches = _ends(suffixes)
    glob = _GLOB.search(path)
    if glob:
        root = path[: glob.start()].rpartition("/")[0]
        matches = glob_pattern(path[len(root) + 1 :])
        path = root
    if not path:
        raise FirnlineError(f"no bucket in {url}", mend=f"write {scheme}://BUCKET/…")
    try:
        if not glob and (info := system.get_file_info(path)).type == fs.FileType.File:
            return [_remote_blob(scheme, info)]
        below = system.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    except OSError as error:
        raise _unreachable(url, error) from error
    return [
        _remote_blob(scheme, info, info.path[len(path) + 1 :])
        for info in below
        if info.type == fs.FileType.File and matches.fullmatch(info.path[len(path) + 1 :])
    ]


def _remote_blob(scheme: str, info: fs.FileInfo, below: str = "") -> Blob:
    url, mark = f"{scheme}://{info.path}", str(info.mtime_ns)
    return Blob(url, info.size, info.mtime_ns, mark, below=below)


def _http_blob(url: str, storage: Storage) -> Blob:
    try:
        head = http.head(url, storage.attempts, storage.timeout_seconds)
    except OSError as error:
        raise _unreachable(url, error) from error
    return Blob(url, head.size, head.modified, head.mark)


def _system(scheme: str, storage: Storage) -> Any:
    endpoint = storage.endpoint
    if scheme == "s3":  # Arrow does not look for it
        names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
        endpoint = endpoint or next((os.environ[n] for n in names if os.environ.get(n)), None)
    return _connect(scheme, storage, endpoint)


@cache
def _connect(scheme: str, storage: Storage, endpoint: str | None) -> Any:
    options: dict[str, Any] = {"anonymous": storage.anonymous}
    if endpoint:
        kind, _, place = endpoint.rstrip("/").rpartition("://")
        options |= {"endpoint_override": place, "scheme": kind or "https"}
    if scheme == "gs":
        limit = timedelta(seconds=storage.attempts * storage.timeout_seconds)
        return fs.GcsFileSystem(retry_time_limit=limit, **options)
    return fs.S3FileSystem(
        region=storage.region,
        connect_timeout=storage.timeout_seconds,
        request_timeout=storage.timeout_seconds,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=storage.attempts),
        **options,
    )


def open_blob(blob: Blob, storage: Storage) -> BinaryIO:
    """The file for reading, with seeking. OSError where it is gone, may not be read, or changed.

    Where a remote store does not answer, reading raises FirnlineError: an outage must not look like
    a damaged file.
    """
    if blob.url.startswith(("http://", "https://")):
        raw = http.HttpFile(blob.url, blob.size, storage.attempts, storage.timeout_seconds)
        return io.BufferedReader(_Guarded(raw, blob.url), _BUFFER_BYTES)
    scheme, separator, path = blob.url.partition("://")
    if not separator:
        http.check_size(blob.size, Path(blob.url).stat().st_size)
        return Path(blob.url).open("rb")
    try:
        remote = _system(scheme, storage).open_input_file(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreachable(blob.url, error) from error
    http.check_size(blob.size, remote.size())
    return io.BufferedReader(_Guarded(remote, blob.url), _BUFFER_BYTES)


class _Guarded(io.RawIOBase):
    """A remote file whose failing reads end the run with one line."""

    def __init__(self, file: Any, url: str) -> None:
        self._file, self._url = file, url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return int(self._file.readinto(buffer))
        except http.ChangedError:
            raise
        except OSError as error:
            raise _unreachable(self._url, error) from error

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()
        super().close()


def _unreachable(url: str, error: OSError) -> FirnlineError:
    reason = " ".join(str(error).split())
    return FirnlineError(
        f"cannot read {_shown(url)}: {reason[:300]}",
        mend="check the address, the credentials and the endpoint, then run again: finished "
        "shards are kept",
    )
