"""Training speed on the CPU against transformers: its Trainer, and its model in our loop.

Both measurements start both models from the same weights and give them the same samples, fused
AdamW, clipping, precision and threads. The two take turns in rounds, so that what else the machine
does meets both; a round's ratio is one of neighbours in time and a figure is the median of rounds.

- `vs_transformers_trainer`: Firnline's whole loop (`training.loop.train`) against
  `transformers.Trainer` with all off that it can leave out: logging, saving, shuffling. Timed
  from the beginning of the second step to that of the last. Needs `accelerate`.
- `vs_transformers`: the two models in one plain loop.

transformers computes its loss from whole targets (`shift_labels`) and keeps no cache, so that the
losses are the same quantity; the `loss_difference` figures are the largest between two curves.

Samples are the source of the standard library, two bytes a token, folded into the vocabulary.

    python benchmarks/training_cpu.py [--quick] [--preset tiny]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from firnline.batch import Batch
from firnline.model.config import ModelConfig, parameter_count
from firnline.model.families import to_hugging_face
from firnline.model.llama import Llama
from firnline.model.presets import PRESETS
from firnline.training.loop import train
from firnline.training.metrics import read_metrics
from firnline.training.next_token import NextToken
from firnline.training.phase import PhaseConfig
from firnline.training.schedule import Schedule

Step = Callable[[Tensor], float]
RATE = 3e-4
LOSS_TOLERANCE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--preset", default="tiny", choices=sorted(PRESETS))
    parser.add_argument("--sequences", type=int, default=8, help="samples for one step")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--compile", action="store_true", help="compile our model")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rounds, steps = (5, 4) if arguments.quick else (15, 6)

    config = PRESETS[arguments.preset]
    batches = read_batches(config, arguments.sequences, count=rounds * steps + 1)
    ours = Llama(config).initialise(0)
    theirs = LlamaForCausalLM(LlamaConfig(**to_hugging_face(config))).train()
    theirs.load_state_dict(ours.state_dict(), strict=False)

    our_loss = torch.compile(ours.loss) if arguments.compile else ours.loss

    def their_loss(inputs: Tensor, targets: Tensor) -> Tensor:
        output = theirs(input_ids=inputs, labels=targets, shift_labels=targets, use_cache=False)
        loss: Tensor = output.loss
        return loss

    runs = {
        "firnline": trainer(ours, our_loss, arguments.precision),
        "transformers": trainer(theirs, their_loss, arguments.precision),
    }
    curves: dict[str, list[float]] = {name: [step(batches[0])] for name, step in runs.items()}
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    tokens = batches[0][:, 1:].numel()
    for number in range(rounds):
        mine = batches[1 + number * steps : 1 + (number + 1) * steps]
        for name in sorted(runs, reverse=bool(number % 2)):  # takes turns in going first
            started = time.perf_counter()
            curves[name] += [runs[name](batch) for batch in mine]
            speeds[name].append(steps * tokens / (time.perf_counter() - started))
    difference = max(
        abs(a - b) for a, b in zip(curves["firnline"], curves["transformers"], strict=True)
    )
    ratios = [a / b for a, b in zip(speeds["firnline"], speeds["transformers"], strict=True)]
    print(
        f"preset {arguments.preset}: {parameter_count(config):,} parameters, "
        f"{arguments.sequences} x {config.context} tokens a step, {arguments.threads} "
        f"threads, {arguments.precision}; {rounds} rounds of {steps} steps, loss "
        f"{curves['firnline'][0]:.3f} to {curves['firnline'][-1]:.3f}"
    )
    for name, values in speeds.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:<13} {middle:8,.0f} tokens/s (rounds {low:,.0f} to {high:,.0f})")
    trainer_figures = against_trainer(config, batches, arguments)
    figures = trainer_figures | {
        "vs_transformers": round(statistics.median(ratios), 3),
        "tokens_per_second": round(statistics.median(speeds["firnline"])),
        "transformers_tokens_per_second": round(statistics.median(speeds["transformers"])),
        "loss_equal": difference <= LOSS_TOLERANCE,
        "loss_difference": difference,
        "steps": len(curves["firnline"]),
        "parameters": parameter_count(config),
    }
    print(json.dumps(figures))


def against_trainer(
    config: ModelConfig, batches: list[Tensor], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Rounds of Firnline's loop and of transformers' Trainer, each from the same weights."""
    rounds, steps = (3, 12) if arguments.quick else (7, 20)
    rows = torch.cat(batches)[: steps * arguments.sequences]
    sides = {"firnline": firnline_round, "transformers Trainer": trainer_round}
    curves: dict[str, list[float]] = {}
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in sorted(sides, reverse=bool(number % 2)):
            seconds, curves[name] = sides[name](config, rows, steps, arguments)
            tokens = (steps - 2) * arguments.sequences * config.context
            speeds[name].append(tokens / seconds)
    ours, theirs = (speeds[name] for name in sides)
    for name, values in speeds.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:<21} {middle:8,.0f} tokens/s (rounds {low:,.0f} to {high:,.0f})")
    pairs = zip(*curves.values(), strict=True)
    return {
        "vs_transformers_trainer": round(
            statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3
        ),
        "trainer_loss_difference": max(abs(a - b) for a, b in pairs),
        "trainer_tokens_per_second": round(statistics.median(theirs)),
        "loop_tokens_per_second": round(statistics.median(ours)),
    }


def firnline_round(
    config: ModelConfig, rows: Tensor, steps: int, arguments: argparse.Namespace
) -> tuple[float, list[float]]:
    """Seconds of the steps between the first and the last, and the losses."""
    begins: list[float] = []

    class Rows:
        def batch(self, start: int, count: int) -> Batch:
            begins.append(time.perf_counter())
            return Batch(rows[start : start + count].numpy(), None)

        def epochs(self, samples: int) -> dict[str, float]:
            return {"stdlib": samples / len(rows)}

    phase = PhaseConfig(
        name="benchmark",
        tokens=rows[:, 1:].numel(),
        sequence_length=config.context,
        batch_sequences=arguments.sequences,
        schedule=Schedule(kind="constant", peak=RATE),
        precision=arguments.precision,
        compile=arguments.compile,
        device="cpu",
    )
    task = NextToken(
        phase,
        Rows(),
        lambda: Llama(config).initialise(0),
        vocabulary_size=config.vocabulary_size,
        limit=None,
    )
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):
        train(phase, task, Path(folder), threads=arguments.threads)
        losses = [row["loss"] for row in read_metrics(Path(folder) / "metrics.jsonl")]
    return begins[-1] - begins[1], losses


def trainer_round(
    config: ModelConfig, rows: Tensor, steps: int, arguments: argparse.Namespace
) -> tuple[float, list[float]]:
    """The same by transformers' Trainer."""
    begins: list[float] = []
    losses: list[Tensor] = []

    class Rows(IterableDataset[dict[str, Tensor]]):
        def __iter__(self) -> Iterator[dict[str, Tensor]]:
            for row in rows:
                yield {"input_ids": row[:-1], "labels": row[1:], "shift_labels": row[1:]}

    class Clock(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            begins.append(time.perf_counter())

    class Noting(Trainer):  # type: ignore[misc]  # as above
        def compute_loss(self, *given: Any, **named: Any) -> Any:
            loss = super().compute_loss(*given, **named)
            losses.append(loss.detach())
            return loss

    model = LlamaForCausalLM(LlamaConfig(**to_hugging_face(config), use_cache=False))
    model.load_state_dict(Llama(config).initialise(0).state_dict(), strict=False)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        settings = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=arguments.sequences,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            optim="adamw_torch_fused",
            adam_beta2=0.95,
            weight_decay=0.1,
            max_grad_norm=1.0,
            bf16=arguments.precision == "bfloat16",
            use_cpu=True,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        Noting(model=model, args=settings, train_dataset=Rows(), callbacks=[Clock()]).train()
    return begins[-1] - begins[1], [loss.item() for loss in losses]


def trainer(model: nn.Module, loss_of: Callable[[Tensor, Tensor], Tensor], precision: str) -> Step:
    """One optimizer step on a batch [sequences, context + 1]; returns the loss before it."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )

    def step(batch: Tensor) -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = loss_of(batch[:, :-1], batch[:, 1:].contiguous())
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def read_batches(config: ModelConfig, sequences: int, count: int) -> list[Tensor]:
    """`count` batches of [sequences, context + 1] token ids, the same on one Python version."""
    wanted = count * sequences * (config.context + 1)
    text = b""
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        text += file.read_bytes()
        if len(text) >= 2 * wanted:
            break
    ids = np.frombuffer(text[: len(text) // 2 * 2], dtype="<u2").astype(np.int64)
    ids = np.resize(ids % config.vocabulary_size, wanted)
    return list(torch.from_numpy(ids).view(count, sequences, config.context + 1))


if __name__ == "__main__":
    main()
