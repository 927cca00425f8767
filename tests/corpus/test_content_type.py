"""The language of files that their name does not tell."""

from __future__ import annotations

import bisect
import inspect
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.corpus.content_type import language_of
from firnline.languages import LANGUAGES

SHELL = (
    b'set -e\nfor file in *.txt; do\n  if [ -f "$file" ]; then\n    wc -l "$file"\n  fi\ndone\n' * 3
)
GO = (
    b'package main\n\nimport "fmt"\n\nfunc main() {\n\tx := []int{1, 2}\n\tfmt.Println(len(x))\n}\n'
    * 3
)
CPP = b"#include <vector>\n\nint f(const std::vector<int>& a) { return a.at(0); }\n" * 4
PROSE = b"The firn line is the line on a glacier above which the snow of a winter lasts.\n" * 5


@pytest.mark.parametrize(
    ("path", "content", "language"),
    [
        ("bin/run", inspect.getsource(bisect).encode(), "Python"),
        ("bin/run", SHELL, "Shell"),
        ("tool", GO, "Go"),
        ("vector", CPP, "C++"),
        ("NOTES", PROSE, None),
        ("LICENSE", b"Permission is hereby granted, free of charge, to any person\n" * 5, None),
        ("data", bytes(range(256)) * 20, None),
        ("x.inc", b"procedure Add;\nbegin\n  x := x + 1;\nend;\n" * 5, "Pascal"),
        ("x.inc", PROSE, None),
        ("x.unknown", SHELL, None),
        ("x.py", SHELL, "Python"),  # a name that tells is believed
        ("empty", b"", None),
        ("tiny", b"x", None),
    ],
)
def test_language_of(path: str, content: bytes, language: str | None) -> None:
    assert language_of(path, content) == language


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["x", "x.m", "x.h", "x.inc", "x.sql", "x.v"]), st.binary(max_size=300))
def test_any_bytes_have_a_known_language_or_none(path: str, content: bytes) -> None:
    found = language_of(path, content)
    assert found is None or found in LANGUAGES
    assert language_of(path, content) == found


def test_another_process_says_the_same_and_asks_no_network() -> None:
    program = (
        "import socket, sys, json\n"
        "def refuse(*_): raise RuntimeError('network')\n"
        "socket.socket.connect = refuse\n"
        "from firnline.corpus.content_type import language_of\n"
        "print(json.dumps([language_of('f', c.encode()) for c in json.load(sys.stdin)]))\n"
    )
    contents = [SHELL.decode(), GO.decode(), CPP.decode(), PROSE.decode()]
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(contents), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == [language_of("f", c.encode()) for c in contents]


def test_a_module_that_is_named_loads_no_model() -> None:
    program = (
        "import sys\nfrom firnline.corpus.content_type import language_of\n"
        "assert language_of('a.py', b'x = 1') == 'Python'\n"
        "assert language_of('a.h', b'int x;') == 'C'\n"
        "assert 'magika' not in sys.modules and 'onnxruntime' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
