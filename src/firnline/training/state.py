"""The states of a phase, from which it goes on bit for bit after any kill.

    state/step-0000000040/       weights and optimizer state
    state/step-0000000040.json   the marker: a state without one was never finished

The folder is written beside the steps that follow: they wait only until the tensors are copied.
What the files hold is in `state_files.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException

from firnline.errors import FirnlineError
from firnline.progress import say
from firnline.training.distributed import Ranks
from firnline.training.phase import PhaseConfig
from firnline.training.state_files import (
    DamagedError,
    State,
    begin,
    check_files,
    full_disk,
    load_tensors,
    mark,
    read_marker,
    remove,
    tensors_of,
)


class States:
    """The states of a phase: finds the newest, saves others, keeps some.

    The newest `keep_checkpoints` are kept, so that a damaged one costs some steps and not the
    phase; also each at a multiple of `keep_every_steps`, and those that the phase's end averages.
    Every rank makes the same calls.
    """

    def __init__(self, folder: Path, config: PhaseConfig, ranks: Ranks) -> None:
        self.folder, self.config, self.ranks = folder, config, ranks
        self.phase = config.name
        self.saved = 0  # newest step whose state is whole
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._pending: tuple[int, Future[None]] | None = None

    def newest(self, *, at_most: int) -> State | None:
        """The newest whole state of at most `at_most` steps; says a line for each damaged one.

        Removes what a kill left half written. Raises FirnlineError where the states are those of
        another phase or format.
        """
        state: State | None = None
        error: FirnlineError | None = None
        if self.ranks.first:
            try:
                state = self._find(at_most)
            except FirnlineError as refused:
                error = refused
        state, error = cast(
            tuple[State | None, FirnlineError | None], self.ranks.tell((state, error))
        )
        if error is not None:
            raise error
        self.saved = state.step if state else 0
        return state

    def _find(self, at_most: int) -> State | None:
        finished = _finished(self.folder)
        for leftover in self.folder.glob("*"):
            if leftover.with_suffix(".json") not in finished:
                remove(leftover)
        for marker in finished:
            try:
                state = read_marker(marker, self.config)
                check_files(marker)
            except DamagedError as error:
                say(f"phase {self.phase}: {error.what}; it is not used")
                continue
            if state.step <= at_most:
                return state
            say(
                f"phase {self.phase}: metrics.jsonl ends before step {state.step}; "
                "that state is not used"
            )
        if finished:
            say(f"phase {self.phase}: no state can be used, the phase starts again")
        return None

    def load(self, state: State, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Puts weights and optimizer state back, whatever the ranks are now."""
        folder = self._path(state.step)
        load_tensors(folder, model, optimizer, ranks=self.ranks, weights=True)

    def save(self, state: State, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Begins to write a state: returns when the tensors are copied.

        Waits for the one before, and raises what that ran into.
        """
        self.wait()
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = self._path(state.step)
        with self._errors(state.step):
            written = begin(folder, tensors_of(model, optimizer, weights=True), self.ranks)
        finish = self._writer.submit(self._finish, folder, written, state)
        self._pending = (state.step, finish)

    def poll(self) -> None:
        """Raises what the writing of a state ran into, if it is over."""
        if self._pending and self._pending[1].done():
            self.wait()

    def wait(self) -> None:
        """Waits for the state that is being written. Raises FirnlineError where the disk is full;
        the older states are whole then."""
        if self._pending is None:
            return
        (step, future), self._pending = self._pending, None
        with self._errors(step):
            future.result()
        self.saved = step

    def keep_optimizer(
        self, folder: Path, state: State, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        """Writes the optimizer's state alone, for a phase that goes on with it."""
        with self._errors(state.step):
            begin(folder, tensors_of(model, optimizer, weights=False), self.ranks).result()
            if self.ranks.first:
                mark(folder, self.config, state)

    def close(self) -> None:
        """Lets what is being written come to its end, well or not."""
        if self._pending:
            futures.wait([self._pending[1]])
        self._writer.shutdown()

    def _finish(self, folder: Path, written: Future[Any], state: State) -> None:
        written.result()
        if not self.ranks.first:
            return
        mark(folder, self.config, state)
        markers = _finished(self.folder)
        kept = {path.with_suffix(".json") for path in self.to_average()}
        kept.update(markers[: self.config.keep_checkpoints])
        every = self.config.keep_every_steps
        for old in markers:
            if old not in kept and not (every and _step(old) % every == 0):
                old.unlink()
                remove(old.with_suffix(""))

    def to_average(self) -> list[Path]:
        """The states whose weights count in the phase's end, oldest first."""
        averaging, every = self.config.averaging, self.config.checkpoint_every_steps
        # Others may be there, of moments when the phase was stopped.
        regular = [path for path in _finished(self.folder) if _step(path) % every == 0]
        count = averaging.last - 1 if averaging else 0  # the last is the end itself
        return [path.with_suffix("") for path in reversed(regular[:count])]

    @contextmanager
    def _errors(self, step: int) -> Iterator[None]:
        """Turns what says that the disk is full into one line, other failures into errors."""
        try:
            yield
        except (OSError, RuntimeError, CheckpointException) as error:
            if full_disk(error):
                if self.ranks.first:
                    remove(self._path(step))
                raise FirnlineError(
                    f"phase {self.phase}: the disk is full while saving step {step:,} in "
                    f"{self.folder}",
                    mend=f"free space and run again: it goes on from step {self.saved:,}",
                ) from error
            if isinstance(error, CheckpointException):  # which is no Exception
                raise RuntimeError(str(error)) from error
            raise

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:010d}"


def _finished(folder: Path) -> list[Path]:
    """The markers of finished states, newest first."""
    return sorted(folder.glob("step-*.json"), reverse=True)


def _step(marker: Path) -> int:
    return int(marker.stem.removeprefix("step-"))
