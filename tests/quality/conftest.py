"""Folders of Documents, written as another tool would write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from firnline.documents import DOCUMENT_SCHEMA, content_hash, document_id, write_table


@pytest.fixture
def write_documents(tmp_path: Path) -> Callable[..., Path]:
    """Writes (language, content) rows as a folder of Documents, `each` rows to a shard."""

    def write(
        name: str,
        rows: Sequence[tuple[str, str]],
        *,
        each: int = 20,
        splits: Sequence[str] | None = None,
    ) -> Path:
        documents: list[dict[str, Any]] = []
        for number, (language, content) in enumerate(rows):
            path = f"{name}/{number}"
            data = content.encode()
            documents.append(
                {
                    "id": document_id("directory", "repo", "1", path),
                    "content_hash": content_hash(data),
                    "repo": "repo",
                    "path": path,
                    "revision": "1",
                    "language": language,
                    "license": None,
                    "size": len(data),
                    "source": "directory",
                    "stars": None,
                    "content": content,
                }
            )
        table = pa.Table.from_pylist(documents, schema=DOCUMENT_SCHEMA)
        if splits is not None:
            table = table.append_column("split", pa.array(splits, pa.string()))
        folder = tmp_path / name
        for shard, start in enumerate(range(0, max(len(rows), 1), each)):
            write_table(folder / "data" / f"shard-{shard:05d}.parquet", table.slice(start, each))
        return folder

    return write


@pytest.fixture
def folder_bytes() -> Callable[[Path], dict[str, bytes]]:
    """Reads every file below a folder."""

    def read(folder: Path) -> dict[str, bytes]:
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}

    return read
