"""Losses against transformers and against a loop over tokens."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from firnline.benchmarks.problem import Problem
from firnline.evaluation.losses import _windows, solution_losses, text_losses
from firnline.evaluation.tokenizer import Tokenizer
from firnline.model import checkpoint
from firnline.model.llama import Llama


def problem(prompt: str, solution: str) -> Problem:
    return Problem("test", prompt, prompt, solution, "", "f")


def one_by_one(model: Llama, ids: list[int], targets: int) -> float:
    """Nats of the last tokens, each from a forward pass of its own."""
    nats = 0.0
    for end in range(len(ids) - targets, len(ids)):
        with torch.no_grad():
            logits = model(torch.tensor([ids[:end]]))[0, -1].double()
        nats -= float(logits.log_softmax(-1)[ids[end]])
    return nats


def test_solution_losses_are_those_of_a_loop(model: Llama, tokenizer: Tokenizer) -> None:
    problems = [
        problem("def f():\n", "  return 1"),
        problem("", "x"),
        problem("α = ", "'é'\n"),
        problem("def g(a):\n", "  a"),
    ]
    losses = solution_losses(model, tokenizer, problems)
    for loss, each in zip(losses, problems, strict=True):
        prompt, solution = each.prompt.encode(), each.solution.encode()
        ids = [0, *(b + 1 for b in prompt + solution)]
        expected = one_by_one(model, ids, len(solution))
        assert loss.nats == pytest.approx(expected, rel=1e-5)
        assert loss.tokens == loss.bytes == len(solution)
        assert loss.bits_per_byte == pytest.approx(expected / math.log(2) / len(solution), rel=1e-5)


def test_text_losses_are_those_of_transformers(
    model: Llama, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="install the extra: firnline[hf]")
    checkpoint.save(model, tmp_path)
    peer = transformers.LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    texts = ["import os\n", "x = 1\n" * 7, "é"]
    for loss, text in zip(text_losses(model, tokenizer, texts), texts, strict=True):
        ids = torch.tensor([[0, *(b + 1 for b in text.encode())]])
        with torch.no_grad():
            mean = float(peer(ids, labels=ids).loss)  # over all but the first token
        assert loss.nats / loss.tokens == pytest.approx(mean, rel=1e-5)


def test_a_long_prompt_is_cut_from_the_left(model: Llama, tokenizer: Tokenizer) -> None:
    context = model.config.context
    long = "abcdefgh" * 20
    (loss,) = solution_losses(model, tokenizer, [problem(long, "xyz")])
    ids = [b + 1 for b in (long + "xyz").encode()][-(context + 1) :]
    with torch.no_grad():
        logs = model(torch.tensor([ids[:-1]]))[0].double().log_softmax(-1)
    expected = -sum(float(logs[at - 1, ids[at]]) for at in range(len(ids) - 3, len(ids)))
    assert loss.nats == pytest.approx(expected, rel=1e-5)


def test_a_uniform_model_pays_the_logarithm_of_its_vocabulary(tokenizer: Tokenizer) -> None:
    from firnline.model.config import ModelConfig

    shape = ModelConfig(
        vocabulary_size=257, hidden=8, ffn_hidden=8, layers=1, heads=1, kv_heads=1, context=16
    )
    uniform = Llama(shape).initialise(seed=0)
    for weight in uniform.parameters():
        weight.data.zero_()
    text = "print('long enough for several windows of sixteen tokens')\n"
    (loss,) = text_losses(uniform, tokenizer, [text])
    assert loss.nats == pytest.approx(len(text) * math.log(257), rel=1e-6)
    assert loss.bits_per_byte == pytest.approx(math.log2(257), rel=1e-6)


def test_the_order_of_the_problems_does_not_matter(model: Llama, tokenizer: Tokenizer) -> None:
    texts = ["a" * n for n in range(1, 70, 7)]
    forward = text_losses(model, tokenizer, texts)
    backward = text_losses(model, tokenizer, texts[::-1])[::-1]
    assert [a.nats for a in forward] == pytest.approx([b.nats for b in backward], rel=1e-5)


@given(st.integers(1, 120), st.integers(0, 120), st.integers(2, 40))
def test_windows_count_each_target_once_with_enough_before_it(
    prompt: int, targets: int, context: int
) -> None:
    sequence = np.arange(prompt + targets)
    counted: list[int] = []
    for ids, count in _windows(sequence, targets, context):
        assert 0 < count < len(ids) <= context + 1
        assert (np.diff(ids) == 1).all()
        before = len(ids) - count
        assert before >= min(context // 2, ids[before])
        counted += ids[before:].tolist()
    assert counted == list(range(prompt, prompt + targets))
