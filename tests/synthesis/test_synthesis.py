"""Synthesis: recorded documents become Documents; what does not run is dropped with a reason."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from firnline.corpus.stage import IngestConfig
from firnline.corpus.stage import run as ingest
from firnline.errors import FirnlineError
from firnline.sandbox.programs import Limits, available, run_programs
from firnline.synthesis.providers import RecordedProvider
from firnline.synthesis.stage import SynthesisConfig, as_main, run

needs_sandbox = pytest.mark.skipif(
    available() is not None, reason=f"no sandbox on this machine: {available()}"
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    source = tmp_path / "code" / "cpython"
    source.mkdir(parents=True)
    (source / "bisect.py").write_text("def bisect(a, x):\n    return 0\n")
    config = IngestConfig.model_validate(
        {"sources": [{"kind": "directory", "path": tmp_path / "code"}]}
    )
    return ingest(config, tmp_path / "corpus", workers=1).folder


def recording(folder: Path, **contents: tuple[str, str]) -> Path:
    folder.mkdir()
    rows = []
    for name, (language, content) in contents.items():
        (folder / name).write_text(content)
        row = {"path": name, "language": language, "subject": "s", "title": "t"}
        rows.append(
            json.dumps({**row, "seed": "bisect.py" if language == "Python" else "heapq.py"})
        )
    (folder / "all.jsonl").write_text("\n".join(rows))
    return folder


@needs_sandbox
def test_documents_that_do_not_run_are_dropped_with_the_reason(
    tmp_path: Path, corpus: Path
) -> None:
    folder = recording(
        tmp_path / "recording",
        good=("Python", "print(sum(range(3)))\n"),
        leaves=("Python", "import sys\nif __name__ == '__main__':\n    sys.exit(0)\n"),
        gives_up=("Python", "import sys\nif __name__ == '__main__':\n    sys.exit(3)\n"),
        fails=("Python", "raise ValueError('not today')\n"),
        blank=("Python", " \n"),
        other=("Rust", "fn main() {}\n"),
    )
    result = run(SynthesisConfig(folder=folder), corpus, tmp_path / "out")
    ledger = pq.read_table(result.folder / "ledger" / "shard-00000.parquet").to_pylist()
    assert {row["path"]: row["rule"] for row in ledger} == {
        "good": None,
        "leaves": None,
        "gives_up": "does_not_run",
        "fails": "does_not_run",
        "blank": "empty",
        "other": None,
    }
    details = {row["path"]: row["detail"] for row in ledger}
    assert details["gives_up"] == "failed: RuntimeError: exit status 3"
    assert details["fails"] == "failed: ValueError: not today"
    data = pq.read_table(result.folder / "data" / "shard-00000.parquet").to_pylist()
    assert [row["path"] for row in data] == ["good", "leaves", "other"]
    assert {row["source"] for row in data} == {"synthetic"}
    seed = pq.read_table(next((corpus / "data").glob("*.parquet")))["id"][0].as_py()
    assert {row["path"]: row["seed"] for row in ledger}["good"] == seed
    assert {row["path"]: row["seed"] for row in ledger}["other"] is None
    assert result.stats["seeds_in_corpus"] == 2


@pytest.mark.parametrize(
    ("index", "complaint"),
    [
        ('{"path": "absent", "language": "Python"}', "KeyError"),
        ("not json", "JSONDecodeError"),
        (
            '{"path": "a", "language": "Elvish", "subject": "", "seed": "", "title": ""}',
            "unknown language Elvish",
        ),
        (
            '{"path": "gone", "language": "C", "subject": "", "seed": "", "title": ""}',
            "FileNotFoundError",
        ),
    ],
)
def test_a_broken_recording_names_file_and_line(tmp_path: Path, index: str, complaint: str) -> None:
    (tmp_path / "all.jsonl").write_text(index)
    with pytest.raises(FirnlineError, match=rf"all\.jsonl:1: .*{complaint}"):
        list(RecordedProvider(tmp_path).generations())


def test_the_packaged_recording_is_what_it_says() -> None:
    made = list(RecordedProvider().generations())
    assert len(made) >= 120
    assert len({item.subject for item in made}) >= 15
    python = sum(item.language == "Python" for item in made)
    assert 0.4 <= python / len(made) <= 0.6
    assert len({item.language for item in made} - {"Python"}) >= 5
    assert len({item.path for item in made}) == len({item.content for item in made}) == len(made)
    stdlib = Path(sysconfig.get_path("stdlib"))
    seeds = {item.seed_path for item in made}
    assert not {seed for seed in seeds if not (stdlib / seed).is_file()}


@needs_sandbox
def test_every_recorded_python_document_runs() -> None:
    python = [item for item in RecordedProvider().generations() if item.language == "Python"]
    verdicts = run_programs([as_main(item.content) for item in python], Limits(processes=16))
    ended = zip(python, verdicts, strict=True)
    assert [(item.path, verdict) for item, verdict in ended if not verdict.passed] == []
