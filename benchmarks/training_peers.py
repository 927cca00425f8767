"""Other trainers of a Llama's shape, and what `training_gpu.py` gives to them and to ours alike.

Both train in bfloat16 mixed precision with fused AdamW and clipping.
"""

from __future__ import annotations

import importlib
import statistics
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from firnline.batch import Batch
from firnline.model.config import FlopsPerToken, ModelConfig, flops_per_token, parameter_count
from firnline.model.families import to_hugging_face
from firnline.model.llama import Llama

RATE = 3e-4
WARM_STEPS = 3
DOCUMENT_TOKENS = 1000
# litgpt 0.5.13 asks for an older huggingface-hub than transformers 5 does; nothing here uses it.
INSTALL_LITGPT = (
    "pip install --no-deps litgpt lightning lightning-utilities torchmetrics pytorch-lightning "
    "jsonargparse"
)


class Setting(NamedTuple):
    """What all rows share."""

    shape: ModelConfig
    length: int
    fresh: Llama
    """The model before its first step."""
    steps: int
    device: str
    compile: bool
    peak: float | None
    """FLOP/s of the device's data sheet."""

    @property
    def flops(self) -> FlopsPerToken:
        return flops_per_token(self.shape, self.length)


class Code:
    """Samples of the standard library's source, two bytes a token, documents of a fixed length."""

    def __init__(self, vocabulary_size: int, length: int, documents: bool) -> None:
        files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
        text = b"".join(file.read_bytes() for file in files)
        self.ids = np.frombuffer(text[: len(text) // 2 * 2], "<u2").astype(np.int64)
        self.ids %= vocabulary_size
        self.length, self.documents = length, documents

    def batch(self, start: int, count: int) -> Batch:
        places = np.arange(start, start + count)[:, None] * self.length + np.arange(self.length + 1)
        numbers = np.arange(self.length + 1, dtype=np.int32) // DOCUMENT_TOKENS
        documents = np.tile(numbers, (count, 1)) if self.documents else None
        return Batch(self.ids[places % len(self.ids)], documents)

    def epochs(self, samples: int) -> dict[str, float]:
        return {"stdlib": samples * self.length / len(self.ids)}


def transformers_rate(compiled: bool, sequences: int, setting: Setting) -> float:
    config = LlamaConfig(**to_hugging_face(setting.shape), attn_implementation="sdpa")
    model = LlamaForCausalLM(config)
    model.load_state_dict(setting.fresh.state_dict(), strict=False)
    model.to(setting.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), fused=True)
    forward = torch.compile(model) if compiled else model

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(setting.device, torch.bfloat16):
            loss: Tensor = forward(
                input_ids=inputs, labels=targets, shift_labels=targets, use_cache=False
            ).loss
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    return plain_loop(step, sequences, setting)


def litgpt_rate(compiled: bool, sequences: int, setting: Setting) -> float:
    """litgpt's pretraining of one device: Fabric's mixed precision, the whole model compiled.

    Its weights are its own: their names differ, and the rate does not depend on them.
    """
    litgpt = importlib.import_module("litgpt")
    loss_of = importlib.import_module("litgpt.utils").chunked_cross_entropy
    fabric = importlib.import_module("lightning").Fabric(
        accelerator=setting.device, devices=1, precision="bf16-mixed"
    )
    with fabric.init_module():
        model = litgpt.GPT(litgpt.Config(**litgpt_shape(setting.shape)))
    if setting.shape.tied:
        model.transformer.wte.weight = model.lm_head.weight
    model.max_seq_length = setting.length
    count = sum(parameter.numel() for parameter in model.parameters())
    if count != parameter_count(setting.shape):
        raise SystemExit(f"litgpt's model has {count:,} parameters: another shape")
    model = fabric.setup(torch.compile(model) if compiled else model)
    optimizer = fabric.setup_optimizers(
        torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), fused=True)
    )

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = loss_of(model(inputs), targets)
        fabric.backward(loss)
        fabric.clip_gradients(model, optimizer, max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return plain_loop(step, sequences, setting)


def litgpt_shape(shape: ModelConfig) -> dict[str, Any]:
    """litgpt's config of a plain Llama, by litgpt 0.5.13's names."""
    return {
        "block_size": shape.context,
        "n_layer": shape.layers,
        "n_embd": shape.hidden,
        "n_head": shape.heads,
        "n_query_groups": shape.kv_heads,
        "head_size": shape.head_size,
        "intermediate_size": shape.ffn_hidden,
        "vocab_size": shape.vocabulary_size,
        "padded_vocab_size": shape.vocabulary_size,
        "norm_class_name": "RMSNorm",
        "norm_eps": shape.norm_epsilon,
        "mlp_class_name": "LLaMAMLP",
        "rope_base": int(shape.rope_theta),
        "rotary_percentage": 1.0,
        "parallel_residual": False,
        "bias": False,
    }


def plain_loop(step: Callable[[Tensor, Tensor], Tensor], sequences: int, setting: Setting) -> float:
    """Tokens a second of steps that are given inputs and targets and give their loss."""
    samples = Code(setting.shape.vocabulary_size, setting.length, documents=False)
    seconds = []
    for number in range(setting.steps):
        started = time.perf_counter()
        rows = torch.from_numpy(samples.batch(number * sequences, sequences).ids)
        rows = rows.to(setting.device)
        loss = step(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
        loss.item()  # waits for the device, as a loop that logs its loss does
        seconds.append(time.perf_counter() - started)
    return sequences * setting.length / statistics.median(seconds[WARM_STEPS:])
