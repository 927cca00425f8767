"""Writing whole or not at all, with two attempts at one file at once."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from firnline.documents import TableWriter, atomic_path, remove_temporary

SCHEMA = pa.schema([("n", pa.int64())])


def batch(start: int) -> pa.RecordBatch:
    return pa.record_batch([pa.array(range(start, start + 1000))], schema=SCHEMA)


def test_two_attempts_at_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "shard.parquet"
    first, second = TableWriter(path, SCHEMA), TableWriter(path, SCHEMA)
    first.write(batch(0))
    second.write(batch(0))
    second.close()
    whole = path.read_bytes()
    assert pq.read_table(path)["n"].to_pylist() == list(range(1000))
    first.close()
    assert path.read_bytes() == whole
    with atomic_path(path) as one, atomic_path(path) as other:
        one.write_text("same")
        other.write_text("same")
    assert path.read_text() == "same"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_attempt_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "data" / "shard.parquet"
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
    TableWriter(path, SCHEMA).write(batch(0))  # never closed
    assert len(list(path.parent.iterdir())) == 2
    remove_temporary(tmp_path)
    assert [found.read_text() for found in path.parent.iterdir()] == ["whole"]
