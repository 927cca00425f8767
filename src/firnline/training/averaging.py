"""Whether a phase ends in the mean of its last checkpoints. Imports no torch.

`checkpoint_mean.py` computes it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AveragingConfig(BaseModel):
    """The mean of the weights of the last saved states, the final one among them.

    Less noise in the weights without another step: it makes the scores of small models steadier,
    and does a part of what a decay of the learning rate would (Hägele et al. 2024, section 5).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    last: int = Field(ge=2)
    """How many states, those saved every `checkpoint_every_steps` and the final one."""
    decay: float | None = Field(default=None, gt=0, lt=1)
    """Each state counts so many times as much as the one after it (an exponential moving average);
    default: all count alike."""

    def coefficients(self, count: int) -> list[float]:
        """What each of `count` states is multiplied by, oldest first; they sum to 1.

        A phase that saved fewer than `last` has fewer.
        """
        parts = [(self.decay or 1.0) ** age for age in reversed(range(count))]
        return [part / sum(parts) for part in parts]
