"""The evaluate stage of encoders and encoder-decoders: each objective on held-out samples.

Every model of a run, and what its first phases began with, is measured on the same samples, with
intervals. Where models learn which code belongs to which text, it is also told how often they find
it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from firnline.documents import write_json
from firnline.evaluation import intervals
from firnline.stage import StageResult, Stats, Workspace, run_stage

if TYPE_CHECKING:
    from firnline.training.objectives.objective import Objective

# What imports torch is imported where it is used, so that a recipe can be read without it.

Opened = Mapping[str, tuple["Objective", int, int]]
"""By name: a held-out objective, how many units there are, and how many samples make a unit."""


class MeasureConfig(BaseModel):
    """What is measured of encoders and encoder-decoders, and on how much."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    seed: int = 0
    """Seed of the bootstrap."""
    samples: int = Field(default=128, ge=2)
    """Held-out samples of each objective (of pairs: groups), or all there are if fewer."""
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs of models, (A, B): the results give A - B with an interval."""


def run(
    config: MeasureConfig,
    models: Mapping[str, Path | None],
    opened: Callable[[Path | None], Opened],
    out: Path,
    *,
    inputs: Mapping[str, Path | str],
) -> StageResult:
    """Measures checkpoints, each by its name, and writes `results.json`.

    A model without a checkpoint has the weights that the seed gives. `opened` gives the held-out
    objectives around a checkpoint's model, `inputs` names what they read. A model that is measured
    is not measured again after a kill.
    """
    marks = {f"model {name}": path or "seed" for name, path in models.items()}

    def body(workspace: Workspace) -> Stats:
        items = {name.replace(" ", "-"): path for name, path in models.items()}
        work = partial(_measure, config, opened)
        scores = workspace.map("models", work, items, unit="models")
        by_name = dict(zip(models, scores.values(), strict=True))
        write_json(workspace.folder / "results.json", results(config, by_name))
        some = next(iter(scores.values()))
        return {"models": list(models), "units": {name: len(rows) for name, rows in some.items()}}

    given = {**inputs, **marks}
    return run_stage("evaluate", config, given, out, body, room="measure.py", workers=1)


def _measure(
    config: MeasureConfig, opened: Callable[[Path | None], Opened], init: Path | None
) -> Stats:
    """For each objective a row for each unit: nats and targets, and of pairs how many of them were
    found by their text, by their code, and how many there are."""
    import torch

    from firnline.training.objectives.pairing import Contrast

    objectives = opened(init)
    heads = {head for one, _, _ in objectives.values() for head in one.heads}
    model = next(iter(objectives.values()))[0].setup.build(heads).eval()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    scores: dict[str, list[list[float]]] = {}
    with torch.no_grad():
        for name, (one, units, size) in objectives.items():
            rows = scores.setdefault(name, [])
            for first in range(0, min(config.samples, units) * size, size):
                batch = {key: value.to(device) for key, value in one.batch(first, size).items()}
                loss, targets = one.loss(model, batch)
                row = [loss.item(), int(targets)]
                if isinstance(one, Contrast):
                    row += [*one.found(model, batch), one.group]
                rows.append(row)
    return scores


def results(config: MeasureConfig, scores: Mapping[str, Stats]) -> dict[str, Any]:
    """`results.json`: of each model `objective_loss` (nats for each target) by objective and
    `recall_at_1` by direction, each with an interval; and `differences`."""
    models = {name: _estimates(config.seed, rows) for name, rows in scores.items()}
    differences = {
        f"{first} - {second}": _differences(config.seed, scores[first], scores[second])
        for first, second in config.compare
    }
    return {"models": models, "differences": differences}


def _estimates(seed: int, scores: Stats) -> dict[str, Any]:
    found: dict[str, Any] = {"objective_loss": {}}
    for name, columns in _columns(scores):
        found["objective_loss"][name] = intervals.ratio(columns[0], columns[1], seed)
        for key, hits, pairs in _hits(columns):
            found.setdefault("recall_at_1", {})[key] = intervals.ratio(hits, pairs, seed)
    return found


def _differences(seed: int, first: Stats, second: Stats) -> dict[str, Any]:
    """What the first model has more than the second, over the same samples."""
    found: dict[str, Any] = {"objective_loss": {}}
    others = dict(_columns(second))
    for name, columns in _columns(first):
        other = others[name]
        pair = columns[0], other[0], columns[1]
        found["objective_loss"][name] = intervals.ratio_difference(*pair, seed)
        for (key, hits, pairs), (_, theirs, _) in zip(_hits(columns), _hits(other), strict=True):
            difference = intervals.ratio_difference(hits, theirs, pairs, seed)
            found.setdefault("recall_at_1", {})[key] = difference
    return found


def _columns(scores: Stats) -> list[tuple[str, NDArray[np.float64]]]:
    """Of each objective the columns of its rows that have a target."""
    found = []
    for name, rows in scores.items():
        columns = np.array(rows, dtype=float).T
        used = columns[:, columns[1] > 0]
        if used.size:
            found.append((name, used))
    return found


def _hits(columns: NDArray[np.float64]) -> list[tuple[str, Any, Any]]:
    """Both directions of retrieval: what it is called, pairs that were found, pairs."""
    if len(columns) < 5:
        return []
    among = f"among {columns[4, 0]:.0f} (chance {1 / columns[4, 0]:.3f})"
    return [
        (f"code by its text, {among}", columns[2], columns[4]),
        (f"text by its code, {among}", columns[3], columns[4]),
    ]
