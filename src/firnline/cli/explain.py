"""Commands that explain a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from firnline import show
from firnline.cli.options import (
    AsJson,
    app,
)
from firnline.errors import FirnlineError


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
) -> None:
    """Write RUN/report.html from whatever is finished.

    It is one file that opens without a network.
    """
    from firnline.report import page

    show.stdout.print(str(page.write(run_folder)), highlight=False, soft_wrap=True)


@app.command()
def why(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    wanted: Annotated[
        str | None, typer.Argument(metavar="PATH_OR_ID", help="A path, its end, or an id.")
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=1, help="What this optimizer step of --phase saw.")
    ] = None,
    phase: Annotated[str | None, typer.Option(help="The phase of --step.")] = None,
    as_json: AsJson = False,
) -> None:
    """Explain a document, or what a training step saw.

    Of a document: every rule it met, and when it trained.
    """
    from firnline import why as explain

    if (wanted is None) == (step is None) or (step is None) != (phase is None):
        raise FirnlineError(
            "nothing to explain, or two things at once",
            mend="give a path or an id, or --phase NAME --step N",
        )
    if step is not None and phase is not None:
        rows = explain.step(run_folder, phase, step)
        if as_json:
            print(json.dumps(rows))
        else:
            show.print_step(rows)
        return
    found = explain.why(run_folder, str(wanted))
    if as_json:
        print(json.dumps(found))
        return
    for document in found:
        show.print_document(document)
