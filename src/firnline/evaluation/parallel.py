"""Runs the batches of one model side by side, each on a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from firnline import engine

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int | None = None
) -> list[Result]:
    """`work(item)` for each item, in order, on `workers` threads (default: cores).

    PyTorch runs each operation on the thread that calls it. So nothing waits for a core that is
    busy with something else, and sums are rounded the same way whatever the number of workers.
    """
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(
            workers or engine.cores(), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            return list(pool.map(work, items))
    finally:
        torch.set_num_threads(before)
