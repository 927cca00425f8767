"""Tokens to inputs and targets of the objectives that hide something and ask for it.

Each function takes samples as rows and fills `inputs` and `targets`, which come filled with the
padding id and with what no target is. `states` are the samples' random states.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.draws import Words, below
from firnline.kernels.jit import kernel

Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]

_TRIES = 32  # for each token to hide


@kernel
def mask_spans(
    ids: Integers,
    joins: Flags,
    maskable: Flags,
    states: Words,
    rate: float,
    longest: int,
    sentinel: int,
    most: int,
    end: int,
    inputs: Integers,
    targets: Integers,
) -> None:
    """Spans of 1 to `longest` words become sentinels (Raffel et al. 2020; Wang et al. 2021).

    `joins[i, t]`: token t goes on with the word of token t - 1. `maskable[i, t]`: it may be
    hidden. Of these a share of `rate` is hidden, to the nearest token where words allow it, in at
    most `most` spans, between which at least one token stays. Target: sentinel, span, sentinel,
    span, ..., `end`.
    """
    length = ids.shape[1]
    bounds = np.empty(length + 1, dtype=np.int64)
    for i in range(len(ids)):
        words, usable = 0, 0
        for t in range(length):
            usable += maskable[i, t]
            if t == 0 or not joins[i, t]:
                bounds[words] = t
                words += 1
        bounds[words] = length
        left = int(rate * usable + 0.5)
        if usable and left == 0:
            left = 1
        hidden = np.zeros(length, dtype=np.bool_)
        spans = 0
        for attempt in range(_TRIES * left):
            if left == 0 or spans == most:
                break
            first = below(states[i], 2 * attempt, words)
            count = 1 + below(states[i], 2 * attempt + 1, longest)
            if first + count > words:
                continue
            start, stop = bounds[first], bounds[first + count]
            while stop - start > left and count > 1:
                count -= 1
                stop = bounds[first + count]
            free = stop - start <= left
            if (start > 0 and hidden[start - 1]) or (stop < length and hidden[stop]):
                free = False
            t = start
            while free and t < stop:
                free = maskable[i, t] and not hidden[t]
                t += 1
            if free:
                hidden[start:stop] = True
                left -= stop - start
                spans += 1
        at, to, span = 0, 0, 0
        for t in range(length):
            if hidden[t]:
                if t == 0 or not hidden[t - 1]:
                    inputs[i, at] = targets[i, to] = sentinel + span
                    at, to, span = at + 1, to + 1, span + 1
                targets[i, to] = ids[i, t]
                to += 1
            else:
                inputs[i, at] = ids[i, t]
                at += 1
        if span:
            targets[i, to] = end


@kernel
def mask_tokens(
    maskable: Flags,
    states: Words,
    rate: float,
    mask: int,
    ordinary: Integers,
    inputs: Integers,
    targets: Integers,
) -> None:
    """Hides `rate` of the maskable tokens (Devlin et al. 2019, section 3.1), to the nearest token.

    `inputs` come as the tokens: of those chosen 80% become `mask`, 10% one of `ordinary`, 10%
    stay. `targets` get the tokens that were chosen.
    """
    length = inputs.shape[1]
    places = np.empty(length, dtype=np.int64)
    for i in range(len(inputs)):
        usable = 0
        for t in range(length):
            if maskable[i, t]:
                places[usable] = t
                usable += 1
        chosen = int(rate * usable + 0.5)
        if usable and chosen == 0:
            chosen = 1
        for k in range(chosen):  # the first steps of a shuffle
            other = k + below(states[i], 3 * k, usable - k)
            places[k], places[other] = places[other], places[k]
            t = places[k]
            targets[i, t] = inputs[i, t]
            kind = below(states[i], 3 * k + 1, 10)
            if kind < 8:
                inputs[i, t] = mask
            elif kind == 8:
                inputs[i, t] = ordinary[below(states[i], 3 * k + 2, len(ordinary))]
