"""The command line. Each command calls the function of the same name in the room that does it."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from firnline import __version__, show
from firnline.errors import FirnlineError
from firnline.settings import make, merge, parse_settings, read_count
from firnline.stage import StageResult

app = typer.Typer(
    name="firnline",
    help="Turns raw code into a code language model whose data can be justified.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Out = Annotated[Path, typer.Option("--out", help="The folder to make.")]
Set = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; may be repeated."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes; default: one for each core.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The seed of everything random.")]
Documents = Annotated[Path, typer.Argument(help="A folder of Documents.")]
Benchmarks = Annotated[
    list[str] | None, typer.Option("--benchmark", help="`basics`, or NAME=PATH; may be repeated.")
]
TokenizerFolder = Annotated[Path, typer.Option("--tokenizer", help="A tokenizer folder.")]

# What the file system refuses wherever a path is given.
_MENDABLE = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
_STOPPED = 130  # what typer makes of Ctrl-C


def main() -> None:
    """The program `firnline`."""
    if status := command_line():
        sys.stdout.flush()
        sys.stderr.flush()
        # The engine may be at work still: its threads abort where Python is torn down under them.
        os._exit(status)


def command_line() -> int:
    """Does what `sys.argv` says and returns the exit status.

    What the user can mend is one line and status 1. Anything else is a fault of ours and is
    raised.
    """
    try:
        app()
    except FirnlineError as error:
        print(f"firnline: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in _MENDABLE:
            raise
        place = f": {error.filename}" if error.filename else ""
        print(f"firnline: {error.strerror}{place}", file=sys.stderr)
        return 1
    except SystemExit as end:
        if end.code == _STOPPED:
            print("firnline: stopped; run the same command again to go on", file=sys.stderr)
        return end.code if isinstance(end.code, int) else 0
    return 0


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A packaged recipe or a YAML file.")],
    out: Out,
    settings: Set = [],
    until: Annotated[str | None, typer.Option("--until", help="Stop after this stage.")] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Run a recipe: every stage that is not done yet, then the report."""
    from firnline import pipeline
    from firnline import recipe as recipes

    loaded = recipes.load(recipe, settings)
    results = pipeline.run(loaded, out, until=until, workers=workers)
    if as_json:
        print(json.dumps({name: _answer(result) for name, result in results.items()}))
        return
    if "evaluate" in results:
        answer = json.loads((out / "evaluate" / "results.json").read_text())
        answer["models"] = {phase.name: answer["models"][phase.name] for phase in loaded.phases}
        show.print_results(answer)
        show.stdout.print(f"Report: {out / 'report.html'}", highlight=False, soft_wrap=True)


@app.command()
def plan(
    recipe: Annotated[str, typer.Argument(help="A packaged recipe or a YAML file.")],
    settings: Set = [],
    device: Annotated[str, typer.Option(help="What trains: cpu, a100, h100, h200.")] = "cpu",
    devices: Annotated[int, typer.Option(min=1, help="How many of them.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Check a recipe whole and say what it will cost, before anything runs."""
    from firnline import plan as plans
    from firnline import recipe as recipes

    answer = plans.plan(recipes.load(recipe, settings), device, devices)
    if as_json:
        print(json.dumps(answer))
        return
    show.print_plan(answer)


@app.command()
def ingest(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="`directory:PATH`, `git:PATH`, `git:PATH@REVISION`, `python` (`python:PATH`)."
        ),
    ],
    out: Out,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Read sources of code into Documents."""
    from firnline.corpus import stage

    config = _config(stage.IngestConfig, settings, sources=[_source(text) for text in sources])
    _finish(stage.run(config, out, workers=workers), as_json)


@app.command()
def curate(
    documents: Documents,
    out: Out,
    benchmarks: Benchmarks = None,
    against: Annotated[
        list[Path],
        typer.Option("--against", help="Documents that count as already there; may be repeated."),
    ] = [],
    seed: Seed = 0,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Filter, remove duplicates, decontaminate; every decision goes into the ledger."""
    from firnline.curate import stage

    config = _config(stage.CurateConfig, settings, benchmarks=benchmarks, seed=seed)
    result = stage.run(config, documents, out, against=tuple(against), workers=workers)
    _finish(result, as_json)


@app.command()
def synthesize(
    documents: Documents,
    out: Out,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Write synthetic documents, each inspired by a document of the corpus."""
    from firnline.synthesis import stage

    config = _config(stage.SynthesisConfig, settings)
    _finish(stage.run(config, documents, out, workers=workers), as_json)


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

    config = _config(train.TokenizerConfig, settings, vocabulary_size=vocabulary_size, seed=seed)
    _finish(train.run(config, documents, out, workers=workers), as_json)


@app.command()
def pack(
    documents: Documents,
    tokenizer_folder: TokenizerFolder,
    out: Out,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Encode Documents into token shards."""
    from firnline.tokens import pack as packing

    config = _config(packing.PackConfig, settings)
    _finish(packing.run(config, documents, tokenizer_folder, out, workers=workers), as_json)


@app.command()
def annotate(
    documents: Documents,
    out: Out,
    positives: Annotated[
        list[Path], typer.Option("--positives", help="Documents of high quality; may be repeated.")
    ],
    benchmarks: Benchmarks = None,
    seed: Seed = 0,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Train a quality annotator on the spot, score Documents, measure its alignment."""
    from firnline.quality import stage

    config = _config(stage.AnnotateConfig, settings, benchmarks=benchmarks, seed=seed)
    _finish(stage.run(config, documents, tuple(positives), out, workers=workers), as_json)


@app.command()
def select(
    documents: Documents,
    tokens: Annotated[Path, typer.Option("--tokens", help="The token folder of the Documents.")],
    out: Out,
    budget: Annotated[str, typer.Option(help="Tokens to select, such as 12.5B.")],
    scores: Annotated[
        Path | None, typer.Option("--scores", help="An annotate folder; none: random order.")
    ] = None,
    share: Annotated[
        list[str],
        typer.Option("--share", metavar="LANGUAGE=SHARE", help="Share of one language's tokens."),
    ] = [],
    seed: Seed = 0,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Take the best of each language until the token budget is met, the language mix kept."""
    from firnline.quality import select as selection

    config = _config(
        selection.SelectConfig,
        settings,
        tokens=budget,
        order="random" if scores is None else "score",
        language_share=parse_settings(share, "--share"),
        seed=seed,
    )
    _finish(selection.run(config, documents, tokens, scores, out, workers=workers), as_json)


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
        model = checkpoint.read_config(_checkpoint(init))
    else:
        if preset is not None and preset not in PRESETS:
            known = ", ".join(sorted(PRESETS))
            raise FirnlineError(f"no preset {preset!r}", mend=f"there are {known}")
        values = PRESETS[preset].model_dump() if preset else {"context": sequence_length}
        values["vocabulary_size"] = samples.vocabulary_size
        model = make(ModelConfig, merge(values, parse_settings(shape, "--model")))
    curve = {"kind": schedule, "peak": peak, "floor": floor, "warmup_steps": warmup_steps}
    config = _config(
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
    _finish(result, as_json)


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
        folders[name] = _checkpoint(folder)
    own = tokenizer_folder or next(iter(folders.values()))
    config = _config(stage.EvaluateConfig, settings, benchmarks=benchmarks, seed=seed)
    result = stage.run(
        config, folders, documents, Tokenizer.load(own), out, tokenizer_folder=own, workers=workers
    )
    if as_json:
        _finish(result, as_json)
        return
    show.print_results(json.loads((result.folder / "results.json").read_text()))


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
) -> None:
    """Write RUN/report.html: one file that opens without a network."""
    from firnline.report import page

    show.stdout.print(str(page.write(run_folder)), highlight=False, soft_wrap=True)


@app.command()
def why(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    wanted: Annotated[str, typer.Argument(metavar="PATH_OR_ID", help="A path, its end, or an id.")],
    as_json: AsJson = False,
) -> None:
    """Explain one document: every rule it met, with the value measured, and when it trained."""
    from firnline.why import why as explain

    found = explain(run_folder, wanted)
    if as_json:
        print(json.dumps(found))
        return
    for document in found:
        show.print_document(document)


def _checkpoint(folder: Path) -> Path:
    """The checkpoint folder that a path means: itself, or the one inside a training stage."""
    inside = folder / "checkpoint"
    return inside if inside.is_dir() else folder


def _config(kind: type[BaseModel], settings: list[str], **given: Any) -> Any:
    """A config from a command's options; one that was not given (None) keeps its default."""
    values = {name: value for name, value in given.items() if value is not None}
    return make(kind, merge(values, parse_settings(settings)))


def _source(text: str) -> dict[str, str]:
    kind, _, rest = text.partition(":")
    if kind == "python":
        return {"kind": kind, "interpreter": rest} if rest else {"kind": kind}
    if kind == "git" and rest:
        path, _, revision = rest.partition("@")
        return {"kind": kind, "path": path, **({"revision": revision} if revision else {})}
    if kind == "directory" and rest:
        return {"kind": kind, "path": rest}
    raise FirnlineError(
        f"no source {text!r}", mend="write directory:PATH, git:PATH[@REVISION] or python"
    )


def _finish(result: StageResult, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_answer(result)))
        return
    for name, value in result.stats.items():
        if isinstance(value, int | float | str):
            shown = f"{value:,}" if isinstance(value, int) else str(value)
            show.stdout.print(f"{name:<20} {shown}", highlight=False)
    show.stdout.print(f"{'folder':<20} {result.folder}", highlight=False, soft_wrap=True)


def _answer(result: StageResult) -> dict[str, Any]:
    """What `--json` says of a stage."""
    return {"folder": str(result.folder), "skipped": result.skipped, "stats": result.stats}
