"""Encoder-decoder and encoder models of a given shape, built with `transformers`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from firnline.errors import FirnlineError
from firnline.model.loss import IGNORE
from firnline.training.objectives.shapes import Family, ModelShape
from firnline.training.objectives.vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import BertForMaskedLM, T5ForConditionalGeneration

HEADS = "heads.safetensors"


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
    shape: ModelShape,
    vocabulary: Vocabulary,
    seed: int,
    heads: Collection[str],
    init: Path | None = None,
) -> HeadedModel:
    """A model on the CPU, float32: with the weights of the checkpoint folder `init`, else random.

    A function of its arguments. Heads that `init` lacks are random. Raises FirnlineError where
    `transformers` is not installed, or `init` is of another shape or vocabulary.
    """
    try:
        import transformers
    except ImportError as error:
        raise FirnlineError(
            "objectives for encoders need the package transformers",
            mend="pip install 'firnline[hf]'",
        ) from error
    t5 = shape.family == "t5"
    kind = transformers.T5ForConditionalGeneration if t5 else transformers.BertForMaskedLM
    config = (
        transformers.T5Config(**_t5_settings(shape, vocabulary))
        if t5
        else transformers.BertConfig(**_bert_settings(shape, vocabulary))
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = HeadedModel(shape.family, kind(config), shape.width, heads)
    if init is not None:
        _load(model, init)
    return model.train()


def save_model(model: HeadedModel, folder: Path) -> None:
    """Writes a checkpoint that `transformers` opens as it is, and `heads.safetensors` beside it.

    Without its heads a model is a T5ForConditionalGeneration or a BertForMaskedLM.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.backbone.config.save_pretrained(folder)
    weights = {}
    written = set()
    for name, weight in model.backbone.state_dict(keep_vars=True).items():
        if id(weight) not in written:  # what is tied is written once
            weights[name] = weight.detach().contiguous()
            written.add(id(weight))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    save_file({k: v.contiguous() for k, v in model.heads.state_dict().items()}, folder / HEADS)


def _load(model: HeadedModel, folder: Path) -> None:
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise FirnlineError(f"no model.safetensors in {folder}", mend="give a checkpoint folder")
    try:
        given = load_file(weights)
        unknown = model.backbone.load_state_dict(given, strict=False).unexpected_keys
        # What is tied is saved under one of its names.
        names = model.backbone.state_dict(keep_vars=True)
        filled = {id(names[name]) for name in given if name in names}
        missing = [weight for weight in model.backbone.parameters() if id(weight) not in filled]
        if (folder / HEADS).is_file():
            saved = load_file(folder / HEADS)
            own = model.heads.state_dict()
            model.heads.load_state_dict(own | {k: v for k, v in saved.items() if k in own})
    except RuntimeError as error:  # sizes differ
        raise _other_shape(folder) from error
    if unknown or missing:
        raise _other_shape(folder)


def _other_shape(folder: Path) -> FirnlineError:
    return FirnlineError(
        f"the weights in {folder} are of another shape or vocabulary",
        mend="give the shape, tokenizer and sentinels that it was made with",
    )


def _t5_settings(shape: ModelShape, vocabulary: Vocabulary) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary.size,
        "d_model": shape.width,
        "d_kv": shape.width // shape.heads,
        "d_ff": shape.feed_forward,
        "num_layers": shape.layers,
        "num_heads": shape.heads,
        "dropout_rate": 0.0,
        "pad_token_id": vocabulary.pad,
        "eos_token_id": vocabulary.end,
        "decoder_start_token_id": vocabulary.pad,
    }


def _bert_settings(shape: ModelShape, vocabulary: Vocabulary) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary.size,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.feed_forward,
        "max_position_embeddings": shape.context,
        "type_vocab_size": 1,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": vocabulary.pad,
    }
