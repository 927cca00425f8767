"""The curate stage end to end: what goes and why, the same bytes always, bad input, resume."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firnline.benchmarks.problems import load
from firnline.curate import rules, stage
from firnline.curate.stage import CurateConfig, run
from firnline.documents import DOCUMENT_SCHEMA, content_hash, document_id, hash_share
from firnline.errors import FirnlineError

Row = dict[str, Any]


def program(seed: int, lines: int = 30) -> str:
    """Source text whose shingles no other seed shares."""
    return "".join(
        f"def step_{seed}_{n}(value_{seed}_{n}):\n    return value_{seed}_{n} * {seed + n}\n"
        for n in range(lines)
    )


def document(repo: str, path: str, content: str | None, **values: Any) -> Row:
    data = (content or "").encode()
    row: Row = {"id": document_id("directory", repo, "1", path), "content_hash": content_hash(data)}
    row |= {"repo": repo, "path": path, "revision": "1", "language": "Python", "license": "MIT"}
    row |= {"size": len(data), "source": "directory", "stars": None, "content": content}
    return row | values


def write_shard(folder: Path, name: str, rows: list[Row], schema: pa.Schema | None = None) -> None:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=schema or DOCUMENT_SCHEMA)
    pq.write_table(table, folder / "data" / f"{name}.parquet")


def ledger(out: Path) -> dict[str, Row]:
    """Ledger rows of a finished stage by document id."""
    rows = [row for p in sorted((out / "ledger").iterdir()) for row in pq.read_table(p).to_pylist()]
    return {row["id"]: row for row in rows}


def kept_paths(out: Path) -> list[str]:
    return [
        p for s in sorted((out / "data").iterdir()) for p in pq.read_table(s)["path"].to_pylist()
    ]


def files(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


CHANGED = program(2).replace("def step_2_7", "def renamed_2_7")
TASK = load("basics").problems[40]

CORPUS = {
    "shard-00000": [
        document("first", "empty.py", " \n"),
        document("first", "vendor/copy.py", program(1)),
        document("first", "near.py", CHANGED, license=None),
        document("first", "generated.py", "# DO NOT EDIT\n" + program(3)),
        document("first", "holds_a_task.py", program(4) + TASK.prompt + TASK.solution),
        document("first", "own.py", program(5)),
    ],
    "shard-00001": [
        document("second", "generated.py", "# DO NOT EDIT\n" + program(6)),
    ],
    "shard-00002": [
        document("second", "original.py", program(1)),
        document("second", "longer/path/copy.py", program(1), license="GPL-3.0-only", stars=9),
        document("second", "near_original.py", program(2)),
        document("second", "rows.json", '{"rows": [' + "1, " * 2000 + "1]}", language="JSON"),
    ],
}
EXPECTED = {
    "empty.py": "empty",
    "vendor/copy.py": "exact_duplicate",
    "near.py": "near_duplicate",
    "holds_a_task.py": "contaminated",
    "own.py": None,
    "original.py": None,
    "longer/path/copy.py": "exact_duplicate",
    "near_original.py": None,
    "rows.json": "letter_share",
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name, rows in CORPUS.items():
        write_shard(tmp_path / "documents", name, rows)
    return tmp_path / "documents"


def test_what_goes_and_why(corpus: Path, tmp_path: Path) -> None:
    result = run(CurateConfig(heldout_share=0.3, off=("vendored",)), corpus, tmp_path / "out")
    rows = ledger(tmp_path / "out")
    found = {r["path"]: rows[r["id"]]["rule"] for shard in CORPUS.values() for r in shard}
    assert found == {**EXPECTED, "generated.py": "generated"}
    assert kept_paths(tmp_path / "out") == ["own.py", "original.py", "near_original.py"]

    original, near_original = CORPUS["shard-00002"][0], CORPUS["shard-00002"][2]
    copy = rows[CORPUS["shard-00000"][1]["id"]]
    assert copy["detail"] == f"equal to second/original.py ({original['id'].hex()})"
    near = rows[CORPUS["shard-00000"][2]["id"]]
    assert near["detail"] == (
        f"Jaccard {near['jaccard']:.3f} with second/near_original.py ({near_original['id'].hex()})"
    )
    assert near["jaccard"] == pytest.approx(plain_jaccard(CHANGED, program(2)), abs=1e-6)
    holds = rows[CORPUS["shard-00000"][4]["id"]]
    assert holds["detail"].startswith(f"basics/{TASK.task_id}: whole prompt at byte ")
    assert holds["contaminated_tasks"] >= 1
    assert all(row["kept"] == (row["rule"] is None) for row in rows.values())

    stats = result.stats
    assert (stats["documents_in"], stats["documents"]) == (11, 3)
    assert stats["dropped"]["generated"] == 2
    assert stats["dropped_by_language"]["letter_share"] == {"JSON": 1}
    assert stats["contamination"]["basics"][TASK.task_id] == 1
    assert stats["bytes"] == sum(
        len(r["content"]) for s in CORPUS.values() for r in s if not EXPECTED.get(r["path"], "x")
    )
    assert sum(stats["split"].values()) == 3

    held = json.loads((tmp_path / "out" / "contamination.json").read_text())["basics"]
    assert held["found"][TASK.task_id]["kinds"]["prompt"] == 1
    spans = pq.read_table(tmp_path / "out" / "contamination.parquet").to_pylist()
    assert {(row["repo"], row["path"]) for row in spans} == {("first", "holds_a_task.py")}


SECRET = "AKIA" + "Q7ZK5W2NX4RB6TYM"


def test_secrets_are_replaced_and_told_by_kind_and_line(tmp_path: Path) -> None:
    text = program(1) + f'key = "{SECRET}"\n'
    rows = [document("a", "key.py", text), document("a", "plain.py", program(2))]
    write_shard(tmp_path / "documents", "shard-00000", rows)
    result = run(CurateConfig(), tmp_path / "documents", tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "data" / "shard-00000.parquet").to_pylist()
    assert [row["content"] for row in table] == [text.replace(SECRET, "<KEY>"), program(2)]
    for row in table:
        data = row["content"].encode()
        assert (row["size"], row["content_hash"]) == (len(data), content_hash(data))
    told = ledger(tmp_path / "out")
    assert told[rows[0]["id"]]["redactions"].endswith(f"(line {text.count(chr(10))})")
    assert told[rows[0]["id"]]["secrets"] == 1
    assert told[rows[1]["id"]]["redactions"] is None
    assert result.stats["documents_with_secrets"] == sum(result.stats["secrets"].values()) == 1
    written = (p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert not any(SECRET.encode() in data for data in written)

    config = CurateConfig.model_validate({"secrets": {"action": "drop"}})
    run(config, tmp_path / "documents", tmp_path / "drop")
    assert kept_paths(tmp_path / "drop") == ["plain.py"]
    assert ledger(tmp_path / "drop")[rows[0]["id"]]["rule"] == "secrets"
    run(CurateConfig(secrets=None), tmp_path / "documents", tmp_path / "off")
    assert ledger(tmp_path / "off")[rows[0]["id"]]["secrets"] is None


def test_syntax_white_space_and_forks(tmp_path: Path) -> None:
    broken = "def f(:\n  ) ] if while\n}}} class = = =\n" * 8
    files = {f"file_{n}.py": program(10 + n) for n in range(6)}
    rows = [document("original", path, text, stars=5) for path, text in files.items()]
    rows += [document("mirror", path, text) for path, text in files.items()]
    rows += [document("mirror", "readme.py", program(30, lines=2))]
    rows += [
        document("other", "broken.py", broken),
        document("other", "spaced.py", program(40)),
        document("other/longer", "spaced.py", program(40).replace("    ", "\t")),
    ]
    write_shard(tmp_path / "documents", "shard-00000", rows)
    run(CurateConfig(), tmp_path / "documents", tmp_path / "out")
    told = ledger(tmp_path / "out")
    found = {(row["repo"], row["path"]): told[row["id"]] for row in rows}
    assert all(found["original", path]["kept"] for path in files)
    for path in (*files, "readme.py"):
        assert found["mirror", path]["rule"] == "fork"
        assert found["mirror", path]["detail"].endswith("are in original")
    assert found["other", "broken.py"]["rule"] == "syntax"
    assert found["other", "broken.py"]["syntax_error_share"] > 0.3
    rules = {found["other", "spaced.py"]["rule"], found["other/longer", "spaced.py"]["rule"]}
    assert rules == {None, "whitespace_duplicate"}


def plain_jaccard(left: str, right: str) -> float:
    def shingles(text: str) -> set[tuple[str, ...]]:
        tokens = re.findall(r"\w+|[^\w\s]", text)
        return set(zip(*(tokens[n:] for n in range(5)), strict=False))

    a, b = shingles(left), shingles(right)
    return len(a & b) / len(a | b)


def test_shards_align_and_rows_keep_their_order(corpus: Path, tmp_path: Path) -> None:
    run(CurateConfig(heldout_share=0.5, seed=3), corpus, tmp_path / "out", workers=1)
    for name, rows in CORPUS.items():
        table = pq.read_table(tmp_path / "out" / "ledger" / f"{name}.parquet")
        assert table["id"].to_pylist() == [row["id"] for row in rows]
        assert table["language"].to_pylist() == [row["language"] for row in rows]
        data = pq.read_table(tmp_path / "out" / "data" / f"{name}.parquet")
        assert data.schema.names == [*DOCUMENT_SCHEMA.names, "split"]
        kept = [row for row in rows if EXPECTED.get(row["path"], "generated") is None]
        assert data["content"].to_pylist() == [row["content"] for row in kept]
        splits = ["heldout" if hash_share(r["id"], "heldout-3") < 0.5 else "train" for r in kept]
        assert data["split"].to_pylist() == splits


def test_the_same_bytes_for_one_and_two_workers(corpus: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        run(CurateConfig(), corpus, tmp_path / f"out-{workers}", workers=workers)
    assert files(tmp_path / "out-1") == files(tmp_path / "out-2")
    assert "ledger/shard-00001.parquet" in files(tmp_path / "out-1")


def test_a_kill_changes_nothing(corpus: Path, tmp_path: Path) -> None:
    run(CurateConfig(), corpus, tmp_path / "whole", workers=1)
    for step in ("measure_shard", "decide", "_write_shard", "shutil.rmtree"):
        code = f"""
            import os, signal, sys
            from pathlib import Path
            from firnline.curate import stage
            calls = []
            work = stage.{step}
            def die(*arguments, **options):
                calls.append(1)
                if len(calls) == 2 or "{step}" == "decide":
                    os.kill(os.getpid(), signal.SIGKILL)
                return work(*arguments, **options)
            stage.{step} = die
            stage.run(stage.CurateConfig(), Path(sys.argv[1]), Path(sys.argv[2]), workers=1)
        """
        out = tmp_path / step.replace(".", "_")
        command = [sys.executable, "-c", textwrap.dedent(code), str(corpus), str(out)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        assert not out.exists()
        run(CurateConfig(), corpus, out, workers=1)
        assert files(out) == files(tmp_path / "whole"), step


def test_documents_that_are_already_there_are_keepers_only(tmp_path: Path) -> None:
    there, more, new = tmp_path / "there", tmp_path / "more", tmp_path / "new"
    write_shard(there, "shard-00000", [document("old", "vendor/a.py", program(1), license=None)])
    write_shard(more, "shard-00000", [document("more", "b.py", "# do not edit\n" + program(2))])
    rows = [
        document("new", "same.py", program(1), stars=99),
        document("new", "near.py", CHANGED),
        document("new", "fresh.py", program(7)),
    ]
    write_shard(new, "shard-00000", rows)
    out = tmp_path / "out"
    result = run(CurateConfig(benchmarks=()), new, out, against=(there, more), workers=1)
    found = ledger(out)
    assert [found[row["id"]]["rule"] for row in rows] == ["exact_duplicate", "near_duplicate", None]
    assert "old/vendor/a.py" in found[rows[0]["id"]]["detail"]
    assert "more/b.py" in found[rows[1]["id"]]["detail"]
    assert kept_paths(out) == ["fresh.py"]
    assert result.stats["documents_in"] == 3
    assert sorted(p.name for p in out.iterdir()) == [
        "data",
        "ledger",
        "manifest.json",
        "stats.json",
    ]


def test_broken_rows_go_to_the_ledger(tmp_path: Path) -> None:
    nullable = pa.schema([field.with_nullable(True) for field in DOCUMENT_SCHEMA])
    rows = [
        document("r", "good.py", program(1)),
        document("r", "null.py", None),
        document("r", "nameless.py", program(2), language=None),
        document("r", "also_good.py", program(3)),
    ]
    write_shard(tmp_path / "in", "shard-00000", rows, nullable)
    bad = document("r", "latin.py", "caf? = 1\n" + program(4))
    table = pa.Table.from_pylist([bad, document("r", "c.py", program(5))], schema=DOCUMENT_SCHEMA)
    content = table["content"].combine_chunks()
    data = content.buffers()[2].to_pybytes().replace(b"caf?", b"caf\xe9")
    content = pa.Array.from_buffers(
        pa.large_string(), 2, [None, content.buffers()[1], pa.py_buffer(data)]
    )
    place = table.schema.get_field_index("content")
    table = table.set_column(place, DOCUMENT_SCHEMA.field("content"), content)
    pq.write_table(table, tmp_path / "in" / "data" / "shard-00001.parquet")

    result = run(CurateConfig(), tmp_path / "in", tmp_path / "out", workers=1)
    found = ledger(tmp_path / "out")
    details = {row["path"]: found[row["id"]]["detail"] for row in [*rows, bad]}
    assert details == {
        "good.py": None,
        "null.py": "no content",
        "nameless.py": "no language",
        "also_good.py": None,
        "latin.py": "content is not UTF-8",
    }
    assert result.stats["dropped"] == {"unreadable": 3}
    assert found[rows[1]["id"]]["characters"] is None
    assert kept_paths(tmp_path / "out") == ["good.py", "also_good.py", "c.py"]


def test_a_shard_that_is_not_parquet_is_named_before_anything_runs(
    corpus: Path, tmp_path: Path
) -> None:
    (corpus / "data" / "shard-00003.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(FirnlineError, match=r"shard-00003\.parquet"):
        run(CurateConfig(), corpus, tmp_path / "out", workers=1)
    assert not list(tmp_path.glob(".out*"))


def test_config_mistakes_are_reported_together(corpus: Path, tmp_path: Path) -> None:
    config = CurateConfig(thresholds={"long": 3, "lines": 1}, off=("short",))
    with pytest.raises(FirnlineError) as caught:
        run(config, corpus, tmp_path / "out")
    assert len(caught.value.details) == 3


def test_columns_of_others_come_through_and_split_is_replaced(tmp_path: Path) -> None:
    rows = [{**document("r", "a.py", program(1)), "score": 0.5, "split": "old"}]
    schema = DOCUMENT_SCHEMA.append(pa.field("split", pa.string()))
    write_shard(tmp_path / "in", "part", rows, schema.append(pa.field("score", pa.float32())))
    run(CurateConfig(heldout_share=0.0), tmp_path / "in", tmp_path / "out", workers=1)
    table = pq.read_table(tmp_path / "out" / "data" / "part.parquet")
    assert table.schema.names == [*DOCUMENT_SCHEMA.names, "score", "split"]
    assert table["split"].to_pylist() == ["train"]
    assert table["score"].to_pylist() == [0.5]


def test_content_in_small_batches_gives_the_same(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from firnline.curate import measure

    run(CurateConfig(), corpus, tmp_path / "whole", workers=1)
    monkeypatch.setattr(measure, "BATCH_BYTES", 100)
    monkeypatch.setattr(measure, "BATCH_ROWS", 2)
    run(CurateConfig(), corpus, tmp_path / "small", workers=1)
    assert files(tmp_path / "small") == files(tmp_path / "whole")


def test_on_the_standard_library(tmp_path: Path) -> None:
    library = Path(sysconfig.get_paths()["stdlib"])
    paths = sorted(p for p in library.rglob("*.py") if "site-packages" not in p.parts)[::5][:300]
    rows = []
    for path in paths:
        try:
            content = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue
        rows.append(document("stdlib", path.relative_to(library).as_posix(), content))
    write_shard(tmp_path / "in", "shard-00000", rows)
    result = run(CurateConfig(), tmp_path / "in", tmp_path / "out", workers=1)
    found = [ledger(tmp_path / "out")[row["id"]] for row in rows]

    # The ledger's values and the table give back every decision of a rule.
    names = [rule.name for rule in rules.RULES]
    columns = {
        name: np.array([row[name] for row in found], dtype=np.float64) for name in rules.STATISTICS
    }
    verdicts = rules.judge(rules.RULES, columns, [row["language"] for row in found])
    replayed = [names[verdict] if verdict >= 0 else None for verdict in verdicts]
    across = {"contaminated", "exact_duplicate", "near_duplicate"}
    assert replayed == [None if row["rule"] in across else row["rule"] for row in found]

    # And most of the library is code that people want.
    assert result.stats["documents"] > 0.8 * len(rows)
    assert result.stats["bytes"] > 0.8 * sum(row["size"] for row in rows)
    assert json.loads((tmp_path / "out" / "stats.json").read_text()) == result.stats


def test_an_empty_table_is_no_error(tmp_path: Path) -> None:
    write_shard(tmp_path / "in", "shard-00000", [])
    result = run(CurateConfig(), tmp_path / "in", tmp_path / "out", workers=1)
    assert result.stats["documents_in"] == 0
    assert pq.read_table(tmp_path / "out" / "data" / "shard-00000.parquet").num_rows == 0
    assert (
        stage.CURATE_LEDGER_SCHEMA.names
        == pq.read_schema(tmp_path / "out" / "ledger" / "shard-00000.parquet").names
    )
