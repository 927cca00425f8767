"""Whole runs: a recipe from sources to report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from firnline import show
from firnline.cli.options import (
    AsJson,
    Out,
    Set,
    Workers,
    app,
    as_answer,
)


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A packaged recipe or a YAML file.")],
    out: Out,
    settings: Set = [],
    until: Annotated[str | None, typer.Option("--until", help="Stop after this stage.")] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Run a recipe whole, up to its report.

    Stages that are done are not done again.
    """
    from firnline import pipeline
    from firnline import recipe as recipes

    loaded = recipes.load(recipe, settings)
    results = pipeline.run(loaded, out, until=until, workers=workers)
    if as_json:
        print(json.dumps({name: as_answer(result) for name, result in results.items()}))
        return
    if "evaluate" in results:
        answer = json.loads((out / "evaluate" / "results.json").read_text())
        known, phases = answer["models"], [phase.name for phase in loaded.phases]
        first = sorted(known.keys() - phases)  # what phases began with
        answer["models"] = {name: known[name] for name in (*first, *phases)}
        show.print_results(answer)
        show.stdout.print(f"Report: {out / 'report.html'}", highlight=False, soft_wrap=True)


@app.command()
def plan(
    recipe: Annotated[
        str, typer.Argument(help="A packaged recipe, a YAML file, or a folder of Documents.")
    ],
    settings: Set = [],
    device: Annotated[str, typer.Option(help="What trains: cpu, a100, h100, h200.")] = "cpu",
    devices: Annotated[int, typer.Option(min=1, help="How many of them.")] = 1,
    run_folder: Annotated[
        Path | None, typer.Option("--run", help="A run of it, for supplies and epochs.")
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Say what a recipe, or curating Documents, will cost.

    A recipe is checked whole, before anything runs.
    """
    from firnline import plan as plans
    from firnline import recipe as recipes

    folder = Path(recipe)
    if recipe not in recipes.packaged() and folder.is_dir():
        answer, print_plan = plans.plan_curation(folder, workers), show.print_curation_plan
    else:
        loaded = recipes.load(recipe, settings)
        answer = plans.plan(loaded, device, devices, workers, run_folder)
        print_plan = show.print_plan
    if as_json:
        print(json.dumps(answer))
        return
    print_plan(answer)
