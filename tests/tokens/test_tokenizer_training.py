"""Training the tokenizer: what it learns, that it is repeatable, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from firnline.errors import FirnlineError
from firnline.tokens.tokenizer import SPECIAL_TOKENS, Tokenizer
from firnline.tokens.train import TokenizerConfig, language_bytes, run

CONFIG = TokenizerConfig(vocabulary_size=600)


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(CONFIG, corpus, tmp_path_factory.mktemp("trained") / "tokenizer").folder


def test_special_tokens_come_first_and_digits_stand_alone(trained: Path) -> None:
    tokenizer = Tokenizer.load(trained)
    assert dict(tokenizer.special) == {token: n for n, token in enumerate(SPECIAL_TOKENS)}
    assert tokenizer.vocabulary_size == 600
    words = [word for n, word in tokenizer.token_bytes.items() if n >= len(SPECIAL_TOKENS)]
    assert {bytes([byte]) for byte in range(256)} <= set(words)
    digits = set(b"0123456789")
    assert all(len(word) == 1 for word in words if digits & set(word))
    assert any(word == b"    " for word in words)  # indentation is one token
    assert len(tokenizer.encode("2026")) == 4


def test_transformers_loads_it_and_gives_the_same_ids(
    trained: Path, files_by_language: dict[str, list[str]]
) -> None:
    transformers = pytest.importorskip("transformers")
    loaded = transformers.PreTrainedTokenizerFast(tokenizer_file=str(trained / "tokenizer.json"))
    text = "".join(files_by_language["Python"][:3])
    ids = loaded(text)["input_ids"]
    assert ids == Tokenizer.load(trained).encode(text).tolist()
    assert loaded.decode(ids, clean_up_tokenization_spaces=False) == text
    assert loaded("<|endoftext|>")["input_ids"] == [0]


def test_the_same_bytes_from_one_thread_and_from_many(
    trained: Path, corpus: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from firnline.tokens.train import *;"
        "run(TokenizerConfig(vocabulary_size=600), Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(corpus), str(tmp_path / "one")]
    subprocess.run(
        command, check=True, capture_output=True, env=os.environ | {"TOKENIZERS_PARALLELISM": "0"}
    )
    one, many = tmp_path / "one" / "tokenizer.json", trained / "tokenizer.json"
    assert one.read_bytes() == many.read_bytes()


def test_only_the_training_split_is_learnt_from(corpus: Path, tmp_path: Path) -> None:
    counts = {
        splits: run(
            TokenizerConfig(vocabulary_size=300, splits=splits), corpus, tmp_path / "-".join(splits)
        ).stats["documents"]
        for splits in (("train",), ("heldout",), ("train", "heldout"))
    }
    assert 0 < counts["heldout",] < counts["train",]
    assert counts["train", "heldout"] == counts["train",] + counts["heldout",]


def test_statistics_are_those_of_the_sample(trained: Path) -> None:
    stats = json.loads((trained / "stats.json").read_text())
    assert stats["bytes"] == sum(row["bytes"] for row in stats["languages"].values())
    for row in stats["languages"].values():
        assert row["bytes_per_token"] == round(row["bytes"] / row["tokens"], 4)
    assert stats["bytes_per_token"] > 1.5


def test_a_sample_is_smaller_and_depends_on_the_seed(corpus: Path, tmp_path: Path) -> None:
    whole = run(TokenizerConfig(vocabulary_size=300), corpus, tmp_path / "whole").stats
    mib = whole["bytes"] / 2 / (1 << 20)
    drawn = [
        run(
            TokenizerConfig(vocabulary_size=300, sample_mib=mib, seed=seed),
            corpus,
            tmp_path / f"seed-{seed}",
        ).stats
        for seed in (0, 1)
    ]
    assert all(0.25 < stats["bytes"] / whole["bytes"] < 0.75 for stats in drawn)
    assert drawn[0]["tokenizer"] != drawn[1]["tokenizer"]


@given(
    supply=st.dictionaries(st.text(max_size=3), st.integers(1, 10**9), min_size=1, max_size=12),
    budget=st.floats(1, 10**10),
    exponent=st.floats(0, 1),
)
def test_language_shares_spend_the_budget_and_no_more_than_there_is(
    supply: dict[str, int], budget: float, exponent: float
) -> None:
    taken = language_bytes(supply, budget, exponent)
    assert taken.keys() == supply.keys()
    assert all(taken[name] <= supply[name] * (1 + 1e-9) for name in supply)
    assert sum(taken.values()) == pytest.approx(min(budget, sum(supply.values())))
    rates = {
        taken[name] / supply[name] ** exponent for name in supply if taken[name] < supply[name]
    }
    assert not rates or max(rates) == pytest.approx(min(rates))


def test_equal_shares_and_the_corpus_mix() -> None:
    supply = {"big": 900, "small": 100}
    assert language_bytes(supply, 500, 1.0) == pytest.approx({"big": 450, "small": 50})
    assert language_bytes(supply, 150, 0.0) == pytest.approx({"big": 75, "small": 75})
    assert language_bytes(supply, 500, 0.0) == pytest.approx({"big": 400, "small": 100})


def test_a_vocabulary_larger_than_the_corpus_supports_names_both_numbers(
    corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        FirnlineError, match=r"vocabulary_size is 500,000, .* supports \d"
    ) as caught:
        run(TokenizerConfig(vocabulary_size=500_000), corpus, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_no_documents_of_the_split_is_one_line(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(FirnlineError, match="no text to train a tokenizer on"):
        run(TokenizerConfig(splits=("other",)), corpus, tmp_path / "out")


def test_no_merge_can_make_a_special_token(tmp_path: Path, corpus: Path, trained: Path) -> None:
    """Text full of the special strings teaches the pieces, never the control token."""
    loaded = tokenizers.Tokenizer.from_file(str(trained / "tokenizer.json"))
    merges = json.loads(loaded.to_str())["model"]["merges"]
    assert not {left + right for left, right in merges} & set(SPECIAL_TOKENS)
    for token in SPECIAL_TOKENS:
        assert len(loaded.pre_tokenizer.pre_tokenize_str(token)) > 1
