"""The ranks of a training run: who reads which samples, and the numbers they agree on.

`torchrun` starts one process for each GPU (or some on CPUs) and tells each its rank in the
environment. Without it there is one rank. What ranks say to one another here are a few numbers a
step, over gloo; gradients and weights go through the model's sharding (`parallel.py`).
"""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from firnline.errors import FirnlineError

_CONNECTION = ("gloo", "Connection closed", "Connection reset", "Timed out", "NCCL", "TCPStore")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train one model."""

    rank: int
    count: int
    device: torch.device
    control: dist.ProcessGroup | None
    """Carries small numbers; None where there is one process and no group."""
    checkpoints: dist.ProcessGroup | None
    """Carries the plans of checkpoints, which are written beside the steps."""

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes metrics and markers."""
        return self.rank == 0

    def part(self, first: int, count: int) -> tuple[int, int]:
        """This rank's share of the samples `first` to `first + count - 1`: its first, how many.

        The shares follow one another in the order of the ranks and differ by one at most.
        """
        start = self.rank * count // self.count
        return first + start, (self.rank + 1) * count // self.count - start

    def sum(self, *values: float) -> list[float]:
        """Each value summed over the ranks, in float64."""
        if self.count == 1:
            return [float(value) for value in values]
        numbers = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(numbers, group=self.control)
        return [float(number) for number in numbers]

    def tell(self, value: Any) -> Any:
        """Rank 0's `value`, on every rank."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.control)
        return box[0]

    def mesh(self, shards: int | None) -> DeviceMesh:
        """The ranks as [copies of the model, shards of each copy] (`shards` None: one copy)."""
        shards = shards or self.count
        if self.count % shards:
            raise FirnlineError(
                f"shard_ranks is {shards}, which does not divide the {self.count} ranks",
                mend="choose a divisor, or leave shard_ranks out",
            )
        if shards == self.count:
            return init_device_mesh(self.device.type, (shards,), mesh_dim_names=("shards",))
        shape, names = (self.count // shards, shards), ("copies", "shards")
        return init_device_mesh(self.device.type, shape, mesh_dim_names=names)


_joined: dict[str, Ranks] = {}


def join(device: str | None = None, timeout_seconds: int = 600) -> Ranks:
    """The ranks that `torchrun` started, this one among them; one rank alone without it.

    `device` is `cpu` or `cuda` (default: cuda where there is one). A group lives as long as the
    process; a rank that waits `timeout_seconds` for another ends with an error.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda" and not torch.cuda.is_available():
        raise FirnlineError("this machine has no CUDA device", mend="train with device: cpu")
    if kind not in _joined:
        _joined[kind] = _join(kind, timedelta(seconds=timeout_seconds))
    return _joined[kind]


def _join(kind: str, timeout: timedelta) -> Ranks:
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = torch.device(kind)
    if kind == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    elif count == 1:
        return Ranks(0, 1, device, None, None)
    backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    # One process alone needs no address to meet others at.
    alone = HashStore() if count == 1 else None
    dist.init_process_group(backend, store=alone, rank=rank, world_size=count, timeout=timeout)
    atexit.register(_leave)
    control, checkpoints = (dist.new_group(backend="gloo", timeout=timeout) for _ in range(2))
    return Ranks(rank, count, device, control, checkpoints)


def _leave() -> None:
    # The threads of a group that is still referred to would outlive the interpreter, and abort the
    # process if one of them then lets go of a Python object.
    _joined.clear()
    gc.collect()
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def other_ranks_alive(ranks: Ranks, what: str) -> Iterator[None]:
    """Turns the error of a rank that waits for one that died or hangs into one line."""
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, dist.DistError) or any(word in str(error) for word in _CONNECTION)
        if ranks.count == 1 or not lost:
            raise
        raise FirnlineError(
            f"{what}: rank {ranks.rank} lost another rank: {str(error).splitlines()[0][:200]}",
            mend="see what the other ranks said; run again to go on from the last state",
        ) from error
