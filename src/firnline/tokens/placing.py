"""Where each run of a document goes in a batch, as it is or infilled."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from firnline.kernels.infilling import OPENING, PLAIN
from firnline.kernels.runs import place_in_sequences, place_in_stream
from firnline.tokens.infilling import Infiller, Texts, Words
from firnline.tokens.packing import BestFit, Concatenated, Runs, count_on
from firnline.tokens.permutation import permute, unpermute

Integers = npt.NDArray[np.int64]
Forms = npt.NDArray[np.int8]

BLOCK_TOKENS = {"token": 1 << 28, "character": 1 << 24, "line": 1 << 24, "syntax": 1 << 24}
"""Tokens of the stream that are infilled at once. Where documents are encoded again, a block costs
about a second, and its new tokens are held; else it costs what its documents are placed in."""


class Placed(NamedTuple):
    """Runs as they stand in neighbouring samples, in their order; one row for each."""

    runs: Runs
    size: Integers
    """Tokens that the run takes in its sample."""
    form: Forms
    """PLAIN, PSM, SPM, or OPENING: the first token of a form that stands in the next sequence."""
    text: Integers
    """Which of `texts` an infilled run is."""
    texts: Texts | None


class Plain:
    """Samples without infilling."""

    def __init__(self, packed: Concatenated | BestFit) -> None:
        self._packed = packed
        self.samples_per_epoch = packed.samples_per_epoch

    def place(self, epoch: int, numbers: Integers) -> Iterator[Placed]:
        """The epoch's samples of these numbers, in parts of neighbours."""
        runs = self._packed.runs(epoch, numbers)
        none = np.zeros(len(runs.row), dtype=np.int64)
        yield Placed(runs, runs.length, none.astype(np.int8), none, None)

    def numbers_of(self, epoch: int, row: int) -> Integers:
        """Which of the epoch's samples hold tokens of the document."""
        return self._packed.numbers_of(epoch, row)


class InfilledInSequences:
    """Samples whose runs are infilled one sequence at a time.

    By best fit: what is infilled takes of the sequence's padding. On end and cut (context level):
    what infilling pushes off a sequence's end is left out in that epoch, and a run that reaches
    there is infilled but for its last tokens.
    """

    def __init__(self, packed: Concatenated | BestFit, infiller: Infiller, length: int) -> None:
        self._packed, self._infiller, self._length = packed, infiller, length
        self.samples_per_epoch = packed.samples_per_epoch

    def place(self, epoch: int, numbers: Integers) -> Iterator[Placed]:
        """The epoch's samples of these numbers, in parts of neighbours."""
        runs, capacity = self._packed.runs(epoch, numbers), self._length + 1
        padded = isinstance(self._packed, BestFit)
        plain = np.zeros(0, dtype=np.int64)
        if not padded:
            runs, plain = self._infiller.make_room(runs, epoch, capacity)
        forms, states, texts, sizes = _draw(self._infiller, runs, epoch, plain)
        which = np.cumsum(forms != PLAIN) - 1
        place_in_sequences(runs.sample, runs.length, forms, sizes, capacity, padded)
        runs = runs._replace(length=np.minimum(runs.length, sizes))
        if texts is None:
            texts, which = _cut_now(self._infiller, runs, forms, states)
        kept = np.flatnonzero(sizes)
        yield Placed(_take(runs, kept), sizes[kept], forms[kept], which[kept], texts)

    def numbers_of(self, epoch: int, row: int) -> Integers:
        """Which of the epoch's samples hold tokens of the document."""
        numbers = self._packed.numbers_of(epoch, row)
        held = [
            any((placed.runs.row == row).any() for placed in self.place(epoch, numbers[n : n + 1]))
            for n in range(len(numbers))
        ]
        return numbers[np.array(held, dtype=np.bool_)]


class _Block(NamedTuple):
    # A stretch of the epoch's stream, its documents infilled and placed.
    placed: Placed
    states: Words
    places: Integers  # of each run in the stretch, and the end


class InfilledInBlocks:
    """Samples of a stream whose documents are infilled before it is cut.

    The epoch's stream of documents is taken in blocks of whole sequences. In each, documents come
    one after another; one that is drawn is infilled if it then lies whole in one sequence. What
    this pushes off the block's end is left out in that epoch. Samples are permuted inside a block;
    the documents' order mixes what is in it.
    """

    def __init__(
        self, packed: Concatenated, infiller: Infiller, length: int, block_tokens: int
    ) -> None:
        self._packed, self._infiller, self._length = packed, infiller, length
        self.samples_per_epoch = packed.samples_per_epoch
        self._sequences = max(1, block_tokens // length)
        self._block = lru_cache(maxsize=2)(self._make)

    def place(self, epoch: int, numbers: Integers) -> Iterator[Placed]:
        """The epoch's samples of these numbers, in parts of neighbours."""
        blocks = numbers // self._sequences
        for number in range(int(blocks[0]), int(blocks[-1]) + 1):
            chosen = np.flatnonzero(blocks == number)
            inside = numbers[chosen] - number * self._sequences
            sequences = permute(inside, self._size(number), *self._key(epoch, number))
            placed = self._place(epoch, number, sequences)
            sample = placed.runs.sample + chosen[0]
            yield placed._replace(runs=placed.runs._replace(sample=sample))

    def numbers_of(self, epoch: int, row: int) -> Integers:
        """Which of the epoch's samples hold tokens of the document."""
        begin, end = self._packed.span(epoch, row)
        found = [np.zeros(0, dtype=np.int64)]
        block_tokens = self._sequences * self._length
        last_block = (self.samples_per_epoch - 1) // self._sequences
        first = min(max(0, begin - 1) // block_tokens, last_block)
        for number in range(first, min((end - 1) // block_tokens, last_block) + 1):
            block = self._block(epoch, number)
            for run in np.flatnonzero(block.placed.runs.row == row).tolist():
                # A form's first token is a sentinel, which is no token of the document.
                start = int(block.places[run]) + int(block.placed.form[run] != PLAIN)
                stop = int(block.places[run]) + int(block.placed.size[run])
                low = max(0, (start - 1) // self._length)
                high = min((stop - 1) // self._length, self._size(number) - 1)
                sequences = np.arange(low, high + 1, dtype=np.int64)
                inside = unpermute(sequences, self._size(number), *self._key(epoch, number))
                found.append(inside + number * self._sequences)
        return np.unique(np.concatenate(found))

    def _key(self, epoch: int, number: int) -> tuple[str | int, ...]:
        return (*self._packed.key, epoch, "block", number)

    def _size(self, number: int) -> int:
        """Sequences of a block: the last has what there is."""
        return min(self._sequences, self.samples_per_epoch - number * self._sequences)

    def _make(self, epoch: int, number: int) -> _Block:
        begin = number * self._sequences * self._length
        end = begin + self._size(number) * self._length + 1
        runs = self._packed.cut(epoch, np.array([begin]), np.array([end]))
        none = np.zeros(0, dtype=np.int64)
        forms, states, texts, sizes = _draw(self._infiller, runs, epoch, none)
        which = np.cumsum(forms != PLAIN) - 1
        places = place_in_stream(runs.length, forms, sizes, self._length)
        return _Block(Placed(runs, sizes, forms, which, texts), states, places)

    def _place(self, epoch: int, number: int, sequences: Integers) -> Placed:
        block, states, places = self._block(epoch, number)
        begin = sequences * self._length
        end = begin + self._length + 1
        first = np.searchsorted(places, begin, side="right") - 1
        last = np.searchsorted(places, end, side="left") - 1
        held = last - first + 1
        sample = np.repeat(np.arange(len(begin), dtype=np.int64), held)
        run = count_on(first, held)
        skipped = np.maximum(begin[sample] - places[run], 0)
        size = np.minimum(places[run + 1], end[sample]) - places[run] - skipped
        runs = _take(block.runs, run)._replace(sample=sample)
        forms = block.form[run]
        # Of a form whose sequence is a neighbour, the shared token alone is here: its first one,
        # or its last, which is the document's end of text.
        partly = (forms != PLAIN) & (size < block.size[run])
        opening, closing = partly & (skipped == 0), partly & (skipped > 0)
        forms[opening], forms[closing] = OPENING, PLAIN
        start = runs.start + np.where(closing, runs.length - 1, np.where(partly, 0, skipped))
        length = np.where(opening, 0, np.where(forms == PLAIN, size, runs.length))
        runs = runs._replace(start=start, length=length)
        texts, which = block.texts, block.text[run]
        if texts is None:
            texts, which = _cut_now(self._infiller, runs, forms, states[run])
        return Placed(runs, size, forms, which, texts)


def _draw(
    infiller: Infiller, runs: Runs, epoch: int, plain: Integers
) -> tuple[Forms, Words, Texts | None, Integers]:
    """Forms, states, texts of the drawn runs (None: cut them later) and sizes of the forms.

    The runs `plain` are not drawn.
    """
    forms, states = infiller.draw(runs, epoch)
    forms[plain] = PLAIN
    sizes = runs.length.copy()
    drawn = np.flatnonzero(forms)
    if infiller.config.cut == "token":
        sizes[drawn] = infiller.form_sizes(runs)[drawn]
        return forms, states, None, sizes
    texts = infiller.cut(_take(runs, drawn), states[drawn])
    sizes[drawn] = texts.form_sizes
    return forms, states, texts, sizes


def _cut_now(infiller: Infiller, runs: Runs, forms: Forms, states: Words) -> tuple[Texts, Integers]:
    """The texts of the runs that are infilled, and which of them each run is."""
    infilled = (forms != PLAIN) & (forms != OPENING)
    drawn = np.flatnonzero(infilled)
    return infiller.cut(_take(runs, drawn), states[drawn]), np.cumsum(infilled) - 1


def _take(runs: Runs, which: Integers) -> Runs:
    return Runs(*(column[which] for column in runs))
