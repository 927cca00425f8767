"""The files of one state: tensors by name, written and read by `torch.distributed.checkpoint`.

A folder of tensors and, beside it, a marker: a JSON file that is written last and says whose state
it is, and size and hash of each file. The format knows tensors by name and place in the whole, so
that what two ranks wrote can be read by one or by four.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from firnline.documents import write_json
from firnline.errors import FirnlineError
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
    if ranks.first:  # nobody writes before all have planned
        folder.with_suffix(".json").unlink(missing_ok=True)
        remove(folder)
    written = async_save(
        dict(tensors),
        storage_writer=FileSystemWriter(folder),
        process_group=ranks.checkpoints,
        no_dist=ranks.checkpoints is None,
    )
    assert isinstance(written, Future)  # another type only for a stager that we do not give
    return written


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
    mine = config.what() if config is not None else settings
    # What is done about spikes may change for the steps to come.
    keys = sorted(k for k in mine | settings if mine.get(k) != settings.get(k) and k != "spikes")
    if keys:
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


def full_disk(error: BaseException) -> bool:
    """Whether an error means that a disk has no room left."""
    causes: list[BaseException] = [error]
    if isinstance(error, CheckpointException):
        causes += [cause for cause, _ in error.failures.values()]
    for cause in causes:
        number = getattr(cause, "errno", None)
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or _FULL.search(str(cause)):
            return True
    return False


def remove(path: Path) -> None:
    """Removes a file or a folder with all in it; a file may be missing."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return f"{path.stat().st_size} {digest}"
