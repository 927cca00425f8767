"""Fill-in-the-middle: which documents are infilled, where they are cut, in what form."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from firnline.errors import FirnlineError
from firnline.kernels.infilling import (
    PSM,
    SPM,
    cut_characters,
    cut_nodes,
    cut_tokens,
    spell,
)
from firnline.tokens.folder import TokenFolder
from firnline.tokens.nodes import read_nodes
from firnline.tokens.packing import Runs
from firnline.tokens.permutation import mix, random_words
from firnline.tokens.roles import Role
from firnline.tokens.tokenizer import Tokenizer

Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

SENTINELS: tuple[Role, ...] = ("fim_prefix", "fim_middle", "fim_suffix", "end_of_text")
"""Roles of the tokens that a form has beside its text's."""
# Three parts can take more tokens than the whole: 2 on the median of real files, 6 at 99.9%.
_MORE_TOKENS = 6
_AT_ONCE = 1 << 22  # tokens spelled and encoded at once
_GOLDEN = 0x9E3779B97F4A7C15


class InfillingConfig(BaseModel):
    """How a phase's documents are infilled (Bavarian et al. 2022, Efficient Training of Language
    Models to Fill in the Middle).

    DeepSeek-Coder: rate 0.5, spm_share 0, character, document. Code Llama: rate 0.9, spm_share
    0.5, character, document: only documents that are not cut across sequences are infilled.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    rate: float = Field(gt=0, le=1)
    """Share of the eligible documents that are infilled, drawn anew in each epoch. Eligible at
    document level: those whose infilled form lies whole in one sequence."""
    spm_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the infilled ones in the order suffix, prefix, middle; the others are in the order
    prefix, suffix, middle."""
    cut: Literal["character", "token", "line", "syntax"] = "character"
    """Where a document may be cut: two cuts drawn evenly among the places before, between and
    after its characters, tokens or lines; or around a node of its syntax tree (which `pack`
    recorded), by lines where it has none."""
    level: Literal["document", "context"] = "document"
    """Infill documents before they are packed, or what of them lies in a sequence after it."""


class Texts(NamedTuple):
    """Texts cut in three: text k is ids[bounds[3 k]:bounds[3 k + 3]], two cuts between."""

    ids: npt.NDArray[np.uint32]
    bounds: Integers

    @property
    def form_sizes(self) -> Integers:
        """Tokens of each text's form: its parts, three sentinels and the end."""
        sizes: Integers = np.diff(self.bounds[::3]) + len(SENTINELS)
        return sizes


class Infiller:
    """Draws and cuts: functions of (seed, phase, document id, epoch), and of the place in the
    document where a part of it is infilled. Memory: 8 bytes for each document."""

    def __init__(
        self,
        config: InfillingConfig,
        folder: TokenFolder,
        tokenizer: Tokenizer,
        *key: str | int,
    ) -> None:
        """Raises FirnlineError where the tokenizer has no infilling tokens, or where cuts by
        syntax are asked for and the folder records no nodes."""
        missing = [role for role in SENTINELS if role not in tokenizer.roles]
        if missing:
            raise FirnlineError(
                f"{tokenizer.folder} has no token with the role {missing[0]}",
                mend="extend the tokenizer with infilling tokens and pack again",
            )
        self.config = config
        self.sentinels = np.array([tokenizer.roles[role] for role in SENTINELS])
        self.reserve = 3 + (0 if config.cut == "token" else _MORE_TOKENS)
        self._folder, self._tokenizer, self._key = folder, tokenizer, key
        self._nodes = None
        if config.cut == "syntax":
            self._nodes = read_nodes(folder.path, folder.documents_in_index)
        self._table, self._starts = _spelling(tokenizer)
        self._sizes = np.diff(self._starts)
        first = self._table[np.minimum(self._starts[:-1], len(self._table) - 1)]
        self._inside = ((first & 0xC0 == 0x80) & (self._sizes > 0)).astype(np.uint8)

    def draw(
        self, runs: Runs, epoch: int, *, ends: bool = True
    ) -> tuple[npt.NDArray[np.int8], Words]:
        """(form of each run: PLAIN, PSM or SPM; 64 random bits that its cuts come from).

        Without `ends` a run may end inside a character.
        """
        whole = runs.start + runs.length == self._folder.tokens[runs.row]
        if self.config.level == "document":
            eligible = whole & (runs.start == 0)
        else:
            eligible = self._of_whole_characters(runs, whole if ends else np.ones_like(whole))
        key = random_words(1, *self._key, epoch, "infilling")[0]
        states = mix(mix(self._folder.words[runs.row] ^ key) + runs.start.astype(np.uint64))
        forms = np.where(_uniform(states, 2) < self.config.spm_share, SPM, PSM)
        forms[~eligible | (_uniform(states, 1) >= self.config.rate)] = 0
        return forms.astype(np.int8), states

    def make_room(self, runs: Runs, epoch: int, capacity: int) -> tuple[Runs, Integers]:
        """Parts in two the last run that is drawn of each sample, where its form would reach
        beyond the sample's `capacity` tokens; also which of the runs are such second parts.

        The first part ends between two characters, as much earlier as the sample's forms are longer
        at most.
        """
        drawn = self.draw(runs, epoch, ends=False)[0] != 0
        last = np.flatnonzero(drawn)
        last = last[np.append(np.diff(runs.sample[last]) != 0, True)[: len(last)]]
        ends = np.cumsum(runs.length)
        first = np.searchsorted(runs.sample, runs.sample[last])
        before = ends[first] - runs.length[first]
        forms = np.cumsum(drawn)
        longer = (forms[last] - forms[first] + drawn[first]) * (self.reserve + 1)
        left = runs.length[last] - np.maximum(ends[last] - before + longer - capacity, 0)
        for _ in range(3):  # the longest character has four bytes, each a token at worst
            left -= self._goes_on(runs.row[last], runs.start[last] + np.maximum(left, 1))
        parted = (left > 0) & (left < runs.length[last])
        last, left = last[parted], left[parted]
        lengths = runs.length.copy()
        lengths[last] = left
        second = Runs(
            runs.sample[last], runs.row[last], runs.start[last] + left, runs.length[last] - left
        )
        both = zip(runs._replace(length=lengths), second, strict=True)
        return (
            Runs(*(np.insert(one, last + 1, other) for one, other in both)),
            last + np.arange(1, len(last) + 1),
        )

    def form_sizes(self, runs: Runs) -> Integers:
        """Tokens of each run's form, cut by tokens."""
        ends = runs.start + runs.length == self._folder.tokens[runs.row]
        sizes: Integers = runs.length - ends + len(SENTINELS)
        return sizes

    def cut(self, runs: Runs, states: Words) -> Texts:
        """The runs, without their documents' end of text, cut in three.

        Cut by characters, lines or syntax, each part has the ids that the tokenizer gives it.
        """
        ends = runs.start + runs.length == self._folder.tokens[runs.row]
        lengths = runs.length - ends
        headers = np.zeros(len(lengths), dtype=np.int64)
        if self._folder.header is not None:
            headers = np.where(runs.start == 0, self._folder.header[runs.row], 0)
        parts = [
            self._cut(
                Runs(*(column[part] for column in runs)),
                lengths[part],
                headers[part],
                states[part],
            )
            for part in _slices(lengths, _AT_ONCE)
        ]
        if len(parts) == 1:
            return parts[0]
        before = np.cumsum([0, *(len(part.ids) for part in parts)])
        bounds = [part.bounds[:-1] + skip for part, skip in zip(parts, before[:-1], strict=True)]
        ids = np.concatenate([part.ids for part in parts])
        return Texts(ids, np.concatenate([*bounds, before[-1:]]))

    def _cut(self, runs: Runs, lengths: Integers, headers: Integers, states: Words) -> Texts:
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        ids = np.empty(offsets[-1], dtype=np.uint32)
        self._folder.read(ids, offsets[:-1], runs.row, runs.start, lengths)
        if self.config.cut == "token":
            bounds = cut_tokens(ids, offsets, headers, states, self._sizes, self._inside)
            return Texts(ids, bounds)
        data, offsets = spell(ids, offsets, self._table, self._starts)
        by_lines = self.config.cut != "character"
        bounds = cut_characters(data, offsets, headers, states, by_lines)
        if self._nodes is not None:
            rows = runs.row if self._folder.rows is None else self._folder.rows[runs.row]
            nodes = np.where((runs.start == 0)[:, None, None], self._nodes[rows], np.int32(-1))
            cut_nodes(bounds, nodes, headers, states)
        pieces = pa.LargeStringArray.from_buffers(
            len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(data)
        )
        encoded, bounds = self._tokenizer.encode_batch(pieces)
        return Texts(encoded, bounds)

    def _of_whole_characters(self, runs: Runs, whole: npt.NDArray[np.bool_]) -> Any:
        """Which runs neither begin nor end inside a UTF-8 character."""
        eligible = np.ones(len(runs.row), dtype=np.bool_)
        for asked, place in ((runs.start > 0, runs.start), (~whole, runs.start + runs.length)):
            which = np.flatnonzero(asked)
            eligible[which] = eligible[which] & ~self._goes_on(runs.row[which], place[which])
        return eligible

    def _goes_on(self, rows: Integers, places: Integers) -> npt.NDArray[np.bool_]:
        """Whether these tokens of documents begin inside a UTF-8 character."""
        places = np.minimum(places, self._folder.tokens[rows] - 1)
        ids = np.empty(len(rows), dtype=np.uint32)
        ones = np.ones(len(rows), dtype=np.int64)
        self._folder.read(ids, np.arange(len(rows)), rows, places, ones)
        found: npt.NDArray[np.bool_] = self._inside[ids] != 0
        return found


def _uniform(states: Words, counter: int) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1) with 53 random bits."""
    words = mix(states + np.uint64(_GOLDEN * counter % (1 << 64))) >> np.uint64(11)
    return words.astype(np.float64) * 2.0**-53


def _spelling(tokenizer: Tokenizer) -> tuple[npt.NDArray[np.uint8], Integers]:
    """The bytes of all ids on end, and where each id's begin (and the end)."""
    spelled = [tokenizer.token_bytes.get(n, b"") for n in range(tokenizer.vocabulary_size)]
    starts = np.zeros(len(spelled) + 1, dtype=np.int64)
    np.cumsum([len(word) for word in spelled], out=starts[1:])
    return np.frombuffer(b"".join(spelled), dtype=np.uint8), starts


def _slices(lengths: Integers, limit: int) -> list[slice]:
    """Neighbours in parts of about `limit` in all; at least one part."""
    numbers = np.cumsum(lengths) // limit
    ends = [*(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(lengths)]
    return [slice(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
