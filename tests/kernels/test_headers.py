"""License headers against a reference in regular expressions, and against cases made by hand."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.documents import buffers
from firnline.kernels.headers import header_ends, header_style

C_LIKE = ("//", "/*", "*/")
SIGNS = {
    "Python": ("#",),
    "C": C_LIKE,
    "PHP": ("#(?!\\[)|//", "/*", "*/"),
    "SQL": ("--", "/*", "*/"),
    "HTML": ("(?!)", "<!--", "-->"),
    "Erlang": ("%",),
    "JSON": (),
}
BLANK = "[ \t\n\r\v\f]"


def reference(text: str, language: str) -> str:
    """What is left of a text without its license header."""
    line, opener, closer = (*SIGNS[language], "(?!)", "(?!)", "(?!)")[:3]
    opener, closer = (sign if sign == "(?!)" else re.escape(sign) for sign in (opener, closer))
    run = rf"(?:{line})[^\n]*(?:\n[ \t\r\v\f]*(?:{line})[^\n]*)*"
    block = rf"(?:{opener})(?s:.*?)(?:(?:{closer})|\Z)"
    tag = {"PHP": rf"<\?(?:(?!{BLANK})(?s:.))*", "HTML": r"<\?[^>]*>?"}.get(language, "(?!)")
    rest = text.removeprefix("\ufeff")
    shebang = re.match(rf"{BLANK}*#![^\n]*", rest) if SIGNS[language] else None
    shebang = shebang if shebang and rest.startswith("#!") else None
    place = len(text) - len(rest) + (shebang.end() if shebang else 0)
    end = 0
    piece = re.compile(rf"{BLANK}*({run}|{block}|{tag})")
    while found := piece.match(text, place):
        place = found.end()
        if re.match(tag, found[1]) is None and re.search("(?i)copyright|licen[sc]e|spdx", found[1]):
            end = place
    return text if re.fullmatch(f"{BLANK}*", text[place:]) else text[end:]


def without_headers(texts: list[str], languages: list[str]) -> list[str]:
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    styles = np.array([header_style(language) for language in languages], dtype=np.int64)
    starts = header_ends(data, offsets, styles)
    places = zip(starts.tolist(), offsets[1:].tolist(), strict=True)
    return [data[start:stop].tobytes().decode() for start, stop in places]


PIECES = ["#", "//", "/*", "*/", "--", "<!--", "-->", "%", "<?php", "<?xml", "?>", "#!", "#["]
PIECES += ["Copyright", "LICENSE", "a license", "SPDX", "word", "x = 1", "\ufeff", "é", "\r\n"]
PIECES += ["\n", "\n", "\n\n", " ", "\t"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_what_is_left_equals_the_reference(text: str) -> None:
    languages = list(SIGNS)
    left = without_headers([text] * len(languages), languages)
    assert dict(zip(languages, left, strict=True)) == {
        language: reference(text, language) for language in languages
    }


MIT = "Copyright (c) 2020 A. Body\n\nPermission is granted, free of charge, to any person"


@pytest.mark.parametrize(
    ("language", "header", "rest"),
    [
        ("Python", "#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\n# Copyright A", "\n\nx = 1"),
        ("Python", "# Licensed to A under\n# one or more agreements.", "\nimport os\n"),
        ("Go", "// Copyright 2015 The Authors.", "\n\n// Package v1 is the API.\npackage v1\n"),
        ("C#", f"\ufeff/*\n{MIT}\n*/", "\nusing System;"),
        ("C", "/* b.c: bees. */\n\n/* License: GPL */", "\n/* Bees. */\nint bee;"),
        ("PHP", "<?php\n/**\n * @license MIT\n */", "\nnamespace A;"),
        ("XML", '<?xml version="1.0"?>\n<!-- Copyright A -->', "\n<project/>"),
        ("Haskell", "{- Copyright A -}", "\nmodule Main where"),
        ("OCaml", "(* SPDX-License-Identifier: MIT *)", " let x = 1"),
        ("F#", "// copyright\n//\n// more", "\n// of\n\n// this\n\nmodule A"),
        # None: no license, a license in the code, nothing else, a language without comments.
        ("Python", "", "# Reads bees.\n\nimport bees  # license\n"),
        ("Python", "", '__license__ = "MIT"\n'),
        ("Python", "", "# Copyright A\n# License: MIT\n\n"),
        ("C", "", "/* Copyright A, without an end\nint x;"),
        ("JSON", "", "// Copyright\n{}"),
        ("Unheard of", "", "# Copyright\nx"),
    ],
)
def test_headers_by_hand(language: str, header: str, rest: str) -> None:
    if language == "F#":  # lines that follow each other are one comment
        header, rest = header + "\n// of", rest.removeprefix("\n// of")
    assert without_headers([header + rest], [language]) == [rest]


def test_a_document_does_not_depend_on_its_neighbours() -> None:
    texts = ["# Copyright", "\nx = 1", "", "# license\nx", "# Copyright"]
    left = without_headers(texts, ["Python"] * len(texts))
    assert left == ["# Copyright", "\nx = 1", "", "\nx", "# Copyright"]
