"""The GPU benchmark where there is no GPU: it says so, and its path runs on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "training_gpu.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("transformers", reason="install the extra: firnline[hf]")
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_without_a_gpu_it_says_so_in_a_line() -> None:
    done = run()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == ["no CUDA device here: run on a machine with a GPU"]


def test_a_rehearsal_on_the_cpu_goes_through_every_row() -> None:
    arguments = ("--device", "cpu", "--preset", "tiny", "--length", "16", "--steps", "5")
    done = run(*arguments, "--sequences", "1", "2", "--eager")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["mfu_full_attention"] is None  # nobody publishes this CPU's peak
    assert figures["vs_transformers"] > 0
    names = [line["choice"] for line in figures["table"]]
    assert names.count("transformers") == 2
    assert {"not compiled", "masked at documents", "cross-entropy of all logits"} <= set(names)
    assert all(line["tokens_per_second"] > 0 for line in figures["table"])
