"""Training samples: each a pure function of (seed, phase, number), read from a token folder.

The loader's whole state is one number. In each epoch the groups of documents come in a new
order, the documents of a group too (Arctic-SnowCoder, section 2.2: files of one language and
repository, concatenated in random order), unless the index gives their places; the concatenation
is cut into sequences, and the sequences are permuted, so that a batch mixes groups.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from firnline.batch import Batch
from firnline.errors import FirnlineError
from firnline.tokens.folder import TokenFolder, read_settings
from firnline.tokens.infilling import InfillingConfig
from firnline.tokens.packing import PackingConfig
from firnline.tokens.permutation import permute, shuffled_groups, unpermute
from firnline.tokens.tokenizer import Tokenizer

Integers = npt.NDArray[np.int64]
CONCATENATE = PackingConfig()


class Piece(NamedTuple):
    """A run of one document's tokens in a sample.

    Tokens `start` to `end` (not included) of the document, counted with its end of text. Pieces
    follow one another in the sample.
    """

    id: bytes
    repo: str
    path: str
    start: int
    end: int


class _Pieces(NamedTuple):
    # Runs of tokens in the order of the batch; one row for each.
    sample: Integers  # which sample of the batch
    document: Integers  # row of the index
    start: Integers  # first token, inside the document
    length: Integers


class Samples:
    """Samples of `sequence_length + 1` tokens; neighbours in the stream share one token.

    So each token but the first of an epoch is predicted exactly once, save the last
    `(epoch_tokens - 1) % sequence_length`, which fill no sequence. Numbers beyond an epoch go on
    in the next one, with another order.

    Memory: 20 bytes for each document (28 with places, 24 with parts), and 16 more for each of the
    two latest epochs; tokens are mapped, not read. A sample costs one search among the documents,
    wherever it lies.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sequence_length: int,
        seed: int,
        phase: str,
        keep: npt.NDArray[np.bool_] | None = None,
        packing: PackingConfig = CONCATENATE,
        infilling: InfillingConfig | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        """`keep` says which rows of the folder's index are used; all are by default.

        Infilling needs the tokenizer that made the folder. Raises FirnlineError where the folder
        is not whole, holds less than one sample, or was made by another tokenizer.
        """
        if sequence_length < 1:
            raise FirnlineError(
                f"sequence_length is {sequence_length}", mend="give at least one token"
            )
        if packing.method != "concatenate" or infilling is not None:
            raise NotImplementedError
        if tokenizer is not None:
            check(folder, tokenizer)
        self.folder = folder
        self.sequence_length = sequence_length
        self.seed = seed
        self.phase = phase
        self.packing = packing
        self._index = TokenFolder(folder, keep)
        self.epoch_tokens = self._index.total_tokens
        self.samples_per_epoch = (self.epoch_tokens - 1) // sequence_length
        if self.samples_per_epoch < 1:
            raise FirnlineError(
                f"{folder} holds {self.epoch_tokens:,} tokens, one sample takes "
                f"{sequence_length + 1:,}",
                mend="pack more documents or shorten the sequence",
            )
        self._epoch = lru_cache(maxsize=2)(self._order)

    @property
    def vocabulary_size(self) -> int:
        """Entries of the tokenizer that made the folder."""
        return int(self._index.settings["vocabulary_size"])

    def batch(self, start: int, count: int) -> Batch:
        """Samples `start` to `start + count - 1`: ids of shape (count, sequence_length + 1)."""
        pieces = self._pieces(start, count)
        ids = np.empty(count * (self.sequence_length + 1), dtype=np.int64)
        # Sorted by shard, each shard fills its places in one gather.
        places = np.cumsum(pieces.length) - pieces.length
        order = np.argsort(self._index.shard[pieces.document], kind="stable")
        document, length = pieces.document[order], pieces.length[order]
        source = _runs(self._index.offset[document] + pieces.start[order], length)
        target = _runs(places[order], length)
        ends = np.cumsum(length)
        shards, first = np.unique(self._index.shard[document], return_index=True)
        bounds = [*(ends[first] - length[first]).tolist(), len(ids)]
        for number, shard in enumerate(shards.tolist()):
            part = slice(bounds[number], bounds[number + 1])
            ids[target[part]] = self._index.shards[shard][source[part]]
        shape = (count, self.sequence_length + 1)
        documents = None
        if self.packing.attention == "masked":
            held = np.bincount(pieces.sample, minlength=count)
            inside = _runs(np.zeros(count, dtype=np.int64), held).astype(np.int32)
            documents = np.repeat(inside, pieces.length).reshape(shape)
        return Batch(ids.reshape(shape), documents)

    def epochs(self, samples: int) -> dict[str, float]:
        """How often the samples 0 to `samples - 1` go through the folder."""
        return {self.folder.name: samples / self.samples_per_epoch}

    def documents(self, number: int) -> list[Piece]:
        """Which documents sample `number` holds, and which of their tokens, in its order."""
        pieces = self._pieces(number, 1)
        rows = self._index.names.take(pieces.document).to_pylist()
        return [
            Piece(row["id"], row["repo"], row["path"], start, start + length)
            for row, start, length in zip(
                rows, pieces.start.tolist(), pieces.length.tolist(), strict=True
            )
        ]

    def numbers_of(self, document: bytes, samples: int) -> Integers:
        """Which of the samples 0 to `samples - 1` hold tokens of the document, in order.

        Costs one order of the documents for each epoch begun, no look at the samples. Empty where
        the folder does not hold the document.
        """
        row = self._index.row_of(document)
        found = [np.zeros(0, dtype=np.int64)]
        for epoch in range(-(-samples // self.samples_per_epoch) if row >= 0 else 0):
            order, bounds = self._epoch(epoch)
            place = int(np.flatnonzero(order == row)[0])
            begin, end = int(bounds[place]), int(bounds[place + 1])
            # Sequence s takes the tokens s * length to (s + 1) * length, the last one included.
            first = max(0, (begin - 1) // self.sequence_length)
            last = min((end - 1) // self.sequence_length, self.samples_per_epoch - 1)
            sequences = np.arange(first, last + 1, dtype=np.int64)
            inside = unpermute(sequences, self.samples_per_epoch, *self._key(epoch))
            found.append(np.sort(inside) + epoch * self.samples_per_epoch)
        numbers = np.concatenate(found)
        return numbers[numbers < samples]

    def _pieces(self, start: int, count: int) -> _Pieces:
        if start < 0 or count < 1:
            raise ValueError(f"no samples from {start}, {count} of them")
        numbers = np.arange(start, start + count, dtype=np.int64)
        epochs = numbers // self.samples_per_epoch
        parts = []
        for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
            chosen = np.flatnonzero(epochs == epoch)
            part = self._pieces_of_epoch(epoch, numbers[chosen] % self.samples_per_epoch)
            parts.append(part._replace(sample=part.sample + chosen[0]))
        return _Pieces(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _pieces_of_epoch(self, epoch: int, numbers: Integers) -> _Pieces:
        order, bounds = self._epoch(epoch)
        places = permute(numbers, self.samples_per_epoch, *self._key(epoch))
        begin = places * self.sequence_length
        end = begin + self.sequence_length + 1
        first = np.searchsorted(bounds, begin, side="right") - 1
        last = np.searchsorted(bounds, end, side="left") - 1
        held = last - first + 1
        sample = np.repeat(np.arange(len(numbers), dtype=np.int64), held)
        place = _runs(first, held)
        from_token = np.maximum(bounds[place], begin[sample])
        to_token = np.minimum(bounds[place + 1], end[sample])
        return _Pieces(sample, order[place], from_token - bounds[place], to_token - from_token)

    def _order(self, epoch: int) -> tuple[Integers, Integers]:
        """The epoch's stream: documents in order, and the token at which each begins."""
        order = shuffled_groups(
            self._index.group,
            *self._key(epoch),
            parts=self._index.part,
            places=self._index.place,
        )
        bounds = np.zeros(len(order) + 1, dtype=np.int64)
        np.cumsum(self._index.tokens[order], out=bounds[1:])
        return order, bounds

    def _key(self, epoch: int) -> tuple[str | int, ...]:
        return (self.seed, self.phase, epoch)


def check(folder: Path, tokenizer: Tokenizer) -> None:
    """Raises FirnlineError where another tokenizer made the token folder."""
    made_with = read_settings(folder)["tokenizer"]
    if made_with != tokenizer.digest:
        raise FirnlineError(
            f"{folder} was packed with tokenizer {made_with}, {tokenizer.folder} is "
            f"{tokenizer.digest}",
            mend="pack the documents again with this tokenizer",
        )


def _runs(starts: Integers, lengths: Integers) -> Integers:
    """The numbers start, start + 1, ... of each run, on end."""
    skipped = np.cumsum(lengths) - lengths
    return np.repeat(starts - skipped, lengths) + np.arange(lengths.sum())
