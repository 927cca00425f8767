"""Checkpoints as `transformers` reads and writes them: weights, in one file or in shards, a config.

Parameters have the same names and the same layout there and here. One family differs: Cohere turns
neighbouring elements with RoPE, so its queries and keys are permuted on the way in and out.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from firnline.documents import atomic_path, write_json
from firnline.errors import FirnlineError
from firnline.model.config import ModelConfig
from firnline.model.families import (
    END_OF_TEXT,
    FAMILIES,
    family_of,
    from_hugging_face,
    to_hugging_face,
)
from firnline.model.llama import Llama

SHARD_BYTES = 5_000_000_000
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def save(
    model: Llama,
    folder: Path,
    extra: Mapping[str, Any] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    end_of_text: int = END_OF_TEXT,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes `config.json`, `model.safetensors` and, where given, `training.json`; `save_weights`
    says how."""
    save_weights(
        model.config,
        model.state_dict(),
        folder,
        extra,
        dtype=dtype,
        end_of_text=end_of_text,
        shard_bytes=shard_bytes,
    )


def save_weights(
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    folder: Path,
    extra: Mapping[str, Any] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    end_of_text: int = END_OF_TEXT,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a checkpoint of a state dict with whole tensors, for instance one that was gathered.

    Weights of more than `shard_bytes` become several files and an index. Each file is whole or
    absent and `config.json` comes last, so a folder with a config is a whole checkpoint. Raises
    FirnlineError, before anything is written, where no Hugging Face family has the shape.
    """
    about = to_hugging_face(
        config, end_of_text=end_of_text, dtype=str(dtype).removeprefix("torch.")
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").unlink(missing_ok=True)
    for old in folder.glob("model*.safetensors*"):
        old.unlink()
    shards = list(_shards(weights, dtype.itemsize, shard_bytes))
    places: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = (
            _WEIGHTS if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        )
        out = {
            name: _permuted(config, name, weights[name].detach(), to_ours=False)
            .to("cpu", dtype)
            .contiguous()
            for name in names
        }
        write_tensors(folder / file, out)
        places |= dict.fromkeys(names, file)
    if len(shards) > 1:
        total = sum(tensor.numel() for tensor in weights.values()) * dtype.itemsize
        write_json(folder / _INDEX, {"metadata": {"total_size": total}, "weight_map": places})
    if extra is not None:
        write_json(folder / "training.json", dict(extra))
    write_json(folder / "config.json", about)


def load(folder: Path) -> Llama:
    """A model in float32 from a checkpoint folder, ours or one that `transformers` saved.

    Raises FirnlineError where a file is missing, cut short or of an architecture that is not one of
    `families.FAMILIES`.
    """
    config = read_config(folder)
    weights = _read_weights(folder)
    with torch.device("meta"):
        model = Llama(config)
    if config.tied:
        weights.pop("lm_head.weight", None)
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    _check(folder, expected, weights)
    floats = {}
    for name in expected:  # one after the other, so that 16 and 32 bits of all never coexist
        floats[name] = _permuted(config, name, weights.pop(name), to_ours=True).to(torch.float32)
    model.load_state_dict(floats, assign=True)
    return model


def read_config(folder: Path) -> ModelConfig:
    """The shape in a checkpoint's `config.json`; raises FirnlineError as `load` does."""
    return from_hugging_face(
        _read_json(folder / "config.json", f"{folder} is not a checkpoint: it has no config.json"),
        folder / "config.json",
    )


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of one file or of all shards."""
    path = folder / _INDEX
    if (folder / _WEIGHTS).is_file() or not path.is_file():
        weights = read_tensors(folder / _WEIGHTS)
    else:
        index = _read_json(path, f"{path} is missing")
        places = index.get("weight_map") if isinstance(index, Mapping) else None
        if not isinstance(places, Mapping) or not all(
            isinstance(file, str) and file == Path(file).name for file in places.values()
        ):
            raise FirnlineError(
                f"{path} has no weight_map of files beside it", mend="save it again"
            )
        weights = {}
        for file in sorted({*places.values()}):
            weights |= read_tensors(folder / file)
    # Old exports carry RoPE's frequencies, which follow from the config.
    return {name: value for name, value in weights.items() if not name.endswith(".inv_freq")}


def _read_json(path: Path, missing: str) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise FirnlineError(missing, mend="check the path") from None
    except (OSError, ValueError) as error:
        raise FirnlineError(f"{path} cannot be read: {error}", mend="save it again") from None


def _shards(weights: Mapping[str, Tensor], itemsize: int, limit: int) -> Iterator[list[str]]:
    """Names of consecutive weights that together stay below `limit` bytes."""
    names: list[str] = []
    size = 0
    for name, tensor in weights.items():
        more = tensor.numel() * itemsize
        if names and size + more > limit:
            yield names
            names, size = [], 0
        names.append(name)
        size += more
    yield names


def _permuted(config: ModelConfig, name: str, weight: Tensor, *, to_ours: bool) -> Tensor:
    """Queries and keys with the pairs of RoPE where the other side has them.

    Element 2i of a head pairs with 2i + 1 in an interleaved family, i with i + size / 2 here.
    """
    turned = ("q_proj.weight", "k_proj.weight", "q_norm.weight", "k_norm.weight")
    if not FAMILIES[family_of(config)].interleaved or not name.endswith(turned):
        return weight
    half = config.head_size // 2
    pairs = (-1, half, 2) if to_ours else (-1, 2, half)
    columns = weight.shape[1] if "proj" in name else 1  # a gain has a row for each head
    return weight.reshape(*pairs, columns).transpose(1, 2).reshape(weight.shape)


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Writes a safetensors file whole or not at all; a full disk is an OSError as elsewhere."""
    try:
        with atomic_path(path) as temporary:
            temporary.touch()
            mode = temporary.stat().st_mode  # safetensors would leave it readable to us alone
            save_file(tensors, temporary, metadata={"format": "pt"})
            temporary.chmod(mode)
    except SafetensorError as error:
        if re.search(r"No space left|os error 28\b|Disk quota|os error 122\b", str(error)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; raises FirnlineError where it is missing or cut short."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise FirnlineError(f"no such file: {path}", mend="check the path") from None
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise FirnlineError(
            f"{path} is cut short or is not safetensors: {reason}", mend="copy or save it again"
        ) from None


def _check(folder: Path, expected: Mapping[str, torch.Size], found: Mapping[str, Tensor]) -> None:
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is not part of the model" for name in found if name not in expected]
    problems += [
        f"{name} is {list(found[name].shape)}, config.json makes it {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name].shape != shape
    ]
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise FirnlineError(
            f"{folder}: weights do not fit config.json: {problems[0]}{more}",
            mend="use the files of one checkpoint",
        )
