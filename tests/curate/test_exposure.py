"""The contamination stage and its tally: counts by hand, merging in any order, bad rows, resume."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.curate.contamination import Index
from firnline.curate.exposure import ExposureConfig, run
from firnline.curate.tally import SPANS, SPANS_SCHEMA, Tally
from firnline.documents import DOCUMENT_SCHEMA, content_hash, document_id
from firnline.errors import FirnlineError

Row = dict[str, Any]
NGRAM = 6

TASKS = {
    "B/0": (
        "def moving_sum(readings, width):\n",
        "    total = sum(readings[:width])\n    sums = [total]\n"
        "    for entering, leaving in zip(readings[width:], readings, strict=False):\n"
        "        total += entering - leaving\n        sums.append(total)\n    return sums\n",
    ),
    "B/1": (
        "def longest_name(people):\n",
        "    names = sorted(person.name.strip() for person in people if person.name)\n"
        "    return max(names, key=len, default=None)\n",
    ),
    "B/2": ("def f(n):\n", "    return n / 2\n"),
}
RENAMED = re.sub(
    r"\b(moving_sum|readings|width|total|sums|entering|leaving)\b", r"q_\1", TASKS["B/0"][1]
)


def document(path: str, content: str | None, language: str = "Python") -> Row:
    data = (content or "").encode()
    row: Row = {"id": document_id("directory", "r", "1", path), "content_hash": content_hash(data)}
    row |= {"repo": "r", "path": path, "revision": "1", "language": language, "license": None}
    return row | {"size": len(data), "source": "directory", "stars": None, "content": content}


DOCUMENTS = [
    document("clean.py", "import os\nprint(os.getcwd())\n"),
    document("whole.py", "# mine\n" + "".join(TASKS["B/0"])),
    document("renamed.py", RENAMED),
    document("both.py", TASKS["B/1"][1] + TASKS["B/0"][1]),
    document("part.md", "names sorted: person name strip for person in people\n", "Markdown"),
    document("half.py", "".join(TASKS["B/2"])),
]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("benchmark") / "bench.jsonl"
    rows = [
        {"task_id": name, "prompt": prompt, "canonical_solution": solution}
        | {"entry_point": "f", "test": "x"}
        for name, (prompt, solution) in TASKS.items()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"bench={path}"


@pytest.fixture(scope="module")
def index(spec: str) -> Index:
    return Index([spec], NGRAM)


def write(folder: Path, shards: list[list[Row]], schema: pa.Schema = DOCUMENT_SCHEMA) -> Path:
    (folder / "data").mkdir(parents=True)
    for number, rows in enumerate(shards):
        table = pa.Table.from_pylist(rows, schema=schema)
        pq.write_table(table, folder / "data" / f"shard-{number:05}.parquet")
    return folder


def tally_of(index: Index, rows: list[Row]) -> Tally:
    tally = Tally(index)
    content = pa.array([row["content"] for row in rows], pa.large_string())
    found = index.find(content, [row["language"] for row in rows])
    columns = ([row[name] for row in rows] for name in ("id", "repo", "path"))
    tally.add(found, *columns)
    return tally


def plain_windows(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text)
    windows = (tuple(words[n : n + NGRAM]) for n in range(len(words) - NGRAM + 1))
    return {
        w for w in windows if len({x for x in w if len(x) > 1 and not x.isdigit()}) >= NGRAM // 2
    }


def test_what_the_corpus_holds(spec: str, tmp_path: Path) -> None:
    documents = write(tmp_path / "in", [DOCUMENTS[:3], DOCUMENTS[3:]])
    config = ExposureConfig(benchmarks=(spec,), ngram=NGRAM)
    result = run(config, documents, tmp_path / "out", workers=1)
    assert not (tmp_path / "out" / "data").exists()
    stats = result.stats
    assert stats["documents"] == 6
    assert stats["bytes"] == sum(row["size"] for row in DOCUMENTS)
    assert stats["contaminated"] == 4
    assert stats["contamination"] == {"bench": {"B/0": 3, "B/1": 2}}
    report = json.loads((tmp_path / "out" / "contamination.json").read_text())["bench"]
    assert report["tasks"] == 3
    assert report["tasks_found"] == 2
    assert report["documents"] == 4
    assert report["tasks_by_kind"] == {"solution": 2, "prompt": 0, "n-gram": 2, "renamed": 1}
    first, second = report["found"]["B/0"], report["found"]["B/1"]
    assert first["kinds"] == {"solution": 2, "n-gram": 2, "renamed": 1}
    assert first["share"] == first["largest_share"] == 1.0
    own = plain_windows("".join(TASKS["B/1"]))
    held = [plain_windows(row["content"]) & own for row in DOCUMENTS]
    assert second["ngrams"] == len(own)
    assert second["share"] == round(len(set().union(*held)) / len(own), 4)
    assert second["largest_share"] == round(max(map(len, held)) / len(own), 4)
    shares = (first["share"] + second["share"]) / 3
    assert report["share"] == pytest.approx(shares, abs=1e-4)


def test_spans_are_places_in_the_documents(spec: str, tmp_path: Path) -> None:
    documents = write(tmp_path / "in", [DOCUMENTS])
    config = ExposureConfig(benchmarks=(spec,), ngram=NGRAM)
    run(config, documents, tmp_path / "out", workers=1)
    table = pq.read_table(tmp_path / "out" / "contamination.parquet")
    assert table.schema.equals(SPANS_SCHEMA)
    contents = {row["id"]: row["content"].encode() for row in DOCUMENTS}
    rows = table.to_pylist()
    assert [(row["task_id"], row["kind"], row["path"]) for row in rows] == sorted(
        [(row["task_id"], row["kind"], row["path"]) for row in rows],
        key=lambda row: (row[0], ("solution", "prompt", "n-gram", "renamed").index(row[1])),
    )
    assert {(row["task_id"], row["path"]) for row in rows} == {
        *(("B/0", path) for path in ("whole.py", "renamed.py", "both.py")),
        *(("B/1", path) for path in ("both.py", "part.md")),
    }
    for row in rows:
        span = contents[row["document"]][row["start"] : row["stop"]].decode()
        assert row["excerpt"].removesuffix("...") in " ".join(span.split())
        if row["kind"] == "solution":
            assert span.split() == TASKS[row["task_id"]][1].split()


def test_the_ledger_has_a_row_for_each_document(spec: str, tmp_path: Path) -> None:
    schema = pa.schema([field.with_nullable(True) for field in DOCUMENT_SCHEMA])
    broken = [document("null.py", None), document("also.py", "x") | {"language": None}]
    documents = write(tmp_path / "in", [DOCUMENTS[:2], [*broken, DOCUMENTS[3]]], schema)
    out = tmp_path / "out"
    config = ExposureConfig(benchmarks=(spec,), ngram=NGRAM)
    result = run(config, documents, out, workers=1)
    rows = [
        row
        for n in range(2)
        for row in pq.read_table(out / f"ledger/shard-0000{n}.parquet").to_pylist()
    ]
    assert [row["id"] for row in rows] == [
        row["id"] for row in (*DOCUMENTS[:2], *broken, DOCUMENTS[3])
    ]
    assert [row["kept"] for row in rows] == [True, True, False, False, True]
    assert [row["rule"] for row in rows] == [None, None, "unreadable", "unreadable", None]
    assert [row["contaminated_tasks"] for row in rows] == [0, 1, None, None, 2]
    assert rows[0]["detail"] is None
    assert rows[1]["detail"].startswith("bench/B/0: ")
    assert rows[2]["detail"] == "no content"
    assert result.stats["unreadable"] == 2
    assert result.stats["documents"] == 3


def test_one_and_two_workers_and_a_second_run_give_the_same(spec: str, tmp_path: Path) -> None:
    documents = write(tmp_path / "in", [DOCUMENTS[:3], DOCUMENTS[3:]])
    config = ExposureConfig(benchmarks=(spec,), ngram=NGRAM)
    outs = [tmp_path / "one", tmp_path / "two"]
    for workers, out in enumerate(outs, start=1):
        run(config, documents, out, workers=workers)
    one, two = (
        {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
        for out in outs
    )
    assert one == two
    assert run(config, documents, outs[0]).skipped


def test_mistakes_name_what_to_mend(tmp_path: Path) -> None:
    documents = write(tmp_path / "in", [DOCUMENTS])
    with pytest.raises(FirnlineError, match="no benchmark to look for"):
        run(ExposureConfig(benchmarks=()), documents, tmp_path / "out")
    with pytest.raises(FirnlineError, match="no benchmark file"):
        run(ExposureConfig(benchmarks=("b=/nowhere.jsonl",)), documents, tmp_path / "out")
    with pytest.raises(FirnlineError, match="no Documents in"):
        run(ExposureConfig(), tmp_path / "in" / "ledger", tmp_path / "out")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(DOCUMENTS), max_size=6), st.integers(0, 6), st.integers(0, 6))
def test_tallies_merge_in_any_order(index: Index, rows: list[Row], a: int, b: int) -> None:
    rows = [row | {"id": bytes([n]) * 16} for n, row in enumerate(rows)]
    first, second = sorted((a, b))
    parts = [rows[:first], rows[first:second], rows[second:]]
    whole = tally_of(index, rows).pack()
    for order in itertools.permutations(parts):
        tally = Tally(index)
        for part in order:
            packed = json.loads(json.dumps(tally_of(index, part).pack()))
            tally.merge(Tally.unpack(index, packed))
        assert tally.pack() == whole
    left, right = tally_of(index, parts[1]), tally_of(index, parts[0])
    right.merge(left)
    right.merge(tally_of(index, parts[2]))
    assert right.pack() == whole


def test_few_spans_of_many_documents_are_kept(index: Index) -> None:
    rows = [document(f"{n}.py", "\n" * n + TASKS["B/0"][1]) for n in range(3 * SPANS)]
    tally = tally_of(index, rows)
    assert tally.report()["bench"]["found"]["B/0"]["documents"] == len(rows)
    spans = tally.spans()
    assert len(spans) == SPANS
    assert spans["document"].to_pylist() == sorted(row["id"] for row in rows)[:SPANS]


def test_no_benchmark_no_tally() -> None:
    index = Index([], NGRAM)
    tally = tally_of(index, DOCUMENTS)
    assert tally.report() == {}
    assert len(tally.spans()) == 0
    assert Tally.unpack(index, tally.pack()).documents == len(DOCUMENTS)
