"""Kernel that puts an end token after each document, in the type of the shard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel


@kernel
def put_ends(
    ids: NDArray[np.uint32],
    ends: NDArray[np.int64],
    end_of_text: int,
    out: NDArray[np.uint16] | NDArray[np.uint32],
) -> None:
    """Writes document n, `ids[ends[n]:ends[n + 1]]`, and after each of them `end_of_text`."""
    for document in range(len(ends) - 1):
        begin, end = ends[document], ends[document + 1]
        source, target = ids[begin:end], out[begin + document : end + document]
        for place in range(len(source)):  # compiled to vector instructions, as one index is
            target[place] = source[place]
        out[end + document] = end_of_text
