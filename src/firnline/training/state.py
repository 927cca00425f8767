"""States saved inside a phase, from which it goes on bit for bit after any kill.

    state/step-0000000040/       weights and optimizer state (torch.distributed.checkpoint)
    state/step-0000000040.json   step, samples, threads, ranks, size and hash of each file

The folder is written beside the steps that follow: they wait only until the tensors are copied.
The JSON file, the marker, is written last: a state without one was never finished. The format
knows tensors by name and place, so that a state of two ranks can be loaded by one or by four.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Mapping
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from firnline.documents import write_json
from firnline.errors import FirnlineError
from firnline.progress import say
from firnline.training.distributed import Ranks
from firnline.training.phase import PhaseConfig

FORMAT = 2
"""Changes with what a state holds; others are refused."""
warnings.filterwarnings("ignore", message="torch.distributed is disabled")
_FULL = re.compile(r"No space left|errno 28\b|Disk quota|File too large|unexpected pos")


@dataclass(frozen=True)
class State:
    """A whole state. `step` counts steps made, `samples` is the loader's whole state.

    `threads` is part of it because sums in another order round differently; so is `ranks`.
    """

    step: int
    samples: int
    threads: int
    ranks: int


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
                _remove(leftover)
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
        try:
            written = begin(folder, tensors_of(model, optimizer, weights=True), self.ranks)
        except (OSError, CheckpointException) as error:
            raise self._failed(state.step, error) from error
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
        try:
            future.result()
        except (OSError, RuntimeError, CheckpointException) as error:
            raise self._failed(step, error) from error
        self.saved = step

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
                _remove(old.with_suffix(""))

    def to_average(self) -> list[Path]:
        """The states whose weights count in the phase's end, oldest first."""
        averaging, every = self.config.averaging, self.config.checkpoint_every_steps
        # Others may be there, of moments when the phase was stopped.
        regular = [path for path in _finished(self.folder) if _step(path) % every == 0]
        count = averaging.last - 1 if averaging else 0  # the last is the end itself
        return [path.with_suffix("") for path in reversed(regular[:count])]

    def _failed(self, step: int, error: BaseException) -> BaseException:
        reason = full_disk(error)
        if reason is None:
            return error
        if self.ranks.first:
            _remove(self._path(step))
        return FirnlineError(
            f"phase {self.phase}: the disk is full while saving step {step:,} in {self.folder}",
            mend=f"free space and run again: it goes on from step {self.saved:,}",
        )

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:010d}"


class DamagedError(FirnlineError):
    """A state that cannot be read; an older one may do."""


def tensors_of(
    model: nn.Module, optimizer: torch.optim.Optimizer, *, weights: bool
) -> dict[str, Tensor]:
    """What a state holds, by name: `model.NAME` and `optimizer.KEY.NAME`. Not copied."""
    tensors: dict[str, Tensor] = {}
    for name, weight in named_tensors(model).items():
        if weights:
            tensors[f"model.{name}"] = weight.detach()
        for key, value in optimizer.state.get(weight, {}).items():
            tensors[f"optimizer.{key}.{name}"] = torch.as_tensor(value)
    return tensors


def begin(folder: Path, tensors: Mapping[str, Tensor], ranks: Ranks) -> Future[Any]:
    """Copies the tensors and begins to write them; the future ends when all ranks have written."""
    _remove(folder)
    written = async_save(
        dict(tensors),
        storage_writer=FileSystemWriter(folder),
        process_group=ranks.checkpoints,
        no_dist=ranks.checkpoints is None,
    )
    assert isinstance(written, Future)  # another type only for a stager that we do not give
    return written


def keep_optimizer(
    folder: Path,
    config: PhaseConfig,
    state: State,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    ranks: Ranks,
) -> None:
    """Writes the optimizer's state alone, for a phase that goes on with it."""
    begin(folder, tensors_of(model, optimizer, weights=False), ranks).result()
    if ranks.first:
        mark(folder, config, state)


def load_kept(
    folder: Path,
    config: PhaseConfig,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    ranks: Ranks,
) -> None:
    """Reads what `keep_optimizer` wrote. Raises FirnlineError where it is damaged, or of another
    model or optimizer."""
    marker = folder.with_suffix(".json")
    read_marker(marker, None)
    check_files(marker)
    name = json.loads(marker.read_text())["settings"]["optimizer"]["name"]
    if name != config.optimizer.name:
        raise FirnlineError(
            f"{folder} is the state of {name}, phase {config.name} has {config.optimizer.name}",
            mend="set optimizer_state: reset, or the same optimizer",
        )
    load_tensors(folder, model, optimizer, ranks=ranks, weights=False)


def mark(folder: Path, config: PhaseConfig, state: State) -> None:
    """Writes the marker that says that the folder is whole."""
    files = {path.name: _digest(path) for path in sorted(folder.iterdir())}
    about = {"format": FORMAT, "phase": config.name, "settings": config.what(), **asdict(state)}
    write_json(folder.with_suffix(".json"), about | {"files": files})


def read_marker(marker: Path, config: PhaseConfig | None) -> State:
    """The state that a marker names. Raises DamagedError where it cannot be read, FirnlineError
    where it is of another format or phase, or of other settings (None: any)."""
    try:
        about: dict[str, Any] = json.loads(marker.read_text())
        form, name, settings = about["format"], about["phase"], about["settings"]
        state = State(**{key: int(about[key]) for key in State.__annotations__})
    except (OSError, ValueError, KeyError, TypeError):
        raise DamagedError(f"{marker} is damaged") from None
    if form != FORMAT:
        raise FirnlineError(
            f"{marker} is a state of format {form}, this code writes {FORMAT}",
            mend="go on with the code that wrote it, or remove the folder to begin again",
        )
    if config is not None and name != config.name:
        raise FirnlineError(
            f"{marker} is a state of phase {name}, not of {config.name}",
            mend="choose another folder",
        )
    if config is not None and settings != config.what():
        mine = config.what()
        keys = sorted(key for key in mine | settings if mine.get(key) != settings.get(key))
        raise FirnlineError(
            f"{marker} was saved with other settings: {', '.join(keys)}",
            mend="go on with those, or choose another folder",
        )
    return state


def check_files(marker: Path) -> None:
    """Raises DamagedError where a file of a state is missing, cut short or altered."""
    folder = marker.with_suffix("")
    for name, expected in json.loads(marker.read_text())["files"].items():
        path = folder / name
        if not path.is_file() or _digest(path) != expected:
            raise DamagedError(f"{path} is damaged")


def load_tensors(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    ranks: Ranks,
    weights: bool,
) -> None:
    """Reads what `tensors_of` named into model and optimizer.

    Raises FirnlineError where the tensors are those of another model or optimizer.
    """
    reader = FileSystemReader(folder)
    stored = {
        key: about
        for key, about in reader.read_metadata().state_dict_metadata.items()
        if isinstance(about, TensorStorageMetadata)
    }
    named = named_tensors(model)
    tensors = {f"model.{name}": weight.detach() for name, weight in named.items() if weights}
    _check_shapes(folder, tensors, stored)
    for key, about in stored.items():
        kind, _, rest = key.partition(".")
        if kind != "optimizer":
            continue
        slot, _, name = rest.partition(".")
        if (weight := named.get(name)) is None:
            raise FirnlineError(f"{folder} has {key}, the model no {name}", mend=_OTHER)
        dtype = about.properties.dtype
        if about.size == weight.shape:
            value = torch.empty_like(weight, dtype=dtype, requires_grad=False)
        else:
            value = torch.empty(about.size, dtype=dtype, device=weight.device)  # a step count
        tensors[key] = value
        optimizer.state[weight][slot] = value
    load(
        tensors,
        storage_reader=reader,
        process_group=ranks.control,
        no_dist=ranks.control is None,
    )


_OTHER = "use the state of the same model, vocabulary and optimizer"


def _check_shapes(
    folder: Path, tensors: Mapping[str, Tensor], stored: Mapping[str, TensorStorageMetadata]
) -> None:
    for key, tensor in tensors.items():
        if key not in stored:
            raise FirnlineError(f"{folder} has no {key}", mend=_OTHER)
        if stored[key].size != tensor.shape:
            raise FirnlineError(
                f"{folder}: {key} is {list(stored[key].size)}, the model's is {list(tensor.shape)}",
                mend=_OTHER,
            )


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers, a shared one once."""
    named: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            named[name] = tensor
    return named


def full_disk(error: BaseException) -> str | None:
    """What says so, if the error means that a disk has no room left; None if not."""
    causes: list[BaseException] = [error]
    if isinstance(error, CheckpointException):
        causes += [cause for cause, _ in error.failures.values()]
    for cause in causes:
        number = getattr(cause, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or _FULL.search(str(cause)):
            return str(cause)
    return None


def _finished(folder: Path) -> list[Path]:
    """The markers of finished states, newest first."""
    return sorted(folder.glob("step-*.json"), reverse=True)


def _step(marker: Path) -> int:
    return int(marker.stem.removeprefix("step-"))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return f"{path.stat().st_size} {digest}"
