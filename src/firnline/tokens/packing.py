"""How documents are put into sequences: the settings, and where each token of an epoch goes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class PackingConfig(BaseModel):
    """How the documents of a phase become sequences of equal length."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    method: Literal["concatenate", "best_fit"] = "concatenate"
    """Put documents on end and cut every `sequence_length` tokens, or fill sequences with whole
    documents, cutting none that fits in one (Ding et al. 2024, Fewer Truncations Improve Language
    Modeling)."""
    attention: Literal["across", "masked"] = "across"
    """Whether a token sees what stands before its document in the sequence."""
