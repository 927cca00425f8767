"""The contamination stage: how much of each benchmark a corpus holds. Nothing is dropped.

Curation searches only documents that no rule has dropped before; here all of them are. Writes a
ledger (what each document holds), `contamination.parquet` (spans as evidence) and
`contamination.json` (each benchmark and task).
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from firnline.benchmarks.problems import load
from firnline.curate.contamination import Index
from firnline.curate.measure import small_batches, unreadable
from firnline.curate.tally import Tally
from firnline.documents import (
    DOCUMENT_SCHEMA,
    LEDGER_SCHEMA,
    TableWriter,
    document_shards,
    write_json,
    write_table,
)
from firnline.errors import FirnlineError
from firnline.stage import StageResult, Stats, Workspace, read_stats, run_stage

EXPOSURE_LEDGER_SCHEMA = pa.schema(
    [
        *LEDGER_SCHEMA,
        pa.field("language", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("contaminated_tasks", pa.int32()),
    ]
)


class ExposureConfig(BaseModel):
    """What a corpus is searched for."""

    model_config = ConfigDict(extra="forbid")

    benchmarks: tuple[str, ...] = ("basics",)
    """Benchmarks to look for: `basics`, `name=PATH` or a path."""
    ngram: int = Field(10, ge=5, le=50)
    """Consecutive words shared with a benchmark task that count as evidence."""


def run(
    config: ExposureConfig, documents: Path, out: Path, *, workers: int | None = None
) -> StageResult:
    """Searches a folder of Documents and writes the stage folder `out`.

    A document that cannot be read is `unreadable` in the ledger; all others are kept. Raises
    FirnlineError for benchmarks that cannot be read and for an input that is not Documents.
    """
    if not config.benchmarks:
        raise FirnlineError(
            "no benchmark to look for", mend="give --benchmark basics, or name=PATH"
        )
    shards = {path.stem: path for path in document_shards(documents)}
    inputs: dict[str, Path | str] = {"documents": documents}
    inputs |= {f"benchmark-{spec}": load(spec, tests=False).digest for spec in config.benchmarks}

    def body(workspace: Workspace) -> Stats:
        return _measure(config, shards, workspace)

    return run_stage("contamination", config, inputs, out, body, room="curate", workers=workers)


def _measure(config: ExposureConfig, shards: dict[str, Path], workspace: Workspace) -> Stats:
    folder = workspace.folder
    if (folder / "stats.json").exists():  # killed when all was done but the renaming
        return read_stats(folder)
    index = Index(config.benchmarks, config.ngram)
    weights = {name: path.stat().st_size / 1e6 for name, path in shards.items()}
    search = partial(_search_shard, index, folder)
    parts = workspace.map("search", search, shards, weights=weights, unit="MB", threads=True)
    tally = Tally(index)
    for name in shards:
        tally.merge(Tally.unpack(index, json.loads(_tally_path(folder, name).read_text())))
    report = tally.report()
    write_table(folder / "contamination.parquet", tally.spans())
    write_json(folder / "contamination.json", report)
    stats: Stats = {
        "documents": tally.documents,
        "bytes": sum(part["bytes"] for part in parts.values()),
        "unreadable": sum(part["unreadable"] for part in parts.values()),
        "contaminated": tally.contaminated,
        "contamination": tally.documents_by_task(),
        "benchmarks": {
            name: {key: value for key, value in part.items() if key != "found"}
            for name, part in report.items()
        },
    }
    return stats


def _search_shard(index: Index, folder: Path, shard: Path) -> Stats:
    """Searches one shard; writes its ledger and its tally."""
    tally = Tally(index)
    size = broken_rows = 0
    with TableWriter(folder / "ledger" / shard.name, EXPOSURE_LEDGER_SCHEMA) as writer:
        for batch in small_batches(shard, tuple(DOCUMENT_SCHEMA.names)):
            reasons = unreadable(batch)
            rows = np.array([row for row, reason in enumerate(reasons) if not reason], dtype=int)
            whole = batch.take(pa.array(rows))
            languages = whole["language"].to_pylist()
            found = index.find(whole["content"], languages)
            ids, repos, paths = (whole[name].to_pylist() for name in ("id", "repo", "path"))
            tally.add(found, ids, repos, paths)
            size += int(pc.sum(pc.binary_length(whole["content"])).as_py() or 0)
            broken_rows += len(batch) - len(whole)
            by_row = {int(rows[place]): evidence for place, evidence in found.items()}
            tasks = [len(by_row[n].tasks) if n in by_row else 0 for n in range(len(batch))]
            details = [index.explain(by_row[n]) if n in by_row else None for n in range(len(batch))]
            columns = {
                "id": batch["id"].fill_null(bytes(16)),
                "kept": [not reason for reason in reasons],
                "rule": ["unreadable" if reason else None for reason in reasons],
                "detail": [
                    reason or detail for reason, detail in zip(reasons, details, strict=True)
                ],
                "language": _readable(batch["language"], reasons),
                "bytes": pc.binary_length(batch["content"]).fill_null(0),
                "contaminated_tasks": [
                    None if reason else count for reason, count in zip(reasons, tasks, strict=True)
                ],
            }
            arrays = [pa.array(columns[f.name], f.type) for f in EXPOSURE_LEDGER_SCHEMA]
            writer.write(pa.record_batch(arrays, schema=EXPOSURE_LEDGER_SCHEMA))
    write_json(_tally_path(folder, shard.stem), tally.pack())
    return {"bytes": size, "unreadable": broken_rows}


def _tally_path(folder: Path, name: str) -> Path:
    return folder / "parts" / "tallies" / f"{name}.json"  # goes with the other parts


def _readable(column: pa.Array, reasons: list[str]) -> pa.Array:
    whole = pa.array([not reason for reason in reasons])
    return pc.if_else(whole, column, pa.scalar("", column.type))
