"""Losses that need no sampling: bits per byte of reference solutions, held-out loss.

Bits per byte compares models whatever their tokenizers, and ranks small models where pass@1 is
still zero (Magnusson et al. 2025, DataDecide).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from firnline.benchmarks.problem import Problem
from firnline.evaluation.parallel import in_threads
from firnline.evaluation.tokenizer import Tokenizer
from firnline.model.llama import Llama

Ids = NDArray[np.int64]
Window = tuple[int, Ids, int]  # number of the sequence, ids, targets
_BATCH_TOKENS = 4096
_NO_TARGET = -100


@dataclass(frozen=True)
class Loss:
    """What a model pays for one text: nats in all, tokens counted, UTF-8 bytes of the text."""

    nats: float
    tokens: int
    bytes: int

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.bytes


def solution_losses(
    model: Llama, tokenizer: Tokenizer, problems: Sequence[Problem], workers: int | None = None
) -> list[Loss]:
    """The loss of each problem's reference solution, given its prompt.

    The sequence is end of text, the prompt, the solution, the last two encoded apart, as when a
    model is asked to complete the prompt. Only the solution's tokens count. Where the sequence
    exceeds the context, the prompt is cut from the left; see `_windows`.
    """
    prompts = _encode(tokenizer, [problem.prompt for problem in problems])
    solutions = _encode(tokenizer, [problem.solution for problem in problems])
    start = np.array([tokenizer.end_of_text])
    sequences = [
        (np.concatenate((start, prompt, solution)), len(solution))
        for prompt, solution in zip(prompts, solutions, strict=True)
    ]
    nats = _sequence_losses(model, sequences, workers)
    return [
        Loss(loss, len(solution), len(problem.solution.encode()))
        for loss, solution, problem in zip(nats, solutions, problems, strict=True)
    ]


def text_losses(
    model: Llama, tokenizer: Tokenizer, texts: Sequence[str], workers: int | None = None
) -> list[Loss]:
    """The loss of each text from its first token on, after an end of text."""
    encoded = _encode(tokenizer, texts)
    start = np.array([tokenizer.end_of_text])
    sequences = [(np.concatenate((start, ids)), len(ids)) for ids in encoded]
    nats = _sequence_losses(model, sequences, workers)
    return [
        Loss(loss, len(ids), len(text.encode()))
        for loss, ids, text in zip(nats, encoded, texts, strict=True)
    ]


def _encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Ids]:
    return [np.asarray(ids, dtype=np.int64) for ids in map(tokenizer.encode, texts)]


def _sequence_losses(
    model: Llama, sequences: Sequence[tuple[Ids, int]], workers: int | None
) -> list[float]:
    """Nats of the last `targets` tokens of each (ids, targets), in float64."""
    windows = [
        (number, ids, targets)
        for number, (sequence, count) in enumerate(sequences)
        for ids, targets in _windows(sequence, count, model.config.context)
    ]
    windows.sort(key=lambda window: (len(window[1]), window[0]))  # little padding
    totals = [0.0] * len(sequences)
    batches = _batches(windows)
    for batch, losses in zip(
        batches, in_threads(partial(_batch_losses, model), batches, workers), strict=True
    ):
        for (number, _, _), loss in zip(batch, losses, strict=True):
            totals[number] += loss
    return totals


def _batch_losses(model: Llama, batch: Sequence[Window]) -> list[float]:
    longest = max(len(ids) for _, ids, _ in batch) - 1
    inputs = torch.zeros((len(batch), longest), dtype=torch.int64)
    wanted = torch.full((len(batch), longest), _NO_TARGET)
    for row, (_, ids, targets) in enumerate(batch):
        tokens = torch.from_numpy(ids)
        inputs[row, : len(ids) - 1] = tokens[:-1]
        wanted[row, len(ids) - 1 - targets : len(ids) - 1] = tokens[len(ids) - targets :]
    with torch.inference_mode():
        losses: list[float] = model.token_losses(inputs, wanted).double().sum(dim=1).tolist()
    return losses


def _windows(ids: Ids, targets: int, context: int) -> list[tuple[Ids, int]]:
    """Cuts a sequence into pieces of at most context + 1 tokens; its last `targets` count once.

    A sequence that fits is one piece. A longer one loses its beginning where the targets need
    only the end; otherwise targets come in runs of half a context, each with what stands before
    it, so that no target has less than half a context before it but for those that begin a text.
    """
    if targets == 0:
        return []
    if len(ids) <= context + 1:
        return [(ids, targets)]
    run = max(1, context // 2)
    if targets <= run:
        return [(ids[-(context + 1) :], targets)]
    pieces = []
    first = len(ids) - targets
    # The first piece is as long as fits; then each adds a run.
    end = min(max(first + run, context + 1), len(ids))
    while first < end:
        pieces.append((ids[max(0, end - context - 1) : end], end - first))
        first, end = end, min(end + run, len(ids))
    return pieces


def _batches(windows: list[Window]) -> list[list[Window]]:
    """Consecutive runs of windows, ascending in length, of at most _BATCH_TOKENS with padding."""
    batches: list[list[Window]] = []
    for window in windows:
        if not batches or len(window[1]) * (len(batches[-1]) + 1) > _BATCH_TOKENS:
            batches.append([])
        batches[-1].append(window)
    return batches
