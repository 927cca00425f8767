"""Greedy decoding against a loop without a cache."""

from __future__ import annotations

import copy

import pytest
import torch

from firnline.benchmarks.problem import Problem
from firnline.evaluation import generation
from firnline.evaluation.generation import BODY_STOPS, PROGRAM_STOPS, generate, stops_for
from firnline.evaluation.tokenizer import Tokenizer
from firnline.model.llama import Llama

PROMPTS = ["def f(x):\n", "", "import os\nimport sys\n", "é", "x", "class A:\n    def b(self"]


def without_cache(model: Llama, prompt: str, new: int) -> list[int]:
    ids = [0, *(b + 1 for b in prompt.encode())]
    start = len(ids)
    for _ in range(new):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[start:]


@pytest.mark.parametrize("rows", [1, 2, 64])
def test_completions_are_those_of_a_loop(
    model: Llama, tokenizer: Tokenizer, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "_ROWS", rows)
    made = generate(model, tokenizer, PROMPTS, max_new_tokens=19, stop=())
    for prompt, text in zip(PROMPTS, made, strict=True):
        ids = without_cache(model, prompt, 19)
        ids = ids[: ids.index(0)] if 0 in ids else ids
        assert text == tokenizer.decode(ids)


def test_stops_are_cut_at_the_first_and_leave_the_other_rows(
    model: Llama, tokenizer: Tokenizer
) -> None:
    whole = generate(model, tokenizer, PROMPTS, max_new_tokens=20, stop=())
    stop = [whole[0][4:6], whole[0][2:4], whole[2][:1]]
    cut = generate(model, tokenizer, PROMPTS, max_new_tokens=20, stop=stop)
    for text, full in zip(cut, whole, strict=True):
        found = [full.find(string) for string in stop if string in full]
        assert text == full[: min(found, default=len(full))]
    assert cut[2] == ""


def test_end_of_text_ends_a_completion(model: Llama, tokenizer: Tokenizer) -> None:
    whole = without_cache(model, "abc", 12)

    early = copy.copy(tokenizer)
    vars(early)["end_of_text"] = whole[5]

    ids = [whole[5], *(b + 1 for b in b"abc")]
    expected = []
    for _ in range(12):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
        if ids[-1] == whole[5]:
            break
        expected.append(ids[-1])
    (text,) = generate(model, early, ["abc"], max_new_tokens=12, stop=())
    assert text == tokenizer.decode(expected)


def test_prompt_and_completion_share_the_context(model: Llama, tokenizer: Tokenizer) -> None:
    context = model.config.context
    (long,) = generate(model, tokenizer, ["ab" * 100], max_new_tokens=10**6, stop=())
    ids = [b + 1 for b in ("ab" * 100).encode()][-(context - context // 2) :]
    for _ in range(context // 2):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    assert long == tokenizer.decode(ids[-(context // 2) :])


def test_stops_fit_the_kind_of_prompt() -> None:
    begun = Problem("b", "1", "def f(x):\n", "", "", "f")
    asked = Problem("b", "1", '"""Write f."""\n', "", "", "f")
    assert stops_for(begun) == BODY_STOPS
    assert stops_for(asked) == PROGRAM_STOPS
