"""States saved inside a phase, from which it goes on bit for bit after any kill.

    state/step-0000000040.safetensors   weights, AdamW's two moments
    state/step-0000000040.json          step, samples read, threads, hash of the other file

The JSON file is written last: a state without one was never finished. The two newest states are
kept, so that a damaged file costs some steps and not the phase.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from firnline.documents import write_json
from firnline.errors import FirnlineError
from firnline.model.checkpoint import read_tensors, write_tensors
from firnline.progress import say

KEPT = 2
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class State:
    """What a phase goes on from. `samples` is the loader's whole state; `step` counts steps made.

    `threads` is part of it because sums in another order round differently.
    """

    step: int
    samples: int
    threads: int
    tensors: dict[str, Tensor]

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Puts weights and moments back."""
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(self.tensors[f"weight.{name}"])
                optimizer.state[weight] = {
                    "step": torch.tensor(float(self.step)),
                    **{moment: self.tensors[f"{moment}.{name}"] for moment in _MOMENTS},
                }


def save_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    step: int,
    samples: int,
    threads: int,
) -> None:
    """Writes a state; only when it is whole, the oldest kept one goes."""
    tensors = {}
    for name, weight in model.named_parameters():
        tensors[f"weight.{name}"] = weight.detach()
        for moment in _MOMENTS:
            tensors[f"{moment}.{name}"] = optimizer.state[weight][moment]
    path = folder / f"step-{step:010d}.safetensors"
    write_tensors(path, tensors)
    about = {"step": step, "samples": samples, "threads": threads, "blake2b": _digest(path)}
    write_json(path.with_suffix(".json"), about)
    for old in _finished(folder)[KEPT:]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def latest_state(folder: Path, phase: str, *, at_most: int) -> State | None:
    """The newest whole state of at most `at_most` steps; says a line for each damaged one.

    Removes what a kill left half written.
    """
    finished = _finished(folder)
    for leftover in folder.glob("*"):
        if leftover.with_suffix(".json") not in finished:
            leftover.unlink()
    for path in finished:
        try:
            state = _read(path)
        except FirnlineError as error:
            say(f"phase {phase}: {error.what}; it is not used")
            continue
        if state.step <= at_most:
            return state
        say(f"phase {phase}: metrics.jsonl ends before step {state.step}; that state is not used")
    if finished:
        say(f"phase {phase}: no state can be used, the phase starts again")
    return None


def _read(path: Path) -> State:
    weights = path.with_suffix(".safetensors")
    try:
        about: dict[str, Any] = json.loads(path.read_text())
        step, samples, threads = (int(about[key]) for key in ("step", "samples", "threads"))
        expected = about["blake2b"]
    except (OSError, ValueError, KeyError, TypeError):
        raise FirnlineError(f"{path} is damaged") from None
    if not weights.is_file() or _digest(weights) != expected:
        raise FirnlineError(f"{weights} is damaged")
    return State(step, samples, threads, read_tensors(weights))


def _finished(folder: Path) -> list[Path]:
    """The JSON files of finished states, newest first."""
    return sorted(folder.glob("step-*.json"), reverse=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
