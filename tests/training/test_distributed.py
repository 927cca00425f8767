"""Real ranks under torchrun, over gloo: the same samples and losses as one process, states that any
number of ranks loads, and what a stop or a death of one rank does to the others.

`torchrun test_distributed.py FOLDER OPTIONS` is what each rank runs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from firnline.batch import Batch
from firnline.errors import FirnlineError
from firnline.model import checkpoint
from firnline.model.config import ModelConfig
from firnline.training.distributed import Ranks
from firnline.training.loop import micro_batches
from firnline.training.metrics import read_metrics
from firnline.training.phase import PhaseConfig
from firnline.training.schedule import Schedule
from firnline.training.stage import run

MODEL = ModelConfig(
    vocabulary_size=64, hidden=32, ffn_hidden=48, layers=3, heads=4, kv_heads=2, context=32
)
STEPS = 12
EVALUATION = {"every_steps": 5, "samples": 7}


@dataclass
class Recorded:
    """Random samples by number, a third of each padding; notes which were asked for."""

    asked: list[int] = field(default_factory=list)
    before: Callable[[int], None] = lambda start: None

    def batch(self, start: int, count: int) -> Batch:
        self.before(start)
        self.asked += range(start, start + count)
        rows = [np.random.default_rng(n).integers(64, size=17) for n in range(start, start + count)]
        documents = np.repeat(np.array([0, 1, -1], np.int32), [5, 7, 5])
        return Batch(np.array(rows), np.tile(documents, (count, 1)))

    def epochs(self, samples: int) -> dict[str, float]:
        return {"random": samples / 100}


def phase(**changes: Any) -> PhaseConfig:
    settings: dict[str, Any] = {
        "name": "tiny",
        "tokens": 16 * (5 * (STEPS - 1)) + 11,  # the last step: part of one sample
        "sequence_length": 16,
        "batch_sequences": 5,  # no rank count divides it
        "attention": "masked",
        "schedule": Schedule(kind="cosine", peak=1e-2, floor=1e-3, warmup_steps=3),
        "checkpoint_every_steps": 4,
        "device": "cpu",
        "rank_timeout_seconds": 60,
    }
    return PhaseConfig.model_validate(settings | changes)


def tokenizer_in(folder: Path) -> Path:
    path = folder / "tokenizer.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"model": {"vocab": {str(n): n for n in range(64)}}}))
    return path


def train(folder: Path, samples: Recorded, **changes: Any) -> None:
    run(
        phase(**changes),
        MODEL,
        samples,
        folder / "out",
        inputs={"tokens": "random"},
        tokenizer_file=tokenizer_in(folder),
        held_out=Recorded(),
        workers=1,
    )


def ranks_train(
    count: int, folder: Path, changes: dict[str, Any] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    tokenizer_in(folder)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(count), __file__, str(folder)]
    command.append(json.dumps({"changes": changes or {}, **options}))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def main(folder: Path, changes: dict[str, Any], stop: int = -1, die: int = -1) -> None:
    rank = int(os.environ["RANK"])

    def before(start: int) -> None:
        if rank == 1 and start // 5 == stop:
            signal.raise_signal(signal.SIGTERM)
        if rank == 1 and start // 5 == die:
            os.kill(os.getpid(), signal.SIGKILL)

    samples = Recorded(before=before)
    try:
        train(folder, samples, **changes)
        (folder / f"asked-{rank}.json").write_text(json.dumps(samples.asked))
    except FirnlineError as error:
        (folder / f"error-{rank}.txt").write_text(str(error))
        sys.exit(1)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phase in one process."""
    folder = tmp_path_factory.mktemp("alone")
    train(folder, Recorded(), evaluation=EVALUATION)
    return folder


@pytest.fixture(scope="module")
def alone_with_muon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone-with-muon")
    train(folder, Recorded(), evaluation=EVALUATION, optimizer={"name": "muon"})
    return folder


def assert_same(folder: Path, alone: Path) -> None:
    """The same curve to 1e-5, and so nearly the same weights, whole in one file."""
    found, expected = (read_metrics(path / "out" / "metrics.jsonl") for path in (folder, alone))
    assert [row["step"] for row in found] == list(range(1, STEPS + 1))
    for key in ("loss", "gradient_norm", "heldout_loss"):
        pairs = [(a[key], b[key]) for a, b in zip(found, expected, strict=True) if key in b]
        assert len(pairs) == (3 if key == "heldout_loss" else STEPS)
        np.testing.assert_allclose(*zip(*pairs, strict=True), rtol=0, atol=1e-5)
    for key in ("tokens", "first_sample", "learning_rate", "epoch"):
        assert [row[key] for row in found] == [row[key] for row in expected]
    weights, others = (
        checkpoint.load(path / "out" / "checkpoint").state_dict() for path in (folder, alone)
    )
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, others[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("count", "micro_batch"), [(2, 1), (4, None)])
def test_ranks_see_the_same_samples_and_find_the_same_losses(
    count: int, micro_batch: int | None, alone: Path, tmp_path: Path
) -> None:
    done = ranks_train(
        count, tmp_path, {"evaluation": EVALUATION, "micro_batch_sequences": micro_batch}
    )
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path, alone)
    asked = [json.loads((tmp_path / f"asked-{rank}.json").read_text()) for rank in range(count)]
    # What a rank without samples left asks for to keep step is the first of the batch.
    seen = sorted({number for numbers in asked for number in numbers})
    assert seen == list(range(5 * (STEPS - 1) + 1))
    for numbers in asked:
        steps = [number // 5 for number in numbers]
        assert steps == sorted(steps)


def test_muon_finds_the_same_losses_too(alone_with_muon: Path, tmp_path: Path) -> None:
    changes = {"evaluation": EVALUATION, "optimizer": {"name": "muon"}}
    done = ranks_train(2, tmp_path, changes)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path, alone_with_muon)


def test_a_stop_on_one_rank_stops_all_and_other_numbers_of_ranks_go_on(
    alone: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "two"
    changes = {"evaluation": EVALUATION}
    stopped = ranks_train(2, folder, changes, stop=5)
    assert stopped.returncode != 0
    lines = {(folder / f"error-{rank}.txt").read_text() for rank in range(2)}
    assert lines == {f"phase tiny stopped at step 6 of {STEPS}, saved (run again to go on)"}
    state = json.loads((folder / ".out.partial/state/step-0000000006.json").read_text())
    assert (state["ranks"], state["samples"]) == (2, 30)
    assert len([name for name in state["files"] if name.endswith(".distcp")]) == 2

    shutil.copytree(folder, tmp_path / "one")
    asked = Recorded()
    train(tmp_path / "one", asked, **changes)
    assert asked.asked[0] == 30
    assert_same(tmp_path / "one", alone)
    # Four ranks as two copies of two shards.
    done = ranks_train(4, folder, changes | {"shard_ranks": 2, "activation_checkpointing": 2})
    assert done.returncode == 0, done.stderr
    assert_same(folder, alone)


def test_a_rank_that_dies_ends_the_others_with_a_line_and_costs_no_state(
    alone: Path, tmp_path: Path
) -> None:
    changes = {"evaluation": EVALUATION}
    died = ranks_train(2, tmp_path, changes, die=9)
    assert died.returncode != 0
    line = (tmp_path / "error-0.txt").read_text()
    assert line.startswith("phase tiny: rank 0 lost another rank: ")
    assert line.endswith("(see what the other ranks said; run again to go on from the last state)")
    states = sorted((tmp_path / ".out.partial" / "state").glob("*.json"))
    assert states  # that of step 4 at least, which the one of step 8 waited for
    newest = json.loads(states[-1].read_text())["step"]
    asked = Recorded()
    train(tmp_path, asked, **changes)
    assert asked.asked[0] == 5 * newest
    assert_same(tmp_path, alone)


@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("size", [None, 1, 2, 3, 100])
@pytest.mark.parametrize("samples", [1, 2, 5, 8, 13])
def test_shares_cover_a_batch_once_in_equally_many_passes(
    count: int, size: int | None, samples: int
) -> None:
    seen: list[int] = []
    passes = set()
    for rank in range(count):
        ranks = Ranks(rank, count, torch.device("cpu"), None, None)
        made = list(micro_batches(ranks, 40, samples, size))
        passes.add(len(made))
        for start, held, counts in made:
            assert held >= 1 and start >= 40 and start + held <= 40 + samples
            assert held <= (size or samples)
            seen += range(start, start + held) if counts else ()
    assert seen == list(range(40, 40 + samples))
    assert len(passes) == 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), **json.loads(sys.argv[2]))
