"""Git sources: work trees, bare repositories, many under one folder, and what is broken in them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pygit2
import pytest

from firnline.corpus.git import GitSource, find_repositories, true_time
from firnline.corpus.parts import Limits
from firnline.corpus.stage import IngestConfig, run
from firnline.documents import document_shards, ledger_shards
from firnline.errors import FirnlineError


def git(repo: Path, *arguments: str, date: str = "2020-01-02T03:04:05Z") -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    environment = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["git", "-C", str(repo), *identity, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return done.stdout.strip()


def make(path: Path, files: dict[str, str], date: str = "2020-01-02T03:04:05Z") -> Path:
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main")
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", "one", date=date)
    return path


def rows(out: Path, part: str) -> list[dict[str, object]]:
    paths = document_shards(out) if part == "data" else ledger_shards(out)
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def ingest(out: Path, source: dict[str, object], **options: object) -> Path:
    config = IngestConfig.model_validate({"sources": [{"kind": "git", **source}], **options})
    return run(config, out, workers=1).folder


def names(path: Path, many: bool = False) -> list[str]:
    return [place.name for place in find_repositories(path, many)]


def test_many_repositories_below_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "all"
    make(root / "b" / "two", {"b.py": "b = 1\n"})
    make(root / "a", {"a.py": "a = 1\n", "inside/x.py": "x = 1\n"})
    make(root / "a" / "inside" / "nested", {"n.py": "n = 1\n"})  # in a work tree: not searched
    git(root, "clone", "-q", "--bare", str(root / "b" / "two"), str(root / "c.git"))
    git(root / "c.git", "remote", "remove", "origin")
    (root / "plain").mkdir()
    (root / "plain" / "p.py").write_text("p = 1\n")
    out = ingest(tmp_path / "out", {"path": root})
    found = [(row["repo"], row["path"]) for row in rows(out, "data")]
    assert found == [("a", "a.py"), ("a", "inside/x.py"), ("b/two", "b.py"), ("c", "b.py")]


def test_a_repository_is_itself_and_with_many_what_lies_below_it_too(tmp_path: Path) -> None:
    root = make(tmp_path / "root", {"r.py": "r = 1\n"})
    make(root / "below", {"s.py": "s = 1\n"})
    assert names(root) == ["root"]
    assert names(root, many=True) == ["root", "below"]
    assert names(root / ".git") == ["root"]


def test_a_linked_work_tree_is_not_entered_twice(tmp_path: Path) -> None:
    root = tmp_path / "all"
    repo = make(root / "a", {"a.py": "a = 1\n"})
    git(repo, "worktree", "add", "-q", str(root / "b"), "-b", "other")
    assert names(root) == ["a"]


def test_the_same_repository_twice_is_one_ledger_row(tmp_path: Path) -> None:
    root = tmp_path / "all"
    repo = make(root / "a", {"a.py": "a = 1\n"})
    git(repo, "remote", "add", "origin", "https://example.org/snow/firn.git")
    git(root, "clone", "-q", "a", "z")
    git(root / "z", "remote", "set-url", "origin", "git@example.org:snow/firn")
    out = ingest(tmp_path / "out", {"path": root})
    assert [row["repo"] for row in rows(out, "data")] == ["snow/firn"]
    dropped = [row for row in rows(out, "ledger") if not row["kept"]]
    assert [(row["rule"], row["repo"]) for row in dropped] == [("same_repository", "z")]
    assert "snow/firn" in str(dropped[0]["detail"])


def test_broken_ones_are_a_row_each_and_the_rest_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "all"
    make(root / "good", {"a.py": "a = 1\n"})
    pygit2.init_repository(str(root / "empty"))
    (root / "junk" / ".git").mkdir(parents=True)
    (root / "pointer").mkdir()
    (root / "pointer" / ".git").write_text("gitdir: /nowhere/at/all\n")
    out = ingest(tmp_path / "out", {"path": root})
    assert [row["repo"] for row in rows(out, "data")] == ["good"]
    dropped = {str(row["repo"]): str(row["detail"]) for row in rows(out, "ledger") if row["rule"]}
    assert set(dropped) == {"empty", "junk", "pointer"}
    assert "has no commits" in dropped["empty"]
    assert "no git repository" in dropped["junk"]


def test_pointers_links_and_submodules_are_not_content(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
    inner = make(tmp_path / "inner", {"i.py": "i = 1\n"})
    repo = make(tmp_path / "repo", {"data.csv": pointer, "a.py": "a = 1\n"})
    (repo / "link.py").symlink_to("a.py")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner), "sub")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "two")
    out = ingest(tmp_path / "out", {"path": repo})
    reasons = {row["path"]: row["rule"] for row in rows(out, "ledger")}
    assert reasons == {
        ".gitmodules": "unknown_language",
        "a.py": None,
        "data.csv": "lfs_pointer",
        "link.py": "symlink",
        "sub": "submodule",
    }


@pytest.mark.parametrize(
    ("date", "created"),
    [("2020-01-02T03:04:05Z", 1577934245), ("2090-01-01T00:00:00Z", None)],
)
def test_the_commit_time_is_kept_unless_it_cannot_be(
    tmp_path: Path, date: str, created: int | None
) -> None:
    repo = make(tmp_path / "repo", {"a.py": "a = 1\n"}, date=date)
    found = [f for part in GitSource(path=repo).parts() for f in part.files(Limits())]
    assert [f.created for f in found] == [created]


def test_times_that_cannot_be_true() -> None:
    assert true_time(0) is None
    assert true_time(-5) is None
    assert true_time(1 << 40) is None
    assert true_time(1_600_000_000) == 1_600_000_000


def test_manifest_and_license_texts_make_the_license(tmp_path: Path) -> None:
    files = {
        "Cargo.toml": '[package]\nname = "x"\nlicense = "MIT OR Apache-2.0"\n',
        "debian/copyright": "Format: x\n\nFiles: *\nLicense: Expat\n",
        "a.rs": "fn main() {}\n",
        "b.rs": "// SPDX-License-Identifier: GPL-2.0-only\nfn b() {}\n",
    }
    repo = make(tmp_path / "repo", files)
    out = ingest(tmp_path / "out", {"path": repo})
    licenses = {row["path"]: row["license"] for row in rows(out, "data")}
    assert licenses["a.rs"] == "(MIT OR Apache-2.0) AND MIT"
    assert licenses["b.rs"] == "GPL-2.0-only"


def test_the_texts_of_a_reuse_repository_are_its_license_by_every_way_in(tmp_path: Path) -> None:
    mit = "Permission is hereby granted, free of charge, to any person obtaining a copy.\n"
    files = {"LICENSES/MIT.txt": mit, "LICENSES/GPL-2.0-only.txt": "x", "src/a.py": "x = 1\n"}
    repo = make(tmp_path / "all" / "repo", files)
    git(repo, "archive", "--prefix=repo/", "-o", str(tmp_path / "repo.tar.gz"), "HEAD")
    for number, source in enumerate(
        ({"path": repo}, {"kind": "directory", "path": repo.parent}),
    ):
        out = ingest(tmp_path / f"out{number}", source)
        assert {row["license"] for row in rows(out, "data")} == {"GPL-2.0-only AND MIT"}
    out = ingest(tmp_path / "out", {"kind": "archive", "path": str(tmp_path / "repo.tar.gz")})
    assert {row["license"] for row in rows(out, "data")} == {"GPL-2.0-only AND MIT"}


def test_a_license_file_further_down_holds_with_what_is_above_it(tmp_path: Path) -> None:
    mit = "Permission is hereby granted, free of charge, to any person obtaining a copy.\n" + (
        "The above copyright notice and this permission notice shall be included.\n"
    )
    gpl = "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007\n"
    texts = {
        "LICENSE": mit,
        "ee/LICENSE": "The Enterprise License. Ask us.\n" * 20,
        "ee/inner/LICENSE": mit,  # what is unclear above stays unclear
        "lib/gpl/COPYING": gpl,
        "lib/same/LICENSE.txt": mit,
        "lib/apache/LICENSE-APACHE": "Apache License\nVersion 2.0, January 2004\n",
        "lib/choice/COPYING": "Under the MIT and Apache licenses. Choose either.\n",
        "lib/choice/LICENSE-MIT": mit,
        "lib/closed/LICENSE": "For customers.\n",
        "doc/LICENSE": "See the LICENSE file at the top.\n",
        "src/license.py": "GNU GENERAL PUBLIC LICENSE\nVersion 3\n",
    }
    expected = {
        "x.py": "MIT",
        "ee/x.py": None,
        "ee/inner/x.py": None,
        "lib/x.py": "MIT",
        "lib/gpl/x.py": "MIT AND GPL-3.0-only",
        "lib/gpl/deep/er/x.py": "MIT AND GPL-3.0-only",
        "lib/same/x.py": "MIT",
        "lib/apache/x.py": "MIT AND Apache-2.0",
        "lib/choice/x.py": "MIT",
        "lib/closed/x.py": None,
        "doc/x.py": "MIT",
        "src/x.py": "MIT",
    }
    repo = make(tmp_path / "all" / "repo", texts | {path: f"x = {path!r}\n" for path in expected})
    sources: list[dict[str, object]] = [{"path": repo}, {"kind": "directory", "path": repo.parent}]
    for suffix in ("tar.gz", "zip"):
        name = str(tmp_path / f"repo.{suffix}")
        git(repo, "archive", "--prefix=repo/", "-o", name, "HEAD")
        sources.append({"kind": "archive", "path": name})
    for number, source in enumerate(sources):
        out = ingest(tmp_path / f"out{number}", source)
        found = {row["path"]: row["license"] for row in rows(out, "data")}
        assert {path: found[path] for path in expected} == expected


@pytest.mark.parametrize(("key", "value"), [("objectformat", "sha256"), ("refstorage", "reftable")])
def test_forms_that_libgit2_does_not_read_are_named(tmp_path: Path, key: str, value: str) -> None:
    repo = make(tmp_path / "repo", {"a.py": "x = 1\n"})
    git(repo, "config", "core.repositoryformatversion", "1")
    git(repo, "config", f"extensions.{key}", value)
    with pytest.raises(FirnlineError, match=r"libgit2 does not read.*git archive"):
        ingest(tmp_path / "out", {"path": repo})


def test_a_repository_without_commits_is_named(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "-q")
    with pytest.raises(FirnlineError, match="has no commits"):
        ingest(tmp_path / "out", {"path": repo})


def test_notebooks_become_scripts_and_broken_ones_rows(tmp_path: Path) -> None:
    cells = [{"cell_type": "markdown", "source": "Hi"}, {"cell_type": "code", "source": "x = 1"}]
    good = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4})
    repo = make(
        tmp_path / "repo", {"a.ipynb": good, "b.ipynb": "{broken", "c.ipynb": '{"cells": []}'}
    )
    out = ingest(tmp_path / "out", {"path": repo})
    assert [(r["path"], r["language"], r["content"], r["size"]) for r in rows(out, "data")] == [
        ("a.ipynb", "Jupyter Notebook", "# Hi\n\nx = 1\n", 12)
    ]
    rules = {row["path"]: row["rule"] for row in rows(out, "ledger")}
    assert rules == {"a.ipynb": None, "b.ipynb": "notebook_broken", "c.ipynb": "empty"}
    raw = ingest(tmp_path / "raw", {"path": repo}, notebooks="raw")
    assert next(row["content"] for row in rows(raw, "data")) == good


def test_a_missing_tree_is_a_row(tmp_path: Path) -> None:
    repo = make(tmp_path / "repo", {"a.py": "a = 1\n", "sub/b.py": "b = 1\n"})
    tree = git(repo, "rev-parse", "HEAD:sub")
    (repo / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    out = ingest(tmp_path / "out", {"path": repo})
    reasons = {row["path"]: row["rule"] for row in rows(out, "ledger")}
    assert reasons == {"a.py": None, "sub": "unreadable"}


def test_a_folder_without_repositories_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(FirnlineError, match="no git repository at"):
        list(GitSource(path=tmp_path / "x").parts())
