"""Cutting documents in three and writing them in the order of fill-in-the-middle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.draws import below
from firnline.kernels.jit import kernel

Bytes = NDArray[np.uint8]
Ids = NDArray[np.uint32]
Integers = NDArray[np.int64]
Words = NDArray[np.uint64]
Forms = NDArray[np.int8]

PLAIN, PSM, SPM, OPENING = range(4)
"""How a run is written; OPENING: the first token of a form that lies in the next sequence."""
_TRIES = 256


@kernel
def cut_tokens(
    ids: Ids, offsets: Integers, headers: Integers, states: Words, sizes: Integers, inside: Bytes
) -> Integers:
    """Bounds of prefix, middle and suffix of each text, cut between tokens (3 n + 1 of them).

    Text k is ids[offsets[k]:offsets[k + 1]]; its first `headers[k]` bytes stay in the prefix.
    `sizes` has the bytes of each token id, `inside` 1 where its first byte goes on with a
    character: no cut comes before such a token.
    """
    texts = len(offsets) - 1
    bounds = np.empty(3 * texts + 1, dtype=np.int64)
    cuts = np.empty(2, dtype=np.int64)
    for text in range(texts):
        first, last = offsets[text], offsets[text + 1]
        low, header = first, headers[text]
        while low < last and (header > 0 or inside[ids[low]]):
            header -= sizes[ids[low]]
            low += 1
        counter = 3
        for cut in range(2):
            cuts[cut] = low
            for _ in range(_TRIES):
                place = low + below(states[text], counter, last - low + 1)
                counter += 1
                if place == last or not inside[ids[place]]:
                    cuts[cut] = place
                    break
        bounds[3 * text] = first
        bounds[3 * text + 1] = min(cuts[0], cuts[1])
        bounds[3 * text + 2] = max(cuts[0], cuts[1])
    bounds[3 * texts] = offsets[texts]
    return bounds


@kernel
def spell(ids: Ids, offsets: Integers, table: Bytes, starts: Integers) -> tuple[Bytes, Integers]:
    """The bytes of all texts on end, and their offsets. `table[starts[id]:]` spells a token."""
    texts = len(offsets) - 1
    ends = np.zeros(texts + 1, dtype=np.int64)
    for text in range(texts):
        size = 0
        for i in range(offsets[text], offsets[text + 1]):
            size += starts[ids[i] + 1] - starts[ids[i]]
        ends[text + 1] = ends[text] + size
    data = np.empty(ends[texts], dtype=np.uint8)
    at = 0
    for i in range(offsets[0], offsets[texts]):
        for j in range(starts[ids[i]], starts[ids[i] + 1]):
            data[at] = table[j]
            at += 1
    return data, ends


@kernel
def cut_characters(
    data: Bytes, offsets: Integers, headers: Integers, states: Words, lines: bool
) -> Integers:
    """As `cut_tokens`, in UTF-8: cut before any character, or with `lines` before any line."""
    texts = len(offsets) - 1
    bounds = np.empty(3 * texts + 1, dtype=np.int64)
    for text in range(texts):
        first, last = offsets[text], offsets[text + 1]
        low = min(first + headers[text], last)
        steps = 0  # places to cut at, the beginning left out
        for i in range(low, last):
            if lines:
                steps += data[i] == 10 or i == last - 1
            else:
                steps += data[i] & 0xC0 != 0x80
        a = below(states[text], 3, steps + 1)
        b = below(states[text], 4, steps + 1)
        a, b = min(a, b), max(a, b)
        bounds[3 * text] = first
        bounds[3 * text + 1] = bounds[3 * text + 2] = low
        at, step = low, 0
        while step < b:  # over one character or line
            at += 1
            while at < last and (data[at - 1] != 10 if lines else data[at] & 0xC0 == 0x80):
                at += 1
            step += 1
            if step == a:
                bounds[3 * text + 1] = at
            bounds[3 * text + 2] = at
    bounds[3 * texts] = offsets[texts]
    return bounds


@kernel
def cut_nodes(bounds: Integers, nodes: NDArray[np.int32], headers: Integers, states: Words) -> None:
    """Moves the cuts of each text around one of its nodes, drawn evenly.

    `nodes` has for each text [m, 2] first and last byte, first those that there are, then -1;
    nodes outside of the text, or in the header, are left out. A text without any keeps its cuts.
    """
    for text in range(len(nodes)):
        first, size = bounds[3 * text], bounds[3 * text + 3] - bounds[3 * text]
        usable = 0
        for begin, end in nodes[text]:
            usable += begin >= headers[text] and end > begin and end <= size
        if usable == 0:
            continue
        drawn = below(states[text], 5, usable)
        for begin, end in nodes[text]:
            if begin >= headers[text] and end > begin and end <= size:
                if drawn == 0:
                    bounds[3 * text + 1], bounds[3 * text + 2] = first + begin, first + end
                drawn -= 1


@kernel
def write_forms(
    out: NDArray[np.int64],
    places: Integers,
    forms: Forms,
    ids: Ids,
    bounds: Integers,
    texts: Integers,
    sentinels: Integers,
) -> None:
    """Writes each run's form to `out` from its place on.

    `texts[k]` is the text of run k, `bounds` are those of `cut_tokens` in `ids`. PSM: prefix,
    suffix, middle. SPM (variant 2): suffix, then prefix and middle together. `sentinels`: prefix,
    middle, suffix, end of text.
    """
    for k in range(len(places)):
        at, j = places[k], 3 * texts[k]
        a, b, c, d = bounds[j], bounds[j + 1], bounds[j + 2], bounds[j + 3]
        out[at] = sentinels[0]
        at += 1
        if forms[k] == PSM:
            for i in range(a, b):
                out[at] = ids[i]
                at += 1
        out[at] = sentinels[2]
        at += 1
        for i in range(c, d):
            out[at] = ids[i]
            at += 1
        out[at] = sentinels[1]
        at += 1
        for i in range(a if forms[k] == SPM else b, c):
            out[at] = ids[i]
            at += 1
        out[at] = sentinels[3]
