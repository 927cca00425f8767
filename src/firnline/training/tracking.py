"""The rows of `metrics.jsonl` in TensorBoard or Weights & Biases too, where a phase asks for it.

The file is the truth and the trackers are views of it: one that fails is dropped with a line, and
the training goes on. Nothing is sent anywhere unless `wandb.mode` is `online`.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from firnline.errors import FirnlineError
from firnline.progress import say
from firnline.training.metrics import rows_of


class WandbConfig(BaseModel):
    """A run of Weights & Biases."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    project: str = Field(min_length=1)
    """The project that the phase's runs are grouped in."""
    entity: str | None = None
    """The team or user it belongs to; default: the account's."""
    mode: Literal["offline", "online"] = "offline"
    """`offline` writes to `wandb/` in the phase's folder, for `wandb sync`; `online` sends."""


class TrackingConfig(BaseModel):
    """Where metrics go besides `metrics.jsonl`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    tensorboard: bool = False
    """Write event files to `tensorboard/` in the phase's folder."""
    wandb: WandbConfig | None = None
    """Log to Weights & Biases."""


def check_installed(config: TrackingConfig) -> None:
    """Raises FirnlineError where a tracker that is asked for is not installed."""
    asked = {"tensorboard": config.tensorboard, "wandb": config.wandb is not None}
    missing = [name for name, wanted in asked.items() if wanted and find_spec(name) is None]
    if missing:
        raise FirnlineError(
            f"tracking needs {' and '.join(missing)}, not installed here",
            mend="pip install 'firnline[tracking]', or leave it out of tracking",
        )


class Trackers:
    """All trackers of a phase; on the first rank only.

        trackers = Trackers(config, folder, phase="alpha", settings={"seed": 0})
        trackers.write(row)          # each row that went to metrics.jsonl
        trackers.close()

    They begin with the rows that `metrics.jsonl` in `folder` holds, so what a phase wrote after the
    state that it goes on from is replaced: in TensorBoard's files at once, in W&B by another run
    of the phase's group, whole from the first step on. `settings` is what W&B shows as config.
    Raises FirnlineError as `check_installed` does, and for nothing else.
    """

    def __init__(
        self, config: TrackingConfig, folder: Path, *, phase: str, settings: Mapping[str, Any]
    ) -> None:
        check_installed(config)
        openers: dict[str, Callable[[], _Tracker]] = {}
        if config.tensorboard:
            openers["tensorboard"] = lambda: _TensorBoard(folder / "tensorboard")
        if (wandb := config.wandb) is not None:
            openers["wandb"] = lambda: _Wandb(wandb, folder, phase, settings)
        self._trackers: dict[str, _Tracker] = {}
        for name, opener in openers.items():
            try:
                self._trackers[name] = opener()
            except Exception as error:
                _say_why(name, error)
        if self._trackers:
            for row in rows_of(folder / "metrics.jsonl"):
                self.write(row)

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes a row's finite numbers under its step."""
        values = {
            key: float(value)
            for key, value in row.items()
            if key != "step" and isinstance(value, int | float) and math.isfinite(value)
        }
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.write(row["step"], values)
            except Exception as error:
                _say_why(name, error)
                del self._trackers[name]

    def close(self) -> None:
        """Lets each tracker write what it holds back."""
        for name, tracker in self._trackers.items():
            try:
                tracker.close()
            except Exception as error:
                _say_why(name, error)
        self._trackers.clear()


def _say_why(name: str, error: Exception) -> None:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    say(f"{name} failed and is left out from here on: {reason}; metrics.jsonl goes on")


class _Tracker(Protocol):
    def write(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(folder)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(
        self, config: WandbConfig, folder: Path, phase: str, settings: Mapping[str, Any]
    ) -> None:
        # It reports its own errors and use to its makers unless told before it is imported.
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        wandb = import_module("wandb")  # an extra, which type checking does without
        self._run = wandb.init(
            project=config.project,
            entity=config.entity,
            mode=config.mode,
            dir=str(folder),
            group=phase,
            name=phase,
            config=dict(settings),
            # No source code, repository, console or machine goes along with the numbers.
            settings=wandb.Settings(
                disable_code=True,
                disable_git=True,
                console="off",
                silent=True,
                x_disable_meta=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
            ),
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()
