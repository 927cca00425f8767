"""The training stage for objectives of encoder-decoder and encoder models."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from torch import nn

from firnline.documents import write_json
from firnline.stage import StageResult
from firnline.training.loop import About
from firnline.training.objectives.mixture import Mixture
from firnline.training.objectives.models import HeadedModel, save_model
from firnline.training.objectives.objective import Objective
from firnline.training.objectives.shapes import ADDED
from firnline.training.phase import PhaseConfig
from firnline.training.stage import run_task
from firnline.training.task import Task


def run(
    config: PhaseConfig,
    task: Objective | Mixture,
    out: Path,
    *,
    inputs: Mapping[str, Path | str],
    tokenizer_file: Path,
    held_out: Task | None = None,
    optimizer_from: Path | None = None,
    about: About | None = None,
    workers: int | None = None,
) -> StageResult:
    """Trains one phase and writes `out`: `checkpoint/`, `metrics.jsonl`.

    The phase reads `tokens / sequence_length` samples of the task, and its steps and batches are
    counted in them, whatever a sample has for inputs and targets. `inputs` names the token, label
    and pair folders that the task reads; `held_out`, `optimizer_from` and `about` are as those of
    `loop.train`. The checkpoint holds a model that `transformers` opens,
    `heads.safetensors`, `tokenizer.json`, `training.json` and `added_ids.json`: the ids that follow
    the tokenizer's.
    """
    setup = task.setup
    digest = hashlib.blake2b(tokenizer_file.read_bytes(), digest_size=16).hexdigest()
    marks: dict[str, Path | str] = {
        **inputs,
        "tokenizer": digest,
        "objective": json.dumps(task.describe(), sort_keys=True),
        "init": setup.init or "seed",
    }

    def save(trained: nn.Module, folder: Path) -> None:
        save_model(cast(HeadedModel, trained), folder)
        shutil.copyfile(tokenizer_file, folder / "tokenizer.json")
        vocabulary = setup.vocabulary
        added = {name: vocabulary.added(name) for name in ADDED}
        sentinels = {"sentinel": vocabulary.sentinel, "sentinels": vocabulary.sentinels}
        write_json(folder / "added_ids.json", added | sentinels)
        about = {"phase": config.name, "step": config.steps, "tokens": config.tokens}
        write_json(folder / "training.json", about | {"seed": setup.seed})

    return run_task(
        config,
        task,
        out,
        inputs=marks,
        model=setup.shape,
        save=save,
        optimizer_from=optimizer_from,
        held_out=held_out,
        about=about,
        workers=workers,
    )
