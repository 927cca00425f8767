"""Training samples: each a pure function of (seed, phase, number), read from a token folder.

The loader's whole state is one number. In each epoch the groups of documents come in a new
order, the documents of a group too (Arctic-SnowCoder, section 2.2: files of one language and
repository, concatenated in random order), unless the index gives their places. Put on end and
cut, or fitted whole into sequences (`packing.py`), and infilled or not (`placing.py`), they
become sequences, which are permuted, so that a batch mixes groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from firnline.batch import Batch
from firnline.errors import FirnlineError
from firnline.kernels.infilling import OPENING, PLAIN, PSM, SPM, write_forms
from firnline.kernels.runs import mark_runs
from firnline.tokens.folder import TokenFolder, read_settings
from firnline.tokens.infilling import Infiller, InfillingConfig
from firnline.tokens.packing import BestFit, Concatenated, PackingConfig
from firnline.tokens.placing import (
    BLOCK_TOKENS,
    InfilledInBlocks,
    InfilledInSequences,
    Placed,
    Plain,
)
from firnline.tokens.tokenizer import Tokenizer

Integers = npt.NDArray[np.int64]
CONCATENATE = PackingConfig()
_FORMS = {PLAIN: "plain", PSM: "PSM", SPM: "SPM"}


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
    form: str = "plain"
    """As it is, or infilled in the order "PSM" or "SPM": sentinels stand between its parts."""


class Samples:
    """Samples of `sequence_length + 1` tokens: inputs and targets share all but two of them.

    Numbers beyond an epoch go on in the next one, with another order. Every epoch has
    `samples_per_epoch` samples. On end and cut, neighbours in the stream share one token, so each
    token but the first of an epoch is predicted exactly once, save the last
    `(epoch_tokens - 1) % sequence_length`, which fill no sequence, and what infilling pushes out.

    Memory: 20 bytes for each document (28 with places, 24 with parts), 8 more for infilling, and
    what packing takes (see `Concatenated` and `BestFit`); tokens are mapped, not read. A sample
    costs the same wherever it lies.
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
        if tokenizer is not None:
            check(folder, tokenizer)
        self.folder = folder
        self.sequence_length = sequence_length
        self.seed = seed
        self.phase = phase
        self.packing = packing
        self._index = TokenFolder(folder, keep)
        self.epoch_tokens = self._index.total_tokens
        self._infiller = None
        if infilling is not None:
            if tokenizer is None:
                raise ValueError("infilling needs the tokenizer")
            self._infiller = Infiller(infilling, self._index, tokenizer, seed, phase)
        self._samples = self._arrange()
        self.samples_per_epoch = self._samples.samples_per_epoch
        # All else fills each sample.
        self._with_documents = packing.attention == "masked" or packing.method == "best_fit"

    def _arrange(self) -> Plain | InfilledInSequences | InfilledInBlocks:
        index, length, infiller = self._index, self.sequence_length, self._infiller
        key = (self.seed, self.phase)
        packed: Concatenated | BestFit
        if self.packing.method == "best_fit":
            whole_only = infiller is None or infiller.config.level == "document"
            # A part of a document ends in a token more.
            reserve = infiller.reserve + (not whole_only) if infiller else 0
            packed = BestFit(index, length, key, reserve=reserve, whole_only=whole_only)
        else:
            packed = Concatenated(index, length, key)
            if infiller and infiller.config.level == "document":
                block = BLOCK_TOKENS[infiller.config.cut]
                return InfilledInBlocks(packed, infiller, length, block)
        return InfilledInSequences(packed, infiller, length) if infiller else Plain(packed)

    @property
    def vocabulary_size(self) -> int:
        """Entries of the tokenizer that made the folder."""
        return int(self._index.settings["vocabulary_size"])

    @property
    def bytes_per_token(self) -> float:
        """Bytes of text for each token on average, ends of text counted as tokens."""
        return self._index.total_bytes / self.epoch_tokens

    def batch(self, start: int, count: int) -> Batch:
        """Samples `start` to `start + count - 1`: ids of shape (count, sequence_length + 1)."""
        shape = (count, self.sequence_length + 1)
        ids = np.full(shape, self._index.settings["end_of_text"], dtype=np.int64)
        documents = np.full(shape, -1, dtype=np.int32) if self._with_documents else None
        for first, placed in self._placed(start, count):
            runs, size = placed.runs, placed.size
            # Where each run begins: its sample's place, and what stands before it in the sample.
            before = np.cumsum(size) - size
            opens = np.searchsorted(runs.sample, runs.sample)  # the first run of the same sample
            places = (runs.sample + first) * shape[1] + before - before[opens]
            self._fill(ids.reshape(-1), places, placed)
            if documents is not None:
                inside = np.arange(len(size)) - opens
                if self.packing.attention == "across":
                    inside[:] = 0
                mark_runs(documents.reshape(-1), places, size, inside)
        return Batch(ids, documents)

    def epochs(self, samples: int) -> dict[str, float]:
        """How often the samples 0 to `samples - 1` go through the folder."""
        return {self.folder.name: samples / self.samples_per_epoch}

    def documents(self, number: int) -> list[Piece]:
        """Which documents sample `number` holds, and which of their tokens, in its order."""
        pieces = []
        for _, placed in self._placed(number, 1):
            rows = self._index.names.take(placed.runs.row).to_pylist()
            columns = (placed.runs.start, placed.runs.length, placed.form)
            for row, start, length, form in zip(rows, *(c.tolist() for c in columns), strict=True):
                if length:
                    names = (row["id"], row["repo"], row["path"])
                    pieces.append(Piece(*names, start, start + length, _FORMS[form]))
        return pieces

    def numbers_of(self, document: bytes, samples: int) -> Integers:
        """Which of the samples 0 to `samples - 1` hold tokens of the document, in order.

        Costs one order of the documents for each epoch begun, no look at all samples. Empty where
        the folder does not hold the document.
        """
        row = self._index.row_of(document)
        found = [np.zeros(0, dtype=np.int64)]
        for epoch in range(-(-samples // self.samples_per_epoch) if row >= 0 else 0):
            inside = np.sort(self._samples.numbers_of(epoch, row))
            found.append(inside + epoch * self.samples_per_epoch)
        numbers = np.concatenate(found)
        return numbers[numbers < samples]

    def _placed(self, start: int, count: int) -> Iterator[tuple[int, Placed]]:
        """Parts of the batch: the number of its first sample in it, and its runs."""
        if start < 0 or count < 1:
            raise ValueError(f"no samples from {start}, {count} of them")
        numbers = np.arange(start, start + count, dtype=np.int64)
        epochs = numbers // self.samples_per_epoch
        for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
            chosen = np.flatnonzero(epochs == epoch)
            for placed in self._samples.place(epoch, numbers[chosen] % self.samples_per_epoch):
                yield int(chosen[0]), placed

    def _fill(self, out: Integers, places: Integers, placed: Placed) -> None:
        """Writes the runs' tokens from their places on."""
        runs, forms = placed.runs, placed.form
        if placed.texts is None or self._infiller is None:
            self._index.read(out, places, runs.row, runs.start, runs.length)
            return
        plain = np.flatnonzero(forms == PLAIN)
        asked = (runs.row[plain], runs.start[plain], runs.length[plain])
        self._index.read(out, places[plain], *asked)
        out[places[forms == OPENING]] = self._infiller.sentinels[0]
        infilled = np.flatnonzero((forms == PSM) | (forms == SPM))
        write_forms(
            out,
            places[infilled],
            forms[infilled],
            *placed.texts,
            placed.text[infilled],
            self._infiller.sentinels,
        )


def check(folder: Path, tokenizer: Tokenizer) -> None:
    """Raises FirnlineError where another tokenizer made the token folder."""
    made_with = read_settings(folder)["tokenizer"]
    if made_with != tokenizer.digest:
        raise FirnlineError(
            f"{folder} was packed with tokenizer {made_with}, {tokenizer.folder} is "
            f"{tokenizer.digest}",
            mend="pack the documents again with this tokenizer",
        )
