"""Going on after a stop with every option on, which states are kept and which are refused, kept
optimizer state, and steps that are skipped."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from firnline.batch import Batch
from firnline.errors import FirnlineError
from firnline.model import checkpoint
from firnline.model.config import ModelConfig
from firnline.model.llama import Llama
from firnline.stage import StageResult
from firnline.training import loop
from firnline.training.metrics import read_metrics
from firnline.training.next_token import NextToken
from firnline.training.phase import PhaseConfig
from firnline.training.stage import run
from firnline.training.task import Tensors

MODEL = ModelConfig(
    vocabulary_size=64, hidden=32, ffn_hidden=48, layers=2, heads=4, kv_heads=2, context=32
)


@dataclass
class Counting:
    """Sample n counts upwards from a start drawn with seed n; two documents and padding in each."""

    before: Callable[[int], None] = lambda start: None

    def batch(self, start: int, count: int) -> Batch:
        self.before(start)
        starts = [np.random.default_rng(n).integers(64) for n in range(start, start + count)]
        ids = (np.array(starts)[:, None] + np.arange(17)) % 64
        documents = np.repeat(np.array([0, 1, -1], np.int32), [7, 8, 2])
        return Batch(ids, np.tile(documents, (count, 1)))

    def epochs(self, samples: int) -> dict[str, float]:
        return {"counting": samples / 50}


class Stop(BaseException):
    """Stands for the end of the process."""


def phase(**changes: Any) -> PhaseConfig:
    settings: dict[str, Any] = {
        "name": "tiny",
        "tokens": 16 * 4 * 16,
        "sequence_length": 16,
        "batch_sequences": 4,
        "schedule": {"kind": "cosine", "peak": 1e-2, "floor": 1e-3, "warmup_steps": 3},
        "checkpoint_every_steps": 4,
        "device": "cpu",
    }
    return PhaseConfig.model_validate(settings | changes)


def train(out: Path, config: PhaseConfig, **changes: Any) -> StageResult:
    tokenizer = out.parent / "tokenizer.json"
    tokenizer.write_text(json.dumps({"model": {"vocab": {str(n): n for n in range(64)}}}))
    arguments: dict[str, Any] = {
        "model": MODEL,
        "samples": Counting(),
        "inputs": {"tokens": "counting"},
        "tokenizer_file": tokenizer,
        "workers": 1,
    }
    if config.evaluation:
        arguments["held_out"] = Counting()
    return run(config, out=out, **(arguments | changes))


def outcome(out: Path) -> tuple[str, list[dict[str, Any]]]:
    """Hash of the weights, and the metrics without those of the clock and the machine."""
    weights = (out / "checkpoint" / "model.safetensors").read_bytes()
    rows = read_metrics(out / "metrics.jsonl")
    for row in rows:
        del row["tokens_per_second"], row["peak_memory_bytes"]
    return hashlib.sha256(weights).hexdigest(), rows


def stopping_before(sample: int) -> Counting:
    def before(start: int) -> None:
        if start >= sample:
            raise Stop

    return Counting(before)


OPTIONS: dict[str, dict[str, Any]] = {
    "muon": {"optimizer": {"name": "muon"}},
    "growing batches": {
        "tokens": 16 * 8 * 14,
        "batch_sequences": 8,
        "batch_warmup": {"first_sequences": 2, "tokens": 400, "stride_sequences": 2},
    },
    "averaging": {"averaging": {"last": 3}, "keep_checkpoints": 1},
    "moving average": {"averaging": {"last": 3, "decay": 0.5}},
    "masked, evaluated": {
        "attention": "masked",
        "evaluation": {"every_steps": 3, "samples": 5},
    },
    "many passes, checkpointed": {"micro_batch_sequences": 3, "activation_checkpointing": "full"},
    "bfloat16": {"precision": "bfloat16"},
    "pieces": {
        "schedule": {"kind": "wsd", "peak": 1e-2, "warmup_steps": 2, "decay_steps": 5},
        "spikes": {"spike": "skip", "window": 8, "deviations": 0.1},
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_phase_with_any_option_ends_in_the_same_bits(name: str, tmp_path: Path) -> None:
    config = phase(**OPTIONS[name])
    train(tmp_path / "whole", config)
    expected = outcome(tmp_path / "whole")
    for step in (5, 11):
        with pytest.raises(Stop):
            train(tmp_path / "out", config, samples=stopping_before(config.first_sample(step)))
    read: list[int] = []
    train(tmp_path / "out", config, samples=Counting(read.append))
    assert read[0] == config.first_sample(8)
    assert outcome(tmp_path / "out") == expected
    plain = OPTIONS[name].keys() <= {"micro_batch_sequences", "activation_checkpointing"}
    if not plain:  # the option has an effect
        train(tmp_path / "without", phase())
        assert outcome(tmp_path / "without")[0] != expected[0]


def test_what_a_model_draws_is_a_function_of_the_step(tmp_path: Path) -> None:
    class Dropping(NextToken):
        def loss(self, model: torch.nn.Module, batch: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
            total, count = super().loss(model, batch)
            return total * torch.rand(()), count

    config = phase()

    def task(samples: Counting) -> Dropping:
        def build() -> Llama:
            return Llama(MODEL).initialise(0)

        return Dropping(config, samples, build, vocabulary_size=64, limit=config.tokens)

    (tmp_path / "whole").mkdir()
    (tmp_path / "out").mkdir()
    before = torch.get_rng_state()
    expected = loop.train(config, task(Counting()), tmp_path / "whole", threads=1)
    assert torch.equal(torch.get_rng_state(), before)  # the caller's generator is untouched
    with pytest.raises(Stop):
        loop.train(config, task(stopping_before(4 * 9)), tmp_path / "out", threads=1)
    found = loop.train(config, task(Counting()), tmp_path / "out", threads=1)
    assert expected is not None and found is not None
    assert all(map(torch.equal, expected.parameters(), found.parameters()))


def test_averaging_is_the_mean_of_the_states_it_names(tmp_path: Path) -> None:
    """Held to three phases that end where the states were saved: constant rate, same samples."""
    flat = {"kind": "constant", "peak": 3e-3}
    train(tmp_path / "out", phase(schedule=flat, averaging={"last": 3}))
    ends = []
    for steps in (8, 12, 16):
        train(tmp_path / f"{steps}", phase(schedule=flat, tokens=16 * 4 * steps))
        ends.append(checkpoint.load(tmp_path / f"{steps}" / "checkpoint").state_dict())
    for name, weight in checkpoint.load(tmp_path / "out" / "checkpoint").state_dict().items():
        mean = torch.stack([end[name].double() for end in ends]).mean(0)
        torch.testing.assert_close(weight.double(), mean, rtol=0, atol=1e-7)


def states_of(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.json"))


def test_the_newest_states_and_every_nth_are_kept(tmp_path: Path) -> None:
    config = phase(checkpoint_every_steps=2, keep_checkpoints=3, keep_every_steps=6)
    with pytest.raises(Stop):
        train(tmp_path / "out", config, samples=stopping_before(4 * 15))
    assert states_of(tmp_path / ".out.partial" / "state") == [6, 10, 12, 14]
    train(tmp_path / "out", config)
    assert states_of(tmp_path / "out" / "state") == [6, 12]
    assert len(list((tmp_path / "out" / "state").iterdir())) == 4


def test_how_it_is_computed_may_change_on_the_way(tmp_path: Path) -> None:
    train(tmp_path / "whole", phase())
    with pytest.raises(Stop):
        train(tmp_path / "out", phase(), samples=stopping_before(4 * 9))
    read: list[int] = []
    other = phase(micro_batch_sequences=1, checkpoint_every_steps=100, keep_checkpoints=1)
    train(tmp_path / "out", other, samples=Counting(read.append))
    assert read[0] == 32
    for mine, whole in zip(
        outcome(tmp_path / "out")[1], outcome(tmp_path / "whole")[1], strict=True
    ):
        assert mine["loss"] == pytest.approx(whole["loss"], abs=1e-5)
    assert train(tmp_path / "out", phase()).skipped
    assert not train(tmp_path / "out", phase(clip=0.5)).skipped


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """The folder of a phase that stopped after a state at step 8."""
    with pytest.raises(Stop):
        train(tmp_path / "out", phase(), samples=stopping_before(4 * 9))
    return tmp_path / ".out.partial"


def train_in(folder: Path, config: PhaseConfig, model: ModelConfig) -> None:
    task = NextToken(
        config,
        Counting(),
        lambda: Llama(model).initialise(0),
        vocabulary_size=64,
        limit=config.tokens,
    )
    loop.train(config, task, folder, threads=1)


def test_states_of_another_phase_model_or_code_are_refused_with_what_and_why(stopped: Path) -> None:
    newest = stopped / "state" / "step-0000000008"
    files = {path: path.read_bytes() for path in newest.parent.rglob("*") if path.is_file()}
    with pytest.raises(FirnlineError) as caught:
        train_in(stopped, phase(name="beta"), MODEL)
    assert str(caught.value) == (
        f"{newest}.json is a state of phase tiny, not of beta (choose another folder)"
    )
    smaller = MODEL.model_copy(update={"vocabulary_size": 60})
    words = r"model\.model\.embed_tokens\.weight is \[64, 32\], the model's is \[60, 32\] \(use"
    with pytest.raises(FirnlineError, match=words):
        train_in(stopped, phase(), smaller)
    deeper = MODEL.model_copy(update={"layers": 3})
    with pytest.raises(FirnlineError, match=r"has no model\.model\.layers\.2\.\S+ \(use the state"):
        train_in(stopped, phase(), deeper)
    shallower = MODEL.model_copy(update={"layers": 1})
    with pytest.raises(FirnlineError, match=r"the model no model\.layers\.1\.\S+ \(use the state"):
        train_in(stopped, phase(), shallower)
    with pytest.raises(FirnlineError, match="was saved with other settings"):
        train_in(stopped, phase(clip=0.5), MODEL)
    for path, content in files.items():
        assert path.read_bytes() == content
    marker = newest.with_suffix(".json")
    marker.write_text(marker.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(FirnlineError, match="is a state of format 1, this code writes 2"):
        train_in(stopped, phase(), MODEL)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_kept_optimizer_goes_on_as_if_there_were_no_boundary(name: str, tmp_path: Path) -> None:
    """Two phases at a constant rate, with the state kept, are one phase twice as long."""
    common: dict[str, Any] = {
        "schedule": {"kind": "constant", "peak": 3e-3},
        "optimizer": {"name": name},
    }

    class Later(Counting):
        def batch(self, start: int, count: int) -> Batch:
            return super().batch(start + 4 * 8, count)

    train(tmp_path / "whole", phase(**common))
    half = common | {"tokens": 16 * 4 * 8}
    first = train(tmp_path / "alpha", phase(**half, keep_optimizer=True))
    kept = phase(**half, optimizer_state="keep")
    train(tmp_path / "beta", kept, samples=Later(), init=first.folder)
    assert outcome(tmp_path / "beta")[0] == outcome(tmp_path / "whole")[0]
    train(tmp_path / "reset", phase(**half), samples=Later(), init=first.folder)
    assert outcome(tmp_path / "reset")[0] != outcome(tmp_path / "whole")[0]

    with pytest.raises(FirnlineError, match=r"reset/optimizer is not there \(set keep_optimizer"):
        train(tmp_path / "gamma", kept, init=tmp_path / "reset")
    with pytest.raises(FirnlineError, match="it does not start from a phase"):
        train(tmp_path / "gamma", kept)
    if name == "muon":
        other = phase(**half | {"optimizer": {"name": "adamw"}}, optimizer_state="keep")
        with pytest.raises(FirnlineError, match="is the state of muon, phase tiny has adamw"):
            train(tmp_path / "gamma", other, init=first.folder)
    part = next((first.folder / "optimizer").glob("*.distcp"))
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(FirnlineError, match=r"distcp is damaged"):
        train(tmp_path / "gamma", kept, init=first.folder)


class Poisoned(NextToken):
    """The gradient of the step that reads sample 24 is not a number."""

    def batch(self, first: int, count: int) -> Tensors:
        batch = dict(super().batch(first, count))
        batch["poison"] = torch.tensor([float("nan") if 24 in range(first, first + count) else 1.0])
        return batch

    def loss(self, model: torch.nn.Module, batch: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
        total, count = super().loss(model, batch)
        return total * batch["poison"].sum(), count


def poisoned(config: PhaseConfig, folder: Path, samples: Counting) -> torch.nn.Module:
    folder.mkdir(exist_ok=True)
    task = Poisoned(
        config,
        samples,
        lambda: Llama(MODEL).initialise(0),
        vocabulary_size=64,
        limit=config.tokens,
    )
    model = loop.train(config, task, folder, threads=1)
    assert model is not None
    return model


def test_a_step_that_is_not_a_number_is_skipped_and_told_where_the_phase_says_so(
    tmp_path: Path,
) -> None:
    config = phase(spikes={"not_finite": "skip"})
    model = poisoned(config, tmp_path / "whole", Counting())
    assert all(torch.isfinite(weight).all() for weight in model.parameters())
    rows = read_metrics(tmp_path / "whole" / "metrics.jsonl")
    assert [row["step"] for row in rows if "skipped" in row] == [7]
    assert [row["step"] for row in rows] == list(range(1, 17))
    ledger = (tmp_path / "whole" / "spikes.jsonl").read_text()
    (line,) = map(json.loads, ledger.splitlines())
    assert (line["step"], line["first_sample"], line["samples"]) == (7, 24, 4)
    assert (line["action"], line["reason"]) == ("skip", "loss is nan")

    # Stopped after the skipped step, but going on from a state before it.
    with pytest.raises(Stop):
        poisoned(config, tmp_path / "out", stopping_before(4 * 7))
    again = poisoned(config, tmp_path / "out", Counting())
    assert all(map(torch.equal, model.parameters(), again.parameters()))
    assert (tmp_path / "out" / "spikes.jsonl").read_text() == ledger

    none_left = phase(spikes={"not_finite": "skip", "most_skips": 0})
    with pytest.raises(FirnlineError, match=r"loss is nan, and 0 steps were skipped before at"):
        poisoned(none_left, tmp_path / "none", Counting())
    with pytest.raises(FirnlineError, match=r"loss is nan at step 7, .* the state of step 4 is"):
        poisoned(phase(), tmp_path / "stop", Counting())
    # A phase that such a step has stopped goes on over it once it is told to.
    after = poisoned(config, tmp_path / "stop", Counting())
    assert all(map(torch.equal, model.parameters(), after.parameters()))


def test_padding_is_never_a_target_and_masks_need_documents(tmp_path: Path) -> None:
    task = NextToken(
        phase(attention="masked"),
        Counting(),
        lambda: Llama(MODEL).initialise(0),
        vocabulary_size=64,
        limit=16 * 4 + 5,
    )
    batch = task.batch(2, 4)
    # 17 tokens: documents of 7 and 8, 2 of padding. Sample 4 is cut after 5 targets, 5 has none.
    used = (batch["targets"] != -100).sum(1).tolist()
    assert used == [14, 14, 5, 0]
    assert batch["documents"].tolist()[0] == [0] * 7 + [1] * 8 + [-1]
    assert torch.equal(
        batch["inputs"][:, 1:3], batch["targets"][:, :2] * 0 + batch["inputs"][:, 1:3]
    )

    class Bare(Counting):
        def batch(self, start: int, count: int) -> Batch:
            return Batch(super().batch(start, count).ids, None)

    with pytest.raises(FirnlineError, match="attention is masked, the samples have no documents"):
        train(tmp_path / "out", phase(attention="masked"), samples=Bare())


def test_bits_per_byte_follow_from_the_loss(tmp_path: Path) -> None:
    config = phase(evaluation={"every_steps": 7, "samples": 6})
    train(tmp_path / "out", config, bytes_per_token=2.5, held_out_bytes_per_token=4.0)
    rows = read_metrics(tmp_path / "out" / "metrics.jsonl")
    for row in rows:
        assert row["bits_per_byte"] == pytest.approx(row["loss"] / np.log(2) / 2.5)
    evaluated = [row for row in rows if "heldout_loss" in row]
    assert [row["step"] for row in evaluated] == [7, 14, 16]
    last = checkpoint.load(tmp_path / "out" / "checkpoint")
    batch = Counting().batch(0, 6)
    targets = torch.from_numpy(np.where(batch.documents[:, 1:] < 0, -100, batch.ids[:, 1:]))  # type: ignore[index]  # Counting has documents
    with torch.no_grad():
        expected = last.loss(torch.from_numpy(batch.ids[:, :-1]), targets).item()
    assert evaluated[-1]["heldout_loss"] == pytest.approx(expected, abs=1e-5)
    assert evaluated[-1]["heldout_bits_per_byte"] == pytest.approx(expected / np.log(2) / 4.0)
    with pytest.raises(FirnlineError, match="it has an evaluation and no held-out samples"):
        train(tmp_path / "other", config, held_out=None)


def test_copied_states_go_on_elsewhere(stopped: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(stopped, tmp_path / "elsewhere")
    train_in(copied, phase(), MODEL)
    assert len(read_metrics(copied / "metrics.jsonl")) == 16


def test_a_second_sigterm_does_not_cut_the_saving_short() -> None:
    """Slurm sends one to every process of a step, and torchrun another to its workers."""
    before = signal.getsignal(signal.SIGTERM)
    with loop._stop_signal() as stopped:
        assert not stopped()
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
        assert stopped()
    assert signal.getsignal(signal.SIGTERM) == before
