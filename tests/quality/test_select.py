"""Selection against a plain Python one; budgets, ledgers, refusals."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from firnline.documents import document_shards, ledger_shards
from firnline.errors import FirnlineError
from firnline.quality.budgets import Supply, budgets, document_counts
from firnline.quality.select import SELECT_LEDGER, SelectConfig, run

Write = Callable[..., Path]
LANGUAGES = ("Python", "C", "Rust")
SUPPLIES = st.dictionaries(
    st.sampled_from(LANGUAGES), st.lists(st.integers(1, 60), min_size=1, max_size=30), min_size=1
)


def supplies(tokens: Mapping[str, Sequence[int]]) -> dict[str, Supply]:
    return {name: Supply(np.array(counts, dtype=np.int64)) for name, counts in tokens.items()}


@settings(deadline=None, max_examples=200)
@given(SUPPLIES, st.floats(0.01, 1))
def test_budgets_keep_the_mix(tokens: dict[str, list[int]], part: float) -> None:
    total = sum(map(sum, tokens.values()))
    wanted = max(1, round(part * total))
    supply = supplies(tokens)
    found = budgets(wanted, supply, {})
    assert set(found) == set(tokens)
    assert sum(found.values()) == wanted
    exact = {name: Fraction(wanted * sum(counts), total) for name, counts in tokens.items()}
    left_out = {name for name, budget in found.items() if not budget}
    for name in left_out:  # its first document would more than double its share, or no share
        assert 2 * int(exact[name]) < tokens[name][0] or exact[name] < 1
    if not left_out:
        assert all(abs(found[name] - exact[name]) < 1 for name in tokens)


FEW = st.lists(st.integers(1, 60), min_size=1, max_size=6)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(LANGUAGES), FEW, min_size=1), st.floats(0.01, 1))
def test_no_other_counts_are_much_nearer(tokens: dict[str, list[int]], part: float) -> None:
    wanted = max(1, round(part * sum(map(sum, tokens.values()))))
    supply = supplies(tokens)
    budget = budgets(wanted, supply, {})

    def taken(counts: Mapping[str, int]) -> dict[str, int]:
        return {name: sum(tokens[name][: counts[name]]) for name in tokens}

    def surplus(counts: Mapping[str, int]) -> int:
        return sum(max(0, have - budget[name]) for name, have in taken(counts).items())

    found = document_counts(budget, supply)
    last = max(tokens[name][count - 1] for name, count in found.items() if count)
    assert 0 <= sum(taken(found).values()) - wanted < last
    assert all(budget[name] or not count for name, count in found.items())
    ranges = [range(len(tokens[name]) + 1 if budget[name] else 1) for name in tokens]
    every = [dict(zip(tokens, counts, strict=True)) for counts in itertools.product(*ranges)]
    enough = [counts for counts in every if sum(taken(counts).values()) >= wanted]
    assert surplus(found) - min(map(surplus, enough)) < last
    fitting = {
        name: sum(sum(tokens[name][:n]) <= have for n in range(1, len(tokens[name]) + 1))
        for name, have in budget.items()
    }
    for counts in enough:  # where one document more than what fits is enough, it is the best one
        more = [counts[name] - count for name, count in fitting.items()]
        if sorted(more) == [0] * (len(more) - 1) + [1]:
            assert surplus(found) <= surplus(counts)


def test_many_small_budgets_do_not_lift_the_total() -> None:
    """Twelve languages, documents of one size: every one of them crossing its budget adds 14%."""
    tokens = {"Python": [1900] * 65} | {f"language {n}": [1900] * 6 for n in range(11)}
    supply = supplies(tokens)
    budget = budgets(100_000, supply, {"Python": 0.5})
    counts = document_counts(budget, supply)
    total = 1900 * sum(counts.values())
    assert 100_000 <= total < 101_900
    assert abs(1900 * counts["Python"] - 50_000) <= 1900
    assert all(counts[name] in (2, 3) for name in tokens if name != "Python")


def test_a_set_share_leaves_the_others_in_proportion() -> None:
    tokens = {"Python": [10] * 600, "C": [10] * 300, "Rust": [10] * 100}
    found = budgets(1000, supplies(tokens), {"Python": 0.5})
    assert found == {"Python": 500, "C": 375, "Rust": 125}
    assert budgets(1000, supplies(tokens), {}) == {"Python": 600, "C": 300, "Rust": 100}
    assert budgets(1000, supplies(tokens), {"C": 0}) == {"Python": 857, "C": 0, "Rust": 143}
    thirds = dict.fromkeys(LANGUAGES, 0.33333333333)
    assert sorted(budgets(1000, supplies(tokens), thirds).values()) == [333, 333, 334]


def test_a_language_of_a_tiny_budget_is_left_out_for_the_others() -> None:
    tokens = {"Python": [10] * 100, "C": [10] * 99, "Rust": [100, 5]}
    found = budgets(209, supplies(tokens), {})
    assert found["Rust"] == 0
    assert sum(found.values()) == 209
    tokens["Rust"] = [20, 85]  # a first document of twice the budget or less is taken
    assert budgets(209, supplies(tokens), {})["Rust"] == 10
    assert budgets(1, supplies({"Python": [500], "C": [400]}), {}) == {"Python": 1, "C": 0}


def test_a_short_supply_names_both_numbers() -> None:
    tokens = {"Python": [10] * 60, "C": [10] * 100, "Rust": [10] * 100}
    with pytest.raises(FirnlineError, match=r"a budget of 2,601 tokens .* supply of 2,600"):
        budgets(2601, supplies(tokens), {})
    with pytest.raises(FirnlineError, match=r"Python: a budget of 1,000 tokens .* supply of 600"):
        budgets(2000, supplies(tokens), {"Python": 0.5})
    with pytest.raises(FirnlineError, match=r"Java: a budget of 100 tokens .* supply of 0 "):
        budgets(1000, supplies(tokens), {"Java": 0.1})
    with pytest.raises(FirnlineError, match="2 languages are short") as caught:
        budgets(2500, supplies(tokens), {"Python": 0.3, "Rust": 0.5})
    assert len(caught.value.details) == 2
    with pytest.raises(FirnlineError, match=r"adds up to 0\.5 and there is no other language"):
        budgets(100, supplies({"Python": [600]}), {"Python": 0.5})


def inputs(
    write: Write, tmp_path: Path, documents: Sequence[tuple[str, int, float, str]]
) -> tuple[Path, Path, Path]:
    """(language, tokens, score, split) of each document, as documents, tokens and scores."""
    rows = [(language, f"document {n}\n") for n, (language, _, _, _) in enumerate(documents)]
    folder = write("documents", rows, each=8, splits=[split for *_, split in documents])
    ids = [key for path in document_shards(folder) for key in pq.read_table(path)["id"].to_pylist()]
    trained = [n for n, row in enumerate(documents) if row[3] == "train"]
    index = pa.table(
        {
            "id": pa.array([ids[n] for n in reversed(trained)], pa.binary(16)),
            "tokens": pa.array([documents[n][1] for n in reversed(trained)], pa.int32()),
            "language": [documents[n][0] for n in reversed(trained)],
        }
    )
    tokens, scores = tmp_path / "tokens", tmp_path / "scores"
    tokens.mkdir(exist_ok=True)
    (scores / "ledger").mkdir(parents=True, exist_ok=True)
    pq.write_table(index, tokens / "index.parquet")
    ledger = {"id": pa.array(ids, pa.binary(16)), "score": pa.array([row[2] for row in documents])}
    ledger["score"] = ledger["score"].cast(pa.float32())
    pq.write_table(pa.table(ledger), scores / "ledger" / "shard-00000.parquet")
    return folder, tokens, scores


def sample(seed: int = 5) -> list[tuple[str, int, float, str]]:
    generator = np.random.default_rng(seed)
    return [
        (
            LANGUAGES[min(int(generator.integers(0, 5)), 2)],
            int(generator.integers(5, 200)),
            float(generator.integers(0, 12)) / 12,  # many ties
            "heldout" if generator.random() < 0.1 else "train",
        )
        for _ in range(60)
    ]


def read(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(documents, ledger rows) of a selection."""
    data = [row for path in document_shards(folder) for row in pq.read_table(path).to_pylist()]
    rows = [row for path in ledger_shards(folder) for row in pq.read_table(path).to_pylist()]
    return data, rows


@pytest.mark.parametrize("seed", range(4))
def test_the_selection_is_the_one_of_a_plain_loop(
    write_documents: Write, tmp_path: Path, seed: int
) -> None:
    documents = sample(seed)
    folder, tokens, scores = inputs(write_documents, tmp_path, documents)
    result = run(SelectConfig(tokens=1500), folder, tokens, scores, tmp_path / "out", workers=1)
    data, ledger = read(result.folder)
    ids = [row["id"] for row in ledger]
    wanted = set()
    for language, stats in result.stats["languages"].items():
        rows = [
            (-np.float32(score), ids[n], count)
            for n, (name, count, score, split) in enumerate(documents)
            if name == language and split == "train"
        ]
        assert stats["supply_tokens"] == sum(count for *_, count in rows)
        # The best first, and no document left out for a worse one.
        best = sorted(rows)[: stats["documents"]]
        assert stats["tokens"] == sum(count for *_, count in best)
        assert stats["threshold"] == -best[-1][0]
        wanted.update(key for _, key, _ in best)
    assert {row["id"] for row in data} == wanted
    assert result.stats["tokens"] == sum(row["tokens"] for row in data) >= 1500
    assert result.stats["documents"] == len(data) == len(wanted)
    number = {key: n for n, key in enumerate(ids)}
    for row in data:
        _, count, score, _ = documents[number[row["id"]]]
        assert (row["tokens"], row["score"]) == (count, np.float32(score))
        assert row["content"] == f"document {number[row['id']]}\n"


def test_the_ledger_explains_every_document(write_documents: Write, tmp_path: Path) -> None:
    documents = sample()
    folder, tokens, scores = inputs(write_documents, tmp_path, documents)
    index = pq.read_table(tokens / "index.parquet")
    dropped = index["id"][0].as_py()
    pq.write_table(index.slice(1), tokens / "index.parquet")
    result = run(SelectConfig(tokens=900), folder, tokens, scores, tmp_path / "out", workers=1)
    _, ledger = read(result.folder)
    names = [path.name for path in document_shards(folder)]
    assert [path.name for path in ledger_shards(result.folder)] == names
    assert [path.name for path in document_shards(result.folder)] == names
    schema = pq.read_schema(ledger_shards(result.folder)[0])
    assert schema.names == SELECT_LEDGER.names
    given_ids = [key for p in document_shards(folder) for key in pq.read_table(p)["id"].to_pylist()]
    assert [row["id"] for row in ledger] == given_ids
    for row, (language, count, score, split) in zip(ledger, documents, strict=True):
        threshold = result.stats["languages"][language]["threshold"]
        assert row["kept"] == (row["rule"] is None)
        assert row["score"] == np.float32(score)
        if split == "heldout":
            assert row["rule"] == "heldout"
            assert row["tokens"] is None
        elif row["id"] == dropped:
            assert (row["rule"], row["tokens"]) == ("not_tokenized", None)
        elif row["kept"]:
            assert row["score"] >= threshold
            assert row["tokens"] == count
        else:
            assert row["rule"] == "below_budget"
            assert row["score"] <= threshold
            assert row["detail"] == f"the share of {language} was filled at score {threshold:.6f}"


def test_a_random_order_is_seeded_and_needs_no_scores(
    write_documents: Write, tmp_path: Path
) -> None:
    folder, tokens, _ = inputs(write_documents, tmp_path, sample())

    def chosen(seed: int, name: str) -> set[bytes]:
        config = SelectConfig(tokens=1500, order="random", seed=seed)
        data, _ = read(run(config, folder, tokens, None, tmp_path / name, workers=1).folder)
        assert {row["score"] for row in data} == {None}
        return {row["id"] for row in data}

    assert chosen(1, "a") == chosen(1, "b") != chosen(2, "c")


def test_the_same_bytes_for_any_number_of_workers(
    write_documents: Write,
    folder_bytes: Callable[[Path], dict[str, bytes]],
    tmp_path: Path,
) -> None:
    folder, tokens, scores = inputs(write_documents, tmp_path, sample())
    config = SelectConfig(tokens="1.5K", language_share={"Python": 0.5})
    one = run(config, folder, tokens, scores, tmp_path / "one", workers=1)
    two = run(config, folder, tokens, scores, tmp_path / "two", workers=2)
    assert folder_bytes(one.folder) == folder_bytes(two.folder)
    again = run(  # a selection can be selected from
        SelectConfig(tokens=100), one.folder, tokens, scores, tmp_path / "again", workers=1
    )
    schema = pq.read_schema(document_shards(again.folder)[0])
    assert schema.names == pq.read_schema(document_shards(one.folder)[0]).names


def test_shards_without_documents_are_selected_from(write_documents: Write, tmp_path: Path) -> None:
    folder, tokens, scores = inputs(write_documents, tmp_path, sample())
    empty = pq.read_table(folder / "data" / "shard-00000.parquet").slice(0, 0)
    pq.write_table(empty, folder / "data" / "shard-00100.parquet")
    result = run(SelectConfig(tokens=900), folder, tokens, scores, tmp_path / "out", workers=1)
    last = document_shards(result.folder)[-1]
    assert (last.name, pq.read_table(last).num_rows) == ("shard-00100.parquet", 0)


def test_mistakes_are_one_line(write_documents: Write, tmp_path: Path) -> None:
    folder, tokens, scores = inputs(write_documents, tmp_path, sample())
    out = tmp_path / "out"
    config = SelectConfig(tokens=900)
    with pytest.raises(FirnlineError, match="order: score needs an annotate folder"):
        run(config, folder, tokens, None, out)
    with pytest.raises(FirnlineError, match="order: random takes no scores"):
        run(SelectConfig(tokens=9, order="random"), folder, tokens, scores, out)
    with pytest.raises(FirnlineError, match="is not a token folder"):
        run(config, folder, scores, scores, out)
    with pytest.raises(FirnlineError, match="is not an annotate folder"):
        run(config, folder, tokens, tokens, out)
    with pytest.raises(FirnlineError, match=r"a budget of 9,000,000,000 tokens is above"):
        run(SelectConfig(tokens="9B"), folder, tokens, scores, out)
    other = write_documents("other", [("C", "int x;\n")])
    with pytest.raises(FirnlineError, match="holds none of the 1 documents"):
        run(config, other, tokens, scores, out)
    path = scores / "ledger" / "shard-00000.parquet"
    pq.write_table(pq.read_table(path).slice(20), path)
    with pytest.raises(FirnlineError, match=r"has no score for \d+ of \d+ documents"):
        run(config, folder, tokens, scores, out)
    (tokens / "index.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(FirnlineError, match=r"cannot read .*index\.parquet") as caught:
        run(config, folder, tokens, scores, out)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tokens": 0},
        {"tokens": "many"},
        {"tokens": 10, "language_share": {"Klingon": 0.5}},
        {"tokens": 10, "language_share": {"C": 1.5}},
        {"tokens": 10, "language_share": {"C": 0.6, "Python": 0.6}},
        {"tokens": 10, "order": "best"},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SelectConfig(**wrong)
