"""The place of each document in its group, from the ledger of an `arrange` stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from firnline.documents import ledger_shards, parquet_file, read_columns
from firnline.errors import FirnlineError

_COLUMNS = ["id", "place", "language_place"]


@dataclass(frozen=True)
class Places:
    """The order of one shard's documents. Memory: 24 bytes for each document of the shard."""

    ledger: Path
    table: pa.Table

    def of(self, ids: pa.Array, by_language: bool) -> pa.Array:
        """int64 places: lower comes first in a repository. `by_language`: language by language.

        Raises FirnlineError where a document has none.
        """
        rows = pc.index_in(ids, value_set=self.table["id"])
        if rows.null_count:
            missing = ids.filter(rows.is_null())
            raise FirnlineError(
                f"{self.ledger} orders none of {len(missing)} documents to pack, the first is "
                f"{missing[0].as_py().hex()}",
                mend="run arrange on the documents that are packed, or that they come from",
            )
        places = self.table["place"].take(rows).to_numpy().astype(np.int64)
        if by_language:
            languages = self.table["language_place"].take(rows).to_numpy().astype(np.int64)
            places += languages << 32
        return pa.array(places)


def read_places(order: Path, documents: Path) -> Places:
    """The places of a shard of Documents; raises FirnlineError where `order` has no such shard."""
    path = order / "ledger" / documents.name
    if path not in ledger_shards(order) or not set(_COLUMNS) <= set(
        parquet_file(path).schema_arrow.names
    ):
        raise FirnlineError(
            f"{order} does not order {documents.name}", mend="give the folder of an arrange stage"
        )
    return Places(path, read_columns([path], _COLUMNS))
