"""Reads the documents of a split: training never sees what is held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from firnline.documents import parquet_file, read_batches


def read_split(
    path: Path,
    columns: Sequence[str],
    splits: Sequence[str],
    *,
    rows: int = 1024,
    threads: bool = True,
) -> Iterator[Any]:
    """Streams a shard's `columns` for the documents whose `split` is one of `splits`.

    A shard without that column has no held-out documents: all are given.
    """
    if "split" not in parquet_file(path).schema_arrow.names:
        yield from read_batches(path, columns, rows, threads=threads)
        return
    wanted = pa.array(splits, pa.string())
    for batch in read_batches(path, [*columns, "split"], rows, threads=threads):
        allowed = pc.is_in(batch.column("split").cast(pa.string()), value_set=wanted)
        yield batch.filter(allowed).select(list(columns))
