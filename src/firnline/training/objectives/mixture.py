"""Several objectives in one phase, each with its share of the samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from firnline.errors import FirnlineError
from firnline.training.objectives.config import turns
from firnline.training.objectives.models import HeadedModel
from firnline.training.objectives.objective import Integers, Loss, Objective, Tensors


class Mixture:
    """A `Task`: each sample is of one objective, which a hash of its number chooses.

    Sample n of the mixture is sample n of its objective: of objectives on the same samples, each
    sees those that are its own. The model has the heads of all.
    """

    def __init__(
        self,
        objectives: Mapping[str, Objective],
        shares: Mapping[str, float],
        *,
        weights: Mapping[str, float] | None = None,
        block: int = 1,
    ) -> None:
        """`shares` of the samples, by the objectives' names here; they add up to 1.

        A step's loss is the mean over its targets, whatever their objectives, so that one with
        more targets to a sample counts more; `weights` multiply its losses (default 1). `block`:
        so many samples in a row are of one objective. With the samples of a step as the block all
        ranks run the same parts of the model at once, as sharded models must.

        Raises FirnlineError where objectives and shares disagree, or objectives among themselves.
        """
        wrong = set(objectives) ^ set(shares) or set(weights or {}) - set(objectives)
        bad = [name for name, share in shares.items() if not share > 0 or "." in name]
        if wrong or bad or abs(sum(shares.values()) - 1) > 1e-9 or block < 1:
            raise FirnlineError(
                f"objectives {', '.join(sorted(objectives))} have the shares {dict(shares)}, in "
                f"blocks of {block}",
                mend="give each a name without full stops and a share above 0, 1 in all; block: 1 "
                "or more",
            )
        self.setup = next(iter(objectives.values())).setup
        if any(objective.setup is not self.setup for objective in objectives.values()):
            raise FirnlineError(
                "objectives of one mixture have several setups", mend="give all the same one"
            )
        self.objectives, self.shares = dict(objectives), dict(shares)
        self.weights, self.block = dict(weights or {}), block
        self._names = sorted(objectives)

    def build(self) -> HeadedModel:
        """The model with the heads of all objectives."""
        heads = {head for objective in self.objectives.values() for head in objective.heads}
        return self.setup.build(heads)

    def describe(self) -> dict[str, Any]:
        """What the mixture is, for a manifest."""
        parts = {name: objective.describe() for name, objective in self.objectives.items()}
        return {
            "objectives": parts,
            "shares": self.shares,
            "weights": self.weights,
            "block": self.block,
        }

    def kinds(self, first: int, count: int) -> Integers:
        """Which objective, in the order of names, each sample is of."""
        numbers = np.arange(first, first + count, dtype=np.int64) // self.block
        return turns(self.shares, self.setup.seed, self.setup.phase, numbers)

    def batch(self, first: int, count: int) -> Tensors:
        """`kind` [count] and each tensor NAME.TENSOR of the objectives that the batch has.

        Rows of other objectives are 0 in it.
        """
        kinds = self.kinds(first, count)
        batch = {"kind": torch.from_numpy(kinds)}
        for kind in np.unique(kinds).tolist():
            part = self.objectives[self._names[kind]]
            rows = np.flatnonzero(kinds == kind)
            for start, stop in _runs(rows):
                made = part.batch(first + start, stop - start)
                for key, tensor in made.items():
                    name = f"{self._names[kind]}.{key}"
                    if name not in batch:
                        batch[name] = tensor.new_zeros((count, *tensor.shape[1:]))
                    batch[name][start:stop] = tensor
        return batch

    def loss(self, model: nn.Module, batch: Tensors) -> Loss:
        """The weighted losses of all objectives, and how many targets they have."""
        kinds = batch["kind"]
        total = torch.zeros((), device=kinds.device)
        count = torch.zeros((), dtype=torch.int64, device=kinds.device)
        for kind in sorted(set(kinds.tolist())):
            name = self._names[kind]
            rows = (kinds == kind).nonzero().squeeze(-1)
            own = {key: tensor[rows] for key, tensor in _own(batch, name).items()}
            loss, targets = self.objectives[name].loss(model, own)
            total = total + self.weights.get(name, 1.0) * loss
            count = count + targets
        return total, count


class EveryObjective:
    """A `Task` for evaluation: sample n is sample n of each objective of a mixture.

    So that every rank runs the same parts of a sharded model, whatever samples it has.
    """

    def __init__(self, mixture: Mixture) -> None:
        self.mixture, self.build = mixture, mixture.build

    def batch(self, first: int, count: int) -> Tensors:
        """Each tensor NAME.TENSOR of the objectives."""
        parts = self.mixture.objectives
        made = {name: part.batch(first, count) for name, part in parts.items()}
        return {f"{name}.{key}": value for name, own in made.items() for key, value in own.items()}

    def loss(self, model: nn.Module, batch: Tensors) -> Loss:
        """The weighted losses of all objectives, and how many targets they have."""
        losses, counts = [], []
        for name, objective in self.mixture.objectives.items():
            loss, targets = objective.loss(model, _own(batch, name))
            losses.append(self.mixture.weights.get(name, 1.0) * loss)
            counts.append(targets)
        return torch.stack(losses).sum(), torch.stack(counts).sum()


def _own(batch: Tensors, name: str) -> dict[str, Tensor]:
    """The tensors of one objective, by their own names."""
    found = {key: tensor for key, tensor in batch.items() if key.startswith(f"{name}.")}
    return {key.removeprefix(f"{name}."): tensor for key, tensor in found.items()}


def _runs(rows: Integers) -> list[tuple[int, int]]:
    """Runs of consecutive numbers, as first and one past the last."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(rows, breaks)]
