"""Seeded samples of documents that depend on ids alone, never on order or scheduling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from firnline.documents import hash_share, parquet_file, read_batches, write_table
from firnline.stage import Stats, Workspace

HELDOUT = "heldout"
_COLUMNS = ("id", "content_hash", "language", "content")


@dataclass(frozen=True, order=True)
class Drawn:
    """One drawn document. Samples are in order of `share`, which is a random order."""

    share: float
    id: bytes
    language: str
    shard: int
    """Index into the shards that were drawn from."""


def draw(
    shards: Sequence[Path],
    salt: str,
    limit: Callable[[str], int],
    *,
    between: tuple[float, float] = (0.0, 1.0),
) -> list[Drawn]:
    """For each language the `limit(language)` documents of least share within `between`.

    `salt` and a document's id make its share (`hash_share`). Documents whose `split` is `heldout`
    are never drawn. Memory is a few rows for each document drawn, whatever the corpus holds.
    """
    low, high = between
    found: dict[str, list[Drawn]] = {}
    for shard, path in enumerate(shards):
        for key, language in _ids_for_training(path):
            share = hash_share(key, salt)
            if low <= share < high and (most := limit(language)):
                rows = found.setdefault(language, [])
                rows.append(Drawn(share, key, language, shard))
                if len(rows) >= 4 * most:
                    rows.sort()
                    del rows[most:]
    return sorted(row for name, rows in found.items() for row in sorted(rows)[: limit(name)])


def _ids_for_training(path: Path) -> Iterator[tuple[bytes, str]]:
    split = "split" in parquet_file(path).schema_arrow.names
    columns = ["id", "language", *(["split"] if split else [])]
    for batch in read_batches(path, columns, rows=65536):
        rows = batch
        if split:
            rows = batch.filter(pc.fill_null(pc.not_equal(batch.column("split"), HELDOUT), True))
        yield from zip(
            rows.column("id").to_pylist(), rows.column("language").to_pylist(), strict=True
        )


def read_drawn(
    workspace: Workspace, label: str, shards: Sequence[Path], drawn: Iterable[Drawn]
) -> pa.Table:
    """The drawn documents' id, content_hash, language and content, in the sample's order."""
    drawn = list(drawn)
    wanted: dict[int, list[bytes]] = {}
    for row in drawn:
        wanted.setdefault(row.shard, []).append(row.id)
    folder = workspace.folder / "samples" / label
    items = {f"{shard:05d}": (shards[shard], sorted(ids)) for shard, ids in sorted(wanted.items())}
    workspace.map(
        label, partial(_copy_rows, folder), {key: (key, *item) for key, item in items.items()}
    )
    tables = [pa.Table.from_batches(read_batches(folder / f"{key}.parquet")) for key in items]
    if not tables:
        return _empty()
    table = pa.concat_tables(tables)
    order = pc.index_in(pa.array([row.id for row in drawn], pa.binary(16)), table["id"])
    return table.take(order).combine_chunks()


def _copy_rows(folder: Path, item: tuple[str, Path, list[bytes]]) -> Stats:
    key, path, ids = item
    wanted = pa.array(ids, pa.binary(16))
    batches = [
        batch.filter(pc.is_in(batch.column("id"), value_set=wanted))
        for batch in read_batches(path, _COLUMNS, rows=1024)
    ]
    table = pa.Table.from_batches(batches)
    write_table(folder / f"{key}.parquet", table)
    return {"documents": table.num_rows}


def _empty() -> pa.Table:
    types: list[tuple[str, Any]] = [
        ("id", pa.binary(16)),
        ("content_hash", pa.binary(16)),
        ("language", pa.string()),
        ("content", pa.large_string()),
    ]
    return pa.schema(types).empty_table()
