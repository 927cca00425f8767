"""Shapes of encoder-decoder and encoder models, and what they cost. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from firnline.errors import FirnlineError
from firnline.model.config import FlopsPerToken

Family = Literal["t5", "bert"]
ADDED = ("pad", "mask", "classify", "separate", "to_code", "to_text")
"""Ids that follow the tokenizer's, in this order; the sentinels follow them."""
_BUCKETS = 32  # of relative positions, for each head of T5


class ModelShape(BaseModel):
    """Shape of a T5 (encoder-decoder) or BERT (encoder). No dropout: a step has no hidden state."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    family: Family
    """`t5`: relative positions, RMS norms, as CodeT5. `bert`: learned positions, as CodeBERT."""
    width: int = Field(ge=1)
    """Size of the hidden states."""
    layers: int = Field(ge=1)
    """Layers of the encoder, and of the decoder where there is one."""
    heads: int = Field(ge=1)
    """Attention heads; they divide the width."""
    feed_forward: int = Field(ge=1)
    """Size of the hidden layer of the feed-forward blocks."""
    context: int = Field(default=512, ge=1)
    """Longest input, in tokens: BERT's table of positions."""
    sentinels: int = Field(default=100, ge=0)
    """Ids that stand for what is hidden in a sample of T5."""

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> ModelShape:
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} do not divide width {self.width}")
        return self

    def rows(self, tokenizer_size: int) -> int:
        """Rows of the embedding: the tokenizer's ids, ADDED and the sentinels."""
        return tokenizer_size + len(ADDED) + self.sentinels


PRESETS = {
    "codet5-small": ModelShape(family="t5", width=512, layers=6, heads=8, feed_forward=2048),
    "codet5-base": ModelShape(family="t5", width=768, layers=12, heads=12, feed_forward=3072),
    "codebert-base": ModelShape(family="bert", width=768, layers=12, heads=12, feed_forward=3072),
    "tiny-t5": ModelShape(family="t5", width=128, layers=2, heads=4, feed_forward=512),
    "tiny-bert": ModelShape(family="bert", width=128, layers=4, heads=4, feed_forward=512),
}
"""Shapes of Wang et al. 2021 (60M and 220M parameters with their vocabulary of 32,100) and of
Feng et al. 2020 (RoBERTa base: 125M with its vocabulary of 50,265); tiny ones are for trials."""


def parameter_count(shape: ModelShape, rows: int, heads: Collection[str] = ()) -> int:
    """Parameters with an embedding of so many `rows`, which is also the output matrix; `heads` are
    those of objectives (`tag`, `match`, `embed`)."""
    d, inner = shape.width, shape.feed_forward
    count = sum(d * d + d if head == "embed" else d + 1 for head in heads)
    if shape.family == "t5":
        encoder = 4 * d * d + 2 * d * inner + 2 * d
        decoder = 8 * d * d + 2 * d * inner + 3 * d
        apart = 2 * (_BUCKETS * shape.heads + d)  # positions and last norm, of both
        return count + rows * d + shape.layers * (encoder + decoder) + apart
    block = 4 * (d * d + d) + (d * inner + inner) + (inner * d + d) + 4 * d
    output = d * d + d + 2 * d + rows
    return count + (rows + shape.context + 1) * d + 2 * d + shape.layers * block + output


class Pass(NamedTuple):
    """A sample's way through the model: tokens of its input, and how many are predicted."""

    inputs: int
    targets: int = 0
    """By T5's decoder, or of the input's own by BERT; 0: the encoder alone."""
    times: float = 1.0
    """How many such passes a sample takes; one without a backward pass is a third."""


def training_flops(shape: ModelShape, rows: int, passes: Collection[Pass]) -> FlopsPerToken:
    """Training FLOPs of one sample: 6 for each weight that a token meets, and attention.

    An encoder sees all of its input; what a causal mask leaves is half of the decoder's attention
    to itself. Padding counts.
    """
    d, inner, layers = shape.width, shape.feed_forward, shape.layers
    full = masked = 0.0
    for inputs, targets, times in passes:
        encoder = layers * inputs * (6 * (4 * d * d + 2 * d * inner) + 12 * d * inputs)
        rest = itself = 0
        if targets and shape.family == "t5":
            itself = 12 * layers * d * targets**2
            rest = layers * (
                6 * targets * (6 * d * d + 2 * d * inner)
                + inputs * (6 * 2 * d * d + 12 * d * targets)
            )
            rest += 6 * targets * rows * d
        elif targets:
            rest = 6 * targets * (d * d + rows * d)
        full += times * (encoder + rest + itself)
        masked += times * (encoder + rest + itself / 2)
    return FlopsPerToken(round(full), round(masked))


def read_shape(folder: Path) -> ModelShape | None:
    """The shape of a checkpoint folder of a T5 or BERT; None where it is of another family.

    Raises FirnlineError where it has no `config.json` to read.
    """
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        added = folder / "added_ids.json"
        own = json.loads(added.read_text()) if added.is_file() else {}
        names = _NAMES.get(str(config.get("model_type")))
        if names is None:
            return None
        values = {name: config[theirs] for name, theirs in names.items()}
        return ModelShape(
            family=config["model_type"], **values, sentinels=own.get("sentinels", 100)
        )
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise FirnlineError(
            f"{folder} has no config.json of a model: {type(error).__name__}",
            mend="give a checkpoint folder",
        ) from error


_NAMES = {
    "t5": {
        "width": "d_model",
        "layers": "num_layers",
        "heads": "num_heads",
        "feed_forward": "d_ff",
    },
    "bert": {
        "width": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "feed_forward": "intermediate_size",
        "context": "max_position_embeddings",
    },
}
