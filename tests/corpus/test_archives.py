"""Archives: what they tell of themselves, what is refused, what is left of damaged ones."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.corpus.archives import ArchiveSource, unsafe
from firnline.corpus.members import ArchiveError, Member
from firnline.corpus.parts import Found, Limits
from firnline.corpus.stage import IngestConfig, run
from firnline.corpus.tar import read_tar

MIT = (
    "Permission is hereby granted, free of charge, to any person obtaining a copy ... "
    "The above copyright notice and this permission notice shall be included"
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TIME = 1_600_000_000
NOISE = random.Random(3)


def read(path: Path, limits: Limits | None = None) -> list[Found]:
    parts = ArchiveSource(path=str(path)).parts()
    return [found for part in parts for found in part.files(limits or Limits())]


def rules(found: list[Found]) -> dict[str, str | None]:
    return {f.path: f.problem.split(":")[0] if f.problem else None for f in found}


def tar(
    files: dict[str, bytes],
    *,
    format: int = tarfile.PAX_FORMAT,
    headers: dict[str, str] | None = None,
    others: tuple[tarfile.TarInfo, ...] = (),
) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=format, pax_headers=headers) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), TIME
            archive.addfile(info, io.BytesIO(data))
        for info in others:
            archive.addfile(info)
    return sink.getvalue()


def zipped(files: dict[str, bytes], comment: bytes = b"") -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = comment
        for name, data in files.items():
            info = zipfile.ZipInfo(name, (2020, 9, 13, 12, 26, 40))
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return sink.getvalue()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".tar.zst": zstd,
}


# --- what an archive is -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [*PACK, ".zip"])
def test_every_packing_gives_the_same_files(tmp_path: Path, suffix: str) -> None:
    files = {"thing-1.2/a.py": b"x = 1\n", "thing-1.2/src/b.c": b"int x;\n" * 1000}
    data = zipped(files) if suffix == ".zip" else PACK[suffix](tar(files))
    (tmp_path / f"download{suffix}").write_bytes(data)
    found = read(tmp_path / f"download{suffix}")
    assert [(f.source, f.repo, f.revision, f.path, f.content) for f in found] == [
        ("archive", "thing", "1.2", "a.py", b"x = 1\n"),
        ("archive", "thing", "1.2", "src/b.c", b"int x;\n" * 1000),
    ]
    assert {f.created for f in found} == {TIME}


@pytest.mark.parametrize(
    ("file_name", "files", "headers", "expected"),
    [
        (
            "Some_Thing-2.0.tar.gz",
            {
                "Some_Thing-2.0/a.py": b"x = 1\n",
                "Some_Thing-2.0/LICENSE": b"no known text",
                "Some_Thing-2.0/PKG-INFO": b"Name: Some_Thing\nVersion: 2.0\n"
                b"Classifier: License :: OSI Approved :: MIT License\n\nText\nName: Other\n",
            },
            {},
            ("some-thing", "2.0", "MIT", "a.py"),
        ),
        (
            "thing-7.1.3.tgz",
            {
                "package/package.json": b'{"name": "@ice/thing", "version": "7.1.3", '
                b'"license": "(MIT OR Apache-2.0)"}',
                "package/a.js": b"let x;\n",
            },
            {},
            ("@ice/thing", "7.1.3", "MIT OR Apache-2.0", "a.js"),
        ),
        (
            "ice-0.3.0.crate",
            {
                "ice-0.3.0/src/lib.rs": b"fn a() {}\n",
                "ice-0.3.0/Cargo.toml": b'[package]\nname = "ice"\nversion = "0.3.0"\n'
                b'license = "MIT/Apache-2.0"\n',
            },
            {},
            ("ice", "0.3.0", "MIT OR Apache-2.0", "src/lib.rs"),
        ),
        (
            "legacy.tar.gz",
            {"snow-firn-0123456/a.go": b"package a\n", "snow-firn-0123456/LICENSE": MIT.encode()},
            {"comment": COMMIT},
            ("snow-firn", COMMIT, "MIT", "a.go"),
        ),
        (
            "v1.4.2.tar.gz",
            {"firn-1.4.2/a.go": b"package a\n"},
            {"comment": COMMIT},
            ("firn", COMMIT, None, "a.go"),
        ),
        (
            "main.tar.gz",
            {"firn-main/a.go": b"package a\n"},
            {"comment": COMMIT},
            ("firn", COMMIT, None, "a.go"),
        ),
        (
            "hail_2.10+dfsg.orig.tar.xz",
            {"hail-upstream/a.c": b"int x;\n", "hail-upstream/COPYING": MIT.encode()},
            {},
            ("hail", "2.10+dfsg", "MIT", "a.c"),
        ),
        (
            "hail_2.10+dfsg-3.debian.tar.xz",
            {"debian/rules.mk": b"all:\n", "debian/copyright": MIT.encode()},
            {},
            ("hail", "2.10+dfsg-3", "MIT", "debian/rules.mk"),
        ),
        ("loose.tar", {"a.c": b"int x;\n", "d/b.c": b"int y;\n"}, {}, ("loose", "", None, "a.c")),
    ],
)
def test_what_an_archive_tells_of_itself(
    tmp_path: Path,
    file_name: str,
    files: dict[str, bytes],
    headers: dict[str, str],
    expected: tuple[str, str, str | None, str],
) -> None:
    pack = lzma.compress if file_name.endswith(".xz") else gzip.compress
    (tmp_path / file_name).write_bytes(pack(tar(files, headers=headers)))
    found = [f for f in read(tmp_path / file_name) if f.path == expected[3]]
    assert [(f.repo, f.revision, f.license, f.path) for f in found] == [expected]


def test_archives_of_one_name_in_two_folders_are_two_repositories(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        with tarfile.open(tmp_path / folder / "src.tar", "w") as file:
            member = tarfile.TarInfo("src/x.py")
            member.size = len(folder)
            file.addfile(member, io.BytesIO(folder.encode()))
    source = ArchiveSource(path=str(tmp_path))
    found = [each for part in source.parts() for each in part.files(Limits())]
    assert [(each.repo, each.path) for each in found] == [("a/src", "x.py"), ("b/src", "x.py")]


def test_a_wheel_and_a_commit_in_a_zip(tmp_path: Path) -> None:
    metadata = b"Metadata-Version: 2.4\nName: My.Wheel\nVersion: 3\n\nText\n"
    wheel = {
        "mine/a.py": b"x = 1\n",
        "my_wheel-3.dist-info/METADATA": metadata,
        "my_wheel-3.dist-info/licenses/LICENSE": MIT.encode(),
    }
    (tmp_path / "my_wheel-3-py3-none-any.whl").write_bytes(zipped(wheel))
    found = read(tmp_path / "my_wheel-3-py3-none-any.whl")
    assert (found[0].repo, found[0].revision, found[0].license) == ("my-wheel", "3", "MIT")
    assert found[0].path == "mine/a.py"
    (tmp_path / "x.zip").write_bytes(zipped({"firn-main/a.py": b"x\n"}, COMMIT.encode()))
    (one,) = read(tmp_path / "x.zip")
    assert (one.revision, one.path) == (COMMIT, "a.py")


def test_members_before_the_license_carry_it_in_archives_held_and_read_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"p-1/{n:03d}.py": b"x = 1\n" * 50 for n in range(60)}
    files["p-1/z/LICENSE"] = b"not at the top"
    files["p-1/LICENSE"] = MIT.encode()
    (tmp_path / "p-1.tar.gz").write_bytes(gzip.compress(tar(files)))
    held = read(tmp_path / "p-1.tar.gz")
    monkeypatch.setattr("firnline.corpus.archives._HELD_BYTES", 1000)
    assert read(tmp_path / "p-1.tar.gz") == held
    assert {f.path: f.license for f in held if f.license != "MIT"} == {"z/LICENSE": None}
    assert len(held) == 62


# --- what is refused --------------------------------------------------------------------------


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_members_that_a_tar_must_not_hold(tmp_path: Path) -> None:
    others = (
        special("p/link.py", tarfile.SYMTYPE, "/etc/passwd"),
        special("p/hard.py", tarfile.LNKTYPE, "p/a.py"),
        special("p/device.py", tarfile.CHRTYPE),
        special("p/pipe.py", tarfile.FIFOTYPE),
        special("p/folder", tarfile.DIRTYPE),
    )
    files = {
        "p/a.py": b"x = 1\n",
        "../../evil.py": b"x = 2\n",
        "/etc/evil.py": b"x = 3\n",
        "p/../../evil2.py": b"x = 4\n",
        "C:\\evil.py": b"x = 5\n",
        "./p//b.py": b"x = 6\n",
        "p/b.py": b"x = 7\n",
        "p/big.py": b"#" * 3000,
        "p/nested.zip": zipped({"c.py": b"x"}),
    }
    (tmp_path / "p.tar").write_bytes(tar(files, others=others))
    found = read(tmp_path / "p.tar", Limits(max_file_bytes=2000))
    assert rules(found) == {
        "a.py": None,
        "../../evil.py": "unsafe_path",
        "/etc/evil.py": "unsafe_path",
        "p/../../evil2.py": "unsafe_path",
        "C:\\evil.py": "unsafe_path",
        "b.py": "repeated_path",
        "big.py": "too_large",
        "nested.zip": "unknown_language",
        "link.py": "symlink",
        "hard.py": "hard_link",
        "device.py": "not_a_file",
        "pipe.py": "not_a_file",
    }
    assert [f.content for f in found if f.path == "b.py"] == [b"x = 6\n", None]


def test_members_that_a_zip_must_not_hold(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        link = zipfile.ZipInfo("p/link.py")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("../evil.py", "x = 1\n")
        archive.writestr("p/secret.py", "x = 2\n")
        archive.writestr("p/ok.py", "x = 3\n")
        archive.writestr("p/lie.py", "x = 4 # longer than it says\n")
        archive.writestr(zipfile.ZipInfo("p/odd.py"), "x = 5\n", zipfile.ZIP_BZIP2)
    data = bytearray(sink.getvalue())
    at = data.index(b"PK\1\2", data.index(b"PK\1\2", data.index(b"PK\1\2") + 4) + 4)
    assert data[at + 46 : at + 57] == b"p/secret.py"
    data[at + 8] |= 1  # the directory says: encrypted
    lie = data.rindex(b"p/lie.py") - 46
    data[lie + 20 : lie + 24] = data[lie + 24 : lie + 28] = (5).to_bytes(4, "little")
    (tmp_path / "p.zip").write_bytes(data)
    assert rules(read(tmp_path / "p.zip")) == {
        "link.py": "symlink",
        "../evil.py": "unsafe_path",
        "secret.py": "encrypted",
        "ok.py": None,
        "lie.py": "unreadable",
        "odd.py": "unreadable",
    }


def test_bombs_end_the_reading_in_flat_memory(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with gzip.GzipFile(fileobj=sink, mode="wb") as stream:
        stream.write(tar({"p/ok.py": b"x = 1\n"})[:1024])
        header = tarfile.TarInfo("p/zeros.bin")
        header.size = 300 << 20
        stream.write(header.tobuf())
        for _ in range(300):
            stream.write(bytes(1 << 20))
    (tmp_path / "bomb.tar.gz").write_bytes(sink.getvalue())
    tracemalloc.start()
    found = read(tmp_path / "bomb.tar.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rules(found) == {
        "ok.py": None,
        "zeros.bin": "unknown_language",
        "bomb.tar.gz": "archive_bomb",
    }
    assert peak < 20 << 20
    files = {f"p/{n}.py": b"x = 1\n" for n in range(50)}
    (tmp_path / "many.tar").write_bytes(tar(files))
    found = read(tmp_path / "many.tar", Limits(max_members=10))
    assert [f.problem is None for f in found] == [True] * 10 + [False]
    assert str(found[-1].problem).startswith("archive_bomb: more than 10 members")
    found = read(tmp_path / "many.tar", Limits(max_total_bytes=5000))
    assert rules(found)["many.tar"] == "archive_bomb"
    # Members that share their data: more comes out of a zip than is in it.
    shared = zipped({f"p/{n}.py": b"#" * 4_000_000 for n in range(20)})
    (tmp_path / "shared.zip").write_bytes(shared)
    found = read(tmp_path / "shared.zip")
    assert rules(found)["shared.zip"] == "archive_bomb"
    assert sum(f.problem is None for f in found) == 16


# --- what is damaged --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [*PACK, ".zip"])
def test_an_archive_cut_short_keeps_what_was_whole(tmp_path: Path, suffix: str) -> None:
    files = {f"p/{n:03d}.py": NOISE.randbytes(6000).hex().encode() for n in range(100)}
    data = zipped(files) if suffix == ".zip" else PACK[suffix](tar(files))
    for share in (0.2, 0.5, 0.95):
        path = tmp_path / f"cut-{share}{suffix}"
        path.write_bytes(data[: int(len(data) * share)])
        *whole, last = read(path)
        assert {f.path: f.content for f in whole} == {
            name.removeprefix("p/"): text for name, text in list(files.items())[: len(whole)]
        }
        # bzip2 comes in blocks of 900 kB: of a shorter file all is lost with its end.
        assert len(whole) >= (0 if suffix == ".tar.bz2" else 100 * share - 15)
        assert str(last.problem).startswith("archive_truncated"), last.problem
        assert last.path == path.name


def test_every_cut_of_a_small_tar_is_told(tmp_path: Path) -> None:
    data = tar({"a.py": b"x = 1\n", "b.py": b"y" * 600}, format=tarfile.USTAR_FORMAT)
    end = 512 + 512 + 512 + 1024  # headers and blocks; the zeros after it are padding
    for cut in range(1, end + 1, 31):
        (tmp_path / "a.tar").write_bytes(data[:cut])
        assert str(read(tmp_path / "a.tar")[-1].problem).startswith("archive_truncated"), cut
    (tmp_path / "a.tar").write_bytes(data[: end + 512])
    assert rules(read(tmp_path / "a.tar")) == {"a.py": None, "b.py": None}


def test_damage_in_the_middle(tmp_path: Path) -> None:
    files = {f"p/{n:03d}.py": NOISE.randbytes(1500).hex().encode() for n in range(100)}
    plain = bytearray(tar(files, format=tarfile.USTAR_FORMAT))
    plain[50 * 3584 : 50 * 3584 + 512] = b"\x07" * 512
    (tmp_path / "a.tar").write_bytes(plain)
    found = read(tmp_path / "a.tar")
    assert rules(found)["a.tar"] == "archive_corrupt"
    assert len(found) == 51
    packed = bytearray(zipped(files))
    at = packed.index(b"p/050.py") + 300
    packed[at : at + 50] = b"\xff" * 50
    (tmp_path / "a.zip").write_bytes(packed)
    found = read(tmp_path / "a.zip")
    assert [name for name, rule in rules(found).items() if rule] == ["050.py"]
    assert rules(found)["050.py"] == "unreadable"


def test_a_zip_written_as_a_stream_and_cut_short(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            self.data += bytes(data)  # type: ignore[call-overload]  # any buffer
            return len(bytes(data))  # type: ignore[call-overload]  # any buffer

    pipe = Pipe()  # no seeking: sizes come after the data
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(30):
            archive.writestr(f"p/{n}.py", f"x = {n}\n" * 100)
        archive.writestr("p/photo.png", NOISE.randbytes(1000))
    (tmp_path / "a.zip").write_bytes(pipe.data[: pipe.data.index(b"PK\1\2") + 10])
    found = read(tmp_path / "a.zip")
    assert [f.content for f in found[:30]] == [f"x = {n}\n".encode() * 100 for n in range(30)]
    assert [str(f.problem).split(":")[0] for f in found[30:]] == [
        "unknown_language",
        "archive_truncated",
    ]


def test_files_that_are_not_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(zipped({"p/a.py": b"x = 1\n"}))
    (tmp_path / "b.zip").write_bytes(zstd(tar({"p/b.py": b"x = 2\n"})))
    (tmp_path / "c.tar").write_bytes(b"<html>not found</html>" * 100)
    (tmp_path / "d.tar.gz").write_bytes(gzip.compress(b"only text " * 100))
    (tmp_path / "e.tar.gz").write_bytes(b"")
    (tmp_path / "f.zip").write_bytes(b"PK\5\6" + bytes(18))
    (tmp_path / "g.tar").write_bytes(bytes(10240))
    (tmp_path / "notes.txt").write_text("no archive, so not looked at")
    assert rules(read(tmp_path)) == {
        "a.py": None,
        "b.py": None,
        "c.tar": "not_an_archive",
        "d.tar.gz": "not_an_archive",
        "e.tar.gz": "archive_truncated",
        "f.zip": "empty",
        "g.tar": "empty",
    }


def test_names_times_and_text_that_are_odd(tmp_path: Path) -> None:
    early, late = tarfile.TarInfo("p/early.py"), tarfile.TarInfo("p/late.py")
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info, when in ((early, 5), (late, 1 << 40)):
            info.mtime, info.size = when, 6
            archive.addfile(info, io.BytesIO(b"x = 1\n"))
        for name in (os.fsdecode(b"p/caf\xe9.py"), "p/" + "long" * 100 + ".py"):
            info = tarfile.TarInfo(name)
            info.size = 6
            archive.addfile(info, io.BytesIO(b"x = 1\n"))
    (tmp_path / "p.tar").write_bytes(sink.getvalue())
    found = read(tmp_path / "p.tar")
    assert [f.path for f in found] == ["early.py", "late.py", "caf\\xe9.py", "long" * 100 + ".py"]
    assert [f.created for f in found] == [None] * 4
    (tmp_path / "q.tar").write_bytes(tar({"a.py": b"x = 1\0\n", "b.py": b"caf\xe9"}))
    sources = [{"kind": "archive", "path": str(tmp_path)}]
    result = run(IngestConfig.model_validate({"sources": sources}), tmp_path / "out", workers=1)
    assert result.stats["dropped"] == {"binary": 1, "not_utf8": 1}


def test_an_archive_that_changed_or_went_since_it_was_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar({"a.py": b"x = 1\n"}))
    (part,) = ArchiveSource(path=str(path)).parts()
    path.write_bytes(tar({"a.py": b"x = 1\n"}) * 2)
    assert rules(list(part.files(Limits()))) == {"a.tar": "changed"}
    path.unlink()
    assert rules(list(part.files(Limits()))) == {"a.tar": "unreadable"}


# --- against Python's own readers, and against noise ---------------------------------------------

names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=130)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.dictionaries(names, st.binary(max_size=1200), max_size=6),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_tar_agrees_with_the_standard_library(files: dict[str, bytes], format: int) -> None:
    data = tar(files, format=format)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        wanted = [
            (info.name.rstrip("/"), (archive.extractfile(info) or io.BytesIO()).read())
            for info in archive
            if info.isreg()
        ]
    members = list(read_tar(io.BytesIO(data), lambda path, size: None))
    # The standard library takes slashes off the end of some names; here that comes later.
    assert [(m.path.rstrip("/"), m.content) for m in members] == wanted


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.data())
def test_noise_ends_in_an_archive_error_or_in_members(data: st.DataObject) -> None:
    whole = bytearray(tar({"a.py": b"x = 1\n", "b" * 120: b"y" * 700}, headers={"comment": "c"}))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # let the changed headers count
        for start in range(0, 512 * 12, 512):
            block = whole[start : start + 512]
            total = sum(block) - sum(block[148:156]) + 8 * 0x20
            whole[start + 148 : start + 156] = b"%06o\0 " % total
    found: list[Member] = []
    try:
        found.extend(read_tar(io.BytesIO(bytes(whole)), lambda path, size: None))
    except ArchiveError as error:
        assert ": " in str(error)
    assert all(member.content is not None or member.problem for member in found)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.data())
def test_noise_in_a_zip_is_rows_not_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(zipped({"p/a.py": b"x = 1\n" * 40, "p/caf\u00e9.py": b"y" * 700}))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("noise") / "a.zip"
    path.write_bytes(whole)
    for found in read(path):
        assert found.problem is not None or zlib.crc32(found.content or b"") in (
            zlib.crc32(b"x = 1\n" * 40),
            zlib.crc32(b"y" * 700),
        )


@pytest.mark.parametrize(
    ("path", "safe"),
    [("a/b.py", True), ("a/..b.py", True), ("..", False), ("a\\..\\b", False), ("//a", False)],
)
def test_paths_that_lead_out(path: str, safe: bool) -> None:
    assert (unsafe(path) is None) == safe
