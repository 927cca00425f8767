"""The weighted mean of several checkpoints of one model.

One tensor at a time is read from each, so that the memory is that of one model however many there
are. Sums are made in float64 in the order given: the same bits anywhere.
"""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from firnline.documents import write_json
from firnline.errors import FirnlineError
from firnline.model.shards import local
from firnline.model.tensor_files import write_tensors


class Weights(Protocol):
    """Named tensors that can be read one at a time."""

    name: str
    """What it is called in messages."""

    def shapes(self) -> Mapping[str, torch.Size]:
        """The shape of each tensor."""

    def read(self, name: str) -> Tensor:
        """One tensor, on the CPU."""


class HeldWeights:
    """Tensors in memory: the model as the phase leaves it, of a sharded one this rank's part."""

    def __init__(self, tensors: Mapping[str, Tensor], name: str = "the model") -> None:
        self.name, self._tensors = name, tensors

    def shapes(self) -> Mapping[str, torch.Size]:
        return {name: tensor.shape for name, tensor in self._tensors.items()}

    def read(self, name: str) -> Tensor:
        return local(self._tensors[name]).cpu()


class CheckpointWeights:
    """The tensors of a checkpoint folder, in one safetensors file or in several.

    Raises FirnlineError where there is none or one is cut short.
    """

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._files: dict[str, Path] = {}
        self._shapes: dict[str, torch.Size] = {}
        paths = sorted(folder.glob("*.safetensors"))
        if not paths:
            raise FirnlineError(f"{folder} holds no *.safetensors", mend="check the path")
        for path in paths:
            try:
                with safe_open(path, "pt") as file:
                    for name in file.keys():  # noqa: SIM118  # it is no mapping
                        self._files[name] = path
                        self._shapes[name] = torch.Size(file.get_slice(name).get_shape())
            except (SafetensorError, OSError) as error:
                reason = str(error).splitlines()[0]
                raise FirnlineError(
                    f"{path} is cut short or is not safetensors: {reason}",
                    mend="copy or save it again",
                ) from None

    def shapes(self) -> Mapping[str, torch.Size]:
        return self._shapes

    def read(self, name: str) -> Tensor:
        with safe_open(self._files[name], "pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor


class StateWeights:
    """The model's tensors in a state that a phase saved, from whatever number of ranks.

    `state.py` calls them `model.NAME`; the names here are without the prefix. `like` are sharded
    tensors of these names: then a rank reads its part alone. Needs no process group. Raises
    FirnlineError where the folder is no such state.
    """

    def __init__(
        self, folder: Path, prefix: str = "model.", *, like: Mapping[str, Tensor] | None = None
    ) -> None:
        self.name, self._prefix, self._like = str(folder), prefix, like or {}
        self._reader = FileSystemReader(folder)
        try:
            stored = self._reader.read_metadata().state_dict_metadata
        except OSError:
            raise FirnlineError(f"{folder} is not a state", mend="check the path") from None
        self._about = {
            key.removeprefix(prefix): about
            for key, about in stored.items()
            if key.startswith(prefix) and isinstance(about, TensorStorageMetadata)
        }

    def shapes(self) -> Mapping[str, torch.Size]:
        return {name: about.size for name, about in self._about.items()}

    def read(self, name: str) -> Tensor:
        about = self._about[name]
        dtype, like = about.properties.dtype, self._like.get(name)
        if like is None:
            tensor = torch.empty(about.size, dtype=dtype)
        else:
            tensor = torch.empty_like(like, dtype=dtype, requires_grad=False)
        with warnings.catch_warnings():  # of there being no process group, which is meant
            warnings.simplefilter("ignore")
            load({self._prefix + name: tensor}, storage_reader=self._reader, no_dist=True)
        return local(tensor).cpu()


def mean(sources: Sequence[Weights], coefficients: Sequence[float]) -> dict[str, Tensor]:
    """The sum of the sources' tensors, each times its coefficient, in the type it has there."""
    return dict(means(sources, coefficients))


def means(
    sources: Sequence[Weights], coefficients: Sequence[float]
) -> Iterator[tuple[str, Tensor]]:
    """Each tensor's name and mean, one after the other.

    What is not floating point (a buffer of counts) is taken from the last source. Raises
    FirnlineError where sources differ in names or shapes, ValueError where the coefficients do not
    sum to 1.
    """
    if not sources or len(sources) != len(coefficients):
        raise ValueError(f"{len(sources)} sources and {len(coefficients)} coefficients")
    if not math.isclose(sum(coefficients), 1.0, rel_tol=1e-6):
        raise ValueError(f"the coefficients sum to {sum(coefficients):g}, not to 1")
    last = sources[-1]
    shapes = last.shapes()
    for source in sources[:-1]:
        _check_equal(source, last)
    for name in shapes:
        tensor = last.read(name)
        if tensor.is_floating_point():
            total = torch.zeros(tensor.shape, dtype=torch.float64)
            for source, coefficient in zip(sources, coefficients, strict=True):
                total.add_(source.read(name).double(), alpha=coefficient)
            tensor = total.to(tensor.dtype)
        yield name, tensor


def average_checkpoints(
    folders: Sequence[Path], out: Path, coefficients: Sequence[float] | None = None
) -> None:
    """Writes a checkpoint folder whose weights are the mean of those of `folders`, oldest first.

    Config and tokenizer are the last folder's; `training.json` gains `averaged`, the folders' names
    and coefficients. `out` gets its `config.json` last: a folder with one is whole. Raises
    FirnlineError where a folder is no checkpoint or of another shape, and where `out` has files.
    """
    if not folders:
        raise FirnlineError("no checkpoints to average", mend="name two or more folders")
    if out.exists() and any(out.iterdir()):
        raise FirnlineError(f"{out} is not empty", mend="choose another folder")
    shares = list(coefficients or [1 / len(folders)] * len(folders))
    configs = [_config(folder) for folder in folders]
    for folder, config in zip(folders, configs, strict=True):
        if differing := sorted(
            k for k in configs[-1] | config if configs[-1].get(k) != config.get(k)
        ):
            key = differing[0]
            raise FirnlineError(
                f"{folder} has {key} {config.get(key)!r}, {folders[-1]} {configs[-1].get(key)!r}",
                mend="average checkpoints of one model",
            )
    tensors = mean([CheckpointWeights(folder) for folder in folders], shares)
    write_tensors(out / "model.safetensors", tensors)
    for path in sorted(folders[-1].glob("*.json")):
        if path.name not in ("config.json", "training.json", "model.safetensors.index.json"):
            shutil.copyfile(path, out / path.name)
    about = folders[-1] / "training.json"
    extra: dict[str, Any] = json.loads(about.read_text()) if about.exists() else {}
    extra["averaged"] = [
        {"checkpoint": folder.name, "coefficient": share}
        for folder, share in zip(folders, shares, strict=True)
    ]
    write_json(out / "training.json", extra)
    shutil.copyfile(folders[-1] / "config.json", out / "config.json")


# What a config says of the file and not of the model.
_INCIDENTAL = ("_name_or_path", "dtype", "torch_dtype", "transformers_version")


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text())
        return {key: value for key, value in config.items() if key not in _INCIDENTAL}
    except FileNotFoundError:
        raise FirnlineError(
            f"{folder} is not a checkpoint: it has no config.json", mend="check the path"
        ) from None
    except (OSError, ValueError, AttributeError) as error:
        raise FirnlineError(f"{path} cannot be read: {error}", mend="save it again") from None


def _check_equal(source: Weights, last: Weights) -> None:
    found, expected = source.shapes(), last.shapes()
    for name in sorted({**found, **expected}):
        if found.get(name) != expected.get(name):
            have, want = (
                f"{name} {list(shapes[name])}" if name in shapes else f"no {name}"
                for shapes in (found, expected)
            )
            raise FirnlineError(
                f"{source.name} has {have}, {last.name} has {want}",
                mend="average checkpoints of one model",
            )
