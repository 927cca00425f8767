"""The language table and detection by name, extension, header content and `#!` line."""

from __future__ import annotations

import pytest

from firnline.languages import ARCTIC_SNOWCODER_LANGUAGES, LANGUAGES, detect


@pytest.mark.parametrize(
    ("path", "head", "language"),
    [
        ("a/b.py", b"", "Python"),
        ("a/B.PY", b"", "Python"),
        ("x.h", b"int f(void);\n", "C"),
        ("x.h", b"#include <vector>\n", "C++"),
        ("x.h", b"#include <stdio.h>\nint f(void);\n", "C"),
        ("x.h", b"namespace a {\n", "C++"),
        ("n.ipynb", b"{}", "Jupyter Notebook"),
        ("Dockerfile", b"FROM scratch", "Dockerfile"),
        ("run", b"#!/bin/sh\n", "Shell"),
        ("run", b"#! /usr/bin/env python3.11\n", "Python"),
        ("run", b"#!/usr/bin/env -S node --x\n", "JavaScript"),
        ("run", b"nothing\n", None),
        ("a.unknown", b"#!/bin/sh\n", None),
        (".bashrc", b"", None),
    ],
)
def test_detect(path: str, head: bytes, language: str | None) -> None:
    assert detect(path, head) == language


def test_the_table_says_each_thing_once() -> None:
    extensions = [e for row in LANGUAGES.values() for e in row.extensions]
    assert len(extensions) == len(set(extensions))
    assert len(ARCTIC_SNOWCODER_LANGUAGES) == 18
    assert {"Python", "SQL", "Jupyter Notebook", "Swift"} <= set(ARCTIC_SNOWCODER_LANGUAGES)
    assert {row.kind for row in LANGUAGES.values()} == {"programming", "markup", "data", "prose"}
