"""Text to token ids and back: byte-level or SentencePiece BPE from a Hugging Face `tokenizer.json`.

gigatoken encodes; `tokenizers` defines what is right. Content can never produce a control token:
they are taken out of the encoder's copy of the file, so that their strings are encoded as the
plain text they are.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from firnline.errors import FirnlineError
from firnline.progress import say
from firnline.tokens.encoders import Encoder, Ids, encoders
from firnline.tokens.roles import Role, control_tokens, find_roles
from firnline.tokens.spelling import (
    Spelling,
    check_kind,
    content_settings,
    spelled_bytes,
    spelling_of,
)
from firnline.uncollected import uncollected

END_OF_TEXT = "<|endoftext|>"
# Ids 0 to 6 of every tokenizer that Firnline trains (docs/contracts.md).
SPECIAL_TOKENS = (
    END_OF_TEXT,
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<|pad|>",
)

# Every class a pre-tokenizer or normalizer can treat in its own way: gigatoken accepts some
# settings that it does not follow (a Punctuation or Whitespace pre-tokenizer, for two).
_PROBE = (
    "def f12(x345, *, _y=0x1F):  # It's, we'LL, don't\n\tif x != 'é' and y:\r\n\t\treturn  \n\n"
    "  naïve e\u0301 \ufb01 ＡＢＣ 中文字 かな العربية हिन्दी İı ſ K 🙂👩\u200d💻 ½ ² Ⅷ ٣\n"
    "a\u00a0b\u2003c\u2028d\ufeffe\x00f\x7f<a-b>==>>=//**__init__...   \t \t  \n\n\n   x\n"
    "1234567890123 0x00F'9 x1 2  3\t4\n5٣٤٥٦٧८९０１２３½¾²³ ⅧⅨ㊿𝟘𝟙 1\u0301 １\u0338é=\u0338 1.5\n"
    " \tfoo\x0bbar\u00a0baz \u3000中文か な가 abc中文def é中 ，。！？ (a) [b] {c}\t\t(d) $+=^ $`\n"
    "trail  \t\n  \r\n\r\n \r x \u0300\u0301a\u0300 ' 's \"'re\" '\n''ll \u2019s _a_b-c \u0378 "
)


class Tokenizer:
    """A tokenizer folder. Holds the path alone until it is first used, so it pickles cheaply."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Opens a folder with `tokenizer.json` and reads it now.

        Raises FirnlineError where the file is missing, is not BPE over bytes, or has no token that
        ends a document.
        """
        tokenizer = cls(folder)
        with uncollected():
            _ = tokenizer._encoder
        return tokenizer

    def __reduce__(self) -> tuple[object, ...]:
        return _unpickled, (self.folder, self.digest)

    def encode(self, text: str) -> Ids:
        """Ids of one text, without any end token."""
        return self.encode_batch([text])[0]

    def encode_batch(
        self, texts: Sequence[str] | pa.Array, *, parallel: bool | None = None
    ) -> tuple[Ids, npt.NDArray[np.int64]]:
        """Ids of all texts on end, and `len(texts) + 1` offsets into them.

        An Arrow column is read in place; its nulls count as empty. `parallel` uses all cores
        (default: unless this is a worker process); the ids are the same either way. Raises
        FirnlineError for a text that is not Unicode (an unpaired surrogate).
        """
        if len(texts) == 0:
            return np.zeros(0, dtype=np.uint32), np.zeros(1, dtype=np.int64)
        try:
            if self._encoder is None:
                return self._encode_slowly(texts)
            return self._encoder.encode(texts, parallel)
        except (TypeError, UnicodeError) as error:
            raise _not_unicode(texts) from error

    def decode(self, ids: Sequence[int] | npt.NDArray[Any]) -> str:
        """Text of ids, special tokens written out. Bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Sequence[int] | npt.NDArray[Any]) -> bytes:
        """Bytes of ids, exactly: part of a document can end inside a UTF-8 character."""
        table = self.token_bytes
        try:
            return b"".join([table[i] for i in np.asarray(ids, dtype=np.int64).tolist()])
        except KeyError as error:
            raise FirnlineError(
                f"token id {error.args[0]} is not in the vocabulary of {self.folder}",
                mend="decode with the tokenizer that encoded",
            ) from None

    @cached_property
    def vocabulary_size(self) -> int:
        """One more than the largest id."""
        vocabulary: Mapping[str, int] = self.settings["model"]["vocab"]
        added = self.settings.get("added_tokens") or []
        ids = (token["id"] for token in added)
        largest: int = max(itertools.chain(vocabulary.values(), ids))
        return largest + 1

    @cached_property
    def special(self) -> Mapping[str, int]:
        """Ids of the control tokens by their strings: what content never becomes."""
        return control_tokens(self.settings.get("added_tokens") or [])

    @cached_property
    def roles(self) -> Mapping[Role, int]:
        """Ids by role: `end_of_text` always; `fim_prefix`, `fim_middle`, `fim_suffix` and `pad`
        where the vocabulary has them."""
        found = find_roles(self.settings.get("added_tokens") or [])
        return {role: self.special[content] for role, content in found.items()}

    @cached_property
    def end_of_text(self) -> int:
        """Id of the token that ends each document."""
        return self.roles["end_of_text"]

    @cached_property
    def spelling(self) -> Spelling:
        """How the vocabulary spells bytes: `byte-level` or `sentencepiece`."""
        spelling = spelling_of(self.settings)
        assert spelling is not None
        return spelling

    @cached_property
    def probes(self) -> list[str]:
        """Texts on which two encoders of these settings may differ."""
        added = [token["content"] for token in self.settings.get("added_tokens") or []]
        plain = [token for token in added if token not in self.special]
        in_words = [f"{token}a{token}{token} {token}b \n{token}" for token in plain]
        return [_PROBE + "".join(self.special), *_PROBE.split(" "), *in_words, "".join(plain)]

    @property
    def fast(self) -> bool:
        """Whether gigatoken encodes; else `tokenizers` does."""
        return self._encoder is not None

    @cached_property
    def digest(self) -> str:
        """128-bit hash of the bytes of `tokenizer.json`: what token folders are checked against."""
        return hashlib.blake2b(self._data, digest_size=16).hexdigest()

    @cached_property
    def token_bytes(self) -> dict[int, bytes]:
        """The bytes that each id stands for."""
        return spelled_bytes(self.settings)

    @cached_property
    def _data(self) -> bytes:
        try:
            return (self.folder / "tokenizer.json").read_bytes()
        except OSError as error:
            raise FirnlineError(
                f"no tokenizer.json in {self.folder}", mend="give a tokenizer folder"
            ) from error

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """`tokenizer.json`, checked."""
        path = self.folder / "tokenizer.json"
        try:
            settings = json.loads(self._data)
            check_kind(settings, path)
            added = settings.get("added_tokens") or []
            roles = find_roles(added)
            control_tokens(added)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FirnlineError(
                f"cannot read {path}: not a Hugging Face tokenizer", mend="make the file again"
            ) from error
        if "end_of_text" not in roles:
            raise FirnlineError(
                f"{path} has no special token {END_OF_TEXT} or another that ends a document",
                mend='add it to added_tokens, or write "role": "end_of_text" there',
            )
        assert isinstance(settings, dict)
        return settings

    @cached_property
    def _content(self) -> Mapping[str, Any]:
        return content_settings(self.settings, self.special)

    @cached_property
    def _reference(self) -> Any:
        import tokenizers

        return tokenizers.Tokenizer.from_str(json.dumps(self._content, check_circular=False))

    @cached_property
    def _encoder(self) -> Encoder | None:
        """gigatoken's encoder, or None where it does not give the ids of `tokenizers`."""

        def encode(text: str) -> list[int]:
            ids: list[int] = self._reference.encode(text, add_special_tokens=False).ids
            return ids

        try:
            encodings = self._reference.encode_batch_fast(self.probes, add_special_tokens=False)
        except Exception as error:  # tokenizers raises bare Exception
            raise FirnlineError(
                f"cannot read {self.folder / 'tokenizer.json'}: {error}", mend="make it again"
            ) from error
        wanted = [encoding.ids for encoding in encodings]
        for encoder in encoders(self._content, encode):
            ids, offsets = encoder.encode(self.probes, parallel=False)
            if [part.tolist() for part in np.split(ids, offsets[1:-1])] == wanted:
                return encoder
        say(f"{self.folder}: gigatoken does not cover this tokenizer, encoding is slower")
        return None

    def _encode_slowly(self, texts: Any) -> tuple[Ids, npt.NDArray[np.int64]]:
        is_arrow = isinstance(texts, pa.Array | pa.ChunkedArray)
        strings = [text or "" for text in texts.to_pylist()] if is_arrow else list(texts)
        encodings = self._reference.encode_batch_fast(strings, add_special_tokens=False)
        offsets = np.zeros(len(encodings) + 1, dtype=np.int64)
        np.cumsum([len(encoding.ids) for encoding in encodings], out=offsets[1:])
        ids = np.concatenate([np.array(encoding.ids, dtype=np.uint32) for encoding in encodings])
        return ids, offsets


@lru_cache(maxsize=1)
def _unpickled(folder: Path, digest: str) -> Tokenizer:
    """The same for all items of a worker process, which loads it once."""
    return Tokenizer(folder)


def _not_unicode(texts: Any) -> FirnlineError:
    for number, text in enumerate(texts):
        try:
            str(text).encode()
        except UnicodeEncodeError as error:
            return FirnlineError(
                f"text {number} holds an unpaired surrogate at character {error.start}",
                mend="decode the file as UTF-8 first",
            )
    return FirnlineError("a text is not a string", mend="give strings")
