"""What a loader gives a trainer: token ids of some samples, and which document each is of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Batch(NamedTuple):
    """Samples of L + 1 tokens each: inputs are the first L, targets the last L."""

    ids: NDArray[np.int64]
    """[samples, L + 1]: token ids."""
    documents: NDArray[np.int32] | None
    """[samples, L + 1]: number of the document inside its sample, from 0 on, -1 where the sample
    is padded, which is never a target. None: no padding, and attention goes across documents."""
