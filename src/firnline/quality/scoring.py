"""Scores shards of Documents: the part of annotate that goes over the whole corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from firnline.documents import LEDGER_SCHEMA, TableWriter, read_batches
from firnline.quality.annotator import WINDOWS, file_scores, load
from firnline.stage import Stats

ANNOTATE_LEDGER = pa.schema(
    [
        *LEDGER_SCHEMA,
        ("score", pa.float32()),
        *((f"score_{place}", pa.float32()) for place in WINDOWS),
    ]
)
EDGES = np.linspace(0, 1, 21)
_ROWS = 256


def score_shard(folder: Path, path: Path) -> Stats:
    """Writes a shard's ledger with the annotator in `folder`; returns its histogram by language."""
    annotator = load(folder)
    histogram: dict[str, NDArray[np.int64]] = {}
    with TableWriter(folder / "ledger" / path.name, ANNOTATE_LEDGER) as ledger:
        for batch in read_batches(path, ["id", "language", "content"], rows=_ROWS):
            windows = annotator.score_windows(batch.column("content"))
            scores = file_scores(windows)
            ledger.write(_ledger_rows(batch.column("id"), scores, windows))
            languages = batch.column("language").to_numpy(zero_copy_only=False)
            for language in sorted(set(languages)):
                bins, _ = np.histogram(scores[languages == language], EDGES)
                histogram[language] = histogram.get(language, 0) + bins
    return {"histogram": {name: row.tolist() for name, row in histogram.items()}}


def _ledger_rows(
    ids: pa.Array, scores: NDArray[np.float32], windows: NDArray[np.float32]
) -> pa.RecordBatch:
    rows = len(scores)
    places = windows.copy()
    places[np.isnan(windows[:, 2]), 0] = np.nan  # one window: it would repeat the file's score
    columns = [
        ids,
        pa.repeat(True, rows),
        pa.nulls(rows, pa.string()),
        pa.nulls(rows, pa.string()),
        pa.array(scores),
        *(pa.array(places[:, n], from_pandas=True) for n in range(len(WINDOWS))),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=ANNOTATE_LEDGER)
