"""Tables: the layouts of published corpora, in Parquet and JSONL, whole and damaged."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firnline.corpus import cells
from firnline.corpus.parts import Found, Limits
from firnline.corpus.stage import IngestConfig, run
from firnline.corpus.tables import JsonlPart, TableSource
from firnline.documents import DOCUMENT_SCHEMA, OPTIONAL_SCHEMA, document_shards
from firnline.errors import FirnlineError

Row = dict[str, Any]

# Rows as the data sets' cards show them, with the columns that Firnline does not read left in.
STACK = {
    "hexsha": "00f1",
    "size": 16,
    "ext": "py",
    "lang": "Python",
    "max_stars_repo_path": "src/main.py",
    "max_stars_repo_name": "snow/firn",
    "max_stars_repo_head_hexsha": "c0ffee",
    "max_stars_repo_licenses": ["MIT"],
    "max_stars_count": 12.0,
    "max_stars_repo_stars_event_min_datetime": "2020-06-07T17:30:05.000Z",
    "max_issues_repo_name": "snow/other",
    "max_forks_count": None,
    "content": "print('snow')\n",
    "avg_line_length": 14.0,
}
STARCODER = {
    "max_stars_repo_path": "lib/a.rs",
    "max_stars_repo_name": "ice/core",
    "max_stars_count": 3,
    "id": "17",
    "content": "fn main() {}\n",
}
STACK_V2 = {
    "blob_id": "b",
    "path": "/pkg/a.go",
    "detected_licenses": ["Apache-2.0", "MIT"],
    "license_type": "permissive",
    "repo_name": "cold/go",
    "revision_id": "abc",
    "star_events_count": 5,
    "committer_date": "2019-01-02T03:04:05",
    "language": "Go",
    "content": "package a\n",
}
GITHUB_CODE = {
    "code": "class A {}\n",
    "repo_name": "hail/java",
    "path": "A.java",
    "language": "Java",
    "license": "gpl-3.0",
    "size": 11,
}
TEXT = {
    "text": "How snow becomes ice.",
    "id": "<urn:uuid:1>",
    "dump": "CC-MAIN-2023-50",
    "url": "https://example.org/snow",
    "date": "2023-12-01T00:00:00Z",
    "file_path": "s3://commoncrawl/x.warc.gz",
    "language": "en",
    "language_score": 0.98,
    "token_count": 6,
}

# (source, repo, revision, path, license, stars, language, created) of each, by hand.
EXPECTED: dict[str, tuple[Row, tuple[object, ...]]] = {
    "the-stack": (
        STACK,
        ("table", "snow/firn", "c0ffee", "src/main.py", "MIT", 12, "Python", 1591551005),
    ),
    "starcoder": (STARCODER, ("table", "ice/core", "", "lib/a.rs", None, 3, None, None)),
    "the-stack-v2": (
        STACK_V2,
        ("table", "cold/go", "abc", "pkg/a.go", "Apache-2.0 AND MIT", 5, "Go", 1546398245),
    ),
    "github-code": (
        GITHUB_CODE,
        ("table", "hail/java", "", "A.java", "GPL-3.0-only", None, "Java", None),
    ),
    "text": (
        TEXT,
        (
            "text",
            "example.org",
            "CC-MAIN-2023-50",
            "<urn:uuid:1>",
            None,
            None,
            "Text",
            1701388800,
        ),
    ),
}


def told(found: Found) -> tuple[object, ...]:
    return (
        found.source,
        found.repo,
        found.revision,
        found.path,
        found.license,
        found.stars,
        found.language,
        found.created,
    )


def read(path: Path, limits: Limits | None = None, **options: object) -> list[Found]:
    source = TableSource.model_validate({"path": str(path), **options})
    return [found for part in source.parts() for found in part.files(limits or Limits())]


def test_the_line_that_starcoder_saw_before_a_file_is_no_part_of_it(tmp_path: Path) -> None:
    prefixes = ("", "<gh_stars>1-10\n", "<reponame>ice/core<filename>lib/a.rs<gh_stars>0\n")
    others = ("// <gh_stars>1\nfn main() {}\n", "<template>\n")
    contents = [*(prefix + str(STARCODER["content"]) for prefix in prefixes), *others]
    pq.write_table(
        pa.Table.from_pylist([STARCODER | {"content": c} for c in contents]), tmp_path / "a.parquet"
    )
    found = read(tmp_path / "a.parquet")
    assert [f.content for f in found] == [b"fn main() {}\n"] * 3 + [c.encode() for c in others]
    assert [f.size for f in found] == [len(f.content or b"") for f in found]


@pytest.mark.parametrize(
    ("value", "spdx"),
    [
        ("NOASSERTION", None),
        (["MIT", "NOASSERTION"], "MIT"),
        ("other", None),
        ("Apache License 2.0", "Apache-2.0"),
        ("bsd-3-clause", "BSD-3-Clause"),
        (["gpl-2.0", "MIT License"], "GPL-2.0-only AND MIT"),
        ("Beerware", "Beerware"),
        (3, None),
    ],
)
def test_what_tables_call_licenses(value: object, spdx: str | None) -> None:
    assert cells.license(value) == spdx


def test_rows_without_a_path_in_files_of_one_name_are_different_documents(tmp_path: Path) -> None:
    for language in ("go", "rust"):
        (tmp_path / language).mkdir()
        table = pa.table({"content": [f"// {language}"]})
        pq.write_table(table, tmp_path / language / "train-0.parquet")
    for path in (tmp_path, tmp_path / "*" / "*.parquet"):
        found = read(path, columns={"content": "content"})
        assert [f.path for f in found] == [
            "go/train-0.parquet/000000000000",
            "rust/train-0.parquet/000000000000",
        ]
    (found_alone,) = read(tmp_path / "go" / "train-0.parquet", columns={"content": "content"})
    assert found_alone.path == "train-0.parquet/000000000000"


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstd,
}


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("form", ["parquet", "jsonl", "jsonl.gz", "jsonl.zst"])
def test_layouts_are_known_by_their_columns(tmp_path: Path, name: str, form: str) -> None:
    row, expected = EXPECTED[name]
    path = tmp_path / f"data.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    else:
        path.write_bytes(PACKINGS[form.removeprefix("jsonl")](json.dumps(row).encode() + b"\n"))
    (found,) = read(path)
    assert told(found) == expected
    assert found.content == str(row.get("content", row.get("code", row.get("text")))).encode()


def test_our_own_documents_come_back_as_they_were(tmp_path: Path) -> None:
    code = tmp_path / "code" / "repo"
    code.mkdir(parents=True)
    for number in range(5):
        (code / f"f{number}.py").write_text(f"x = {number}\n")
    sources = [{"kind": "directory", "path": tmp_path / "code"}]
    first = run(IngestConfig.model_validate({"sources": sources}), tmp_path / "one", workers=1)
    sources = [{"kind": "table", "path": str(first.folder / "data")}]
    second = run(IngestConfig.model_validate({"sources": sources}), tmp_path / "two", workers=1)
    tables = [pq.read_table(document_shards(result.folder)[0]) for result in (first, second)]
    assert tables[0].equals(tables[1])
    assert tables[1].schema.names == [*DOCUMENT_SCHEMA.names, *OPTIONAL_SCHEMA.names]


def test_an_unknown_layout_names_its_columns_and_how_to_map_them(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["x = 1\n"], "file": ["a.py"]}), tmp_path / "a.parquet")
    with pytest.raises(FirnlineError, match="columns are body, file") as caught:
        read(tmp_path / "a.parquet")
    assert "columns: {content: COLUMN" in str(caught.value)
    (found,) = read(tmp_path / "a.parquet", columns={"content": "body", "path": "file"})
    assert (found.path, found.content) == ("a.py", b"x = 1\n")
    with pytest.raises(FirnlineError, match="no column bodie"):
        read(tmp_path / "a.parquet", columns={"content": "bodie"})
    with pytest.raises(ValueError, match="must name the column of content"):
        TableSource.model_validate({"path": "x", "columns": {"path": "file"}})
    (tmp_path / "b.jsonl").write_text('{"body": 1}\n')
    with pytest.raises(FirnlineError, match="columns are body"):
        read(tmp_path / "b.jsonl")


def test_row_groups_and_pieces_of_lines_are_parts_that_hold_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firnline.corpus.tables._PART_BYTES", 3_000)
    rows = [{**STACK, "max_stars_repo_path": f"f{n}.py", "content": "x" * n} for n in range(200)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=7)
    lines = "".join(json.dumps(row) + ("\r\n" if n % 3 else "\n\n") for n, row in enumerate(rows))
    (tmp_path / "a.jsonl").write_text(lines, newline="")
    for name in ("a.parquet", "a.jsonl"):
        parts = list(TableSource(path=str(tmp_path / name)).parts())
        assert len(parts) > 5
        assert len({part.fingerprint() for part in parts}) == len(parts)
        found = [found for part in parts for found in part.files(Limits())]
        assert [f.path for f in found] == [f"f{n}.py" for n in range(200)]
        assert [len(f.content or b"") for f in found] == list(range(200))


@pytest.mark.parametrize("cut", [range(1, 400, 7)])
def test_pieces_of_lines_may_be_cut_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: range
) -> None:
    rows = [{"text": "y" * n, "id": str(n)} for n in range(12)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    for size in cut:
        monkeypatch.setattr("firnline.corpus.tables._PART_BYTES", size)
        assert [found.path for found in read(tmp_path / "a.jsonl")] == [str(n) for n in range(12)]


def test_bad_lines_are_rows_of_the_ledger_and_the_rest_is_kept(tmp_path: Path) -> None:
    good = json.dumps(GITHUB_CODE).encode()
    bad = [b"{", b"[1]", b'{"code": 3, "repo_name": "r", "path": "p"}', b"\xff\xfe", b"null"]
    surrogate = b'{"code": "a\\ud800", "repo_name": "r", "path": "\\ud800", "license": [1]}'
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([good, *bad, surrogate, good[:-9]]))
    found = read(tmp_path / "a.jsonl")
    assert [f.problem.split(":")[0] if f.problem else None for f in found] == [
        None,
        "unreadable",
        "unreadable",
        "no_content",
        "unreadable",
        "unreadable",
        "not_utf8",
        "unreadable",
    ]
    assert found[1].problem is not None
    assert f"byte {len(good) + 1:,}" in found[1].problem
    assert found[6].path == "\\ud800"


def test_a_line_beyond_the_limit_is_left_out_in_flat_memory(tmp_path: Path) -> None:
    line = json.dumps(GITHUB_CODE).encode()
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.write(line + b"\n")
        file.seek(60_000_000, 1)  # zeros without a line's end
        file.write(b"\n" + line)
    limits = Limits(max_file_bytes=1 << 20)
    tracemalloc.start()
    found = read(tmp_path / "a.jsonl", limits)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [bool(f.problem) for f in found] == [False, True, False]
    assert str(found[1].problem).startswith("too_large")
    assert peak < 20 << 20


def test_truncated_and_corrupt_files_keep_what_was_whole(tmp_path: Path) -> None:
    rows = [{**STACK, "max_stars_repo_path": f"f{n}.py"} for n in range(3000)]
    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    found = read(tmp_path / "cut.jsonl.gz")
    whole = [f.path for f in found if f.problem is None]
    assert whole == [f"f{n}.py" for n in range(len(whole))]
    assert len(whole) > 500
    assert [str(f.problem).split(":")[0] for f in found if f.problem][-1] == "table_truncated"

    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=1000)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    (tmp_path / "cut.parquet").write_bytes(data[:-200])
    (found_cut,) = read(tmp_path / "cut.parquet")
    assert str(found_cut.problem).startswith("unreadable: ")
    about = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(1)
    names = [about.column(n).path_in_schema for n in range(about.num_columns)]
    start = about.column(names.index("content")).data_page_offset
    data[start : start + 40] = b"\xff" * 40
    (tmp_path / "bad.parquet").write_bytes(data)
    found = read(tmp_path / "bad.parquet")
    kept = [f.path for f in found if f.problem is None]
    assert kept[:1000] == [f"f{n}.py" for n in range(1000)]
    assert kept[-1000:] == [f"f{n}.py" for n in range(2000, 3000)]
    assert any("rows 1,000 to 1,999" in str(f.problem) for f in found)


def test_files_that_are_not_what_they_say(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([STACK]), tmp_path / "a.jsonl")
    (tmp_path / "b.parquet").write_text("no parquet")
    (tmp_path / "c.jsonl.gz").write_text(json.dumps(STACK) + "\n")  # plain, for all its name says
    (tmp_path / "d.jsonl").write_bytes(b"")
    problems = {f.path: str(f.problem).split(":")[0] for f in read(tmp_path)}
    assert problems == {
        "a.jsonl": "not_a_table",
        "b.parquet": "unreadable",
        "src/main.py": "None",
        "d.jsonl": "not_a_table",
    }


def test_text_that_is_not_utf8_in_parquet_is_one_row(tmp_path: Path) -> None:
    # Arrow writes strings without looking; other writers do the same.
    content = pa.array([b"x = 1\n", b"caf\xe9"], pa.binary()).view(pa.string())
    table = pa.table({"content": content, "repo_name": ["r", "r"], "path": ["a.py", "b.py"]})
    pq.write_table(table, tmp_path / "a.parquet")
    sources = [{"kind": "table", "path": str(tmp_path / "a.parquet")}]
    result = run(IngestConfig.model_validate({"sources": sources}), tmp_path / "out", workers=1)
    assert result.stats["dropped"] == {"not_utf8": 1}
    assert result.stats["documents"] == 1


@pytest.mark.parametrize(
    "value",
    [datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1), "2020-01-01", 1577836800],
)
def test_times_of_any_type_and_none_that_cannot_be_true(tmp_path: Path, value: object) -> None:
    rows = [
        {"text": "a", "id": "1", "date": value},
        {"text": "b", "id": "2", "date": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert [found.created for found in read(tmp_path / "a.parquet")] == [1577836800, None]
    for wrong in ("1970-01-01", "2999-01-01", "soon", 10**30):
        (tmp_path / "b.jsonl").write_text(json.dumps({"text": "a", "id": "1", "date": wrong}))
        assert [found.created for found in read(tmp_path / "b.jsonl")] == [None]


def test_a_file_that_changed_since_it_was_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(STACK) + "\n")
    (part,) = TableSource(path=str(path)).parts()
    assert isinstance(part, JsonlPart)
    path.write_text(json.dumps(STACK) * 2)
    assert [str(f.problem).split(":")[0] for f in part.files(Limits())] == ["changed"]
    path.unlink()
    assert [str(f.problem).split(":")[0] for f in part.files(Limits())] == ["unreadable"]
