"""Explains a run: one document's row in every ledger and the steps that trained on it, and one
step's documents."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from firnline.documents import document_shards, ledger_shards, parquet_file, read_batches
from firnline.errors import FirnlineError
from firnline.inputs import DATA, PAIRS, TOKENS, PhaseInputs, PhaseRecord
from firnline.progress import say
from firnline.stage import fingerprint
from firnline.tokens.folder import read_settings
from firnline.tokens.infilling import InfillingConfig
from firnline.tokens.mixture import SourceConfig
from firnline.tokens.packing import PackingConfig
from firnline.training.objectives.config import PairConfig
from firnline.training.phase import PhaseConfig

Row = dict[str, Any]
MOST = 20
"""Documents explained at once."""
FIRST_STEPS = 10
"""Steps named for each phase."""
_ROWS = 65536
_NAMES = ["id", "repo", "path"]
_FOLDERS = ("index.parquet", "pairs.parquet")
"""What a folder that phases read has."""


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
    phases = list(_phases(run))
    folders = {folder for phase in phases for folder in phase.tokens.values()}
    folders |= {index.parent for index in run.glob("*/index.parquet")}
    for index in sorted(folder / "index.parquet" for folder in folders if not _labels(folder)):
        there = parquet_file(index).schema_arrow.names
        columns = ["id", "language", "tokens", "bytes", *({"header"} & set(there))]
        for row in _rows(index, columns, keys):
            by_id[row.pop("id")]["tokens"].append({"folder": index.parent.name, **row})
    for phase in phases:
        read_from = {folder.name for folder in phase.tokens.values()}
        holding = [
            key
            for key, document in by_id.items()
            if read_from & {row["folder"] for row in document["tokens"]}
        ]
        for key in holding:
            by_id[key]["phases"].append(_seen(phase, key))
    return list(by_id.values())


def step(run: Path, phase: str, number: int) -> list[Row]:
    """What optimizer step `number` of a phase saw (1 is the first, as in `metrics.jsonl`).

    A row for each run of a document's tokens, in the order of the samples: `sample` (its number in
    the phase), `part` (of the mixture), `folder` (of tokens); `id`, `repo`, `path`, `language`;
    `start` and `end`, which of the document's `tokens` the run holds, and `form`, `plain` or the
    order of its infilling (`PSM`, `SPM`); `revision` (the commit or version), `license` and
    `source` of the document, null where its Documents are gone. Of objectives a row also has
    `objective`; where that reads pairs, a row is a pair of the document, and instead of `start`,
    `end` and `form` it has `text_tokens` and `code_tokens`.

    Raises FirnlineError where the phase or the step is not there.
    """
    found = {trained.config.name: trained for trained in _phases(run)}
    if phase not in found:
        raise FirnlineError(
            f"{run} has no finished phase {phase!r} whose tokens are there",
            mend=f"there are {', '.join(found) or 'none'}",
        )
    given = found[phase]
    config = given.config
    if not 1 <= number <= config.steps:
        raise FirnlineError(
            f"phase {phase} has no step {number:,}", mend=f"give 1 to {config.steps:,}"
        )
    first = config.first_sample(number - 1)
    samples = np.arange(first, first + config.batch_at(number - 1))
    if given.record.objective is None:
        rows = _text(given, samples.tolist())
    else:
        rows = _of_objectives(given, samples)
    for folder in dict.fromkeys(row["folder"] for row in rows):
        here = [row for row in rows if row["folder"] == folder]
        known = _documents(run, folder, pa.array([row["id"] for row in here], pa.binary(16)))
        for row in here:
            row |= known[row["id"]]
    return [_plain({**row, "folder": row["folder"].name}) for row in rows]


def _text(given: PhaseInputs, samples: list[int]) -> list[Row]:
    """The runs of tokens that samples hold."""
    config, rows = given.config, []
    for sample in samples:
        part, own = given.samples.find(sample)
        left = config.sequence_length
        if given.record.objective is None:
            # The last sample is cut where the phase's tokens end; a sample has one token more.
            left = config.tokens - sample * config.sequence_length + 1
        for piece in part.samples.documents(own):
            length = min(piece.end - piece.start, left)
            if length > 0:
                where: Row = {"sample": sample, "part": part.name, "folder": part.samples.folder}
                rows.append({**where, **piece._asdict(), "end": piece.start + length})
            left -= length
    return rows


def _of_objectives(given: PhaseInputs, samples: npt.NDArray[np.int64]) -> list[Row]:
    """What samples hold for the objective that each is of: runs of tokens, or pairs."""
    rows: list[Row] = []
    assert given.record.objective is not None
    for sample, name in zip(samples.tolist(), given.objectives_of(samples), strict=True):
        one = given.record.objective.used[name]
        if not isinstance(one, PairConfig):
            rows += [{**row, "objective": name} for row in _text(given, [sample])]
            continue
        ((source, folder),) = given.tokens.items()
        about = {"sample": sample, "objective": name, "part": source, "folder": folder}
        found = given.open_pairs(one).documents(*one.pairs_of(sample, 1))
        keys = pa.array([row["id"] for row in found], pa.binary(16))
        names = {row["id"]: row for row in _rows(folder / "index.parquet", _NAMES, keys)}
        rows += [{**about, **row, **names[row["id"]]} for row in found]
    return rows


def _labels(folder: Path) -> bool:
    """Whether the numbers of a folder are labels beside tokens."""
    return bool(read_settings(folder).get("labels"))


def _documents(run: Path, folder: Path, keys: pa.Array) -> dict[bytes, Row]:
    """What the index of a token folder and the Documents that it was made of say of some."""
    columns = ["id", "language", "tokens", "shard"]
    found = {row.pop("id"): row for row in _rows(folder / "index.parquet", columns, keys)}
    more = ("revision", "license", "source")
    for row in found.values():
        row.update(dict.fromkeys(more))
    shards = _packed_from(run, folder)
    for shard in sorted({row.pop("shard") for row in found.values()}):
        if shard < len(shards):
            for row in _rows(shards[shard], ["id", *more], keys):
                found[row.pop("id")].update(row)
    return found


def _packed_from(run: Path, folder: Path) -> list[Path]:
    """The shards of Documents that a token folder was made of, where they are still there."""
    try:
        wanted = json.loads((folder / "manifest.json").read_text())["inputs"]["documents"]
    except (OSError, ValueError, KeyError):
        return []  # a folder that another tool made
    for stage in dict.fromkeys((*_finished(run), *_finished(folder.parent))):
        if (stage / "data").is_dir() and fingerprint(stage) == wanted:
            return document_shards(stage)
    return []


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


def _phases(run: Path) -> Iterator[PhaseInputs]:
    """The phases of a run, the first trained first, whose inputs are what they were."""
    made = {path.parent for name in _FOLDERS for path in run.glob(f"*/{name}")}
    marks = {fingerprint(folder): folder for folder in made}
    for stage in _finished(run):
        manifest = json.loads((stage / "manifest.json").read_text())
        inputs = manifest.get("inputs", {})
        data = _record(inputs)
        if data is None:
            continue
        folders = dict(marks)
        for source in data.sources.values():
            if source.tokens is not None and source.tokens.expanduser().is_dir():
                folders[fingerprint(source.tokens.expanduser())] = source.tokens.expanduser()
        wanted = {name: inputs[f"{TOKENS}{name}".strip()] for name in data.sources}
        pairs = inputs.get(PAIRS)
        scores = run / "annotate"
        same = "scores" not in inputs or (
            scores.is_dir() and fingerprint(scores) == inputs["scores"]
        )
        if same and {*wanted.values(), *([pairs] if pairs else [])} <= folders.keys():
            yield PhaseInputs(
                config=PhaseConfig.model_validate(manifest["config"]["phase"]),
                record=data,
                run=run,
                tokens={name: folders[mark] for name, mark in wanted.items()},
                labels={},
                pairs=folders.get(pairs),
                trusted=True,
            )


def _record(inputs: dict[str, str]) -> PhaseRecord | None:
    """What a training stage read; None where it read no token folder."""
    if DATA in inputs:
        return PhaseRecord.model_validate_json(inputs[DATA])
    if not {"tokens", "packing", "infilling"} <= inputs.keys():
        return None
    # `firnline train`: one folder, a source without a name.
    infilling = inputs["infilling"]
    return PhaseRecord(
        sources={"": SourceConfig(share=1, max_epochs=math.inf)},
        packing=PackingConfig.model_validate_json(inputs["packing"]),
        infilling=None if infilling == "none" else InfillingConfig.model_validate_json(infilling),
    )


def _seen(given: PhaseInputs, document: bytes) -> Row:
    config = given.config
    numbers = given.numbers_of(document)
    # Steps and samples both grow: the step of a sample is found by bisection, 1 is the first.
    ends = range(1, config.steps + 1)
    steps = sorted({bisect_right(ends, n, key=config.first_sample) + 1 for n in numbers.tolist()})
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
