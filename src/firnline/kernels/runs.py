"""Copying runs of tokens, and putting runs into sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel

Integers = NDArray[np.int64]
Forms = NDArray[np.int8]


@kernel
def copy_runs(
    source: NDArray[Any], starts: Integers, lengths: Integers, out: NDArray[Any], places: Integers
) -> None:
    """Copies source[start : start + length] to `out` from each run's place on."""
    for run in range(len(starts)):
        start, place = starts[run], places[run]
        for i in range(lengths[run]):
            out[place + i] = source[start + i]


@kernel
def mark_runs(out: NDArray[np.int32], places: Integers, lengths: Integers, marks: Integers) -> None:
    """Writes each run's mark `length` times, from its place on."""
    for run in range(len(places)):
        out[places[run] : places[run] + lengths[run]] = marks[run]


@kernel
def place_in_sequences(
    samples: Integers,
    lengths: Integers,
    forms: Forms,
    sizes: Integers,
    capacity: int,
    padded: bool,
) -> None:
    """Decides which runs of each sample are infilled; changes `forms` and `sizes` in place.

    Runs are in the order of their samples, of `capacity` tokens each. `sizes` are the tokens that
    the infilled forms take; on return those that each run takes, 0 where it has no place. A form
    that is shorter than its run is not used. `padded`: a sample's runs fit as they are, and forms
    are used while there is room. Else what they push off the end of the sample is left out, and a
    form that would not lie whole in it is not used.
    """
    run = 0
    while run < len(samples):
        stop = run
        spare = capacity
        while stop < len(samples) and samples[stop] == samples[run]:
            spare -= lengths[stop]
            stop += 1
        at = 0
        for k in range(run, stop):
            extra = sizes[k] - lengths[k]
            room = spare if padded else capacity - at - lengths[k]
            if forms[k] == 0 or extra < 0 or extra > room:
                forms[k] = 0
                sizes[k] = min(lengths[k], capacity - at)
            else:
                spare -= extra
            at += sizes[k]
        run = stop


@kernel
def place_in_stream(lengths: Integers, forms: Forms, sizes: Integers, length: int) -> Integers:
    """Decides which runs, put on end, are infilled; changes `forms` and `sizes` in place.

    The stream is cut every `length` tokens, and a sequence also holds the first token of the next.
    A form is used where it lies whole in one sequence and is no shorter than its run. Returns the
    place of each run in the stream, and the end.
    """
    places = np.empty(len(lengths) + 1, dtype=np.int64)
    at = 0
    for k in range(len(lengths)):
        places[k] = at
        if forms[k] == 0 or sizes[k] < lengths[k] or at % length + sizes[k] > length + 1:
            forms[k] = 0
            sizes[k] = lengths[k]
        at += sizes[k]
    places[len(lengths)] = at
    return places
