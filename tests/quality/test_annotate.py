"""The annotate stage: planted quality, what is never trained on, contract, determinism."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from firnline.benchmarks.problems import load as load_benchmark
from firnline.documents import document_shards, ledger_shards
from firnline.errors import FirnlineError
from firnline.quality.annotator import load
from firnline.quality.sampling import draw
from firnline.quality.stage import AnnotateConfig, run
from firnline.quality.training import pair_count, pair_languages, train

Write = Callable[..., Path]
SHARED_WORDS = ["def", "return", "(", ")", ":", "=", "self", "x"]
GOOD = [*SHARED_WORDS, *(f"careful_{n}" for n in range(30))]
RANDOM = [*SHARED_WORDS, *(f"blob_{n}" for n in range(30))]
SMALL: dict[str, Any] = {
    "window_tokens": 32,
    "buckets": 4096,
    "negatives_per_positive": 2,
    "alignment_files": 50,
    "bootstrap": 100,
}


def text(words: Sequence[str], tokens: int, seed: int) -> str:
    """`tokens` of the words at random, a dozen to a line."""
    chosen = random.Random(seed).choices(words, k=tokens)
    return "\n".join(" ".join(chosen[i : i + 12]) for i in range(0, tokens, 12)) + "\n"


def texts(words: Sequence[str], count: int, first: int, tokens: int = 60) -> list[str]:
    return [text(words, tokens, first + n) for n in range(count)]


def head(positives: list[str], negatives: list[str], languages: Sequence[str] = ()) -> Any:
    names = list(languages) or ["Python"]
    pairs = pair_languages(
        [names[n % len(names)] for n in range(len(positives))],
        [names[n % len(names)] for n in range(len(negatives))],
        4,
    )
    return train(
        pa.array(positives),
        pa.array(negatives),
        pairs,
        window_tokens=32,
        ngrams=(1, 2),
        buckets=4096,
        inverse_regularization=(0.1, 1.0, 10.0),
    )


def test_planted_quality_is_found_and_absent_quality_is_not() -> None:
    apart = head(texts(GOOD, 40, 0), texts(RANDOM, 80, 1000))
    assert apart.report["validation_roc_auc"] > 0.99
    unseen = [*texts(GOOD, 50, 2000), *texts(RANDOM, 50, 3000)]
    scores = apart.annotator.score(pa.array(unseen))
    assert roc_auc_score([1] * 50 + [0] * 50, scores) > 0.99

    alike = head(texts(GOOD, 40, 0), texts(GOOD, 80, 1000))
    assert 0.4 < alike.report["validation_roc_auc"] < 0.6
    scores = alike.annotator.score(pa.array(texts(GOOD, 100, 2000)))
    assert 0.35 < roc_auc_score([1] * 50 + [0] * 50, scores) < 0.65


def test_length_is_not_quality() -> None:
    """Long positives and short random files of one distribution cannot be told apart."""
    made = head(texts(GOOD, 40, 0, tokens=200), texts(GOOD, 80, 1000, tokens=20))
    assert 0.4 < made.report["validation_roc_auc"] < 0.6


def test_language_is_not_quality() -> None:
    """Words that only mark the language, as often good as random in it, weigh nothing."""
    marks = ["pythonic", "rusty", "javanese"]
    good = [f"{marks[n % 3]} " * 20 + body for n, body in enumerate(texts(GOOD, 42, 0))]
    bad = [f"{marks[n % 3]} " * 20 + body for n, body in enumerate(texts(RANDOM, 84, 1000))]
    made = head(good, bad, ["Python", "Rust", "Java"]).annotator
    careful, blob, *marked = made.score(
        pa.array(["careful_1 careful_2", "blob_1 blob_2", *(f"{mark} " * 9 for mark in marks)])
    ).tolist()
    assert careful - blob > 0.2
    assert max(marked) - min(marked) < 0.25 * (careful - blob)


@pytest.mark.parametrize(
    ("positives", "negatives", "pairs"), [(3, 100, 24), (3, 10, 10), (10, 3, 10), (100, 2, 16)]
)
def test_no_file_is_repeated_more_than_eight_times(
    positives: int, negatives: int, pairs: int
) -> None:
    assert pair_count(positives, negatives, 8) == pairs
    made = pair_languages(["Python"] * positives, ["C", *["Python"] * negatives], 8)
    assert list(made) == ["Python"]
    good, bad = made["Python"]
    assert len(good) == len(bad) == pairs
    assert np.bincount(good).max() <= 8
    assert np.bincount(bad).max() <= 8
    assert len(set(zip(good.tolist(), bad.tolist(), strict=True))) == pairs
    assert 0 not in bad


def corpus(write: Write, name: str = "corpus") -> Path:
    """90 files, the even ones good: two of three in Python, the others in C, and one INI file."""
    rows = [
        ("C" if n % 3 == 2 else "Python", text(RANDOM if n % 2 else GOOD, 10 + 2 * n, 100 + n))
        for n in range(90)
    ]
    rows[17] = ("INI", "[a]\nb = 1\n")
    rows[18] = ("Python", "")
    splits = ["heldout" if n % 10 == 0 else "train" for n in range(90)]
    return write(name, rows, splits=splits)


def positives(write: Write, extra: Sequence[str] = ()) -> Path:
    rows = [(("Python", "C", "Java")[n % 3], text(GOOD, 90, 7000 + n)) for n in range(36)]
    return write("good", [*rows, *(("Python", content) for content in extra)])


def test_the_ledger_keeps_the_contract_and_good_files_score_higher(
    write_documents: Write, tmp_path: Path
) -> None:
    documents, good = corpus(write_documents), positives(write_documents)
    config = AnnotateConfig(benchmarks=("basics",), **SMALL)
    result = run(config, documents, (good,), tmp_path / "out", workers=1)
    data, ledgers = document_shards(documents), ledger_shards(result.folder)
    assert [path.name for path in ledgers] == [path.name for path in data]
    rows = pa.concat_tables(pq.read_table(path) for path in ledgers)
    table = pa.concat_tables(pq.read_table(path) for path in data)
    assert rows["id"].equals(table["id"])
    assert set(rows["kept"].to_pylist()) == {True}
    scores = rows["score"].to_numpy()
    content = table["content"].combine_chunks()
    assert scores.tolist() == load(result.folder).score(content).tolist()
    assert ((scores >= 0) & (scores <= 1)).all()
    sized = [n for n in range(30, 90) if n % 2 == 0], [n for n in range(30, 90) if n % 2]
    assert min(scores[sized[0]]) > max(scores[sized[1]])
    tokens = [len(re.findall(r"\w+|[^\w\s]", body)) for body in table["content"].to_pylist()]
    for row, count in zip(rows.to_pylist(), tokens, strict=True):
        assert (row["score_top"] is not None) == (count > 32)
        assert (row["score_bottom"] is not None) == (count > 32)
        assert (row["score_middle"] is not None) == (count > 64)
        places = [row[f"score_{p}"] for p in ("top", "middle", "bottom")]
        found = [value for value in places if value is not None]
        if found:
            assert row["score"] == pytest.approx(np.mean(found), rel=1e-6)


def test_the_statistics_say_what_was_trained_and_found(
    write_documents: Write, tmp_path: Path
) -> None:
    documents, good = corpus(write_documents), positives(write_documents)
    result = run(
        AnnotateConfig(benchmarks=("basics",), **SMALL),
        documents,
        (good,),
        tmp_path / "out",
        workers=1,
    )
    stats = result.stats
    training = stats["training"]
    assert training["languages"]["Python"]["positives"] == 12
    assert set(training["languages"]) == {"Python", "C"}
    assert training["positives_without_random_files"] == {"Java": 12}
    assert training["languages_without_positives"] == ["INI"]
    assert stats["documents"] == 90
    counts = stats["histogram"]["counts"]
    assert len(stats["histogram"]["edges"]) == 21
    assert sum(counts["all"]) == 90
    assert sum(counts["C"]) == stats["languages"]["C"]["documents"] == 30 - 1
    for against in ("all_languages", "same_language"):
        aligned = stats["alignment"]["basics"][against]
        interval = aligned["roc_auc"]
        assert 0 <= interval["low"] <= interval["value"] <= interval["high"] <= 1
        assert aligned["solutions"] == len(load_benchmark("basics").problems)
        assert 0 < aligned["random_files"] < 60
        assert len(aligned["roc_curve"]) <= 100


def test_a_benchmark_of_a_language_that_the_corpus_lacks_has_no_own_language_figure(
    write_documents: Write, tmp_path: Path
) -> None:
    documents = write_documents("c", [("C", body) for body in texts(RANDOM, 60, 0)])
    good = write_documents("good", [("C", body) for body in texts(GOOD, 12, 900)])
    config = AnnotateConfig(benchmarks=("basics",), **SMALL)
    stats = run(config, documents, (good,), tmp_path / "out", workers=1).stats
    assert stats["alignment"]["basics"]["same_language"] is None
    assert stats["alignment"]["basics"]["all_languages"]["random_files"] > 10


def test_benchmark_solutions_are_never_positives(write_documents: Write, tmp_path: Path) -> None:
    problems = load_benchmark("basics").problems
    stolen = [f"# mine\n{p.prompt}{p.solution}\n" for p in problems[:5]]
    documents, good = corpus(write_documents), positives(write_documents)
    clean = run(AnnotateConfig(**SMALL), documents, (good,), tmp_path / "a", workers=1)
    good = positives(write_documents, stolen)
    named = AnnotateConfig(benchmarks=("basics",), **SMALL)
    refused = run(named, documents, (good,), tmp_path / "b", workers=1)
    assert refused.stats["training"]["positives_with_a_benchmark_solution"] == 5
    assert refused.stats["training"]["languages"]["Python"]["positives"] == 12
    assert (load(refused.folder).weights == load(clean.folder).weights).all()


def test_held_out_documents_are_never_drawn(write_documents: Write) -> None:
    shards = document_shards(corpus(write_documents))
    drawn = draw(shards, "salt", lambda _: 1000)
    table = pa.concat_tables(pq.read_table(path) for path in shards)
    rows = zip(table["id"].to_pylist(), table["split"].to_pylist(), strict=True)
    assert {row.id for row in drawn} == {key for key, split in rows if split == "train"}
    assert [row.share for row in drawn] == sorted(row.share for row in drawn)
    fewer = draw(shards, "salt", lambda name: {"Python": 3}.get(name, 0))
    assert fewer == [row for row in drawn if row.language == "Python"][:3]
    low = draw(shards, "salt", lambda _: 1000, between=(0.0, 0.5))
    high = draw(shards, "salt", lambda _: 1000, between=(0.5, 1.0))
    assert [*low, *high] == drawn


def test_the_same_bytes_for_any_number_of_workers(
    write_documents: Write,
    folder_bytes: Callable[[Path], dict[str, bytes]],
    tmp_path: Path,
) -> None:
    documents, good = corpus(write_documents), positives(write_documents)
    config = AnnotateConfig(benchmarks=("basics",), **SMALL)
    one = run(config, documents, (good,), tmp_path / "one", workers=1)
    two = run(config, documents, (good,), tmp_path / "two", workers=2)
    assert folder_bytes(one.folder) == folder_bytes(two.folder)
    assert set(folder_bytes(one.folder)) == {
        *(f"ledger/shard-{n:05d}.parquet" for n in range(5)),
        "annotator.npz",
        "manifest.json",
        "stats.json",
    }


def test_a_shard_without_documents_is_scored_too(write_documents: Write, tmp_path: Path) -> None:
    documents, good = corpus(write_documents), positives(write_documents)
    empty = pq.read_table(documents / "data" / "shard-00000.parquet").slice(0, 0)
    pq.write_table(empty, documents / "data" / "shard-00009.parquet")
    result = run(AnnotateConfig(**SMALL), documents, (good,), tmp_path / "out", workers=1)
    assert pq.read_table(result.folder / "ledger" / "shard-00009.parquet").num_rows == 0


def test_mistakes_are_one_line(write_documents: Write, tmp_path: Path) -> None:
    documents = corpus(write_documents)
    config = AnnotateConfig(**SMALL)
    with pytest.raises(FirnlineError, match="needs examples of good files"):
        run(config, documents, (), tmp_path / "out", workers=1)
    java = write_documents("java", [("Java", body) for body in texts(GOOD, 12, 0)])
    with pytest.raises(FirnlineError, match="0 of 12 positives are of a language") as caught:
        run(config, documents, (java,), tmp_path / "out", workers=1)
    assert "\n" not in str(caught.value)
    twice = AnnotateConfig(benchmarks=("basics", "basics"), **SMALL)
    with pytest.raises(FirnlineError, match="two benchmarks are called basics"):
        run(twice, documents, (java,), tmp_path / "out", workers=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"buckets": 1000},
        {"ngrams": (0, 1)},
        {"ngrams": (1, 1)},
        {"inverse_regularization": (0.0,)},
        {"seeds": 1},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AnnotateConfig(**wrong)
