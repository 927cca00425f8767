"""Training speed on a GPU: model FLOPs utilisation, what each choice gives, others beside it.

    python benchmarks/training_gpu.py                          # the 1.3B preset at 8,192 tokens
    python benchmarks/training_gpu.py --quick --preset ladder-400m --length 4096
    python benchmarks/training_gpu.py --device cpu --preset tiny --length 64 --quick   # a rehearsal

Each row of the table is a phase of a few steps through `training.loop.train`, with one choice
changed against the first row: attention (across documents or masked), cross-entropy (in chunks or
from all logits at once), compiled blocks, sequences for a pass, activation checkpointing. Rates are
medians over the steps after the first three. A row that does not fit into memory says so.

Two others train the same shape in bfloat16 mixed precision with fused AdamW and clipping, on the
same samples, at each number of sequences for a pass, as they are and compiled; the best of each
counts. transformers' LlamaForCausalLM (SDPA) goes through a plain loop; litgpt's GPT through Fabric
and litgpt's own loss, the way its pretraining does. litgpt is left out where it is not installed.

MFU is against the data sheet's dense peak (`training.speed`), in both conventions: the whole
attention matrix, and half of it. N is the preset's own number of parameters, printed first. The row
that is masked at documents does less work than either convention counts, so it has no MFU and is
never the best. The last line is a JSON object. Without a CUDA device the script says so in one line
and ends with status 2.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gc
import importlib.util
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from training_peers import (
    INSTALL_LITGPT,
    RATE,
    WARM_STEPS,
    Code,
    Setting,
    litgpt_rate,
    transformers_rate,
)

from firnline.model.config import FlopsPerToken, ModelConfig, parameter_count
from firnline.model.families import family_of
from firnline.model.llama import Llama
from firnline.model.loss import IGNORE
from firnline.model.presets import PRESETS
from firnline.training.loop import About, train
from firnline.training.metrics import read_metrics
from firnline.training.next_token import NextToken
from firnline.training.phase import PhaseConfig
from firnline.training.schedule import Schedule
from firnline.training.speed import peak_flops

MASKED = "masked at documents"


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


class Measured(NamedTuple):
    """What one row came to."""

    tokens_per_second: float | None
    """None where memory did not suffice."""
    memory_bytes: int | None
    """The most that PyTorch handed out on the GPU."""


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
    plain = [name for name, shape in PRESETS.items() if is_plain(shape)]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--preset", default="arctic-snowcoder-1.3b", choices=plain)
    parser.add_argument("--length", type=int, default=8192, help="tokens a sample predicts")
    parser.add_argument("--sequences", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--steps", type=int, default=12, help=f"more than {WARM_STEPS}")
    parser.add_argument("--peer", default="litgpt", choices=("litgpt", "none"))
    parser.add_argument("--quick", action="store_true", help="two batch sizes, fewer steps")
    parser.add_argument("--eager", action="store_true", help="compile nothing, for a rehearsal")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: run on a machine with a GPU", file=sys.stderr)
        sys.exit(2)
    if arguments.quick:
        arguments.sequences, arguments.steps = arguments.sequences[:2], WARM_STEPS + 3
    if arguments.steps <= WARM_STEPS:
        parser.error(f"--steps must be more than {WARM_STEPS}")
    shape = PRESETS[arguments.preset]
    length = min(arguments.length, shape.context)
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    peak = peak_flops(device, "bfloat16") if arguments.device == "cuda" else None
    print(
        f"{arguments.preset}: N = {parameter_count(shape):,} parameters, {length:,} tokens, "
        f"{device}, bfloat16, PyTorch {torch.__version__}{'; eager' if arguments.eager else ''}"
    )
    setting = Setting(
        shape=shape,
        length=length,
        fresh=Llama(shape).initialise(0),
        steps=arguments.steps,
        device=arguments.device,
        compile=not arguments.eager,
        peak=peak,
    )
    flops = setting.flops
    print(said_of_peak(flops, peak))
    ours = [
        row(choice.name, choice.sequences, measured(firnline_rate, choice, setting), setting)
        for choice in choices(arguments.sequences)
    ]
    transformers = beside("transformers", transformers_rate, arguments.sequences, setting)
    litgpt = []
    if arguments.peer == "litgpt" and importlib.util.find_spec("litgpt") is None:
        print(f"litgpt is not installed here: {INSTALL_LITGPT}")
    elif arguments.peer == "litgpt":
        litgpt = beside("litgpt", litgpt_rate, arguments.sequences, setting)
    best = fastest([line for line in ours if line["choice"] != MASKED]) or 0.0
    peers = {"transformers": fastest(transformers), "litgpt": fastest(litgpt)}
    figures = {
        "mfu_full_attention": best * flops.full_attention / peak if peak else None,
        "mfu_causal_attention": best * flops.causal_attention / peak if peak else None,
        "tokens_per_second": best,
        "vs_transformers": ratio(best, peers["transformers"]),
        "vs_litgpt": ratio(best, peers["litgpt"]),
        "transformers_tokens_per_second": peers["transformers"],
        "litgpt_tokens_per_second": peers["litgpt"],
        "device": device,
        "peak_flops": peak,
        "preset": arguments.preset,
        "parameters": parameter_count(shape),
        "flops_per_token_full_attention": flops.full_attention,
        "flops_per_token_causal_attention": flops.causal_attention,
        "sequence_length": length,
        "table": ours + transformers + litgpt,
    }
    print(json.dumps(figures))


def is_plain(shape: ModelConfig) -> bool:
    """Whether all three have the shape: a Llama whose RoPE is not stretched."""
    return family_of(shape) == "llama" and shape.rope_scaling is None


def said_of_peak(flops: FlopsPerToken, peak: float | None) -> str:
    """The FLOPs of a token in both conventions, and the rates that would be half the peak."""
    said = (
        f"FLOPs a token: {flops.full_attention:,} with full attention (6N + 12 L d T), "
        f"{flops.causal_attention:,} with causal"
    )
    if peak is None:
        return f"{said}; this device's peak is not known, so there is no MFU"
    full, causal = (peak / 2 / count for count in flops)
    return f"{said}; 50% of {peak / 1e12:,.0f} TFLOP/s is {full:,.0f} or {causal:,.0f} tokens/s"


def fastest(lines: list[dict[str, Any]]) -> float | None:
    """The best rate of a table, None where it has none."""
    return max((line["tokens_per_second"] or 0.0 for line in lines), default=0.0) or None


def ratio(ours: float, theirs: float | None) -> float | None:
    return round(ours / theirs, 3) if theirs else None


def choices(sizes: list[int]) -> list[Choice]:
    """The table's rows: the base at each size, then one change each at the middle size."""
    middle = sizes[len(sizes) // 2]
    rows = [Choice("compiled, chunked cross-entropy", size) for size in sizes]
    rows += [
        Choice("not compiled", middle, compile=False),
        Choice(MASKED, middle, attention="masked"),
        Choice("cross-entropy of all logits", middle, whole_logits=True),
        Choice("activation checkpointing", middle, activation_checkpointing="full"),
        Choice("activation checkpointing", sizes[-1], activation_checkpointing="full"),
    ]
    return list(dict.fromkeys(rows))  # of one or two sizes, the middle is the last


def beside(
    name: str, rate_of: Callable[..., float], sizes: list[int], setting: Setting
) -> list[dict[str, Any]]:
    """Another trainer's rows: each number of sequences, as it is and compiled."""
    return [
        row(
            f"{name}, compiled" if compiled else name,
            sequences,
            measured(rate_of, compiled, sequences, setting),
            setting,
        )
        for compiled in ((False, True) if setting.compile else (False,))
        for sequences in sizes
    ]


def measured(rate_of: Callable[..., float], *given: Any) -> Measured:
    """One row's rate and memory. Nothing compiled is left from the row before: a second shape of
    the same code would be compiled for any shape, and a ninth not at all."""
    torch.compiler.reset()
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    rate = None
    with contextlib.suppress(torch.OutOfMemoryError):
        rate = rate_of(*given)
    memory = torch.cuda.max_memory_allocated() if gpu else None
    gc.collect()
    if gpu:
        torch.cuda.empty_cache()
    return Measured(rate, memory)


def firnline_rate(choice: Choice, setting: Setting) -> float:
    shape, length = setting.shape, setting.length
    phase = PhaseConfig.model_validate(
        {
            "name": "benchmark",
            "tokens": setting.steps * choice.sequences * length,
            "sequence_length": length,
            "batch_sequences": choice.sequences,
            "attention": choice.attention,
            "schedule": Schedule(kind="constant", peak=RATE),
            "precision": "bfloat16",
            "compile": choice.compile and setting.compile,
            "activation_checkpointing": choice.activation_checkpointing,
            "device": setting.device,
        }
    )
    samples = Code(shape.vocabulary_size, length, documents=choice.attention == "masked")
    task = (WholeLogits if choice.whole_logits else NextToken)(
        phase,
        samples,
        lambda: copy.deepcopy(setting.fresh),
        vocabulary_size=shape.vocabulary_size,
        limit=None,
    )
    about = About(flops=setting.flops)
    with tempfile.TemporaryDirectory() as folder:
        train(phase, task, Path(folder), threads=torch.get_num_threads(), about=about)
        rows = read_metrics(Path(folder) / "metrics.jsonl")
    rate: float = statistics.median(line["tokens_per_second"] for line in rows[WARM_STEPS:])
    return rate


def row(name: str, sequences: int, found: Measured, setting: Setting) -> dict[str, Any]:
    """A line of the table, printed and as a mapping."""
    rate, memory = found
    full = causal = None
    if rate and setting.peak and name != MASKED:
        full, causal = (rate * count / setting.peak for count in setting.flops)
    said = f"{rate:12,.0f} tokens/s" if rate else "out of memory".rjust(21)
    said += f"  {memory / 2**30:5.1f} GiB" if memory is not None else ""
    said += f"  MFU {full:6.1%} full, {causal:6.1%} causal" if full and causal else ""
    print(f"{name:<32} {sequences:3} sequences {said}", flush=True)
    return {
        "choice": name,
        "sequences": sequences,
        "tokens_per_second": rate and round(rate, 1),
        "peak_memory_bytes": memory,
        "mfu_full_attention": full,
        "mfu_causal_attention": causal,
    }


if __name__ == "__main__":
    main()
