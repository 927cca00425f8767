"""A recipe on two ranks: what comes before training alone, training together, the rest once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def torchrun(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "firnline", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


def test_two_ranks_run_a_recipe_as_one_process_does(
    tiny_recipe: Path, tiny_run: Path, own_run: Path
) -> None:
    for folder in own_run.glob("train-*"):
        shutil.rmtree(folder)
    shutil.rmtree(own_run / "evaluate")
    done = torchrun("run", tiny_recipe, "--out", own_run, "--until", "train-beta")
    assert done.returncode == 0, done.stderr[-3000:]
    for phase in ("alpha", "beta"):
        ours, theirs = (
            [json.loads(line) for line in (run / f"train-{phase}" / "metrics.jsonl").open()]
            for run in (own_run, tiny_run)
        )
        losses = [row["loss"] for row in ours]
        assert losses == pytest.approx([row["loss"] for row in theirs], abs=1e-5)
        assert [row["first_sample"] for row in ours] == [row["first_sample"] for row in theirs]
    assert not (own_run / "train-final").exists()


def test_ranks_do_not_wait_for_what_comes_before_training(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    done = torchrun("run", tiny_recipe, "--out", tmp_path / "run")
    assert done.returncode != 0
    words = "has no ingest, which every rank would wait for (first run without torchrun, with"
    assert words in done.stderr
    assert not (tmp_path / "run" / "ingest").exists()
