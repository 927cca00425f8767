"""A token folder opened for reading: its settings, its index, and its shards mapped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from firnline.documents import parquet_file
from firnline.errors import FirnlineError
from firnline.kernels.runs import copy_runs
from firnline.tokens.permutation import mix

Integers = npt.NDArray[np.int64]


class TokenFolder:
    """The kept rows of a token folder, numbered from 0 in the order of the index.

    Memory: 20 bytes for each row (28 with places, 24 with parts); tokens are mapped, not read.
    """

    def __init__(self, path: Path, keep: npt.NDArray[np.bool_] | None = None) -> None:
        """`keep` says for each row of the index whether it is used; all are by default.

        Raises FirnlineError where the folder is not whole, or no row is kept.
        """
        self.path = path
        self.settings = read_settings(path)
        table = _read_index(path)
        columns = table.column_names
        shards = map_shards(path, self.settings["dtype"], table)
        self.documents_in_index = table.num_rows
        self.rows: Integers | None = None
        """Which row of the index each kept row is; None where all are kept."""
        if keep is not None:
            if keep.shape != (table.num_rows,):
                raise ValueError(f"keep is {keep.shape}, the index has {table.num_rows} rows")
            self.rows = np.flatnonzero(keep)
            table = table.filter(pa.array(keep))
        arrays: dict[str, npt.NDArray[Any]] = {c: table.column(c).to_numpy() for c in columns}
        if not table.num_rows:
            raise FirnlineError(f"no document of {path} is used", mend="keep more documents")
        self.shard, self.offset = arrays["shard"], arrays["offset"]
        self.tokens, self.group = arrays["tokens"], arrays["group"]
        self.part, self.place = arrays.get("part"), arrays.get("place")
        self.header = arrays.get("header")
        self.shards = {number: shards[number] for number in np.unique(self.shard).tolist()}
        self.total_tokens = int(self.tokens.sum(dtype=np.int64))

    def read(
        self,
        out: npt.NDArray[Any],
        places: Integers,
        rows: Integers,
        starts: Integers,
        lengths: Integers,
    ) -> None:
        """Copies runs of tokens, each from token `start` of its document, to their places."""
        shard = self.shard[rows]
        offsets = self.offset[rows] + starts
        for number in np.unique(shard).tolist():
            held = np.flatnonzero(shard == number)
            copy_runs(self.shards[number], offsets[held], lengths[held], out, places[held])

    @cached_property
    def words(self) -> npt.NDArray[np.uint64]:
        """64 bits of each row's document id, mixed: 8 bytes for each row."""
        index, parts = parquet_file(self.path / "index.parquet"), []
        for batch in index.iter_batches(columns=["id"]):
            halves = np.frombuffer(b"".join(batch["id"].to_pylist()), dtype="<u8").reshape(-1, 2)
            parts.append(mix(halves[:, 0] ^ mix(halves[:, 1])))
        words = np.concatenate(parts)
        return words if self.rows is None else words[self.rows]

    @cached_property
    def total_bytes(self) -> int:
        """Bytes of the kept documents' text, path lines included; read when first asked for."""
        size = parquet_file(self.path / "index.parquet").read(["bytes"])["bytes"].to_numpy()
        return int((size if self.rows is None else size[self.rows]).sum(dtype=np.int64))

    @cached_property
    def names(self) -> Any:
        """`id`, `repo` and `path` of each row, as an Arrow table; read when first asked for."""
        table = parquet_file(self.path / "index.parquet").read(["id", "repo", "path"])
        return table if self.rows is None else table.take(pa.array(self.rows))

    def row_of(self, document: bytes) -> int:
        """The row of a document by its id, -1 where the kept rows do not hold it."""
        return int(pc.index(self.names.column("id"), pa.scalar(document, pa.binary(16))).as_py())


def read_settings(folder: Path) -> Mapping[str, Any]:
    """`tokens.json` of a token folder; raises FirnlineError where it is missing or not whole."""
    path = folder / "tokens.json"
    try:
        settings = json.loads(path.read_text())
        wanted = {"vocabulary_size", "dtype", "end_of_text", "tokenizer"}
        if not wanted <= settings.keys() or settings["dtype"] not in ("uint16", "uint32"):
            raise ValueError
    except (OSError, ValueError, AttributeError) as error:
        raise FirnlineError(
            f"{folder} is not a token folder: no usable tokens.json", mend="pack it again"
        ) from error
    assert isinstance(settings, dict)
    return settings


def _read_index(folder: Path) -> pa.Table:
    """The columns of the index that say where tokens lie; every document must be in its shard."""
    path = folder / "index.parquet"
    index = parquet_file(path)
    columns = ["shard", "offset", "tokens", "group"]
    columns += [name for name in ("part", "place", "header") if name in index.schema_arrow.names]
    try:
        table = index.read(columns)
        shard, offset, tokens = (table.column(name).to_numpy() for name in columns[:3])
        # Each shard is its documents in order, so that none reaches beyond it.
        order = np.lexsort((offset, shard))
        first = np.append(True, np.diff(shard[order]) != 0)[: len(order)]
        ends = np.append(0, (offset + tokens)[order][:-1])[: len(order)]
        whole = bool((offset[order] == np.where(first, 0, ends)).all() and (tokens > 0).all())
    except (pa.ArrowException, KeyError, OSError, TypeError, ValueError) as error:
        raise FirnlineError(f"cannot read {path}", mend="pack it again") from error
    if not whole or (len(shard) and shard.min() < 0):
        raise FirnlineError(f"{path} is damaged: documents do not follow", mend="pack it again")
    return table


def map_shards(folder: Path, dtype: str, index: pa.Table) -> dict[int, npt.NDArray[Any]]:
    """Maps each shard that holds documents; its size must be what the index says."""
    shard, tokens = index["shard"].to_numpy(), index["tokens"].to_numpy()
    totals = np.bincount(shard, weights=tokens).astype(np.int64) if len(shard) else tokens
    mapped = {}
    for number in np.flatnonzero(totals).tolist():
        path = folder / f"shard-{number:05d}.bin"
        wanted = int(totals[number]) * np.dtype(dtype).itemsize
        size = path.stat().st_size if path.is_file() else 0
        if size != wanted:
            raise FirnlineError(
                f"{path} holds {size:,} bytes, its index says {wanted:,}", mend="pack it again"
            )
        mapped[number] = np.asarray(np.memmap(path, dtype=dtype, mode="r"))
    return mapped
