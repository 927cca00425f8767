"""Objectives on pairs of text and code: contrast, matching, generation in both directions."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from firnline.errors import FirnlineError
from firnline.kernels.draws import words
from firnline.model.loss import IGNORE
from firnline.training.objectives.objective import (
    Integers,
    Loss,
    Objective,
    Setup,
    Tensors,
    fit,
    sequence_loss,
    tensors,
)


class PairSource(Protocol):
    """Pairs of a text and the code that it describes, by number, as samples are."""

    text_length: int
    """Tokens of a text at most; longer ones are cut."""
    code_length: int
    """Tokens of code at most."""

    def pairs(self, start: int, count: int) -> tuple[Integers, Integers]:
        """Texts [count, text_length] and codes [count, code_length]; -1 where they are shorter."""


class Contrast(Objective):
    """Texts and codes find one another among those of their group (CodeT5+, section 3.1).

    A sample is a group of pairs, which stands for the papers' batch: the loss of a sample does not
    depend on how a batch is cut into micro-batches or among ranks.
    """

    name = "contrast"
    heads = ("embed",)

    def __init__(
        self,
        setup: Setup,
        pairs: PairSource,
        *,
        group: int = 16,
        temperature: float = 0.07,
    ) -> None:
        """`group` pairs to a sample, 2 or more; similarities are divided by `temperature`."""
        super().__init__(setup)
        check_group(self, group)
        self.pairs, self.group, self.temperature = pairs, group, temperature
        fit(self, "a text or code", 1 + max(pairs.text_length, pairs.code_length))

    def batch(self, first: int, count: int) -> Tensors:
        """texts [count, group, text_length] and codes [count, group, code_length]."""
        return tensors(**groups(self, self.pairs, self.group, first, count))

    def loss(self, model: nn.Module, batch: Tensors) -> Loss:
        """Symmetric InfoNCE: the mean of both directions, summed over pairs; how many pairs.

        A pair whose text or code is the same as another's is no negative of it.
        """
        (codes, texts), right = self._logits(model, batch)
        total = functional.cross_entropy(codes, right, reduction="sum")
        total = (total + functional.cross_entropy(texts, right, reduction="sum")) / 2
        return total, torch.tensor(len(right), device=right.device)

    def found(self, model: nn.Module, batch: Tensors) -> list[int]:
        """Of how many texts the code is the most like one of the group, of how many codes the
        text."""
        sides, right = self._logits(model, batch)
        return [int((side.argmax(-1) == right).sum()) for side in sides]

    def _logits(self, model: nn.Module, batch: Tensors) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """[pairs, group] of texts for codes and of codes for texts, and which is right."""
        texts, codes = batch["texts"], batch["codes"]
        similarity = embed(self, model, texts) @ embed(self, model, codes).transpose(1, 2)
        logits = similarity / self.temperature
        logits = logits.masked_fill(alike(texts, codes), float("-inf"))
        right = torch.arange(self.group, device=texts.device).repeat(len(texts))
        return (logits.flatten(0, 1), logits.transpose(1, 2).flatten(0, 1)), right


class Matching(Objective):
    """Whether a code is the one that a text describes, read together (CodeT5+, section 3.1).

    For each pair of a group there is a wrong one: its text with another code of the group, drawn
    at random, or with the one most like it by the embeddings of `Contrast` (hard).
    """

    name = "matching"

    def __init__(
        self,
        setup: Setup,
        pairs: PairSource,
        *,
        group: int = 16,
        negatives: Literal["random", "hard"] = "random",
    ) -> None:
        """`hard` reads the head that `Contrast` trains: mix the two."""
        super().__init__(setup)
        check_group(self, group)
        self.pairs, self.group, self.negatives = pairs, group, negatives
        self.heads = ("embed", "match") if negatives == "hard" else ("match",)
        fit(self, "a text with its code", 3 + pairs.text_length + pairs.code_length)

    def batch(self, first: int, count: int) -> Tensors:
        """texts and codes as those of `Contrast`, and draws [count, group], from which a random
        wrong code follows."""
        arrays = groups(self, self.pairs, self.group, first, count)
        states = np.repeat(self.states(first, count), self.group)
        drawn = words(states, np.tile(np.arange(self.group), count)) >> np.uint64(2)
        return tensors(**arrays, draws=drawn.astype(np.int64).reshape(count, self.group))

    def loss(self, model: nn.Module, batch: Tensors) -> Loss:
        """Binary cross-entropy of right and wrong pairs, and how many they are.

        A pair of which all others of its group are duplicates has no wrong one.
        """
        right, wrong = self._both(model, batch)
        total = functional.softplus(-right.float()).sum() + functional.softplus(wrong.float()).sum()
        return total, torch.tensor(len(right) + len(wrong), device=right.device)

    def found(self, model: nn.Module, batch: Tensors) -> list[int]:
        """How many pairs, right and wrong, are told to be what they are."""
        right, wrong = self._both(model, batch)
        return [int((right > 0).sum() + (wrong < 0).sum())]

    def _both(self, model: nn.Module, batch: Tensors) -> tuple[Tensor, Tensor]:
        """Logits of the right pairs and of the wrong ones."""
        texts, codes = batch["texts"], batch["codes"]
        own = torch.eye(self.group, dtype=torch.bool, device=texts.device)
        usable = ~alike(texts, codes) & ~own
        exists = usable.any(-1)
        if self.negatives == "hard":
            with torch.no_grad():
                like = embed(self, model, texts) @ embed(self, model, codes).transpose(1, 2)
            wrong = like.masked_fill(~usable, float("-inf")).argmax(-1)
        else:
            place = batch["draws"] % usable.sum(-1).clamp(min=1)
            wrong = (usable.cumsum(-1) == place[..., None] + 1).int().argmax(-1)
        chosen = codes.gather(1, wrong[..., None].expand_as(codes))
        right = self._logits(model, texts.flatten(0, 1), codes.flatten(0, 1))
        exists = exists.flatten()
        bad = self._logits(model, texts.flatten(0, 1)[exists], chosen.flatten(0, 1)[exists])
        return right, bad

    def _logits(self, model: nn.Module, texts: Tensor, codes: Tensor) -> Tensor:
        """Reads `classify` text `separate` code `separate`, padding left out by the mask."""
        added = [self.vocabulary.added(name) for name in ("classify", "separate", "separate")]
        classify, separate, last = (texts.new_full((len(texts), 1), token) for token in added)
        inputs = torch.cat([classify, texts, separate, codes, last], dim=1)
        logits: Tensor = model("match", inputs, self.visible(inputs))
        return logits


class DualGeneration(Objective):
    """Code from its text and text from its code (CodeT5, section 3.2: bimodal dual generation).

    Samples 2 n and 2 n + 1 are the two directions of pair n.
    """

    name = "dual_generation"
    families = ("t5",)

    def __init__(
        self,
        setup: Setup,
        pairs: PairSource,
    ) -> None:
        super().__init__(setup)
        self.pairs = pairs
        self.length = 1 + max(pairs.text_length, pairs.code_length)

    def batch(self, first: int, count: int) -> Tensors:
        """inputs and targets, both [count, 1 + the longer of the two lengths].

        Inputs begin with `to_code` or `to_text`. Targets end with end of text, unless they fill
        their length: then they may have been cut.
        """
        start = first // 2
        texts, codes = self.pairs.pairs(start, (first + count - 1) // 2 - start + 1)
        inputs, targets = self.empty(count, self.length), self.empty(count, self.length, IGNORE)
        for row in range(count):
            pair, direction = divmod(first + row, 2)
            given, wanted = (texts, codes) if direction == 0 else (codes, texts)
            tokens, told = given[pair - start], wanted[pair - start]
            tokens, whole = tokens[tokens >= 0], bool((told < 0).any())
            told = np.append(told[told >= 0], [self.vocabulary.end] * whole)
            inputs[row, 0] = self.vocabulary.added("to_text" if direction else "to_code")
            inputs[row, 1 : 1 + len(tokens)] = tokens
            targets[row, : len(told)] = told
        return tensors(inputs=inputs, targets=targets)

    def loss(self, model: nn.Module, batch: Tensors) -> Loss:
        """Nats of the targets, and how many."""
        return sequence_loss(model, self, batch)


def check_group(objective: Objective, group: int) -> None:
    """Raises FirnlineError where there is nothing to tell a pair from."""
    if group < 2:
        raise FirnlineError(f"objective {objective.name}: group is {group}", mend="2 or more")


def groups(
    objective: Objective, source: PairSource, group: int, first: int, count: int
) -> dict[str, Integers]:
    """Pairs first * group on as `texts` and `codes` of [count, group, length], padded."""
    texts, codes = source.pairs(first * group, count * group)
    pad = objective.vocabulary.pad
    return {
        name: np.where(ids < 0, pad, ids).reshape(count, group, -1)
        for name, ids in (("texts", texts), ("codes", codes))
    }


def embed(objective: Objective, model: nn.Module, tokens: Tensor) -> Tensor:
    """Vectors [samples, group, width] of tokens [samples, group, length], led by `classify`."""
    flat = tokens.flatten(0, 1)
    lead = flat.new_full((len(flat), 1), objective.vocabulary.added("classify"))
    inputs = torch.cat([lead, flat], dim=1)
    vectors: Tensor = model("embed", inputs, objective.visible(inputs))
    return vectors.view(*tokens.shape[:2], -1)


def alike(texts: Tensor, codes: Tensor) -> Tensor:
    """[samples, group, group]: pairs that are not the same but have the same text or code."""
    same = torch.zeros((*texts.shape[:2], texts.shape[1]), dtype=torch.bool, device=texts.device)
    for ids in (texts, codes):
        same |= (ids[:, :, None] == ids[:, None]).all(-1)
    own = torch.eye(texts.shape[1], dtype=torch.bool, device=texts.device)
    return same & ~own
