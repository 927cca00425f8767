"""The vocabulary of encoder and encoder-decoder models: the tokenizer's ids and some more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firnline.errors import FirnlineError
from firnline.kernels.draws import words
from firnline.kernels.renaming import Spelling
from firnline.training.objectives.shapes import ADDED

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Vocabulary:
    """The tokenizer's ids 0 to V - 1, then ADDED from V on, then the sentinels.

    None of the added ids has a string: no content can hold one.
    """

    tokenizer_size: int
    sentinels: int
    end: int
    """End of text: the end of each document, and of each target."""
    spelling: Spelling
    maskable: Flags
    """[size] Whether a token may be hidden: it is no special token."""
    ordinary: Integers
    """The maskable tokens: what a token can be replaced by."""
    goes_on: tuple[Flags, Flags]
    """[size] Whether a token's first byte, and its last, is of a word: a letter, digit, underscore
    or part of a character beyond ASCII."""

    @classmethod
    def of(
        cls,
        token_bytes: Mapping[int, bytes],
        *,
        special: Iterable[int],
        end: int,
        sentinels: int = 100,
    ) -> Vocabulary:
        """From the bytes of each token, the ids of the special ones and that of end of text.

        Raises FirnlineError where a byte is no token: not the vocabulary of byte-level BPE.
        """
        size = max(token_bytes) + 1
        apart = set(special)
        texts = [b"" if i in apart else token_bytes.get(i, b"") for i in range(size)]
        missing = set(range(256)) - {text[0] for text in texts if len(text) == 1}
        if missing:
            raise FirnlineError(
                f"the tokenizer has no token for {len(missing)} of the 256 bytes",
                mend="give a tokenizer of byte-level BPE",
            )
        whole = size + len(ADDED) + sentinels
        texts += [b""] * (whole - size)
        offsets = np.zeros(whole + 1, dtype=np.int64)
        np.cumsum([len(text) for text in texts], out=offsets[1:])
        plain = [i for i in range(size) if texts[i]]
        order = sorted(plain, key=lambda i: (texts[i], i))
        data = np.frombuffer(b"".join(texts), dtype=np.uint8)
        is_word = np.array([b >= 128 or b == 95 or chr(b).isalnum() for b in range(256)])
        first, last, maskable = (np.zeros(whole, dtype=bool) for _ in range(3))
        first[plain] = is_word[data[offsets[plain]]]
        last[plain] = is_word[data[offsets[np.array(plain) + 1] - 1]]
        maskable[plain] = True
        return cls(
            tokenizer_size=size,
            sentinels=sentinels,
            end=end,
            spelling=Spelling(data, offsets, np.array(order, dtype=np.int64)),
            maskable=maskable,
            ordinary=np.array(plain, dtype=np.int64),
            goes_on=(first, last),
        )

    @property
    def size(self) -> int:
        """Entries in all: rows of the embedding."""
        return self.tokenizer_size + len(ADDED) + self.sentinels

    @property
    def sentinel(self) -> int:
        """Id of the first sentinel; the others follow."""
        return self.tokenizer_size + len(ADDED)

    def added(self, name: str) -> int:
        """Id of one of ADDED."""
        return self.tokenizer_size + ADDED.index(name)

    @property
    def pad(self) -> int:
        """Id of padding, which attention does not see."""
        return self.added("pad")

    def joins(self, ids: Integers) -> Flags:
        """For each of [samples, length] tokens: whether it goes on with the word before it.

        A word is what no boundary divides: tokens of which one ends and the next begins in a
        letter, digit, underscore or character beyond ASCII. Any other token is a word by itself.
        """
        first, last = self.goes_on
        joined = np.zeros(ids.shape, dtype=bool)
        joined[:, 1:] = last[ids[:, :-1]] & first[ids[:, 1:]]
        return joined


def sample_states(seed: int, phase: str, objective: str, numbers: Integers) -> NDArray[np.uint64]:
    """A random state for each sample number, for the kernels' generator."""
    key = f"{seed}\0{phase}\0{objective}".encode()
    base = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")
    return words(np.full(len(numbers), base, dtype=np.uint64), numbers)
