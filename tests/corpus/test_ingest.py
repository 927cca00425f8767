"""Ingest: folders, git object stores, Python installations; bad input goes to the ledger."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pygit2
import pytest

from firnline.corpus.directory import DirectorySource
from firnline.corpus.listing import Entry, Listing
from firnline.corpus.stage import IngestConfig, run
from firnline.documents import content_hash, document_id, document_shards, ledger_shards
from firnline.errors import FirnlineError


def rows(folder: Path, part: str) -> list[dict[str, object]]:
    paths = document_shards(folder) if part == "data" else ledger_shards(folder)
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def reasons(folder: Path) -> dict[str, object]:
    return {str(row["path"]): row["rule"] for row in rows(folder, "ledger")}


def ingest(out: Path, *sources: Mapping[str, object], **options: object) -> Path:
    config = IngestConfig.model_validate({"sources": sources, **options})
    return run(config, out, workers=1).folder


def test_each_folder_is_a_repository_and_every_file_has_a_ledger_row(tmp_path: Path) -> None:
    root = tmp_path / "code"
    (root / "alpha" / "src").mkdir(parents=True)
    (root / "beta").mkdir()
    (root / "alpha" / "src" / "main.py").write_bytes(b"print('caf\xc3\xa9')\r\n")
    (root / "alpha" / "LICENSE").write_text("Apache License\n Version 2.0, January 2004\n")
    (root / "alpha" / "latin.c").write_bytes(b"/* caf\xe9 */ int x;\n")
    (root / "alpha" / "null.c").write_bytes(b"int x;\0\n")
    (root / "alpha" / "blank.py").write_bytes(b" \n\n")
    (root / "alpha" / "photo.png").write_bytes(b"\x89PNG")
    (root / "beta" / "run").write_text("#!/usr/bin/env bash\necho hi\n")
    (root / "beta" / "loop").symlink_to(root)
    (root / "beta" / "shape.h").write_text("class Shape {\npublic:\n  int area();\n};\n")
    (root / "loose.rs").write_text("fn main() {}\n")
    os.mkfifo(root / "beta" / "pipe.py")

    out = ingest(tmp_path / "out", {"kind": "directory", "path": root})

    kept = {(row["repo"], row["path"]): row for row in rows(out, "data")}
    assert set(kept) == {
        ("alpha", "src/main.py"),
        ("beta", "run"),
        ("beta", "shape.h"),
        ("code", "loose.rs"),
    }
    main = kept["alpha", "src/main.py"]
    assert main["content"] == "print('café')\r\n"
    assert main["content_hash"] == content_hash(b"print('caf\xc3\xa9')\r\n")
    assert main["id"] == document_id("directory", "alpha", "", "src/main.py")
    assert (main["language"], main["license"], main["size"]) == ("Python", "Apache-2.0", 16)
    assert kept["beta", "run"]["language"] == "Shell"
    assert kept["beta", "shape.h"]["language"] == "C++"
    assert reasons(out) == {
        "src/main.py": None,
        "LICENSE": "unknown_language",
        "latin.c": "not_utf8",
        "null.c": "binary",
        "blank.py": "empty",
        "photo.png": "unknown_language",
        "run": None,
        "loop": "symlink",
        "shape.h": None,
        "pipe.py": "not_a_file",
        "loose.rs": None,
    }


def test_a_file_of_a_gigabyte_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "code" / "big").mkdir(parents=True)
    with (tmp_path / "code" / "big" / "data.js").open("wb") as file:
        file.truncate(1_000_000_000)
    (tmp_path / "code" / "big" / "ok.js").write_text("let x = 1;\n")
    tracemalloc.start()
    out = ingest(tmp_path / "out", {"kind": "directory", "path": tmp_path / "code"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reasons(out) == {"data.js": "too_large", "ok.js": None}
    assert "1,000,000,000 bytes" in str([row["detail"] for row in rows(out, "ledger")])
    assert peak < 30_000_000


def test_folders_deeper_than_a_path_may_be_long(tmp_path: Path) -> None:
    top = tmp_path / "code" / "repo"
    top.mkdir(parents=True)
    (top / "a.py").write_text("x = 1\n")
    place = os.open(top, os.O_RDONLY)
    for _ in range(30):  # 30 names of 200 characters: beyond the 4,096 of a path
        os.mkdir("d" * 200, dir_fd=place)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)
    out = ingest(tmp_path / "out", {"kind": "directory", "path": tmp_path / "code"})
    (kept, refused) = rows(out, "ledger")
    assert (kept["path"], kept["rule"]) == ("a.py", None)
    assert (refused["rule"], refused["detail"]) == ("unreadable", "File name too long")


def test_many_files_in_one_folder_are_listed_in_parts_of_bounded_size(tmp_path: Path) -> None:
    repo = tmp_path / "code" / "repo"
    repo.mkdir(parents=True)
    for number in range(1500):
        (repo / f"f{number:04d}.py").write_text(f"x = {number}\n")
    parts = list(DirectorySource(path=tmp_path / "code").parts())
    assert [len(part.entries) for part in parts] == [512, 512, 476]
    out = ingest(tmp_path / "out", {"kind": "directory", "path": tmp_path / "code"})
    assert [row["path"] for row in rows(out, "data")] == [f"f{n:04d}.py" for n in range(1500)]


def test_a_clock_that_is_wrong_changes_nothing(tmp_path: Path) -> None:
    repo = tmp_path / "code" / "repo"
    repo.mkdir(parents=True)
    for number, when in enumerate((0, -(10**9), 4 * 10**9)):
        (repo / f"f{number}.py").write_text("x = 1\n")
        os.utime(repo / f"f{number}.py", (when, when))
    out = ingest(tmp_path / "out", {"kind": "directory", "path": tmp_path / "code"})
    assert [row["created"] for row in rows(out, "data")] == [None] * 3


def test_one_large_archive_gives_shards_of_bounded_size_for_any_workers(tmp_path: Path) -> None:
    for name in ("a-1", "b-1"):
        with tarfile.open(tmp_path / f"{name}.tar.gz", "w:gz") as archive:
            for number in range(40):
                text = f"{name} = {number}\n".encode() * 10_000
                info = tarfile.TarInfo(f"{name}/f{number:02d}.py")
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text))
    config = IngestConfig.model_validate(
        {"sources": [{"kind": "archive", "path": str(tmp_path)}], "shard_mib": 1}
    )
    folders = [run(config, tmp_path / str(n), workers=n).folder for n in (1, 2)]
    one, two = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}
        for folder in folders
    )
    assert one == two
    data = sorted(name for name in one if name.startswith("data"))
    assert data[:2] == ["data/shard-00000.parquet", "data/shard-00000_00001.parquet"]
    assert sorted(one) == data + [name.replace("data", "ledger", 1) for name in data]
    assert [(row["repo"], row["path"]) for row in rows(folders[0], "data")] == [
        (name, f"f{number:02d}.py") for name in "ab" for number in range(40)
    ]
    for path in document_shards(folders[0]):
        assert sum(pq.read_table(path)["size"].to_pylist()) <= 1 << 20


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file; run as an ordinary user")
def test_an_unreadable_file_and_folder_are_named(tmp_path: Path) -> None:
    repo = tmp_path / "code" / "repo"
    (repo / "secret").mkdir(parents=True)
    (repo / "a.py").write_text("x = 1\n")
    (repo / "b.py").write_text("x = 2\n")
    (repo / "b.py").chmod(0)
    (repo / "secret").chmod(0)
    try:
        out = ingest(tmp_path / "out", {"kind": "directory", "path": tmp_path / "code"})
    finally:
        (repo / "secret").chmod(0o700)
    assert reasons(out) == {"a.py": None, "b.py": "unreadable", "secret": "unreadable"}


def test_files_that_vanish_grow_or_shrink_between_listing_and_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = tmp_path / "code" / "repo"
    repo.mkdir(parents=True)
    (repo / "a.py").write_text("x = 1\n")
    (repo / "b.py").write_text("x = 2\n")
    (repo / "c.py").write_text("x = 3\n")
    (repo / "d.py").write_text("x = 4\n")
    read = Listing.read

    def change(listing: Listing, entry: Entry, most: int) -> bytes:
        (repo / "b.py").unlink(missing_ok=True)
        (repo / "c.py").write_text("x = 33\n")
        (repo / "d.py").write_text("")
        return read(listing, entry, most)

    monkeypatch.setattr(Listing, "read", change)
    out = ingest(tmp_path / "out", {"kind": "directory", "path": tmp_path / "code"})
    assert reasons(out) == {
        "a.py": None,
        "b.py": "unreadable",
        "c.py": "changed",
        "d.py": "changed",
    }
    details = [row["detail"] for row in rows(out, "ledger")]
    assert details[2:] == [
        "listed 6 bytes, read 7",
        "listed 6 bytes, read 0",
    ]


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    repo = tmp_path / "code" / "repo"
    repo.mkdir(parents=True)
    (repo / os.fsdecode(b"caf\xe9.py")).write_text("x = 1\n")
    out = ingest(tmp_path / "out", {"kind": "directory", "path": tmp_path / "code"})
    assert reasons(out) == {"caf\\xe9.py": None}


@pytest.mark.parametrize("content", [{}, {"notes.xyz": "no code"}])
def test_a_folder_without_code_is_one_line(tmp_path: Path, content: dict[str, str]) -> None:
    (tmp_path / "code" / "repo").mkdir(parents=True)
    for name, text in content.items():
        (tmp_path / "code" / "repo" / name).write_text(text)
    with pytest.raises(FirnlineError, match=r"no (code found|files)") as caught:
        ingest(tmp_path / "out", {"kind": "directory", "path": tmp_path / "code"})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FirnlineError, match="no folder"):
        ingest(tmp_path / "out", {"kind": "directory", "path": tmp_path / "absent"})


def test_shards_are_cut_by_size_and_do_not_change_the_documents(tmp_path: Path) -> None:
    repo = tmp_path / "code" / "repo"
    repo.mkdir(parents=True)
    for number in range(12):
        (repo / f"f{number:02d}.py").write_text(f"x = {number}\n" * 40_000)
    one = ingest(tmp_path / "one", {"kind": "directory", "path": tmp_path / "code"})
    many = ingest(tmp_path / "many", {"kind": "directory", "path": tmp_path / "code"}, shard_mib=1)
    assert len(document_shards(one)) == 1
    assert len(document_shards(many)) == 3
    assert rows(one, "data") == rows(many, "data")


def git(repo: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", "-C", str(repo), *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    repo = tmp_path / "work"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    git(repo, "remote", "add", "origin", "https://example.org/snow/firn.git")
    (repo / "LICENSE").write_text(
        "Permission to use, copy, modify, and/or distribute this "
        "software for any purpose with or without fee is hereby granted, provided that "
        "the above copyright notice and this permission notice appear in all copies."
    )
    (repo / "a.go").write_text("package main\n")
    (repo / "sub").mkdir()
    (repo / "sub" / "b.go").write_text("package sub\n")
    (repo / "link.go").symlink_to("a.go")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "one")
    (repo / "a.go").write_text("package main // two\n")
    git(repo, "commit", "-q", "-am", "two")
    return repo


@pytest.mark.parametrize("bare", [False, True])
def test_git_reads_any_revision_from_the_object_store(
    tmp_path: Path, repository: Path, bare: bool
) -> None:
    place = repository
    if bare:
        place = tmp_path / "bare.git"
        git(repository, "clone", "-q", "--bare", ".", str(place))
        git(place, "remote", "set-url", "origin", "https://example.org/snow/firn.git")
    (repository / "a.go").write_text("not committed\n")
    head = ingest(tmp_path / "head", {"kind": "git", "path": place})
    old = ingest(tmp_path / "old", {"kind": "git", "path": place, "revision": "HEAD~1"})
    contents = {row["path"]: row["content"] for row in rows(head, "data")}
    assert contents == {"a.go": "package main // two\n", "sub/b.go": "package sub\n"}
    assert next(row["content"] for row in rows(old, "data")) == "package main\n"
    first = rows(head, "data")[0]
    assert first["repo"] == "snow/firn"
    assert first["license"] == "ISC"
    assert first["revision"] == git(repository, "rev-parse", "HEAD")
    committed = int(git(repository, "log", "-1", "--format=%ct"))
    assert first["created"] == datetime.fromtimestamp(committed, UTC).replace(tzinfo=None)
    assert reasons(head)["link.go"] == "symlink"


def test_a_missing_git_object_goes_to_the_ledger(tmp_path: Path, repository: Path) -> None:
    blob = git(repository, "rev-parse", "HEAD:sub/b.go")
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    out = ingest(tmp_path / "out", {"kind": "git", "path": repository})
    ledger = {row["path"]: row for row in rows(out, "ledger")}
    assert ledger["sub/b.go"]["rule"] == "unreadable"
    assert blob in str(ledger["sub/b.go"]["detail"])
    assert ledger["a.go"]["kept"]


def test_a_damaged_git_object_goes_to_the_ledger(tmp_path: Path, repository: Path) -> None:
    blob = git(repository, "rev-parse", "HEAD:sub/b.go")
    path = repository / ".git" / "objects" / blob[:2] / blob[2:]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:10])
    out = ingest(tmp_path / "out", {"kind": "git", "path": repository})
    assert reasons(out)["sub/b.go"] == "unreadable"
    assert reasons(out)["a.go"] is None


def test_git_errors_are_one_line(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(FirnlineError, match="no commit 'absent'"):
        ingest(tmp_path / "a", {"kind": "git", "path": repository, "revision": "absent"})
    with pytest.raises(FirnlineError, match="no git repository"):
        ingest(tmp_path / "b", {"kind": "git", "path": tmp_path / "nowhere"})
    empty = tmp_path / "empty"
    pygit2.init_repository(str(empty))
    with pytest.raises(FirnlineError, match="has no commits"):
        ingest(tmp_path / "c", {"kind": "git", "path": empty})


def test_python_gives_distributions_with_version_and_license(tmp_path: Path) -> None:
    out = ingest(tmp_path / "out", {"kind": "python", "only": ["pydantic", "numpy"]})
    table = pa.Table.from_pylist(rows(out, "data"))
    found = {(row["repo"], row["revision"], row["license"]) for row in table.to_pylist()}
    import numpy
    import pydantic

    assert ("pydantic", pydantic.VERSION, "MIT") in found
    assert {(repo, version) for repo, version, _ in found} == {
        ("pydantic", pydantic.VERSION),
        ("numpy", numpy.__version__),
    }
    contents = {(row["repo"], row["path"]): row["content"] for row in table.to_pylist()}
    here = Path(pydantic.__file__).parent / "main.py"
    assert contents["pydantic", "pydantic/main.py"] == here.read_text()


def test_python_standard_library_is_cpython(tmp_path: Path) -> None:
    source = {"kind": "python", "interpreter": sys.executable, "only": ["cpython"]}
    out = ingest(tmp_path / "out", source)
    table = rows(out, "data")
    assert {row["repo"] for row in table} == {"cpython"}
    own = {row["license"] for row in table if not str(row["path"]).startswith(("tomllib", "test/"))}
    assert own == {"PSF-2.0"}  # tomllib's files say MIT in their first lines
    paths = {row["path"] for row in table}
    assert {"bisect.py", "json/decoder.py"} <= paths
    assert not any("site-packages" in str(path) for path in paths)


def test_an_interpreter_that_does_not_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FirnlineError, match="cannot list the distributions"):
        ingest(tmp_path / "out", {"kind": "python", "interpreter": tmp_path / "nothing"})
