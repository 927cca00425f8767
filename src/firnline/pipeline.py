"""The pipeline: a recipe's stages in order, each a folder of the run.

Stages find their inputs by folder name; what has not changed is skipped, what was stopped goes
on (firnline.stage).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from firnline import progress
from firnline.documents import atomic_path
from firnline.errors import FirnlineError
from firnline.recipe import Phase, Recipe
from firnline.report import page
from firnline.stage import StageResult


@dataclass(frozen=True)
class Step:
    """One stage of a run: its folder's name and the call that makes it."""

    name: str
    run: Callable[[], StageResult]


def stage_names(recipe: Recipe) -> list[str]:
    """The stages that a run of the recipe goes through, in order."""
    return [step.name for step in _steps(recipe, Path(), None)]


def run(
    recipe: Recipe, out: Path, *, until: str | None = None, workers: int | None = None
) -> dict[str, StageResult]:
    """Runs the stages of a recipe in order and writes the run folder.

    `until` stops after a stage: a full name (`train-beta`) or a command's name (`train`, which
    stops after the last of them); the whole run ends with the report. The folder gets
    `recipe.yaml` first and, once there is training, `metrics.jsonl`. Stages that the recipe
    changes run again. Raises FirnlineError for an unknown stage.
    """
    names = stage_names(recipe)
    last = _last(names, until)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / "recipe.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(recipe.raw, sort_keys=False))
    results = {}
    steps = _steps(recipe, out, workers)
    for number, step in enumerate(steps[: last + 1], 1):
        progress.say(f"[{number}/{len(steps)}] {step.name}")
        results[step.name] = step.run()
    _join_metrics(recipe, out)
    if last == len(names) - 1:
        page.write(out)
    return results


def _last(names: list[str], until: str | None) -> int:
    if until is None:
        return len(names) - 1
    matching = [n for n, name in enumerate(names) if name == until or name.startswith(f"{until}-")]
    if not matching:
        raise FirnlineError(
            f"the recipe has no stage {until!r}", mend=f"its stages are {', '.join(names)}"
        )
    return matching[-1]


def _steps(recipe: Recipe, out: Path, workers: int | None) -> list[Step]:
    """Every stage of the recipe in order. Imports are here: `plan` and `--help` need no torch."""
    from firnline.corpus import stage as ingest
    from firnline.curate import arrange
    from firnline.curate import stage as curate
    from firnline.quality import stage as annotate
    from firnline.synthesis import stage as synthesize
    from firnline.tokens import pack, train

    corpus, synthetic, tokenizer = out / "curate", out / "curate-synthetic", out / "tokenizer"
    steps = [
        Step("ingest", lambda: ingest.run(recipe.ingest, out / "ingest", workers=workers)),
        Step("curate", lambda: curate.run(recipe.curate, out / "ingest", corpus, workers=workers)),
    ]
    if (made := recipe.synthesize) is not None:
        synthesized = out / "synthesize"
        steps += [
            Step("synthesize", lambda: synthesize.run(made, corpus, synthesized, workers=workers)),
            Step(
                "curate-synthetic",
                lambda: curate.run(
                    recipe.curate, synthesized, synthetic, against=(corpus,), workers=workers
                ),
            ),
        ]
    if recipe.pack.order == "dependency":
        settings = arrange.ArrangeConfig()
        pairs = (("arrange", corpus), ("arrange-synthetic", synthetic))
        for name, documents in pairs[: 1 if made is None else 2]:
            ordering = partial(arrange.run, settings, documents, out / name, workers=workers)
            steps.append(Step(name, ordering))
    steps.append(
        Step("tokenizer", lambda: train.run(recipe.tokenizer, corpus, tokenizer, workers=workers))
    )

    def packing(name: str, documents: Path, order: str = "arrange") -> Step:
        given = out / order if recipe.pack.order == "dependency" else None
        return Step(
            name,
            lambda: pack.run(
                recipe.pack, documents, tokenizer, out / name, order=given, workers=workers
            ),
        )

    steps.append(packing("pack-corpus", corpus))
    if made is not None:
        steps.append(packing("pack-synthetic", synthetic, "arrange-synthetic"))
    if (head := recipe.annotate) is not None:
        positives = (synthetic,) if made is not None else ()
        steps.append(
            Step(
                "annotate",
                lambda: annotate.run(head, corpus, positives, out / "annotate", workers=workers),
            )
        )
    for phase in recipe.phases:
        if phase.data.data != "corpus":
            steps += [
                Step(f"select-{phase.name}", partial(_select, recipe, phase, out, workers)),
                packing(
                    f"pack-{phase.name}",
                    out / f"select-{phase.name}",
                    "arrange" if phase.data.data == "selected" else "arrange-synthetic",
                ),
            ]
    for phase in recipe.phases:
        steps.append(Step(f"train-{phase.name}", partial(_train, recipe, phase, out)))
    steps.append(Step("evaluate", partial(_evaluate, recipe, out, workers)))
    return steps


def tokens_folder(phase: Phase, out: Path) -> Path:
    """The token folder that a phase of a run reads."""
    return out / ("pack-corpus" if phase.data.data == "corpus" else f"pack-{phase.name}")


def _select(recipe: Recipe, phase: Phase, out: Path, workers: int | None) -> StageResult:
    from firnline.quality import select

    selected = phase.data.data == "selected"
    config = select.SelectConfig(
        seed=recipe.seed,
        tokens=math.ceil(phase.training.tokens / phase.data.repeat),
        language_share=phase.data.language_share,
        order="score" if selected else "random",
    )
    return select.run(
        config,
        out / ("curate" if selected else "curate-synthetic"),
        out / ("pack-corpus" if selected else "pack-synthetic"),
        out / "annotate" if selected else None,
        out / f"select-{phase.name}",
        workers=workers,
    )


def _train(recipe: Recipe, phase: Phase, out: Path) -> StageResult:
    from firnline.tokens.samples import Samples, check
    from firnline.tokens.tokenizer import Tokenizer
    from firnline.training import stage

    folder = tokens_folder(phase, out)
    check(folder, Tokenizer.load(out / "tokenizer"))
    init = out / f"train-{phase.data.init}" if phase.data.init else None
    return stage.run(
        phase.training,
        recipe.model,
        Samples(
            folder,
            sequence_length=phase.training.sequence_length,
            seed=recipe.seed,
            phase=phase.name,
        ),
        out / f"train-{phase.name}",
        inputs={"tokens": folder},
        init=init,
        tokenizer_file=out / "tokenizer" / "tokenizer.json",
    )


def _evaluate(recipe: Recipe, out: Path, workers: int | None) -> StageResult:
    from firnline.evaluation import stage
    from firnline.tokens.tokenizer import Tokenizer

    return stage.run(
        recipe.evaluate,
        {phase.name: out / f"train-{phase.name}" / "checkpoint" for phase in recipe.phases},
        out / "curate",
        Tokenizer.load(out / "tokenizer"),
        out / "evaluate",
        tokenizer_folder=out / "tokenizer",
        workers=workers,
    )


def _join_metrics(recipe: Recipe, out: Path) -> None:
    """`metrics.jsonl` of the run: the rows of every phase, each with the phase's name."""
    rows = []
    for phase in recipe.phases:
        path = out / f"train-{phase.name}" / "metrics.jsonl"
        if path.is_file():
            for line in path.read_text().splitlines():
                rows.append(json.dumps({"phase": phase.name, **json.loads(line)}))
    if rows:
        with atomic_path(out / "metrics.jsonl") as temporary:
            temporary.write_text("\n".join(rows) + "\n")
