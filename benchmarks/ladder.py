"""The ladder: models of 15 to 400 million parameters on one corpus, held-out loss beside speed.

    python benchmarks/ladder.py --tokens RUN/pack-corpus --tokenizer RUN/tokenizer --out ladder
    python benchmarks/ladder.py ... --presets ladder-15m ladder-50m --tokens-per-parameter 10
    python benchmarks/ladder.py ... --device cpu --presets tiny --tokens-per-parameter 0.2

Each preset is one phase of `training.stage.run`, in its own folder under `--out`: run the command
again to go on where it stopped; a finished preset is not trained twice. Each trains on
`--tokens-per-parameter` tokens (20: Hoffmann et al. 2022) with a vocabulary of the tokenizer's
size. Peak learning rate and batch are functions of the compute C in FLOPs, 0.3118 C^-0.1250 and
0.2920 C^0.3271 tokens (DeepSeek LLM 2024, section 3.1, whose C leaves the vocabulary out), with 5%
of warm-up and a cosine to a tenth. On a GPU in bfloat16 with compiled blocks, on a CPU in float32.

Held out are whole repositories, drawn by a hash of their names until they have `--held-out-share`
of the tokens, or `--held-out`, a token folder of its own. Bits per byte take the held-out text's
own bytes for a token. `loss` is the mean of the last tenth of the steps. MFU is the median over the
steps, of the data sheet's peak, in both conventions; hours are those of the steps alone.

The last line is a JSON object. Without a CUDA device and without `--device cpu` the script says so
in one line and ends with status 2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from firnline.documents import hash_share
from firnline.errors import FirnlineError
from firnline.model.config import ModelConfig, flops_per_token, parameter_count
from firnline.model.presets import PRESETS
from firnline.tokens.samples import Samples, check
from firnline.tokens.tokenizer import Tokenizer
from firnline.training import stage
from firnline.training.metrics import read_metrics
from firnline.training.phase import Evaluation, PhaseConfig
from firnline.training.schedule import Schedule

LADDER = ["ladder-15m", "ladder-50m", "ladder-100m", "ladder-200m", "ladder-400m"]
SEED = 0
EVALUATIONS = 10


class Data(NamedTuple):
    """What all presets train on and are tested on."""

    tokens: Path
    train: NDArray[np.bool_] | None
    """Which rows of the token folder's index are trained on; None is all."""
    held_out_tokens: Path
    held_out: NDArray[np.bool_] | None
    bytes_per_token: float
    """Of the training data."""
    held_out_bytes_per_token: float
    what: str
    """How the held-out documents were chosen: a preset trains again where it changes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tokens", type=Path, required=True, help="token folder")
    parser.add_argument("--tokenizer", type=Path, required=True, help="its tokenizer's folder")
    parser.add_argument("--out", type=Path, default=Path("ladder"))
    parser.add_argument("--presets", nargs="+", default=LADDER, choices=sorted(PRESETS))
    parser.add_argument("--tokens-per-parameter", type=float, default=20.0)
    parser.add_argument("--length", type=int, default=2048, help="tokens a sample predicts")
    parser.add_argument("--micro-batch", type=int, default=8, help="samples for one pass")
    parser.add_argument("--held-out", type=Path, help="token folder that is not trained on")
    parser.add_argument("--held-out-share", type=float, default=0.01)
    parser.add_argument("--held-out-samples", type=int, default=512)
    parser.add_argument("--checkpoint-every", type=int, default=250, help="steps")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: run on a machine with a GPU", file=sys.stderr)
        sys.exit(2)
    try:
        figures = climb(arguments)
    except FirnlineError as error:
        sys.exit(str(error))
    print(json.dumps(figures))


def climb(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains the presets, smallest first, and prints each one's row."""
    tokenizer = Tokenizer.load(arguments.tokenizer)
    for folder in (arguments.tokens, arguments.held_out):
        if folder is not None:
            check(folder, tokenizer)
    data = divide(arguments.tokens, arguments.held_out, arguments.held_out_share)
    size = {"vocabulary_size": tokenizer.vocabulary_size}
    shapes = {name: PRESETS[name].model_copy(update=size) for name in arguments.presets}
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    print(f"{device}, PyTorch {torch.__version__}, vocabulary {tokenizer.vocabulary_size:,}")
    print(HEADER)
    table = []
    for name in sorted(shapes, key=lambda name: parameter_count(shapes[name])):
        table.append(rung(name, shapes[name], data, arguments))
        print(said(table[-1]), flush=True)
    return {
        "device": device,
        "tokens_per_parameter": arguments.tokens_per_parameter,
        "vocabulary_size": tokenizer.vocabulary_size,
        "held_out": data.what,
        "held_out_bytes_per_token": data.held_out_bytes_per_token,
        "table": table,
    }


def divide(tokens: Path, held_out: Path | None, share: float) -> Data:
    """Parts what is trained on from what is not."""
    index = pq.read_table(tokens / "index.parquet", columns=["repo", "tokens", "bytes"])
    if held_out is not None:
        other = pq.read_table(held_out / "index.parquet", columns=["tokens", "bytes"])
        rates = _bytes_per_token(index), _bytes_per_token(other)
        return Data(tokens, None, held_out, None, *rates, what=held_out.name)
    sums = index.group_by("repo").aggregate([("tokens", "sum")]).to_pylist()
    sizes = {row["repo"]: row["tokens_sum"] for row in sums}
    left = share * sum(sizes.values())
    chosen = []
    for repo in sorted(sizes, key=lambda repo: (hash_share(repo.encode(), "ladder"), repo)):
        if sizes[repo] <= left:
            chosen.append(repo)
            left -= sizes[repo]
    held = pc.is_in(index["repo"], value_set=pa.array(chosen, pa.string())).to_numpy()
    if not chosen or held.all():
        raise FirnlineError(
            f"no repository of {tokens} is small enough to hold out ({share:.1%} of its tokens)",
            mend="give --held-out a token folder, or a larger --held-out-share",
        )
    rates = _bytes_per_token(index.filter(~held)), _bytes_per_token(index.filter(held))
    count = index["tokens"].to_numpy()[held].sum()
    what = f"{len(chosen)} repositories of {len(sizes)}, {count:,} tokens"
    return Data(tokens, ~held, tokens, held, *rates, what)


def _bytes_per_token(index: Any) -> float:
    return float(index["bytes"].to_numpy().sum() / index["tokens"].to_numpy().sum())


def plan(
    name: str,
    shape: ModelConfig,
    *,
    tokens_per_parameter: float,
    length: int,
    evaluated: int,
    micro_batch: int,
    checkpoint_every: int,
    device: Literal["cpu", "cuda"],
) -> PhaseConfig:
    """The preset's phase; `evaluated` is the number of held-out samples."""
    tokens = max(1, round(tokens_per_parameter * parameter_count(shape)))
    compute = flops_per_token(shape, length).full_attention * tokens
    sequences = max(1, round(0.2920 * compute**0.3271 / length))
    steps = -(-tokens // (sequences * length))
    peak = 0.3118 * compute**-0.1250
    return PhaseConfig(
        name=name,
        seed=SEED,
        tokens=tokens,
        sequence_length=length,
        batch_sequences=sequences,
        micro_batch_sequences=micro_batch,
        schedule=Schedule(kind="cosine", peak=peak, floor=peak / 10, warmup_steps=steps // 20),
        evaluation=Evaluation(every_steps=max(1, steps // EVALUATIONS), samples=evaluated),
        precision="bfloat16" if device == "cuda" else "float32",
        compile=device == "cuda",
        checkpoint_every_steps=checkpoint_every,
        device=device,
    )


def rung(
    name: str, shape: ModelConfig, data: Data, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Trains one preset, or goes on with it, and gives its row of the table."""
    length = min(arguments.length, shape.context)
    samples, held_out = (
        Samples(folder, sequence_length=length, seed=SEED, phase=phase, keep=keep)
        for folder, phase, keep in (
            (data.tokens, "ladder", data.train),
            (data.held_out_tokens, "heldout", data.held_out),
        )
    )
    phase = plan(
        name,
        shape,
        tokens_per_parameter=arguments.tokens_per_parameter,
        length=length,
        evaluated=min(arguments.held_out_samples, held_out.samples_per_epoch),
        micro_batch=arguments.micro_batch,
        checkpoint_every=arguments.checkpoint_every,
        device=arguments.device,
    )
    done = stage.run(
        phase,
        shape,
        samples,
        arguments.out / name,
        inputs={"tokens": data.tokens, "heldout": data.held_out_tokens, "division": data.what},
        tokenizer_file=arguments.tokenizer / "tokenizer.json",
        held_out=held_out,
        bytes_per_token=data.bytes_per_token,
        held_out_bytes_per_token=data.held_out_bytes_per_token,
    )
    rows = read_metrics(done.folder / "metrics.jsonl")
    used = np.diff([0, *(row["tokens"] for row in rows)])
    seconds = sum(used / np.array([row["tokens_per_second"] for row in rows]))
    loss = rows[-1]["heldout_loss"]
    return {
        "preset": name,
        "parameters": done.stats["parameters"],
        "tokens": phase.tokens,
        "steps": phase.steps,
        "sequence_length": length,
        "batch_tokens": phase.batch_tokens,
        "peak_learning_rate": phase.schedule.peak,
        "epochs": max(done.stats["epochs"].values()),
        "flops_full_attention": done.stats["flops_full_attention"],
        "flops_causal_attention": done.stats["flops_causal_attention"],
        "loss": done.stats["loss"],
        "heldout_loss": loss,
        "heldout_bits_per_byte": rows[-1]["heldout_bits_per_byte"],
        "tokens_per_second": done.stats["tokens_per_second"],
        "mfu_full_attention": _median(rows, "mfu_full_attention"),
        "mfu_causal_attention": _median(rows, "mfu_causal_attention"),
        "hours": float(seconds) / 3600,
    }


def _median(rows: list[dict[str, Any]], key: str) -> float | None:
    """None where the device's peak is not known."""
    return statistics.median(row[key] for row in rows) if key in rows[0] else None


HEADER = (
    "preset           parameters          tokens  epochs  FLOPs full  causal"
    "   loss  held-out  bits/byte    tokens/s    MFU full  causal    hours"
)


def said(row: dict[str, Any]) -> str:
    """A row as a line under `HEADER`."""
    full, causal = row["mfu_full_attention"], row["mfu_causal_attention"]
    mfu = f"{full:8.1%}  {causal:6.1%}" if full and causal else f"{'-':>8}  {'-':>6}"
    return (
        f"{row['preset']:<14} {row['parameters']:12,} {row['tokens']:15,} {row['epochs']:7.2f}"
        f"    {row['flops_full_attention']:8.2e} {row['flops_causal_attention']:8.2e}"
        f" {row['loss']:6.3f} {row['heldout_loss']:9.3f} {row['heldout_bits_per_byte']:10.4f}"
        f" {row['tokens_per_second']:11,.0f}    {mfu} {row['hours']:8.2f}"
    )


if __name__ == "__main__":
    main()
