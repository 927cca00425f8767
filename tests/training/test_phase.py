"""A phase against a plain loop, its exactness in tokens and under kills, and bad input.

`python test_phase.py OUT` trains the phase `tiny` in OUT; the tests end such processes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint.filesystem import FileSystemWriter

from firnline.batch import Batch
from firnline.errors import FirnlineError
from firnline.model import checkpoint
from firnline.model.config import ModelConfig
from firnline.model.llama import Llama
from firnline.stage import StageResult
from firnline.training import state_files
from firnline.training.metrics import read_metrics
from firnline.training.phase import PhaseConfig
from firnline.training.schedule import Schedule, learning_rate
from firnline.training.stage import run

MODEL = ModelConfig(
    vocabulary_size=64, hidden=32, ffn_hidden=48, layers=2, heads=4, kv_heads=2, context=32
)


@dataclass
class Counting:
    """Sample n counts upwards from a start drawn with seed n: easy to learn, easy to check."""

    before: Callable[[int], None] = lambda start: None
    samples_per_epoch: int = 50

    def epochs(self, samples: int) -> dict[str, float]:
        return {"counting": samples / self.samples_per_epoch}

    def batch(self, start: int, count: int) -> Batch:
        self.before(start)
        starts = [
            np.random.default_rng(n % self.samples_per_epoch).integers(64)
            for n in range(start, start + count)
        ]
        return Batch((np.array(starts)[:, None] + np.arange(17)) % 64, None)


def phase(**changes: Any) -> PhaseConfig:
    settings: dict[str, Any] = {
        "name": "tiny",
        "seed": 5,
        "tokens": 16 * 4 * 30,
        "sequence_length": 16,
        "batch_sequences": 4,
        "schedule": Schedule(kind="cosine", peak=1e-2, floor=1e-3, warmup_steps=5),
        "checkpoint_every_steps": 4,
    }
    return PhaseConfig.model_validate(settings | changes)


def train(out: Path, config: PhaseConfig | None = None, **changes: Any) -> StageResult:
    tokenizer = out.parent / "tokenizer.json"
    if not tokenizer.exists():
        tokenizer.parent.mkdir(parents=True, exist_ok=True)
        vocabulary = {str(n): n for n in range(64)}
        tokenizer.write_text(json.dumps({"model": {"vocab": vocabulary}}))
    arguments: dict[str, Any] = {
        "model": MODEL,
        "samples": Counting(),
        "inputs": {"tokens": "counting"},
        "tokenizer_file": tokenizer,
        "workers": 1,
    }
    return run(config or phase(), out=out, **(arguments | changes))


def outcome(out: Path) -> tuple[str, list[dict[str, Any]]]:
    """Hash of the weights, and the metrics without those of the clock and the machine."""
    weights = (out / "checkpoint" / "model.safetensors").read_bytes()
    rows = read_metrics(out / "metrics.jsonl")
    for row in rows:
        del row["tokens_per_second"], row["peak_memory_bytes"]
    return hashlib.sha256(weights).hexdigest(), rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, Any]]]:
    """The outcome of the phase when nothing stops it."""
    out = tmp_path_factory.mktemp("whole") / "out"
    train(out)
    return outcome(out)


def plain_losses(config: PhaseConfig) -> list[float]:
    """The same phase as a textbook loop around transformers' model."""
    transformers = pytest.importorskip("transformers", reason="install the extra: firnline[hf]")
    shape = checkpoint.to_hugging_face(MODEL)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape)).train()
    model.load_state_dict(Llama(MODEL).initialise(config.seed).state_dict(), strict=False)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() == 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8, foreach=False, fused=False)
    losses = []
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config.schedule, step, config.steps)
        batch = torch.from_numpy(Counting().batch(step * 4, 4).ids)
        logits = model(batch[:, :-1]).logits
        left = config.tokens - step * 64  # the last step may hold fewer
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1)[:left], batch[:, 1:].flatten()[:left]
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("rest", [37, 5])  # the last step: three samples, part of one sample
@pytest.mark.parametrize("micro_batch", [None, 2, 3])
def test_the_loss_curve_is_a_plain_loops(
    micro_batch: int | None, rest: int, tmp_path: Path
) -> None:
    config = phase(tokens=16 * 4 * 30 + rest, micro_batch_sequences=micro_batch)
    result = train(tmp_path / "out", config)
    rows = read_metrics(tmp_path / "out" / "metrics.jsonl")
    np.testing.assert_allclose([row["loss"] for row in rows], plain_losses(config), atol=1e-3)
    assert rows[-1]["loss"] < rows[0]["loss"] / 2
    assert result.stats["first_loss"] == rows[0]["loss"]


def test_a_phase_uses_its_tokens_exactly_and_each_sample_once(tmp_path: Path) -> None:
    asked: list[int] = []
    config = phase(tokens=16 * 4 * 7 + 37)
    result = train(tmp_path / "out", config, samples=Counting(asked.append))
    rows = read_metrics(tmp_path / "out" / "metrics.jsonl")
    assert asked == [0, 4, 8, 12, 16, 20, 24, 28]
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert [row["tokens"] for row in rows] == [64 * n for n in range(1, 8)] + [64 * 7 + 37]
    rates = [learning_rate(config.schedule, step, 8) for step in range(8)]
    assert [row["learning_rate"] for row in rows] == rates
    assert all(row["gradient_norm"] > 0 and row["tokens_per_second"] > 0 for row in rows)
    assert (result.stats["tokens"], result.stats["steps"], result.stats["samples"]) == (485, 8, 31)
    assert result.stats["epochs"] == {"counting": 31 / 50}
    about = json.loads((tmp_path / "out" / "checkpoint" / "training.json").read_text())
    assert about == {"phase": "tiny", "step": 8, "tokens": 485, "seed": 5}


def test_an_unchanged_phase_is_skipped(
    tmp_path: Path, whole: tuple[str, list[dict[str, Any]]]
) -> None:
    out = tmp_path / "out"
    assert not train(out).skipped
    assert outcome(out) == whole
    assert train(out).skipped
    assert not (out / "state").exists()
    assert sorted(path.name for path in (out / "checkpoint").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "training.json",
    ]
    assert not train(out, inputs={"tokens": "others"}).skipped
    assert not train(out, phase(seed=6), inputs={"tokens": "others"}).skipped
    assert outcome(out) != whole


def test_processes_killed_at_random_moments_end_in_the_same_bits(
    tmp_path: Path, whole: tuple[str, list[dict[str, Any]]]
) -> None:
    out = tmp_path / "out"
    log = tmp_path / ".out.partial" / "metrics.jsonl"
    command = [sys.executable, __file__, str(out)]
    dice = random.Random(os.urandom(8))
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        lines = log.read_text().count("\n") if log.exists() else 0
        wanted = lines + dice.randint(1, 5)
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while process.poll() is None:
            # Not a time limit: a child that cannot start ends the loop itself.
            if log.exists() and log.read_text().count("\n") >= wanted:
                time.sleep(dice.random() * 0.02)
                process.send_signal(number)
                break
            time.sleep(0.001)
        _, errors = process.communicate()
        if number == signal.SIGTERM and process.returncode:
            assert process.returncode == 1
            last = errors.strip().splitlines()[-1]
            assert last.startswith("phase tiny stopped at step ")
            assert last.endswith("of 30, saved (run again to go on)")
    subprocess.run(command, check=True, capture_output=True)
    assert outcome(out) == whole


class Stop(BaseException):
    """Stands for the end of the process."""


def stopping(at: int) -> Counting:
    def before(start: int) -> None:
        if start == at * 4:
            raise Stop

    return Counting(before)


@pytest.mark.parametrize("at", [0, 1, 3, 4, 5, 9, 28, 29])
def test_a_phase_stopped_at_any_step_ends_in_the_same_bits(
    at: int, tmp_path: Path, whole: tuple[str, list[dict[str, Any]]]
) -> None:
    with pytest.raises(Stop):
        train(tmp_path / "out", samples=stopping(at))
    asked: list[int] = []
    train(tmp_path / "out", samples=Counting(asked.append), workers=2)  # keeps one thread
    assert asked[0] == at // 4 * 4 * 4  # at most the steps since the last state are made again
    assert outcome(tmp_path / "out") == whole


def test_a_stopped_phase_is_not_begun_again_with_other_settings_unasked(
    tmp_path: Path, whole: tuple[str, list[dict[str, Any]]]
) -> None:
    with pytest.raises(Stop):
        train(tmp_path / "out", samples=stopping(9))
    states = tmp_path / ".out.partial" / "state"
    before = {path.name: path.stat().st_mtime_ns for path in states.iterdir()}
    for changes in ({"config": phase(clip=0.5)}, {"inputs": {"tokens": "other tokens"}}):
        with pytest.raises(FirnlineError, match="began with something else") as caught:
            train(tmp_path / "out", **changes)
        assert len(caught.value.details) == 1
    assert {path.name: path.stat().st_mtime_ns for path in states.iterdir()} == before
    train(tmp_path / "out")
    assert outcome(tmp_path / "out") == whole


def test_a_stop_while_a_state_is_written_costs_that_state_only(
    tmp_path: Path, whole: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(path: Path, value: Any) -> None:
        if value["step"] == 12:
            raise Stop  # in the thread that writes; the loop meets it when it looks
        write(path, value)

    write = state_files.write_json
    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr(state_files, "write_json", stop)
        train(tmp_path / "out")
    states = tmp_path / ".out.partial" / "state"
    assert (states / "step-0000000012" / ".metadata").exists()
    (states / ".step-0000000012.json.tmp").write_bytes(b"half")
    asked: list[int] = []
    train(tmp_path / "out", samples=Counting(asked.append))
    assert asked[0] == 8 * 4
    assert outcome(tmp_path / "out") == whole


def test_a_stop_after_the_checkpoint_does_not_train_again(
    tmp_path: Path, whole: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise Stop

    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr("firnline.training.stage._statistics", stop)
        train(tmp_path / "out")
    result = train(tmp_path / "out", samples=Counting(stop))
    assert outcome(tmp_path / "out") == whole
    assert result.stats["steps"] == 30


def test_an_interrupt_saves_and_says_so(
    tmp_path: Path, whole: tuple[str, list[dict[str, Any]]]
) -> None:
    def interrupt(start: int) -> None:
        if start == 4 * 9:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(FirnlineError, match=r"^phase tiny stopped at step 10 of 30, saved \(run"):
        train(tmp_path / "out", samples=Counting(interrupt))
    assert signal.getsignal(signal.SIGINT) is handler
    asked: list[int] = []
    train(tmp_path / "out", samples=Counting(asked.append))
    assert asked[0] == 40
    assert outcome(tmp_path / "out") == whole


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "goes_on_from"),
    [
        (lambda states, newest: flip(newest / "__0_0.distcp"), 8),
        (lambda states, newest: flip(newest / ".metadata"), 8),
        (lambda states, newest: cut_short(newest / "__0_0.distcp"), 8),
        (lambda states, newest: (newest / ".metadata").write_bytes(b""), 8),
        (lambda states, newest: (newest / "__0_0.distcp").unlink(), 8),
        (lambda states, newest: shutil.rmtree(newest), 8),
        (lambda states, newest: newest.with_suffix(".json").write_text('{"step": 12'), 8),
        (lambda states, newest: newest.with_suffix(".json").write_text("[]"), 8),
        (lambda states, newest: [flip(path) for path in states.glob("*/*.distcp")], 0),
        (lambda states, newest: (states.parent / "metrics.jsonl").write_text('{"step": 1}\n'), 0),
        (lambda states, newest: shutil.rmtree(states), 0),
    ],
)
def test_a_damaged_state_is_refused_and_an_older_one_used(
    damage: Callable[[Path, Path], Any],
    goes_on_from: int,
    tmp_path: Path,
    whole: tuple[str, list[dict[str, Any]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(Stop):
        train(tmp_path / "out", samples=stopping(13))
    states = tmp_path / ".out.partial" / "state"
    names = [f"step-{step:010}{end}" for step in (8, 12) for end in ("", ".json")]
    assert sorted(path.name for path in states.iterdir()) == names
    damage(states, states / "step-0000000012")
    has_states = states.exists()
    capsys.readouterr()
    asked: list[int] = []
    train(tmp_path / "out", samples=Counting(asked.append))
    assert asked[0] == goes_on_from * 4
    said = capsys.readouterr().err
    assert ("it is not used" in said or "that state is not used" in said) == has_states
    assert outcome(tmp_path / "out") == whole


def test_a_full_disk_is_one_line_and_keeps_the_older_state(
    tmp_path: Path, whole: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, plan: Any, planner: Any) -> Any:
        if "0000000012" in str(self.path):
            (self.path / "__0_0.distcp").write_bytes(b"as much as there was room for")
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, plan, planner)

    write = FileSystemWriter.write_data
    with monkeypatch.context() as patched, pytest.raises(FirnlineError) as caught:
        patched.setattr(FileSystemWriter, "write_data", full)
        train(tmp_path / "out")
    line = str(caught.value)
    assert line.startswith("phase tiny: the disk is full while saving step 12 in ")
    assert line.endswith("(free space and run again: it goes on from step 8)")
    names = sorted(path.name for path in (tmp_path / ".out.partial" / "state").iterdir())
    assert [name for name in names if "12" in name] == []
    asked: list[int] = []
    train(tmp_path / "out", samples=Counting(asked.append))
    assert asked[0] == 32
    assert outcome(tmp_path / "out") == whole


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    mount = ["unshare", "-rm", "bash", "-c"]
    script = f"mount -t tmpfs -o size=900k none '{tmp_path}' && "
    with contextlib.suppress(FileNotFoundError):
        allowed = subprocess.run([*mount, script + "true"], capture_output=True).returncode == 0
    if not allowed:
        pytest.skip("needs leave to mount a tmpfs in a user namespace (unshare -rm)")
    child = f"'{sys.executable}' '{__file__}' '{tmp_path}/out'; ls '{tmp_path}/.out.partial/state'"
    done = subprocess.run([*mount, script + child], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("phase tiny: the disk is full while saving step 12 in ")
    assert last.endswith("(free space and run again: it goes on from step 8)")
    assert done.stdout.split() == [
        f"step-{step:010}{end}" for step in (4, 8) for end in ("", ".json")
    ]


def test_a_phase_starts_from_another_ones_weights(tmp_path: Path) -> None:
    first = train(tmp_path / "alpha" / "out")
    second = train(tmp_path / "beta", phase(name="beta", seed=9), init=first.folder)
    rows = read_metrics(second.folder / "metrics.jsonl")
    model = checkpoint.load(first.folder / "checkpoint")
    batch = torch.from_numpy(Counting().batch(0, 4).ids)
    with torch.no_grad():
        expected = model.loss(batch[:, :-1], batch[:, 1:]).item()
    assert rows[0]["loss"] == pytest.approx(expected, abs=1e-5)
    # The optimizer began anew: the first step moved each weight by about its learning rate.
    assert rows[0]["loss"] < 2 < read_metrics(first.folder / "metrics.jsonl")[0]["loss"]
    copied = shutil.copytree(first.folder / "checkpoint", tmp_path / "copied")
    third = train(tmp_path / "gamma", phase(name="beta", seed=9), init=copied)
    assert outcome(third.folder) == outcome(second.folder)
    assert train(tmp_path / "beta", phase(name="beta", seed=9), init=first.folder).skipped
    train(tmp_path / "alpha" / "out", phase(seed=6))
    assert not train(tmp_path / "beta", phase(name="beta", seed=9), init=first.folder).skipped


def test_parts_that_do_not_fit_together_are_refused_at_once(tmp_path: Path) -> None:
    first = train(tmp_path / "alpha")
    other = MODEL.model_copy(update={"vocabulary_size": 60, "context": 8, "layers": 3})
    with pytest.raises(FirnlineError) as caught:
        train(tmp_path / "beta", model=other, init=first.folder)
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "phase tiny does not fit together: sequence_length 16 is longer than the model's context "
        "8 (change the recipe)"
    )
    assert "tokenizer.json has 64 entries, the model's vocabulary 60" in lines[1]
    assert [line.split(" has ", 1)[1] for line in lines[2:]] == [
        "vocabulary_size 64, the phase's model has 60",
        "layers 2, the phase's model has 3",
        "context 32, the phase's model has 8",
    ]
    with pytest.raises(FirnlineError, match=r"is not a tokenizer\.json"):
        train(tmp_path / "beta", tokenizer_file=tmp_path / "absent")
    with pytest.raises(FirnlineError, match=r"has no config\.json"):
        train(tmp_path / "beta", init=tmp_path / "absent")
    assert not (tmp_path / "beta").exists()


@dataclass
class Spoilt(Counting):
    value: int = 64
    extra: int = 0

    def batch(self, start: int, count: int) -> Batch:
        rows = super().batch(start, count).ids
        if start >= 40:
            rows[1, 3] = self.value
        return Batch(np.pad(rows, ((0, 0), (0, self.extra))), None)


def test_samples_that_do_not_fit_the_model_are_refused(tmp_path: Path) -> None:
    words = "token id 64 in samples 40 to 43 is outside the model's vocabulary of 64"
    with pytest.raises(FirnlineError, match=words):
        train(tmp_path / "out", samples=Spoilt())
    with pytest.raises(FirnlineError, match="token id -1 in"):
        train(tmp_path / "out", samples=Spoilt(value=-1))
    with pytest.raises(FirnlineError, match=r"samples are \[4, 20\], \[4, 17\] were asked for"):
        train(tmp_path / "out", samples=Spoilt(extra=3))


def test_a_loss_that_is_not_a_number_stops_the_phase_and_keeps_the_state(tmp_path: Path) -> None:
    wild = Schedule(kind="linear", peak=1e25, warmup_steps=15)
    with pytest.raises(FirnlineError, match=r"^phase tiny: (loss|gradient norm) is (nan|inf) at"):
        train(tmp_path / "out", phase(schedule=wild, checkpoint_every_steps=1))
    states = sorted((tmp_path / ".out.partial" / "state").glob("*.json"))
    rows = read_metrics(tmp_path / ".out.partial" / "metrics.jsonl")
    assert json.loads(states[-1].read_text())["step"] == len(rows) >= 1
    with pytest.raises(FirnlineError, match=rf"the state of step {len(rows)} is kept"):
        train(tmp_path / "out", phase(schedule=wild, checkpoint_every_steps=1))

    model = Llama(MODEL).initialise(0)
    with torch.no_grad():
        model.model.norm.weight[3] = float("inf")
    checkpoint.save(model, tmp_path / "bad")
    with pytest.raises(FirnlineError, match=r"loss is nan at step 1, .* state of step 0") as caught:
        train(tmp_path / "other", init=tmp_path / "bad")
    assert "\n" not in str(caught.value)


def test_bfloat16_learns_as_float32_does(
    tmp_path: Path, whole: tuple[str, list[dict[str, Any]]]
) -> None:
    train(tmp_path / "out", phase(precision="bfloat16"))
    rows = read_metrics(tmp_path / "out" / "metrics.jsonl")
    expected = [row["loss"] for row in whole[1]]
    np.testing.assert_allclose([row["loss"] for row in rows], expected, rtol=0.1)
    weights = load_file(tmp_path / "out" / "checkpoint" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def test_the_checkpoint_is_transformers_own(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="install the extra: firnline[hf]")
    result = train(tmp_path / "out")
    folder = result.folder / "checkpoint"
    theirs = transformers.LlamaForCausalLM.from_pretrained(folder)
    batch = torch.from_numpy(Counting().batch(3, 4).ids)
    assert (theirs(batch).logits - checkpoint.load(folder)(batch)).abs().max() <= 1e-4


if __name__ == "__main__":
    try:
        train(Path(sys.argv[1]))
    except FirnlineError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
