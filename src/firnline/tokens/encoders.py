"""Ways to have gigatoken encode: as it is, and for pre-tokenizers that it has no code for.

gigatoken knows how well-known tokenizers cut text into words. Two further kinds are brought to
one of these: characters that stand alone are made added tokens, before and after which a text is
cut; and words that a kernel has cut are spelled in letters, which no rule cuts further.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from firnline.documents import buffers
from firnline.kernels import words as kernels
from firnline.tokens.cutting import CODE_POINTS, Members, Split, is_bytes_alone, parts_of, splits_of
from firnline.tokens.spelling import SPACE, Settings, byte_of_character

Ids = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

# One way of writing for words that are cut alike: gigatoken compares patterns as strings.
_SAME_WORDS = {
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": (
        r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    ),
}
_MOST_ALONE = 4096  # characters; there are about 1,900 digits
_MOST_TOKENS = 64
RENEWED_AFTER = 4_000_000_000
"""Bytes. gigatoken 0.10 keeps the ids of every word it has met: 180 MB for 0.9 GB of code."""


class Encoder(Protocol):
    """Encodes a batch of texts, a list or an Arrow column."""

    def encode(self, texts: Any, parallel: bool | None) -> tuple[Ids, Offsets]:
        """Ids on end, and offsets. Raises TypeError or UnicodeError for what is no Unicode."""


def encoders(settings: Settings, encode: Callable[[str], list[int]]) -> Iterator[Encoder]:
    """The encoders that take these settings (those of content), the fastest first.

    `encode` gives the ids that `tokenizers` gives. Whether an encoder gives them too is for the
    caller to see.
    """
    for kind in (Spaces, Plain, LoneCharacters, Words):
        try:
            yield kind(settings, encode)
        except (RuntimeError, ValueError, KeyError):  # settings that gigatoken or we refuse
            continue


class Plain:
    """gigatoken with the settings as they are."""

    def __init__(self, settings: Settings, _: object = None) -> None:
        self._settings = json.dumps(_in_known_words(settings), check_circular=False)
        self._renew()

    def _renew(self) -> None:
        import gigatoken

        self._encoder = gigatoken.Tokenizer.from_json(self._settings)
        self._bytes = 0

    def encode(self, texts: Any, parallel: bool | None) -> tuple[Ids, Offsets]:
        """Ids on end, and offsets."""
        if isinstance(texts, pa.Array | pa.ChunkedArray):
            return self.encode_bytes(*_buffers(texts), parallel)
        return self._encode(list(texts), parallel)

    def encode_bytes(
        self, data: Bytes, offsets: Offsets, parallel: bool | None
    ) -> tuple[Ids, Offsets]:
        """The same for texts on end in `data`, which is read in place."""
        import awkward as ak

        if self._bytes > RENEWED_AFTER:
            self._renew()
        self._bytes += int(offsets[-1] - offsets[0])
        characters = ak.contents.NumpyArray(data, parameters={"__array__": "char"})
        index = ak.index.Index64(offsets)
        layout = ak.contents.ListOffsetArray(index, characters, parameters={"__array__": "string"})
        return self._encode(ak.Array(layout), parallel)

    def _encode(self, texts: Any, parallel: bool | None) -> tuple[Ids, Offsets]:
        ragged = self._encoder.encode_batch(texts, parallel=parallel).layout
        return ragged.content.data, ragged.offsets.data


class Alone:
    """gigatoken with some characters as added tokens of its own, so that they stand alone.

    One that has several ids gets an id past the vocabulary, in whose place they are put afterwards.
    """

    def __init__(self, settings: Settings, alone: Mapping[str, list[int]]) -> None:
        self._size = 1 + max(settings["model"]["vocab"].values())
        several = [ids for ids in alone.values() if len(ids) > 1]
        self._lengths = np.array([len(ids) for ids in several], dtype=np.int64)
        self._several = np.array([i for ids in several for i in ids], dtype=np.uint32)
        past = iter(range(self._size, self._size + len(several)))
        added = [_added(c, ids[0] if len(ids) == 1 else next(past)) for c, ids in alone.items()]
        self._plain = Plain({**settings, "added_tokens": [*settings["added_tokens"], *added]})

    def encode(self, texts: Any, parallel: bool | None) -> tuple[Ids, Offsets]:
        """Ids on end, and offsets."""
        ids, offsets = self._plain.encode(texts, parallel)
        if not ids.size or ids.max() < self._size:
            return ids, offsets
        where = np.flatnonzero(ids >= self._size)
        which = ids[where] - self._size
        counts = np.ones(len(ids), dtype=np.int64)
        counts[where] = lengths = self._lengths[which]
        ends = np.concatenate(([0], np.cumsum(counts)))
        steps = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        begins = (np.cumsum(self._lengths) - self._lengths)[which]
        spread = np.repeat(ids, counts)
        places = np.repeat(ends[where], lengths) + steps
        spread[places] = self._several[np.repeat(begins, lengths) + steps]
        return spread, ends[offsets]


class LoneCharacters(Alone):
    """For pre-tokenizers that first isolate single characters, as `Digits` does (StarCoder)."""

    def __init__(self, settings: Settings, encode: Callable[[str], list[int]]) -> None:
        parts = parts_of(settings.get("pre_tokenizer"))
        splits, others = splits_of(parts[:1]), parts[1:]
        if not splits or not others or splits[0].before is not None or splits[0].runs:
            raise ValueError("no characters that stand alone first")
        characters = [chr(point) for point in np.flatnonzero(splits[0].members).tolist()]
        if len(characters) > _MOST_ALONE or (_normalizes(settings) and _changes(characters)):
            raise ValueError("too many characters that stand alone, or changed ones")
        rest = {"type": "Sequence", "pretokenizers": others} if others[1:] else others[0]
        alone = {character: encode(character) for character in characters}
        super().__init__({**settings, "pre_tokenizer": rest}, alone)


class Spaces(Alone):
    """For SentencePiece whose vocabulary has spaces: gigatoken is twice as fast with `▁` for them.

    `▁` itself, in a text, is spelled in its bytes.
    """

    def __init__(self, settings: Settings, encode: Callable[[str], list[int]]) -> None:
        model = settings["model"]
        if not model.get("byte_fallback") or settings["normalizer"] or settings["pre_tokenizer"]:
            raise ValueError("no SentencePiece, or one that changes more than spaces")
        vocabulary = {token.replace(" ", SPACE): n for token, n in model["vocab"].items()}
        merges = [[part.replace(" ", SPACE) for part in merge] for merge in model["merges"]]
        normalizer = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
        model = {**model, "vocab": vocabulary, "merges": merges}
        alone = {SPACE: encode(SPACE)}
        super().__init__({**settings, "normalizer": normalizer, "model": model}, alone)


class Words:
    """For pre-tokenizers that are simple splits in a row (DeepSeek-Coder).

    The words are cut by a kernel and spelled in letters, two for each byte, with line breaks
    between them. gigatoken's vocabulary is spelled likewise, after merges that make the pairs.
    """

    def __init__(self, settings: Settings, _: object = None) -> None:
        parts = parts_of(settings.get("pre_tokenizer"))
        splits = splits_of(parts[:-1]) if parts and is_bytes_alone(parts[-1]) else None
        tokens = settings["added_tokens"]
        stripping = any(token[key] for token in tokens for key in ("lstrip", "rstrip"))
        if not splits or len(tokens) > _MOST_TOKENS or stripping or _normalizes(settings):
            raise ValueError("no simple splits in a row")
        self._classes, self._steps = _tables(splits)
        self._tokens = [token["content"].encode() for token in tokens]
        spelled, self._ids = _in_letters(settings)
        self._plain = Plain(spelled)

    def encode(self, texts: Any, parallel: bool | None) -> tuple[Ids, Offsets]:
        """Ids on end, and offsets."""
        data, offsets = _buffers(texts)
        out = np.empty(3 * int(offsets[-1] - offsets[0]), dtype=np.uint8)
        ends = np.zeros(len(offsets), dtype=np.int64)
        tokens = _occurrences(data, offsets, self._tokens)
        kernels.spell_words(data, offsets, self._classes, self._steps, tokens, out, ends)
        ids, offsets = self._plain.encode_bytes(out, ends, parallel)
        named, named_offsets = np.empty(len(ids), dtype=np.uint32), np.zeros_like(offsets)
        kernels.drop_breaks(ids, offsets, self._ids, named, named_offsets)
        return named[: named_offsets[-1]], named_offsets


def _in_known_words(settings: Settings) -> dict[str, Any]:
    text = json.dumps(settings.get("pre_tokenizer"))
    for pattern, known in _SAME_WORDS.items():
        text = text.replace(json.dumps(pattern), json.dumps(known))
    return {**settings, "pre_tokenizer": json.loads(text)}


def _buffers(texts: Any) -> tuple[Bytes, Offsets]:
    """Bytes and offsets of texts; an Arrow column is read in place."""
    column = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    if not isinstance(column, pa.Array):
        column = pa.array(list(texts), pa.large_string())
    return buffers(column)


def _normalizes(settings: Settings) -> bool:
    normalizer = settings.get("normalizer")
    return normalizer is not None and normalizer.get("normalizers") != []


def _changes(characters: list[str]) -> bool:
    """Whether composing (NFC) can change one of these, alone or with marks after it."""
    points = (chr(point) for point in range(0x30000) if not 0xD800 <= point < 0xE000)
    decomposed = {c: unicodedata.normalize("NFD", c) for c in points}
    begin = {parts[0] for c, parts in decomposed.items() if parts != c}
    return any(c in begin or decomposed.get(c, c) != c for c in characters)


def _added(content: str, number: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": number, "content": content, **flags}


def _tables(splits: list[Split]) -> tuple[npt.NDArray[np.uint16], Offsets]:
    """The classes of each code point as bits, and the splits as rows for the kernel."""
    bits: dict[bytes, int] = {}
    classes = np.zeros(CODE_POINTS, dtype=np.uint16)

    def bit_of(members: Members | None) -> int:
        if members is None:
            return 0
        key = members.tobytes()
        if key not in bits:
            bits[key] = 1 << len(bits)
            if bits[key] >= kernels.INSIDE:
                raise ValueError("too many classes")
            classes[members] |= np.uint16(bits[key])
        return bits[key]

    rows = [
        (bit_of(split.members), bit_of(split.before), split.runs, split.to_end) for split in splits
    ]
    return classes, np.array(rows, dtype=np.int64)


def _in_letters(settings: Settings) -> tuple[dict[str, Any], Ids]:
    """Settings whose vocabulary is spelled in letters, and the old id for each of its ids."""
    byte_of = byte_of_character()
    character = {byte: text for text, byte in byte_of.items()}

    def letter(byte: int) -> list[str]:
        return [chr(kernels.HIGH + (byte >> 4)), chr(kernels.LOW + (byte & 15))]

    letters = {text: "".join(letter(byte)) for text, byte in byte_of.items()}

    def spell(token: str) -> str:
        return "".join(letters[text] for text in token)

    model = settings["model"]
    old: dict[str, int] = model["vocab"]
    vocabulary = {character[byte]: byte for byte in range(256)}
    ids = [0] * 256
    merges = [letter(byte) for byte in range(256)]

    def add(token: str) -> None:
        if (spelled := spell(token)) not in vocabulary:
            vocabulary[spelled] = len(ids)
            ids.append(old.get(token, 0))

    for byte in range(256):
        add(character[byte])
    for merge in model["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        merges.append([spell(left), spell(right)])
        add(left + right)
    if model.get("ignore_merges"):  # a whole word is looked up first
        for token in old:
            if byte_of.keys() >= set(token):
                add(token)
    added = []
    for token in settings["added_tokens"]:
        content = "".join("".join(letter(byte)) for byte in token["content"].encode())
        added.append(_added(content, len(ids)))
        ids.append(token["id"])
    model = {**model, "vocab": vocabulary, "merges": merges}
    # GPT-2's words: letters are one, and so is a line break between them.
    words = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    changed = {"model": model, "added_tokens": added, "pre_tokenizer": words, "normalizer": None}
    return {**settings, **changed}, np.array(ids, dtype=np.uint32)


def _occurrences(data: Bytes, offsets: Offsets, tokens: Sequence[bytes]) -> Offsets:
    """Begin and end of each added token in `data`, in order: leftmost, and there the longest."""
    begin = int(offsets[0])
    text = data[begin : int(offsets[-1])].tobytes() if tokens else b""
    found: list[tuple[int, int]] = []
    for token in tokens:
        at = text.find(token)
        while at >= 0:
            found.append((begin + at, begin + at + len(token)))
            at = text.find(token, at + 1)
    kept: list[tuple[int, int]] = []
    end = 0
    for first, last in sorted(found, key=lambda each: (each[0], -each[1])):
        bound = offsets[np.searchsorted(offsets, first, side="right")]
        if first >= end and last <= bound:
            kept.append((first, last))
            end = last
    return np.array(kept, dtype=np.int64).reshape(-1, 2)
