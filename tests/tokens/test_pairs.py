"""Pairs of text and code: what describes a function, the stage, and the loader."""

from __future__ import annotations

import ast
import inspect
import sysconfig
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firnline.errors import FirnlineError
from firnline.parsing import LONGEST_BYTES
from firnline.tokens import pairs
from firnline.tokens.descriptions import described_functions
from firnline.tokens.pairs import Pairs, PairsConfig
from firnline.tokens.tokenizer import Tokenizer

CASES = {
    "Java": (
        "class A {\n  /**\n   * Adds two numbers\n   * of one kind.\n   *\n"
        "   * @param a one\n   */\n"
        "  int add(int a, int b) {\n    return a + b;\n  }\n}\n",
        "Adds two numbers of one kind.",
        "int add(int a, int b) {\n  return a + b;\n}",
    ),
    "Go": (
        "package m\n\n// Add gives the sum\n// of both.\n"
        "func Add(a, b int) int {\n\treturn a + b\n}\n",
        "Add gives the sum of both.",
        "func Add(a, b int) int {\n\treturn a + b\n}",
    ),
    "JavaScript": (
        "/* The sum of both. */\nexport function add(a, b) {\n  return a + b;\n}\n",
        "The sum of both.",
        "export function add(a, b) {\n  return a + b;\n}",
    ),
    "Rust": (
        "/// The sum of both.\nfn add(a: u8, b: u8) -> u8 {\n    a + b\n}\n",
        "The sum of both.",
        "fn add(a: u8, b: u8) -> u8 {\n    a + b\n}",
    ),
    "Ruby": (
        "class A\n  # The sum of both.\n  def add(a, b)\n    a + b\n  end\nend\n",
        "The sum of both.",
        "def add(a, b)\n  a + b\nend",
    ),
    "C": (
        "int x; // not about it\n\n// The sum of both.\n"
        "int add(int a, int b)\n{\n  return a + b;\n}\n",
        "The sum of both.",
        "int add(int a, int b)\n{\n  return a + b;\n}",
    ),
    "Lua": (
        "-- The sum of both.\nfunction add(a, b)\n  return a + b\nend\n",
        "The sum of both.",
        "function add(a, b)\n  return a + b\nend",
    ),
    "Python": (
        'class A:\r\n    def add(self, a, b):\r\n        """The sum\r\n        of both.\r\n\r\n'
        '        More.\r\n        """\r\n        total = a + b\r\n        return total\r\n',
        "The sum of both.",
        "def add(self, a, b):\n    total = a + b\n    return total",
    ),
}


@pytest.mark.parametrize("language", sorted(CASES))
def test_a_function_and_its_description(language: str) -> None:
    content, text, code = CASES[language]
    assert described_functions(language, content) == [(text, code)]


@pytest.mark.parametrize(
    ("language", "content"),
    [
        ("Go", "// The sum of both.\n\nfunc Add(a, b int) int {\n\treturn a + b\n}\n"),  # apart
        ("Go", "// Sum.\nfunc Add(a, b int) int {\n\treturn a + b\n}\n"),  # two words or fewer
        ("Go", "// ---- ---- ----\nfunc Add(a, b int) int {\n\treturn a + b\n}\n"),
        ("Go", "// The sum of both.\nfunc Add(a, b int) int { return a + b }\n"),  # a line
        ("Go", "var x = 1 // The sum of both.\nfunc Add(a, b int) int {\n\treturn a\n}\n"),
        ("Python", 'def f(a): "The sum of both."; return a\n'),
        ("Python", 'def f(a):\n    """The sum of both."""\n'),
        ("Python", "def f(a:\n"),
        ("Python", "(" * 5000),
        ("Markdown", "# The sum of both.\ndef f():\n  1\n  2\n"),
        ("Python", "x = 1\n" * LONGEST_BYTES),
        ("Go", ""),
    ],
)
def test_what_describes_nothing(language: str, content: str) -> None:
    assert described_functions(language, content) == []


def test_descriptions_of_the_library_are_the_docstrings_that_python_sees() -> None:
    import heapq

    found = dict(described_functions("Python", inspect.getsource(heapq)))
    said = [heapq.merge, heapq.nsmallest, heapq.nlargest]
    for function in said:
        text = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
        assert text in found
        code = ast.parse(found[text]).body[0]
        assert isinstance(code, ast.FunctionDef)
        assert code.name == function.__name__
        assert ast.get_docstring(code) is None
        whole = ast.parse(inspect.getsource(function)).body[0]
        assert isinstance(whole, ast.FunctionDef)
        assert ast.dump(ast.Module(whole.body[1:], [])) == ast.dump(ast.Module(code.body, []))


@pytest.fixture(scope="module")
def folder(corpus: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "pairs"
    result = pairs.run(PairsConfig(), corpus, tokenizer_folder, out, workers=1)
    assert result.stats["pairs"] == pq.read_table(out / "pairs.parquet").num_rows > 20
    return out


def expected_pairs(corpus: Path) -> list[tuple[str, str]]:
    found = []
    for path in sorted((corpus / "data").glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            if row["split"] == "train":
                found += described_functions(row["language"], row["content"])
    return found


def test_an_epoch_gives_each_pair_once_and_cuts_long_ones(
    folder: Path, corpus: Path, tokenizer_folder: Path
) -> None:
    tokenizer = Tokenizer.load(tokenizer_folder)
    source = Pairs(folder, text_length=9, code_length=30, seed=1, phase="alpha")
    expected = expected_pairs(corpus)
    assert len(source) == len(expected)
    for epoch in (0, 1):
        first = epoch * len(source)
        assert sorted(source.rows(first, len(source))) == list(range(len(source)))
        texts, codes = source.pairs(first, len(source))
        for row, number in enumerate(source.rows(first, len(source)).tolist()):
            for ids, text in ((texts[row], expected[number][0]), (codes[row], expected[number][1])):
                wanted = tokenizer.encode(text).tolist()[: len(ids)]
                assert ids.tolist() == wanted + [-1] * (len(ids) - len(wanted))
    around = source.pairs(len(source) - 3, 6)
    for part, ids in enumerate(around):
        assert np.array_equal(ids[:3], source.pairs(len(source) - 3, 3)[part])
        assert np.array_equal(ids[3:], source.pairs(len(source), 3)[part])
    assert not np.array_equal(source.rows(0, len(source)), source.rows(len(source), len(source)))


def test_the_pairs_of_some_documents_and_the_numbers_of_each(folder: Path) -> None:
    """Against a look at every number of two epochs and a half."""
    ids = pq.read_table(folder / "pairs.parquet")["id"].to_pylist()
    some = sorted(set(ids))[::2]
    lengths = {"text_length": 9, "code_length": 30, "seed": 1, "phase": "alpha"}
    source = Pairs(folder, documents=pa.array(some, pa.binary(16)), **lengths)
    mine = [row for row, name in enumerate(ids) if name in some]
    assert sorted(source.rows(0, len(source))) == mine
    count = len(source) * 5 // 2
    texts, codes = source.pairs(0, count)
    told = source.documents(0, count)
    assert [row["text_tokens"] for row in told] == (texts >= 0).sum(1).tolist()
    assert [row["code_tokens"] for row in told] == (codes >= 0).sum(1).tolist()
    for name in {*some[:5], *ids}:
        numbers = [number for number, row in enumerate(told) if row["id"] == name]
        assert source.numbers_of(name, count).tolist() == numbers
    whole = pq.read_table(folder / "pairs.parquet").take(mine)
    tokens = sum(whole["text_tokens"].to_pylist()) + sum(whole["code_tokens"].to_pylist())
    assert source.supply() == (len(some), tokens)
    with pytest.raises(FirnlineError, match=r"no pair of .* is used"):
        Pairs(folder, documents=pa.array([bytes(16)], pa.binary(16)), **lengths)


def test_the_same_bytes_from_two_processes(
    folder: Path, corpus: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    other = pairs.run(PairsConfig(), corpus, tokenizer_folder, tmp_path / "o", workers=2).folder
    for path in [*sorted(folder.glob("shard-*.bin")), folder / "pairs.parquet"]:
        assert path.read_bytes() == (other / path.name).read_bytes()


def test_bad_input(folder: Path, corpus: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FirnlineError, match="at least one"):
        Pairs(folder, text_length=0, code_length=1, seed=0, phase="a")
    cut = tmp_path / "cut"
    cut.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (cut / path.name).write_bytes(path.read_bytes())
    shard = next(path for path in sorted(cut.glob("shard-*.bin")) if path.stat().st_size)
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(FirnlineError, match="its index says"):
        Pairs(cut, text_length=4, code_length=4, seed=0, phase="a")
    config = PairsConfig(splits=("nowhere",))
    with pytest.raises(FirnlineError, match="no described function"):
        pairs.run(config, corpus, tokenizer_folder, tmp_path / "none", workers=1)


def test_nothing_of_the_library_breaks_it() -> None:
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("[i-l]*.py")):
        for pair in described_functions("Python", path.read_text(errors="replace")):
            assert pair.text == " ".join(pair.text.split())
            ast.parse(pair.code)
