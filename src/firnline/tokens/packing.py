"""How documents are put into sequences: on end and cut, or by best fit."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from firnline.errors import FirnlineError
from firnline.kernels.bins import best_fit_decreasing, cut_chunks
from firnline.tokens.folder import TokenFolder
from firnline.tokens.permutation import permute, random_words, shuffled_groups, unpermute

Integers = npt.NDArray[np.int64]
Key = tuple[str | int, ...]


class PackingConfig(BaseModel):
    """How the documents of a phase become sequences of equal length."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    method: Literal["concatenate", "best_fit"] = "concatenate"
    """Put documents on end and cut every `sequence_length` tokens, or fill sequences with whole
    documents, cutting none that fits in one (Ding et al. 2024, Fewer Truncations Improve Language
    Modeling); what is left of a sequence is padding."""
    attention: Literal["across", "masked"] = "across"
    """Whether a token sees the documents before its own in the sequence, or its own alone."""


class Runs(NamedTuple):
    """Runs of documents' tokens in the order of their samples; one row for each."""

    sample: Integers
    """Which of the samples asked for."""
    row: Integers
    """The document: row of the index."""
    start: Integers
    """First token, inside the document."""
    length: Integers


class Concatenated:
    """All documents of an epoch on end, cut into sequences that share one token with the next.

    So each token but the first of an epoch is predicted exactly once, save the last
    `(total - 1) % length`, which fill no sequence. Memory: 16 bytes for each document and each of
    the two latest epochs.
    """

    def __init__(self, folder: TokenFolder, length: int, key: Key) -> None:
        self.length = length
        self.samples_per_epoch = (folder.total_tokens - 1) // length
        if self.samples_per_epoch < 1:
            raise FirnlineError(
                f"{folder.path} holds {folder.total_tokens:,} tokens, one sample takes "
                f"{length + 1:,}",
                mend="pack more documents or shorten the sequence",
            )
        self._folder, self.key = folder, key
        self.stream = lru_cache(maxsize=2)(self._stream)

    def runs(self, epoch: int, numbers: Integers) -> Runs:
        """What the epoch's samples of these numbers hold."""
        places = permute(numbers, self.samples_per_epoch, *self.key, epoch)
        begin = places * self.length
        return self.cut(epoch, begin, begin + self.length + 1)

    def cut(self, epoch: int, begin: Integers, end: Integers) -> Runs:
        """What lies in the epoch's stream from token `begin` to `end`, one sample for each."""
        order, bounds = self.stream(epoch)
        first = np.searchsorted(bounds, begin, side="right") - 1
        last = np.searchsorted(bounds, end, side="left") - 1
        held = last - first + 1
        sample = np.repeat(np.arange(len(begin), dtype=np.int64), held)
        place = count_on(first, held)
        from_token = np.maximum(bounds[place], begin[sample])
        to_token = np.minimum(bounds[place + 1], end[sample])
        return Runs(sample, order[place], from_token - bounds[place], to_token - from_token)

    def span(self, epoch: int, row: int) -> tuple[int, int]:
        """Where the document begins and ends in the epoch's stream."""
        order, bounds = self.stream(epoch)
        place = int(np.flatnonzero(order == row)[0])
        return int(bounds[place]), int(bounds[place + 1])

    def numbers_of(self, epoch: int, row: int) -> Integers:
        """Which of the epoch's samples hold tokens of the document."""
        begin, end = self.span(epoch, row)
        # Sequence s takes the tokens s * length to (s + 1) * length, the last one included.
        first = max(0, (begin - 1) // self.length)
        last = min((end - 1) // self.length, self.samples_per_epoch - 1)
        sequences = np.arange(first, last + 1, dtype=np.int64)
        return unpermute(sequences, self.samples_per_epoch, *self.key, epoch)

    def _stream(self, epoch: int) -> tuple[Integers, Integers]:
        """Documents in the epoch's order, and the token at which each begins (and the end)."""
        folder = self._folder
        order = shuffled_groups(
            folder.group, *self.key, epoch, parts=folder.part, places=folder.place
        )
        bounds = np.zeros(len(order) + 1, dtype=np.int64)
        np.cumsum(folder.tokens[order], out=bounds[1:])
        return order, bounds


class BestFit:
    """Sequences filled with whole documents by best fit decreasing.

    A document longer than a sequence is split: full sequences, each beginning with the last token
    of the one before, and what remains. Documents of one group, in an order drawn once for the
    phase (or that of their places), make chunks that fit in a sequence, and chunks are what is
    packed. Which sizes share a sequence is fixed for the phase; in each epoch chunks of equal size
    swap places and the sequences are permuted.

    Memory: about 12 bytes for each document, 16 for each chunk, and 8 for each chunk and each of
    the two latest epochs.
    """

    def __init__(
        self, folder: TokenFolder, length: int, key: Key, *, reserve: int, whole_only: bool
    ) -> None:
        """`reserve` tokens are kept free for each document, with `whole_only` if it is whole."""
        order = shuffled_groups(
            folder.group, *key, "chunks", parts=folder.part, places=folder.place
        )
        document, self._start, self._taken, self._first, self._sizes = cut_chunks(
            folder.tokens[order].astype(np.int32),
            folder.group[order].astype(np.int32),
            length,
            reserve,
            whole_only,
        )
        self._row = order[document].astype(np.int32)
        _, bins, self.samples_per_epoch = best_fit_decreasing(self._sizes, length + 1)
        drawn = random_words(len(bins), *key, "bins")
        self._bin_of = bins
        self._slots = np.lexsort((drawn, bins)).astype(np.int32)  # sequence by sequence
        self._bounds = np.zeros(self.samples_per_epoch + 1, dtype=np.int64)
        np.cumsum(np.bincount(bins, minlength=self.samples_per_epoch), out=self._bounds[1:])
        self._key = key
        self._chunks = lru_cache(maxsize=2)(self._chunks_in_slots)

    def runs(self, epoch: int, numbers: Integers) -> Runs:
        """What the epoch's samples of these numbers hold."""
        bins = permute(numbers, self.samples_per_epoch, *self._key, epoch)
        held = self._bounds[bins + 1] - self._bounds[bins]
        chunks = self._chunks(epoch)[self._slots[count_on(self._bounds[bins], held)]]
        sample = np.repeat(np.arange(len(numbers), dtype=np.int64), held)
        first = self._first[chunks].astype(np.int64)
        held = self._first[chunks + 1] - first
        run = count_on(first, held)
        columns = (self._row[run], self._start[run], self._taken[run])
        return Runs(np.repeat(sample, held), *(column.astype(np.int64) for column in columns))

    def numbers_of(self, epoch: int, row: int) -> Integers:
        """Which of the epoch's samples hold tokens of the document."""
        runs = np.flatnonzero(self._row == row)
        chunks = np.searchsorted(self._first, runs, side="right") - 1
        slots = np.flatnonzero(np.isin(self._chunks(epoch), chunks))
        bins = np.unique(self._bin_of[slots]).astype(np.int64)
        return unpermute(bins, self.samples_per_epoch, *self._key, epoch)

    def _chunks_in_slots(self, epoch: int) -> Integers:
        """The chunk in each slot; slots are in the order of falling size."""
        words = random_words(len(self._sizes), *self._key, epoch)
        return np.lexsort((words, -self._sizes))


def count_on(starts: Integers, lengths: Integers) -> Integers:
    """The numbers start, start + 1, ... of each run, on end."""
    skipped = np.cumsum(lengths) - lengths
    return np.repeat(starts - skipped, lengths) + np.arange(lengths.sum())
