"""Remote files: a real S3 server on this machine, a faulty one before it, and plain HTTP."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import random
import re
import tarfile
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

from firnline.corpus.archives import ArchiveSource
from firnline.corpus.parts import Found, Limits
from firnline.corpus.stage import IngestConfig, run
from firnline.corpus.storage import Storage, find, glob_pattern, open_blob
from firnline.corpus.tables import TableSource
from firnline.documents import document_shards
from firnline.errors import FirnlineError


def tar_gz(count: int = 3) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        for number in range(count):
            info = tarfile.TarInfo(f"p-1/f{number}.py")
            text = f"x = {number}\n".encode() * 500
            info.size, info.mtime = len(text), 1_600_000_000
            archive.addfile(info, io.BytesIO(text))
    return sink.getvalue()


def read(source: ArchiveSource | TableSource) -> list[Found]:
    return [found for part in source.parts() for found in part.files(Limits())]


def options(endpoint: str, **more: object) -> Storage:
    return Storage.model_validate(
        {"endpoint": endpoint, "region": "us-east-1", "attempts": 4, "timeout_seconds": 5, **more}
    )


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A moto S3 server with the bucket `snow`."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    system = fs.S3FileSystem(
        access_key="key",
        secret_key="secret",
        region="us-east-1",
        endpoint_override=f"{host}:{port}",
        scheme="http",
        allow_bucket_creation=True,
    )
    system.create_dir("snow")
    rows = [{"code": f"x = {n}\n", "repo_name": "r", "path": f"{n}.py"} for n in range(40)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=10)
    objects = {
        "code/a/p-1.tar.gz": tar_gz(),
        "code/b/q-1.tar.gz": tar_gz(),
        "code/b/notes.txt": b"no archive",
        "tables/part.parquet": sink.getvalue(),
        "tables/part.jsonl.gz": gzip.compress(
            "".join(json.dumps(row) + "\n" for row in rows).encode()
        ),
    }
    for name, data in objects.items():
        with system.open_output_stream(f"snow/{name}", compression=None) as stream:
            stream.write(data)
    yield endpoint
    moto.stop()


class Faulty:
    """Passes requests on to a server after answering the first `failures` GETs with 503."""

    def __init__(self, behind: str, failures: int) -> None:
        self.left, self.seen = failures, 0
        faulty = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                faulty.seen += 1
                if faulty.left > 0:
                    faulty.left -= 1
                    body = (
                        b"<?xml version='1.0'?><Error><Code>SlowDown</Code>"
                        b"<Message>Please reduce your request rate.</Message></Error>"
                    )
                    self.answer(503, {"Content-Type": "application/xml"}, body)
                    return
                self.pass_on()

            def do_HEAD(self) -> None:
                self.pass_on()

            def pass_on(self) -> None:
                headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                request = urllib.request.Request(
                    behind + self.path, headers=headers, method=self.command
                )
                try:
                    with urllib.request.urlopen(request) as answer:
                        self.answer(answer.status, dict(answer.headers), answer.read())
                except urllib.error.HTTPError as error:
                    self.answer(error.code, dict(error.headers), error.read())

            def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                        self.send_header(name, value)
                length = headers.get("Content-Length", "0") if self.command == "HEAD" else len(body)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Faulty:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


# --- S3 -----------------------------------------------------------------------------------------


def test_a_prefix_a_glob_and_one_object_of_a_bucket(server: str) -> None:
    storage = options(server)
    found = read(ArchiveSource(path="s3://snow/code", storage=storage))
    assert [(f.repo, f.path) for f in found] == [("p", f"f{n}.py") for n in range(3)] * 2
    assert found[0].content == b"x = 0\n" * 500
    assert found[0].created == 1_600_000_000
    (blob,) = find("s3://snow/code/**/q-*.gz", (".gz",), storage)
    assert blob.url == "s3://snow/code/b/q-1.tar.gz"
    assert len(read(ArchiveSource(path="s3://snow/code/a/p-1.tar.gz", storage=storage))) == 3


def test_tables_in_a_bucket_in_worker_processes(server: str, tmp_path: Path) -> None:
    config = IngestConfig.model_validate(
        {
            "sources": [
                {
                    "kind": "table",
                    "path": f"s3://snow/tables/part.{form}",
                    "storage": {"endpoint": server, "region": "us-east-1"},
                }
                for form in ("parquet", "jsonl.gz")
            ]
            * 2,
            "shard_mib": 1,
        }
    )
    folders = [run(config, tmp_path / str(n), workers=n).folder for n in (1, 2)]
    one, two = ([path.read_bytes() for path in document_shards(folder)] for folder in folders)
    assert one == two
    assert pq.read_table(document_shards(folders[0])[0])["path"].to_pylist()[:40] == [
        f"{n}.py" for n in range(40)
    ]


def test_the_environment_names_the_endpoint(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert len(find("s3://snow/code", (".gz",), Storage())) == 2


def test_anonymous_requests_carry_no_credentials(server: str) -> None:
    found = read(ArchiveSource(path="s3://snow/code/a", storage=options(server, anonymous=True)))
    assert len(found) == 3


def test_a_server_that_asks_to_slow_down_and_then_works(server: str) -> None:
    with Faulty(server, failures=2) as faulty:
        found = read(ArchiveSource(path="s3://snow/code/a", storage=options(faulty.endpoint)))
        assert len(found) == 3
        assert faulty.left == 0
        assert faulty.seen >= 3


def test_a_server_that_never_works_ends_the_run_with_one_line(server: str) -> None:
    with Faulty(server, failures=10**9) as faulty:
        storage = options(faulty.endpoint, attempts=2)
        with pytest.raises(FirnlineError, match=r"cannot read s3://snow/code") as caught:
            find("s3://snow/code", (".gz",), storage)
        assert "\n" not in str(caught.value)
        assert "credentials" in str(caught.value)
        assert faulty.seen <= 4
        faulty.left = 0
        (part,) = ArchiveSource(path="s3://snow/code/a", storage=storage).parts()
        faulty.left = 10**9
        with pytest.raises(FirnlineError, match=r"cannot read s3://snow/code/a/p-1.tar.gz"):
            list(part.files(Limits()))
    with pytest.raises(FirnlineError, match="cannot read s3://snow/code"):
        find("s3://snow/code", (".gz",), options("http://127.0.0.1:9", attempts=2))


def test_missing_buckets_keys_and_objects_gone_since_the_listing(server: str) -> None:
    storage = options(server)
    with pytest.raises(FirnlineError, match=r"(no files in|cannot read) s3://absent") as caught:
        find("s3://absent/code", (".gz",), storage)
    assert "\n" not in str(caught.value)
    with pytest.raises(FirnlineError, match="no files in s3://snow/nothing"):
        find("s3://snow/nothing", (".gz",), storage)
    with pytest.raises(FirnlineError, match="no storage for ftp://"):
        find("ftp://example.org/a", (".gz",), storage)
    system = fs.S3FileSystem(
        access_key="key",
        secret_key="secret",
        region="us-east-1",
        endpoint_override=server.removeprefix("http://"),
        scheme="http",
    )
    for data in (tar_gz(), b"shorter"):
        with system.open_output_stream("snow/moving/m-1.tar.gz", compression=None) as stream:
            stream.write(data)
        if len(data) > 100:
            (part,) = ArchiveSource(path="s3://snow/moving", storage=storage).parts()
    assert [str(f.problem).split(":")[0] for f in part.files(Limits())] == ["changed"]
    system.delete_file("snow/moving/m-1.tar.gz")
    assert [str(f.problem).split(":")[0] for f in part.files(Limits())] == ["unreadable"]


# --- HTTP ---------------------------------------------------------------------------------------


class Web:
    """Serves one file, in ranges; `breaks` answers stop half way, `failures` say 503."""

    def __init__(self, data: bytes, breaks: int = 0, failures: int = 0, ranges: bool = True):
        self.data, self.breaks, self.failures, self.asked = data, breaks, failures, 0
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked += 1
                if self.path == "/absent":
                    self.send_error(404)
                    return
                if web.failures > 0:
                    web.failures -= 1
                    self.send_error(503)
                    return
                start, end = 0, len(web.data)
                asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if asked and ranges:
                    start = int(asked[1])
                    end = int(asked[2]) + 1 if asked[2] else end
                body = web.data[start:end]
                self.send_response(206 if asked and ranges else 200)
                if asked and ranges:
                    self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(web.data)}")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
                self.end_headers()
                if web.breaks > 0 and len(body) > 1:
                    web.breaks -= 1
                    body = body[: len(body) // 2]
                with contextlib.suppress(ConnectionError):  # who asks for a byte may leave
                    self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Web:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


FAST = Storage(attempts=3, timeout_seconds=5)


def test_an_archive_and_a_table_over_http_through_broken_connections(tmp_path: Path) -> None:
    with Web(tar_gz(200), breaks=2, failures=1) as web:
        found = read(ArchiveSource(path=f"{web.address}/p-1.tar.gz?download=1", storage=FAST))
        assert [f.path for f in found] == [f"f{n}.py" for n in range(200)]
        assert all(f.content == b"x = %d\n" % n * 500 for n, f in enumerate(found))
        assert found[0].created == 1_600_000_000
    rows = [{"text": "y" * n, "id": str(n)} for n in range(300)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=50)
    with Web((tmp_path / "a.parquet").read_bytes(), breaks=1) as web:
        found = read(TableSource(path=f"{web.address}/a.parquet", storage=FAST))
        assert [f.path for f in found] == [str(n) for n in range(300)]


def test_a_zip_is_read_in_ranges(server: str) -> None:
    sink = io.BytesIO()
    noise = random.Random(5)
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("p/photo.png", noise.randbytes(5_000_000))
        for number in range(20):
            archive.writestr(f"p/f{number}.py", f"x = {number}\n" * 100)
    with Web(sink.getvalue(), breaks=1) as web:
        found = read(ArchiveSource(path=f"{web.address}/p.zip", storage=FAST))
    assert [f.problem for f in found] == ["unknown_language"] + [None] * 20
    assert found[7].content == b"x = 6\n" * 100
    system = fs.S3FileSystem(
        access_key="key",
        secret_key="secret",
        region="us-east-1",
        endpoint_override=server.removeprefix("http://"),
        scheme="http",
    )
    with system.open_output_stream("snow/zips/p.zip", compression=None) as stream:
        stream.write(sink.getvalue())
    again = read(ArchiveSource(path="s3://snow/zips/p.zip", storage=options(server)))
    assert [(f.path, f.content) for f in again] == [(f.path, f.content) for f in found]


def test_http_that_does_not_work_is_one_line() -> None:
    with Web(tar_gz(), failures=10**9) as web:
        with pytest.raises(FirnlineError, match=r"HTTP 503 .*after 2 attempts") as caught:
            find(f"{web.address}/a.tar.gz", (".gz",), Storage(attempts=2))
        assert "\n" not in str(caught.value)
        assert web.asked == 2
        with pytest.raises(FirnlineError, match="404"):
            find(f"{web.address}/absent", (".gz",), FAST)
    with pytest.raises(FirnlineError, match=r"cannot read http://127\.0\.0\.1:9/a"):
        find("http://127.0.0.1:9/a.tar.gz", (".gz",), Storage(attempts=1, timeout_seconds=2))
    with Web(tar_gz(200)) as web:
        (part,) = ArchiveSource(path=f"{web.address}/a.tar.gz", storage=FAST).parts()
        web.failures = 10**9
        with pytest.raises(FirnlineError, match="HTTP 503"):
            list(part.files(Limits()))
        web.failures, web.data = 0, tar_gz(100)
        assert [str(f.problem).split(":")[0] for f in part.files(Limits())] == ["changed"]


def test_a_server_without_ranges_serves_streams_and_refuses_seeking() -> None:
    data = bytes(range(256)) * 20_000
    with Web(data, ranges=False) as web:
        (blob,) = find(f"{web.address}/a.bin", (), FAST)
        with open_blob(blob, FAST) as file:
            assert file.read() == data
            with pytest.raises(FirnlineError, match="does not serve ranges"):
                file.seek(2_000_000)
                file.read(10)


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("glob", "name", "fits"),
    [
        ("*.tar", "a.tar", True),
        ("*.tar", "b/a.tar", False),
        ("**/*.tar", "b/c/a.tar", True),
        ("**/*.tar", "a.tar", True),
        ("b/**", "b/c/a.tar", True),
        ("a?.[tz]*", "ab.tar", True),
        ("a[!b].tar", "ab.tar", False),
        ("a[!b].tar", "ac.tar", True),
        ("a.tar", "aXtar", False),
        ("a[.tar", "a[.tar", True),
    ],
)
def test_globs(glob: str, name: str, fits: bool) -> None:
    assert bool(glob_pattern(glob).fullmatch(name)) == fits


def test_globs_and_addresses_that_cannot_be() -> None:
    with pytest.raises(FirnlineError, match="no glob"):
        find("/tmp/[z-a]*", (".tar",), Storage())
    for path in ("s3://", "s3://*/a.tar"):
        with pytest.raises(FirnlineError, match="no bucket"):
            find(path, (".tar",), Storage())
    with pytest.raises(FirnlineError, match="cannot read") as caught:
        find("http://127.0.0.1:9/a.tar?signature=secret", (), Storage(attempts=1))
    assert "secret" not in str(caught.value)


def test_local_folders_and_globs(tmp_path: Path) -> None:
    for name in ("b/x.tar", "a/y.TAR", "a/z.txt", ".hg/w.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "link.tar").symlink_to(tmp_path / "b" / "x.tar")
    folder = find(str(tmp_path), (".tar",), Storage())
    assert [(blob.name, blob.problem) for blob in folder] == [
        ("y.TAR", None),
        ("x.tar", None),
        ("link.tar", "symlink"),
    ]
    assert [b.name for b in find(f"{tmp_path}/**/*.t*", (".tar",), Storage())] == [
        "z.txt",
        "x.tar",
        "link.tar",
    ]
    assert find(str(tmp_path / "link.tar"), (), Storage())[0].problem is None
    for wrong in ("absent", "*.nothing", "a/*.zip"):
        with pytest.raises(FirnlineError, match="no file"):
            find(str(tmp_path / wrong), (".tar",), Storage())
