"""The phases of a run as the report shows them: settings, steps, mixture, where each begins."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from firnline.report.track import Track, read_rows, read_track
from firnline.training.objectives.config import turns
from firnline.training.phase import PhaseConfig

Raw = dict[str, Any]
Bools = npt.NDArray[np.bool_]

# What the report shows of a row of `epochs.json`.
_ROW = {"source", "language", "share", "epochs", "tokens"}
_ROW |= {"supply_documents", "supply_tokens", "supply_bytes"}


@dataclass
class PhaseFigures:
    """One phase that has begun to train."""

    name: str
    init: str | None = None
    """The phase or the checkpoint that it starts from."""
    start: float = 0.0
    """Tokens on the common axis before its first step: where its `init` ended."""
    side: bool = False
    """Whether another phase started from the same weights before it, as a control does."""
    finished: bool = True
    track: Track = field(default_factory=Track)
    settings: PhaseConfig | None = None
    """As its manifest records them; None where that is missing or of another version."""
    record: Raw = field(default_factory=dict)
    """`sources`, `packing` and `infilling` as the manifest has them; empty in older runs. Of an
    encoder also `objective`."""
    table: list[Raw] = field(default_factory=list)
    """The phase's rows of `epochs.json`: shares, epochs and what there is."""
    stops: list[Raw] = field(default_factory=list)
    """Rows of `spikes.jsonl` that stopped it."""

    @cached_property
    def objectives(self) -> dict[str, float]:
        """The objectives by name with their shares; none where it is next token."""
        said = self.record.get("objective") or {}
        shares = {name: one["share"] for name, one in said.items() if one}
        return {name: share for name, share in shares.items() if share}

    def steps_of(self, objective: str) -> Bools:
        """Which rows of the track are of an objective: several take turns by steps."""
        steps = self.track.columns["step"].astype(np.int64) - 1
        if len(self.objectives) < 2 or self.settings is None:
            return np.full(len(steps), objective in self.objectives)
        found = turns(self.objectives, self.settings.seed, self.name, steps)
        mine: Bools = np.array(sorted(self.objectives))[found] == objective
        return mine

    @property
    def languages(self) -> dict[str, float]:
        """Tokens seen of each language, over all sources."""
        tokens: Counter[str] = Counter()
        for row in self.table:
            if row["language"] is not None:
                tokens[row["language"]] += row["tokens"]
        return dict(tokens)


def collect_phases(run: Path, recipe: Mapping[str, Any]) -> dict[str, PhaseFigures]:
    """The phases that have a step behind them, in the recipe's order.

    A phase that is not finished is read from where it works. Whatever file is missing, cut short
    or of an older version leaves its part out.
    """
    phases = recipe.get("phases")
    if not isinstance(phases, dict):
        phases = {p.name.removeprefix("train-"): {} for p in sorted(run.glob("train-*"))}
    tables = _read(run / "epochs.json")
    found: dict[str, PhaseFigures] = {}
    used: set[str] = set()
    for name, raw in phases.items():
        one = _phase(run, str(name))
        if not len(one.track):
            continue
        init = raw.get("init") if isinstance(raw, dict) else None
        one.init = str(init) if init else None
        if before := found.get(one.init or ""):
            one.start = before.start + float(before.track.columns["tokens"][-1])
            one.side = before.name in used
            used.add(before.name)
        table = tables.get(one.name)
        one.table = [row for row in table if row.keys() >= _ROW] if table else []
        found[one.name] = one
    return found


def _phase(run: Path, name: str) -> PhaseFigures:
    folder, manifest = run / f"train-{name}", "manifest.json"
    finished = folder.is_dir()
    if not finished:
        folder, manifest = run / f".train-{name}.partial", "intended.json"
    said = _read(folder / manifest)
    config = said.get("config", {})
    rows = read_rows(folder / "spikes.jsonl")
    return PhaseFigures(
        name,
        finished=finished,
        track=read_track(folder / "metrics.jsonl"),
        settings=_settings(config.get("phase", config)),
        record=_record(said.get("inputs", {}).get("data")),
        stops=[row for row in rows if row.get("action") == "stop"],
    )


def _settings(config: Mapping[str, Any]) -> PhaseConfig | None:
    """What is known of the settings; older manifests have other keys beside them."""
    known = {key: config[key] for key in PhaseConfig.model_fields if key in config}
    try:
        return PhaseConfig.model_validate(known)
    except ValidationError:
        return None


def _record(text: object) -> Raw:
    try:
        record = json.loads(text) if isinstance(text, str) else {}
    except ValueError:  # older manifests have a fingerprint there
        return {}
    whole = isinstance(record, dict) and record.keys() >= {"sources", "packing", "infilling"}
    return record if whole else {}


def _read(path: Path) -> Raw:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
