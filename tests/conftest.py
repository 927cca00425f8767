"""One finished run of a tiny recipe, shared by the tests of the top layer."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

# Real files: about 1.3 MB of the standard library, each package a repository.
PACKAGES = ("asyncio", "collections", "email", "json", "logging", "unittest", "urllib", "xml")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny.yaml` and what it reads, and `run`, finished in this process by one worker.

    The run takes seconds: processes that test side by side share one. Do not change it.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    with (base / "tiny.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = base / "tiny"
        if not (folder / "run" / "report.html").exists():
            _write_sources(folder)
            _run(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_recipe(tiny_folder: Path) -> Path:
    """The recipe of `tiny_run`."""
    return tiny_folder / "tiny.yaml"


@pytest.fixture(scope="session")
def tiny_run(tiny_folder: Path) -> Path:
    """The finished run folder. Do not change it: copy it."""
    return tiny_folder / "run"


@pytest.fixture
def own_run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to change."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def _run(folder: Path) -> None:
    from firnline import pipeline, recipe

    pipeline.run(recipe.load(str(folder / "tiny.yaml")), folder / "run", workers=1)


def _write_sources(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    library = Path(sysconfig.get_path("stdlib"))
    for name in PACKAGES:
        unwanted = shutil.ignore_patterns("__pycache__", "test*")
        shutil.copytree(library / name, folder / "code" / name, ignore=unwanted)
    planted = folder / "code" / "planted"
    planted.mkdir()
    shutil.copy(library / "json" / "decoder.py", planted / "copied.py")
    (planted / "empty.py").write_text("")
    problems = [_problem(number) for number in range(3)]
    (planted / "leak.py").write_text(
        "".join(p["prompt"] + p["canonical_solution"] for p in problems)
    )
    (folder / "tiny.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
    (folder / "tiny.yaml").write_text(yaml.safe_dump(_recipe(folder), sort_keys=False))


def _problem(number: int) -> dict[str, str]:
    return {
        "task_id": f"tiny/{number}",
        "prompt": f'def scale_{number}(values, factor):\n    """Each value times {number}."""\n',
        "canonical_solution": f"    return [value * {number} + factor - factor for value in values]"
        "\n",
        "test": "def check(candidate):\n"
        f"    assert candidate([1, 2], 3) == [{number}, {2 * number}]",
        "entry_point": f"scale_{number}",
    }


def _recipe(folder: Path) -> dict[str, Any]:
    schedule = {"kind": "linear", "warmup_steps": 2, "peak": 3e-3}
    return {
        "name": "tiny",
        "seed": 1,
        "benchmarks": [f"tiny={folder / 'tiny.jsonl'}"],
        "ingest": {
            "sources": [{"kind": "directory", "path": str(folder / "code")}],
            "shard_mib": 1,
        },
        "curate": {"heldout_share": 0.1},
        "synthesize": {"run_python": False},
        "tokenizer": {"vocabulary_size": 512, "sample_mib": 0.5},
        "annotate": {"bootstrap": 100},
        "model": {"hidden": 32, "ffn_hidden": 64, "layers": 1, "heads": 2, "kv_heads": 2},
        "training": {
            "sequence_length": 64,
            "batch_sequences": 4,
            "checkpoint_every_steps": 4,
            "schedule": schedule,
        },
        "phases": {
            "alpha": {"data": "corpus", "tokens": 6000},
            "beta": {"init": "alpha", "data": "selected", "repeat": 2, "tokens": 4000},
            "final": {
                "init": "beta",
                "data": "synthetic",
                "repeat": 1.5,
                "language_share": {"Python": 0.5},
                "tokens": 3000,
            },
            "control": {"init": "alpha", "data": "corpus", "tokens": 7000},
        },
        "evaluate": {
            "heldout_tokens_per_language": 500,
            "max_new_tokens": 8,
            "compare": [["final", "control"]],
        },
    }
