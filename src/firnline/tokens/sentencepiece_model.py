"""A SentencePiece `.model` of BPE kind as a Hugging Face `tokenizer.json`, every id kept.

The file is a protobuf message, `sentencepiece_model.proto`: pieces with scores and types, how the
model was trained, and how it normalizes text.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from firnline.errors import FirnlineError
from firnline.tokens.spelling import SPACE

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
_BPE = 2
_KINDS = {1: "a Unigram", 3: "a word", 4: "a character"}
# Numbers of fields: of the whole, of a piece, of how it was trained, of how it normalizes.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_TEXT, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _SPACE_LAST, _BYTE_FALLBACK = 3, 24, 35
_CHARACTER_MAP, _SPACE_FIRST, _ONE_SPACE, _ESCAPE_SPACE = 2, 3, 4, 5

Fields = Mapping[int, int | bytes]


class Piece(NamedTuple):
    """An entry of the vocabulary; its id is its place in the file."""

    text: str
    score: float
    kind: int


def is_sentencepiece(data: bytes) -> bool:
    """Whether a file begins as one: with a piece, which no line of a rank file looks like."""
    return data.startswith(b"\n")


def read_model(path: Path) -> dict[str, Any]:
    """Settings that give SentencePiece's own ids inside a text.

    Raises FirnlineError where the file is cut short, is no BPE, or changes or loses text.
    """
    pieces, trainer, normalizer = _parse(path)
    if (kind := trainer.get(_MODEL_TYPE, 1)) != _BPE:
        _refuse(path, f"is {_KINDS.get(int(kind), 'another')} model, not BPE", "give a BPE model")
    if not trainer.get(_BYTE_FALLBACK):
        _refuse(path, "has no byte fallback", "characters that it lacks would be lost")
    if normalizer.get(_ONE_SPACE, 1):
        _refuse(path, "makes one space of several", "code would lose its indentation")
    if normalizer.get(_CHARACTER_MAP):
        _refuse(path, "rewrites characters before it encodes", "text would not come back")
    if not normalizer.get(_ESCAPE_SPACE, 1) or trainer.get(_SPACE_LAST):
        _refuse(path, f"does not write {SPACE} before a word for a space", "give another model")
    if any(piece.kind == UNUSED for piece in pieces):
        _refuse(path, "has pieces that are marked unused", "no tokenizer.json can say so")
    return _settings(pieces, space_first=bool(normalizer.get(_SPACE_FIRST, 1)))


def _refuse(path: Path, what: str, mend: str) -> NoReturn:
    raise FirnlineError(f"{path} {what}", mend=mend)


def _parse(path: Path) -> tuple[list[Piece], Fields, Fields]:
    pieces: list[Piece] = []
    parts: dict[int, Fields] = {}
    try:
        for number, value in _fields(path.read_bytes()):
            if number not in (_PIECES, _TRAINER, _NORMALIZER):
                continue
            inner = dict(_fields(_bytes(value)))
            if number == _PIECES:
                (score,) = struct.unpack("<f", _bytes(inner.get(_SCORE, b"\0\0\0\0")))
                text = _bytes(inner.get(_TEXT, b"")).decode()
                pieces.append(Piece(text, score, int(inner.get(_TYPE, NORMAL))))
            else:
                parts[number] = inner
        if not pieces or _TRAINER not in parts:
            raise ValueError("no pieces or nothing on how it was trained")
    except (OSError, ValueError, TypeError, IndexError, struct.error) as error:
        raise FirnlineError(
            f"{path} is no SentencePiece model, or is cut short", mend="fetch the file again"
        ) from error
    return pieces, parts[_TRAINER], parts.get(_NORMALIZER, {})


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field: a number where it is a varint, else its bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == 0:
            number, at = _varint(message, at)
            yield key >> 3, number
            continue
        if wire == 2:
            size, at = _varint(message, at)
        else:
            size = {1: 8, 5: 4}.get(wire, len(message))
        if at + size > len(message):
            raise ValueError("a field is longer than its message")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where bytes are due")
    return value


def _settings(pieces: list[Piece], *, space_first: bool) -> dict[str, Any]:
    vocabulary = {piece.text: number for number, piece in enumerate(pieces)}
    # Tokens of the user are found before all merging, in the text with its spaces rewritten.
    added = [
        {
            "id": number,
            "content": piece.text,
            **dict.fromkeys(("single_word", "lstrip", "rstrip"), False),
            "normalized": piece.kind == USER_DEFINED,
            "special": piece.kind != USER_DEFINED,
        }
        for number, piece in enumerate(pieces)
        if piece.kind in (UNKNOWN, CONTROL, USER_DEFINED)
    ]
    unknown = next((piece.text for piece in pieces if piece.kind == UNKNOWN), None)
    space = {"replacement": SPACE, "prepend_scheme": "first", "split": False}
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if space_first:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": {"type": "Metaspace", **space} if space_first else None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": unknown,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": _merges(pieces),
        },
    }


def _merges(pieces: list[Piece]) -> list[list[str]]:
    """Pairs that make a piece, those of the highest score first.

    SentencePiece merges any two neighbours that are a piece together, the best piece first.
    """
    scores = {piece.text: piece.score for piece in pieces if piece.kind in (NORMAL, USER_DEFINED)}
    return [
        [text[:cut], text[cut:]]
        for text in sorted(scores, key=lambda text: -scores[text])
        for cut in range(len(text) - 1, 0, -1)
        if text[:cut] in scores and text[cut:] in scores
    ]
