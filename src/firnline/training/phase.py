"""What a training phase is: its configuration and the samples it reads. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from firnline.batch import Batch
from firnline.training.averaging import AveragingConfig
from firnline.training.batch_warmup import Batches, BatchWarmup
from firnline.training.optimizer import OptimizerConfig
from firnline.training.schedule import Schedule, segments
from firnline.training.spikes import SpikeConfig
from firnline.training.tracking import TrackingConfig


class SampleSource(Protocol):
    """Training samples by number: sample *n* is the same whenever and wherever it is asked for."""

    def batch(self, start: int, count: int) -> Batch:
        """Samples start, start + 1, ... as [count, sequence_length + 1]: inputs and targets."""

    def epochs(self, samples: int) -> Mapping[str, float]:
        """How often the samples 0 to `samples - 1` go through each source, by its name."""


class Evaluation(BaseModel):
    """Loss on samples that training does not see, now and then."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    every_steps: int = Field(ge=1)
    """Optimizer steps between two evaluations; the last step has one too."""
    samples: int = Field(ge=1)
    """Held-out samples, the same each time."""


class PhaseConfig(BaseModel):
    """One phase: how many tokens, in what batches, at what learning rate."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The phase's name, as in the recipe."""
    seed: int = Field(default=0, ge=0)
    """Seed of the initial weights, where the phase does not start from a checkpoint."""
    tokens: int = Field(ge=1)
    """Tokens the phase predicts, exactly; padding counts. The last step is smaller where they do
    not fill it."""
    sequence_length: int = Field(ge=1)
    """Tokens a sample predicts; at most the model's context."""
    batch_sequences: int = Field(ge=1)
    """Samples for one optimizer step, over all ranks."""
    batch_warmup: BatchWarmup | None = None
    """Smaller batches at the beginning."""
    micro_batch_sequences: int | None = Field(default=None, ge=1)
    """Samples for one forward pass of a rank; gradients of a step's passes add up. Default: all."""
    attention: Literal["across", "masked"] = "across"
    """Whether a token sees the documents that lie before its own in a sample."""
    schedule: Schedule
    """Learning rate over the phase's steps."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """AdamW or Muon, and their settings."""
    optimizer_state: Literal["reset", "keep"] = "reset"
    """Whether the optimizer begins anew or with the moments of the phase it starts from."""
    keep_optimizer: bool = False
    """Leave the optimizer's state beside the checkpoint, for a phase that keeps it."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient of all parameters together."""
    averaging: AveragingConfig | None = None
    """End in the mean of the last states that were saved every `checkpoint_every_steps`."""
    spikes: SpikeConfig = SpikeConfig()
    """What to do with a step whose loss or gradient is not finite or far above the last ones."""
    evaluation: Evaluation | None = None
    """Evaluate on held-out samples during the phase."""
    checkpoint_every_steps: int = Field(default=1000, ge=1)
    """Optimizer steps between two saved states, which is what a kill costs at most."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Newest states that are kept while the phase runs."""
    keep_every_steps: int | None = Field(default=None, ge=1)
    """States of multiples of this many steps are kept for good."""
    tracking: TrackingConfig = TrackingConfig()
    """Where metrics go besides `metrics.jsonl`."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of forward and backward; weights and optimizer state are always float32."""
    compile: bool = False
    """Compile the model's blocks: needs a C++ compiler, and a while before the first step."""
    activation_checkpointing: Literal["none", "full"] | Annotated[int, Field(ge=1)] = "none"
    """Compute activations again in the backward pass, for less memory: `full` in all blocks, a
    number n in every n-th."""
    shard_ranks: int | None = Field(default=None, ge=1)
    """Ranks that one copy of the model is spread over (default: all; fewer is hybrid sharding,
    1 is plain data parallelism)."""
    device: Literal["cpu", "cuda"] | None = None
    """Where to train (default: cuda where there is one)."""
    rank_timeout_seconds: int = Field(default=600, ge=1)
    """How long a rank waits for another before it gives up."""

    @model_validator(mode="after")
    def _schedule_fits(self) -> PhaseConfig:
        try:
            segments(self.schedule, self.steps)  # both raise where they do not fit
        except ValueError as error:
            each = f"{self.tokens:,} tokens at {self.batch_tokens:,} for each step"
            raise ValueError(f"{error} ({each})") from error
        return self

    @model_validator(mode="after")
    def _batch_becomes_whole(self) -> PhaseConfig:
        warm = self.batches.first_sample(self.batches.warmup_steps) * self.sequence_length
        if self.batch_warmup is not None and warm >= self.tokens:
            raise ValueError(
                f"batch_warmup: the batch is whole after {warm:,} tokens, the phase has "
                f"{self.tokens:,}"
            )
        return self

    @model_validator(mode="after")
    def _states_to_average(self) -> PhaseConfig:
        every, saved = self.checkpoint_every_steps, (self.steps - 1) // self.checkpoint_every_steps
        if self.averaging is not None and self.averaging.last > saved + 1:
            raise ValueError(
                f"averaging: of the last {self.averaging.last} states {saved + 1} are there, "
                f"{self.steps:,} steps with checkpoint_every_steps {every:,}"
            )
        return self

    @property
    def batches(self) -> Batches:
        """Which samples each step reads, where the phase's end does not cut it."""
        return Batches(self.batch_sequences, self.sequence_length, self.batch_warmup)

    @property
    def batch_tokens(self) -> int:
        """Tokens of a whole optimizer step."""
        return self.batch_sequences * self.sequence_length

    @property
    def steps(self) -> int:
        """Optimizer steps, the last and possibly smaller one included."""
        return self.batches.steps_for(self.samples)

    @property
    def samples(self) -> int:
        """Samples the phase reads, the last and possibly cut one included."""
        return -(-self.tokens // self.sequence_length)

    def first_sample(self, step: int) -> int:
        """The first sample that step `step` (0 is the first) reads; so many were read before."""
        return min(self.batches.first_sample(step), self.samples)

    def batch_at(self, step: int) -> int:
        """How many samples step `step` reads."""
        return self.first_sample(step + 1) - self.first_sample(step)

    def tokens_before(self, step: int) -> int:
        """Tokens that the steps before `step` predict."""
        return min(self.first_sample(step) * self.sequence_length, self.tokens)

    def what(self) -> dict[str, Any]:
        """The settings that the result depends on, rounding apart; a phase can go on with others
        of those that are left out."""
        left_out = set(_EXECUTION)
        if self.averaging is not None:  # is over the states that these steps save
            left_out.remove("checkpoint_every_steps")
        return self.model_dump(mode="json", exclude=left_out)


_EXECUTION = frozenset(
    {
        "micro_batch_sequences",
        "checkpoint_every_steps",
        "keep_checkpoints",
        "keep_every_steps",
        "compile",
        "activation_checkpointing",
        "shard_ranks",
        "tracking",
        "device",
        "rank_timeout_seconds",
    }
)
