"""Commands for tokens, training and evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from firnline import show
from firnline.cli.options import (
    AsJson,
    Benchmarks,
    Documents,
    Out,
    Seed,
    Set,
    TokenizerFolder,
    Workers,
    app,
    checkpoint_folder,
    configure,
    finish,
)
from firnline.errors import FirnlineError
from firnline.settings import make, merge, parse_settings, read_count


@app.command()
def tokenizer(
    documents: Documents,
    out: Out,
    vocabulary_size: Annotated[int, typer.Option(min=1, help="Entries, specials included.")],
    seed: Seed = 0,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Train a byte-level BPE tokenizer on Documents."""
    from firnline.tokens import train

    config = configure(train.TokenizerConfig, settings, vocabulary_size=vocabulary_size, seed=seed)
    finish(train.run(config, documents, out, workers=workers), as_json)


@app.command()
def pack(
    documents: Documents,
    tokenizer_folder: TokenizerFolder,
    out: Out,
    order: Annotated[
        Path | None, typer.Option(help="An arrange folder; its order is then `dependency`.")
    ] = None,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Encode Documents into token shards."""
    from firnline.tokens import pack as packing

    given = "dependency" if order is not None else None
    config = configure(packing.PackConfig, settings, order=given)
    result = packing.run(config, documents, tokenizer_folder, out, order=order, workers=workers)
    finish(result, as_json)


@app.command()
def train(
    tokens: Annotated[Path, typer.Argument(help="A token folder.")],
    tokenizer_folder: TokenizerFolder,
    out: Out,
    budget: Annotated[str, typer.Option(help="Tokens to train on, such as 500B.")],
    sequence_length: Annotated[int, typer.Option(min=1, help="Tokens a sample predicts.")],
    batch_sequences: Annotated[int, typer.Option(min=1, help="Samples for one step.")],
    peak: Annotated[float, typer.Option(help="Highest learning rate.")],
    schedule: Annotated[str, typer.Option(help="cosine, linear or constant.")] = "cosine",
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
    settings: Set = [],
    as_json: AsJson = False,
) -> None:
    """Train one phase on a token folder, from nothing or from a checkpoint."""
    from firnline.model import checkpoint
    from firnline.model.config import ModelConfig
    from firnline.model.presets import PRESETS
    from firnline.tokens.samples import Samples, check
    from firnline.tokens.tokenizer import Tokenizer
    from firnline.training import stage
    from firnline.training.phase import PhaseConfig

    check(tokens, Tokenizer.load(tokenizer_folder))
    samples = Samples(tokens, sequence_length=sequence_length, seed=seed, phase=name)
    if init is not None:
        if preset or shape:
            raise FirnlineError("--init and a shape", mend="leave out --preset and --model")
        model = checkpoint.read_config(checkpoint_folder(init))
    else:
        if preset is not None and preset not in PRESETS:
            known = ", ".join(sorted(PRESETS))
            raise FirnlineError(f"no preset {preset!r}", mend=f"there are {known}")
        values = PRESETS[preset].model_dump() if preset else {"context": sequence_length}
        values["vocabulary_size"] = samples.vocabulary_size
        model = make(ModelConfig, merge(values, parse_settings(shape, "--model")))
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
    result = stage.run(
        config,
        model,
        samples,
        out,
        inputs={"tokens": tokens},
        init=init,
        tokenizer_file=tokenizer_folder / "tokenizer.json",
    )
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
    """Measure checkpoints: bits per byte, held-out loss, pass@1, each with an interval."""
    from firnline.evaluation import stage
    from firnline.tokens.tokenizer import Tokenizer

    folders: dict[str, Path] = {}
    for text in models:
        name, equals, path = text.partition("=")
        folder = Path(path if equals else text)
        name = name if equals else folder.name
        if name in folders:
            raise FirnlineError(f"two models are called {name!r}", mend="write NAME=FOLDER")
        folders[name] = checkpoint_folder(folder)
    own = tokenizer_folder or next(iter(folders.values()))
    config = configure(stage.EvaluateConfig, settings, benchmarks=benchmarks, seed=seed)
    result = stage.run(
        config, folders, documents, Tokenizer.load(own), out, tokenizer_folder=own, workers=workers
    )
    if as_json:
        finish(result, as_json)
        return
    show.print_results(json.loads((result.folder / "results.json").read_text()))
