"""The training loop of one phase, on one rank or many, from the state it finds to the last step.

Nothing in it is random but what a model draws itself (dropout), from a generator seeded by the
step: the learning rate and the samples are functions of the step, so weights, optimizer state and
the step are the whole state. With the same number of threads and ranks, which a state remembers,
a phase on CPUs that was killed ends in the same bits as one that was not.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from firnline.documents import atomic_path
from firnline.errors import FirnlineError
from firnline.model.config import FlopsPerToken
from firnline.model.shards import local, unset
from firnline.progress import meter, say
from firnline.training import optimizer as optimizers
from firnline.training import parallel, state_files
from firnline.training.averaging import AveragingConfig
from firnline.training.checkpoint_mean import HeldWeights, StateWeights, Weights, means
from firnline.training.distributed import Ranks, join, other_ranks_alive
from firnline.training.metrics import MetricsFile, rows_of, truncate, whole_lines
from firnline.training.phase import PhaseConfig
from firnline.training.schedule import learning_rate
from firnline.training.speed import Speed, bits_per_byte, peak_flops, peak_memory_bytes
from firnline.training.spikes import SpikePolicy, ledger_row
from firnline.training.state import States
from firnline.training.state_files import State
from firnline.training.task import LateWeights, Task
from firnline.training.tracking import Trackers


@dataclass(frozen=True)
class About:
    """What turns a task's numbers into those that people compare; each may be unknown."""

    bytes_per_token: float | None = None
    """Bytes of text that a token of the training data stands for on average."""
    held_out_bytes_per_token: float | None = None
    """The same of the held-out data, which is other text than the phase's."""
    flops: FlopsPerToken | None = None
    """Training FLOPs for a token."""
    epochs: Callable[[int], Mapping[str, float]] | None = None
    """How often so many samples go through each source."""


def train(
    config: PhaseConfig,
    task: Task,
    folder: Path,
    *,
    threads: int,
    optimizer_from: Path | None = None,
    held_out: Task | None = None,
    about: About | None = None,
) -> nn.Module:
    """Trains the model of a task for the phase's tokens and returns it, sharded where ranks are.

    Every rank calls it. Writes `metrics.jsonl` and `state/` in `folder`, and goes on from them
    where they are there; with `keep_optimizer` also `optimizer/`. `optimizer_from` is such a folder
    to begin with. `held_out` is evaluated on where the phase says so; `about` is for what is
    logged.

    Raises FirnlineError where the loss or the gradient is not finite, where the disk is full,
    where a sample does not fit the model, where another rank is lost, and on SIGTERM or SIGINT
    after saving a state.
    """
    ranks = join(config.device, config.rank_timeout_seconds)
    log = folder / "metrics.jsonl"
    states = States(folder / "state", config, ranks)
    state = states.newest(at_most=whole_lines(log))
    done = state.step if state else 0
    threads = state.threads if state else threads
    policy = SpikePolicy(config.spikes)
    if ranks.first:
        truncate(log, done)
        _forget_after(folder / "spikes.jsonl", done)
        policy = SpikePolicy(config.spikes, rows_of(log))
    policy = ranks.tell(policy)  # every rank judges by the same rows
    about = about or About()
    with (
        _torch_threads(threads),
        torch.random.fork_rng(enabled=True),
        closing(MetricsFile(log)) as metrics,
        _stop_signal() as stopped,
        other_ranks_alive(ranks, f"phase {config.name}"),
        closing(states),
        ExitStack() as opened,
        meter(f"train {config.name}", config.tokens, "tokens") as progress,
    ):
        model = task.build()
        late = unset(model)
        parallel.parallelise(model, config, ranks)
        optimizer = optimizers.build(config.optimizer, model)
        if state:
            say(f"phase {config.name}: going on from step {done:,} of {config.steps:,}")
            states.load(state, model, optimizer)
        elif late:
            cast(LateWeights, task).fill(model)
        if not state and optimizer_from is not None:
            state_files.load_kept(optimizer_from, config, model, optimizer, ranks)

        trackers = None
        if ranks.first:
            settings = config.model_dump(mode="json")
            trackers = Trackers(config.tracking, folder, phase=config.name, settings=settings)
            opened.callback(trackers.close)
        speed = Speed(about.flops, _peak(config, ranks.device), ranks.count)
        progress.advance(config.tokens_before(done))
        while done < config.steps:
            started = time.perf_counter()
            rate = learning_rate(config.schedule, done, config.steps)
            optimizers.set_learning_rate(optimizer, rate)
            seed_step(config.seed, done, ranks.rank)
            total = gradient(config, task, model, ranks, done)
            loss, targets, stops = ranks.sum(*total, stopped())
            if not targets:
                raise FirnlineError(
                    f"phase {config.name}: step {done + 1:,} has no target, samples from "
                    f"{config.first_sample(done):,}",
                    mend="look at the samples: they are padding alone",
                )
            norm = parallel.scale_and_clip(model, targets, config.clip)
            loss /= targets
            verdict = policy.judge(loss, norm)
            if verdict.action != "go on" and ranks.first:
                note = ledger_row(
                    phase=config.name,
                    step=done + 1,
                    first_sample=config.first_sample(done),
                    samples=config.batch_at(done),
                    verdict=verdict,
                    loss=loss,
                    gradient_norm=norm,
                    learning_rate=rate,
                )
                with closing(MetricsFile(folder / "spikes.jsonl")) as ledger:
                    ledger.write(note)
            if verdict.action == "stop":
                states.wait()
                raise _stopped_by(verdict.reason, config, done, rate, states.saved)
            if verdict.action == "go on":
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            used = config.tokens_before(done + 1) - config.tokens_before(done)
            done += 1
            row: dict[str, Any] = {
                "step": done,
                "tokens": config.tokens_before(done),
                "loss": loss,
                "learning_rate": rate,
                "gradient_norm": norm,
                "first_sample": config.first_sample(done - 1),
            }
            if verdict.action == "skip":
                row["skipped"] = verdict.reason
            if about.epochs:
                row["epoch"] = max(about.epochs(config.first_sample(done)).values(), default=0.0)
            if about.bytes_per_token:
                row["bits_per_byte"] = bits_per_byte(loss, about.bytes_per_token)
            row |= speed.row(used, time.perf_counter() - started)
            row["peak_memory_bytes"] = peak_memory_bytes(str(ranks.device))
            if held_out and evaluates(config, done):
                row |= evaluate(config, held_out, model, ranks, about.held_out_bytes_per_token)
            policy.add(row)
            if ranks.first:
                metrics.write(row)
            if trackers:
                trackers.write(row)
            progress.advance(used, f"loss {loss:.3f}")
            states.poll()
            if done < config.steps and (stops or done % config.checkpoint_every_steps == 0):
                metrics.sync()
                state = State(done, config.first_sample(done), threads, ranks.count)
                states.save(state, model, optimizer)
                if stops:
                    states.wait()
                    raise FirnlineError(
                        f"phase {config.name} stopped at step {done:,} of {config.steps:,}, saved",
                        mend="run again to go on",
                    )
        states.wait()
        metrics.sync()
        if config.keep_optimizer:
            end = State(done, config.samples, threads, ranks.count)
            states.keep_optimizer(folder / "optimizer", end, model, optimizer)
        if config.averaging:
            average(config.averaging, ranks.tell(states.to_average()), model)
    return model


def gradient(
    config: PhaseConfig, task: Task, model: nn.Module, ranks: Ranks, step: int
) -> tuple[float, float]:
    """Adds up the gradient of the step's summed loss; this rank's sum of losses and of targets."""
    first, count = config.first_sample(step), config.batch_at(step)
    parts = list(micro_batches(ranks, first, count, config.micro_batch_sequences))
    totals = []
    for number, (start, held, counts) in enumerate(parts, 1):
        # Fetched one at a time: a GPU still computes the one before.
        batch = _on_device(task.batch(start, held), ranks.device)
        parallel.synchronise_gradients(model, number == len(parts))
        with parallel.arithmetic(config, ranks):
            loss, targets = task.loss(model, batch)
            loss = loss * counts
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        totals.append(torch.stack((loss.detach().double(), targets.double() * counts)))
    loss_sum, targets_sum = torch.stack(totals).sum(0).tolist()
    return loss_sum, targets_sum


def micro_batches(
    ranks: Ranks, first: int, count: int, size: int | None
) -> Iterator[tuple[int, int, bool]]:
    """This rank's passes over the samples `first` to `first + count - 1`: start, how many, whether
    they count.

    Every rank makes as many, because a pass gathers weights from all of them; one that has run out
    of samples computes one that does not count.
    """
    most = -(-count // ranks.count)
    size = min(size or most, most)
    start, mine = ranks.part(first, count)
    for before in range(0, most, size):
        held = min(size, mine - before)
        yield (start + before, held, True) if held > 0 else (first, 1, False)


def evaluates(config: PhaseConfig, done: int) -> bool:
    """Whether an evaluation follows the step that was made as number `done`."""
    every = config.evaluation.every_steps if config.evaluation else 0
    return every > 0 and (done % every == 0 or done == config.steps)


def evaluate(
    config: PhaseConfig,
    held_out: Task,
    model: nn.Module,
    ranks: Ranks,
    bytes_per_token: float | None,
) -> dict[str, float]:
    """Mean loss over the phase's held-out samples: `heldout_loss`, `heldout_bits_per_byte`."""
    assert config.evaluation is not None
    most = config.micro_batch_sequences or -(-config.batch_sequences // ranks.count)
    total = torch.zeros(2, dtype=torch.float64)
    model.eval()
    with torch.no_grad(), parallel.arithmetic(config, ranks):
        for start, held, counts in micro_batches(ranks, 0, config.evaluation.samples, most):
            loss, targets = held_out.loss(
                model, _on_device(held_out.batch(start, held), ranks.device)
            )
            total += torch.stack((loss.double(), targets.double())).cpu() * counts
    model.train()
    loss_sum, targets_sum = ranks.sum(*total.tolist())
    row = {"heldout_loss": loss_sum / targets_sum}
    if bytes_per_token:
        row["heldout_bits_per_byte"] = bits_per_byte(row["heldout_loss"], bytes_per_token)
    return row


def average(config: AveragingConfig, states: list[Path], model: nn.Module) -> None:
    """Sets the model to the mean of the states, oldest first, and of itself.

    Each rank averages what it holds, one tensor after the other.
    """
    tensors = state_files.named_tensors(model)
    sources: list[Weights] = [StateWeights(state, like=tensors) for state in states]
    sources.append(HeldWeights(tensors))
    for name, averaged in means(sources, config.coefficients(len(sources))):
        local(tensors[name]).copy_(averaged)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seeds what a model draws in a step, so that it is a function of the step and the rank."""
    torch.manual_seed(((seed * 1_000_003 + step) * 1_000_003 + rank) % 2**63)


def _on_device(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def _forget_after(path: Path, done: int) -> None:
    """Drops the ledger's rows of steps that are made again, and what a kill left of a line."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= done]
    if len(kept) < len(lines):
        with atomic_path(path) as temporary:
            temporary.write_text("".join(kept))


def _peak(config: PhaseConfig, device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    return peak_flops(torch.cuda.get_device_name(device), config.precision)


def _stopped_by(
    reason: str, config: PhaseConfig, step: int, rate: float, saved: int
) -> FirnlineError:
    return FirnlineError(
        f"phase {config.name}: {reason} at step {step + 1:,}, learning rate {rate:.3g}, "
        f"samples from {config.first_sample(step):,}",
        mend="let spikes skip it and run again, or begin again with a lower schedule.peak or a "
        f"longer warm-up; the state of step {saved:,} is kept",
    )


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _stop_signal() -> Iterator[Callable[[], bool]]:
    """Turns SIGTERM and the first SIGINT into a flag; another SIGINT ends the process as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread may set handlers
        return
    came = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: object) -> None:
        came.set()
        # Slurm and torchrun both send SIGTERM; a second Ctrl-C is a person who will not wait.
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    for number in before:
        signal.signal(number, handle)
    try:
        yield came.is_set
    finally:
        restore()
