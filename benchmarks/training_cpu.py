"""Training speed on the CPU against transformers' LlamaForCausalLM of the same shape.

Both models start from the same weights and go through the same loop: the same samples, fused
AdamW, clipping, float32, threads. They take turns in rounds, so that what else the machine does
meets both; a round's ratio is one of neighbours in time and the figure is the median of rounds.
transformers computes its loss from whole targets (`shift_labels`) and keeps no cache, so that the
losses of the two are the same quantity; `loss_difference` is the largest between the two curves.

Samples are the source of the standard library, two bytes a token, folded into the vocabulary.

    python benchmarks/training_cpu.py [--quick] [--preset tiny]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from firnline.model.config import ModelConfig, parameter_count
from firnline.model.families import to_hugging_face
from firnline.model.llama import Llama
from firnline.model.presets import PRESETS

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
    figures = {
        "vs_transformers": round(statistics.median(ratios), 3),
        "tokens_per_second": round(statistics.median(speeds["firnline"])),
        "transformers_tokens_per_second": round(statistics.median(speeds["transformers"])),
        "loss_equal": difference <= LOSS_TOLERANCE,
        "loss_difference": difference,
        "steps": len(curves["firnline"]),
        "parameters": parameter_count(config),
    }
    print(json.dumps(figures))


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
