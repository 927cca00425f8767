"""Checkpoints as `transformers` reads and writes them for LlamaForCausalLM: weights and a config.

Parameters have the same names and the same layout there and here, so nothing is permuted.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from firnline.documents import atomic_path, write_json
from firnline.errors import FirnlineError
from firnline.model.config import ModelConfig
from firnline.model.llama import Llama

END_OF_TEXT = 0  # its id in every Firnline tokenizer, docs/contracts.md


def save(model: Llama, folder: Path, extra: Mapping[str, Any] | None = None) -> None:
    """Writes `config.json`, `model.safetensors` (float32) and, where given, `training.json`.

    Each file is whole or absent, the weights come last but one and `config.json` last, so a folder
    with a config is a whole checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").unlink(missing_ok=True)
    weights = {
        name: tensor.detach().to(torch.float32).contiguous()
        for name, tensor in model.state_dict().items()
    }
    write_tensors(folder / "model.safetensors", weights)
    if extra is not None:
        write_json(folder / "training.json", dict(extra))
    write_json(folder / "config.json", to_hugging_face(model.config))


def load(folder: Path) -> Llama:
    """A model in float32 from a checkpoint folder, ours or one that `transformers` saved.

    Raises FirnlineError where a file is missing, cut short or of another architecture.
    """
    config = read_config(folder)
    weights = read_tensors(folder / "model.safetensors")
    with torch.device("meta"):
        model = Llama(config)
    if config.tied:
        weights.pop("lm_head.weight", None)
    _check(folder, {k: v.shape for k, v in model.state_dict().items()}, weights)
    floats = {name: tensor.to(torch.float32) for name, tensor in weights.items()}
    model.load_state_dict(floats, assign=True)
    return model


def read_config(folder: Path) -> ModelConfig:
    """The shape in a checkpoint's `config.json`; raises FirnlineError as `load` does."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        raise FirnlineError(
            f"{folder} is not a checkpoint: it has no config.json", mend="check the path"
        ) from None
    except (OSError, ValueError) as error:
        raise FirnlineError(f"{path} cannot be read: {error}", mend="save it again") from None
    return from_hugging_face(config, path)


def to_hugging_face(config: ModelConfig) -> dict[str, Any]:
    """`config.json` for LlamaForCausalLM (`rope_theta` for transformers 4, `rope_parameters` 5)."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": END_OF_TEXT,
        "dtype": "float32",
        "eos_token_id": END_OF_TEXT,
        "head_dim": config.head_size,
        "hidden_act": "silu",
        "hidden_size": config.hidden,
        "intermediate_size": config.ffn_hidden,
        "max_position_embeddings": config.context,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "num_key_value_heads": config.kv_heads,
        "rms_norm_eps": config.norm_epsilon,
        "rope_parameters": {"rope_theta": config.rope_theta, "rope_type": "default"},
        "rope_theta": config.rope_theta,
        "tie_word_embeddings": config.tied,
        "torch_dtype": "float32",
        "vocab_size": config.vocabulary_size,
    }


def from_hugging_face(config: Mapping[str, Any], path: Path) -> ModelConfig:
    """The shape in a Hugging Face config; refuses what this Llama would compute differently."""

    def refuse(what: str) -> FirnlineError:
        return FirnlineError(f"{path}: {what}", mend="use a plain Llama checkpoint")

    if not isinstance(config, Mapping) or config.get("model_type") != "llama":
        kind = config.get("model_type") if isinstance(config, Mapping) else type(config).__name__
        raise refuse(f"model_type is {kind!r}, not 'llama'")
    for key, plain in (("hidden_act", "silu"), ("attention_bias", False), ("mlp_bias", False)):
        if config.get(key, plain) != plain:
            raise refuse(f"{key} is {config[key]!r}, only {plain!r} is supported")
    rope: Mapping[str, Any] = config.get("rope_parameters") or config.get("rope_scaling") or {}
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    if rope_type != "default":
        raise refuse(f"rope_type is {rope_type!r}, only 'default' is supported")
    try:
        shape = ModelConfig(
            vocabulary_size=config["vocab_size"],
            hidden=config["hidden_size"],
            ffn_hidden=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
            context=config.get("max_position_embeddings", 2048),
            rope_theta=rope.get("rope_theta", config.get("rope_theta", 10_000.0)),
            tied=config.get("tie_word_embeddings", False),
            norm_epsilon=config.get("rms_norm_eps", 1e-6),
        )
    except KeyError as error:
        raise refuse(f"{error.args[0]} is missing") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise refuse(f"{key} {first['msg']}".strip()) from None
    if (config.get("head_dim") or shape.head_size) != shape.head_size:
        raise refuse(f"head_dim is {config['head_dim']}, only hidden / heads is supported")
    return shape


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


def _check(folder: Path, expected: dict[str, torch.Size], found: dict[str, Tensor]) -> None:
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is not part of a Llama" for name in found if name not in expected]
    problems += [
        f"{name} is {list(found[name].shape)}, config.json makes it {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name].shape != shape
    ]
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise FirnlineError(
            f"{folder}: weights do not fit config.json: {problems[0]}{more}",
            mend="use the two files of one checkpoint",
        )
