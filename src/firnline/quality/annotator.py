"""The annotator: hashed n-grams of code tokens and a linear head (Arctic-SnowCoder, section 2.3).

The paper's head sits on an embedding model with a window of 512 tokens; this one sits on the
distinct 1- and 2-grams of a window, so that it trains in seconds and scores on the CPU. A file's
score is the mean of the scores of its top, middle and bottom window.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from firnline.documents import atomic_path, buffers
from firnline.errors import FirnlineError
from firnline.kernels.features import file_windows, window_features
from firnline.kernels.shingles import Hashes, Offsets, token_hashes

FILE = "annotator.npz"
WINDOWS = ("top", "middle", "bottom")


@dataclass(frozen=True)
class Annotator:
    """A trained head. `weights` has one float32 for each bucket."""

    weights: NDArray[np.float32]
    bias: float
    window_tokens: int
    ngrams: tuple[int, ...]

    def score(self, content: pa.Array) -> NDArray[np.float32]:
        """Each file's score, a probability in [0, 1]; `content` is an array of strings."""
        return file_scores(self.score_windows(content))

    def score_windows(self, content: pa.Array) -> NDArray[np.float32]:
        """Scores of top, middle and bottom window, shape (files, 3); NaN for one that is not.

        A file of one window has only the first, a file of at most two has no middle.
        """
        hashes, token_offsets = token_hashes(*buffers(content))
        starts, stops = file_windows(token_offsets, self.window_tokens)
        matrix = feature_matrix(
            hashes, starts.ravel(), stops.ravel(), self.ngrams, len(self.weights)
        )
        logits = matrix @ self.weights.astype(np.float64) + self.bias
        probability = 1 / (1 + np.exp(-logits))
        scores: NDArray[np.float32] = probability.astype(np.float32).reshape(-1, 3)
        absent = starts == stops
        absent[:, 0] = False  # an empty file has its top window all the same
        scores[absent] = np.nan
        return scores

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Writes `annotator.npz`; `about` (plain values) says what it was trained on."""
        head = {"window_tokens": self.window_tokens, "ngrams": list(self.ngrams), **about}
        with atomic_path(folder / FILE) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                weights=self.weights,
                bias=np.float64(self.bias),
                config=np.array(json.dumps(head, sort_keys=True)),
            )


def load(folder: Path) -> Annotator:
    """The annotator of a finished annotate folder.

    Raises FirnlineError where there is none or it is damaged.
    """
    path = folder / FILE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            head = json.loads(str(arrays["config"]))
            return Annotator(
                weights=arrays["weights"],
                bias=float(arrays["bias"]),
                window_tokens=int(head["window_tokens"]),
                ngrams=tuple(head["ngrams"]),
            )
    except FileNotFoundError:
        raise FirnlineError(f"no annotator in {folder}", mend="run annotate first") from None
    except Exception as error:  # a damaged zip can fail in a dozen ways
        raise FirnlineError(
            f"cannot read {path}: {type(error).__name__}: {error}", mend="run annotate again"
        ) from error


def file_scores(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean over the windows that a file has; every file has at least one."""
    present = ~np.isnan(windows)
    total = np.where(present, windows, 0).sum(axis=1, dtype=np.float64)
    mean: NDArray[np.float32] = (total / present.sum(axis=1)).astype(np.float32)
    return mean


def feature_matrix(
    hashes: Hashes, starts: Offsets, stops: Offsets, ngrams: tuple[int, ...], buckets: int
) -> Any:
    """Windows as rows of a scipy CSR matrix: 1 for each distinct n-gram, scaled to length 1.

    The scale makes a short window, which says less, score nearer to the head's bias.
    """
    from scipy import sparse  # a fifth of a second that a recipe's reader need not wait

    columns, offsets = window_features(hashes, starts, stops, ngrams, buckets)
    counts = np.diff(offsets)
    values = np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts)
    return sparse.csr_matrix((values, columns, offsets), shape=(len(starts), buckets))
