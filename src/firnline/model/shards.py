"""Weights that are spread over ranks: what each holds of them, and the whole again.

A model too large for one host is built on the meta device, sharded, given memory (`to_empty`), and
only then gets its weights: each rank sets its own rows, one weight after the other. All of it works
on plain tensors too, so that one process needs no code of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor's whole, on every rank; every rank must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor: the same memory."""
    with torch.no_grad():
        held: Tensor = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return held.detach()


def set_rows(weight: Tensor, read: Callable[[slice], Tensor]) -> None:
    """Sets what this rank holds of a weight; `read` gives rows of the whole."""
    rows, first = local(weight), _first_row(weight)
    if len(rows):
        rows.copy_(read(slice(first, first + len(rows))))


def writes(model: nn.Module) -> bool:
    """Whether this process writes the files of a model: of a sharded one, only the first rank."""
    meshes = [weight.device_mesh for weight in model.parameters() if isinstance(weight, DTensor)]
    return not meshes or meshes[0].get_rank() == 0


def unset(model: nn.Module) -> bool:
    """Whether a model was built on the meta device and waits for memory and weights."""
    return any(weight.is_meta for weight in model.parameters())


def _first_row(weight: Tensor) -> int:
    """FSDP2 shards rows, as `torch.chunk` cuts them: the last ranks may have fewer, or none."""
    if not isinstance(weight, DTensor):
        return 0
    for axis, placement in enumerate(weight.placements):
        if placement.is_shard():
            each = -(-weight.shape[0] // weight.device_mesh.size(axis))
            return min(each * weight.device_mesh.get_local_rank(axis), weight.shape[0])
    return 0
