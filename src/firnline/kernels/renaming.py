"""Samples in which each identifier is a sentinel, and targets that tell the names."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.draws import Words, below
from firnline.kernels.identifiers import FIRST, HEAD, LAST, MOST_AROUND, NEVER, NUMBER, TAIL
from firnline.kernels.jit import kernel

Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]


class Spelling(NamedTuple):
    """What the tokens of a vocabulary stand for. Every byte must be a token of its own."""

    data: NDArray[np.uint8]
    offsets: Integers
    """Token k is spelled data[offsets[k]:offsets[k + 1]]."""
    order: Integers
    """The tokens of text, sorted by their bytes, and equal ones by their ids."""


@kernel
def mask_identifiers(
    ids: Integers,
    labels: Integers,
    begins: Flags,
    spelling: Spelling,
    states: Words,
    sentinel: int,
    sentinels: int,
    end: int,
    inputs: Integers,
    targets: Integers,
) -> None:
    """Each identifier becomes a sentinel wherever it stands (Wang et al. 2021, section 3.2).

    `ids`, `labels` (`firnline.kernels.identifiers`) and `begins`, where a document or a piece of
    one begins, have one token more than a sample. It is not part of the sample: it tells whether
    an identifier goes on behind it. Identifiers of several documents are different ones.

    Hidden are as many identifiers as there are `sentinels` and as have room in `inputs` and
    `targets`, chosen at random; none that is cut at the sample's ends. What the tokens of an
    identifier hold before and after it stays in the input, spelled anew. Sentinels count up in the
    order of first occurrences. Target: sentinel, name, sentinel, name, ..., `end`. `inputs` and
    `targets` come filled with the padding id and with what no target is.
    """
    length = ids.shape[1] - 1
    offsets = spelling.offsets
    slot_of = np.full(NUMBER + 1, -1, dtype=np.int64)
    number_of = np.empty(length, dtype=np.int64)  # of each identifier, or slot
    cut = np.empty(length, dtype=np.bool_)
    growth = np.empty(length, dtype=np.int64)  # of the input, where it is hidden
    least = np.empty(length, dtype=np.int64)  # bytes around its barest occurrence
    barest = np.empty(length, dtype=np.int64)
    firsts = np.empty(length, dtype=np.int64)  # tokens of each occurrence
    lasts = np.empty(length, dtype=np.int64)
    slots = np.empty(length, dtype=np.int64)
    scratch = np.empty(length + 2 * np.max(offsets[1:] - offsets[:-1]), dtype=np.int64)
    for i in range(len(ids)):
        count, found, document, t = 0, 0, 0, 0
        while t < length:
            if begins[i, t]:
                for slot in range(document, count):
                    slot_of[number_of[slot]] = -1
                document = count
            number = labels[i, t] & NUMBER
            if number == 0 or number == NEVER:
                t += 1
                continue
            slot = slot_of[number]
            if slot < 0:
                slot = count
                count += 1
                slot_of[number], number_of[slot] = slot, number
                cut[slot], growth[slot], least[slot] = False, 0, 1 << 30
            last = t
            while (
                last < length
                and not labels[i, last] & LAST
                and not begins[i, last + 1]
                and labels[i, last + 1] & NUMBER == number
                and not labels[i, last + 1] & FIRST
            ):
                last += 1
            if last < length and labels[i, t] & FIRST and labels[i, last] & LAST:
                head, tail = _around(ids[i], labels[i], offsets, t, last)
                start, stop = offsets[ids[i, t]], offsets[ids[i, last] + 1]
                pieces = respell(spelling, start, head, scratch, 0)
                pieces = respell(spelling, tail, stop, scratch, pieces)
                growth[slot] += pieces + t - last  # pieces and sentinel, less the tokens
                if head - start + stop - tail < least[slot]:
                    least[slot], barest[slot] = head - start + stop - tail, found
                firsts[found], lasts[found], slots[found] = t, last, slot
                found += 1
            else:
                cut[slot] = True
            t = last + 1
        for slot in range(document, count):
            slot_of[number_of[slot]] = -1

        # What is hidden: sent is the sentinel, 0 until it is known, -1 for what stays.
        room, space, left = inputs.shape[1] - length, targets.shape[1] - 1, sentinels
        sent = np.full(count, -1, dtype=np.int64)
        shuffled = np.arange(count)
        for k in range(count):
            other = k + below(states[i], k, count - k)
            shuffled[k], shuffled[other] = shuffled[other], shuffled[k]
            slot = shuffled[k]
            if cut[slot] or left == 0 or growth[slot] > room:
                continue
            first, last = firsts[barest[slot]], lasts[barest[slot]]
            size = 1 + _name(ids[i], labels[i], spelling, first, last, scratch, 0)
            if size <= space:
                sent[slot] = 0
                room, space, left = room - growth[slot], space - size, left - 1

        at, to, used, k, t = 0, 0, 0, 0, 0
        while t < length:
            while k < found and firsts[k] < t:
                k += 1
            if k == found or firsts[k] != t or sent[slots[k]] < 0:
                inputs[i, at] = ids[i, t]
                at, t = at + 1, t + 1
                continue
            slot, last = slots[k], lasts[k]
            if sent[slot] == 0:
                sent[slot] = sentinel + used
                used += 1
                targets[i, to] = sent[slot]
                shown = barest[slot]
                to = _name(
                    ids[i], labels[i], spelling, firsts[shown], lasts[shown], targets[i], to + 1
                )
            head, tail = _around(ids[i], labels[i], offsets, t, last)
            at = respell(spelling, offsets[ids[i, t]], head, inputs[i], at)
            inputs[i, at] = sent[slot]
            at = respell(spelling, tail, offsets[ids[i, last] + 1], inputs[i], at + 1)
            t = last + 1
        if used:
            targets[i, to] = end


@kernel
def _around(
    ids: Integers, labels: Integers, offsets: Integers, first: int, last: int
) -> tuple[int, int]:
    """Where among the vocabulary's bytes the name in tokens `first` to `last` begins and ends."""
    head = (labels[first] >> HEAD) & MOST_AROUND
    tail = (labels[last] >> TAIL) & MOST_AROUND
    return offsets[ids[first]] + head, offsets[ids[last] + 1] - tail


@kernel
def _name(
    ids: Integers,
    labels: Integers,
    spelling: Spelling,
    first: int,
    last: int,
    out: Integers,
    at: int,
) -> int:
    """Writes tokens of the name that stands in tokens `first` to `last`; where they end."""
    head, tail = _around(ids, labels, spelling.offsets, first, last)
    if first == last:
        return respell(spelling, head, tail, out, at)
    at = respell(spelling, head, spelling.offsets[ids[first] + 1], out, at)
    for t in range(first + 1, last):
        out[at] = ids[t]
        at += 1
    return respell(spelling, spelling.offsets[ids[last]], tail, out, at)


@kernel
def respell(spelling: Spelling, start: int, stop: int, out: Integers, at: int) -> int:
    """Writes tokens for data[start:stop] to `out`, the longest first; where they end there."""
    while start < stop:
        end = stop
        token = find(spelling, start, end)
        while token < 0 and end > start + 1:
            end -= 1
            token = find(spelling, start, end)
        out[at] = token
        at += 1
        start = end
    return at


@kernel
def find(spelling: Spelling, start: int, stop: int) -> int:
    """The token that is spelled data[start:stop], -1 where there is none."""
    data, offsets, order = spelling.data, spelling.offsets, spelling.order
    low, high = 0, len(order)
    while low < high:  # the first token not before the bytes
        middle = (low + high) // 2
        if _compare(data, offsets[order[middle]], offsets[order[middle] + 1], start, stop) < 0:
            low = middle + 1
        else:
            high = middle
    if low < len(order):
        token: int = order[low]
        if _compare(data, offsets[token], offsets[token + 1], start, stop) == 0:
            return token
    return -1


@kernel
def _compare(data: NDArray[np.uint8], a: int, a_stop: int, b: int, b_stop: int) -> int:
    while a < a_stop and b < b_stop:
        if data[a] != data[b]:
            return -1 if data[a] < data[b] else 1
        a, b = a + 1, b + 1
    return int(a < a_stop) - int(b < b_stop)
