"""The training stage: one phase, from its initial weights to a checkpoint folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
from collections.abc import Mapping
from pathlib import Path

from firnline import engine
from firnline.errors import FirnlineError
from firnline.model.config import ModelConfig, flops_per_token, parameter_count
from firnline.stage import StageResult, Stats, Workspace, run_stage
from firnline.training.metrics import read_metrics
from firnline.training.phase import PhaseConfig, SampleSource

# What imports torch is imported where it is used, so that a recipe can be read without it.


class _Settings(PhaseConfig):
    """What the manifest records: the phase and the model it trains."""

    model: ModelConfig


def run(
    config: PhaseConfig,
    model: ModelConfig,
    samples: SampleSource,
    out: Path,
    *,
    inputs: Mapping[str, Path | str],
    tokenizer_file: Path,
    init: Path | None = None,
    workers: int | None = None,
) -> StageResult:
    """Trains one phase and writes `out`: `checkpoint/` and `metrics.jsonl`.

    `inputs` names what `samples` are made of, as a path or a fingerprint; a change of any makes
    the phase run again. `init` is a training stage's folder or any checkpoint folder: its weights
    are taken, the optimizer begins anew. Without it the weights come from the seed. `workers` is
    the number of threads (default: cores); a phase that goes on keeps the number it began with.

    Raises FirnlineError where phase, model, samples and initial checkpoint do not fit together,
    and for what `loop.train` raises. What was done is kept beside `out` and gone on from.
    """
    init = _checkpoint_of(init)
    _check(config, model, tokenizer_file, init)
    marks: dict[str, Path | str] = {
        **inputs,
        "tokenizer": hashlib.blake2b(tokenizer_file.read_bytes(), digest_size=16).hexdigest(),
        "init": init or "seed",
    }

    def body(workspace: Workspace) -> Stats:
        folder = workspace.folder
        if not (folder / "checkpoint").exists():  # else killed after its last line of work
            _train(config, model, samples, folder, init, tokenizer_file, workers or engine.cores())
        shutil.rmtree(folder / "state", ignore_errors=True)
        return _statistics(config, model, samples, folder)

    settings = _Settings(**config.model_dump(), model=model)
    return run_stage(f"train {config.name}", settings, marks, out, body, room="training")


def _train(
    config: PhaseConfig,
    shape: ModelConfig,
    samples: SampleSource,
    folder: Path,
    init: Path | None,
    tokenizer_file: Path,
    threads: int,
) -> None:
    from firnline.model import checkpoint
    from firnline.model.llama import Llama
    from firnline.training.loop import train

    def build() -> Llama:
        return checkpoint.load(init) if init else Llama(shape).initialise(config.seed)

    model = train(config, build, samples, folder, threads=threads)
    temporary = folder / ".checkpoint.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    about = {
        "phase": config.name,
        "step": config.steps,
        "tokens": config.tokens,
        "seed": config.seed,
    }
    checkpoint.save(model, temporary, about)
    shutil.copyfile(tokenizer_file, temporary / "tokenizer.json")
    temporary.rename(folder / "checkpoint")


def _statistics(
    config: PhaseConfig, model: ModelConfig, samples: SampleSource, folder: Path
) -> Stats:
    """`loss` is the mean over the last tenth of the steps; FLOPs in both conventions."""
    rows = read_metrics(folder / "metrics.jsonl")
    last = rows[-max(1, len(rows) // 10) :]
    flops = flops_per_token(model, config.sequence_length)
    return {
        "phase": config.name,
        "parameters": parameter_count(model),
        "steps": config.steps,
        "tokens": config.tokens,
        "samples": config.samples,
        "epochs": dict(samples.epochs(config.samples)),
        "first_loss": rows[0]["loss"],
        "loss": statistics.fmean(row["loss"] for row in last),
        "tokens_per_second": statistics.median(row["tokens_per_second"] for row in rows),
        "flops_full_attention": flops.full_attention * config.tokens,
        "flops_causal_attention": flops.causal_attention * config.tokens,
    }


def _check(
    config: PhaseConfig, model: ModelConfig, tokenizer_file: Path, init: Path | None
) -> None:
    """Refuses, before any work, parts that do not fit together; all reasons at once."""
    problems = []
    if config.sequence_length > model.context:
        problems.append(
            f"sequence_length {config.sequence_length:,} is longer than the model's context "
            f"{model.context:,}"
        )
    try:
        entries = json.loads(tokenizer_file.read_text())
        ids = [*entries["model"]["vocab"].values()]
        ids += [token["id"] for token in entries.get("added_tokens", [])]
        count = max(ids) + 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        problems.append(f"{tokenizer_file} is not a tokenizer.json")
    else:
        if count > model.vocabulary_size:
            problems.append(
                f"{tokenizer_file} has {count:,} entries, the model's vocabulary "
                f"{model.vocabulary_size:,}"
            )
    if init:
        from firnline.model.checkpoint import read_config

        other = read_config(init)
        problems += [
            f"{init} has {key} {getattr(other, key)}, the phase's model has {value}"
            for key, value in model
            if getattr(other, key) != value
        ]
    if problems:
        raise FirnlineError(
            f"phase {config.name} does not fit together: {problems[0]}",
            mend="change the recipe",
            details=tuple(problems[1:]),
        )


def _checkpoint_of(folder: Path | None) -> Path | None:
    inner = folder / "checkpoint" if folder else None
    return inner if inner and inner.is_dir() else folder
