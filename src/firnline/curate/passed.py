"""The documents of all shards that passed the first pass, read from its narrow tables in batches.

A document's number is its place here: shards in the order given, rows in the shard's order.
Nothing is held but how many there are in each shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from firnline.curate.exact import digest_words
from firnline.curate.forks import FILES_SCHEMA, fixed_bytes
from firnline.curate.measure import Scratch
from firnline.curate.priority import UNKNOWN_DATE

BATCH_ROWS = 1 << 16

# What a table that was written without these columns is taken to say.
_DEFAULTS = {"fork": False, "created": UNKNOWN_DATE, "normal_hash": None}


class Passed:
    """See the module's text; the first `resident` shards are documents that are already there."""

    def __init__(self, shards: Sequence[Scratch], resident: int) -> None:
        self.shards = list(shards)
        self.resident = resident
        counts = [sum(map(len, self.batches(number, []))) for number in range(len(shards))]
        self.starts = np.cumsum([0, *counts])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def batches(self, shard: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Columns of one shard's documents; a column that its table lacks has its default."""
        file = pq.ParquetFile(self.shards[shard].table)
        there = [name for name in columns if name in file.schema_arrow.names]
        for batch in file.iter_batches(BATCH_ROWS, columns=["rule", *there]):
            batch = batch.filter(batch["rule"].is_null())
            given = {name: batch[name] for name in there}
            arrays = [
                given[name] if name in given else pa.repeat(pa.scalar(_DEFAULTS[name]), len(batch))
                for name in columns
            ]
            yield pa.record_batch([batch["rule"], *arrays], ["rule", *columns])

    def rows(self, shard: int) -> NDArray[np.int64]:
        """Where a shard's documents stand in the shard."""
        rules = pq.read_table(self.shards[shard].table, columns=["rule"])["rule"]
        return np.flatnonzero(rules.is_null().to_numpy())

    def files(self) -> Iterator[pa.RecordBatch]:
        """All documents as `forks.find_forks` reads them."""
        columns = [name for name in FILES_SCHEMA.names if name != "there"]
        for shard in range(len(self.shards)):
            for batch in self.batches(shard, columns):
                there = pa.repeat(pa.scalar(shard < self.resident), len(batch))
                given = {**{name: batch[name] for name in columns}, "there": there}
                yield pa.record_batch(
                    [given[field.name].cast(field.type) for field in FILES_SCHEMA],
                    schema=FILES_SCHEMA,
                )

    def hashes(self, column: str) -> Iterator[NDArray[np.uint64]]:
        """A column of 16-byte hashes of all documents, uint64 (rows, 2)."""
        for shard in range(len(self.shards)):
            for batch in self.batches(shard, [column]):
                yield digest_words(fixed_bytes(batch[column]))

    def has(self, column: str) -> bool:
        """Whether every shard's table has the column."""
        return all(column in pq.read_schema(shard.table).names for shard in self.shards)

    def take(self, numbers: NDArray[np.int64], columns: list[str]) -> pa.Table:
        """Columns of some documents, whose numbers ascend."""
        tables = [pa.Table.from_batches([batch]) for batch in self._taken(numbers, columns)]
        if not tables:
            schema = pq.read_schema(self.shards[0].table) if self.shards else pa.schema([])
            return pa.schema([schema.field(name) for name in columns]).empty_table()
        return pa.concat_tables(tables)

    def _taken(self, numbers: NDArray[np.int64], columns: list[str]) -> Iterator[pa.RecordBatch]:
        bounds = np.searchsorted(numbers, self.starts)
        for shard in np.flatnonzero(np.diff(bounds)).tolist():
            mine = numbers[bounds[shard] : bounds[shard + 1]] - self.starts[shard]
            start = 0
            for batch in self.batches(shard, columns):
                first, last = np.searchsorted(mine, [start, start + len(batch)])
                if last > first:
                    yield batch.take(pa.array(mine[first:last] - start)).select(columns)
                start += len(batch)
