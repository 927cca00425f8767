"""The curate stage: rules, decontamination, duplicates, redaction; Documents and a ledger out.

Three passes: over each shard alone (measure.py), across shards on narrow arrays (decide.py), and
over each shard again to redact and write what stays. The first rule that drops a document, in that
order, is the one its ledger row names.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from firnline.benchmarks.problems import load
from firnline.curate import rules
from firnline.curate.contamination import Index
from firnline.curate.decide import decide, explain
from firnline.curate.duplicates import RECALL_AT_THRESHOLD, THRESHOLD, choose_bands
from firnline.curate.forks import Repositories
from firnline.curate.measure import (
    MEASURED_SCHEMA,
    Measuring,
    Scratch,
    measure_shard,
    small_batches,
)
from firnline.curate.redaction import Redacted, Redactor, SecretsConfig
from firnline.curate.tally import Tally
from firnline.documents import (
    DOCUMENT_SCHEMA,
    LEDGER_SCHEMA,
    TableWriter,
    content_hash,
    document_shards,
    hash_share,
    parquet_file,
    write_json,
    write_table,
)
from firnline.engine import spread
from firnline.errors import FirnlineError
from firnline.kernels.sketch import BINS
from firnline.licenses import PERMISSIVE_LICENSES
from firnline.stage import StageResult, Stats, Workspace, read_stats, run_stage

Columns = TypeVar("Columns", pa.Table, pa.RecordBatch)

CURATE_LEDGER_SCHEMA = pa.schema(
    [
        *LEDGER_SCHEMA,
        pa.field("repo", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        *(pa.field(name, pa.float64()) for name in rules.STATISTICS),
        pa.field("license_rank", pa.int8()),
        pa.field("contaminated_tasks", pa.int32()),
        pa.field("jaccard", pa.float32()),
        pa.field("secrets", pa.int32()),
        pa.field("redactions", pa.string()),
    ]
)


class CurateConfig(BaseModel):
    """What curation drops. Every threshold's default is in `firnline.curate.rulebook.RULES`."""

    model_config = ConfigDict(extra="forbid")

    seed: int = Field(0, ge=0)
    """Chooses the held-out documents."""
    thresholds: dict[str, float | dict[str, float]] = {}
    """Rule: a threshold for every language the rule looks at, or a mapping of languages to one."""
    off: tuple[str, ...] = ()
    """Rules that drop nothing; what they would look at is measured all the same."""
    syntax: Literal["suspects", "all", "off"] = "suspects"
    """Which documents are parsed for the rule `syntax`: those that look broken, all, none."""
    licenses: tuple[str, ...] | None = None
    """SPDX ids that count as permissive, for the keep rule and the rule `license`; null: the list
    in `firnline.licenses`."""
    repositories: Repositories = Repositories()
    """What becomes of repositories that are forks or mirrors of another one."""
    near_duplicate_threshold: float = Field(THRESHOLD, ge=0.4, lt=1.0)
    """Jaccard similarity of 5-token shingles from which a document is a near-duplicate."""
    ngram: int = Field(10, ge=5, le=50)
    """Consecutive words shared with a benchmark task that make a document contaminated."""
    benchmarks: tuple[str, ...] = ("basics",)
    """Benchmarks to keep out: `basics`, `name=PATH` or a path; none switches the check off."""
    secrets: SecretsConfig | None = SecretsConfig()
    """Secrets and personal data: what is looked for and what becomes of it; null: nothing is."""
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
    with ThreadPoolExecutor(1) as beside:  # compiling does not hold the lock
        compiled = beside.submit(_redactor, config.secrets)
        for spec in config.benchmarks:
            inputs[f"benchmark-{spec}"] = load(spec, tests=False).digest
    redactor = compiled.result()
    if config.secrets is not None and config.secrets.rules is not None:
        inputs["secrets-rules"] = config.secrets.rules

    def body(workspace: Workspace) -> Stats:
        return _curate(config, redactor, shards, there, workspace)

    return run_stage("curate", config, inputs, out, body, room="curate", workers=workers)


def _redactor(config: SecretsConfig | None) -> Redactor | None:
    return None if config is None else Redactor(config)


def _curate(
    config: CurateConfig,
    redactor: Redactor | None,
    shards: Mapping[str, Path],
    there: Mapping[str, Path],
    workspace: Workspace,
) -> Stats:
    scratch_folder = workspace.folder / "scratch"
    if (workspace.folder / "stats.json").exists():  # killed when all was done but the renaming
        shutil.rmtree(scratch_folder, ignore_errors=True)
        return read_stats(workspace.folder)
    scratch_folder.mkdir(exist_ok=True)
    resident = {name: (path, Scratch(scratch_folder, name)) for name, path in there.items()}
    inputs = {name: (path, Scratch(scratch_folder, name)) for name, path in shards.items()}
    weights = {name: path.stat().st_size / 1e6 for name, path in (*there.items(), *shards.items())}

    index = Index(config.benchmarks, config.ngram) if config.benchmarks else None
    settings = Measuring(
        rules.table(config.thresholds, config.off),
        index,
        config.syntax,
        PERMISSIVE_LICENSES if config.licenses is None else frozenset(config.licenses),
        *choose_bands(BINS, config.near_duplicate_threshold, RECALL_AT_THRESHOLD),
    )
    bounds: dict[str, Any] = {"weights": weights, "unit": "MB", "threads": True}
    workspace.map("measure", partial(measure_shard, settings), inputs, **bounds)
    if resident:
        plain = replace(settings, table=None, index=None, syntax="off")
        workspace.map("against", partial(measure_shard, plain), resident, **bounds)
    comparison = decide(
        workspace,
        {**resident, **inputs},
        len(resident),
        config.near_duplicate_threshold,
        config.repositories,
    )
    write = partial(_write_shard, config, redactor, workspace.folder)
    written = workspace.map("write", write, inputs, **bounds)

    stats = _total(written)
    stats["near_duplicates"] = comparison
    stats["contamination"] = {}
    if index is not None:
        tally = Tally(index)
        for _, scratch in inputs.values():
            tally.merge(Tally.unpack(index, json.loads(scratch.tally.read_text())))
        stats["contamination"] = tally.documents_by_task()
        write_json(workspace.folder / "contamination.json", tally.report())
        write_table(workspace.folder / "contamination.parquet", tally.spans())
    write_json(workspace.folder / "stats.json", stats)
    shutil.rmtree(scratch_folder)
    return stats


def _write_shard(
    config: CurateConfig, redactor: Redactor | None, folder: Path, item: tuple[Path, Scratch]
) -> Stats:
    """Writes the documents of a shard that stay, and a ledger row for each of its documents."""
    shard, scratch = item
    written = _Written()
    rows = _Rows(scratch)
    with (
        TableWriter(folder / "data" / shard.name, _output_schema(shard)) as data,
        TableWriter(folder / "ledger" / shard.name, CURATE_LEDGER_SCHEMA) as ledger,
    ):
        parts = ((batch, rows.take(len(batch))) for batch in small_batches(shard))
        for part in spread(partial(_decided, config, redactor), parts):
            data.write(part.stays)
            ledger.write(_finished(part.judged))
            written.count(part)
    return written.stats()


class _Decided(NamedTuple):
    """Documents of a batch that stay, ledger rows of all of it, what was looked for as a secret."""

    stays: pa.RecordBatch
    judged: pa.Table
    redacted: Redacted | None


def _decided(
    config: CurateConfig, redactor: Redactor | None, part: tuple[pa.RecordBatch, pa.Table]
) -> _Decided:
    batch, judged = part
    stays = batch.filter(pc.is_null(judged["rule"]))
    redacted = None
    if redactor is not None:
        redacted = redactor.redact(stays["content"])
        judged = _with_secrets(judged, redacted, redactor.config.action == "drop")
        stays = _replaced(stays, redacted)
        if redactor.config.action == "drop":
            stays = stays.filter(redacted.redactions.is_null())
    split = [_split(identity, config) for identity in stays["id"].to_pylist()]
    if "split" in stays.schema.names:  # curated before, with another seed or share
        stays = stays.drop_columns(["split"])
    return _Decided(stays.append_column("split", pa.array(split, pa.string())), judged, redacted)


class _Rows:
    """The rows of a shard's ledger, in pieces, with the decisions across shards."""

    def __init__(self, scratch: Scratch) -> None:
        self._measured = pq.ParquetFile(scratch.table).iter_batches(8192)
        self._pending = MEASURED_SCHEMA.empty_table()
        self._decisions = pq.read_table(scratch.decisions)
        self._decided = self._decisions["row"].to_numpy()
        self._start = 0

    def take(self, count: int) -> pa.Table:
        """The next `count` rows: what was measured, and `jaccard`."""
        while len(self._pending) < count:
            more = pa.Table.from_batches([next(self._measured)])
            self._pending = pa.concat_tables([self._pending, more])
        table, self._pending = self._pending.slice(0, count), self._pending.slice(count)
        first, last = np.searchsorted(self._decided, [self._start, self._start + count])
        jaccard: list[float | None] = [None] * count
        if last > first:
            rule, detail = table["rule"].to_pylist(), table["detail"].to_pylist()
            decisions = self._decisions.slice(first, last - first).to_pydict().values()
            for row, name, keeper, repo, path, similarity in zip(*decisions, strict=True):
                place = row - self._start
                rule[place] = name
                detail[place] = explain(name, keeper, repo, path, similarity)
                jaccard[place] = similarity if keeper is not None else None
            table = _set(table, "rule", pa.array(rule, pa.string()))
            table = _set(table, "detail", pa.array(detail, pa.string()))
        self._start += count
        return table.append_column("jaccard", pa.array(jaccard, pa.float32()))


class _Written:
    """What is counted while a shard is written."""

    def __init__(self) -> None:
        self.documents: Counter[tuple[str, str]] = Counter()
        """By (language, rule); an empty rule is what stays."""
        self.bytes: Counter[tuple[str, str]] = Counter()
        self.splits: Counter[str] = Counter()
        self.secrets: Counter[str] = Counter()
        self.redacted = 0

    def count(self, part: _Decided) -> None:
        self.splits.update(part.stays["split"].to_pylist())
        if part.redacted is not None:
            found = part.redacted.redactions
            self.redacted += len(found) - found.null_count
            self.secrets.update({kind: int(n.sum()) for kind, n in part.redacted.counts.items()})
        groups = part.judged.select(["language", "rule", "bytes"]).group_by(["language", "rule"])
        for row in groups.aggregate([("bytes", "count"), ("bytes", "sum")]).to_pylist():
            key = (row["language"], row["rule"] or "")
            self.documents[key] += row["bytes_count"]
            self.bytes[key] += row["bytes_sum"]

    def stats(self) -> Stats:
        counts = [[*key, self.documents[key], self.bytes[key]] for key in sorted(self.documents)]
        return {
            "counts": counts,
            "split": dict(self.splits),
            "documents_with_secrets": self.redacted,
            "secrets": dict(self.secrets),
        }


def _with_secrets(judged: pa.Table, redacted: Redacted, drop: bool) -> pa.Table:
    """Ledger rows with `secrets` and `redactions`, null where nothing was looked for."""
    stays = pc.is_null(judged["rule"]).to_numpy()
    rows = np.cumsum(stays) - 1
    places = pa.array(rows, pa.int64(), mask=~stays)
    found = sum(redacted.counts.values(), np.zeros(len(redacted.content), dtype=np.int32))
    told = redacted.redactions.take(places)
    if drop:
        lost = told.is_valid()
        for name, value in (("rule", pa.scalar("secrets")), ("detail", told)):
            judged = _set(judged, name, pc.if_else(lost, value, judged[name].combine_chunks()))
    judged = judged.append_column("secrets", pa.array(found, pa.int32()).take(places))
    return judged.append_column("redactions", told)


def _replaced(stays: pa.RecordBatch, redacted: Redacted) -> pa.RecordBatch:
    """The documents with what redaction made of their content, and its size and hash."""
    if not redacted.changed.any():
        return stays
    hashes = stays["content_hash"].to_pylist()
    for row in np.flatnonzero(redacted.changed).tolist():
        hashes[row] = content_hash(redacted.content[row].as_buffer())
    stays = _set(stays, "content", redacted.content)
    stays = _set(stays, "size", pc.binary_length(redacted.content).cast(pa.int64()))
    return _set(stays, "content_hash", pa.array(hashes, pa.binary(16)))


def _finished(judged: pa.Table) -> pa.RecordBatch:
    """Rows of the ledger's schema."""
    judged = judged.append_column("kept", pc.is_null(judged["rule"]))
    for field in CURATE_LEDGER_SCHEMA:
        if field.name not in judged.column_names:
            judged = judged.append_column(field, pa.nulls(len(judged), field.type))
    judged = judged.select(CURATE_LEDGER_SCHEMA.names).cast(CURATE_LEDGER_SCHEMA)
    return judged.combine_chunks().to_batches()[0]


def _set(table: Columns, name: str, column: pa.Array) -> Columns:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(name), column)


def _output_schema(shard: Path) -> pa.Schema:
    """The shard's columns in the types of Documents, other columns as they are, then `split`."""
    given = parquet_file(shard).schema_arrow
    others = [field for field in given if field.name not in (*DOCUMENT_SCHEMA.names, "split")]
    return pa.schema([*DOCUMENT_SCHEMA, *others, pa.field("split", pa.string(), nullable=False)])


def _split(identity: bytes, config: CurateConfig) -> str:
    share = hash_share(identity, salt=f"heldout-{config.seed}")
    return "heldout" if share < config.heldout_share else "train"


def _total(written: Mapping[str, Stats]) -> Stats:
    zero = {"documents": 0, "bytes": 0, "documents_in": 0, "bytes_in": 0}
    stats: Stats = {**zero, "split": {"train": 0, "heldout": 0}}
    stats |= {"languages": {}, "dropped": {}, "dropped_bytes": {}, "dropped_by_language": {}}
    stats |= {"documents_with_secrets": 0, "secrets": {}}
    for shard in written.values():
        stats["documents_with_secrets"] += shard["documents_with_secrets"]
        for name in ("split", "secrets"):
            for key, count in shard[name].items():
                stats[name][key] = stats[name].get(key, 0) + count
        for language, rule, documents, size in shard["counts"]:
            language = language or "(none)"
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
