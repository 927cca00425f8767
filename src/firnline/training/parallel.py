"""What stands around a model's blocks: activation checkpointing, compile, sharding, in this order.

A block is an element of an outermost `nn.ModuleList`: a decoder layer here, an encoder's or
decoder's block in a model of `transformers`. The model itself knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.utils.checkpoint import checkpoint

from firnline.model.shards import unset, whole
from firnline.training.distributed import Ranks
from firnline.training.phase import PhaseConfig


def parallelise(model: nn.Module, config: PhaseConfig, ranks: Ranks) -> None:
    """Changes `model` in place: its forward and backward give the same numbers but for rounding.

    With one rank on a CPU the model stays a plain one. Otherwise its parameters become DTensors
    on the rank's device, sharded block by block (FSDP2; Zhao et al. 2023): gradients are summed
    over ranks, not averaged. A model on the meta device gets memory for the rank's shards alone,
    and what it holds there is not set.
    """
    layers = list(blocks(model))
    every = {"none": 0, "full": 1}.get(str(config.activation_checkpointing))
    every = int(config.activation_checkpointing) if every is None else every
    for number, layer in enumerate(layers):
        if config.compile:
            _replace_forward(layer, torch.compile(layer.forward))
        if every and number % every == 0:
            _replace_forward(layer, partial(checkpoint, layer.forward, use_reentrant=False))
    if sharded(ranks):
        _shard(model, layers, config, ranks)
    if unset(model):
        model.to_empty(device=ranks.device)


def _shard(model: nn.Module, layers: list[nn.Module], config: PhaseConfig, ranks: Ranks) -> None:
    mesh = ranks.mesh(config.shard_ranks)
    half = torch.bfloat16 if config.precision == "bfloat16" else None
    policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32)
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo has no other
    for method in ("loss", "token_losses"):
        if hasattr(model, method):
            register_fsdp_forward_method(model, method)


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The elements of the outermost module lists, in the model's order."""
    for child in model.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from blocks(child)


def sharded(ranks: Ranks) -> bool:
    """Whether parameters are spread over ranks; on a GPU always, for its mixed precision."""
    return ranks.count > 1 or ranks.device.type == "cuda"


def arithmetic(config: PhaseConfig, ranks: Ranks) -> AbstractContextManager[Any]:
    """Mixed precision where the sharding does not bring it."""
    if config.precision == "bfloat16" and not sharded(ranks):
        return torch.autocast(ranks.device.type, torch.bfloat16)
    return nullcontext()


def synchronise_gradients(model: nn.Module, wanted: bool) -> None:
    """Whether the next backward pass sums gradients over ranks or adds them up on each."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(wanted)


def scale_and_clip(model: nn.Module, targets: float, clip: float) -> float:
    """Divides the gradient by `targets` and cuts its norm to `clip`; the norm before the cut.

    The norm is that of the gradient of all parameters on all ranks.
    """
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    norm = float(whole(torch.nn.utils.get_total_norm(gradients))) / targets
    torch._foreach_mul_(gradients, min(1.0, clip / (norm + 1e-6)) / targets)
    return norm


def plain(model: nn.Module, build: Callable[[], nn.Module], ranks: Ranks) -> nn.Module | None:
    """The model whole and on the CPU of rank 0, elsewhere None. Every rank must ask.

    `build` makes an unsharded one to put the weights into, where `model` is sharded. For models
    that fit into one process twice; `checkpoint.save` takes shards.
    """
    if not sharded(ranks):
        return model
    weights = {}
    for name, tensor in model.state_dict().items():
        value = whole(tensor)
        if ranks.first:
            weights[name] = value.cpu()
    if not ranks.first:
        return None
    alone = build()
    alone.load_state_dict(weights)
    return alone


def _replace_forward(layer: nn.Module, forward: Callable[..., Any]) -> None:
    # An attribute of the one module: no wrapper, so parameters keep their names.
    layer.forward = forward
