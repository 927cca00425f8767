"""Labels of tokens: identifiers and code, against Python's own parser and cases made by hand."""

from __future__ import annotations

import ast
import io
import keyword
import sysconfig
import token
import tokenize
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from firnline.errors import FirnlineError
from firnline.kernels.identifiers import CODE, FIRST, HEAD, LAST, MOST_AROUND, NEVER, NUMBER, TAIL
from firnline.parsing import LONGEST_BYTES
from firnline.tokens import identifiers, pack
from firnline.tokens.grammars import KINDS, marks, parse
from firnline.tokens.identifiers import IdentifiersConfig, label_document
from firnline.tokens.samples import Samples
from firnline.tokens.tokenizer import Tokenizer

SAMPLES = {
    "Python": ("import os\n# os\ndef area(w):\n    'w is'\n    return w*w\n", "os area w w w"),
    "Java": ("class A { int f(T x) { /* x */ return x.y; } }", "A f T x x y"),
    "C": ("struct s { int a; }; // a\nint f(t *p) { return p->a; }", "s a f t p p a"),
    "C++": ("namespace n { t f(int x) { return n::g(x); } }", "n t f x n g x"),
    "JavaScript": ("const {a, b: c} = f(); class K { #p = a.q }", "a b c f K #p a q"),
    "TypeScript": ("interface I { x: T }\nconst f = (a: I) => a.x", "I x T f a I a x"),
    "PHP": ("x <?php function f($a) { return g($a); }", "f a g a"),
    "C#": ("class A { int F(T x) => x.Y; }", "A F T x x Y"),
    "Go": ("package m\nfunc f(x T) int { return x.y }", "m f x T int x y"),
    "SQL": ("SELECT a FROM t;", "a t"),
    "Ruby": ("class A\n  def f(x)\n    @y = x\n  end\nend", "A f x @y x"),
    "Rust": ("fn f(x: T) -> u8 { x.y } // x", "f x T x y"),
    "Scala": ("def f(x: T) = g(x)", "f x T g x"),
    "Kotlin": ("fun f(x: T): T { return x }", "f x T T x"),
    "Shell": ("f() { A=1; echo $A; }", "f A A"),
    "Dart": ("class A { B x; }", "A B x"),
    "Swift": ("func f(x: T) -> T { return x }", "f x T T x"),
    "Lua": ("local function f(x) return x.y end", "f x x y"),
}


@pytest.mark.parametrize("language", sorted(KINDS))
def test_identifiers_of_each_language(language: str) -> None:
    text, expected = SAMPLES[language]
    tree = parse(language, text.encode())
    assert tree is not None
    found = marks(language, tree)
    spans = zip(found.identifier_starts, found.identifier_ends, strict=True)
    assert [text[start:end] for start, end in spans] == expected.split()


def python_files() -> list[str]:
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("[a-h]*.py"))
    return [text for file in files if (text := file.read_text()).isascii()][:12]


def plain_labels(text: str) -> tuple[dict[int, str], np.ndarray]:
    """Names by their first byte, and which bytes are code, by Python's own tokenizer and ast."""
    lines = np.cumsum([0, *(len(line) for line in text.splitlines(keepends=True))])
    names, code = {}, np.array([not character.isspace() for character in text])
    for part in tokenize.generate_tokens(io.StringIO(text).readline):
        start = int(lines[part.start[0] - 1]) + part.start[1]
        if part.type == token.NAME and not keyword.iskeyword(part.string):
            names[start] = part.string
        elif part.type == token.COMMENT:
            code[start : start + len(part.string)] = False
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            value = node.value
            if isinstance(value.value, str) and value.end_lineno and value.end_col_offset:
                first = int(lines[value.lineno - 1]) + value.col_offset
                code[first : int(lines[value.end_lineno - 1]) + value.end_col_offset] = False
    return names, code


def test_labels_of_real_python_are_those_of_its_own_tokenizer(tokenizer_folder: Path) -> None:
    tokenizer = Tokenizer.load(tokenizer_folder)
    for text in python_files():
        ids = tokenizer.encode(text)
        sizes = np.array([len(tokenizer.token_bytes[i]) for i in ids.tolist()])
        labels = label_document("Python", text.encode(), sizes)
        assert labels is not None
        names, code = plain_labels(text)
        begins = np.cumsum(sizes) - sizes
        numbers: dict[str, int] = {}
        inside = np.zeros(len(text), dtype=bool)
        for start, name in names.items():
            inside[start : start + len(name)] = True
        for place, label in enumerate(labels.tolist()):
            held = slice(begins[place], begins[place] + sizes[place])
            # f-strings are one token to this Python's tokenizer: their names are not compared.
            if "f'" in text[: held.stop] or 'f"' in text[: held.stop]:
                break
            assert bool(label & CODE) == bool(code[held].any())
            assert bool(label & NUMBER) == bool(inside[held].any()), text[held]
            if label & FIRST:
                start = int(begins[place]) + ((label >> HEAD) & MOST_AROUND)
                number = numbers.setdefault(names[start], len(numbers) + 1)
                assert label & NUMBER == number
                end = place
                while not labels[end] & LAST:
                    end += 1
                stop = int(begins[end] + sizes[end]) - int(labels[end] >> TAIL)
                assert text[start:stop] == names[start]


def test_an_identifier_that_shares_a_token_is_never_masked() -> None:
    # Tokens: `x_.__` `y` ` ` `=` ` ` `z`.
    sizes = np.array([5, 1, 1, 1, 1, 1])
    labels = label_document("Python", b"x_.__y = z", sizes)
    assert labels is not None
    assert (labels & NUMBER).tolist() == [NEVER, NEVER, 0, 0, 0, 3]
    far = b" " * (MOST_AROUND + 1)
    labels = label_document("Python", b"f(" + far + b"x)", np.array([2, MOST_AROUND + 2, 1]))
    assert labels is not None
    assert (labels & NUMBER).tolist() == [1, NEVER, 0]


def test_what_is_not_parsed_has_no_labels() -> None:
    for language, text in (
        ("Markdown", b"# x"),
        ("unheard of", b"x"),
        ("Python", b""),
        ("Python", b"x" * (LONGEST_BYTES + 1)),
    ):
        assert label_document(language, text, np.array([len(text)])) is None
    assert label_document("Python", b"x = 1", np.array([4])) is None  # bytes were lost
    assert label_document("Python", b")) def ((", np.array([9])) is not None


@pytest.fixture(scope="module")
def folders(
    corpus: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("labelled")
    config = pack.PackConfig(path_line="path")
    tokens = pack.run(config, corpus, tokenizer_folder, base / "tokens").folder
    out = base / "labels"
    identifiers.run(IdentifiersConfig(), corpus, tokenizer_folder, tokens, out, workers=1)
    return tokens, out


def test_samples_of_the_label_folder_are_the_labels_of_the_same_tokens(
    folders: tuple[Path, Path],
) -> None:
    rows = {row["id"]: row for row in pq.read_table(folders[0] / "index.parquet").to_pylist()}
    plain, labelled = (
        Samples(folder, sequence_length=64, seed=3, phase="alpha") for folder in folders
    )
    for number in range(0, plain.samples_per_epoch, 7):
        expected = []
        for piece in plain.documents(number):
            row = rows[piece.id]
            path = folders[1] / f"shard-{row['shard']:05d}.bin"
            offset = 4 * (row["offset"] + piece.start)
            expected.append(np.fromfile(path, np.uint32, piece.end - piece.start, offset=offset))
        assert np.array_equal(labelled.batch(number, 1).ids[0], np.concatenate(expected))


def test_names_in_a_shard_are_the_bytes_of_their_tokens(
    folders: tuple[Path, Path], tokenizer_folder: Path
) -> None:
    """In each document one number is one name, whatever tokens spell it; path lines have none."""
    tokens, labels = folders
    tokenizer = Tokenizer.load(tokenizer_folder)
    found = 0
    for row in pq.read_table(tokens / "index.parquet").to_pylist():
        name, count = f"shard-{row['shard']:05d}.bin", row["tokens"]
        ids = np.fromfile(tokens / name, np.uint16, count, offset=2 * row["offset"])
        bits = np.fromfile(labels / name, np.uint32, count, offset=4 * row["offset"])
        names: dict[int, bytes] = {}
        text, place = b"", 0
        for id_, label in zip(ids.tolist(), bits.tolist(), strict=True):
            part = tokenizer.token_bytes[id_]
            assert not label or place + len(part) > row["header"]
            place += len(part)
            if label & FIRST:
                text, part = b"", part[(label >> HEAD) & MOST_AROUND :]
            text += part
            if label & LAST:
                tail = label >> TAIL
                text = text[: len(text) - tail]
                assert names.setdefault(label & NUMBER, text) == text
                found += 1
        assert len(set(names.values())) == len(names)
    assert found > 5_000


def test_the_same_bytes_from_two_processes_and_a_skip(
    folders: tuple[Path, Path], corpus: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    tokens, labels = folders
    config = IdentifiersConfig()
    other = identifiers.run(config, corpus, tokenizer_folder, tokens, tmp_path / "o", workers=2)
    for path in sorted(labels.glob("shard-*.bin")):
        assert path.read_bytes() == (other.folder / path.name).read_bytes()
    assert (
        other.stats
        == identifiers.run(config, corpus, tokenizer_folder, tokens, labels, workers=1).stats
    )
    assert other.stats["languages"]["Python"]["parsed"] > 0
    assert (
        other.stats["tokens"] == pq.read_table(tokens / "index.parquet")["tokens"].to_numpy().sum()
    )


def test_other_documents_are_refused(
    folders: tuple[Path, Path], corpus: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    tokens, _ = folders
    data = tmp_path / "data"
    data.mkdir()
    paths = sorted((corpus / "data").glob("*.parquet"))
    for path, source in zip(paths, reversed(paths), strict=True):
        (data / path.name).write_bytes(source.read_bytes())
    with pytest.raises(FirnlineError, match="was not packed from"):
        identifiers.run(
            IdentifiersConfig(), tmp_path, tokenizer_folder, tokens, tmp_path / "o", workers=1
        )
