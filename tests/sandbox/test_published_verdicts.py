"""Published programs get their published verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from firnline.benchmarks.problems import load
from firnline.sandbox.programs import Limits, available, run_programs

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
reason = available()
pytestmark = [
    pytest.mark.skipif(reason is not None, reason=reason or ""),
    pytest.mark.skipif(
        not DATA.is_dir(), reason=f"needs the public benchmarks and samples in {DATA}"
    ),
]
LIMITS = Limits(cpu_seconds=2, wall_seconds=9.0)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("folder", "prefix", "passed", "total"),
    [("samples", "human-eval_", 3, 6), ("benchmarks/infilling", "", 3, 10)],
)
def test_example_samples(folder: str, prefix: str, passed: int, total: int) -> None:
    """Their READMEs: HumanEval's examples score 0.5, those of infilling 0.3."""
    (problem,) = load(str(DATA / folder / f"{prefix}example_problem.jsonl")).problems
    samples = rows(DATA / folder / f"{prefix}example_samples.jsonl")
    verdicts = run_programs(
        [problem.program(row["completion"]) for row in samples],
        Limits(cpu_seconds=2, wall_seconds=4.0),
        workers=5,
    )
    assert (sum(verdict.passed for verdict in verdicts), len(verdicts)) == (passed, total)


def test_qwen_on_humaneval() -> None:
    """EvalPlus's base verdict of each program: 72 of 164 pass."""
    name = "qwen2.5-coder-1.5b-base-humaneval-v0.1.9.json"
    published = json.loads((DATA / "samples" / name).read_text())["eval"]
    problems = load(str(DATA / "benchmarks" / "HumanEval.jsonl.gz")).problems
    programs = [f"{published[p.task_id][0]['solution']}\n{p.tests}\n" for p in problems]
    ours = [verdict.passed for verdict in run_programs(programs, LIMITS)]
    theirs = [published[p.task_id][0]["base_status"] == "pass" for p in problems]
    assert ours == theirs
    assert sum(ours) == 72


def test_reference_solutions_of_the_packaged_suite_pass() -> None:
    problems = load("basics").problems
    verdicts = run_programs([p.program(p.solution) for p in problems], LIMITS)
    assert [p.task_id for p, v in zip(problems, verdicts, strict=True) if not v.passed] == []
