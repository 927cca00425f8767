"""What a training phase is: its configuration and the samples it reads. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from firnline.batch import Batch
from firnline.training.schedule import Schedule


class SampleSource(Protocol):
    """Training samples by number: sample *n* is the same whenever and wherever it is asked for."""

    def batch(self, start: int, count: int) -> Batch:
        """Samples start, start + 1, ... as [count, sequence_length + 1]: inputs and targets."""

    def epochs(self, samples: int) -> Mapping[str, float]:
        """How often the samples 0 to `samples - 1` go through each source, by its name."""


class PhaseConfig(BaseModel):
    """One phase: how many tokens, in what batches, at what learning rate."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The phase's name, as in the recipe."""
    seed: int = Field(default=0, ge=0)
    """Seed of the initial weights, where the phase does not start from a checkpoint."""
    tokens: int = Field(ge=1)
    """Tokens the phase predicts, exactly. The last step is smaller where they do not fill it."""
    sequence_length: int = Field(ge=1)
    """Tokens a sample predicts; at most the model's context."""
    batch_sequences: int = Field(ge=1)
    """Samples for one optimizer step."""
    micro_batch_sequences: int | None = Field(default=None, ge=1)
    """Samples for one forward pass; gradients of a step's passes add up. Default: the batch."""
    schedule: Schedule
    """Learning rate over the phase's steps."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """AdamW: decay of the mean of gradients."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """AdamW: decay of the mean of their squares."""
    epsilon: float = Field(default=1e-8, gt=0)
    """AdamW: added to the root of the latter."""
    weight_decay: float = Field(default=0.1, ge=0)
    """AdamW: decay of all matrices, the embedding among them, and not of the norms' gains."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient of all parameters together."""
    checkpoint_every_steps: int = Field(default=1000, ge=1)
    """Optimizer steps between two saved states, which is what a kill costs at most."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of forward and backward; weights and optimizer state are always float32."""
    compile: bool = False
    """Compile the model first: needs a C++ compiler, and a minute before the first step."""

    @model_validator(mode="after")
    def _warmup_fits(self) -> PhaseConfig:
        if self.schedule.kind != "constant" and self.schedule.warmup_steps >= self.steps:
            raise ValueError(
                f"the warm-up of {self.schedule.warmup_steps:,} steps leaves nothing of the "
                f"phase's {self.steps:,} steps ({self.tokens:,} tokens at "
                f"{self.batch_tokens:,} for each step)"
            )
        return self

    @property
    def batch_tokens(self) -> int:
        """Tokens of a whole optimizer step."""
        return self.batch_sequences * self.sequence_length

    @property
    def steps(self) -> int:
        """Optimizer steps, the last and possibly smaller one included."""
        return -(-self.tokens // self.batch_tokens)

    @property
    def samples(self) -> int:
        """Samples the phase reads, the last and possibly cut one included."""
        return -(-self.tokens // self.sequence_length)
