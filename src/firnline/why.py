"""Explains one document of a run: every ledger row it has, and the phases that hold its tokens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from firnline.documents import ledger_shards, read_batches
from firnline.errors import FirnlineError

Row = dict[str, Any]
_MOST = 20


def why(run: Path, wanted: str) -> list[Row]:
    """The documents of a run that `wanted` names, each with its row in every ledger.

    `wanted` is a document id (32 hexadecimal digits), a path, `repository/path`, or the end of a
    path; at most 20 documents are explained. Each result has `id`, `repo`, `path`, and `stages`:
    a list of `{"stage", "kept", "rule", "detail", …every value measured}` in pipeline order, and
    `tokens`: the token folders that hold it. Raises FirnlineError where nothing matches.
    """
    stages = _stages(run)
    found = _find(stages, wanted)
    if not found:
        raise FirnlineError(
            f"nothing in {run} is called {wanted!r}",
            mend="give a path as ingested, the end of one, or an id of 32 hexadecimal digits",
        )
    keys = pa.array([row["id"] for row in found], pa.binary(16))
    by_id: dict[bytes, Row] = {
        row["id"]: {**row, "id": row["id"].hex(), "stages": [], "tokens": []} for row in found
    }
    for folder in stages:
        for row in _rows(folder, keys):
            key = row.pop("id")
            by_id[key]["stages"].append({"stage": folder.name, **_plain(row)})
    for index in sorted(run.glob("*/index.parquet")):
        for batch in read_batches(index, ["id", "language", "tokens", "bytes"], rows=65536):
            for row in batch.filter(pc.is_in(batch["id"], keys)).to_pylist():
                key = row.pop("id")
                by_id[key]["tokens"].append({"folder": index.parent.name, **row})
    return list(by_id.values())


def _stages(run: Path) -> list[Path]:
    """Stage folders with a ledger, oldest first: the order the pipeline made them in."""
    if not run.is_dir():
        raise FirnlineError(f"no run folder {run}", mend="give the --out of a firnline run")
    folders = [path for path in run.iterdir() if (path / "manifest.json").is_file()]
    folders = [path for path in folders if ledger_shards(path)]
    if not folders:
        raise FirnlineError(f"no finished stage with a ledger in {run}", mend="run a stage first")
    return sorted(folders, key=lambda path: (path / "manifest.json").stat().st_mtime_ns)


def _find(stages: list[Path], wanted: str) -> list[Row]:
    by_id = bytes.fromhex(wanted) if re.fullmatch(r"[0-9a-fA-F]{32}", wanted) else None
    exact: dict[bytes, Row] = {}
    ending: dict[bytes, Row] = {}
    for folder in stages:
        for shard in ledger_shards(folder):
            for batch in read_batches(shard, rows=65536):
                if "path" not in batch.schema.names:
                    break
                for row in _matching(batch, wanted, by_id):
                    full = f"{row['repo']}/{row['path']}" if row["repo"] else row["path"]
                    whole = by_id is not None or wanted in (row["path"], full)
                    (exact if whole else ending)[row["id"]] = row
    return list((exact or ending).values())[:_MOST]


def _matching(batch: pa.RecordBatch, wanted: str, by_id: bytes | None) -> list[Row]:
    if by_id is not None:
        mask = pc.equal(batch["id"], pa.scalar(by_id, pa.binary(16)))
    else:
        # `repository/path` ends with the path; a path ends with what was asked for.
        mask = pc.or_(
            pc.ends_with(batch["path"], pattern=wanted),
            pc.is_in(batch["path"], pa.array(_endings(wanted))),
        )
    rows = batch.filter(mask).to_pylist()
    rows = [{"id": r["id"], "repo": r.get("repo"), "path": r["path"]} for r in rows]
    if by_id is not None:
        return rows
    return [r for r in rows if f"/{r['repo'] or ''}/{r['path']}".endswith(f"/{wanted.lstrip('/')}")]


def _endings(wanted: str) -> list[str]:
    parts = wanted.split("/")
    return ["/".join(parts[start:]) for start in range(1, len(parts))]


def _rows(folder: Path, keys: pa.Array) -> list[Row]:
    return [
        row
        for shard in ledger_shards(folder)
        for batch in read_batches(shard, rows=65536)
        for row in batch.filter(pc.is_in(batch["id"], keys)).to_pylist()
    ]


def _plain(row: Row) -> Row:
    """JSON values: ids in hexadecimal, floats rounded for people."""
    plain: Row = {}
    for name, value in row.items():
        if isinstance(value, bytes):
            value = value.hex()
        elif isinstance(value, float):
            value = float(f"{value:.4g}")
        plain[name] = value
    return plain
