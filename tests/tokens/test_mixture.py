"""Mixtures: exact and even shares, chosen rows, caps; held against counting and plain scans."""

from __future__ import annotations

import json
import shutil
from collections import Counter
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

from firnline.documents import document_shards, read_columns, write_table
from firnline.errors import FirnlineError
from firnline.languages import LANGUAGES
from firnline.tokens import pack
from firnline.tokens.infilling import InfillingConfig
from firnline.tokens.mixture import Mixture, SourceConfig, open_mixture, shares
from firnline.tokens.packing import PackingConfig
from firnline.tokens.rows import Quality, RowFilter, choose
from firnline.tokens.samples import Samples
from firnline.tokens.tokenizer import Tokenizer
from firnline.tokens.turns import Turns, apportion

LENGTH = 64


@pytest.fixture(scope="module")
def folder(corpus: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mixture") / "tokens"
    return pack.run(pack.PackConfig(), corpus, tokenizer_folder, out).folder


@pytest.fixture(scope="module")
def scores(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `annotate` writes: a score for every document, held-out ones too."""
    folder = tmp_path_factory.mktemp("annotate")
    for path in document_shards(corpus):
        ids = read_columns([path], ["id"])["id"]
        score = [int.from_bytes(key[:2]) // 13 / 5041 for key in ids.to_pylist()]  # some ties
        table = pa.table({"id": ids, "score": pa.array(score, pa.float32())})
        write_table(folder / "ledger" / path.name, table)
    return folder


def index_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "index.parquet").to_pylist()
    return rows


def mixture_of(
    folder: Path, sources: dict[str, Any], tokens: int, *, length: int = LENGTH, **given: Any
) -> Mixture:
    made = {name: SourceConfig.model_validate(values) for name, values in sources.items()}
    return open_mixture(
        made,
        dict.fromkeys(made, folder),
        phase="alpha",
        seed=3,
        tokens=tokens,
        sequence_length=length,
        **given,
    )


# --- whose turn it is -------------------------------------------------------------------------

COUNTS = st.lists(st.integers(0, 60), min_size=1, max_size=9).filter(any)


def sources_of(turns: Turns, start: int, count: int) -> list[int]:
    found = [-1] * count
    for turn in turns.of(start, count):
        for place in turn.places.tolist():
            assert found[place] == -1
            found[place] = turn.source
    return found


@settings(max_examples=150, deadline=None)
@given(COUNTS, st.data())
def test_turns_against_counting(counts: list[int], data: st.DataObject) -> None:
    turns, total = Turns(counts), sum(counts)
    order = sources_of(turns, 0, total)
    assert [order.count(k) for k in range(len(counts))] == counts
    own: list[list[int]] = [[] for _ in counts]  # each source's samples, by counting
    for number, source in enumerate(order):
        assert turns.before(number) == [len(numbers) for numbers in own]
        for k, numbers in enumerate(own):
            assert abs(len(numbers) - number * counts[k] / total) < 2
        own[source].append(number)
    for k, numbers in enumerate(own):
        if numbers:
            assert turns.numbers(k, range(len(numbers))) == numbers
    start = data.draw(st.integers(0, total - 1))
    for turn in turns.of(start, data.draw(st.integers(1, total - start))):
        last = turn.first + len(turn.places)
        assert [start + place for place in turn.places] == own[turn.source][turn.first : last]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 10**10), min_size=2, max_size=6),
    st.integers(0, 10**12),
    st.integers(1, 300),
)
def test_turns_of_billions_agree_with_one_another(
    counts: list[int], start: int, count: int
) -> None:
    turns = Turns(counts)
    begin, end = turns.before(start), turns.before(start + count)
    assert sum(begin) == start and sum(end) == start + count
    given = Counter(sources_of(turns, start, count))
    assert [given[k] for k in range(len(counts))] == [
        b - a for a, b in zip(begin, end, strict=True)
    ]
    for turn in turns.of(start, count):
        assert turn.first == begin[turn.source]
        own = range(turn.first, turn.first + len(turn.places))
        assert turns.numbers(turn.source, own) == [start + p for p in turn.places.tolist()]
    assert turns.before(sum(counts)) == counts


@settings(max_examples=100)
@given(st.integers(1, 10**12), st.lists(st.fractions(0, 1), min_size=1, max_size=7).filter(any))
def test_apportionment_is_within_one_of_exact(total: int, parts: list[Fraction]) -> None:
    counts = apportion(total, parts)
    assert sum(counts) == total
    for count, part in zip(counts, parts, strict=True):
        assert abs(count - total * part / sum(parts)) < 1


def test_a_half_takes_turns() -> None:
    assert sources_of(Turns([4, 4]), 0, 8) in ([0, 1] * 4, [1, 0] * 4)


# --- shares -----------------------------------------------------------------------------------


def made(**given: Any) -> dict[str, SourceConfig]:
    return {name: SourceConfig(share=share) for name, share in given.items()}


def test_the_rest_is_what_others_leave() -> None:
    assert shares(made(text="rest", code=0.1)) == {"text": Fraction(9, 10), "code": Fraction(1, 10)}
    assert shares(made(text="rest", code=1)) == {"code": Fraction(1)}
    assert shares(made(text=0, code=1)) == {"code": Fraction(1)}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"text": 0.5, "code": 0.4}, "add up to 0.9, not to 1"),
        ({"text": 0.7, "code": 0.7}, "add up to 1.4"),
        ({"text": "rest", "code": 1.0, "web": 0.5}, "add up to 1.5"),
        ({"text": "rest", "code": "rest"}, "only one share can be the rest, text and code"),
    ],
)
def test_shares_that_do_not_add_up(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        shares(made(**given))


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": 1.5},
        {"share": "most"},
        {"languages": ["Klingon"]},
        {"kinds": ["poetry"]},
        {"sources": ["hearsay"]},
        {"quality": {"above": 0.9, "below": 0.5}},
        {"quality": {"over": 0.9}},
        {"language_share": {"Python": 0.7, "C": 0.7}},
        {"language_share": {"Klingon": 0.7}},
        {"repeat": 5},  # more than max_epochs
        {"max_epochs": 0},
    ],
)
def test_bad_sources(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SourceConfig.model_validate({"share": 1.0, **wrong})


# --- rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "is_wanted"),
    [
        ({}, lambda row: True),
        ({"languages": ("Python", "C")}, lambda row: row["language"] in ("Python", "C")),
        ({"kinds": ("markup",)}, lambda row: LANGUAGES[row["language"]].kind == "markup"),
        ({"sources": ("git",)}, lambda row: False),
        (
            {"kinds": ("programming", "data"), "sources": ("directory",), "languages": ("JSON",)},
            lambda row: row["language"] == "JSON",
        ),
    ],
)
def test_filters_keep_what_a_scan_keeps(folder: Path, wanted: Any, is_wanted: Any) -> None:
    chosen = choose(folder, RowFilter(**wanted))
    rows = index_of(folder)
    assert chosen.keep.tolist() == [is_wanted(row) for row in rows]
    held = [row for row in rows if is_wanted(row)]
    assert sum(one.documents for one in chosen.supply().values()) == len(held)
    assert sum(one.tokens for one in chosen.supply().values()) == sum(r["tokens"] for r in held)
    assert sum(one.bytes for one in chosen.supply().values()) == sum(r["bytes"] for r in held)
    assert chosen.supply().keys() == {row["language"] for row in held}


@pytest.mark.parametrize("within", ["language", "source"])
@pytest.mark.parametrize(("above", "below"), [(0.0, 0.4), (0.4, 0.9), (0.9, 1.0)])
def test_quality_buckets_against_a_plain_ranking(
    folder: Path, scores: Path, within: Any, above: float, below: float
) -> None:
    wanted = RowFilter(
        kinds=("programming",), quality=Quality(above=above, below=below, within=within)
    )
    chosen = choose(folder, wanted, scores).keep
    score = {
        row["id"]: row["score"]
        for path in sorted((scores / "ledger").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    }
    rows = index_of(folder)
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        if LANGUAGES[row["language"]].kind == "programming":
            groups.setdefault(row["language"] if within == "language" else "", []).append(number)
    expected = [False] * len(rows)
    for group in groups.values():
        group.sort(key=lambda number: (score[rows[number]["id"]], number))
        whole, under = sum(rows[number]["tokens"] for number in group), 0
        for number in group:
            expected[number] = above <= under / whole < below
            under += rows[number]["tokens"]
    assert chosen.tolist() == expected
    assert any(expected)


def test_quality_needs_scores_of_the_same_documents(
    folder: Path, scores: Path, tmp_path: Path
) -> None:
    best = RowFilter(quality=Quality(above=0.5))
    with pytest.raises(FirnlineError, match="needs scores"):
        choose(folder, best)
    with pytest.raises(FirnlineError, match="not an annotate folder"):
        choose(folder, best, folder)
    shutil.copytree(scores / "ledger", tmp_path / "ledger")
    first = sorted((tmp_path / "ledger").iterdir())[0]
    pq.write_table(pq.read_table(first).slice(3), first)
    with pytest.raises(FirnlineError, match=r"has no score for [123] of"):
        choose(folder, best, tmp_path)
    for path in sorted((tmp_path / "ledger").iterdir())[1:]:
        path.unlink()
    with pytest.raises(FirnlineError, match="has 1 shards"):
        choose(folder, best, tmp_path)


# --- samples ----------------------------------------------------------------------------------

HALVES = {
    "code": {"share": 0.5, "kinds": ["programming"]},
    "text": {"share": "rest", "kinds": ["prose", "markup"]},
}


def test_one_source_alone_gives_the_folder_s_own_samples(folder: Path) -> None:
    plain = Samples(folder, sequence_length=LENGTH, seed=3, phase="alpha")
    alone = mixture_of(folder, {"corpus": {"share": 1}}, 40 * LENGTH)
    assert np.array_equal(plain.batch(5, 30).ids, alone.batch(5, 30).ids)
    assert alone.epochs(40) == {"corpus": 40 / plain.samples_per_epoch}
    assert alone.documents(7) == plain.documents(7)


def test_shares_are_exact_in_tokens_and_languages_pure(folder: Path) -> None:
    tokens = 333 * LENGTH - 5
    mixture = mixture_of(folder, HALVES, tokens)
    language = {row["id"]: row["language"] for row in index_of(folder)}
    found: Counter[str] = Counter()
    for number in range(333):
        kinds = {LANGUAGES[language[p.id]].kind for p in mixture.documents(number)}
        source = "code" if kinds == {"programming"} else "text"
        assert source == "code" or kinds <= {"prose", "markup"}
        assert mixture.find(number)[0].source == source
        found[source] += 1
    assert sorted(found.values()) == [166, 167]
    assert mixture.epochs(333) == {
        part.name: found[part.name] / part.samples.samples_per_epoch for part in mixture.parts
    }


def test_any_batch_is_what_its_samples_are(folder: Path) -> None:
    mixture = mixture_of(folder, HALVES, 200 * LENGTH)
    singly = np.concatenate([mixture.batch(number, 1).ids for number in range(60)])
    assert np.array_equal(mixture.batch(0, 60).ids, singly)
    assert np.array_equal(mixture.batch(17, 9).ids, singly[17:26])
    again = mixture_of(folder, HALVES, 200 * LENGTH)
    assert np.array_equal(again.batch(50, 10).ids, singly[50:])  # a seek is as good as a run
    far = again.batch(10**10, 4)
    assert far.ids.shape == (4, LENGTH + 1)
    with pytest.raises(ValueError, match="no samples"):
        mixture.batch(-1, 2)


def test_documents_of_masked_batches_come_through(folder: Path) -> None:
    masked = PackingConfig(attention="masked")
    mixture = mixture_of(folder, HALVES, 200 * LENGTH, packing=masked)
    batch = mixture.batch(3, 12)
    assert batch.documents is not None
    for place in range(12):
        pieces = mixture.documents(3 + place)
        expected = np.repeat(np.arange(len(pieces)), [p.end - p.start for p in pieces])
        assert batch.documents[place].tolist() == expected.tolist()


def test_infilled_and_best_fit_samples_come_through(folder: Path, tokenizer_folder: Path) -> None:
    """Sample n of a mixture is its source's own sample, whatever the packing."""
    settings: dict[str, Any] = {
        "packing": PackingConfig(method="best_fit", attention="masked"),
        "infilling": InfillingConfig(rate=0.9),
        "tokenizer": Tokenizer.load(tokenizer_folder),
    }
    mixture = mixture_of(folder, HALVES, 200 * 512, length=512, **settings)
    ids, documents = mixture.batch(40, 20)
    assert documents is not None
    for place in range(20):
        part, own = mixture.find(40 + place)
        expected = part.samples.batch(own, 1)
        assert np.array_equal(ids[place], expected.ids[0])
        assert expected.documents is not None
        assert np.array_equal(documents[place], expected.documents[0])
    forms = {piece.form for number in range(200) for piece in mixture.documents(number)}
    assert {"PSM", "SPM"} & forms


def test_a_language_share_is_exact_and_the_others_keep_theirs(folder: Path) -> None:
    """Arctic-SnowCoder, section 2.4: Python raised to half."""
    sources = {
        "code": {"share": 0.8, "kinds": ["programming"], "language_share": {"Python": 0.5}},
        "text": {"share": 0.2, "kinds": ["prose", "markup"]},
    }
    mixture = mixture_of(
        folder,
        sources,
        1000 * LENGTH,
    )
    assert [part.name for part in mixture.parts] == ["code/Python", "code/others", "text"]
    assert mixture.turns.counts == (400, 400, 200)
    language = {row["id"]: row["language"] for row in index_of(folder)}
    python, others = mixture.parts[:2]
    assert {language[p.id] for n in range(30) for p in python.samples.documents(n)} == {"Python"}
    # Over an epoch every token of the others is seen once: their proportions are the supply's.
    held: Counter[str] = Counter()
    for number in range(others.samples.samples_per_epoch):
        for piece in others.samples.documents(number):
            held[language[piece.id]] += piece.end - piece.start
    assert "Python" not in held
    total = sum(one.tokens for one in others.supply.values())
    for name, one in others.supply.items():
        assert held[name] / sum(held.values()) == pytest.approx(one.tokens / total, abs=0.02)


def test_numbers_of_a_document_are_those_a_scan_finds(folder: Path) -> None:
    mixture = mixture_of(folder, HALVES, 300 * LENGTH)
    held: dict[bytes, list[int]] = {}
    for number in range(300):
        for key in {piece.id for piece in mixture.documents(number)}:
            held.setdefault(key, []).append(number)
    for row in index_of(folder)[::3]:
        assert mixture.numbers_of(row["id"], 300).tolist() == held.get(row["id"], [])


def test_the_table_adds_up(folder: Path) -> None:
    mixture = mixture_of(folder, HALVES, 250 * LENGTH)
    rows = mixture.table(250 * LENGTH)
    json.dumps(rows)
    totals = {row["source"]: row for row in rows if row["language"] is None}
    assert sum(row["share"] for row in totals.values()) == pytest.approx(1)
    assert sum(row["tokens"] for row in totals.values()) == 250 * LENGTH
    for part in mixture.parts:
        own = [row for row in rows if row["source"] == part.name and row["language"]]
        chosen = index_of(folder)
        for key in ("share", "supply_tokens", "supply_bytes", "supply_documents"):
            assert sum(row[key] for row in own) == pytest.approx(totals[part.name][key])
        for row in own:
            there = [r for r in chosen if r["language"] == row["language"]]
            assert row["supply_tokens"] == sum(r["tokens"] for r in there)
            # Within the tail of an epoch, epochs are tokens seen over tokens there.
            assert row["tokens"] / row["supply_tokens"] == pytest.approx(row["epochs"], rel=0.05)
    # A phase that ends inside a sample: its last source has that many fewer.
    cut = {row["source"]: row for row in mixture.table(250 * LENGTH - 7) if row["language"] is None}
    less = {name: totals[name]["tokens"] - row["tokens"] for name, row in cut.items()}
    last = mixture.find(249)[0].name
    assert {name: count for name, count in less.items() if count} == {last: 7}
    assert cut[last]["share"] == pytest.approx(cut[last]["tokens"] / (250 * LENGTH - 7))


# --- what is refused --------------------------------------------------------------------------


def test_a_short_supply_names_source_supply_demand_and_epochs(folder: Path) -> None:
    rows = index_of(folder)
    supply = sum(r["tokens"] for r in rows if LANGUAGES[r["language"]].kind == "prose")
    sources = {
        "code": {"share": "rest", "max_epochs": 1000},
        "text": {"share": 0.5, "kinds": ["prose"]},
    }
    mixture_of(folder, sources, 8 * supply)  # four epochs are allowed
    with pytest.raises(FirnlineError, match="phase alpha asks for more") as caught:
        mixture_of(folder, sources, 9 * supply)
    (line,) = caught.value.details
    assert line.startswith("text: ") and f"of {supply:,} are 4.5" in line
    assert "max_epochs is 4" in line
    sources["text"]["max_epochs"] = 5
    mixture_of(folder, sources, 9 * supply)


def test_a_source_without_documents_is_named(folder: Path) -> None:
    with pytest.raises(
        FirnlineError, match=r"no documents for issues \(its languages are .*Python"
    ):
        mixture_of(folder, {"issues": {"share": 1, "kinds": ["adjacent"]}}, 100)


def test_a_source_of_less_than_one_sample_is_named(folder: Path) -> None:
    with pytest.raises(FirnlineError, match=r"phase alpha, source code: .* one sample takes"):
        open_mixture(
            {"code": SourceConfig(share=1, languages=("Python",))},
            {"code": folder},
            phase="alpha",
            seed=0,
            tokens=100,
            sequence_length=10**7,
        )


def test_folders_of_another_tokenizer_are_refused(
    folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    tokenizer = Tokenizer.load(tokenizer_folder)
    mixture_of(folder, HALVES, 100 * LENGTH, tokenizer=tokenizer)
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    said = json.loads((other / "tokens.json").read_text())
    (other / "tokens.json").write_text(json.dumps({**said, "tokenizer": "0" * 32}))
    with pytest.raises(FirnlineError, match="was packed with tokenizer 000"):
        mixture_of(other, HALVES, 100 * LENGTH, tokenizer=tokenizer)
