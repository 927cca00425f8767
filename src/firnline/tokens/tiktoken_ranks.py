"""tiktoken's rank files as a Hugging Face `tokenizer.json`, every id kept.

A rank file lists tokens as base64 and rank, and says neither how text is split nor which control
tokens there are: the encodings that are published by name say it here.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from firnline.errors import FirnlineError
from firnline.tokens.spelling import byte_of_character
from firnline.tokens.train import PRE_TOKENIZER

Split = Literal["gpt2", "cl100k", "o200k", "qwen2"]

_O200K_WORD = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_O200K_END = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
# How text is cut into words, as published with each encoding. GPT-2's rule is part of the
# ByteLevel pre-tokenizer.
PATTERNS: Mapping[Split, str | None] = {
    "gpt2": None,
    "cl100k": _SUFFIX + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "o200k": f"{_O200K_WORD}*{_O200K_END}+{_SUFFIX}?|{_O200K_WORD}+{_O200K_END}*{_SUFFIX}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": PRE_TOKENIZER,
}

Encoding = Literal[
    "gpt2", "r50k_base", "p50k_base", "p50k_edit", "cl100k_base", "o200k_base", "llama3", "qwen2"
]
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)


@dataclass(frozen=True)
class Published:
    """How an encoding splits text, and the ids of its control tokens."""

    split: Split
    special: Mapping[str, int]


_LLAMA3 = [
    *("<|begin_of_text|>", "<|end_of_text|>"),
    *(f"<|reserved_special_token_{n}|>" for n in range(4)),
    *("<|start_header_id|>", "<|end_header_id|>", "<|reserved_special_token_4|>", "<|eot_id|>"),
    *(f"<|reserved_special_token_{n}|>" for n in range(5, 251)),
]
_INFILLING = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
_GPT2 = Published("gpt2", {"<|endoftext|>": 50256})
PUBLISHED: Mapping[Encoding, Published] = {
    "gpt2": _GPT2,
    "r50k_base": _GPT2,
    "p50k_base": _GPT2,
    "p50k_edit": Published(
        "gpt2", {**_GPT2.special} | {token: 50281 + n for n, token in enumerate(_INFILLING)}
    ),
    "cl100k_base": Published(
        "cl100k",
        {"<|endoftext|>": 100257, "<|endofprompt|>": 100276}
        | {token: 100258 + n for n, token in enumerate(_INFILLING)},
    ),
    "o200k_base": Published("o200k", {"<|endoftext|>": 199999, "<|endofprompt|>": 200018}),
    "llama3": Published("cl100k", {token: 128000 + n for n, token in enumerate(_LLAMA3)}),
    "qwen2": Published("qwen2", {}),
}


def read_ranks(path: Path) -> dict[bytes, int]:
    """Ranks by token. Raises FirnlineError where the file is no rank file or lacks a byte."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line:
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except ValueError as error:
            raise FirnlineError(
                f"{path}, line {number} is no token and rank of a tiktoken file",
                mend="give a .tiktoken file or a SentencePiece .model",
            ) from error
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing or len(set(ranks.values())) < len(ranks) or b"" in ranks:
        what = f"no rank for byte 0x{missing[0]:02X}" if missing else "one rank for two tokens"
        raise FirnlineError(f"{path} has {what}", mend="fetch the file again")
    return ranks


def merge_of(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes] | None:
    """The two tokens that merge into `token` last; None where merging does not lead to it.

    tiktoken always merges the pair of least rank, so what stands when only ranks below the
    token's own are left is the only pair that makes it, inside a longer word too: a merge across
    the token's border would keep it from arising.
    """
    parts = [token[n : n + 1] for n in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(a + b) for a, b in itertools.pairwise(parts)]
        known = [rank for rank in pairs if rank is not None and rank < ranks[token]]
        if not known:
            return None
        at = pairs.index(min(known))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return (parts[0], parts[1]) if len(parts) == 2 else None


def to_settings(ranks: Mapping[bytes, int], split: Split) -> dict[str, Any]:
    """A `tokenizer.json` with the ranks for ids, no added tokens yet."""
    character = {byte: text for text, byte in byte_of_character().items()}

    def spell(token: bytes) -> str:
        return "".join(character[byte] for byte in token)

    in_order = sorted(ranks, key=ranks.__getitem__)
    pairs = (merge_of(token, ranks) for token in in_order if len(token) > 1)
    merges = [[spell(pair[0]), spell(pair[1])] for pair in pairs if pair]
    vocabulary = {spell(token): ranks[token] for token in in_order}
    # A word that is a token is taken whole, as tiktoken does.
    return bpe_settings(vocabulary, merges, split, whole_words=True)


def bpe_settings(
    vocabulary: Mapping[str, int],
    merges: list[list[str]],
    split: Split,
    *,
    whole_words: bool = False,
) -> dict[str, Any]:
    """A `tokenizer.json` of byte-level BPE that cuts text as `split` says, no added tokens yet.

    With `whole_words` a word that is in the vocabulary is one token, whatever the merges say.
    """
    pattern = PATTERNS[split]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    words = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "NFC"} if split == "qwen2" else None,
        "pre_tokenizer": byte_level | {"use_regex": True}
        if pattern is None
        else {
            "type": "Sequence",
            "pretokenizers": [words | {"invert": False}, byte_level | {"use_regex": False}],
        },
        "post_processor": None,
        "decoder": byte_level | {"use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": whole_words,
            "vocab": dict(vocabulary),
            "merges": merges,
        },
    }
