"""Line statistics against plain Python, regular expressions and the standard HTML parser."""

from __future__ import annotations

import base64
import hashlib
import re
import sysconfig
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firnline.documents import buffers
from firnline.kernels.html import visible_text
from firnline.kernels.lines import line_statistics
from firnline.kernels.phrases import first_marker

BASE64 = re.compile(r"(?:[A-Za-z0-9+/=]{32,}(?:\r\n|\n|\r)(?=[A-Za-z0-9+/=]))*[A-Za-z0-9+/=]+")
ESCAPE = r"\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}"
BARE = r"(?<![\w\x80-\U0010ffff])(?:0[xX])?[0-9a-fA-F]{2}(?!\w|[^\x00-\x7f])"
GAP = r"[ \t,]*(?:\r\n|\n|\r)?[ \t,]*"
SPACED = r"(?=[ \t,]|\r?\n[ \t,]|\r[ \t,])" + GAP
HEX = re.compile(rf"(?:{ESCAPE}|{BARE})(?:{GAP}(?:{ESCAPE})|{SPACED}(?:{BARE}))*")
ITEM = re.compile(rf"{ESCAPE}|{BARE}")


def plain_statistics(text: str) -> dict[str, float]:
    """The definitions of firnline.kernels.lines, said with the standard library."""
    lines = re.split(r"\r\n|\n|\r", text)
    if lines[-1] == "":
        lines.pop()
    ends = sum(len(match[0]) for match in re.finditer(r"\r\n|\n|\r", text))
    letters = sum(c > "\x7f" or c.isalpha() for c in text)
    digits = sum(c in "0123456789" for c in text)
    runs = [
        len(match[0])
        for match in BASE64.finditer(text)
        if len(match[0]) >= 64
        and re.search(r"[A-Za-z]", match[0])
        and 16 * len(re.findall(r"[0-9]", match[0])) >= len(match[0])
        and 16 * match[0].count("/") <= len(match[0])
    ]
    items = [m[0] for m in HEX.finditer(text) if len(ITEM.findall(m[0])) >= 8]
    encoded = sum(runs) + sum(map(len, items))
    runs += [len(item) for item in items if "\\" in item]
    size = max(1, len(text))
    return {
        "characters": len(text),
        "non_white": sum(c not in " \t\n\r\f\v" for c in text),
        "lines": len(lines),
        "longest_line": max(map(len, lines), default=0),
        "long_line_share": sum(len(line) for line in lines if len(line) > 1000) / size,
        "mean_line": (len(text) - ends) / max(1, len(lines)),
        "alphanumeric_share": (letters + digits) / size,
        "letter_share": letters / size,
        "white_share": sum(c in " \t\n\r\f\v" for c in text) / size,
        "encoded_run": max(runs, default=0),
        "encoded_share": min(1.0, encoded / size),
        "xml_header": int("<?xml version=" in text[:100]),
        "head_bytes": len(head(text).encode()),
    }


def head(text: str) -> str:
    ends = [match.start() for match in re.finditer(r"\r\n|\n|\r", text)]
    return text[: ends[4]] if len(ends) >= 5 else text


def check(texts: list[str]) -> None:
    measured = line_statistics(*buffers(pa.array(texts, pa.large_string())))
    for row, text in enumerate(texts):
        for name, value in plain_statistics(text).items():
            assert getattr(measured, name)[row] == pytest.approx(value), (name, text[:2000])


weird = st.text(
    st.one_of(
        st.sampled_from(list("\n\r\t \x00,\\xu0aF1=+/_é雪𝄞\x85\u2028")),
        st.characters(codec="utf-8"),
    )
)
ITEMS = ["\\x4f", "\\u00e9", "\\U0001f600", "0xFF", "0x1", "ab", "1f", "abc", "é1f", "_ff", "\\"]
GAPS = [", ", ",", " ", "\n", ",\n  ", "\r\n", "\r", "\n\n", "\t", "9" * 40, "aB3=" * 17, "x"]
escapes = st.lists(st.sampled_from([*ITEMS, *GAPS]), max_size=60).map("".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(weird, escapes), max_size=5))
@example(["", "a", "\n", "\r", "\r\n", "\n\r", "a\r", "a\r\nb\rc\nd", "\x00\n\x00"])
@example(["x" * 5000, "é" * 999, "\n" * 1000, "aB3=" * 16, "aB3=" * 15 + "aB3", "/" * 500])
@example(["x" * 1000 + "\n" + "é" * 1001 + "\r\n" + "y" * 1001, "x" * 1000, "x" * 1001])
@example(["ab " * 8, "ab " * 7, "ab\n" * 9, "\\x41" * 8, "0x41," * 8, "0x41,\n\n" * 8, "\\"])
@example(["a1" * 32 + "\n", "a1" * 16 + "\n" + "a1" * 16, "a1" * 16 + "\n\n" + "a1" * 16])
@example(["a1" * 15 + "\n" + "a1" * 99, "a1\n" * 50, ("a1" * 38 + "\r\n") * 3 + "a=="])
@example(["a1/" * 30, "a" * 60 + "1234", "a" * 61 + "123", "a" * 56 + "1234////", "a1" * 40 + "//"])
@example(["<?xml version=", "é" * 86 + "<?xml version=", "é" * 87 + "<?xml version=", "<?xml"])
def test_statistics_of_any_text(texts: list[str]) -> None:
    check(texts)


def test_statistics_of_real_files() -> None:
    library = Path(sysconfig.get_paths()["stdlib"])
    names = ["argparse.py", "base64.py", "html/entities.py", "encodings/cp037.py", "pydoc.py"]
    names += ["_pydecimal.py", "idlelib/help.html", "pydoc_data/topics.py", "turtledemo/tree.py"]
    texts = []
    for name in names:
        if (library / name).is_file():
            texts.append((library / name).read_bytes().decode())
            texts.append(texts[-1].replace("\n", "\r\n"))
    assert len(texts) >= 10
    check(texts)


def test_a_slice_of_a_column_is_measured_as_the_whole() -> None:
    column = pa.array(["left out", "a\nbb\n", "", "ccc"], pa.large_string()).slice(1, 2)
    measured = line_statistics(*buffers(column))
    assert measured.lines.tolist() == [2, 0]
    assert measured.longest_line.tolist() == [2, 0]


def test_paths_and_names_are_not_encoded() -> None:
    coded = base64.b64encode(bytes(range(256)) * 4).decode()
    texts = [
        "tests/cases/conformance/parser/ecmascript5/ErrorRecovery/parserErrorRecovery12/case",
        "github.com/actions/toolkit/blob/5e5e1b7aacba68a53836a34db4a288c3c1c1585b/packages/core/src",
        "superCallFromClassThatDerivesFromGenericTypeButWithIncorrectNumberOfTypeArguments1",
        hashlib.sha256(b"a digest").hexdigest(),
        coded,
        "\n".join(coded[i : i + 64] for i in range(0, len(coded), 64)),
    ]
    runs = line_statistics(*buffers(pa.array(texts, pa.large_string()))).encoded_run.tolist()
    assert runs == [0, 0, 0, 64, len(coded), len(texts[-1])]


def test_one_huge_line() -> None:
    text = "ab1 " * 500_000
    measured = line_statistics(*buffers(pa.array([text], pa.large_string())))
    assert measured.longest_line[0] == measured.characters[0] == len(text)
    assert measured.lines[0] == 1


@given(st.lists(st.sampled_from(["DO NOT EDIT", "auto-Generated", "x", "\n", "é", "do not "])))
@settings(deadline=None)
def test_markers_are_found_as_by_lower_case_search(parts: list[str]) -> None:
    markers = ("auto-generated", "do not edit", "do not")
    text = "".join(parts)
    data, offsets = buffers(pa.array(["pad", text], pa.large_string()))
    found = first_marker(data, offsets, line_statistics(data, offsets).head_bytes, markers)
    places = [(head(text).lower().find(m), i + 1) for i, m in enumerate(markers)]
    first = min((place for place in places if place[0] >= 0), default=(0, 0))
    assert found.tolist() == [0, first[1]]


def test_a_marker_inside_a_harmless_phrase_is_none() -> None:
    texts = ["may be x", "be x, and x", "xbe x", "BE X", "be", "be xx", "be be x"]
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    heads = line_statistics(data, offsets).head_bytes
    assert first_marker(data, offsets, heads, ("x",), ("be x",)).tolist() == [0, 1, 1, 0, 0, 1, 0]


class Visible(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=False)
        self.hidden, self.text = "", ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in ("script", "style", "template", "noscript") and not self.hidden:
            self.hidden = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self.hidden:
            self.hidden = ""

    def handle_data(self, data: str) -> None:
        self.text += "" if self.hidden else data

    def handle_entityref(self, name: str) -> None:
        self.handle_data(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.handle_data(f"&#{name};")

    def count(self) -> int:
        return len(re.sub(r"[ \t\n\r\f\v]+", " ", self.text).strip(" \t\n\r\f\v"))


PAGES = [
    "",
    "plain text",
    "  <p>one  two</p>\n<b>three</b> ",
    "<!DOCTYPE html><title>été</title><!-- hidden <b> --><p>&amp; seen &#233;</p>",
    "<style>p { color: red }</style><p>a</p><script>if (a < b) { x = '<p>' }</script>c",
    "<SCRIPT src='x'>y</SCRIPT ><p title='a > b'>d</p>",
    "a < b and 3 <4 <p>e</p>",
    "<template><p>no</p></template>yes<noscript>no</noscript> <scripty>yes</scripty>",
]


def test_visible_text_is_what_the_html_parser_sees() -> None:
    data, offsets = buffers(pa.array(PAGES, pa.large_string()))
    measured = visible_text(data, offsets, np.arange(len(PAGES)))
    assert measured.tolist() == [Visible(page).count() for page in PAGES]
    assert visible_text(data, offsets, np.array([3, 1])).tolist() == measured[[3, 1]].tolist()


@settings(max_examples=200, deadline=None)
@given(st.text("<>/!-='\"scriptyle \n", max_size=80))
def test_visible_text_ends_on_any_text(text: str) -> None:
    measured = visible_text(*buffers(pa.array([text], pa.large_string())), np.arange(1))
    assert 0 <= measured[0] <= len(text)


def test_no_documents() -> None:
    data, offsets = np.zeros(0, np.uint8), np.zeros(1, np.int64)
    assert len(line_statistics(data, offsets).lines) == 0
    assert len(visible_text(data, offsets, np.arange(0))) == 0
