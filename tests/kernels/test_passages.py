"""Tokens, comments, renamings and known passages against plain Python on the same text."""

from __future__ import annotations

import io
import json
import re
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from firnline.curate.renamed_index import fixed_words, word_table
from firnline.kernels.passages import (
    COMMENT,
    LONG,
    STRING,
    comment_style,
    different,
    mark,
    previous_place,
    split,
    without_comments,
    words_of,
)
from firnline.kernels.renamed import NAME, alike, read_blind, run_hashes
from firnline.kernels.search import resolve, sift, table
from firnline.kernels.shingles import ngram_hashes

LIBRARY = [Path(json.__file__), Path(json.__file__).with_name("decoder.py"), Path(re.__file__)]
LIBRARY += [Path(tokenize.__file__), Path(io.__file__), Path(__file__)]
TOKEN = re.compile(rb"[A-Za-z0-9_\x80-\xff]+|[^\s\x00-\x08\x0e-\x1f]|[\x00-\x08\x0e-\x1f]")


def as_bytes(text: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(text, dtype=np.uint8)


def read(text: bytes, style: int) -> tuple[list[bytes], list[int], list[int], list[int]]:
    """Tokens, places, kinds and hashes."""
    data = as_bytes(text)
    hashes = np.empty(len(data) + 1, dtype=np.uint64)
    places = np.empty(len(data) + 1, dtype=np.int32)
    kinds = np.full(len(data) + 1, 255, dtype=np.uint8)
    count = split(data, 0, len(data), hashes, places)
    mark(data, 0, len(data), style, places, count, kinds)
    found = places[:count].tolist()
    tokens = []
    for place in found:
        match = TOKEN.match(text, place)
        assert match
        tokens.append(match[0])
    return tokens, found, kinds[:count].tolist(), hashes[:count].tolist()


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.binary(max_size=40), st.text("aé_1 (\n#'\"/*-`\\", max_size=40).map(str.encode))
)
def test_tokens_are_those_of_a_regular_expression(text: bytes) -> None:
    text = re.sub(rb"[\x0b\x0c]", b" ", text)
    for style in (0, comment_style("Python"), 63):
        tokens, places, kinds, hashes = read(text, style)
        expected = [(match.start(), match[0]) for match in TOKEN.finditer(text)]
        assert list(zip(places, tokens, strict=True)) == expected
        assert all(kind < 16 for kind in kinds)
        same = dict(zip(tokens, hashes, strict=True))
        assert len(set(same.values())) == len(same)
        assert hashes == [same[token] for token in tokens]


def spans(source: str, kind: int) -> Iterator[tuple[int, int, str]]:
    """The byte places of Python's own tokens of one kind, with their text."""
    lines = source.splitlines(keepends=True)
    starts = np.cumsum([0, *(len(line.encode()) for line in lines)])

    def place(position: tuple[int, int]) -> int:
        row, column = position
        inside = lines[row - 1][:column] if row <= len(lines) else ""
        return int(starts[row - 1]) + len(inside.encode())

    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == kind:
            yield place(token.start), place(token.end), token.string


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name)
def test_comments_and_strings_of_python_are_those_that_tokenize_sees(path: Path) -> None:
    source = path.read_text()
    text = source.encode()
    _, places, kinds, _ = read(text, comment_style("Python"))
    expected = np.zeros(len(text), dtype=np.uint8)
    for start, stop, _ in spans(source, tokenize.COMMENT):
        expected[start:stop] = COMMENT
    for start, stop, string in spans(source, tokenize.STRING):
        prefix = re.match(r"\w*", string)
        assert prefix
        long = string[prefix.end() :][:3] in ('"""', "'''")
        expected[start + prefix.end() : stop] = STRING | (LONG if long else 0)
    found = [kind & (COMMENT | STRING | LONG) for kind in kinds]
    assert found == expected[places].tolist()


@pytest.mark.parametrize(
    ("language", "source", "code"),
    [
        ("C", 'a /* b " c */ d // e\nf "g // h" i', 'a d f " g / / h " i'),
        ("C", "don't // a\nb /* c", "don ' t / / a b"),
        ("SQL", "a -- b\nc '-- d' # e", "a c ' - - d ' # e"),
        ("Python", "'''a # b''' c # d\n'e' f", "a # b ' ' ' c ' e ' f"),
        ("Go", "a `b // \n c` // d", "a ` b / / c `"),
        ("Ruby", '"a \\" # b" # c\n"" d', 'a \\ " # b " " " d'),
        ("Text", "a # b // c", "a # b / / c"),
    ],
)
def test_what_is_left_without_comments(language: str, source: str, code: str) -> None:
    found = without_comments(as_bytes(source.encode()), comment_style(language))
    assert found.tobytes().decode().split() == code.split()


def test_words_and_what_differs_among_them() -> None:
    texts = ["ab 12 a(ab\n", "", "été,x_1 ab"]
    data = "".join(texts).encode()
    offsets = np.cumsum([0, *(len(text.encode()) for text in texts)])
    hashes, starts, named, word_offsets = words_of(as_bytes(data), offsets)
    words = [TOKEN.match(data, start) for start in starts.tolist()]
    assert [word[0].decode() for word in words if word] == re.findall(r"\w+", "".join(texts))
    assert named.tolist() == [1, 0, 0, 1, 1, 1, 1]
    assert word_offsets.tolist() == [0, 4, 4, 7]
    assert previous_place(hashes).tolist() == [-1, -1, -1, 0, -1, -1, 3]
    first, lengths = np.array([0, 3, 4]), np.array([4, 4, 2])
    assert different(previous_place(hashes), named, first, lengths).tolist() == [1, 3, 2]


def reference_blind(source: str, fixed: frozenset[str]) -> list[tuple[str, bool]]:
    """What is compared of a Python text, by Python's own tokens: (text, whether it is a name)."""
    found: list[tuple[str, bool]] = []

    def add(text: str, literal: bool) -> None:
        for piece in re.findall(r"\w+|\S", text):
            if piece in "(),;\"'`\\":
                continue
            word = re.match(r"\w", piece) and not piece[0].isdigit()
            after = bool(found) and found[-1][0] == "."
            found.append((piece, bool(word and not after and not literal and piece not in fixed)))

    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.STRING:
            string = re.fullmatch(r"(\w*)(\"\"\"|'''|\"|')(.*)", token.string, re.DOTALL)
            assert string
            prefix, quote, body = string.groups()
            add(prefix, False)
            if len(quote) == 1:
                add(body, "f" not in prefix.lower())
        elif token.type in (tokenize.NAME, tokenize.OP, tokenize.NUMBER):
            add(token.string, False)
    return found


@pytest.mark.parametrize("path", LIBRARY[:-1], ids=lambda path: path.name)
def test_what_is_compared_is_what_tokenize_tells(path: Path) -> None:
    source = path.read_text()
    fixed = fixed_words("Python")
    data = as_bytes(source.encode())
    tokens = read_blind(data, comment_style("Python"), word_table(fixed)).tolist()
    expected = reference_blind(source, fixed)
    assert [bool(token & 1) for token in tokens] == [name for _, name in expected]
    texts = [text for text, _ in expected]
    pairs = set(zip(tokens, expected, strict=True))
    assert len(pairs) == len(set(tokens)) == len(set(expected)), texts[:5]


def slow_alike(left: Sequence[int], right: Sequence[int]) -> bool:
    """Equal after each name is replaced by the number of its first appearance."""

    def canonical(tokens: Sequence[int]) -> list[tuple[str, int]]:
        names: dict[int, int] = {}
        return [
            ("name", names.setdefault(token, len(names))) if token & 1 else ("token", token)
            for token in tokens
        ]

    return canonical(left) == canonical(right)


tokens = st.lists(st.integers(2, 7), min_size=6, max_size=6)


@settings(max_examples=500, deadline=None)
@given(tokens, tokens, st.permutations([3, 5, 7]))
def test_alike_is_equal_with_names_by_first_appearance(
    left: list[int], right: list[int], order: list[int]
) -> None:
    renamed = [dict(zip([3, 5, 7], order, strict=True)).get(token, token) for token in left]
    for other in (right, renamed):
        arrays = (np.array(side, dtype=np.uint64) for side in (left, other))
        a, b = arrays
        for start in range(3):
            expected = slow_alike(left[start : start + 3], other[start : start + 3])
            assert alike(a, start, b, start, 3) == expected
    assert alike(np.array(left, np.uint64), 0, np.array(renamed, np.uint64), 0, 6)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=60), st.sets(st.integers(0, 59)), st.integers(0, 9))
def test_windows_found_are_those_of_the_table(
    values: list[int], known: set[int], first: int
) -> None:
    n = 3
    words = np.array(values, dtype=np.uint64)
    hashes = run_hashes(words & ~NAME, np.arange(max(len(words) - n + 1, 0)), np.full(60, n))
    chosen = np.unique(hashes[[place for place in known if place < len(hashes)]])
    index = table(chosen)
    places, out = np.empty(64, dtype=np.int32), np.empty(64, dtype=np.uint64)
    found = sift(words & ~NAME, len(words), n, first, index.sieve, places, out)
    found = resolve(index.hashes, index.directory, places, out, found)
    expected = [place for place in range(first, len(hashes)) if hashes[place] in chosen]
    assert places[:found].tolist() == expected
    assert [chosen[entry] for entry in out[:found].tolist()] == [hashes[p] for p in expected]


def test_windows_have_the_hashes_of_ngrams() -> None:
    words = np.arange(2, 40, 2, dtype=np.uint64)
    hashes = ngram_hashes(words, np.array([0, len(words)]), 5)[0]
    assert run_hashes(words, np.arange(len(hashes)), np.full(len(hashes), 5)).tolist() == list(
        hashes
    )
