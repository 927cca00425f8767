"""A larger vocabulary for a model that was trained with a smaller one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from firnline.errors import FirnlineError
from firnline.model.llama import Llama


def resize_vocabulary(model: Llama, size: int) -> Llama:
    """Gives `model` a vocabulary of `size` entries, in place, and returns it.

    A new row of the embedding, and of the output matrix where it is another, is the mean of the old
    rows: a new token then begins with the logit that old tokens have on average, so that it takes
    little from them whatever the context (Hewitt 2021, "Initializing new word embeddings"). Old
    rows keep their bits. Optimizer state of the old matrices does not fit the new ones. Raises
    FirnlineError where `size` is smaller than the model's.
    """
    old = model.config.vocabulary_size
    if size < old:
        raise FirnlineError(
            f"a vocabulary of {old:,} entries cannot shrink to {size:,}",
            mend="use a tokenizer that extends the model's own",
        )
    config = model.config.model_copy(update={"vocabulary_size": size})
    model.config = model.model.config = config
    embedding = model.model.embed_tokens
    embedding.weight = _extended(embedding.weight, size)
    embedding.num_embeddings = size
    if not config.tied:
        model.lm_head.weight = _extended(model.lm_head.weight, size)
        model.lm_head.out_features = size
    return model


def _extended(weight: Tensor, size: int) -> nn.Parameter:
    with torch.no_grad():
        mean = weight.double().mean(0, keepdim=True).to(weight.dtype)
        rows = torch.cat((weight, mean.expand(size - len(weight), -1)))
    return nn.Parameter(rows, requires_grad=weight.requires_grad)
