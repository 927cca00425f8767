"""Commands that make, judge and order Documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from firnline.cli.options import (
    AsJson,
    Benchmarks,
    Documents,
    Out,
    Seed,
    Set,
    Workers,
    app,
    configure,
    finish,
)
from firnline.errors import FirnlineError
from firnline.settings import parse_settings


def parse_source(text: str) -> dict[str, str]:
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

    config = configure(
        stage.IngestConfig, settings, sources=[parse_source(text) for text in sources]
    )
    finish(stage.run(config, out, workers=workers), as_json)


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

    config = configure(stage.CurateConfig, settings, benchmarks=benchmarks, seed=seed)
    result = stage.run(config, documents, out, against=tuple(against), workers=workers)
    finish(result, as_json)


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

    config = configure(stage.SynthesisConfig, settings)
    finish(stage.run(config, documents, out, workers=workers), as_json)


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

    config = configure(stage.AnnotateConfig, settings, benchmarks=benchmarks, seed=seed)
    finish(stage.run(config, documents, tuple(positives), out, workers=workers), as_json)


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

    config = configure(
        selection.SelectConfig,
        settings,
        tokens=budget,
        order="random" if scores is None else "score",
        language_share=parse_settings(share, "--share"),
        seed=seed,
    )
    finish(selection.run(config, documents, tokens, scores, out, workers=workers), as_json)
