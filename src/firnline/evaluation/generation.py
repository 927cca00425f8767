"""Greedy decoding with a key-value cache."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from firnline.benchmarks.problem import Problem
from firnline.evaluation.parallel import in_threads
from firnline.evaluation.tokenizer import Tokenizer
from firnline.model.llama import KVCache, Llama

# A function's body ends where the next top-level statement begins (Chen et al. 2021, section 2.2,
# and the statements that base models go on with most).
BODY_STOPS = (
    "\nclass ",
    "\ndef ",
    "\n#",
    "\nif ",
    "\nprint(",
    "\n@",
    "\nassert ",
    "\nimport ",
    "\nfrom ",
    '\n"""',
    "\n'''",
)
# Where the prompt does not begin the function, only what cannot be part of an answer.
PROGRAM_STOPS = ("\nif __name__", "\nprint(", "\nassert ", '\n"""', "\n'''", "\n# Test")
_ROWS = 32
_CACHE_TOKENS = 1 << 15
_CHECK_EVERY = 8


def stops_for(problem: Problem) -> tuple[str, ...]:
    """The stop strings that fit a problem: does its prompt begin the function, or only ask?"""
    begun = f"def {problem.entry_point}(" in problem.prompt
    return BODY_STOPS if begun else PROGRAM_STOPS


def generate(
    model: Llama,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    stop: Sequence[str],
    workers: int | None = None,
) -> list[str]:
    """The greedy completion of each prompt: up to the first stop string or end of text.

    A prompt follows an end of text, as a document does in training. Prompt and completion share
    the model's context: a long prompt is cut from the left, and at least half of the context is
    the prompt's. Prompts of similar length run together.
    """
    room = min(max_new_tokens, model.config.context // 2)
    longest = model.config.context - room
    encoded = [
        np.append(tokenizer.end_of_text, ids).astype(np.int64)[-longest:]
        for ids in map(tokenizer.encode, prompts)
    ]
    order = sorted(range(len(prompts)), key=lambda number: (len(encoded[number]), number))
    batches = []
    while order:  # the longest first, so that no thread is left with them in the end
        rows = max(1, min(_ROWS, _CACHE_TOKENS // (len(encoded[order[-1]]) + room)))
        batches.append(order[-rows:])
        order = order[:-rows]

    def decode(batch: list[int]) -> list[str]:
        return _decode(model, tokenizer, [encoded[number] for number in batch], room, stop)

    texts = in_threads(decode, batches, workers)
    completions = [""] * len(prompts)
    for batch, found in zip(batches, texts, strict=True):
        for number, text in zip(batch, found, strict=True):
            completions[number] = text
    return completions


def _decode(
    model: Llama,
    tokenizer: Tokenizer,
    prompts: Sequence[np.ndarray[tuple[int], np.dtype[np.int64]]],
    max_new_tokens: int,
    stop: Sequence[str],
) -> list[str]:
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    padded = torch.zeros((len(prompts), int(lengths.max())), dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        padded[row, : len(prompt)] = torch.from_numpy(prompt)
    texts = [""] * len(prompts)
    alive = list(range(len(prompts)))
    cache = KVCache(model.config, len(prompts), padded.shape[1] + max_new_tokens)
    with torch.inference_mode():
        hidden = model.model(padded, cache)[torch.arange(len(prompts)), lengths - 1]
        cache.lengths = lengths
        new = _best(model, hidden)[:, None]  # [alive, tokens so far]
        for step in range(1, max_new_tokens + 1):
            if step % _CHECK_EVERY == 0 or step == max_new_tokens:
                going = []
                for row, ids in enumerate(new.tolist()):
                    text, ended = _cut(tokenizer, ids, stop)
                    texts[alive[row]] = text
                    if not ended:
                        going.append(row)
                if not going or step == max_new_tokens:
                    break
                if len(going) < len(alive):
                    alive = [alive[row] for row in going]
                    kept = torch.tensor(going)
                    cache.keep(kept)
                    new = new[kept]
            hidden = model.model(new[:, -1:], cache)[:, -1]
            new = torch.cat((new, _best(model, hidden)[:, None]), dim=1)
    return texts


def _best(model: Llama, hidden: Tensor) -> Tensor:
    """The likeliest next token of each row; only these rows need the output matrix."""
    return F.linear(hidden, model.output_weight).argmax(dim=-1)


def _cut(tokenizer: Tokenizer, ids: list[int], stop: Sequence[str]) -> tuple[str, bool]:
    """The text up to its end, and whether an end was found."""
    ended = tokenizer.end_of_text in ids
    if ended:
        ids = ids[: ids.index(tokenizer.end_of_text)]
    text = tokenizer.decode(ids)
    found = [at for at in (text.find(string) for string in stop) if at >= 0]
    return (text[: min(found)], True) if found else (text, ended)
