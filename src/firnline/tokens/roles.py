"""Which tokens of a tokenizer are control tokens, and what they are for.

Public models name the same things differently. Where names do not tell, an added token of
`tokenizer.json` says it in a field of its own, `"role"`: Hugging Face `tokenizers` skips fields
that it does not know, and the file's digest covers it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator

Role = Literal["end_of_text", "fim_prefix", "fim_middle", "fim_suffix", "pad"]
ROLES: tuple[Role, ...] = get_args(Role)

# What ends a document in pretraining, not what ends a turn: `<|im_end|>` and its like are absent.
END_OF_TEXT_NAMES = (
    "<|endoftext|>",  # GPT, StarCoder, Qwen, Phi, OLMo, Falcon
    "<|end_of_text|>",  # Llama 3, Granite
    "<｜end▁of▁sentence｜>",  # DeepSeek
    "</s>",  # Llama 2, Code Llama, Mistral
    "<eos>",  # Gemma
    "<EOS_TOKEN>",  # Cohere
    "[EOS]",  # Kimi
    "<EOT>",
)
# Prefix, middle and suffix of one family each. DeepSeek names its tokens for their places in
# `begin prefix hole suffix end middle`: so `hole` opens the suffix and `end` the middle.
INFILLING_NAMES = (
    ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),  # Qwen, CodeGemma, cl100k_base
    ("<fim_prefix>", "<fim_middle>", "<fim_suffix>"),  # StarCoder, Granite
    ("<fim-prefix>", "<fim-middle>", "<fim-suffix>"),  # SantaCoder
    ("▁<PRE>", "▁<MID>", "▁<SUF>"),  # Code Llama
    ("<｜fim▁begin｜>", "<｜fim▁end｜>", "<｜fim▁hole｜>"),  # DeepSeek
    ("<|code_prefix|>", "<|code_middle|>", "<|code_suffix|>"),  # CodeGeeX
    ("[PREFIX]", "[MIDDLE]", "[SUFFIX]"),  # Codestral
)
PAD_NAMES = (
    "<|pad|>",
    "<pad>",
    "<PAD>",
    "[PAD]",
    "<｜▁pad▁｜>",
    "<|finetune_right_pad_id|>",
    "<|fim_pad|>",
    "<fim_pad>",
)
_NAMES = {*END_OF_TEXT_NAMES, *PAD_NAMES, *(name for family in INFILLING_NAMES for name in family)}
_CONTROL_FORM = re.compile(r"<(\||｜)[^\s<>]+\1>")

# An entry of `added_tokens` in tokenizer.json.
AddedToken = Mapping[str, Any]


def _one_role_each(roles: dict[Role, str]) -> dict[Role, str]:
    if len(set(roles.values())) < len(roles):
        raise ValueError("one token has two roles: give each its own, or leave out pad")
    return roles


# A setting: which token has which role.
Roles = Annotated[dict[Role, str], AfterValidator(_one_role_each)]


def is_control_name(content: str) -> bool:
    """Whether a string is a known control token, or is written as they are, `<|…|>`."""
    return content in _NAMES or _CONTROL_FORM.fullmatch(content) is not None


def find_roles(added: Sequence[AddedToken]) -> dict[Role, str]:
    """The token for each role: as the entries say, else by the names that models use.

    The three of infilling come from one family, or are left out.
    """
    contents = {token["content"] for token in added}
    found: dict[Role, str] = {}
    for family in INFILLING_NAMES:
        if contents.issuperset(family):
            found["fim_prefix"], found["fim_middle"], found["fim_suffix"] = family
            break
    names_of: dict[Role, tuple[str, ...]] = {"end_of_text": END_OF_TEXT_NAMES, "pad": PAD_NAMES}
    for role, names in names_of.items():
        first = next((name for name in names if name in contents), None)
        if first is not None:
            found[role] = first
    stated = {token.get("role"): token["content"] for token in added}
    found.update({role: stated[role] for role in ROLES if role in stated})
    return found


def control_tokens(added: Sequence[AddedToken]) -> dict[str, int]:
    """Ids, by string, of the added tokens that text must never make.

    Those that the file calls special, those with a role, and those named as control tokens are:
    DeepSeek and Qwen do not mark their infilling tokens special. The rest, such as Gemma's runs of
    line breaks, is text.
    """
    roles = set(find_roles(added).values())
    return {
        token["content"]: int(token["id"])
        for token in added
        if token["special"] or token["content"] in roles or is_control_name(token["content"])
    }
