"""Explains one document of a run: its row in every ledger, and the steps that trained on it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from firnline.documents import ledger_shards, parquet_file, read_batches
from firnline.errors import FirnlineError
from firnline.progress import say
from firnline.stage import fingerprint
from firnline.tokens.samples import Samples
from firnline.training.phase import PhaseConfig

Row = dict[str, Any]
MOST = 20
"""Documents explained at once."""
FIRST_STEPS = 10
"""Steps named for each phase."""
_ROWS = 65536


def why(run: Path, wanted: str) -> list[Row]:
    """The documents of a run that `wanted` names, each with its row in every ledger.

    `wanted` is a document id (32 hexadecimal digits), a path, `repository/path`, or the end of a
    path; at most 20 documents are explained. Each result has `id`, `repo`, `path`, and

    - `stages`: `{"stage", "kept", "rule", "detail", …every value measured}`, oldest stage first;
    - `tokens`: the token folders that hold it, `{"folder", "language", "tokens", "bytes"}`, with
      `header`, the bytes of its path line, where it has one;
    - `phases`: the phases that read one of those, `{"phase", "samples", "steps", "of_steps"}`: how
      many training samples held tokens of it, and the first ten steps that did.

    Raises FirnlineError where nothing matches.
    """
    stages = _stages(run)
    found = _find(stages, wanted)
    if not found:
        raise FirnlineError(
            f"nothing in {run} is called {wanted!r}",
            mend="give a path as ingested, the end of one, or an id of 32 hexadecimal digits",
        )
    if len(found) > MOST:
        say(f"why: {len(found):,} documents are called {wanted!r}, the first {MOST} follow")
    by_id: dict[bytes, Row] = {
        row["id"]: {**row, "id": row["id"].hex(), "stages": [], "tokens": [], "phases": []}
        for row in found[:MOST]
    }
    keys = pa.array(list(by_id), pa.binary(16))
    for folder in stages:
        for shard in ledger_shards(folder):
            for row in _rows(shard, None, keys):
                by_id[row.pop("id")]["stages"].append({"stage": folder.name, **_plain(row)})
    for index in sorted(run.glob("*/index.parquet")):
        there = parquet_file(index).schema_arrow.names
        columns = ["id", "language", "tokens", "bytes", *({"header"} & set(there))]
        for row in _rows(index, columns, keys):
            by_id[row.pop("id")]["tokens"].append({"folder": index.parent.name, **row})
    for config, samples in _phases(run):
        for key, document in by_id.items():
            if samples.folder.name in {row["folder"] for row in document["tokens"]}:
                document["phases"].append(_seen(config, samples, key))
    return list(by_id.values())


def _stages(run: Path) -> list[Path]:
    """Stage folders with a ledger, oldest first: the order the pipeline made them in."""
    if not run.is_dir():
        raise FirnlineError(f"no run folder {run}", mend="give the --out of a firnline run")
    folders = [folder for folder in _finished(run) if ledger_shards(folder)]
    if not folders:
        raise FirnlineError(f"no finished stage with a ledger in {run}", mend="run a stage first")
    return folders


def _finished(run: Path) -> list[Path]:
    manifests = [path for path in run.glob("*/manifest.json") if path.parent.name[0] != "."]
    return [path.parent for path in sorted(manifests, key=lambda path: path.stat().st_mtime_ns)]


def _find(stages: list[Path], wanted: str) -> list[Row]:
    """Matching documents; those that `wanted` names whole hide those that it names the end of."""
    if re.fullmatch(r"[0-9a-fA-F]{32}", wanted):
        key = pa.scalar(bytes.fromhex(wanted), pa.binary(16))
        named = [
            row for batch in _names(stages) for row in _where(batch, pc.equal(batch["id"], key))
        ]
        return named[:1] or _unnamed(stages, key)
    exact: dict[bytes, Row] = {}
    ending: dict[bytes, Row] = {}
    tail = f"/{wanted.strip('/')}"
    parts = tail[1:].split("/")
    shorter = pa.array(["/".join(parts[start:]) for start in range(1, len(parts))], pa.string())
    for batch in _names(stages):
        # `repository/path` ends with the path; a path ends with what was asked for.
        mask = pc.or_(
            pc.ends_with(batch["path"], pattern=tail[1:]), pc.is_in(batch["path"], shorter)
        )
        for row in _where(batch, mask):
            full = f"/{row['repo'] or ''}/{row['path']}".replace("//", "/")
            if tail in (full, f"/{row['path']}"):
                exact[row["id"]] = row
            elif full.endswith(tail):
                ending[row["id"]] = row
    return list((exact or ending).values())


def _names(stages: list[Path]) -> Iterator[pa.RecordBatch]:
    """`id`, `repo` and `path` of every document: from the ledgers that name files, and from data.

    A run may begin with documents that another tool made, which are named in no ledger.
    """
    for folder in stages:
        for shard in (*ledger_shards(folder), *sorted((folder / "data").glob("[!.]*.parquet"))):
            columns = parquet_file(shard).schema_arrow.names
            if "path" in columns:
                wanted = [name for name in ("id", "repo", "path") if name in columns]
                yield from read_batches(shard, wanted, rows=_ROWS)


def _where(batch: pa.RecordBatch, mask: pa.Array) -> list[Row]:
    rows = batch.filter(mask).to_pylist()
    return [{"id": row["id"], "repo": row.get("repo"), "path": row["path"]} for row in rows]


def _unnamed(stages: list[Path], key: pa.Scalar) -> list[Row]:
    """A document that came from elsewhere and was dropped has an id and no name."""
    for folder in stages:
        for shard in ledger_shards(folder):
            for batch in read_batches(shard, ["id"], rows=_ROWS):
                if pc.index(batch["id"], key).as_py() >= 0:
                    return [{"id": key.as_py(), "repo": None, "path": None}]
    return []


def _rows(shard: Path, columns: list[str] | None, keys: pa.Array) -> list[Row]:
    return [
        row
        for batch in read_batches(shard, columns, rows=_ROWS)
        for row in batch.filter(pc.is_in(batch["id"], keys)).to_pylist()
    ]


def _phases(run: Path) -> Iterator[tuple[PhaseConfig, Samples]]:
    """Each finished training stage with the samples it read, where their folder is still there."""
    folders = {fingerprint(index.parent): index.parent for index in run.glob("*/index.parquet")}
    for stage in _finished(run):
        manifest = json.loads((stage / "manifest.json").read_text())
        tokens = folders.get(manifest.get("inputs", {}).get("tokens", ""))
        if tokens is not None and "sequence_length" in manifest["config"]:
            values = {k: v for k, v in manifest["config"].items() if k in PhaseConfig.model_fields}
            config = PhaseConfig.model_validate(values)
            length, seed = config.sequence_length, config.seed
            yield config, Samples(tokens, sequence_length=length, seed=seed, phase=config.name)


def _seen(config: PhaseConfig, samples: Samples, document: bytes) -> Row:
    numbers = samples.numbers_of(document, config.samples)
    steps = sorted({int(number) // config.batch_sequences + 1 for number in numbers})
    return {
        "phase": config.name,
        "samples": len(numbers),
        "steps": steps[:FIRST_STEPS],
        "of_steps": config.steps,
    }


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
