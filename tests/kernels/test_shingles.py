"""The tokenizer and n-gram kernels against a regular expression and Python tuples."""

from __future__ import annotations

import itertools
import re
import sysconfig
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.documents import buffers
from firnline.kernels.shingles import (
    distinct,
    ngram_hashes,
    shingle_sets,
    token_spans,
    white_free_hashes,
)

TOKEN = re.compile(rb"[A-Za-z0-9_\x80-\xff]+|[^ \t\n\r\x0b\x0c]")
DOCUMENTS = st.lists(st.binary(max_size=60) | st.text("ab_ 1({\n", max_size=60).map(str.encode))


def column(documents: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Any bytes as the kernels see them, text or not."""
    data = np.frombuffer(b"".join(documents), dtype=np.uint8)
    return data, np.cumsum([0, *map(len, documents)], dtype=np.int64)


def split(values: np.ndarray, offsets: np.ndarray) -> list[list[int]]:
    return [values[a:b].tolist() for a, b in itertools.pairwise(offsets)]


def reference_ngrams(tokens: list[bytes], n: int) -> list[tuple[bytes, ...]]:
    if len(tokens) < n:
        return [tuple(tokens)] if tokens else []
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def assert_one_to_one(truth: list[object], hashes: list[int]) -> None:
    assert len(truth) == len(hashes)
    pairs = set(zip(truth, hashes, strict=True))
    assert len(pairs) == len(set(truth)) == len(set(hashes))


def real_files(limit: int) -> list[bytes]:
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    return [path.read_bytes() for path in paths[:limit]]


def check(documents: list[bytes], n: int) -> None:
    data, offsets = column(documents)
    hashes, starts, stops, token_offsets = token_spans(data, offsets)
    tokens = [TOKEN.findall(document) for document in documents]
    flat = [token for document in tokens for token in document]
    spans = zip(starts.tolist(), stops.tolist(), strict=True)
    assert [data[a:b].tobytes() for a, b in spans] == flat
    assert np.diff(token_offsets).tolist() == [len(document) for document in tokens]
    assert_one_to_one(flat, hashes.tolist())
    grams, gram_offsets = ngram_hashes(hashes, token_offsets, n)
    truth = [reference_ngrams(document, n) for document in tokens]
    assert np.diff(gram_offsets).tolist() == [len(document) for document in truth]
    assert_one_to_one([gram for document in truth for gram in document], grams.tolist())
    sets = split(*distinct(grams, gram_offsets))
    assert [len(s) for s in sets] == [len(set(document)) for document in truth]
    for members, repeated in zip(sets, split(grams, gram_offsets), strict=True):
        assert members == list(dict.fromkeys(repeated))


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, st.integers(1, 12))
def test_tokens_and_ngrams_equal_the_reference(documents: list[bytes], n: int) -> None:
    check(documents, n)


def test_tokens_and_ngrams_of_real_files_equal_the_reference() -> None:
    check(real_files(40), 5)


def test_every_byte_has_its_class() -> None:
    check([bytes([a, b]) for a in range(256) for b in (a, ord("x"), ord(" "), ord("."))], 2)


def test_case_and_punctuation_count_and_white_space_does_not() -> None:
    texts = ["if (x) { y += 1; }", "if(x){y+=1;}", "if (X) { y += 1; }", "if x: y += 1"]
    first, second, third, fourth = split(*shingle_sets(*column([t.encode() for t in texts])))
    assert first == second
    assert set(third) != set(first) != set(fourth)


def test_hashes_of_short_words_spread_over_all_bits() -> None:
    words = [f"{a}{b}" for a in "abcdefghijklmnopqrstuvwxyz" for b in range(1000)]
    hashes, _, _, _ = token_spans(*column([" ".join(words).encode()]))
    bits = (hashes[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    # 26,000 fair coins: five standard deviations are 0.0155.
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.0155
    assert len(np.unique(hashes)) == len(words)


def test_slices_and_nulls_of_arrow_columns() -> None:
    array = pa.array(["skipped", "a b", None, "", "é = 1"], pa.large_string())[1:]
    hashes, starts, stops, offsets = token_spans(*buffers(array))
    assert np.diff(offsets).tolist() == [2, 0, 0, 3]
    data, _ = buffers(array)
    assert data[starts[2] : stops[2]].tobytes().decode() == "é"
    short = pa.array(["a b", "é = 1"], pa.string())
    assert token_spans(*buffers(short))[0].tolist() == hashes.tolist()


def test_no_documents() -> None:
    hashes, offsets = shingle_sets(*buffers(pa.array([], pa.large_string())))
    assert len(hashes) == 0
    assert offsets.tolist() == [0]


def test_n_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="n must be 1 or more"):
        ngram_hashes(np.zeros(0, np.uint64), np.zeros(1, np.int64), 0)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text("ab \n\té", max_size=40), max_size=6))
def test_white_free_hashes_are_equal_where_the_rest_is(texts: list[str]) -> None:
    hashes = white_free_hashes(*column([text.encode() for text in texts]))
    plain = [re.sub(r"[ \t\n\r\x0b\x0c]", "", text) for text in texts]
    assert_one_to_one(list(plain), [(high << 64) | low for high, low in hashes.tolist()])


def test_white_space_of_any_length_and_place_changes_no_hash() -> None:
    """Lengths around words of eight bytes and chunks of 8 KiB."""
    rng = np.random.default_rng(0)
    documents, plain = [], []
    for size in [*range(20), 8190, 8191, 8192, 8193, 16_385, 30_000]:
        text = bytes(rng.integers(33, 127, size, dtype=np.uint8))
        spaced = bytearray()
        for byte in text:
            spaced += b" " * int(rng.integers(0, 3)) + bytes([byte])
        documents += [text, bytes(spaced), b"\n" * 9000 + text + b"\t" * 8192, text[:-1] + b"\x80"]
        plain += [text, text, text, text[:-1] + b"\x80"]
    hashes = white_free_hashes(*column(documents)).tolist()
    assert_one_to_one(list(plain), [(high << 64) | low for high, low in hashes])
    halves = {tuple(pair) for pair in hashes}
    assert len({high for high, _ in halves}) == len({low for _, low in halves}) == len(halves)


def test_one_changed_bit_changes_half_of_the_hash() -> None:
    text = b"def_function(of,some,arguments):return'and_a_value';" * 3
    changed = []
    for bit in range(8 * len(text)):
        other = bytearray(text)
        other[bit // 8] ^= 1 << (bit % 8)
        if bytes(other).split() == [bytes(other)]:
            changed.append(bytes(other))
    one, *others = white_free_hashes(*column([text, *changed]))
    flips = np.unpackbits((np.array(others) ^ one).view(np.uint8), axis=1).mean(axis=0)
    assert np.abs(flips - 0.5).max() < 0.12  # about 1,100 fair coins: five deviations are 0.075
