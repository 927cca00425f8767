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
