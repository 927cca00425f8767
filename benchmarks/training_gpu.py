"""Training speed on a GPU: model FLOPs utilisation, what each choice gives, transformers beside it.

    python benchmarks/training_gpu.py                          # the 1.3B preset at 8,192 tokens
    python benchmarks/training_gpu.py --quick --preset ladder-400m --length 4096
    python benchmarks/training_gpu.py --device cpu --preset tiny --length 64 --quick   # a rehearsal

Each row of the table is a phase of a few steps through `training.loop.train`, with one choice
changed against the first row: attention (across documents or masked), cross-entropy (in chunks or
from all logits at once), compiled blocks, sequences for a pass, activation checkpointing. Rates are
medians over the steps after the first three. A row that does not fit into memory says so.

transformers' LlamaForCausalLM of the same shape goes through a plain loop with fused AdamW, SDPA
and bfloat16 by autocast, at each number of sequences for a pass; the best counts.

MFU is against the data sheet's dense peak (`training.speed`), in both conventions: the whole
attention matrix, and half of it. The last line is a JSON object. Without a CUDA device the script
says so in one line and ends with status 2.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from firnline.batch import Batch
from firnline.model.config import ModelConfig, flops_per_token, parameter_count
from firnline.model.families import to_hugging_face
from firnline.model.llama import Llama
from firnline.model.loss import IGNORE
from firnline.model.presets import PRESETS
from firnline.training.loop import About, train
from firnline.training.metrics import read_metrics
from firnline.training.next_token import NextToken
from firnline.training.phase import PhaseConfig
from firnline.training.schedule import Schedule
from firnline.training.speed import peak_flops

RATE = 3e-4
WARM_STEPS = 3
DOCUMENT_TOKENS = 1000


@dataclass(frozen=True)
class Choice:
    """One row of the table."""

    name: str
    sequences: int
    """Samples for one pass."""
    attention: str = "across"
    whole_logits: bool = False
    compile: bool = True
    activation_checkpointing: str = "none"


class Code:
    """Samples of the standard library's source, two bytes a token, documents of a fixed length."""

    def __init__(self, vocabulary_size: int, length: int, documents: bool) -> None:
        files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
        text = b"".join(file.read_bytes() for file in files)
        self.ids = np.frombuffer(text[: len(text) // 2 * 2], "<u2").astype(np.int64)
        self.ids %= vocabulary_size
        self.length, self.documents = length, documents

    def batch(self, start: int, count: int) -> Batch:
        places = np.arange(start, start + count)[:, None] * self.length + np.arange(self.length + 1)
        numbers = np.arange(self.length + 1, dtype=np.int32) // DOCUMENT_TOKENS
        documents = np.tile(numbers, (count, 1)) if self.documents else None
        return Batch(self.ids[places % len(self.ids)], documents)

    def epochs(self, samples: int) -> dict[str, float]:
        return {"stdlib": samples * self.length / len(self.ids)}


class WholeLogits(NextToken):
    """The usual cross-entropy, which holds the logits of all tokens."""

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        targets = batch["targets"]
        logits = model(batch["inputs"])
        total = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum"
        )
        return total, (targets != IGNORE).sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--preset", default="arctic-snowcoder-1.3b", choices=sorted(PRESETS))
    parser.add_argument("--length", type=int, default=8192, help="tokens a sample predicts")
    parser.add_argument("--sequences", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="two batch sizes, fewer steps")
    parser.add_argument("--eager", action="store_true", help="compile nothing, for a rehearsal")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: run on a machine with a GPU", file=sys.stderr)
        sys.exit(2)
    if arguments.quick:
        arguments.sequences, arguments.steps = arguments.sequences[:2], WARM_STEPS + 3
    shape = PRESETS[arguments.preset]
    length = min(arguments.length, shape.context)
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    peak = peak_flops(device, "bfloat16") if arguments.device == "cuda" else None
    flops = flops_per_token(shape, length)
    print(
        f"{arguments.preset}: {parameter_count(shape):,} parameters, {length:,} tokens, {device}, "
        f"bfloat16, PyTorch {torch.__version__}"
    )
    fresh = Llama(shape).initialise(0)
    ours = []
    for choice in choices(arguments.sequences):
        rate = measured(firnline_rate, choice, shape, length, fresh, arguments)
        ours.append(row(choice.name, choice.sequences, rate, peak, flops))
    theirs = []
    for sequences in arguments.sequences:
        rate = measured(transformers_rate, sequences, shape, length, fresh, arguments)
        theirs.append(row("transformers", sequences, rate, peak, flops))
    best, peer = (max(line["tokens_per_second"] or 0.0 for line in side) for side in (ours, theirs))
    figures = {
        "mfu_full_attention": best * flops.full_attention / peak if peak else None,
        "mfu_causal_attention": best * flops.causal_attention / peak if peak else None,
        "tokens_per_second": best,
        "vs_transformers": round(best / peer, 3) if peer else None,
        "transformers_tokens_per_second": peer,
        "device": device,
        "preset": arguments.preset,
        "sequence_length": length,
        "table": ours + theirs,
    }
    print(json.dumps(figures))


def choices(sizes: list[int]) -> list[Choice]:
    """The table's rows: the base at each size, then one change each at the middle size."""
    middle = sizes[len(sizes) // 2]
    rows = [Choice("compiled, chunked cross-entropy", size) for size in sizes]
    return [
        *rows,
        Choice("not compiled", middle, compile=False),
        Choice("masked at documents", middle, attention="masked"),
        Choice("cross-entropy of all logits", middle, whole_logits=True),
        Choice("activation checkpointing", middle, activation_checkpointing="full"),
        Choice("activation checkpointing", sizes[-1], activation_checkpointing="full"),
    ]


def measured(rate_of: Any, *given: Any) -> float | None:
    """Tokens a second, None where memory does not suffice."""
    try:
        rate: float = rate_of(*given)
        return rate
    except torch.OutOfMemoryError:
        return None
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def firnline_rate(
    choice: Choice, shape: ModelConfig, length: int, fresh: Llama, arguments: argparse.Namespace
) -> float:
    phase = PhaseConfig.model_validate(
        {
            "name": "benchmark",
            "tokens": arguments.steps * choice.sequences * length,
            "sequence_length": length,
            "batch_sequences": choice.sequences,
            "attention": choice.attention,
            "schedule": Schedule(kind="constant", peak=RATE),
            "precision": "bfloat16",
            "compile": choice.compile and not arguments.eager,
            "activation_checkpointing": choice.activation_checkpointing,
            "device": arguments.device,
        }
    )
    samples = Code(shape.vocabulary_size, length, documents=choice.attention == "masked")
    task = (WholeLogits if choice.whole_logits else NextToken)(
        phase,
        samples,
        lambda: copy.deepcopy(fresh),
        vocabulary_size=shape.vocabulary_size,
        limit=None,
    )
    about = About(flops=flops_per_token(shape, length))
    with tempfile.TemporaryDirectory() as folder:
        train(phase, task, Path(folder), threads=torch.get_num_threads(), about=about)
        rows = read_metrics(Path(folder) / "metrics.jsonl")
    return statistics.median(line["tokens_per_second"] for line in rows[WARM_STEPS:])


def transformers_rate(
    sequences: int, shape: ModelConfig, length: int, fresh: Llama, arguments: argparse.Namespace
) -> float:
    config = LlamaConfig(**to_hugging_face(shape), attn_implementation="sdpa")
    model = LlamaForCausalLM(config)
    model.load_state_dict(fresh.state_dict(), strict=False)
    model.to(arguments.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), fused=True)
    samples = Code(shape.vocabulary_size, length, documents=False)
    seconds = []
    for step in range(arguments.steps):
        started = time.perf_counter()
        rows = torch.from_numpy(samples.batch(step * sequences, sequences).ids)
        rows = rows.to(arguments.device)
        with torch.autocast(arguments.device, torch.bfloat16):
            targets = rows[:, 1:].contiguous()
            loss = model(
                input_ids=rows[:, :-1], labels=targets, shift_labels=targets, use_cache=False
            ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()  # waits for the device, as a loop that logs its loss does
        seconds.append(time.perf_counter() - started)
    return sequences * length / statistics.median(seconds[WARM_STEPS:])


def row(
    name: str, sequences: int, rate: float | None, peak: float | None, flops: Any
) -> dict[str, Any]:
    """A line of the table, printed and as a mapping."""
    full = rate * flops.full_attention / peak if rate and peak else None
    causal = rate * flops.causal_attention / peak if rate and peak else None
    said = f"{rate:12,.0f} tokens/s" if rate else "out of memory".rjust(21)
    said += f"  MFU {full:6.1%} full, {causal:6.1%} causal" if full and causal else ""
    print(f"{name:<32} {sequences:3} sequences {said}", flush=True)
    return {
        "choice": name,
        "sequences": sequences,
        "tokens_per_second": rate and round(rate, 1),
        "mfu_full_attention": full,
        "mfu_causal_attention": causal,
    }


if __name__ == "__main__":
    main()
