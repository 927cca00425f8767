"""Reads a run folder into the plain figures that the report shows.

Whatever stage has not run yet is simply absent: the report of half a run is half a report.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from firnline.documents import (
    document_shards,
    hash_share,
    ledger_shards,
    read_batches,
    read_columns,
)
from firnline.errors import FirnlineError
from firnline.report.phases import PhaseFigures, collect_phases

Stats = dict[str, Any]

EXCERPT_CHARACTERS = 4_000
_SAMPLE_SHARDS = 8
_PROGRAMS = 12


@dataclass
class Amount:
    """Files, bytes and tokens of one step of the funnel; None where it is not known."""

    files: int
    size: int | None = None
    tokens: int | None = None
    estimated: bool = False
    """Whether the tokens are bytes divided by the bytes for each token of the training split."""


@dataclass
class Sample:
    """One document shown in the browser of kept and dropped files."""

    id: str
    repo: str
    path: str
    language: str
    size: int
    rule: str | None
    detail: str | None
    score: float | None
    content: str


@dataclass
class RunFigures:
    """Everything the report shows, by part."""

    recipe: dict[str, Any] = field(default_factory=dict)
    stats: dict[str, Stats] = field(default_factory=dict)
    funnel: list[tuple[str, Amount]] = field(default_factory=list)
    rules: dict[str, int] = field(default_factory=dict)
    mixes: list[tuple[str, dict[str, float]]] = field(default_factory=list)
    phases: dict[str, PhaseFigures] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    programs: list[dict[str, Any]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


def collect(run: Path, *, kept: int = 40, dropped_by_rule: int = 8) -> RunFigures:
    """The figures of a run folder; raises FirnlineError where it holds no finished stage."""
    folders = sorted(p.parent for p in run.glob("[!.]*/manifest.json"))
    if not folders:
        raise FirnlineError(f"no finished stage in {run}", mend="give the --out of a firnline run")
    figures = RunFigures()
    for folder in folders:
        figures.stats[folder.name] = json.loads((folder / "stats.json").read_text())
    if (run / "recipe.yaml").is_file():
        figures.recipe = yaml.safe_load((run / "recipe.yaml").read_text()) or {}
    figures.rules = _rules(run)
    figures.funnel = _funnel(run, figures)
    figures.phases = collect_phases(run, figures.recipe)
    figures.mixes = _mixes(run, figures)
    figures.results = _results(run, figures)
    figures.programs = _programs(run, figures)
    figures.samples = _samples(run, kept, dropped_by_rule)
    return figures


def phases(figures: RunFigures) -> dict[str, dict[str, Any]]:
    """The recipe's phases in order."""
    found = figures.recipe.get("phases")
    return found if isinstance(found, dict) else {}


def _rules(run: Path) -> dict[str, int]:
    """Documents that each rule of curation dropped, most first."""
    counts: Counter[str] = Counter()
    for shard in ledger_shards(run / "curate"):
        for batch in read_batches(shard, ["rule"], rows=65536):
            for row in pc.value_counts(batch["rule"]).to_pylist():
                if row["values"] is not None:
                    counts[row["values"]] += row["counts"]
    return dict(counts.most_common())


def _sizes_by_rule(run: Path) -> dict[str | None, Amount]:
    """Files and bytes that met each rule (None: kept), joined from ledger and documents."""
    found: dict[str | None, Amount] = {}
    if not ledger_shards(run / "curate"):
        return found
    for documents, ledger in zip(
        document_shards(run / "ingest"), ledger_shards(run / "curate"), strict=True
    ):
        sizes = read_columns([documents], ["size"])["size"].combine_chunks()
        rules = pa.concat_arrays(
            [batch["rule"].cast(pa.string()) for batch in read_batches(ledger, ["rule"])]
            or [pa.array([], pa.string())]
        )
        table = pa.table({"rule": rules, "size": sizes}).group_by("rule")
        for row in table.aggregate([("size", "sum"), ("size", "count")]).to_pylist():
            amount = found.setdefault(row["rule"], Amount(0, 0))
            amount.files += row["size_count"]
            amount.size = (amount.size or 0) + (row["size_sum"] or 0)
    return found


_DUPLICATES = ("exact_duplicate", "near_duplicate")
_CONTAMINATED = "contaminated"


def _funnel(run: Path, figures: RunFigures) -> list[tuple[str, Amount]]:
    """From files seen to each phase: what is left after each step."""
    steps: list[tuple[str, Amount]] = []
    if ingest := figures.stats.get("ingest"):
        steps.append(("files seen", Amount(ingest["files"])))
        steps.append(("code read", Amount(ingest["documents"], ingest["bytes"])))
    by_rule = _sizes_by_rule(run)
    if by_rule:
        files = sum(amount.files for amount in by_rule.values())
        size = sum(amount.size or 0 for amount in by_rule.values())
        named = {"after the filters": None, "not contaminated": _CONTAMINATED}
        named.update(zip(("no exact copies", "no near copies"), _DUPLICATES, strict=True))
        for label, rule in named.items():
            gone = (
                [by_rule.get(rule)]
                if rule
                else [
                    amount
                    for name, amount in by_rule.items()
                    if name is not None and name not in (*_DUPLICATES, _CONTAMINATED)
                ]
            )
            for amount in gone:
                if amount:
                    files, size = files - amount.files, size - (amount.size or 0)
            tokens = None
            steps.append((label, Amount(files, size, tokens)))
    if packed := figures.stats.get("pack-corpus"):
        for _, amount in steps:
            if amount.size is not None:
                amount.tokens = round(amount.size * packed["tokens"] / max(packed["bytes"], 1))
                amount.estimated = True
        steps.append(("training split", _packed(packed)))
    if made := figures.stats.get("synthesize"):
        steps.append(("synthetic documents", Amount(made["documents"], made["bytes"])))
    if packed := figures.stats.get("pack-synthetic"):
        steps.append(("synthetic, curated", _packed(packed)))
    for name, phase in phases(figures).items():
        if packed := figures.stats.get(f"pack-{name}"):
            # A mixture has other sources beside what is selected for it.
            label = f"phase {name}, selected" if phase.get("mixture") else f"phase {name}"
            steps.append((label, _packed(packed)))
    return steps


def _packed(stats: Stats) -> Amount:
    return Amount(stats["documents"], stats["bytes"], stats["tokens"])


def _mixes(run: Path, figures: RunFigures) -> list[tuple[str, dict[str, float]]]:
    """Language shares: of bytes as read, of tokens for what phases train on; of a mixture those
    that it gives, which are known once its phase is trained."""
    mixes: list[tuple[str, dict[str, float]]] = []
    if ingest := figures.stats.get("ingest"):
        mixes.append(("code read", _language_column(ingest, "bytes")))
    if packed := figures.stats.get("pack-corpus"):
        mixes.append(("training split", _language_column(packed, "tokens")))
    for name, phase in phases(figures).items():
        if phase.get("mixture"):
            trained = figures.phases.get(name)
            if trained and (mix := trained.languages):
                mixes.append((f"phase {name}", mix))
        elif packed := figures.stats.get(f"pack-{name}"):
            mixes.append((f"phase {name}", _language_column(packed, "tokens")))
    return mixes


def _language_column(stats: Stats, column: str) -> dict[str, float]:
    return {language: float(row[column]) for language, row in stats["languages"].items()}


def _results(run: Path, figures: RunFigures) -> dict[str, Any]:
    """`results.json` with the models in the recipe's order."""
    path = run / "evaluate" / "results.json"
    if not path.is_file():
        return {}
    results: dict[str, Any] = json.loads(path.read_text())
    order = list(phases(figures))
    models = sorted(
        results.get("models", {}).items(),
        # What phases began with is no phase, and comes first.
        key=lambda item: order.index(item[0]) if item[0] in order else -1,
    )
    return {**results, "models": dict(models)}


def _programs(run: Path, figures: RunFigures) -> list[dict[str, Any]]:
    """Generated programs of the last main phase: those that passed first, then the first ones."""
    path = run / "evaluate" / "samples.jsonl"
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    last = next((name for name in ("final", *reversed(figures.results["models"]))), None)
    mine = [row for row in rows if row["model"] == last] or rows
    return sorted(mine, key=lambda row: not row["passed"])[:_PROGRAMS]


def _samples(run: Path, kept: int, dropped_by_rule: int) -> list[Sample]:
    """A seeded sample of kept and dropped documents, the dropped ones for each rule."""
    ledgers = ledger_shards(run / "curate")
    if not ledgers:
        return []
    documents = document_shards(run / "ingest")
    # A large corpus is sampled from a few of its shards.
    stride = max(1, len(ledgers) // _SAMPLE_SHARDS)
    wanted: dict[str | None, list[tuple[float, int, bytes, str | None]]] = {}
    for number in range(0, len(ledgers), stride):
        for batch in read_batches(ledgers[number], ["id", "rule", "detail"], rows=65536):
            for row in batch.to_pylist():
                share = hash_share(row["id"], "report")
                found = wanted.setdefault(row["rule"], [])
                found.append((share, number, row["id"], row["detail"]))
                most = kept if row["rule"] is None else dropped_by_rule
                if len(found) > 4 * most:
                    found.sort()
                    del found[most:]
    chosen: dict[bytes, tuple[str | None, str | None]] = {}
    shards: set[int] = set()
    for rule, found in wanted.items():
        for _, number, key, detail in sorted(found)[: kept if rule is None else dropped_by_rule]:
            chosen[key] = (rule, detail)
            shards.add(number)
    scores = _scores(run, chosen)
    samples = []
    keys = pa.array(list(chosen), pa.binary(16))
    for number in sorted(shards):
        for row in _documents(documents[number], keys):
            rule, detail = chosen[row["id"]]
            samples.append(
                Sample(
                    id=row["id"].hex(),
                    repo=row["repo"],
                    path=row["path"],
                    language=row["language"],
                    size=row["size"],
                    rule=rule,
                    detail=detail,
                    score=scores.get(row["id"]),
                    content=row["content"][:EXCERPT_CHARACTERS],
                )
            )
    return sorted(samples, key=lambda s: (s.rule is not None, s.rule or "", -(s.score or 0), s.id))


def _documents(shard: Path, keys: pa.Array) -> Iterable[dict[str, Any]]:
    columns = ["id", "repo", "path", "language", "size", "content"]
    for batch in read_batches(shard, columns, rows=1024):
        yield from batch.filter(pc.is_in(batch["id"], keys)).to_pylist()


def _scores(run: Path, chosen: Mapping[bytes, object]) -> dict[bytes, float]:
    keys = pa.array(list(chosen), pa.binary(16))
    found = {}
    for shard in ledger_shards(run / "annotate"):
        for batch in read_batches(shard, ["id", "score"], rows=65536):
            for row in batch.filter(pc.is_in(batch["id"], keys)).to_pylist():
                found[row["id"]] = row["score"]
    return found
