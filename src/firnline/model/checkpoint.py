"""Checkpoints as `transformers` reads and writes them: weights, in one file or in shards, a config.

Parameters have the same names and the same layout there and here. One family differs: Cohere turns
neighbouring elements with RoPE, so its queries and keys are permuted on the way in and out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from firnline.documents import write_json
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
from firnline.model.shards import set_rows, whole, writes
from firnline.model.tensor_files import TensorFiles, file_order, write_tensors

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
    """Writes `config.json`, `model.safetensors` and, where given, `training.json`.

    Weights of more than `shard_bytes` become several files and an index. Each file is whole or
    absent and `config.json` comes last, so a folder with a config is a whole checkpoint. Of a
    sharded model every rank makes the call and the first one writes; one weight is whole at a time.
    Raises FirnlineError, before anything is written, where no Hugging Face family has the shape.
    """
    config, weights = model.config, model.state_dict()
    about = to_hugging_face(
        config, end_of_text=end_of_text, dtype=str(dtype).removeprefix("torch.")
    )
    first = writes(model)
    if first:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").unlink(missing_ok=True)
        for old in folder.glob("model*.safetensors*"):
            old.unlink()

    def read(name: str) -> Tensor:
        weight = whole(weights[name])
        return _permuted(config, name, weight, to_ours=False).to(dtype) if first else weight

    out = {
        name: torch.empty(weight.shape, dtype=dtype, device="meta")
        for name, weight in weights.items()
    }
    groups = list(_groups(out, shard_bytes))
    places: dict[str, str] = {}
    for number, group in enumerate(groups, 1):
        file = (
            _WEIGHTS if len(groups) == 1 else f"model-{number:05}-of-{len(groups):05}.safetensors"
        )
        places |= dict.fromkeys(group, file)
        if first:
            write_tensors(folder / file, group, read)
        else:
            for name in file_order(group):
                read(name)  # gathers, when the first one does
    if not first:
        return
    if len(groups) > 1:
        total = sum(tensor.nbytes for tensor in out.values())
        write_json(folder / _INDEX, {"metadata": {"total_size": total}, "weight_map": places})
    if extra is not None:
        write_json(folder / "training.json", dict(extra))
    write_json(folder / "config.json", about)


def load(folder: Path) -> Llama:
    """A model in float32 from a checkpoint folder, ours or one that `transformers` saved.

    Raises FirnlineError where a file is missing, cut short or of an architecture that is not one of
    `families.FAMILIES`.
    """
    model = blank(read_config(folder))
    load_into(model.to_empty(device="cpu"), folder)
    return model


def blank(config: ModelConfig) -> Llama:
    """A model on the meta device: its shape, without memory."""
    with torch.device("meta"):
        return Llama(config)


def load_into(model: Llama, folder: Path) -> None:
    """Sets the weights of a model from a checkpoint of its shape.

    Each rank of a sharded one reads its own rows, one weight after the other. Raises FirnlineError
    as `load` does.
    """
    config, files = model.config, TensorFiles(_weight_files(folder))
    _check(folder, {name: weight.shape for name, weight in model.named_parameters()}, files.shapes)
    for name, weight in model.named_parameters():
        set_rows(weight, partial(_rows, config, files, name))


def _rows(config: ModelConfig, files: TensorFiles, name: str, rows: slice) -> Tensor:
    """Rows of a weight as they are here, from the file of a family that may turn them."""
    if not _is_turned(config, name):
        return files.rows(name, rows)
    each = config.head_size if "proj" in name else 1
    first, last = rows.start // each * each, -(-rows.stop // each) * each  # whole heads
    heads = _permuted(config, name, files.rows(name, slice(first, last)), to_ours=True)
    return heads[rows.start - first : rows.stop - first]


def read_config(folder: Path) -> ModelConfig:
    """The shape in a checkpoint's `config.json`; raises FirnlineError as `load` does."""
    return from_hugging_face(
        _read_json(folder / "config.json", f"{folder} is not a checkpoint: it has no config.json"),
        folder / "config.json",
    )


def _weight_files(folder: Path) -> list[Path]:
    """The one file of weights, or all that the index names."""
    path = folder / _INDEX
    if (folder / _WEIGHTS).is_file() or not path.is_file():
        return [folder / _WEIGHTS]
    index = _read_json(path, f"{path} is missing")
    places = index.get("weight_map") if isinstance(index, Mapping) else None
    if not isinstance(places, Mapping) or not all(
        isinstance(file, str) and file == Path(file).name for file in places.values()
    ):
        raise FirnlineError(f"{path} has no weight_map of files beside it", mend="save it again")
    return [folder / file for file in sorted({*places.values()})]


def _read_json(path: Path, missing: str) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise FirnlineError(missing, mend="check the path") from None
    except (OSError, ValueError) as error:
        raise FirnlineError(f"{path} cannot be read: {error}", mend="save it again") from None


def _groups(weights: Mapping[str, Tensor], limit: int) -> Iterator[dict[str, Tensor]]:
    """Consecutive weights that together stay below `limit` bytes."""
    group: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if group and sum(other.nbytes for other in group.values()) + tensor.nbytes > limit:
            yield group
            group = {}
        group[name] = tensor
    yield group


def _is_turned(config: ModelConfig, name: str) -> bool:
    turned = ("q_proj.weight", "k_proj.weight", "q_norm.weight", "k_norm.weight")
    return FAMILIES[family_of(config)].interleaved and name.endswith(turned)


def _permuted(config: ModelConfig, name: str, weight: Tensor, *, to_ours: bool) -> Tensor:
    """Queries and keys with the pairs of RoPE where the other side has them.

    Element 2i of a head pairs with 2i + 1 in an interleaved family, i with i + size / 2 here.
    """
    if not _is_turned(config, name):
        return weight
    half = config.head_size // 2
    pairs = (-1, half, 2) if to_ours else (-1, 2, half)
    columns = weight.shape[1] if "proj" in name else 1  # a gain has a row for each head
    return weight.reshape(*pairs, columns).transpose(1, 2).reshape(weight.shape)


def _check(
    folder: Path, expected: Mapping[str, torch.Size], found: Mapping[str, torch.Size]
) -> None:
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [
        f"{name} is not part of the model"
        for name in found
        if name not in expected
        # Some files have RoPE's frequencies, which follow from the config, or a tied matrix twice.
        and not name.endswith((".inv_freq", "lm_head.weight"))
    ]
    problems += [
        f"{name} is {list(found[name])}, config.json makes it {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise FirnlineError(
            f"{folder}: weights do not fit config.json: {problems[0]}{more}",
            mend="use the files of one checkpoint",
        )
