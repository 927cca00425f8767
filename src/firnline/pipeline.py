"""The pipeline: a recipe's stages in order, each a folder of the run.

Stages find their inputs by folder name; what has not changed is skipped, what was stopped goes
on (firnline.stage).
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from firnline import objective_phases, progress
from firnline.documents import atomic_path, write_json
from firnline.errors import FirnlineError
from firnline.inputs import PhaseInputs, init_checkpoint, phase_inputs
from firnline.measure import MeasureConfig
from firnline.model.config import ModelConfig
from firnline.phases import Phase, Selection
from firnline.recipe import Recipe
from firnline.report import page
from firnline.stage import StageResult, Stats, Workspace, run_stage
from firnline.tokens.import_tokenizer import describe
from firnline.tokens.pack import PackConfig
from firnline.tokens.samples import Samples
from firnline.tokens.tokenizer import Tokenizer
from firnline.tokens.train import TokenizerConfig

EPOCHS = "epochs.json"
HELD_OUT = "pack-heldout"


@dataclass(frozen=True)
class Step:
    """One stage of a run: its folder's name and the call that makes it."""

    name: str
    run: Callable[[], StageResult]
    trains: bool = False
    """Whether all ranks run it together."""


def stage_names(recipe: Recipe) -> list[str]:
    """The stages that a run of the recipe goes through, in order."""
    return [step.name for step in _steps(recipe, Path(), None)]


def run(
    recipe: Recipe, out: Path, *, until: str | None = None, workers: int | None = None
) -> dict[str, StageResult]:
    """Runs the stages of a recipe in order and writes the run folder.

    `until` stops after a stage: a full name (`train-beta`) or a command's name (`train`, which
    stops after the last of them); the whole run ends with the report. The folder gets
    `recipe.yaml` first and, once there is training, `metrics.jsonl` and `epochs.json` (for each
    phase the table of `Mixture.table`). Stages that the recipe changes run again.

    Under `torchrun` every rank makes the call: they train together, and the first does all else.
    What comes before training must have run without it, since ranks do not wait for it for long.
    Raises FirnlineError for an unknown stage, and under `torchrun` for one that has not run.
    """
    names = stage_names(recipe)
    last = _last(names, until)
    steps = _steps(recipe, out, workers)
    first = _is_first_rank()
    if any(step.trains for step in steps[: last + 1]):
        _check_installed(recipe)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        _check_made(steps, out)
    out.mkdir(parents=True, exist_ok=True)
    if first:
        with atomic_path(out / "recipe.yaml") as temporary:
            temporary.write_text(yaml.safe_dump(recipe.raw, sort_keys=False))
    results = {}
    for number, step in enumerate(steps[: last + 1], 1):
        if first or step.trains:
            progress.say(f"[{number}/{len(steps)}] {step.name}")
            results[step.name] = step.run()
    if not first:
        return results
    _join_metrics(recipe, out)
    if last == len(names) - 1:
        page.write(out)
    return results


def _check_installed(recipe: Recipe) -> None:
    """Refuses, before hours of curation, to train without the packages that training needs."""
    needed = {"torch": "train"}
    if not isinstance(recipe.model, ModelConfig):
        needed["transformers"] = "hf"
    for package, extra in needed.items():
        if not importlib.util.find_spec(package):
            raise FirnlineError(
                f"training needs the package {package}",
                mend=f"pip install 'firnline[{extra}]', or stop before it with --until pack",
            )


def _check_made(steps: list[Step], out: Path) -> None:
    """Refuses to train on many ranks where a stage that comes before is not there."""
    before = next(n for n, step in enumerate(steps) if step.trains)
    for step in steps[:before]:
        if not (out / step.name / "manifest.json").is_file():
            raise FirnlineError(
                f"{out} has no {step.name}, which every rank would wait for",
                mend=f"first run without torchrun, with --until {steps[before - 1].name}",
            )


def _is_first_rank() -> bool:
    return os.environ.get("RANK", "0") == "0"  # torchrun sets it


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
    from firnline.tokens import identifiers, pack, pairs

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
        arranged = (("arrange", corpus), ("arrange-synthetic", synthetic))
        for name, folder in arranged[: 1 if made is None else 2]:
            ordering = partial(arrange.run, settings, folder, out / name, workers=workers)
            steps.append(Step(name, ordering))
    steps.append(Step("tokenizer", partial(_tokenizer, recipe, corpus, tokenizer, workers)))

    def packing(
        name: str, documents: Path, order: str = "arrange", config: PackConfig = recipe.pack
    ) -> Step:
        given = out / order if config.order == "dependency" else None
        return Step(
            name,
            lambda: pack.run(
                config, documents, tokenizer, out / name, order=given, workers=workers
            ),
        )

    steps.append(packing("pack-corpus", corpus))
    if objective_phases.read_by(recipe, "tokens", "labels") or any(
        phase.training.evaluation for phase in recipe.phases if phase.objective is None
    ):
        unseen = recipe.pack.model_copy(update={"splits": ("heldout",)})
        steps.append(packing(HELD_OUT, corpus, config=unseen))
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
        if (choice := phase.selection) is not None:
            steps += [
                Step(
                    f"select-{phase.name}",
                    partial(
                        _select, recipe.seed, choice, out, out / f"select-{phase.name}", workers
                    ),
                ),
                packing(
                    f"pack-{phase.name}",
                    out / f"select-{phase.name}",
                    "arrange" if choice.data == "selected" else "arrange-synthetic",
                ),
            ]
    documents = {
        "synthetic": synthetic,
        **{p.name: out / f"select-{p.name}" for p in recipe.phases},
    }
    for end in objective_phases.read_by(recipe, "labels"):
        given = (documents.get(end, corpus), tokenizer, out / f"pack-{end}")
        name = f"identifiers-{end}"
        labelling = partial(identifiers.run, identifiers.IdentifiersConfig(), *given, out / name)
        steps.append(Step(name, partial(labelling, workers=workers)))
    for end in objective_phases.read_by(recipe, "pairs"):
        splits = pairs.PairsConfig(splits=("heldout" if end == "heldout" else "train",))
        name = f"pairs-{end}"
        pairing = partial(pairs.run, splits, documents.get(end, corpus), tokenizer, out / name)
        steps.append(Step(name, partial(pairing, workers=workers)))
    for phase in recipe.phases:
        steps.append(Step(f"train-{phase.name}", partial(_train, recipe, phase, out), trains=True))
    steps.append(Step("evaluate", partial(_evaluate, recipe, out, workers)))
    return steps


def _tokenizer(recipe: Recipe, corpus: Path, out: Path, workers: int | None) -> StageResult:
    """Trains the tokenizer, or takes over the one that the recipe names."""
    from firnline.tokens import train

    config = recipe.tokenizer
    if isinstance(config, TokenizerConfig):
        return train.run(config, corpus, out, workers=workers)
    source = config.folder.expanduser() / "tokenizer.json"

    def body(workspace: Workspace) -> Stats:
        shutil.copyfile(source, workspace.folder / source.name)
        return describe(Tokenizer.load(workspace.folder))

    return run_stage("tokenizer", config, {"tokenizer": source}, out, body, room="tokens")


def _select(seed: int, choice: Selection, run: Path, out: Path, workers: int | None) -> StageResult:
    from firnline.quality import select

    best = choice.data == "selected"
    config = select.SelectConfig(
        seed=seed,
        tokens=choice.tokens,
        language_share=dict(choice.language_share),
        order="score" if best else "random",
    )
    return select.run(
        config,
        run / ("curate" if best else "curate-synthetic"),
        run / ("pack-corpus" if best else "pack-synthetic"),
        run / "annotate" if best else None,
        out,
        workers=workers,
    )


def _train(recipe: Recipe, phase: Phase, out: Path) -> StageResult:
    if phase.objective is None:
        result, given = _train_next_token(recipe, phase, out)
    else:
        result, given = objective_phases.train(recipe, phase, out)
    if _is_first_rank():
        _write_epochs(given, out / EPOCHS)
    return result


def _train_next_token(recipe: Recipe, phase: Phase, out: Path) -> tuple[StageResult, PhaseInputs]:
    from firnline.training import stage

    assert isinstance(recipe.model, ModelConfig)
    given = phase_inputs(phase, out)
    samples = given.samples
    tokenizer = Tokenizer.load(out / "tokenizer")
    inputs = given.manifest()
    held_out = None
    if phase.training.evaluation is not None:
        inputs["heldout"] = out / HELD_OUT
        held_out = Samples(
            out / HELD_OUT,
            sequence_length=phase.training.sequence_length,
            seed=recipe.seed,
            phase="heldout",  # the same samples for every phase
            packing=phase.packing,
        )
    result = stage.run(
        phase.training,
        recipe.model,
        samples,
        out / f"train-{phase.name}",
        inputs=inputs,
        init=init_checkpoint(phase, out, tokenizer),
        tokenizer_file=out / "tokenizer" / "tokenizer.json",
        held_out=held_out,
        bytes_per_token=samples.bytes_per_token,
        held_out_bytes_per_token=held_out.bytes_per_token if held_out else None,
        end_of_text=tokenizer.end_of_text,
    )
    return result, given


def _write_epochs(given: PhaseInputs, path: Path) -> None:
    """Adds the phase's table of shares and epochs to `epochs.json` of the run."""
    tables = json.loads(path.read_text()) if path.is_file() else {}
    name, table = given.config.name, given.table()
    if tables.get(name) != table:
        write_json(path, {**tables, name: table})


def _evaluate(recipe: Recipe, out: Path, workers: int | None) -> StageResult:
    from firnline.evaluation import stage

    if isinstance(recipe.evaluate, MeasureConfig):
        return objective_phases.measure(recipe, out)
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
