"""The whole pipeline on a tiny recipe: finish, skip, change, stop, damage, kill."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from firnline import pipeline, recipe
from firnline.documents import document_shards, read_columns
from firnline.errors import FirnlineError

STAGES = [
    "ingest",
    "curate",
    "synthesize",
    "curate-synthetic",
    "tokenizer",
    "pack-corpus",
    "pack-synthetic",
    "annotate",
    "select-beta",
    "pack-beta",
    "select-final",
    "pack-final",
    "train-alpha",
    "train-beta",
    "train-final",
    "train-control",
    "evaluate",
]
# In a process of its own such a stage first starts workers for its shards, or imports torch.
COLD = {"ingest", "curate", "curate-synthetic", "annotate", "select-beta", "evaluate"}
FIRNLINE = [sys.executable, "-c", "from firnline.cli import main; main()"]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def rerun(tiny_recipe: Path, run: Path, *settings: str, until: str | None = None) -> list[str]:
    """The stages that did not stand."""
    loaded = recipe.load(str(tiny_recipe), settings)
    results = pipeline.run(loaded, run, until=until, workers=1)
    return [name for name, result in results.items() if not result.skipped]


def test_a_run_leaves_every_stage_whole(tiny_recipe: Path, tiny_run: Path) -> None:
    assert pipeline.stage_names(recipe.load(str(tiny_recipe))) == STAGES
    for name in STAGES:
        assert read_json(tiny_run / name / "manifest.json")["config"], name
        assert read_json(tiny_run / name / "stats.json"), name
    visible = {path.name for path in tiny_run.iterdir() if not path.name.startswith(".")}
    assert visible == {*STAGES, "recipe.yaml", "metrics.jsonl", "epochs.json", "report.html"}
    assert not list(tiny_run.rglob("*.partial")) + list(tiny_run.rglob("*.tmp"))
    assert recipe.load(str(tiny_run / "recipe.yaml")) == recipe.load(str(tiny_recipe))


def test_metrics_hold_each_phase_s_steps(tiny_recipe: Path, tiny_run: Path) -> None:
    rows = [json.loads(line) for line in (tiny_run / "metrics.jsonl").read_text().splitlines()]
    for phase in recipe.load(str(tiny_recipe)).phases:
        own = [row for row in rows if row["phase"] == phase.name]
        assert [row["step"] for row in own] == list(range(1, phase.training.steps + 1))
        assert own[-1]["tokens"] == phase.training.tokens


def test_held_out_documents_are_in_no_token_folder(tiny_run: Path) -> None:
    table = read_columns(document_shards(tiny_run / "curate"), ["id", "split"])
    heldout = set(table.filter(pc.equal(table["split"], "heldout"))["id"].to_pylist())
    assert len(heldout) > 3
    for index in tiny_run.glob("*/index.parquet"):
        assert not heldout & set(read_columns([index], ["id"])["id"].to_pylist()), index


def test_planted_documents_are_dropped_for_what_they_are(tiny_run: Path) -> None:
    from firnline.why import why

    def rules(path: str) -> dict[str, str]:
        (found,) = why(tiny_run, path)
        return {row["stage"]: row["rule"] for row in found["stages"] if not row["kept"]}

    assert rules("planted/empty.py") == {"ingest": "empty"}
    assert rules("planted/leak.py") == {"curate": "contaminated"}
    copies = {**rules("planted/copied.py"), **rules("json/decoder.py")}
    assert copies["curate"] == "exact_duplicate"


def test_selection_obeys_repeat(tiny_run: Path) -> None:
    for phase, tokens, repeat in (("beta", 4000, 2), ("final", 3000, 1.5)):
        unique = read_json(tiny_run / f"pack-{phase}" / "tokens.json")["tokens"]
        largest = max(read_columns([tiny_run / f"pack-{phase}" / "index.parquet"], ["tokens"])[0])
        assert tokens / repeat <= unique
        stats = read_json(tiny_run / f"train-{phase}" / "stats.json")
        assert stats["tokens"] == tokens
        # At least the budget is taken, whole documents of each language: never seen more often.
        assert max(stats["epochs"].values()) <= repeat * 1.05, (largest, unique)


def test_the_checkpoint_loads_in_transformers(tiny_run: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="pip install firnline[hf]")
    import torch

    from firnline.model import checkpoint

    folder = tiny_run / "train-final" / "checkpoint"
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    ids = torch.tensor([tokenizer.encode("def scale(values):\n    return values\n")])
    with torch.no_grad():
        ours = checkpoint.load(folder).eval()(ids)
        assert torch.allclose(ours, theirs(ids).logits, atol=1e-4)


def test_a_second_run_skips_everything(tiny_recipe: Path, own_run: Path) -> None:
    assert rerun(tiny_recipe, own_run) == []


def test_a_changed_setting_reruns_what_depends_on_it(tiny_recipe: Path, own_run: Path) -> None:
    changed = rerun(tiny_recipe, own_run, "phases.final.tokens=2k")
    assert changed == ["select-final", "pack-final", "train-final", "evaluate"]
    rows = [json.loads(line) for line in (own_run / "metrics.jsonl").read_text().splitlines()]
    assert [row["tokens"] for row in rows if row["phase"] == "final"][-1] == 2000
    assert rerun(tiny_recipe, own_run, "phases.final.tokens=2k") == []


def test_until_stops_there(tiny_recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert rerun(tiny_recipe, run, until="curate") == STAGES[:4]  # curate-synthetic is curate too
    assert not (run / "tokenizer").exists()
    assert not (run / "report.html").exists()
    with pytest.raises(FirnlineError, match=r"no stage 'trian' \(its stages are ingest, curate"):
        rerun(tiny_recipe, run, until="trian")


def test_a_budget_above_the_supply_names_both(tiny_recipe: Path, own_run: Path) -> None:
    supply = read_json(own_run / "pack-synthetic" / "tokens.json")["tokens"]
    with pytest.raises(FirnlineError) as caught:
        rerun(tiny_recipe, own_run, "phases.final.tokens=300M")
    assert "200,000,000" in str(caught.value)
    named = [int(word.replace(",", "")) for word in str(caught.value).split() if word[0].isdigit()]
    assert any(0 < number <= supply for number in named), caught.value


def test_a_damaged_stage_is_one_clear_line(tiny_recipe: Path, own_run: Path) -> None:
    shard = own_run / "curate" / "data" / "shard-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-1000])
    with pytest.raises(FirnlineError) as caught:
        rerun(tiny_recipe, own_run, "tokenizer.vocabulary_size=500")
    assert str(shard) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


# --- processes: full disks and kills ----------------------------------------------------------


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own; skips where this user may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting a small disk needs root: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_the_run_goes_on(tiny_recipe: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        filler = disk / "filler"
        filler.write_bytes(bytes(7_700_000))
        command = [*FIRNLINE, "run", str(tiny_recipe), "--out", str(disk / "run"), "--workers", "1"]
        command += ["--until", "pack"]
        full = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert full.returncode == 1, full.stderr
        last = full.stderr.splitlines()[-1]
        assert last.startswith("firnline: the disk is full while writing"), full.stderr
        assert "Traceback" not in full.stderr
        filler.unlink()
        again = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert again.returncode == 0, again.stderr
        assert (disk / "run" / "pack-synthetic" / "tokens.json").is_file()


def contents(run: Path) -> dict[str, str]:
    """SHA-256 of every file that must come out the same; times of training are not among them."""
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.rglob("*"))
        if path.is_file()
        and not path.name.startswith(".")
        and path.name not in ("metrics.jsonl", "report.html")
        and not (path.name == "stats.json" and path.parent.name.startswith("train-"))
    }


def durations(run: Path) -> dict[str, float]:
    """Seconds each stage of an undisturbed run took, by when the manifests were written."""
    times = [(run / name / "manifest.json").stat().st_mtime for name in STAGES]
    times.insert(0, (run / "recipe.yaml").stat().st_mtime)
    return {name: times[n + 1] - times[n] for n, name in enumerate(STAGES)}


def test_kills_at_random_moments_lead_to_the_same_bytes(
    tiny_recipe: Path, tiny_run: Path, tmp_path: Path
) -> None:
    seed = int.from_bytes(os.urandom(4), "little")
    print(f"seed of the moments: {seed}")  # shown when the test fails
    moments = random.Random(seed)
    run = tmp_path / "run"
    command = [*FIRNLINE, "run", str(tiny_recipe), "--out", str(run), "--workers", "2"]
    in_time = 0
    phases = {f"train-{p.name}": p for p in recipe.load(str(tiny_recipe)).phases}
    for name, seconds in durations(tiny_run).items():
        until = [*command, "--until", name]
        if name in phases:
            step = moments.randrange(phases[name].training.steps)
            metrics = run / f".{name}.partial" / "metrics.jsonl"
            kill_in(until, name, 60, lambda path=metrics, rows=step: lines_of(path) >= rows)
            moment = f"step {step}"
        else:
            # Where nothing was compiled before, the undisturbed run took longer.
            delay = moments.uniform(0, min(seconds, 3.0) + (1.5 if name in COLD else 0.0))
            kill_in(until, name, delay, lambda: False)
            moment = f"{delay:.2f} s"
        in_time += not (run / name).exists()
        print(f"{name}: killed after {moment}; finished: {(run / name).exists()}")
    assert in_time
    finish = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert finish.returncode == 0, finish.stderr
    assert contents(run) == contents(tiny_run)
    hidden = {path.name for path in run.iterdir() if path.name.startswith(".")}
    assert all(name.endswith(".lock") for name in hidden), hidden


def kill_in(command: list[str], stage: str, seconds: float, enough: Callable[[], bool]) -> None:
    """Starts the command, waits until the stage begins, then until `enough` or for `seconds`.

    Then, or where the command has ended by itself, kills its process group.
    """
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.rstrip().endswith(f"] {stage}"):
                break
        else:
            pytest.fail(f"{stage} did not begin:\n{''.join(lines)}")
        end = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < end and not enough():
            time.sleep(0.005)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stderr.close()
        process.wait()


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else -1
