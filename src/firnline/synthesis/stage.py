"""Synthesis: a provider's generations become Documents (Arctic-SnowCoder, section 2.4).

OSS-Instruct adapted to pretraining: each document is whole, and inspired by a seed document of
the corpus. Python documents must run to the end inside the sandbox.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from firnline.documents import (
    DOCUMENT_SCHEMA,
    LEDGER_SCHEMA,
    TableWriter,
    content_hash,
    document_id,
    document_shards,
    read_columns,
)
from firnline.progress import say
from firnline.sandbox.programs import Limits, available, run_programs
from firnline.stage import StageResult, Stats, Workspace, run_stage
from firnline.synthesis.providers import Generation, Provider, RecordedProvider

SYNTHESIS_LEDGER = pa.schema(
    [
        *LEDGER_SCHEMA,
        ("path", pa.string()),
        ("subject", pa.string()),
        ("seed_repo", pa.string()),
        ("seed_path", pa.string()),
        ("seed", pa.binary(16)),
    ]
)


class SynthesisConfig(BaseModel):
    """Where synthetic documents come from and what they must pass."""

    model_config = ConfigDict(extra="forbid")
    provider: Literal["recorded"] = "recorded"
    """`recorded`: documents generated earlier, from `folder` or from the package."""
    folder: Path | None = None
    """Folder of a recording; null is the one that ships with the package."""
    seed_repo: str = "cpython"
    """Repository of the seeds named in the recording."""
    run_python: bool = True
    """Drop Python documents that do not run to exit status 0 in the sandbox."""
    timeout_seconds: float = Field(default=10.0, gt=0)
    """Wall time for each program."""
    license: str | None = "Apache-2.0"
    """SPDX license of the documents."""

    def make(self) -> Provider:
        """The provider this config names."""
        return RecordedProvider(self.folder, self.seed_repo)


def run(
    config: SynthesisConfig, documents: Path, out: Path, *, workers: int | None = None
) -> StageResult:
    """Writes the provider's documents; `documents` is the corpus that holds the seeds.

    The ledger's `seed` is the id of the seed document where the corpus has it. Rules: `empty`,
    `does_not_run` (the detail says how it ended). Without bubblewrap nothing is run, and the
    statistics say so.
    """
    provider = config.make()

    def body(workspace: Workspace) -> Stats:
        made = list(provider.generations())
        rules, skipped = _verdicts(config, made, workspace.workers)
        seeds = _seed_ids(documents, config.seed_repo)
        _write(workspace.folder, provider, config.license, made, rules, seeds)
        return _stats(made, rules, seeds, skipped)

    inputs: dict[str, Path | str] = {"provider": provider.digest(), "documents": documents}
    return run_stage("synthesize", config, inputs, out, body, room="synthesis", workers=workers)


def _verdicts(
    config: SynthesisConfig, made: list[Generation], workers: int | None
) -> tuple[list[tuple[str, str] | None], str | None]:
    """(rule, detail) or None for each generation, and why programs were not run, if so."""
    rules: list[tuple[str, str] | None] = [
        None if item.content.strip() else ("empty", "") for item in made
    ]
    python = [n for n, item in enumerate(made) if item.language == "Python" and not rules[n]]
    if not config.run_python:
        return rules, "switched off by run_python"
    if reason := available():
        say(f"synthesize: Python documents are not run: {reason}")
        return rules, reason
    limits = Limits(wall_seconds=config.timeout_seconds, processes=16)  # threads count
    verdicts = run_programs([as_main(made[n].content) for n in python], limits, workers=workers)
    for n, verdict in zip(python, verdicts, strict=True):
        if not verdict.passed:
            last = verdict.output.strip().rpartition("\n")[2]
            rules[n] = ("does_not_run", f"{verdict.kind}: {last}")
    return rules, None


def as_main(content: str) -> str:
    """A program that runs `content` as a script: `if __name__ == "__main__"` and all.

    Leaving by `exit` with status 0 counts as the end.
    """
    return f"""
import sys, types
module = sys.modules["__main__"] = types.ModuleType("__main__")
try:
    exec(compile({content!r}, "document.py", "exec"), module.__dict__)
except SystemExit as end:
    if end.code not in (None, 0):
        raise RuntimeError(f"exit status {{end.code}}") from None
"""


def _seed_ids(documents: Path, repo: str) -> dict[str, bytes]:
    table = read_columns(document_shards(documents), ["id", "repo", "path"])
    rows = zip(*(table[name].to_pylist() for name in ("repo", "path", "id")), strict=True)
    return {path: key for name, path, key in rows if name == repo}


def _write(
    folder: Path,
    provider: Provider,
    spdx: str | None,
    made: list[Generation],
    rules: list[tuple[str, str] | None],
    seeds: dict[str, bytes],
) -> None:
    repo = f"synthetic/{provider.name}"
    revision = provider.digest()
    data: list[dict[str, Any]] = []
    ledger: list[dict[str, Any]] = []
    for item, rule in zip(made, rules, strict=True):
        key = document_id("synthetic", repo, revision, item.path)
        content = item.content.encode()
        ledger.append(
            {
                "id": key,
                "kept": rule is None,
                "rule": rule[0] if rule else None,
                "detail": (rule[1] or None) if rule else None,
                "path": item.path,
                "subject": item.subject,
                "seed_repo": provider.seed_repo,
                "seed_path": item.seed_path,
                "seed": seeds.get(item.seed_path),
            }
        )
        if rule is None:
            data.append(
                {
                    "id": key,
                    "content_hash": content_hash(content),
                    "repo": repo,
                    "path": item.path,
                    "revision": revision,
                    "language": item.language,
                    "license": spdx,
                    "size": len(content),
                    "source": "synthetic",
                    "stars": None,
                    "content": item.content,
                }
            )
    with TableWriter(folder / "data" / "shard-00000.parquet", DOCUMENT_SCHEMA) as writer:
        writer.write(pa.RecordBatch.from_pylist(data, schema=DOCUMENT_SCHEMA))
    with TableWriter(folder / "ledger" / "shard-00000.parquet", SYNTHESIS_LEDGER) as writer:
        writer.write(pa.RecordBatch.from_pylist(ledger, schema=SYNTHESIS_LEDGER))


def _stats(
    made: list[Generation],
    rules: list[tuple[str, str] | None],
    seeds: dict[str, bytes],
    skipped: str | None,
) -> Stats:
    kept = [item for item, rule in zip(made, rules, strict=True) if rule is None]
    languages: dict[str, dict[str, int]] = {}
    for item in kept:
        row = languages.setdefault(item.language, {"documents": 0, "bytes": 0})
        row["documents"] += 1
        row["bytes"] += len(item.content.encode())
    dropped: dict[str, int] = {}
    for rule in rules:
        if rule:
            dropped[rule[0]] = dropped.get(rule[0], 0) + 1
    return {
        "generated": len(made),
        "documents": len(kept),
        "bytes": sum(row["bytes"] for row in languages.values()),
        "languages": languages,
        "subjects": len({item.subject for item in kept}),
        "dropped": dropped,
        "seeds_in_corpus": sum(item.seed_path in seeds for item in kept),
        "programs_not_run": skipped,
    }
