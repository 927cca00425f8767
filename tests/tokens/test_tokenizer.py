"""The tokenizer against `tokenizers`: equal ids on every kind of text, and no control tokens."""

from __future__ import annotations

import itertools
import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.errors import FirnlineError
from firnline.tokens import encoders
from firnline.tokens.tokenizer import SPECIAL_TOKENS, Tokenizer

HARD_TEXTS = (
    "",
    " ",
    "\x00",
    "\r\n\r\n\r",
    "\t\t  \n \n   x",
    "<|endoftext|>",
    "a<|fim_prefix|> <|pad|>\n<|repo_name|>x<|file_sep|>",
    "<|endoftext|",
    " " * 30_000,
    "\n" * 20_000 + "\t" * 20_000,
    "x" * 30_000,
    "0123456789" * 2_000,
    "AbC/+" * 6_000 + "==",
    "中" * 10_000,
    "👩\u200d💻🙂" * 500,
    "e\u0301" * 500 + "\ufeff\u2028\u2029\u0085\u180e\u200b\u00a0",
    "\U0010ffff\ue000\ufffe\ufffd",
    "it'S İ'ſ don'T we'LL '\u017f ''s '",
)

pieces = st.one_of(
    st.sampled_from([*SPECIAL_TOKENS, "<|", "|>", "\r\n", "\x00", "    ", "\t", "\n\n", "'S", "9"]),
    st.text(max_size=20),
    st.sampled_from(list(" \t\n\r.'(_-#/0aZ")).flatmap(
        lambda c: st.integers(1, 300).map(lambda n: c * n)
    ),
)
texts = st.lists(pieces, max_size=12).map("".join)


def test_ids_equal_on_real_files_of_every_language(
    tokenizer_folder: Path,
    reference: tokenizers.Tokenizer,
    files_by_language: dict[str, list[str]],
) -> None:
    tokenizer = Tokenizer.load(tokenizer_folder)
    assert "Python" in files_by_language
    for language, files in files_by_language.items():
        ids, offsets = tokenizer.encode_batch(files)
        expected = reference.encode_batch(files)
        assert len(offsets) == len(files) + 1
        for number, encoding in enumerate(expected):
            mine = ids[offsets[number] : offsets[number + 1]]
            assert mine.tolist() == encoding.ids, f"{language} file {number}"
            assert tokenizer.decode(mine) == files[number]


@pytest.mark.parametrize("text", HARD_TEXTS, ids=range(len(HARD_TEXTS)))
def test_ids_equal_on_hard_text(
    tokenizer_folder: Path, reference: tokenizers.Tokenizer, text: str
) -> None:
    tokenizer = Tokenizer.load(tokenizer_folder)
    ids = tokenizer.encode(text)
    assert ids.dtype == np.uint32
    assert ids.tolist() == reference.encode(text).ids
    assert tokenizer.decode(ids) == text
    assert not set(ids.tolist()) & set(tokenizer.special.values())


@settings(max_examples=300, deadline=None)
@given(batch=st.lists(texts, max_size=6))
def test_ids_equal_on_any_text(tokenizer_folder: Path, batch: list[str]) -> None:
    tokenizer, reference = _both(tokenizer_folder)
    ids, offsets = tokenizer.encode_batch(batch)
    from_arrow, arrow_offsets = tokenizer.encode_batch(pa.array(batch, pa.string()))
    assert ids.tolist() == from_arrow.tolist()
    assert offsets.tolist() == arrow_offsets.tolist()
    assert offsets[0] == 0
    assert offsets[-1] == len(ids)
    for number, text in enumerate(batch):
        mine = ids[offsets[number] : offsets[number + 1]]
        assert mine.tolist() == reference.encode(text).ids
        assert tokenizer.decode(mine) == text
    assert not set(ids.tolist()) & set(range(len(SPECIAL_TOKENS)))


_LOADED: dict[Path, tuple[Tokenizer, tokenizers.Tokenizer]] = {}


def _both(folder: Path) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    if folder not in _LOADED:
        reference = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        reference.encode_special_tokens = True
        _LOADED[folder] = (Tokenizer.load(folder), reference)
    return _LOADED[folder]


def test_every_code_point_is_classed_as_tokenizers_does(tokenizer_folder: Path) -> None:
    """Two implementations of \\p{L}, \\p{N} and \\s may follow two versions of Unicode.

    A hundred code points to a text, each between a letter, a digit, a space and punctuation.
    """
    tokenizer, reference = _both(tokenizer_folder)
    points = [chr(c) for c in (*range(0x3000), *range(0xA000, 0xD800, 3), *range(0xE000, 0x20000))]
    batch = [
        "".join(f"a{c}b 1{c} {c}-'{c}\n" for c in points[start : start + 100])
        for start in range(0, len(points), 100)
    ]
    ids, offsets = tokenizer.encode_batch(batch)
    for number, encoding in enumerate(reference.encode_batch_fast(batch)):
        assert ids[offsets[number] : offsets[number + 1]].tolist() == encoding.ids, number


def test_arrow_columns_with_nulls_slices_and_chunks(tokenizer_folder: Path) -> None:
    tokenizer = Tokenizer.load(tokenizer_folder)
    words = ["alpha", None, "beta\n", "", "gamma <|pad|>"]
    expected = [tokenizer.encode(word or "").tolist() for word in words]
    column = pa.array(words, pa.large_string())
    for texts, wanted in (
        (column, expected),
        (column.slice(1, 3), expected[1:4]),
        (pa.chunked_array([column.slice(0, 2), column.slice(2)]), expected),
    ):
        ids, offsets = tokenizer.encode_batch(texts)
        parts = [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)]
        assert parts == wanted


def test_no_texts_and_one_core(tokenizer_folder: Path) -> None:
    tokenizer = Tokenizer.load(tokenizer_folder)
    ids, offsets = tokenizer.encode_batch([])
    assert ids.size == 0
    assert offsets.tolist() == [0]
    batch = ["def f():\n    return 1\n" * n for n in range(20)]
    for mine, other in zip(
        tokenizer.encode_batch(batch, parallel=True),
        tokenizer.encode_batch(batch, parallel=False),
        strict=True,
    ):
        assert mine.tolist() == other.tolist()


def test_decode_writes_special_tokens_and_refuses_unknown_ids(
    tokenizer_folder: Path, reference: tokenizers.Tokenizer
) -> None:
    tokenizer = Tokenizer.load(tokenizer_folder)
    ids = [1, *tokenizer.encode("x = 1\n"), 0]
    assert tokenizer.decode(ids) == "<|fim_prefix|>x = 1\n<|endoftext|>"
    assert tokenizer.decode(ids) == reference.decode(ids, skip_special_tokens=False)
    half = tokenizer.encode("中")[:1]
    assert tokenizer.decode_bytes(half) == "中".encode()[: len(tokenizer.decode_bytes(half))]
    assert "\ufffd" in tokenizer.decode(half)
    for wrong in (tokenizer.vocabulary_size, -1):
        with pytest.raises(FirnlineError, match=f"token id {wrong} is not in the vocabulary"):
            tokenizer.decode([wrong])


def test_special_tokens_size_and_digest(tokenizer_folder: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(tokenizer_folder)
    assert dict(tokenizer.special) == {token: n for n, token in enumerate(SPECIAL_TOKENS)}
    assert tokenizer.end_of_text == 0
    assert tokenizer.vocabulary_size == 1200
    data = (tokenizer_folder / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(data)
    assert Tokenizer.load(tmp_path).digest == tokenizer.digest
    (tmp_path / "tokenizer.json").write_bytes(data + b"\n")
    assert Tokenizer.load(tmp_path).digest != tokenizer.digest


def test_a_tokenizer_pickles_small_and_works_after(tokenizer_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tokenizer_folder, tmp_path / "tokenizer")
    tokenizer = Tokenizer.load(copy)
    data = pickle.dumps(tokenizer)
    assert len(data) < 1000
    loaded = pickle.loads(data)
    assert loaded.encode("x = 1").tolist() == tokenizer.encode("x = 1").tolist()
    assert pickle.loads(data) is loaded  # a worker loads it once for all its items
    (copy / "tokenizer.json").write_bytes((copy / "tokenizer.json").read_bytes() + b"\n")
    other = pickle.loads(pickle.dumps(Tokenizer(copy)))
    assert other is not loaded and other.digest != loaded.digest


def test_threads_that_share_an_encoder_get_the_ids_of_one(
    tokenizer_folder: Path,
    files_by_language: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = Tokenizer.load(tokenizer_folder)
    texts = pa.array([text for files in files_by_language.values() for text in files])
    expected, offsets = tokenizer.encode_batch(texts, parallel=False)
    monkeypatch.setattr(encoders, "RENEWED_AFTER", 1)  # which each thread does at each call
    first = tokenizer._encoder._encoder
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: tokenizer.encode_batch(texts, parallel=True), range(9)))
    assert tokenizer._encoder._encoder is not first
    for ids, ends in found:
        assert np.array_equal(ids, expected) and np.array_equal(ends, offsets)


def test_an_unpaired_surrogate_is_one_line(tokenizer_folder: Path) -> None:
    tokenizer = Tokenizer.load(tokenizer_folder)
    with pytest.raises(FirnlineError, match="text 1 holds an unpaired surrogate at character 2"):
        tokenizer.encode_batch(["fine", "ab\ud800"])


def test_a_folder_without_a_usable_tokenizer_is_one_line(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(FirnlineError, match=r"no tokenizer\.json"):
        Tokenizer.load(tmp_path)
    good = json.loads((tokenizer_folder / "tokenizer.json").read_text())
    cases: dict[str, Any] = {
        "not a Hugging Face tokenizer": "{",
        "not byte-level BPE": json.dumps(good | {"model": good["model"] | {"type": "Unigram"}}),
        "no special token": json.dumps(good | {"added_tokens": []}),
        "cannot read": json.dumps(good | {"normalizer": {"type": "Nonsense"}}),
    }
    for message, data in cases.items():
        (tmp_path / "tokenizer.json").write_text(data)
        with pytest.raises(FirnlineError, match=message) as caught:
            Tokenizer.load(tmp_path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "Punctuation", "behavior": "Isolated"},  # gigatoken takes it and does not do it
        {"type": "Split", "pattern": {"Regex": "a|b"}, "behavior": "Isolated", "invert": False},
    ],
    ids=["ignored by gigatoken", "refused by gigatoken"],
)
def test_settings_gigatoken_does_not_follow_are_encoded_right_all_the_same(
    tokenizer_folder: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    good = json.loads((tokenizer_folder / "tokenizer.json").read_text())
    good["pre_tokenizer"]["pretokenizers"].insert(0, change)
    (tmp_path / "tokenizer.json").write_text(json.dumps(good))
    reference = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    reference.encode_special_tokens = True
    tokenizer = Tokenizer.load(tmp_path)
    batch = ["about.cab('x') <|pad|>", "", "b-b"]
    ids, offsets = tokenizer.encode_batch(pa.array(batch))
    parts = [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)]
    assert parts == [encoding.ids for encoding in reference.encode_batch(batch)]
    with pytest.raises(FirnlineError, match="unpaired surrogate"):
        tokenizer.encode("\ud800")
