"""Annotate: trains a quality head on the spot, scores every document, measures alignment.

Arctic-SnowCoder, section 2.3 (the annotator) and section 3.4 (alignment with benchmarks).
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from firnline.benchmarks.problems import Benchmark
from firnline.benchmarks.problems import load as load_benchmark
from firnline.documents import document_shards
from firnline.errors import FirnlineError
from firnline.quality.annotator import Annotator, load
from firnline.quality.leaks import shares_solution
from firnline.quality.sampling import Drawn, draw, read_drawn
from firnline.quality.scoring import EDGES, score_shard
from firnline.stage import StageResult, Stats, Workspace, run_stage

# Random files of the lower half of shares may be trained on; alignment draws from the upper half.
TRAINED, UNSEEN = (0.0, 0.5), (0.5, 1.0)
FEWEST_POSITIVES = 10


class AnnotateConfig(BaseModel):
    """How the annotator is trained and what it is compared with."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    seed: int = Field(default=0, ge=0)
    """Draws the random files and the bootstrap."""
    benchmarks: tuple[str, ...] = ()
    """`basics`, a path, or `name=PATH`: alignment is measured against each."""
    window_tokens: int = Field(default=512, ge=16)
    """Code tokens in a window; a file's score is the mean of its top, middle and bottom."""
    ngrams: tuple[int, ...] = Field(default=(1, 2), min_length=1)
    """Lengths of the n-grams of code tokens that are features."""
    buckets: int = Field(default=1 << 18, ge=256, le=1 << 24)
    """Weights of the head; n-grams are hashed to them. A power of two."""
    negatives_per_positive: int = Field(default=8, ge=1)
    """Random files for each positive of a language, where the corpus has them."""
    max_pairs: int = Field(default=8000, ge=FEWEST_POSITIVES)
    """Pairs of a positive and a random file to train on; bounds memory at about 50 KiB each."""
    inverse_regularization: tuple[float, ...] = Field(default=(0.1, 1.0, 10.0), min_length=1)
    """What to try (scikit-learn's C): the least is taken whose validation ROC-AUC is within 0.001
    of the best."""
    alignment_files: int = Field(default=2000, ge=1)
    """Random files, unseen in training, that benchmark solutions are compared with."""
    bootstrap: int = Field(default=1000, ge=100)
    """Draws behind the 95% interval of a ROC-AUC."""

    @field_validator("ngrams")
    @classmethod
    def _lengths(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 1 or len(set(value)) < len(value):
            raise ValueError("each length is 1 or more and is given once")
        return value

    @field_validator("buckets")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("a power of two")
        return value

    @field_validator("inverse_regularization")
    @classmethod
    def _strengths(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < strength < float("inf") for strength in value):
            raise ValueError("each is above 0")
        return value


def run(
    config: AnnotateConfig,
    documents: Path,
    positives: tuple[Path, ...],
    out: Path,
    *,
    workers: int | None = None,
) -> StageResult:
    """Scores `documents` by likeness to `positives` (folders of Documents).

    Writes `ledger/` (`score`, a probability, and the windows' scores) and `annotator.npz`
    (`firnline.quality.annotator.load`). A positive that holds a whole benchmark solution is left
    out, and so is every document whose `split` is `heldout`. Raises FirnlineError where fewer
    than ten positives are left that have random files of their language beside them.
    """
    if not positives:
        raise FirnlineError(
            "annotate needs examples of good files", mend="give --positives a folder of Documents"
        )
    benchmarks = [load_benchmark(spec) for spec in config.benchmarks]
    names = [benchmark.name for benchmark in benchmarks]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise FirnlineError(
            f"two benchmarks are called {repeated[0]}", mend="name them apart: name=PATH"
        )
    shards = document_shards(documents)
    good_shards = [path for folder in positives for path in document_shards(folder)]
    inputs: dict[str, Path | str] = {"documents": documents}
    inputs |= {f"positives-{number}": folder for number, folder in enumerate(positives)}
    inputs |= {f"benchmark-{item.name}": item.digest for item in benchmarks}

    def body(workspace: Workspace) -> Stats:
        good, refused = _positives(workspace, config, good_shards, benchmarks)
        random = _random_files(workspace, config, shards, benchmarks, good)
        training = _train(workspace, config, good, random.trained)
        scored = _score(workspace, shards)
        aligned = _align(config, load(workspace.folder), benchmarks, random)
        shutil.rmtree(workspace.folder / "samples")
        training["positives_with_a_benchmark_solution"] = refused
        training["languages_without_positives"] = sorted(
            set(scored["languages"]) - set(training["languages"])
        )
        return {**scored, "training": training, "alignment": aligned}

    return run_stage("annotate", config, inputs, out, body, room="quality", workers=workers)


def _positives(
    workspace: Workspace,
    config: AnnotateConfig,
    shards: Sequence[Path],
    benchmarks: Sequence[Benchmark],
) -> tuple[pa.Table, int]:
    """The positives, and how many were refused because they hold a benchmark solution."""
    drawn = draw(shards, f"{config.seed}:positives", lambda _: config.max_pairs)
    table = read_drawn(workspace, "positives", shards, drawn[: config.max_pairs])
    shared = shares_solution(_text(table), benchmarks)
    return table.filter(pa.array(~shared)), int(shared.sum())


def _most(config: AnnotateConfig, good: pa.Table) -> int:
    """How often one file may be paired."""
    return max(1, min(config.negatives_per_positive, config.max_pairs // max(len(good), 1)))


@dataclass(frozen=True)
class _RandomFiles:
    trained: pa.Table
    """Negatives of the training."""
    unseen: pa.Table
    """Files that alignment compares with, and which of them for which question."""
    of_all_languages: list[Drawn]
    of_own_language: dict[str, list[Drawn]]
    """By benchmark."""


def _random_files(
    workspace: Workspace,
    config: AnnotateConfig,
    shards: Sequence[Path],
    benchmarks: Sequence[Benchmark],
    good: pa.Table,
) -> _RandomFiles:
    """Random files to train on, and others, which are no copies of them, to compare with."""
    salt, most = f"{config.seed}:random", _most(config, good)
    languages = Counter(good["language"].to_pylist())
    trained = draw(shards, salt, lambda name: most * languages[name], between=TRAINED)
    size = config.alignment_files if benchmarks else 0
    unseen = draw(shards, salt, lambda _: size, between=UNSEEN)
    of_all = unseen[:size]
    own = {}
    for item in benchmarks:
        spoken = {problem.language for problem in item.problems}
        own[item.name] = [row for row in unseen if row.language in spoken][:size]
    unseen = sorted({*of_all, *(row for rows in own.values() for row in rows)})
    table = read_drawn(workspace, "random", shards, [*trained, *unseen])
    copies = pc.is_in(table["content_hash"], good["content_hash"])
    first, second = (table.slice(0, len(trained)), table.slice(len(trained)))
    first = first.filter(pc.invert(copies.slice(0, len(trained))))
    copies = pc.or_(
        copies.slice(len(trained)), pc.is_in(second["content_hash"], first["content_hash"])
    )
    return _RandomFiles(first, second.filter(pc.invert(copies)), of_all, own)


def _train(
    workspace: Workspace, config: AnnotateConfig, good: pa.Table, random: pa.Table
) -> dict[str, Any]:
    """Trains and saves the head; returns its report."""
    from firnline.quality.training import pair_languages, train  # scikit-learn is slow to import

    languages = Counter(good["language"].to_pylist())
    pairs = pair_languages(
        good["language"].to_pylist(), random["language"].to_pylist(), _most(config, good)
    )
    used = sum(languages[name] for name in pairs)
    if used < FEWEST_POSITIVES:
        raise FirnlineError(
            f"{used} of {len(good)} positives are of a language that the documents have,"
            f" {FEWEST_POSITIVES} are needed",
            mend="give more positives, in the documents' languages",
        )
    head = train(
        _text(good),
        _text(random),
        pairs,
        window_tokens=config.window_tokens,
        ngrams=config.ngrams,
        buckets=config.buckets,
        inverse_regularization=config.inverse_regularization,
    )
    head.annotator.save(workspace.folder, config.model_dump(mode="json"))
    return head.report | {
        "languages": {
            name: {
                "positives": languages[name],
                "negatives": len(set(rows[1].tolist())),
                "pairs": len(rows[0]),
            }
            for name, rows in pairs.items()
        },
        "positives_without_random_files": {
            name: count for name, count in sorted(languages.items()) if name not in pairs
        },
    }


def _score(workspace: Workspace, shards: Sequence[Path]) -> Stats:
    """Scores every shard; returns counts by language and the histogram of scores."""
    work = partial(score_shard, workspace.folder)
    items = {path.stem: path for path in shards}
    sizes = {path.stem: max(path.stat().st_size, 1) / 1e6 for path in shards}
    parts = workspace.map("score", work, items, weights=sizes, unit="MB").values()
    counts: dict[str, NDArray[np.int64]] = {}
    for part in parts:
        for language, row in part["histogram"].items():
            counts[language] = counts.get(language, 0) + np.array(row, dtype=np.int64)
    everything = sum(counts.values(), np.zeros(len(EDGES) - 1, dtype=np.int64))
    return {
        "documents": int(everything.sum()),
        "languages": {name: {"documents": int(row.sum())} for name, row in counts.items()},
        "histogram": {
            "edges": EDGES.round(6).tolist(),
            "counts": {
                "all": everything.tolist(),
                **{name: row.tolist() for name, row in counts.items()},
            },
        },
    }


def _align(
    config: AnnotateConfig,
    annotator: Annotator,
    benchmarks: Sequence[Benchmark],
    random: _RandomFiles,
) -> dict[str, Any]:
    """ROC-AUC of each benchmark's whole programs against random files unseen in training.

    Against files of every language, as in the paper, and against files of the benchmark's own
    language, which is the harder question: the first can be answered by telling languages apart.
    """
    from firnline.quality.alignment import alignment  # scikit-learn is slow to import

    ids = random.unseen["id"].to_pylist()
    scores = dict(zip(ids, annotator.score(_text(random.unseen)).tolist(), strict=True))

    def compare(solutions: NDArray[np.float32], rows: list[Drawn]) -> dict[str, Any] | None:
        found = np.array([scores[row.id] for row in rows if row.id in scores], dtype=np.float32)
        if not len(found):
            return None
        return alignment(solutions, found, config.seed, config.bootstrap)

    result = {}
    for item in benchmarks:
        programs = [p.prompt + p.solution + p.suffix for p in item.problems]
        solutions = annotator.score(pa.array(programs, pa.large_string()))
        result[item.name] = {
            "all_languages": compare(solutions, random.of_all_languages),
            "same_language": compare(solutions, random.of_own_language[item.name]),
        }
    return result


def _text(table: pa.Table) -> pa.Array:
    return pa.concat_arrays([*table["content"].chunks, pa.array([], pa.large_string())])
