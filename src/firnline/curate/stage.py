"""The curate stage: rules, decontamination, exact and near-duplicates; Documents and a ledger out.

Three passes: over each shard alone (measure.py), across shards on narrow arrays (decide.py), and
over each shard again to write what stays. The first rule that drops a document, in that order, is
the one its ledger row names.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from firnline.benchmarks.problems import load
from firnline.curate import rules
from firnline.curate.contamination import Index
from firnline.curate.decide import decide
from firnline.curate.duplicates import RECALL_AT_THRESHOLD, THRESHOLD, choose_bands
from firnline.curate.measure import Measuring, Scratch, measure_shard, small_batches
from firnline.documents import (
    DOCUMENT_SCHEMA,
    LEDGER_SCHEMA,
    TableWriter,
    document_shards,
    hash_share,
    parquet_file,
    write_json,
)
from firnline.errors import FirnlineError
from firnline.kernels.sketch import BINS
from firnline.stage import StageResult, Stats, Workspace, read_stats, run_stage

CURATE_LEDGER_SCHEMA = pa.schema(
    [
        *LEDGER_SCHEMA,
        pa.field("language", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        *(pa.field(name, pa.float64()) for name in rules.STATISTICS),
        pa.field("contaminated_tasks", pa.int32()),
        pa.field("jaccard", pa.float32()),
    ]
)


class CurateConfig(BaseModel):
    """What curation drops. Every threshold's default is in `firnline.curate.rules.RULES`."""

    model_config = ConfigDict(extra="forbid")

    seed: int = Field(0, ge=0)
    """Chooses the held-out documents."""
    thresholds: dict[str, float | dict[str, float]] = {}
    """Rule: a threshold for every language the rule looks at, or a mapping of languages to one."""
    off: tuple[str, ...] = ()
    """Rules that drop nothing; what they would look at is measured all the same."""
    near_duplicate_threshold: float = Field(THRESHOLD, ge=0.4, lt=1.0)
    """Jaccard similarity of 5-token shingles from which a document is a near-duplicate."""
    ngram: int = Field(10, ge=5, le=50)
    """Consecutive words shared with a benchmark task that make a document contaminated."""
    benchmarks: tuple[str, ...] = ("basics",)
    """Benchmarks to keep out: `basics`, `name=PATH` or a path; none switches the check off."""
    heldout_share: float = Field(0.01, ge=0.0, lt=1.0)
    """Share of the kept documents, by the hash of their ids, whose `split` is `heldout`."""


def run(
    config: CurateConfig,
    documents: Path,
    out: Path,
    *,
    against: tuple[Path, ...] = (),
    workers: int | None = None,
) -> StageResult:
    """Curates a folder of Documents into the stage folder `out`.

    `against` are folders of Documents that count as already there: a document that duplicates one
    of theirs goes, and none of theirs is judged or written. They should be curated themselves: of
    their own near-duplicates only the one that the keep rule chooses is compared with.

    Raises FirnlineError for unknown rules or languages (all at once), for benchmarks that cannot
    be read, and for an input that is not Documents.
    """
    if mistakes := rules.check(config):
        raise FirnlineError(
            "the curate config has mistakes", mend="correct these keys", details=tuple(mistakes)
        )
    shards = {path.stem: path for path in document_shards(documents)}
    there = {
        f"against-{number}-{path.stem}": path
        for number, folder in enumerate(against)
        for path in document_shards(folder)
    }
    inputs: dict[str, Path | str] = {"documents": documents}
    inputs |= {f"against-{number}": folder for number, folder in enumerate(against)}
    inputs |= {f"benchmark-{spec}": load(spec).digest for spec in config.benchmarks}

    def body(workspace: Workspace) -> Stats:
        return _curate(config, shards, there, workspace)

    return run_stage("curate", config, inputs, out, body, room="curate", workers=workers)


def _curate(
    config: CurateConfig,
    shards: Mapping[str, Path],
    there: Mapping[str, Path],
    workspace: Workspace,
) -> Stats:
    scratch_folder = workspace.folder / "scratch"
    if (workspace.folder / "stats.json").exists():  # killed when all was done but the renaming
        shutil.rmtree(scratch_folder, ignore_errors=True)
        return read_stats(workspace.folder)
    scratch_folder.mkdir(exist_ok=True)
    index = Index(config.benchmarks, config.ngram) if config.benchmarks else None
    bands, rows = choose_bands(BINS, config.near_duplicate_threshold, RECALL_AT_THRESHOLD)
    resident = {name: (path, Scratch(scratch_folder, name)) for name, path in there.items()}
    inputs = {name: (path, Scratch(scratch_folder, name)) for name, path in shards.items()}
    weights = {name: path.stat().st_size / 1e6 for name, path in (*there.items(), *shards.items())}

    table = rules.table(config.thresholds, config.off)
    measure = partial(measure_shard, Measuring(table, index, bands, rows))
    measured = workspace.map("measure", measure, inputs, weights=weights, unit="MB")
    measure = partial(measure_shard, Measuring(None, None, bands, rows))
    if resident:
        workspace.map("against", measure, resident, weights=weights, unit="MB")

    comparison = decide(
        workspace, {**resident, **inputs}, len(resident), config.near_duplicate_threshold
    )
    write = partial(_write_shard, config, workspace.folder)
    written = workspace.map("write", write, inputs, weights=weights, unit="MB")

    stats = _total(written)
    stats["near_duplicates"] = comparison
    stats["contamination"] = _contamination(index, measured)
    write_json(workspace.folder / "stats.json", stats)
    shutil.rmtree(scratch_folder)
    return stats


def _write_shard(config: CurateConfig, folder: Path, item: tuple[Path, Scratch]) -> Stats:
    """Writes the documents of a shard that stay, and a ledger row for each of its documents."""
    shard, scratch = item
    ledger = _ledger(scratch)
    kept = ledger["kept"].combine_chunks()
    splits: Counter[str] = Counter()
    start = 0
    with TableWriter(folder / "data" / shard.name, _output_schema(shard)) as writer:
        for batch in small_batches(shard):
            stays = batch.filter(kept.slice(start, len(batch)))
            start += len(batch)
            split = [_split(identity, config) for identity in stays["id"].to_pylist()]
            splits.update(split)
            if "split" in stays.schema.names:  # curated before, with another seed or share
                stays = stays.drop_columns(["split"])
            writer.write(stays.append_column("split", pa.array(split, pa.string())))
    with TableWriter(folder / "ledger" / shard.name, CURATE_LEDGER_SCHEMA) as writer:
        for batch in ledger.to_batches(max_chunksize=65536):
            writer.write(batch)
    return {"counts": _count(ledger), "split": dict(splits)}


def _ledger(scratch: Scratch) -> pa.Table:
    """The shard's ledger: what the first pass measured, with the decisions across shards."""
    table = pq.read_table(scratch.table)
    decisions = pq.read_table(scratch.decisions).to_pydict()
    rule, detail = table["rule"].to_pylist(), table["detail"].to_pylist()
    jaccard: list[float | None] = [None] * len(table)
    for row, name, keeper, repo, path, similarity in zip(*decisions.values(), strict=True):
        rule[row], jaccard[row] = name, similarity
        alike = "equal to" if name == "exact_duplicate" else f"Jaccard {similarity:.3f} with"
        detail[row] = f"{alike} {repo}/{path} ({keeper.hex()})"
    columns = {
        **{name: table[name] for name in table.column_names},
        "rule": pa.array(rule, pa.string()),
        "detail": pa.array(detail, pa.string()),
        "kept": pa.array([name is None for name in rule], pa.bool_()),
        "jaccard": pa.array(jaccard, pa.float32()),
    }
    columns = {field.name: columns[field.name] for field in CURATE_LEDGER_SCHEMA}
    return pa.table(columns, schema=CURATE_LEDGER_SCHEMA)


def _output_schema(shard: Path) -> pa.Schema:
    """The shard's columns in the types of Documents, other columns as they are, then `split`."""
    given = parquet_file(shard).schema_arrow
    others = [field for field in given if field.name not in (*DOCUMENT_SCHEMA.names, "split")]
    return pa.schema([*DOCUMENT_SCHEMA, *others, pa.field("split", pa.string(), nullable=False)])


def _split(identity: bytes, config: CurateConfig) -> str:
    share = hash_share(identity, salt=f"heldout-{config.seed}")
    return "heldout" if share < config.heldout_share else "train"


def _count(ledger: pa.Table) -> list[dict[str, Any]]:
    """Documents and bytes for each (language, rule); a null rule is what stays."""
    groups = ledger.select(["language", "rule", "bytes"]).group_by(["language", "rule"])
    rows = groups.aggregate([("bytes", "count"), ("bytes", "sum")]).to_pylist()
    return sorted(rows, key=lambda row: (row["language"], row["rule"] or ""))


def _total(written: Mapping[str, Stats]) -> Stats:
    zero = {"documents": 0, "bytes": 0, "documents_in": 0, "bytes_in": 0}
    stats: Stats = {**zero, "split": {"train": 0, "heldout": 0}}
    stats |= {"languages": {}, "dropped": {}, "dropped_bytes": {}, "dropped_by_language": {}}
    for shard in written.values():
        for split, documents in shard["split"].items():
            stats["split"][split] += documents
        for row in shard["counts"]:
            language, rule = row["language"] or "(none)", row["rule"]
            documents, size = row["bytes_count"], row["bytes_sum"]
            for counts in (stats, stats["languages"].setdefault(language, dict(zero))):
                counts["documents_in"] += documents
                counts["bytes_in"] += size
                counts["documents"] += 0 if rule else documents
                counts["bytes"] += 0 if rule else size
            if rule:
                by_language = stats["dropped_by_language"].setdefault(rule, {})
                for place, key, amount in (
                    (stats["dropped"], rule, documents),
                    (stats["dropped_bytes"], rule, size),
                    (by_language, language, documents),
                ):
                    place[key] = place.get(key, 0) + amount
    return stats


def _contamination(index: Index | None, measured: Mapping[str, Stats]) -> Stats:
    """Documents that hold each task, by benchmark; a task that none holds is left out."""
    found: Stats = {name: {} for name in index.names} if index is not None else {}
    for stats in measured.values():
        for number, documents in stats["tasks"].items():
            benchmark, task = index.tasks[int(number)] if index is not None else ("", "")
            found[benchmark][task] = found[benchmark].get(task, 0) + documents
    return found
