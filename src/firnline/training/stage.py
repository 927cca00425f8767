"""The training stage: one phase, from its initial weights to a checkpoint folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from firnline import engine
from firnline.errors import FirnlineError
from firnline.model.config import ModelConfig, flops_per_token, parameter_count
from firnline.model.families import END_OF_TEXT
from firnline.stage import StageResult, Stats, Workspace, read_stats, run_stage
from firnline.training.metrics import read_metrics
from firnline.training.phase import PhaseConfig, SampleSource

if TYPE_CHECKING:
    from torch import nn

    from firnline.model.llama import Llama
    from firnline.training.distributed import Ranks
    from firnline.training.loop import About
    from firnline.training.task import Task

# What imports torch is imported where it is used, so that a recipe can be read without it.


def run(
    config: PhaseConfig,
    model: ModelConfig,
    samples: SampleSource,
    out: Path,
    *,
    inputs: Mapping[str, Path | str],
    tokenizer_file: Path,
    init: Path | None = None,
    held_out: SampleSource | None = None,
    bytes_per_token: float | None = None,
    held_out_bytes_per_token: float | None = None,
    end_of_text: int = END_OF_TEXT,
    workers: int | None = None,
) -> StageResult:
    """Trains one phase of next-token prediction and writes `out`: `checkpoint/`, `metrics.jsonl`.

    `inputs` names what `samples` are made of, as a path or a fingerprint; a change of any makes
    the phase run again. `init` is a training stage's folder or any checkpoint folder: its weights
    are taken, and where the phase keeps it, its optimizer state. Without it the weights come from
    the seed. `held_out` is what the phase's evaluation reads, `bytes_per_token` the bytes that a
    token of the training data stands for on average and `held_out_bytes_per_token` of the held-out
    data, `end_of_text` the tokenizer's id of it, which the checkpoint's config names. `workers` is
    the number of threads (default: cores); a phase that goes on keeps the number it began with.

    Under `torchrun` every rank makes the call. Raises FirnlineError where phase, model, samples and
    initial checkpoint do not fit together, and for what `loop.train` raises. What was done is kept
    beside `out` and gone on from.
    """
    from firnline.model.checkpoint import blank
    from firnline.training.loop import About
    from firnline.training.next_token import NextToken

    weights = _checkpoint_of(init)
    _check(config, model, tokenizer_file, weights, held_out)
    build, fill = partial(blank, model), partial(_fill, config.seed, weights)
    size = model.vocabulary_size
    task = NextToken(config, samples, build, vocabulary_size=size, limit=config.tokens, fill=fill)
    evaluation = None
    if held_out is not None and config.evaluation is not None:
        evaluation = NextToken(config, held_out, build, vocabulary_size=size, limit=None)
    flops = flops_per_token(model, config.sequence_length)
    about = About(
        bytes_per_token=bytes_per_token,
        held_out_bytes_per_token=held_out_bytes_per_token,
        flops=flops,
        epochs=samples.epochs,
    )
    marks: dict[str, Path | str] = {
        **inputs,
        "tokenizer": hashlib.blake2b(tokenizer_file.read_bytes(), digest_size=16).hexdigest(),
        "init": weights or "seed",
    }

    def save(trained: nn.Module, folder: Path) -> None:
        from firnline.model import checkpoint
        from firnline.model.shards import writes

        about = {
            "phase": config.name,
            "step": config.steps,
            "tokens": config.tokens,
            "seed": config.seed,
        }
        checkpoint.save(cast("Llama", trained), folder, about, end_of_text=end_of_text)
        if writes(trained):
            shutil.copyfile(tokenizer_file, folder / "tokenizer.json")

    return run_task(
        config,
        task,
        out,
        inputs=marks,
        model=model,
        save=save,
        save_shards=True,
        more=lambda: _of_the_model(config, model, samples),
        about=about,
        optimizer_from=optimizer_of(config, init),
        held_out=evaluation,
        workers=workers,
    )


def run_task(
    config: PhaseConfig,
    task: Task,
    out: Path,
    *,
    inputs: Mapping[str, Path | str],
    model: BaseModel,
    save: Callable[[nn.Module, Path], None],
    save_shards: bool = False,
    more: Callable[[], Stats] = dict,
    optimizer_from: Path | None = None,
    held_out: Task | None = None,
    about: About | None = None,
    workers: int | None = None,
) -> StageResult:
    """Trains one phase of any task as a stage; `run` is this for next-token prediction.

    `model` is the shape as the manifest records it, `save` writes the trained model into a new
    folder, `more` gives statistics beside those of the steps. `save` gets the model whole, on rank
    0 alone; with `save_shards` every rank calls it with what it holds.
    """
    from firnline.training.distributed import join, other_ranks_alive

    ranks = join(config.device, config.rank_timeout_seconds)
    work = partial(
        _train,
        config,
        task,
        save,
        ranks=ranks,
        save_shards=save_shards,
        threads=workers or engine.cores(),
        optimizer_from=optimizer_from,
        held_out=held_out,
        about=about,
    )

    def body(workspace: Workspace) -> Stats:
        folder = workspace.folder
        if not (folder / "checkpoint").exists():  # else killed after its last line of work
            work(ranks.tell(folder))
        _remove_states(folder / "state", config.keep_every_steps)
        return _statistics(config, folder) | more()

    with other_ranks_alive(ranks, f"phase {config.name}"):
        if not ranks.first:
            trained = False
            while (folder := ranks.tell(None)) is not None:
                work(folder)
                trained = True
            return StageResult(out.absolute(), read_stats(out), skipped=not trained)
        settings = _Settings(
            phase=config.what(),
            model=model.model_dump(mode="json"),
            seed=config.seed,
        )
        result = run_stage(
            f"train {config.name}",
            settings,
            inputs,
            out,
            body,
            room="training",
            keep="state/step-*.json",
            may_change="phase.spikes",
        )
        ranks.tell(None)
        return result


class _Settings(BaseModel):
    """What the manifest records: the phase, but for how it is computed, and its model."""

    phase: dict[str, Any]
    model: dict[str, Any]
    seed: int


def _fill(seed: int, init: Path | None, model: Llama) -> None:
    from firnline.model.checkpoint import load_into

    if init:
        load_into(model, init)
    else:
        model.initialise(seed)


def _train(
    config: PhaseConfig,
    task: Task,
    save: Callable[[nn.Module, Path], None],
    folder: Path,
    *,
    ranks: Ranks,
    save_shards: bool,
    threads: int,
    optimizer_from: Path | None,
    held_out: Task | None,
    about: About | None,
) -> None:
    from firnline.training.loop import train
    from firnline.training.parallel import plain

    trained = train(
        config,
        task,
        folder,
        threads=threads,
        optimizer_from=optimizer_from,
        held_out=held_out,
        about=about,
    )
    model = trained if save_shards else plain(trained, task.build, ranks)
    temporary = folder / ".checkpoint.partial"
    if ranks.first:
        shutil.rmtree(temporary, ignore_errors=True)
    if model is not None:
        save(model, temporary)
    if ranks.first:
        temporary.rename(folder / "checkpoint")


def _remove_states(folder: Path, keep_every: int | None) -> None:
    """Removes a finished phase's states but for those that are kept for good."""
    for path in folder.glob("*"):
        if not keep_every or int(path.stem.removeprefix("step-")) % keep_every:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _statistics(config: PhaseConfig, folder: Path) -> Stats:
    """`loss` is the mean over the last tenth of the steps."""
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if not row.get("skipped")]
    if not rows:
        raise FirnlineError(f"phase {config.name}: every step was skipped", mend="see spikes.jsonl")
    last = rows[-max(1, len(rows) // 10) :]
    return {
        "phase": config.name,
        "steps": config.steps,
        "tokens": config.tokens,
        "samples": config.samples,
        "first_loss": rows[0]["loss"],
        "loss": statistics.fmean(row["loss"] for row in last),
        "tokens_per_second": statistics.median(row["tokens_per_second"] for row in rows),
    }


def _of_the_model(config: PhaseConfig, model: ModelConfig, samples: SampleSource) -> Stats:
    """FLOPs in both conventions, and how often each source was seen."""
    flops = flops_per_token(model, config.sequence_length)
    return {
        "parameters": parameter_count(model),
        "epochs": dict(samples.epochs(config.samples)),
        "flops_full_attention": flops.full_attention * config.tokens,
        "flops_causal_attention": flops.causal_attention * config.tokens,
    }


def _check(
    config: PhaseConfig,
    model: ModelConfig,
    tokenizer_file: Path,
    init: Path | None,
    held_out: SampleSource | None,
) -> None:
    """Refuses, before any work, parts that do not fit together; all reasons at once."""
    problems = []
    if config.sequence_length > model.context:
        problems.append(
            f"sequence_length {config.sequence_length:,} is longer than the model's context "
            f"{model.context:,}"
        )
    if config.evaluation is not None and held_out is None:
        problems.append("it has an evaluation and no held-out samples")
    if config.optimizer_state == "keep" and init is None:
        problems.append("optimizer_state is keep, and it does not start from a phase")
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


def optimizer_of(config: PhaseConfig, init: Path | None) -> Path | None:
    """The optimizer state that the phase begins with; refuses where there is none to keep."""
    if config.optimizer_state == "reset" or init is None:
        return None
    folder = (init.parent if init.name == "checkpoint" else init) / "optimizer"
    if not folder.with_suffix(".json").is_file():
        raise FirnlineError(
            f"phase {config.name} keeps the optimizer's state, {folder} is not there",
            mend="set keep_optimizer: true in the phase it starts from, or optimizer_state: reset",
        )
    return folder
