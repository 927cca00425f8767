"""Which optimizer moves which weights. Imports no torch until `build` is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import torch
    from torch import nn


class OptimizerConfig(BaseModel):
    """AdamW for all weights, or Muon for the hidden matrices and AdamW for the rest."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Literal["adamw", "muon"] = "adamw"
    """`muon`: matrices inside the blocks by orthogonalised momentum; embedding, output matrix,
    gains and biases by AdamW."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """AdamW: decay of the mean of gradients."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """AdamW: decay of the mean of their squares."""
    epsilon: float = Field(default=1e-8, gt=0)
    """AdamW: added to the root of the latter."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Decay of all matrices, the embedding among them, and not of gains and biases."""
    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Muon: decay of the mean of gradients."""
    nesterov: bool = True
    """Muon: look one step ahead along the momentum."""
    newton_schulz_steps: int = Field(default=5, ge=1, le=50)
    """Muon: iterations that make the momentum orthogonal."""
    newton_schulz_precision: Literal["bfloat16", "float32"] = "bfloat16"
    """Muon: arithmetic of these iterations on a GPU. On a CPU it is float32, so that any number of
    ranks finds the same losses: 16 bits make half a percent of the update of a gradient's last bit.
    """
    update_scale: Literal["rms", "aspect"] = "rms"
    """Muon: factor on an update of a matrix [rows, columns]. `rms`: 0.2 sqrt(max(rows, columns)),
    as large as AdamW's updates, so that its learning rate serves both (Liu et al. 2025, "Muon is
    Scalable for LLM Training", section 2.2). `aspect`: sqrt(max(1, rows / columns)) (Jordan 2024),
    which wants a learning rate of its own: see `muon_rate`."""
    muon_rate: float = Field(default=1.0, gt=0)
    """Muon: its learning rate, as a multiple of the schedule's, which is AdamW's."""

    @model_validator(mode="after")
    def _muon_only(self) -> OptimizerConfig:
        fields = type(self).model_fields
        for field in _MUON if self.name != "muon" else ():
            if getattr(self, field) != fields[field].default:
                raise ValueError(f"{field} has no meaning with {self.name}")
        return self


_MUON = (
    "momentum",
    "nesterov",
    "newton_schulz_steps",
    "newton_schulz_precision",
    "update_scale",
    "muon_rate",
)


class WeightKinds(NamedTuple):
    """A model's weights by what an optimizer does with them; each is in one list, in order."""

    hidden: list[nn.Parameter]
    """Matrices inside the blocks: Muon's, where it is asked for."""
    outer: list[nn.Parameter]
    """Embeddings and output matrices."""
    vectors: list[nn.Parameter]
    """Gains of norms, whatever their shape, and biases: never decayed."""


def weight_kinds(model: nn.Module) -> WeightKinds:
    """Sorts the trained parameters of any model by what holds them.

    Embeddings are known by their class, gains by a class whose name speaks of a norm, output
    matrices by the names that `transformers` gives them.
    """
    from torch import nn

    found = WeightKinds([], [], [])
    seen: set[int] = set()
    for path, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:  # tied weights come twice
                continue
            seen.add(id(parameter))
            if parameter.dim() < 2 or "norm" in type(module).__name__.lower():
                found.vectors.append(parameter)
            elif isinstance(module, nn.Embedding) or path.split(".")[-1] in _OUTPUTS:
                found.outer.append(parameter)
            else:
                found.hidden.append(parameter)
    return found


_OUTPUTS = ("lm_head", "decoder", "classifier", "score")


def build(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a model's trained weights; `set_learning_rate` before each step.

    Build it after the model is sharded, so that it holds the shards.
    """
    import torch

    from firnline.training.muon import Muon

    hidden, outer, vectors = weight_kinds(model)
    groups: list[dict[str, Any]] = [
        {"params": hidden, "weight_decay": config.weight_decay},
        {"params": outer, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    betas = (config.beta1, config.beta2)
    if config.name == "muon":
        groups[0] |= {"rule": "muon", "rate": config.muon_rate}
    groups = [group for group in groups if group["params"]]
    if config.name == "adamw":
        return torch.optim.AdamW(groups, betas=betas, eps=config.epsilon, fused=True)
    on_cpu = all(weight.device.type == "cpu" for weight in hidden)
    return Muon(
        groups,
        betas=betas,
        eps=config.epsilon,
        momentum=config.momentum,
        nesterov=config.nesterov,
        steps=config.newton_schulz_steps,
        precision=torch.float32 if on_cpu else getattr(torch, config.newton_schulz_precision),
        scale=config.update_scale,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """One schedule for all groups: each has `rate` times its own factor (1 but for Muon's)."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate", 1.0)
