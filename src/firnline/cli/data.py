"""Commands that make, judge and order Documents."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from firnline import show
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

_KINDS = (
    "archive",
    "commits",
    "directory",
    "git",
    "issues",
    "python",
    "questions",
    "table",
)
_REPOSITORIES = ("git", "commits")


def parse_source(text: str) -> dict[str, Any]:
    """A source from `KIND:PATH`; `@REVISION` and `/**` mean something where it reads git."""
    kind, _, path = text.partition(":")
    if kind not in _KINDS or not (path or kind == "python"):
        known = ", ".join(_KINDS)
        raise FirnlineError(f"no source {text!r}", mend=f"write KIND:PATH; kinds are {known}")
    if kind == "python":
        return {"kind": kind, "interpreter": path} if path else {"kind": kind}
    source: dict[str, Any] = {"kind": kind, "path": path}
    if kind in _REPOSITORIES:
        source["path"], revision = _cut_at_revision(path)
        if revision:
            source["revision"] = revision
        if source["path"].endswith("/**"):
            source |= {"path": source["path"][:-3] or "/", "many": True}
    return source


def _cut_at_revision(path: str) -> tuple[str, str]:
    """A path and its revision: an `@` belongs to the path where that is the longest that exists."""
    at = [number for number, letter in enumerate(path) if letter == "@"]
    for end in (len(path), *reversed(at)):
        if Path(path[:end].removesuffix("/**") or "/").expanduser().exists():
            return path[:end], path[end + 1 :]
    first, _, revision = path.partition("@")
    return first, revision


@app.command()
def ingest(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="`KIND:PATH`, where KIND is directory, git, archive, table, commits, issues, "
            "questions or python (`python` alone: this one). `git:PATH@REVISION` reads a revision, "
            "`git:PATH/**` every repository below."
        ),
    ],
    out: Out,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Read sources of code into Documents."""
    from firnline.corpus import stage

    given = [parse_source(text) for text in sources]
    config = configure(stage.IngestConfig, settings, sources=given)
    finish(stage.run(config, out, workers=workers), as_json)


@app.command()
def curate(
    documents: Annotated[
        Path, typer.Argument(help="A folder of Documents; with --what-if what --out was then.")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="The folder to make.")] = None,
    benchmarks: Benchmarks = None,
    against: Annotated[
        list[Path],
        typer.Option("--against", help="Documents that count as already there; may be repeated."),
    ] = [],
    what_if: Annotated[
        list[str],
        typer.Option(
            "--what-if",
            metavar="RULE=THRESHOLD",
            help="Say from the ledger what would change; also RULE=LANGUAGE:THRESHOLD, RULE=off.",
        ),
    ] = [],
    seed: Seed = 0,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Filter, deduplicate, decontaminate, redact.

    Every decision goes into the ledger.
    """
    if what_if:
        from firnline.curate import whatif

        found = whatif.replay(out or documents, *whatif.parse_changes(what_if))
        if as_json:
            print(json.dumps({**asdict(found), "table": found.table.to_pylist()}))
        else:
            show.print_replay(found)
        return
    if out is None:
        raise FirnlineError("curate without --out", mend="name the folder to make")
    from firnline.curate import stage

    config = configure(stage.CurateConfig, settings, benchmarks=benchmarks, seed=seed)
    result = stage.run(config, documents, out, against=tuple(against), workers=workers)
    finish(result, as_json)


@app.command()
def contamination(
    documents: Documents,
    out: Out,
    benchmarks: Benchmarks = None,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Measure how much of benchmarks Documents hold.

    Nothing is dropped.
    """
    from firnline.curate import exposure

    config = configure(exposure.ExposureConfig, settings, benchmarks=benchmarks)
    result = exposure.run(config, documents, out, workers=workers)
    finish(result, as_json)
    if not as_json:
        show.print_contamination(result.stats["benchmarks"])


@app.command()
def arrange(
    documents: Documents,
    out: Out,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Order the files of each repository by their imports.

    What a file imports comes before it; `pack --order` takes the order.
    """
    from firnline.curate import arrange as arranging

    config = configure(arranging.ArrangeConfig, settings)
    finish(arranging.run(config, documents, out, workers=workers), as_json)


@app.command()
def synthesize(
    documents: Documents,
    out: Out,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Write synthetic documents inspired by a corpus."""
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
    """Train a quality annotator and score Documents.

    Its alignment with the benchmarks is measured too.
    """
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
    """Take the best of each language for a token budget.

    The language mix is kept.
    """
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
