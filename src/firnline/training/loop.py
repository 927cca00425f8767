"""The training loop of one phase, on the CPU, from the state it finds to the last step.

Nothing in it is random: the learning rate and the samples are functions of the step, so weights,
moments and the step are the whole state. With the same number of threads, which a state
remembers, a phase that was killed ends in the same bits as one that was not.
"""

from __future__ import annotations

import errno
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import torch
from torch import Tensor

from firnline.errors import FirnlineError
from firnline.model.llama import Llama
from firnline.model.loss import IGNORE
from firnline.progress import meter, say
from firnline.training.metrics import MetricsFile, truncate, whole_lines
from firnline.training.phase import PhaseConfig, SampleSource
from firnline.training.schedule import learning_rate
from firnline.training.state import latest_state, save_state


def train(
    config: PhaseConfig,
    build: Callable[[], Llama],
    samples: SampleSource,
    folder: Path,
    *,
    threads: int,
) -> Llama:
    """Trains the model that `build` returns for the phase's tokens and returns it.

    Writes `metrics.jsonl` and `state/` in `folder`, and goes on from them where they are there.
    Raises FirnlineError where the loss or the gradient is not finite, where the disk is full,
    where a sample does not fit the model, and on SIGTERM or SIGINT after saving a state.
    """
    log = folder / "metrics.jsonl"
    states = folder / "state"
    state = latest_state(states, config.name, at_most=whole_lines(log))
    done = state.step if state else 0
    threads = state.threads if state else threads
    truncate(log, done)
    with _torch_threads(threads), closing(MetricsFile(log)) as metrics, _stop_signal() as stopped:
        model = build()
        optimizer = adamw(model, config)
        if state:
            say(f"phase {config.name}: going on from step {done:,} of {config.steps:,}")
            state.restore(model, optimizer)
            del state
        step_loss = torch.compile(model.loss) if config.compile else model.loss
        saved = done

        def save() -> None:
            nonlocal saved
            metrics.sync()
            position = done * config.batch_sequences
            with _full_disk(config.name, states, done, saved):
                save_state(states, model, optimizer, step=done, samples=position, threads=threads)
            saved = done

        tokens = min(done * config.batch_tokens, config.tokens)
        with meter(f"train {config.name}", config.tokens, "tokens") as progress:
            progress.advance(tokens)
            while done < config.steps:
                started = time.perf_counter()
                rate = learning_rate(config.schedule, done, config.steps)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                inputs, targets = _batch(config, model.config.vocabulary_size, samples, done)
                loss, used = _accumulate(config, step_loss, inputs, targets)
                norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip))
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    raise _not_finite(config, done, loss, norm, rate, saved)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                done, tokens = done + 1, tokens + used
                seconds = time.perf_counter() - started
                metrics.write(
                    {
                        "step": done,
                        "tokens": tokens,
                        "loss": loss,
                        "learning_rate": rate,
                        "gradient_norm": norm,
                        "tokens_per_second": round(used / seconds, 1),
                    }
                )
                progress.advance(used, f"loss {loss:.3f}")
                if done < config.steps and (stopped() or done % config.checkpoint_every_steps == 0):
                    save()
                    if stopped():
                        raise FirnlineError(
                            f"phase {config.name} stopped at step {done:,} of {config.steps:,}, "
                            "saved",
                            mend="run again to go on",
                        )
        metrics.sync()
    return model


def adamw(model: Llama, config: PhaseConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices, the embedding among them, and leaves the norms' gains alone."""
    parameters = list(model.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
        ],
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=True,
    )


def _batch(
    config: PhaseConfig, vocabulary_size: int, samples: SampleSource, step: int
) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a step; targets beyond the phase's tokens are masked."""
    left = config.tokens - step * config.batch_tokens
    length = config.sequence_length
    count = min(config.batch_sequences, -(-left // length))
    first = step * config.batch_sequences
    batch = samples.batch(first, count).ids
    if batch.shape != (count, length + 1):
        raise FirnlineError(
            f"phase {config.name}: samples are {list(batch.shape)}, "
            f"{[count, length + 1]} were asked for",
            mend="pack with the phase's sequence_length",
        )
    low, high = int(batch.min()), int(batch.max())
    if low < 0 or high >= vocabulary_size:
        raise FirnlineError(
            f"phase {config.name}: token id {low if low < 0 else high} in samples {first:,} to "
            f"{first + count - 1:,} is outside the model's vocabulary of {vocabulary_size:,}",
            mend="use the tokenizer that the model was made for",
        )
    rows = torch.from_numpy(batch)
    # A copy: the row of a single sample is contiguous already, and masking must not reach inputs.
    inputs, targets = rows[:, :-1], rows[:, 1:].clone(memory_format=torch.contiguous_format)
    if left < count * length:
        targets.view(-1)[left:] = IGNORE
    return inputs, targets


def _accumulate(
    config: PhaseConfig,
    step_loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
) -> tuple[float, int]:
    """Adds up the gradient of the step's mean loss; the loss and the number of targets."""
    used = int((targets != IGNORE).sum())
    size = config.micro_batch_sequences or len(inputs)
    total = 0.0
    for part, wanted in zip(torch.split(inputs, size), torch.split(targets, size), strict=True):
        share = int((wanted != IGNORE).sum()) / used
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
            loss = step_loss(part, wanted) * share
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        total += loss.item()
    return total, used


def _not_finite(
    config: PhaseConfig, step: int, loss: float, norm: float, rate: float, saved: int
) -> FirnlineError:
    what = f"loss is {loss}" if not math.isfinite(loss) else f"gradient norm is {norm}"
    first = step * config.batch_sequences
    return FirnlineError(
        f"phase {config.name}: {what} at step {step + 1:,}, learning rate {rate:.3g}, "
        f"samples from {first:,}",
        mend=f"lower schedule.peak or lengthen the warm-up; the state of step {saved:,} is kept",
    )


@contextmanager
def _full_disk(phase: str, folder: Path, step: int, saved: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FirnlineError(
            f"phase {phase}: the disk is full while saving step {step:,} in {folder}",
            mend=f"free space and run again: it goes on from step {saved:,}",
        ) from error


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
    """Turns the first SIGTERM or SIGINT into a flag; a second one ends the process as usual."""
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
        restore()

    for number in before:
        signal.signal(number, handle)
    try:
        yield came.is_set
    finally:
        restore()
