"""Commands for models: training, evaluation, means of checkpoints, published shapes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from firnline import show
from firnline.cli.options import (
    AsJson,
    Benchmarks,
    Out,
    Seed,
    Set,
    TokenizerFolder,
    Workers,
    app,
    checkpoint_folder,
    configure,
    finish,
    named_folders,
)
from firnline.errors import FirnlineError
from firnline.settings import make, merge, parse_settings, read_count


@app.command()
def train(
    tokens: Annotated[Path, typer.Argument(help="A token folder.")],
    tokenizer_folder: TokenizerFolder,
    out: Out,
    budget: Annotated[str, typer.Option(help="Tokens to train on, such as 500B.")],
    sequence_length: Annotated[int, typer.Option(min=1, help="Tokens a sample predicts.")],
    batch_sequences: Annotated[int, typer.Option(min=1, help="Samples for one step.")],
    peak: Annotated[float, typer.Option(help="Highest learning rate.")],
    schedule: Annotated[
        str,
        typer.Option(help="Its kind, such as cosine or wsd; more of it: --set schedule.KEY=VALUE."),
    ] = "cosine",
    floor: Annotated[float, typer.Option(help="Learning rate at the end.")] = 0.0,
    warmup_steps: Annotated[int, typer.Option(min=0, help="Steps of warm-up.")] = 0,
    name: Annotated[str, typer.Option(help="The phase's name: part of the data order.")] = "phase",
    preset: Annotated[str | None, typer.Option(help="A named shape for a fresh model.")] = None,
    shape: Annotated[
        list[str],
        typer.Option("--model", metavar="KEY=VALUE", help="Shape of a fresh model; repeat."),
    ] = [],
    init: Annotated[
        Path | None, typer.Option(help="A checkpoint to start from, instead of a fresh model.")
    ] = None,
    seed: Seed = 0,
    packed: Annotated[
        list[str],
        typer.Option(
            "--packing", metavar="KEY=VALUE", help="`method=best_fit`, `attention=masked`; repeat."
        ),
    ] = [],
    infilled: Annotated[
        list[str],
        typer.Option("--infilling", metavar="KEY=VALUE", help="Such as `rate=0.5`; repeat."),
    ] = [],
    max_epochs: Annotated[
        float | None,
        typer.Option(help="How often a document may be seen, by default 4 times; more is refused."),
    ] = None,
    held_out_folder: Annotated[
        Path | None,
        typer.Option(
            "--held-out", help="A token folder to evaluate on, as --set evaluation.KEY=VALUE says."
        ),
    ] = None,
    settings: Set = [],
    as_json: AsJson = False,
) -> None:
    """Train one phase on a token folder.

    From nothing, or from a checkpoint.
    """
    from firnline.model import checkpoint
    from firnline.model.config import ModelConfig
    from firnline.model.presets import PRESETS
    from firnline.tokens.extend import check_checkpoint
    from firnline.tokens.infilling import InfillingConfig
    from firnline.tokens.mixture import SourceConfig, open_mixture
    from firnline.tokens.packing import PackingConfig
    from firnline.tokens.samples import Samples
    from firnline.tokens.tokenizer import Tokenizer
    from firnline.training import stage
    from firnline.training.phase import PhaseConfig

    tokenizer = Tokenizer.load(tokenizer_folder)
    packing = make(PackingConfig, parse_settings(packed, "--packing"))
    infilling = make(InfillingConfig, parse_settings(infilled, "--infilling")) if infilled else None
    curve = {"kind": schedule, "peak": peak, "floor": floor, "warmup_steps": warmup_steps}
    config = configure(
        PhaseConfig,
        settings,
        name=name,
        seed=seed,
        tokens=read_count(budget),
        sequence_length=sequence_length,
        batch_sequences=batch_sequences,
        schedule=curve,
    )
    source, cap = tokens.resolve().name, {} if max_epochs is None else {"max_epochs": max_epochs}
    samples = open_mixture(
        {source: make(SourceConfig, {"share": 1} | cap)},
        {source: tokens},
        phase=name,
        seed=seed,
        tokens=config.tokens,
        sequence_length=sequence_length,
        packing=packing,
        infilling=infilling,
        tokenizer=tokenizer,
    )
    if init is not None:
        if preset or shape:
            raise FirnlineError("--init and a shape", mend="leave out --preset and --model")
        check_checkpoint(checkpoint_folder(init), tokenizer)
        model = checkpoint.read_config(checkpoint_folder(init))
    else:
        if preset is not None and preset not in PRESETS:
            known = ", ".join(sorted(PRESETS))
            raise FirnlineError(f"no preset {preset!r}", mend=f"there are {known}")
        values = PRESETS[preset].model_dump() if preset else {"context": sequence_length}
        values["vocabulary_size"] = tokenizer.vocabulary_size
        model = make(ModelConfig, merge(values, parse_settings(shape, "--model")))
    inputs: dict[str, Path | str] = {
        "tokens": tokens,
        "packing": packing.model_dump_json(),
        "infilling": infilling.model_dump_json() if infilling else "none",
    }
    held_out = None
    if (held_out_folder is None) != (config.evaluation is None):
        raise FirnlineError(
            "evaluation takes a folder and how often",
            mend="give --held-out FOLDER and --set evaluation.every_steps=100 --set "
            "evaluation.samples=64, or none of them",
        )
    if held_out_folder is not None:
        inputs["heldout"] = held_out_folder
        held_out = Samples(
            held_out_folder,
            sequence_length=sequence_length,
            seed=seed,
            phase="heldout",
            packing=packing,
            tokenizer=tokenizer,
        )
    result = stage.run(
        config,
        model,
        samples,
        out,
        inputs=inputs,
        init=init,
        tokenizer_file=tokenizer_folder / "tokenizer.json",
        held_out=held_out,
        bytes_per_token=samples.bytes_per_token,
        held_out_bytes_per_token=held_out.bytes_per_token if held_out else None,
        end_of_text=tokenizer.end_of_text,
    )
    if os.environ.get("RANK", "0") == "0":  # torchrun's, one line for all of them
        finish(result, as_json)


@app.command()
def evaluate(
    models: Annotated[
        list[str], typer.Argument(help="Checkpoints or training stages: FOLDER or NAME=FOLDER.")
    ],
    documents: Annotated[
        Path, typer.Option("--documents", help="Documents; their held-out split is used.")
    ],
    out: Out,
    tokenizer_folder: Annotated[
        Path | None, typer.Option("--tokenizer", help="Default: the first checkpoint's own.")
    ] = None,
    benchmarks: Benchmarks = None,
    seed: Seed = 0,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Measure checkpoints on benchmarks and held-out code.

    Bits per byte, held-out loss and pass@1, each with an interval.
    """
    from firnline.evaluation import stage
    from firnline.tokens.extend import check_checkpoint
    from firnline.tokens.tokenizer import Tokenizer

    folders = {name: checkpoint_folder(path) for name, path in named_folders(models).items()}
    own = tokenizer_folder or next(iter(folders.values()))
    config = configure(stage.EvaluateConfig, settings, benchmarks=benchmarks, seed=seed)
    tokenizer = Tokenizer.load(own)
    for folder in folders.values():
        check_checkpoint(folder, tokenizer)
    result = stage.run(
        config, folders, documents, tokenizer, out, tokenizer_folder=own, workers=workers
    )
    if as_json:
        finish(result, as_json)
        return
    show.print_results(json.loads((result.folder / "results.json").read_text()))


@app.command()
def average(
    checkpoints: Annotated[list[Path], typer.Argument(help="Checkpoints, oldest first.")],
    out: Out,
) -> None:
    """Write the mean of checkpoints of one model."""
    from firnline.training.checkpoint_mean import average_checkpoints

    average_checkpoints([checkpoint_folder(folder) for folder in checkpoints], out)


@app.command()
def resize(
    folder: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint folder.")],
    tokenizer_folder: TokenizerFolder,
    out: Out,
) -> None:
    """Give a model the vocabulary of a longer tokenizer.

    New rows are the mean of the old.
    """
    from firnline.model import checkpoint
    from firnline.model.vocabulary import resize_vocabulary
    from firnline.tokens.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(tokenizer_folder)
    model = checkpoint.load(checkpoint_folder(folder))
    model = resize_vocabulary(model, max(tokenizer.vocabulary_size, model.config.vocabulary_size))
    checkpoint.save(model, out, end_of_text=tokenizer.end_of_text)
    shutil.copyfile(tokenizer_folder / "tokenizer.json", out / "tokenizer.json")


@app.command()
def presets(as_json: AsJson = False) -> None:
    """List named shapes beside the published counts."""
    from firnline.model.config import parameter_count
    from firnline.model.counts import parameter_table
    from firnline.model.presets import PRESETS

    published = {row.name: row for row in parameter_table()}
    own = {name: parameter_count(shape) for name, shape in PRESETS.items()}
    counts = own | {name: row.ours for name, row in published.items()}
    if as_json:
        print(json.dumps(counts))
        return
    lines = [["name", "parameters", "published"]]
    for name, count in counts.items():
        row = published.get(name)
        theirs = row.published if row else ""
        shown = f"{theirs:,}" if isinstance(theirs, int) else theirs
        lines.append([name, f"{count:,}", shown])
    show.print_table(lines)
