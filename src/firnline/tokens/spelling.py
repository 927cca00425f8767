"""How the vocabulary of a `tokenizer.json` spells bytes, and the copy of it that encodes content.

Two spellings are known. Byte-level BPE (GPT-2) writes each byte as one printable character.
SentencePiece BPE with byte fallback (Llama 2, Code Llama, Gemma) writes text, `▁` for a space, and
`<0x0A>` for a byte that no piece covers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from firnline.errors import FirnlineError
from firnline.tokens.roles import control_tokens

Spelling = Literal["byte-level", "sentencepiece"]
Settings = Mapping[str, Any]

SPACE = "▁"
_SPACES = {"type": "Replace", "pattern": {"String": " "}}
_RULES = ("byte_fallback", "fuse_unk", "ignore_merges", "end_of_word_suffix", "unk_token")
_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")
# Bytes that no UTF-8 text holds; DeepSeek-Coder's vocabulary lacks them.
_NEVER = {0xC0, 0xC1, *range(0xF5, 0x100)}


def spelling_of(settings: Settings) -> Spelling | None:
    """Which of the two a BPE file follows; None for neither."""
    parts = list(_parts(settings.get("normalizer"))) + list(_parts(settings.get("pre_tokenizer")))
    if any(part.get("type") == "ByteLevel" for part in parts):
        return "byte-level"
    if settings["model"].get("byte_fallback") and any(
        part.get("type") == "Metaspace" or part.get("content") == SPACE for part in parts
    ):
        return "sentencepiece"
    return None


def check_kind(settings: Settings, path: Path) -> None:
    """Raises FirnlineError where the file is not BPE, spells no bytes, or lacks some."""
    kind = str(settings["model"]["type"])
    if kind != "BPE" or spelling_of(settings) is None:
        kind = "BPE over characters" if kind == "BPE" else kind
        raise FirnlineError(
            f"{path} is {kind}, not byte-level BPE or SentencePiece BPE with byte fallback",
            mend="give a tokenizer of GPT-2's or Llama 2's kind",
        )
    if missing := missing_bytes(settings):
        raise FirnlineError(
            f"{path} has no token for byte 0x{missing[0]:02X}"
            + (f" and {len(missing) - 1} more" if missing[1:] else ""),
            mend="text would be lost: give a tokenizer with all bytes",
        )


def spelled_bytes(settings: Settings) -> dict[int, bytes]:
    """The bytes that each id stands for; an added token stands for its string."""
    table: dict[int, bytes] = {}
    vocabulary: Mapping[str, int] = settings["model"]["vocab"]
    if spelling_of(settings) == "byte-level":
        byte_of = byte_of_character()
        for token, number in vocabulary.items():
            if all(character in byte_of for character in token):
                table[number] = bytes(byte_of[character] for character in token)
            else:  # an added token's string that is no byte-level text
                table[number] = token.encode()
    else:
        for token, number in vocabulary.items():
            byte = _BYTE_PIECE.fullmatch(token)
            text = token.replace(SPACE, " ").encode()
            table[number] = bytes([int(byte[1], 16)]) if byte else text
    added = settings.get("added_tokens") or []
    control = control_tokens(added)
    spaced = spelling_of(settings) == "sentencepiece"  # as Gemma's runs of spaces are
    for token in added:
        content = token["content"]
        as_text = spaced and content not in control
        table[token["id"]] = (content.replace(SPACE, " ") if as_text else content).encode()
    return table


def missing_bytes(settings: Settings) -> list[int]:
    """Bytes of UTF-8 text without a token of their own: text that holds them would be lost."""
    vocabulary = settings["model"]["vocab"]
    if spelling_of(settings) == "byte-level":
        known = {byte for character, byte in byte_of_character().items() if character in vocabulary}
    else:
        pieces = (_BYTE_PIECE.fullmatch(token) for token in vocabulary)
        known = {int(piece[1], 16) for piece in pieces if piece}
        known |= {byte for byte in range(0x80) if chr(byte) in vocabulary}  # Gemma's tab
    return sorted(set(range(256)) - known - _NEVER)


def content_settings(settings: Settings, control: Collection[str]) -> dict[str, Any]:
    """The settings for encoding content: `control` cannot come out, and nothing is put before.

    Every text is a part of something (a prompt, the middle of a document), so the space that some
    tokenizers put before each text is left out.
    """
    model = dict(settings["model"])
    added = settings.get("added_tokens") or []
    plain = [token for token in added if token["content"] not in control]
    # With an entry in the vocabulary a token keeps its id whatever tokens before it are gone.
    model["vocab"] = {token["content"]: token["id"] for token in plain} | model["vocab"]
    model["dropout"] = None
    out_of_reach = set(control)
    if spelling_of(settings) == "sentencepiece":  # `<0x0A>` in a text is six characters
        out_of_reach.update(token for token in model["vocab"] if _BYTE_PIECE.fullmatch(token))
    model["merges"] = [
        merge
        for merge in model["merges"]
        if (merge.replace(" ", "", 1) if isinstance(merge, str) else "".join(merge))
        not in out_of_reach
    ]
    if model.get("ignore_merges"):  # a whole word is looked up in the vocabulary first
        model["vocab"] = {t: n for t, n in model["vocab"].items() if t not in control}
    made = {
        **settings,
        "added_tokens": plain,
        "truncation": None,
        "padding": None,
        "post_processor": None,
        "normalizer": _without_prefix(settings.get("normalizer")),
        "pre_tokenizer": _without_prefix(settings.get("pre_tokenizer")),
        "model": model,
    }
    return _with_spaces(made, control) if _only_spaces_change(made, control) else made


def _only_spaces_change(settings: Settings, control: Collection[str]) -> bool:
    """Whether all that is done to a text before merging is to write `▁` for each space."""
    if spelling_of(settings) != "sentencepiece":
        return False
    normalizers = [p for p in _parts(settings["normalizer"]) if p["type"] != "Sequence"]
    cuts = [p for p in _parts(settings["pre_tokenizer"]) if p["type"] != "Sequence"]
    replaced = [n for n in normalizers if n == _SPACES | {"content": SPACE}]
    # Where no space is left, a split at spaces does nothing (Gemma 3).
    nothing = [p for p in cuts if replaced and p.get("pattern") == _SPACES["pattern"]]
    in_place = [p for p in cuts if p["type"] == "Metaspace" and p.get("split") is False]
    return (
        replaced == normalizers
        and len(nothing) + len(in_place) == len(cuts)
        and not any(" " in token for token in settings["model"]["vocab"].keys() - set(control))
    )


def _with_spaces(settings: Settings, control: Collection[str]) -> dict[str, Any]:
    """The same with a space for `▁` in the vocabulary.

    So no text is changed, and `▁` in one is spelled in its three bytes: it would come back as a
    space else. Added tokens are found in changed text (`normalized`), or are `▁` itself and go.
    """
    model = settings["model"]
    merges = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
    added = []
    for token in settings["added_tokens"]:
        if token["normalized"] and settings["normalizer"]:
            spaced = token["content"].replace(SPACE, " ")
            added.append({**token, "content": spaced, "normalized": False})
        elif SPACE not in token["content"]:
            added.append(token)
    vocabulary = {
        token if token in control else token.replace(SPACE, " "): number
        for token, number in model["vocab"].items()
    }
    spaced = [[part.replace(SPACE, " ") for part in merge] for merge in merges]
    return {
        **settings,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": None,
        "model": {**model, "vocab": vocabulary, "merges": spaced},
    }


def content_rules(settings: Settings, control: Collection[str]) -> dict[str, Any]:
    """The part of `content_settings` that decides which ids a text gets, in one form."""
    made = content_settings(settings, control)
    model = made["model"]
    plain = [{**token, "role": None} for token in made["added_tokens"]]
    return {
        "added": sorted(plain, key=lambda token: int(token["id"])),
        "normalizer": made["normalizer"],
        "pre_tokenizer": made["pre_tokenizer"],
        "merges": [m.split(" ") if isinstance(m, str) else list(m) for m in model["merges"]],
        "vocab": {token: n for token, n in model["vocab"].items() if token not in control},
        "rules": {key: model.get(key) for key in _RULES},
    }


def byte_of_character() -> dict[str, int]:
    """The byte for each character of byte-level BPE.

    Printable Latin-1 characters stand for themselves; the other 68 bytes, in order, for the
    characters from U+0100 (GPT-2's table).
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(256 + n): byte for n, byte in enumerate(others)}


def _parts(part: Any) -> Iterator[Mapping[str, Any]]:
    """A normalizer or pre-tokenizer, and all that it is made of."""
    if part:
        yield part
        for inner in [*part.get("normalizers", []), *part.get("pretokenizers", [])]:
            yield from _parts(inner)


def _without_prefix(part: Any) -> Any:
    """The same normalizer or pre-tokenizer, without the space before a text."""
    if not part or part["type"] == "Prepend":
        return None
    changed = dict(part)
    for key in ("normalizers", "pretokenizers"):
        if key in part:
            inner = (_without_prefix(each) for each in part[key])
            changed[key] = [each for each in inner if each]
    if part["type"] == "ByteLevel":
        changed["add_prefix_space"] = False
    if part["type"] == "Metaspace":
        changed.pop("add_prefix_space", None)
        changed["prepend_scheme"] = "never"
    return changed


def to_json(settings: Settings) -> str:
    """A `tokenizer.json`; the same settings give the same text."""
    return json.dumps(settings, ensure_ascii=False, indent=1)
