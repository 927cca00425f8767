"""Phases of encoder and encoder-decoder models in a run: what they read, train and measure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from firnline.errors import FirnlineError
from firnline.inputs import PhaseInputs, PhaseRecord, init_checkpoint, phase_inputs, tails
from firnline.measure import MeasureConfig, Opened
from firnline.measure import run as run_measure
from firnline.phases import Phase, checkpoint_folder, with_identifiers
from firnline.recipe import Recipe
from firnline.stage import StageResult
from firnline.tokens.mixture import SourceConfig
from firnline.tokens.tokenizer import Tokenizer
from firnline.training.objectives.config import (
    ObjectiveConfig,
    Reads,
)
from firnline.training.objectives.shapes import ModelShape

if TYPE_CHECKING:
    from firnline.training.objectives.build import Sources
    from firnline.training.objectives.objective import Setup

# What imports torch is imported where it is used, so that a recipe can be read without it.

HELD_OUT = "heldout"


def read_by(recipe: Recipe, *what: Reads) -> list[str]:
    """How the names of the folders end that objectives of the recipe read for one of these:
    `corpus`, `synthetic`, a phase's name, and `heldout`."""
    found: dict[str, None] = {}
    for phase in recipe.phases:
        if phase.objective is not None and phase.objective.reading(*what):
            found |= dict.fromkeys(tails(phase))
    return [*found, HELD_OUT] if found else []


def train(recipe: Recipe, phase: Phase, out: Path) -> tuple[StageResult, PhaseInputs]:
    """Trains a phase of objectives in the run `out`."""
    from firnline.training.loop import About
    from firnline.training.objectives import stage
    from firnline.training.objectives.build import build_task
    from firnline.training.objectives.mixture import EveryObjective
    from firnline.training.stage import optimizer_of

    assert phase.objective is not None
    given, config = phase_inputs(phase, out), phase.training
    given.check_pairs()
    share = given.record.token_share
    tokenizer = Tokenizer.load(out / "tokenizer")
    folder = init_checkpoint(phase, out, tokenizer)
    build = partial(
        build_task,
        phase.objective,
        sequence_length=config.sequence_length,
        block=config.batch_sequences,
    )
    setup = _setup(recipe, tokenizer, phase.name, folder)
    inputs, held_out = given.manifest(), None
    if config.evaluation is not None:
        unseen = held_out_inputs(recipe, phase, out)
        inputs |= {f"heldout {name}".strip(): path for name, path in unseen.folders.items()}
        held_out = EveryObjective(
            build(_setup(recipe, tokenizer, HELD_OUT, folder), _sources(unseen))
        )
    result = stage.run(
        config,
        build(setup, _sources(given)),
        out / f"train-{phase.name}",
        inputs=inputs,
        tokenizer_file=out / "tokenizer" / "tokenizer.json",
        held_out=held_out,
        optimizer_from=optimizer_of(config, folder),
        about=About(
            epochs=lambda n: {name: share * e for name, e in given.samples.epochs(n).items()}
        )
        if share
        else None,
    )
    return result, given


def held_out_inputs(recipe: Recipe, phase: Phase, out: Path) -> PhaseInputs:
    """Held-out samples as the phase's, the same for every phase."""
    source = SourceConfig(share=1, max_epochs=math.inf)
    if read_by(recipe, "labels"):
        source = with_identifiers(source)
    return PhaseInputs(
        config=phase.training,
        record=PhaseRecord(sources={HELD_OUT: source}, packing=phase.packing, infilling=None),
        run=out,
        tokens=_folders(recipe, out, "pack", "tokens", "labels"),
        labels=_folders(recipe, out, "identifiers", "labels"),
        pairs=_folders(recipe, out, "pairs", "pairs").get(HELD_OUT),
        name=HELD_OUT,
    )


def _folders(recipe: Recipe, out: Path, stage: str, *what: Reads) -> dict[str, Path]:
    return {HELD_OUT: out / f"{stage}-{HELD_OUT}"} if read_by(recipe, *what) else {}


def measure(recipe: Recipe, out: Path) -> StageResult:
    """The evaluate stage: every objective of the recipe, of every phase's last weights and of those
    that the first began with."""
    assert isinstance(recipe.evaluate, MeasureConfig)
    wanted = _measured(recipe)
    models: dict[str, Path | None] = {}
    for phase in recipe.phases:
        init = phase.data.init
        folder = checkpoint_folder(init) if init is not None else None
        if (init is None or folder is not None) and folder not in models.values():
            models[f"before {phase.name}"] = folder
    for phase in recipe.phases:
        models[phase.name] = out / f"train-{phase.name}" / "checkpoint"
    inputs: dict[str, Path | str] = {
        "objectives": json.dumps(
            {
                name: [phase.training.sequence_length, one.model_dump()]
                for name, (phase, one) in wanted.items()
            }
        ),
        "tokenizer": out / "tokenizer",
    }
    for phase, _ in wanted.values():
        folders = held_out_inputs(recipe, phase, out).folders
        inputs |= {f"heldout {name}": path for name, path in folders.items()}
    return run_measure(
        recipe.evaluate,
        models,
        partial(_open_held_out, recipe, out),
        out / "evaluate",
        inputs=inputs,
    )


def _measured(recipe: Recipe) -> Mapping[str, tuple[Phase, ObjectiveConfig]]:
    """Each objective as the last phase has it that has it."""
    return {
        name: (phase, one)
        for phase in recipe.phases
        for name, one in (phase.objective.used if phase.objective else {}).items()
    }


def _open_held_out(recipe: Recipe, out: Path, init: Path | None) -> Opened:
    from firnline.training.objectives.build import build_objective

    setup = _setup(recipe, Tokenizer.load(out / "tokenizer"), HELD_OUT, init)
    opened = {}
    for name, (phase, one) in _measured(recipe).items():
        given = held_out_inputs(recipe, phase, out)
        length = phase.training.sequence_length
        units = given.units(one)
        if units < 1:
            raise FirnlineError(
                f"held-out documents hold not one sample of {name}",
                mend="raise curate.heldout_share",
            )
        objective = build_objective(one, setup, _sources(given), length)
        opened[name] = (objective, units, one.unit)
    return opened


def _setup(recipe: Recipe, tokenizer: Tokenizer, phase: str, init: Path | None) -> Setup:
    from firnline.training.objectives.objective import Setup
    from firnline.training.objectives.vocabulary import Vocabulary

    assert isinstance(recipe.model, ModelShape)
    vocabulary = Vocabulary.of(
        tokenizer.token_bytes,
        special=tokenizer.special.values(),
        end=tokenizer.end_of_text,
        sentinels=recipe.model.sentinels,
    )
    return Setup(recipe.model, vocabulary, recipe.seed, phase, init)


def _sources(given: PhaseInputs) -> Sources:
    from firnline.training.objectives.build import Sources

    return Sources(
        tokens=lambda: given.samples,
        labels=lambda: given.label_samples,
        pairs=given.open_pairs,
    )
