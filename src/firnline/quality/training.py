"""Trains the annotator's head on pairs of windows of equal language, place and length.

Positives are few and written in one manner, so a head would rather learn their language, their
length, or that their files do not end early, than their quality. Each example of one class
therefore has a counterpart in the other: a positive's window beside a random file's window of the
same language at the same place (top, middle, bottom), cut to the same number of code tokens.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from threadpoolctl import threadpool_limits  # a dependency of scikit-learn

from firnline.documents import buffers
from firnline.kernels.features import file_windows
from firnline.kernels.shingles import token_hashes
from firnline.quality.annotator import Annotator, feature_matrix

FOLDS = 5
TOLERANCE = 0.001
FEWEST_TOKENS = 16
"""A shorter window says nothing about a file, and is not trained on."""


@dataclass(frozen=True)
class Head:
    """A trained annotator and how well it did."""

    annotator: Annotator
    report: dict[str, Any]


def pair_count(positives: int, negatives: int, most: int) -> int:
    """Pairs of one language: all of both classes if that repeats no file more than `most` times."""
    return min(most * positives, most * negatives, max(positives, negatives))


def pair_languages(
    positives: Sequence[str], negatives: Sequence[str], most: int
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each language with files of both classes, the paired rows (positive, negative).

    Rows are taken in turn, and again from the first where one class has fewer.
    """
    pairs = {}
    for language in sorted(set(positives) & set(negatives)):
        good = np.array([row for row, name in enumerate(positives) if name == language])
        random = np.array([row for row, name in enumerate(negatives) if name == language])
        count = np.arange(pair_count(len(good), len(random), most))
        pairs[language] = (good[count % len(good)], random[count % len(random)])
    return pairs


def train(
    positives: pa.Array,
    negatives: pa.Array,
    pairs: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]],
    *,
    window_tokens: int,
    ngrams: tuple[int, ...],
    buckets: int,
    inverse_regularization: Sequence[float],
) -> Head:
    """Fits a logistic head on the pairs' windows; `positives` and `negatives` hold the texts.

    The strongest L2 is taken whose ROC-AUC in five-fold validation is within 0.001 of the best; no
    file is in two folds. Scores only rank, and a weaker L2 learns more of who wrote the positives.
    Memory is about 12 KiB for a window. The result is the same on every number of cores.
    """
    good = np.concatenate([rows for rows, _ in pairs.values()])
    random = np.concatenate([rows for _, rows in pairs.values()])
    texts = pa.concat_arrays([positives.cast(pa.large_string()), negatives.cast(pa.large_string())])
    hashes, token_offsets = token_hashes(*buffers(texts))
    starts, stops = file_windows(token_offsets, window_tokens)
    first, second = good, random + len(positives)
    lengths = np.minimum(stops - starts, window_tokens)
    common = np.minimum(lengths[first], lengths[second])  # shape (pairs, 3)
    pair, place = np.nonzero(common >= FEWEST_TOKENS)
    files = np.concatenate([first[pair], second[pair]])
    begins = starts[files, np.concatenate([place, place])]
    ends = begins + np.tile(common[pair, place], 2)
    matrix = feature_matrix(hashes, begins, ends, ngrams, buckets)
    present = np.unique(matrix.indices)  # a bucket that no window has keeps a weight of 0
    matrix = matrix[:, present]
    is_good = np.repeat([1, 0], len(pair))
    folds = np.concatenate([good[pair], random[pair]]) % FOLDS
    tried = [_validate(matrix, is_good, folds, strength) for strength in inverse_regularization]
    enough = max(row["roc_auc"] for row in tried) - TOLERANCE
    best = min(
        (row for row in tried if row["roc_auc"] >= enough),
        key=lambda row: row["inverse_regularization"],
    )
    model = _fit(matrix, is_good, best["inverse_regularization"])
    weights = np.zeros(buckets, dtype=np.float32)
    weights[present] = model.coef_[0]
    annotator = Annotator(weights, float(model.intercept_[0]), window_tokens, ngrams)
    report = {
        "windows": len(files),
        "training_roc_auc": float(roc_auc_score(is_good, model.decision_function(matrix))),
        "validation_roc_auc": best["roc_auc"],
        "validation_log_loss": best["log_loss"],
        "inverse_regularization": best["inverse_regularization"],
        "tried": tried,
    }
    return Head(annotator, report)


def _validate(
    matrix: Any, is_good: NDArray[np.int64], folds: NDArray[np.int64], strength: float
) -> dict[str, float]:
    """Log loss and ROC-AUC of windows that the head did not see, over all folds together."""
    probability = np.full(len(is_good), np.nan)
    for fold in range(FOLDS):
        unseen = folds == fold
        if unseen.any() and len(set(is_good[~unseen])) == 2:
            model = _fit(matrix[~unseen], is_good[~unseen], strength)
            probability[unseen] = model.predict_proba(matrix[unseen])[:, 1]
    seen = ~np.isnan(probability)
    return {
        "inverse_regularization": strength,
        "log_loss": float(log_loss(is_good[seen], probability[seen])),
        "roc_auc": float(roc_auc_score(is_good[seen], probability[seen])),
    }


def _fit(matrix: Any, is_good: NDArray[np.int64], strength: float) -> LogisticRegression:
    model = LogisticRegression(C=strength, solver="liblinear", max_iter=200, random_state=0)
    # In one thread sums have one order on any machine, and threads do not pay at this size.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the grid holds hopeless values too
        return model.fit(matrix, is_good)
