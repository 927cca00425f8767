"""Adds control tokens to a tokenizer: in slots that its makers reserved, or at the end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from firnline.documents import atomic_path
from firnline.errors import FirnlineError
from firnline.stage import StageResult, Stats, Workspace, run_stage
from firnline.tokens.import_tokenizer import describe
from firnline.tokens.roles import Role, Roles
from firnline.tokens.spelling import Settings, content_rules, to_json
from firnline.tokens.tokenizer import Tokenizer

# Control tokens that stand for nothing yet, as public models name them.
_RESERVED = re.compile(
    r"<\|?reserved(_special_token)?_\d+\|?>|<\|?unused_?\d+\|?>|\[unused\d+\]|<\|extra_\d+\|>"
    r"|<extra_id_\d+>|<｜place▁holder▁no▁\d+｜>"
)


class ExtendConfig(BaseModel):
    """Settings of the `extend-tokenizer` stage."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    tokens: tuple[str, ...] = Field(min_length=1)
    """The new control tokens, in the order of their ids."""
    reserved: bool = False
    """Take over reserved control tokens, lowest id first, so that the model keeps its size."""
    roles: Roles = {}
    """Which tokens, new or old, from now on end documents, open the parts of infilling, or pad."""


def run(config: ExtendConfig, tokenizer_folder: Path, out: Path) -> StageResult:
    """Writes `out/tokenizer.json`: all old ids as before, and the new control tokens.

    Statistics: those of an import, `added` (id of each new token) and `was`, the size before. A
    model of `was` entries needs rows for `vocabulary_size`, unless its tables have spare ones.

    Raises FirnlineError where a token is given twice, is in the vocabulary already, or is empty;
    where reserved slots are too few; where a role names no control token.
    """
    tokenizer = Tokenizer.load(tokenizer_folder)

    def body(workspace: Workspace) -> Stats:
        settings = tokenizer.settings
        _check(config, settings, tokenizer)
        slots = _reserved(config, tokenizer) if config.reserved else []
        start = tokenizer.vocabulary_size
        ids = [number for number, _ in slots] or [start + n for n in range(len(config.tokens))]
        added = dict(zip(config.tokens, ids, strict=True))
        with atomic_path(workspace.folder / "tokenizer.json") as temporary:
            text = to_json(_with_tokens(settings, added, config.roles))
            temporary.write_text(text, encoding="utf-8")
        extended = Tokenizer.load(workspace.folder)
        return {**describe(extended), "added": added, "was": tokenizer.vocabulary_size}

    inputs = {"tokenizer": tokenizer.digest}
    return run_stage("extend-tokenizer", config, inputs, out, body, room="tokens")


def check_checkpoint(checkpoint: Path, tokenizer: Tokenizer) -> None:
    """Raises FirnlineError where a model learnt other ids than `tokenizer` gives.

    A checkpoint's own `tokenizer.json` says what it learnt. The tokenizer may extend it: what both
    know must be the same, control tokens that were reserved aside. A checkpoint without one says
    nothing, and passes.
    """
    file = checkpoint / "tokenizer.json"
    if not file.is_file():
        return
    own = Tokenizer(checkpoint)
    if own.digest != tokenizer.digest and _text_rules(own) != _text_rules(tokenizer):
        what = "splits or merges text in another way"
    elif moved := [
        token
        for token, number in own.special.items()
        if tokenizer.special.get(token, number if _RESERVED.fullmatch(token) else None) != number
    ]:
        what = f"has another id for {moved[0]}, or none"
    elif own.end_of_text != tokenizer.end_of_text:
        what = "ends documents with another token"
    else:
        return
    raise FirnlineError(
        f"{checkpoint} was trained with tokenizer {own.digest}, {tokenizer.folder} {what}",
        mend="use the checkpoint's own tokenizer, or extend it",
    )


def _text_rules(tokenizer: Tokenizer) -> dict[str, Any]:
    """All that decides which ids a text gets."""
    return content_rules(tokenizer.settings, tokenizer.special)


def _check(config: ExtendConfig, settings: Settings, tokenizer: Tokenizer) -> None:
    known = settings["model"]["vocab"].keys() | {
        token["content"] for token in settings.get("added_tokens") or []
    }
    for number, token in enumerate(config.tokens):
        where = f"tokens: {token!r}"
        if not token.strip():
            raise FirnlineError(f"{where} is empty", mend="give a string such as <|note|>")
        if token in config.tokens[:number]:
            raise FirnlineError(f"{where} is given twice", mend="give each token once")
        if token in known:
            raise FirnlineError(
                f"{where} is in the vocabulary of {tokenizer.folder} already",
                mend="leave it out or choose another string",
            )
    for role, token in config.roles.items():
        if token not in tokenizer.special and token not in config.tokens:
            raise FirnlineError(
                f"roles: {role} is {token!r}, which is no control token",
                mend="name one of the new tokens or an old one",
            )


def _reserved(config: ExtendConfig, tokenizer: Tokenizer) -> list[tuple[int, str]]:
    """The slots to take: ids and the strings that they have now."""
    roles = set(tokenizer.roles.values())
    free = sorted(
        (number, content)
        for content, number in tokenizer.special.items()
        if _RESERVED.fullmatch(content) and number not in roles
    )
    if len(free) < len(config.tokens):
        raise FirnlineError(
            f"{tokenizer.folder} has {len(free)} reserved tokens, {len(config.tokens)} are wanted",
            mend="add fewer, or leave out reserved to add them at the end",
        )
    return free[: len(config.tokens)]


def _with_tokens(settings: Settings, new: dict[str, int], roles: dict[Role, str]) -> dict[str, Any]:
    replaced = set(new.values())
    old = settings.get("added_tokens") or []
    entries = [dict(entry) for entry in old if entry["id"] not in replaced]
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    for content, number in new.items():
        entry = {"id": number, "content": content, **dict.fromkeys(flags, False)}
        entries.append(entry | {"special": True})
    for role, content in roles.items():
        for entry in entries:
            if entry.get("role") == role:
                del entry["role"]
            if entry["content"] == content:
                entry["role"] = role
    # In the vocabulary too: tokenizers numbers an added token anew unless it is there.
    vocabulary = settings["model"]["vocab"]
    kept = {token: number for token, number in vocabulary.items() if number not in replaced}
    return {
        **settings,
        "added_tokens": sorted(entries, key=lambda entry: entry["id"]),
        "model": settings["model"]
        | {"vocab": {entry["content"]: entry["id"] for entry in entries} | kept},
    }
