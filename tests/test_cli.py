"""The command line: every command alone, on folders that another tool made to the contract."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import firnline
from firnline import cli
from firnline.cli.data import parse_source
from firnline.documents import content_hash, document_id
from firnline.training.metrics import read_metrics

COMMANDS = [
    "run",
    "plan",
    "ingest",
    "curate",
    "contamination",
    "arrange",
    "synthesize",
    "tokenizer",
    "import-tokenizer",
    "extend-tokenizer",
    "compare-tokenizers",
    "pack",
    "identifiers",
    "pairs",
    "annotate",
    "select",
    "train",
    "evaluate",
    "average",
    "resize",
    "presets",
    "report",
    "why",
]
FIRNLINE = [sys.executable, "-c", "from firnline.cli import main; main()"]


class Answer(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.status == 0, self.err
        return json.loads(self.out)


def call(*words: object) -> Answer:
    """A command in this process: its exit status and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["firnline", *map(str, words)])
        status = cli.command_line()
    return Answer(status, out.getvalue(), err.getvalue())


def process(*words: object) -> Answer:
    """The same in a process of its own."""
    command = [*FIRNLINE, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    return Answer(done.returncode, done.stdout, done.stderr)


def refused(answer: Answer) -> str:
    """What a refused command says: one line on standard error, exit status 1."""
    assert answer.status == 1, answer
    assert "Traceback" not in answer.err
    line = answer.err.splitlines()[-1]
    assert line.startswith("firnline: ")
    return line


def write_bare(folder: Path, repo: str, files: list[Path]) -> Path:
    """Documents as anyone may write them: no manifest, plain types, columns in another order."""
    rows = []
    for file in files:
        data = file.read_bytes()
        rows.append(
            {
                "content": data.decode(),
                "path": file.name,
                "repo": repo,
                "id": document_id("table", repo, "1", file.name),
                "content_hash": content_hash(data),
                "revision": "1",
                "language": "Python",
                "license": None,
                "size": len(data),
                "source": "table",
                "stars": None,
            }
        )
    table = pa.Table.from_pylist(rows)
    assert table.schema.field("content").type == pa.string()
    folder.mkdir()
    pq.write_table(table, folder / "part-0.parquet")
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """`documents`, real files, and `good`, the packaged examples: bare folders of Parquet."""
    folder = tmp_path_factory.mktemp("bare")
    email = sorted((tiny_folder / "code" / "email").glob("*.py"))
    asyncio = sorted((tiny_folder / "code" / "asyncio").glob("*.py"))
    files = [file for file in email + asyncio if file.stat().st_size > 500]
    write_bare(folder / "documents", "library", files)
    recorded = Path(str(resources.files("firnline") / "synthesis" / "recorded" / "python"))
    write_bare(folder / "good", "good", sorted(recorded.rglob("*.py"))[:20])
    return folder


@pytest.fixture(scope="module")
def chain(bare: Path, tiny_folder: Path) -> tuple[Path, dict[str, Answer]]:
    """Every stage command in order, each on the folders of those before; by name, its answer."""
    run = bare / "run"
    words: dict[str, list[object]] = {
        "curate": [bare / "documents", "--set", "heldout_share=0.2"],
        "tokenizer": [run / "curate", "--vocabulary-size", 400],
        "pack": [run / "curate", "--tokenizer", run / "tokenizer"],
        "annotate": [run / "curate", "--positives", bare / "good", "--set", "bootstrap=100"],
        "select": [run / "curate", "--tokens", run / "pack", "--scores", run / "annotate"],
        "train": [run / "pack", "--tokenizer", run / "tokenizer", "--budget", "2k"],
        "evaluate": [run / "train", f"again={run / 'train' / 'checkpoint'}"],
    }
    words["select"] += ["--budget", "5k", "--share", "Python=1"]
    words["train"] += ["--sequence-length", 32, "--batch-sequences", 4, "--peak", "1e-3"]
    words["train"] += ["--model", "hidden=16", "--model", "ffn_hidden=32", "--model", "layers=1"]
    words["train"] += ["--model", "heads=2", "--model", "kv_heads=2"]
    words["evaluate"] += ["--documents", run / "curate", "--set", "max_new_tokens=4"]
    words["evaluate"] += ["--benchmark", f"tiny={tiny_folder / 'tiny.jsonl'}"]
    answers = {}
    for command, given in words.items():
        workers = [] if command == "train" else ["--workers", 1]
        how = process if command == "pack" else call
        answers[command] = how(command, *given, "--out", run / command, "--json", *workers)
    return run, answers


def test_each_stage_answers_in_json(chain: tuple[Path, dict[str, Answer]]) -> None:
    run, answers = chain
    for command, answer in answers.items():
        assert answer.json["folder"] == str(run / command)
        assert answer.json["skipped"] is False
        assert answer.json["stats"] == json.loads((run / command / "stats.json").read_text())


def test_stages_do_their_work_on_bare_folders(chain: tuple[Path, dict[str, Answer]]) -> None:
    run, answers = chain
    stats = {command: answer.json["stats"] for command, answer in answers.items()}
    assert pq.read_table(run / "curate" / "ledger").num_rows == stats["curate"]["documents_in"]
    vocabulary = json.loads((run / "pack" / "tokens.json").read_text())["vocabulary_size"]
    assert vocabulary == 400
    assert sum(pq.read_table(run / "select" / "data")["tokens"].to_pylist()) >= 5000
    assert stats["train"]["steps"] == -(-2000 // (4 * 32))
    assert stats["evaluate"]["models"] == ["train", "again"]
    results = json.loads((run / "evaluate" / "results.json").read_text())["models"]
    assert results["train"] == results["again"]  # a stage's folder and its checkpoint


def test_training_evaluates_on_a_folder_of_its_own(
    chain: tuple[Path, dict[str, Answer]], tmp_path: Path
) -> None:
    run, _ = chain
    given: list[object] = ["--tokenizer", run / "tokenizer", "--sequence-length", 32]
    words = [run / "pack", *given, "--batch-sequences", 4, "--peak", "1e-3", "--budget", 700]
    words += ["--init", run / "train", "--out", tmp_path / "train"]
    every = ["--set", "evaluation.every_steps=3", "--set", "evaluation.samples=8"]
    assert "give --held-out FOLDER and --set" in refused(call("train", *words, *every))
    splits = ["--set", "splits=[heldout]", "--tokenizer", run / "tokenizer"]
    assert call("pack", run / "curate", *splits, "--out", tmp_path / "unseen").status == 0
    assert call("train", *words, "--held-out", tmp_path / "unseen", *every).status == 0
    rows = read_metrics(tmp_path / "train" / "metrics.jsonl")
    assert [row["step"] for row in rows if "heldout_loss" in row] == [3, 6]
    for loss, bits, folder in (
        ("loss", "bits_per_byte", run / "pack"),
        ("heldout_loss", "heldout_bits_per_byte", tmp_path / "unseen"),
    ):
        sizes = json.loads((folder / "tokens.json").read_text())
        expected = rows[-1][loss] / math.log(2) * sizes["tokens"] / sizes["bytes"]
        assert rows[-1][bits] == pytest.approx(expected)


def test_curate_decontaminates_unless_told_not_to(
    chain: tuple[Path, dict[str, Answer]], bare: Path, tmp_path: Path
) -> None:
    run, _ = chain

    def benchmarks(folder: Path) -> Any:
        return json.loads((folder / "manifest.json").read_text())["config"]["benchmarks"]

    assert benchmarks(run / "curate") == ["basics"]
    off = ["--set", "benchmarks=[]", "--workers", "1"]
    assert call("curate", bare / "documents", "--out", tmp_path / "off", *off).status == 0
    assert benchmarks(tmp_path / "off") == []


def test_why_works_on_such_a_run(chain: tuple[Path, dict[str, Answer]]) -> None:
    run, _ = chain
    (found,) = call("why", run, "message.py", "--json").json
    assert [row["stage"] for row in found["stages"]] == ["curate", "annotate", "select"]
    shown = call("why", run, "message.py")
    assert shown.status == 0
    assert found["id"] in shown.out
    assert re.search(r"phase +trained on in \d+ samples?, at steps", shown.out), shown.out


def test_report_writes_the_page_again(own_run: Path) -> None:
    (own_run / "report.html").unlink()
    assert call("report", own_run).out == f"{own_run / 'report.html'}\n"
    assert (own_run / "report.html").read_text().lower().startswith("<!doctype html>")


def test_ingest_and_the_plain_answer(tmp_path: Path, tiny_folder: Path) -> None:
    source = f"directory:{tiny_folder / 'code'}"
    answer = call("ingest", source, "--out", tmp_path / "ingest", "--workers", 1)
    assert answer.status == 0
    assert re.search(r"^documents +\d+$", answer.out, re.MULTILINE)
    again = call("ingest", source, "--out", tmp_path / "ingest", "--workers", 1)
    assert again.out == answer.out
    assert "ingest: unchanged, skipped" in again.err
    assert "no source 'ftp:x'" in refused(call("ingest", "ftp:x", "--out", tmp_path / "x"))


def test_synthesize(tmp_path: Path, bare: Path) -> None:
    words = ["--set", "run_python=false", "--out", tmp_path / "made", "--json"]
    assert call("synthesize", bare / "documents", *words).json["stats"]["documents"] >= 120


def test_run_and_plan_answer_in_json(tiny_recipe: Path, own_run: Path) -> None:
    answer = call("run", tiny_recipe, "--out", own_run, "--json").json
    assert all(stage["skipped"] for stage in answer.values())
    plan = call("plan", tiny_recipe, "--json").json
    assert plan["stages"] == list(answer)
    assert "training memory" in call("plan", "arctic-snowcoder-1.3b", "--device", "h100").out
    shown = call("run", tiny_recipe, "--out", own_run)
    assert "Results, with 95% intervals" in shown.out
    assert shown.out.rstrip().endswith(f"Report: {own_run / 'report.html'}")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    answer = call(command, "--help")
    assert answer.status == 0
    assert f"firnline {command}" in answer.out


def test_the_first_words() -> None:
    assert process("--version") == (0, f"{firnline.__version__}\n", "")
    answer = call("--help")
    assert all(re.search(rf"^  {command} ", answer.out, re.MULTILINE) for command in COMMANDS)
    assert call("melt").status == 2
    assert call("curate").status == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["run", "absent.yaml", "--out", "OUT"], "no recipe absent.yaml"),
        (["run", "quickstart", "--out", "OUT", "--until", "lunch"], "has no stage 'lunch'"),
        (["run", "quickstart", "--out", "OUT", "--set", "seed"], "--set: 'seed' is not key=value"),
        (["plan", "quickstart", "--device", "abacus"], "no device 'abacus'"),
        (["ingest", "directory:ABSENT", "--out", "OUT"], "no folder ABSENT"),
        (["curate", "ABSENT", "--out", "OUT"], "ABSENT"),
        (["curate", "GOOD", "--out", "OUT", "--set", "colour=1"], "colour: no such key"),
        (["curate", "GOOD", "--out", "OUT", "--benchmark", "x=ABSENT"], "no benchmark file ABSENT"),
        (["tokenizer", "ABSENT", "--out", "OUT", "--vocabulary-size", "400"], "ABSENT"),
        (["tokenizer", "GOOD", "--out", "OUT", "--vocabulary-size", "5"], "vocabulary_size"),
        (["pack", "GOOD", "--tokenizer", "ABSENT", "--out", "OUT"], "ABSENT"),
        (["annotate", "GOOD", "--positives", "ABSENT", "--out", "OUT"], "ABSENT"),
        (["select", "GOOD", "--tokens", "ABSENT", "--budget", "5k", "--out", "OUT"], "ABSENT"),
        (["evaluate", "ABSENT", "--documents", "GOOD", "--out", "OUT"], "ABSENT"),
        (["report", "ABSENT"], "ABSENT"),
        (["why", "ABSENT", "x.py"], "no run folder ABSENT"),
        (["ingest", "directory:GOOD", "--out", "FILE"], "FILE"),
        (["ingest", "directory:GOOD", "--out", "FILE/out"], "FILE"),
        (["run", "quickstart", "--out", "FILE"], "FILE"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], complaint: str, bare: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    places = {
        "ABSENT": tmp_path / "absent",
        "GOOD": bare / "good",
        "FILE": tmp_path / "file",
        "OUT": tmp_path / "out",
    }
    for name, place in places.items():
        words = [word.replace(name, str(place)) for word in words]
        complaint = complaint.replace(name, str(place))
    assert complaint in refused(call(*words))
    assert not (tmp_path / "out").exists()


def test_train_s_mistakes_are_one_line(
    chain: tuple[Path, dict[str, Answer]], tmp_path: Path
) -> None:
    run, _ = chain
    words: list[object] = ["train", run / "pack", "--tokenizer", run / "tokenizer"]
    words += ["--budget", "2k", "--sequence-length", 32, "--batch-sequences", 4, "--peak", "1e-3"]
    words += ["--out", tmp_path / "out"]
    assert "no preset 'vast'" in refused(call(*words, "--preset", "vast"))
    assert "--model: 'x' is not key=value" in refused(call(*words, "--model", "x"))
    both = ["--init", run / "train", "--preset", "tiny"]
    assert "--init and a shape" in refused(call(*words, *both))
    assert "schedule" in refused(call(*words, "--schedule", "square", "--preset", "tiny"))
    assert "max_epochs" in refused(call(*words, "--max-epochs", "0", "--preset", "tiny"))
    words[words.index("2k")] = "2M"
    told = call(*words, "--preset", "tiny").err
    assert "phase phase asks for more than its sources have" in told
    assert "epochs, max_epochs is 4" in told


def test_training_goes_on_from_a_stage(
    chain: tuple[Path, dict[str, Answer]], tmp_path: Path
) -> None:
    run, answers = chain
    words: list[object] = ["train", run / "pack", "--tokenizer", run / "tokenizer", "--json"]
    words += ["--budget", "1k", "--sequence-length", 32, "--batch-sequences", 4, "--peak", "1e-3"]
    words += ["--init", run / "train", "--out", tmp_path / "more"]
    stats = call(*words).json["stats"]
    assert stats["parameters"] == answers["train"].json["stats"]["parameters"]
    assert stats["first_loss"] < answers["train"].json["stats"]["first_loss"]


def test_a_tokenizer_is_taken_over_extended_and_the_model_with_it(
    chain: tuple[Path, dict[str, Answer]], tmp_path: Path
) -> None:
    run, answers = chain
    taken = call("import-tokenizer", run / "tokenizer", "--out", tmp_path / "taken", "--json")
    assert taken.json["stats"]["vocabulary_size"] == 400
    words = ["extend-tokenizer", tmp_path / "taken", "--token", "<|tool|>", "--json"]
    more = call(*words, "--out", tmp_path / "more").json["stats"]
    assert (more["added"], more["vocabulary_size"]) == ({"<|tool|>": 400}, 401)
    twice = refused(call(*words, "--token", "<|tool|>", "--out", tmp_path / "x"))
    assert "<|tool|>" in twice
    words = ["resize", run / "train", "--tokenizer", tmp_path / "more"]
    assert call(*words, "--out", tmp_path / "model").status == 0
    call("pack", run / "curate", "--tokenizer", tmp_path / "more", "--out", tmp_path / "pack")
    words = ["train", tmp_path / "pack", "--tokenizer", tmp_path / "more", "--init"]
    words += [tmp_path / "model", "--budget", "1k", "--sequence-length", 32, "--peak", "1e-3"]
    words += ["--batch-sequences", 4, "--packing", "method=best_fit", "--infilling", "rate=0.5"]
    stats = call(*words, "--out", tmp_path / "trained", "--json").json["stats"]
    assert stats["first_loss"] < answers["train"].json["stats"]["first_loss"]


def test_checkpoints_are_averaged(chain: tuple[Path, dict[str, Answer]], tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    run, _ = chain
    assert call("average", run / "train", run / "train", "--out", tmp_path / "mean").status == 0
    mean = load_file(tmp_path / "mean" / "model.safetensors")
    one = load_file(run / "train" / "checkpoint" / "model.safetensors")
    assert all((mean[name] == one[name]).all() for name in one)
    assert "not empty" in refused(call("average", run / "train", "--out", tmp_path / "mean"))


def test_tokenizers_are_compared(chain: tuple[Path, dict[str, Answer]]) -> None:
    run, answers = chain
    words = ["compare-tokenizers", run / "curate", "--tokenizer", run / "tokenizer"]
    rows = call(*words, "--json").json
    assert [row["language"] for row in rows] == ["all", "Python"]
    assert rows[0]["tokens"] == answers["tokenizer"].json["stats"]["tokens"]
    twice = ["--tokenizer", run / "tokenizer"]
    assert "are called 'tokenizer' (write NAME=FOLDER)" in refused(call(*words, *twice))


def test_identifiers_and_pairs(chain: tuple[Path, dict[str, Answer]], tmp_path: Path) -> None:
    run, answers = chain
    words = [run / "curate", "--tokenizer", run / "tokenizer", "--json"]
    labels = call("identifiers", *words, "--tokens", run / "pack", "--out", tmp_path / "labels")
    assert 0 < labels.json["stats"]["identifiers"] < answers["pack"].json["stats"]["tokens"]
    found = call("pairs", *words, "--out", tmp_path / "pairs").json["stats"]
    assert found["pairs"] > 10


def test_presets_are_listed_beside_what_was_published() -> None:
    shown = call("presets").out
    assert re.search(r"llama-3-8b +8,030,261,248 +8,030,261,248", shown)
    assert call("presets", "--json").json["gemma-2-2b"] == 2_614_341_888


@pytest.mark.parametrize(
    ("written", "path", "rest"),
    [
        ("me@work", "me@work", {}),
        ("me@work@v1", "me@work", {"revision": "v1"}),
        ("me@work@HEAD@{1}", "me@work", {"revision": "HEAD@{1}"}),
        ("me@work/**", "me@work", {"many": True}),
        ("plain@v1", "plain", {"revision": "v1"}),
        ("missing@v1", "missing", {"revision": "v1"}),
    ],
)
def test_an_at_sign_of_a_folder_begins_no_revision(
    tmp_path: Path, written: str, path: str, rest: dict[str, object]
) -> None:
    for name in ("me@work", "me", "plain"):
        (tmp_path / name).mkdir()
    expected = {"kind": "git", "path": f"{tmp_path}/{path}", **rest}
    assert parse_source(f"git:{tmp_path}/{written}") == expected


def test_faults_of_ours_keep_their_traceback(monkeypatch: pytest.MonkeyPatch, bare: Path) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("firnline.why.why", fail)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        call("why", bare, "x.py")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "disk")

    monkeypatch.setattr("firnline.why.why", refuse)
    with pytest.raises(OSError, match="Input/output"):
        call("why", bare, "x.py")


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_is_one_line_and_leaves_nothing_running(
    tiny_recipe: Path, tmp_path: Path, workers: int
) -> None:
    words = ["run", tiny_recipe, "--out", tmp_path / "run", "--workers", workers]
    running = subprocess.Popen(
        [*FIRNLINE, *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background jobs, and what they start, ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stderr is not None
    for line in running.stderr:
        if line.endswith("] curate\n"):
            break
    time.sleep(0.3)  # into the stage, not past it
    os.killpg(running.pid, signal.SIGINT)  # what a terminal does
    rest = running.stderr.read()
    assert running.wait(timeout=600) == 130, rest
    assert rest.splitlines()[-1].startswith("firnline: stopped; run the same command"), rest
    assert "Traceback" not in rest
    assert not alive_after(running.pid, seconds=20)


def alive_after(group: int, seconds: float) -> list[str]:
    """Processes of a group that still run then; dead ones that nobody has waited for do not."""
    end = time.monotonic() + seconds
    while True:
        alive = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # ended since
                state, _, its_group, *_ = status.read_text().rpartition(")")[2].split()
                if int(its_group) == group and state not in "ZX":
                    alive.append(status.parent.name)
        if not alive or time.monotonic() > end:
            return alive
        time.sleep(0.1)


def test_an_error_in_a_worker_process_is_one_line(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    whole = (bare / "documents" / "part-0.parquet").read_bytes()
    start, pages = len(whole) // 4, len(whole) // 2
    for number in range(3):  # the footer is whole, pages of the last one are not
        damaged = whole if number < 2 else whole[:start] + bytes(pages) + whole[start + pages :]
        (tmp_path / "in" / f"part-{number}.parquet").write_bytes(damaged)
    answer = process("curate", tmp_path / "in", "--out", tmp_path / "out", "--workers", 2)
    assert "part-2.parquet" in refused(answer)
    assert not (tmp_path / "out").exists()


def test_training_without_its_packages_is_refused_before_anything_runs(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['torch'] = None; from firnline.cli import main; main()"
    recipe = ["run", "quickstart", "--out", str(tmp_path / "run")]
    for arguments, said in ((recipe, "training"), (["average", "a", "--out", "b"], "this")):
        command = [sys.executable, "-c", hidden, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 1
        assert done.stderr.startswith(f"firnline: {said} needs the package torch (pip install")
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()
