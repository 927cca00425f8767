"""Encoder-decoder and encoder models of a given shape, built with `transformers`."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from firnline.errors import FirnlineError
from firnline.model.loss import IGNORE
from firnline.training.objectives.vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import BertForMaskedLM, T5ForConditionalGeneration

Family = Literal["t5", "bert"]


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

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> ModelShape:
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} do not divide width {self.width}")
        return self


PRESETS = {
    "codet5-small": ModelShape(family="t5", width=512, layers=6, heads=8, feed_forward=2048),
    "codet5-base": ModelShape(family="t5", width=768, layers=12, heads=12, feed_forward=3072),
    "codebert-base": ModelShape(family="bert", width=768, layers=12, heads=12, feed_forward=3072),
}
"""Shapes of Wang et al. 2021 (60M and 220M parameters with their vocabulary of 32,100) and of
Feng et al. 2020 (RoBERTa base: 125M with its vocabulary of 50,265)."""


class HeadedModel(nn.Module):
    """A model with the heads that its objectives need; `forward` is the only way in."""

    def __init__(self, family: Family, backbone: Any, width: int, heads: Collection[str]) -> None:
        super().__init__()
        self.family = family
        self.backbone: T5ForConditionalGeneration | BertForMaskedLM = backbone
        self.heads = nn.ModuleDict()
        for name in sorted(heads):
            head = nn.Linear(width, width if name == "embed" else 1)
            nn.init.normal_(head.weight, std=width**-0.5)
            nn.init.zeros_(head.bias)
            self.heads[name] = head

    def forward(
        self, head: str, inputs: Tensor, mask: Tensor, targets: Tensor | None = None
    ) -> Tensor:
        """What `head` makes of inputs [n, length] where `mask`, of the same shape, is true.

        `generate` (T5): logits [n, target length, vocabulary] of each target from those before it.
        `mask` (BERT): logits [hidden tokens, vocabulary] where targets are not IGNORE.
        `tag`: a logit for each token, [n, length]. `match`: a logit [n] from the first token.
        `embed`: vectors [n, width] of length one from the first token.
        """
        if head == "generate":
            assert targets is not None
            pad = int(self.backbone.config.pad_token_id)
            begin = targets.new_full((len(targets), 1), pad)
            given = torch.cat([begin, targets[:, :-1]], dim=1)
            logits: Tensor = self.backbone(
                input_ids=inputs,
                attention_mask=mask.long(),
                decoder_input_ids=given.masked_fill(given == IGNORE, pad),
                use_cache=False,
            ).logits
            return logits
        encoder = self.backbone.encoder if self.family == "t5" else self.backbone.bert
        hidden: Tensor = encoder(input_ids=inputs, attention_mask=mask.long()).last_hidden_state
        if head == "mask":
            assert targets is not None
            chosen: Tensor = self.backbone.cls(hidden[targets != IGNORE])
            return chosen
        if head == "tag":
            tags: Tensor = self.heads["tag"](hidden).squeeze(-1)
            return tags
        first: Tensor = self.heads[head](hidden[:, 0])
        return first.squeeze(-1) if head == "match" else functional.normalize(first.float(), dim=-1)


def build_model(
    shape: ModelShape, vocabulary: Vocabulary, seed: int, heads: Collection[str]
) -> HeadedModel:
    """A model with random weights, on the CPU, float32: a function of its arguments.

    Raises FirnlineError where `transformers` is not installed.
    """
    try:
        from transformers import BertConfig, BertForMaskedLM, T5Config, T5ForConditionalGeneration
    except ImportError as error:
        raise FirnlineError(
            "objectives for encoders need the package transformers",
            mend="pip install 'firnline[hf]'",
        ) from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone: Any
        if shape.family == "t5":
            backbone = T5ForConditionalGeneration(
                T5Config(
                    vocab_size=vocabulary.size,
                    d_model=shape.width,
                    d_kv=shape.width // shape.heads,
                    d_ff=shape.feed_forward,
                    num_layers=shape.layers,
                    num_heads=shape.heads,
                    dropout_rate=0.0,
                    pad_token_id=vocabulary.pad,
                    eos_token_id=vocabulary.end,
                    decoder_start_token_id=vocabulary.pad,
                )
            )
        else:
            backbone = BertForMaskedLM(
                BertConfig(
                    vocab_size=vocabulary.size,
                    hidden_size=shape.width,
                    num_hidden_layers=shape.layers,
                    num_attention_heads=shape.heads,
                    intermediate_size=shape.feed_forward,
                    max_position_embeddings=shape.context,
                    type_vocab_size=1,
                    hidden_dropout_prob=0.0,
                    attention_probs_dropout_prob=0.0,
                    pad_token_id=vocabulary.pad,
                )
            )
        return HeadedModel(shape.family, backbone, shape.width, heads).train()
