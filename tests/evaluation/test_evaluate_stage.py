"""The evaluate stage: what it writes, resumes and refuses."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from firnline.documents import DOCUMENT_SCHEMA, content_hash, document_id, write_table
from firnline.errors import FirnlineError
from firnline.evaluation import generation, heldout
from firnline.evaluation.losses import text_losses
from firnline.evaluation.stage import EvaluateConfig, run
from firnline.evaluation.tokenizer import Tokenizer
from firnline.model import checkpoint
from firnline.model.llama import Llama
from firnline.sandbox import programs

ROWS = [
    {
        "task_id": f"test/{number}",
        "prompt": f"def f{number}():\n",
        "canonical_solution": f"    return {number}\n",
        "test": f"def check(candidate):\n    assert candidate() == {number}",
        "entry_point": f"f{number}",
    }
    for number in range(6)
]
CONFIG: dict[str, Any] = {"heldout_tokens_per_language": 60, "max_new_tokens": 4}


def documents(folder: Path, shards: Sequence[Sequence[tuple[str, str, str]]]) -> Path:
    """Shards of (language, split, content)."""
    for number, shard in enumerate(shards):
        rows = []
        for row, (language, split, content) in enumerate(shard):
            data = content.encode()
            rows.append(
                {
                    "id": document_id("directory", "repo", "", f"{number}/{row}"),
                    "content_hash": content_hash(data),
                    "repo": "repo",
                    "path": f"{number}/{row}",
                    "revision": "",
                    "language": language,
                    "size": len(data),
                    "source": "directory",
                    "content": content,
                    "split": split,
                }
            )
        schema = DOCUMENT_SCHEMA.append(pa.field("split", pa.string()))
        write_table(
            folder / "data" / f"shard-{number:05}.parquet", pa.Table.from_pylist(rows, schema)
        )
    return folder


@pytest.fixture
def given(tmp_path: Path, model: Llama, tokenizer: Tokenizer) -> dict[str, Any]:
    """Arguments of `run` with a benchmark file, two models and held-out documents."""
    benchmark = tmp_path / "tiny.jsonl"
    benchmark.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    checkpoint.save(model, tmp_path / "alpha")
    other = Llama(model.config).initialise(seed=9)
    checkpoint.save(other, tmp_path / "beta")
    folder = documents(
        tmp_path / "documents",
        [
            [("Python", "heldout", f"a = {n}\n" * 3) for n in range(6)],
            [("C", "heldout", "int x;\n"), ("C", "train", "int y;\n"), ("Go", "train", "x")],
        ],
    )
    tokenizer_folder = tmp_path / "tokenizer"
    tokenizer_folder.mkdir()
    return {
        "config": EvaluateConfig(
            benchmarks=(f"tiny={benchmark}",), compare=(("beta", "alpha"),), **CONFIG
        ),
        "models": {"alpha": tmp_path / "alpha", "beta": tmp_path / "beta"},
        "documents": folder,
        "tokenizer": tokenizer,
        "out": tmp_path / "out",
        "tokenizer_folder": tokenizer_folder,
        "workers": 1,
    }


def read(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return results


needs_sandbox = pytest.mark.skipif(
    programs.available() is not None, reason=programs.available() or ""
)


@needs_sandbox
def test_results_and_samples(given: dict[str, Any], model: Llama) -> None:
    result = run(**given)
    results = read(result.folder)
    assert set(results) == {"models", "differences"}
    alpha, beta = results["models"]["alpha"], results["models"]["beta"]
    assert set(alpha) == {"bits_per_byte", "heldout_loss", "heldout_bits_per_byte", "pass_at_1"}
    assert alpha["pass_at_1"]["tiny"]["value"] == 0.0
    assert alpha["pass_at_1"]["tiny"]["n"] == 6
    assert set(alpha["heldout_loss"]) == {"C", "Python"}
    (c,) = text_losses(model, given["tokenizer"], ["int x;\n"])
    assert alpha["heldout_loss"]["C"]["value"] == pytest.approx(c.nats / c.tokens)
    assert alpha["heldout_bits_per_byte"]["C"]["value"] == pytest.approx(c.bits_per_byte)
    # Byte tokens: the two units differ by ln 2 alone.
    for language, estimate in alpha["heldout_loss"].items():
        bits = alpha["heldout_bits_per_byte"][language]["value"]
        assert estimate["value"] == pytest.approx(bits * math.log(2))
    difference = results["differences"]["beta - alpha"]
    expected = beta["bits_per_byte"]["tiny"]["value"] - alpha["bits_per_byte"]["tiny"]["value"]
    assert difference["bits_per_byte"]["tiny"]["value"] == pytest.approx(expected)
    assert difference["bits_per_byte"]["tiny"]["verdict"] == "higher"  # alpha repeats spaces
    assert difference["pass_at_1"]["tiny"]["verdict"] == "cannot tell apart"
    assert result.stats["heldout_documents"] == {"C": 1, "Python": 4}  # 4 x 18 tokens reach 60
    samples = [json.loads(line) for line in (given["out"] / "samples.jsonl").open()]
    assert [(row["model"], row["task_id"]) for row in samples] == [
        (name, row["task_id"]) for name in ("alpha", "beta") for row in ROWS
    ]
    assert run(**given).skipped


@needs_sandbox
def test_any_number_of_workers_gives_the_same_bytes(given: dict[str, Any]) -> None:
    one = run(**given).folder
    two = run(**{**given, "out": given["out"].with_name("again"), "workers": 3}).folder
    for name in ("results.json", "samples.jsonl"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


@needs_sandbox
def test_right_programs_pass(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def recite(model: object, tokenizer: object, prompts: Sequence[str], **_: object) -> list[str]:
        solutions = {row["prompt"]: row["canonical_solution"] for row in ROWS}
        return [solutions[prompt] if "4" not in prompt else "    return 5" for prompt in prompts]

    monkeypatch.setattr(generation, "generate", recite)
    results = read(run(**given).folder)
    assert results["models"]["beta"]["pass_at_1"]["tiny"]["value"] == pytest.approx(5 / 6)
    samples = [json.loads(line) for line in (given["out"] / "samples.jsonl").open()]
    assert [row["verdict"] for row in samples[:6]] == ["passed"] * 4 + ["failed", "passed"]
    assert "AssertionError" in samples[4]["output"]


def test_without_a_sandbox_it_says_so_and_goes_on(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(programs, "available", lambda: "bubblewrap is not installed: get it")
    results = read(run(**given).folder)
    assert results["pass_at_1_skipped"] == "bubblewrap is not installed: get it"
    assert "pass_at_1" not in results["models"]["alpha"]
    assert results["models"]["alpha"]["bits_per_byte"]["tiny"]["n"] == 6
    assert capsys.readouterr().err.count("bubblewrap is not installed: get it") == 1
    assert (given["out"] / "samples.jsonl").read_text() == ""


@needs_sandbox
def test_the_stage_runs_again_once_there_is_a_sandbox(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.setattr(programs, "available", lambda: "none")
        run(**given)
    assert "pass_at_1" in read(run(**given).folder)["models"]["alpha"]


def test_a_killed_run_keeps_finished_models(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = given["config"].model_copy(update={"pass_at_1": False})
    loaded: list[str] = []
    true_load = checkpoint.load

    def failing(path: Path) -> Llama:
        loaded.append(path.name)
        if loaded == ["alpha", "beta"]:
            raise KeyboardInterrupt
        return true_load(path)

    monkeypatch.setattr(checkpoint, "load", failing)
    with pytest.raises(KeyboardInterrupt):
        run(**{**given, "config": config})
    assert not given["out"].exists()
    run(**{**given, "config": config})
    assert loaded == ["alpha", "beta", "beta"]
    assert {path.name for path in given["out"].iterdir()} == {
        "manifest.json",
        "results.json",
        "samples.jsonl",
        "stats.json",
    }


def test_mistakes_are_reported_together(given: dict[str, Any]) -> None:
    spec = given["config"].benchmarks[0]
    config = EvaluateConfig(benchmarks=(spec, spec), compare=(("alpha", "gamma"),))
    with pytest.raises(FirnlineError, match="2 mistakes") as caught:
        run(**{**given, "config": config})
    assert "'gamma'" in str(caught.value)
    assert "'tiny' 2 times" in str(caught.value)
    with pytest.raises(FirnlineError, match="no model to evaluate"):
        run(**{**given, "models": {}, "config": EvaluateConfig()})
    with pytest.raises(FirnlineError, match="cannot be a file name"):
        run(**{**given, "models": {"../a": Path("a")}, "config": EvaluateConfig()})
    with pytest.raises(ValidationError):
        EvaluateConfig(bench="basics")  # type: ignore[call-arg]  # the mistake under test


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(given: dict[str, Any]) -> None:
    large = copy.copy(given["tokenizer"])
    large.vocabulary_size = 300
    with pytest.raises(FirnlineError, match="257 tokens, the tokenizer 300"):
        run(**{**given, "tokenizer": large})


def test_heldout_documents_are_chosen_by_seed_and_cut_at_characters(tmp_path: Path) -> None:
    shards = [[("Python", "heldout", f"{n}é" * 40)] for n in range(8)]
    folder = documents(tmp_path / "many", shards)
    every = heldout.choose(folder, 10_000, 64, seed=0)
    assert len(every["Python"]) == 8
    for text in every["Python"]:
        assert 62 <= len(text.encode()) <= 64
        assert text == (text[0] + "é") * (len(text) // 2) + text[0] * (len(text) % 2)
    some = heldout.choose(folder, 15, 64, seed=0)
    assert some["Python"] == every["Python"][:2]  # 15 tokens of at most 8 bytes
    assert heldout.choose(folder, 10_000, 64, seed=1) != every
    assert heldout.choose(folder, 0, 64, seed=0) == {}


def test_documents_without_a_split_are_refused(given: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    write_table(folder / "data" / "shard-00000.parquet", DOCUMENT_SCHEMA.empty_table())
    with pytest.raises(FirnlineError, match="no column split"):
        run(**{**given, "documents": folder})
