"""A byte tokenizer and a tiny model, small enough for brute force."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from firnline.model.config import ModelConfig
from firnline.model.llama import Llama


class ByteTokenizer:
    """Token b + 1 is byte b; token 0 is the end of text."""

    end_of_text = 0
    vocabulary_size = 257

    def encode(self, text: str) -> NDArray[np.uint16]:
        return np.frombuffer(text.encode(), np.uint8).astype(np.uint16) + 1

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        return bytes(int(i) - 1 for i in ids).decode("utf-8", "replace")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Brute force is many small operations: threads would only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    assert torch.get_num_threads() == 1  # the code under test leaves it as it was
    torch.set_num_threads(before)


@pytest.fixture
def tokenizer() -> ByteTokenizer:
    return ByteTokenizer()


@pytest.fixture(scope="session")
def model() -> Llama:
    shape = ModelConfig(
        vocabulary_size=257, hidden=32, ffn_hidden=48, layers=2, heads=4, kv_heads=2, context=48
    )
    model = Llama(shape).initialise(seed=3)
    for weight in model.parameters():  # far from uniform, so that mistakes show
        weight.data *= 4 if weight.dim() == 2 else 1
    return model.eval()
