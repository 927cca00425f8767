"""Fill-in-the-middle: which documents are infilled, where they are cut, in what form."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class InfillingConfig(BaseModel):
    """How a phase's documents are infilled (Bavarian et al. 2022, Efficient Training of Language
    Models to Fill in the Middle).

    DeepSeek-Coder: rate 0.5, spm_share 0, character, document. Code Llama: rate 0.9, spm_share
    0.5, character, document: only documents that are not cut across sequences are infilled.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    rate: float = Field(gt=0, le=1)
    """Share of the eligible documents that are infilled, drawn anew in each epoch. Eligible at
    document level: those whose infilled form lies whole in one sequence."""
    spm_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the infilled ones in the order suffix, prefix, middle; the others are in the order
    prefix, suffix, middle."""
    cut: Literal["character", "token", "line", "syntax"] = "character"
    """Where a document may be cut: two cuts drawn uniformly among the places before, between and
    after its characters, tokens or lines; or around a node of its syntax tree."""
    level: Literal["document", "context"] = "document"
    """Infill documents before they are packed, or what of them lies in a sequence after it."""
