"""The evaluate stage: models against benchmarks and held-out documents, with intervals."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from firnline.benchmarks.problem import Benchmark, Problem
from firnline.benchmarks.problems import load as load_benchmark
from firnline.documents import atomic_path, write_json
from firnline.errors import FirnlineError
from firnline.evaluation import heldout, intervals
from firnline.evaluation.tokenizer import Tokenizer
from firnline.progress import say
from firnline.sandbox import programs
from firnline.stage import StageResult, Workspace, run_stage

if TYPE_CHECKING:
    from firnline.model.llama import Llama

# What imports torch is imported where it is used, so that a recipe can be read without it.

Scores = dict[str, Any]
_NAME = re.compile(r"\w[\w.+-]*")
NOT_EXECUTABLE = "its tests cannot be run in the sandbox"
NEEDS_INFILLING = "its prompts have a suffix, and decoding goes from left to right"


class EvaluateConfig(BaseModel):
    """What is measured, on how much, and within which limits."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    seed: int = 0
    """Seed of the choice of held-out documents and of the bootstrap."""
    benchmarks: tuple[str, ...] = ("basics",)
    """Benchmarks: `basics`, `NAME=PATH`, or a path to a file of any known format."""
    heldout_tokens_per_language: int = Field(default=10_000, ge=0)
    """Held-out tokens evaluated of each language, rounded up to a whole document; 0: none."""
    heldout_document_bytes: int = Field(default=4096, ge=64)
    """Bytes evaluated of a held-out document, from its beginning."""
    pass_at_1: bool = True
    """Whether to generate solutions and to run them in the sandbox."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Longest completion, in tokens; at most half of the model's context."""
    timeout_seconds: int = Field(default=5, ge=1)
    """Processor time of a generated program; three times as much by the wall clock.

    HumanEval+, EvoEval and their like also run the reference on every input: give them 30.
    """
    memory_mib: int = Field(default=512, ge=64)
    """Memory of a generated program."""
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs of models, (A, B): the results give A - B with an interval."""


@dataclass(frozen=True)
class _Inputs:
    config: EvaluateConfig
    benchmarks: Sequence[Benchmark]
    documents: Mapping[str, Sequence[str]]
    tokenizer: Tokenizer
    samples: Path
    execute: bool
    workers: int | None


def run(
    config: EvaluateConfig,
    models: Mapping[str, Path],
    documents: Path,
    tokenizer: Tokenizer,
    out: Path,
    *,
    tokenizer_folder: Path,
    workers: int | None = None,
) -> StageResult:
    """Evaluates checkpoints, each by its name, and writes `results.json` and `samples.jsonl`.

    `documents` are curated Documents with a `split`. `tokenizer_folder` is what `tokenizer` was
    read from. `workers` batches or programs run at a time (default: cores). A model that is
    finished is not evaluated again after a kill. Where programs cannot be run, says how to mend
    that and goes on without pass@1. Raises FirnlineError for a mistake in the config or an input.
    """
    benchmarks = [load_benchmark(spec) for spec in config.benchmarks]
    _check(config, models, benchmarks)
    inputs: dict[str, Path | str] = {"documents": documents, "tokenizer": tokenizer_folder}
    inputs |= {f"model {name}": path for name, path in models.items()}
    inputs |= {f"benchmark {benchmark.name}": benchmark.digest for benchmark in benchmarks}
    # A result without pass@1 must not stand once the sandbox works.
    skipped = programs.available() if config.pass_at_1 else None
    inputs["sandbox"] = skipped or "available"
    if skipped:
        say(f"evaluate: pass@1 is left out: {skipped}")

    def body(workspace: Workspace) -> dict[str, Any]:
        chosen = heldout.choose(
            documents,
            config.heldout_tokens_per_language,
            config.heldout_document_bytes,
            config.seed,
        )
        samples = workspace.folder / "parts" / "samples"
        samples.mkdir(parents=True, exist_ok=True)
        given = _Inputs(
            config=config,
            benchmarks=benchmarks,
            documents=chosen,
            tokenizer=tokenizer,
            samples=samples,
            execute=config.pass_at_1 and not skipped,
            workers=workers,
        )
        items = {name: (given, name, path) for name, path in models.items()}
        scores = workspace.map("models", _evaluate, items, unit="models")
        results = _results(config, scores)
        if skipped:
            results["pass_at_1_skipped"] = skipped
        write_json(workspace.folder / "results.json", results)
        with atomic_path(workspace.folder / "samples.jsonl") as temporary:
            parts = [(samples / f"{name}.jsonl").read_bytes() for name in models]
            temporary.write_bytes(b"".join(parts))
        return _stats(benchmarks, scores)

    # One model after the other; the batches of each share the cores.
    return run_stage("evaluate", config, inputs, out, body, room="evaluation", workers=1)


def _check(
    config: EvaluateConfig, models: Mapping[str, Path], benchmarks: Sequence[Benchmark]
) -> None:
    mistakes = [
        f"compare names {name!r}, which is no model"
        for pair in config.compare
        for name in pair
        if name not in models
    ]
    names = [benchmark.name for benchmark in benchmarks]
    mistakes += [
        f"benchmarks has {name!r} {names.count(name)} times; write NAME=PATH to tell them apart"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    mistakes += [
        f"model name {name!r} cannot be a file name" for name in models if not _NAME.fullmatch(name)
    ]
    if not models:
        mistakes.append("there is no model to evaluate")
    if mistakes:
        more = tuple(mistakes) if len(mistakes) > 1 else ()
        what = mistakes[0] if not more else f"the evaluate config has {len(more)} mistakes"
        known = ", ".join(models) or "none"
        raise FirnlineError(what, mend=f"models: {known}", details=more)


def _evaluate(item: tuple[_Inputs, str, Path]) -> Scores:
    """Scores of one model, unit by unit, so that models can be compared; writes its samples."""
    from firnline.evaluation.losses import solution_losses, text_losses
    from firnline.model import checkpoint

    given, name, path = item
    model = checkpoint.load(path)
    model.eval()
    if given.tokenizer.vocabulary_size > model.config.vocabulary_size:
        raise FirnlineError(
            f"{path} has {model.config.vocabulary_size} tokens,"
            f" the tokenizer {given.tokenizer.vocabulary_size}",
            mend="give the tokenizer that the model was trained with",
        )
    scores: Scores = {"benchmarks": {}, "heldout": {}, "passed": {}}
    lines: list[str] = []
    for benchmark in given.benchmarks:
        losses = solution_losses(model, given.tokenizer, benchmark.problems, given.workers)
        scores["benchmarks"][benchmark.name] = [loss.bits_per_byte for loss in losses]
        if given.execute and not _not_executed(benchmark):
            rows = _sample(given, model, benchmark)
            scores["passed"][benchmark.name] = [row["passed"] for row in rows]
            lines += [json.dumps({"model": name, **row}) + "\n" for row in rows]
    limit = given.config.heldout_tokens_per_language
    kept = [
        (language, text)
        for language, texts in given.documents.items()
        for text in _up_to(given.tokenizer, texts, limit)
    ]
    losses = text_losses(model, given.tokenizer, [text for _, text in kept], given.workers)
    for (language, _), loss in zip(kept, losses, strict=True):
        row = [loss.nats, loss.tokens, loss.bytes]
        scores["heldout"].setdefault(language, []).append(row)
    with atomic_path(given.samples / f"{name}.jsonl") as temporary:
        temporary.write_text("".join(lines))
    return scores


def _not_executed(benchmark: Benchmark) -> str | None:
    """Why there is no pass@1 for a benchmark."""
    if not benchmark.executable:
        return NOT_EXECUTABLE
    if any(problem.suffix for problem in benchmark.problems):
        return NEEDS_INFILLING
    return None


def _sample(given: _Inputs, model: Llama, benchmark: Benchmark) -> list[dict[str, Any]]:
    """One greedy completion of each problem, with the verdict on its program."""
    from firnline.evaluation.generation import generate, stops_for

    config = given.config
    groups: dict[tuple[str, ...], list[Problem]] = {}
    for problem in benchmark.problems:
        groups.setdefault(stops_for(problem), []).append(problem)
    completions: dict[str, str] = {}
    for stop, problems in groups.items():
        prompts = [problem.prompt for problem in problems]
        texts = generate(
            model,
            given.tokenizer,
            prompts,
            max_new_tokens=config.max_new_tokens,
            stop=stop,
            workers=given.workers,
        )
        completions |= zip((problem.task_id for problem in problems), texts, strict=True)
    limits = programs.Limits(
        cpu_seconds=config.timeout_seconds,
        wall_seconds=3.0 * config.timeout_seconds,
        memory_bytes=config.memory_mib << 20,
    )
    verdicts = programs.run_programs(
        [problem.program(completions[problem.task_id]) for problem in benchmark.problems],
        limits,
        given.workers,
    )
    return [
        {
            "benchmark": benchmark.name,
            "task_id": problem.task_id,
            "completion": completions[problem.task_id],
            "verdict": verdict.kind,
            "passed": verdict.passed,
            "output": verdict.output,
        }
        for problem, verdict in zip(benchmark.problems, verdicts, strict=True)
    ]


def _up_to(tokenizer: Tokenizer, texts: Sequence[str], limit: int) -> list[str]:
    """The first texts that hold `limit` tokens together."""
    kept: list[str] = []
    for text in texts:
        if limit <= 0:
            break
        kept.append(text)
        limit -= len(tokenizer.encode(text))
    return kept


def _results(config: EvaluateConfig, scores: Mapping[str, Scores]) -> dict[str, Any]:
    models = {name: _model_results(config.seed, each) for name, each in scores.items()}
    differences = {
        f"{first} - {second}": _differences(config.seed, scores[first], scores[second])
        for first, second in config.compare
    }
    return {"models": models, "differences": differences}


def _model_results(seed: int, scores: Scores) -> dict[str, Any]:
    results: dict[str, Any] = {
        "bits_per_byte": {
            name: intervals.mean(bits, seed) for name, bits in scores["benchmarks"].items()
        },
        "heldout_loss": {},
        "heldout_bits_per_byte": {},
    }
    for language, documents in scores["heldout"].items():
        nats, tokens, sizes = np.array(documents, dtype=float).T
        results["heldout_loss"][language] = intervals.ratio(nats, tokens, seed)
        bits = nats / np.log(2)
        results["heldout_bits_per_byte"][language] = intervals.ratio(bits, sizes, seed)
    if scores["passed"]:
        results["pass_at_1"] = {
            name: intervals.share(sum(passed), len(passed))
            for name, passed in scores["passed"].items()
        }
    return results


def _differences(seed: int, first: Scores, second: Scores) -> dict[str, Any]:
    """What the first model has more than the second, over the same problems and documents."""
    bits = {
        name: intervals.mean_difference(values, second["benchmarks"][name], seed)
        for name, values in first["benchmarks"].items()
    }
    held = {}
    for language, documents in first["heldout"].items():
        nats, _, sizes = np.array(documents, dtype=float).T
        others = np.array(second["heldout"][language], dtype=float)[:, 0]
        held[language] = intervals.ratio_difference(
            nats / np.log(2), others / np.log(2), sizes, seed
        )
    passed = {
        name: intervals.mean_difference(values, second["passed"][name], seed)
        for name, values in first["passed"].items()
    }
    found = {"bits_per_byte": bits, "heldout_bits_per_byte": held}
    return {**found, "pass_at_1": passed} if passed else found


def _stats(benchmarks: Sequence[Benchmark], scores: Mapping[str, Scores]) -> dict[str, Any]:
    some = next(iter(scores.values()))
    return {
        "models": list(scores),
        "problems": {benchmark.name: len(benchmark.problems) for benchmark in benchmarks},
        "not_executed": {
            benchmark.name: reason
            for benchmark in benchmarks
            if (reason := _not_executed(benchmark)) is not None
        },
        "heldout_documents": {name: len(rows) for name, rows in some["heldout"].items()},
        "heldout_tokens": {
            name: sum(tokens for _, tokens, _ in rows) for name, rows in some["heldout"].items()
        },
    }
