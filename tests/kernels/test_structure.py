"""Comments against Python's tokenizer and hand-made cases; faults by hand, one kind at a time."""

from __future__ import annotations

import ast
import io
import sysconfig
import tokenize
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.documents import buffers
from firnline.kernels.lexical import STARTER_HASHES, features, word_hash
from firnline.kernels.structure import FAULTS, structure
from firnline.languages import LANGUAGES

FOLLOWED = [name for name in LANGUAGES if features(name)]


def walk(text: str, language: str) -> tuple[int, dict[str, int]]:
    """(characters of comments, the faults there are)."""
    data, offsets = buffers(pa.array(["pad (", text, "pad )"], pa.large_string()))
    kinds = np.array([features("C"), features(language), features("C")])
    comments, faults, _ = structure(data, offsets, kinds)
    return int(comments[1]), {
        name: int(count) for name, count in zip(FAULTS, faults[1], strict=True) if count
    }


def non_white(text: str) -> int:
    return sum(character not in " \t\n\r\f\v" for character in text)


def python_comments(text: str) -> int:
    """Comments and strings in three quotes that stand alone, by the standard library."""
    found = sum(
        non_white(token.string)
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    )
    for node in ast.walk(ast.parse(text)):
        alone = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if alone and isinstance(node.value.value, str):  # type: ignore[attr-defined]  # is Expr
            string = ast.get_source_segment(text, node) or ""
            prefix = len(string) - len(string.lstrip("rRbBuU"))
            found += non_white(string[prefix:]) if string.endswith(('"""', "'''")) else 0
    return found


def test_python_comments_are_those_of_the_tokenizer() -> None:
    library = Path(sysconfig.get_paths()["stdlib"])
    names = "argparse ast bdb calendar cmd codecs csv dis enum heapq inspect json/decoder pdb "
    names += "logging/__init__ pickle pydoc random shlex string subprocess tarfile textwrap typing"
    checked = 0
    for name in names.split():
        path = library / f"{name}.py"
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        comments, faults = walk(text, "Python")
        assert comments == python_comments(text), name
        assert not set(faults) - {"prose"}, name
        checked += 1
    assert checked > 15


# language, text, how many characters of it are comments
COMMENTS = [
    ("Java", 'int a; // ab\n/* c\n d */ String s = "// no";', 10),
    ("Java", 'String s = """\n // no\n "quoted" """; // ab', 4),
    ("C", "char c = '\"'; /* ab */ char d = '\\''; // cd", 10),
    ("C++", 'auto s = R"x(// no )" )x"; // ab', 4),
    ("C#", 'var s = @"c:\\"; // ab\nvar t = $@"""no"""; // cd', 8),
    ("JavaScript", "const r = /[/\"]/g; // ab\nlet t = `// no ${f({a: '}'})} // no`; // cd", 8),
    ("JavaScript", "let x = a / b / c; // ab", 4),
    ("Go", "s := `c:\\`\n// ab", 4),
    ("Rust", 'fn f<\'a>(x: &\'a str) {} /* a /* b */ c */ let s = r#"// "no"#; // d', 14),
    ("Kotlin", 'val s = "${f("}")} // no" // ab', 4),
    ("Ruby", 's = \'no # no\' # ab\nt = "#{f("x")} # no"\nu = %w[# no]\nv = /#/\n# cd', 6),
    ("Ruby", "=begin\nab\n=end\nx = 1", 8),
    ("Ruby", "s = <<~TEXT\n  # no ' no\nTEXT\n# ab", 3),
    ("Shell", 'echo $# ${a#b} "$(f "x")" \'it\' # ab\ncat <<EOF\n# no \'\nEOF\n', 3),
    ("PHP", "<p>it's // no</p><?php // ab\n#[A]\n# cd\n?> it's <?= 1 /* e */ ?>", 12),
    ("SQL", "select 'it''s -- no' -- ab\n/* c */", 9),
    ("Lua", "--[[ a\nb ]] x = 1 -- c", 11),
    ("CSS", "a { b: c } /* d */", 5),
    ("Python", "x = '''no'''\ny = f('''no''')\n", 0),
]


@pytest.mark.parametrize(("language", "text", "characters"), COMMENTS)
def test_comments_by_hand(language: str, text: str, characters: int) -> None:
    assert walk(text, language) == (characters, {})


# language, text, the only kind of fault it has
FAULTY = [
    ("Java", "void f() { g(1; }", "brackets"),
    ("Java", "class A { void f() { }", "brackets"),
    ("JavaScript", "let t = `${a", "brackets"),
    ("Go", 's := "open\n', "strings"),
    ("Java", "char c = 'many letters';", "strings"),
    ("C", "int a; /* open", "strings"),
    ("Python", "<<<<<<< HEAD\n", "markers"),
    ("Python", "{% if a -%}\n", "markers"),
    ("C", "@@ -1,5 +1,7 @@ int\n", "markers"),
    ("Ruby", "<%= a %>\n", "markers"),
    ("Go", "this line has no code in it at all\n", "prose"),
    ("Python", "if a:\nb = 1\n", "layout"),
    ("Python", "a = 1\n    b = 2\n", "layout"),
    ("Python", "f(a;b)\n", "layout"),
    ("Java", "# a comment of Python\n", "layout"),
    ("JavaScript", "interface A {}\n", "foreign"),
    ("Python", "public class A: pass\n", "foreign"),
    ("Rust", "def f(): pass\n", "foreign"),
    ("C", "int a\x00 = 5;", "control"),
]


@pytest.mark.parametrize(("language", "text", "kind"), FAULTY)
def test_faults_by_hand(language: str, text: str, kind: str) -> None:
    assert set(walk(text, language)[1]) == {kind}


# What looks like a fault and is none.
SOUND = [
    ("C", "#if A\nif (x) {\n#else\nif (y) {\n#endif\n}\n#define OPEN { \\\n (\n#error don't\n"),
    ("C++", "int a = 1'000'000; char c = '('; auto d = L'\\u00e9';"),
    ("C#", "#region it's (\n#endregion\nvar c = '\\'';"),
    (
        "Rust",
        "impl<'a> A<'a> { const C: char = '\\u{1F600}'; fn f() -> &'static str { \"a\nb\" } }",
    ),
    (
        "Python",
        "if a:\n\n  # c\n    b = (1,\n2)\nelse: c = 1\nd = {\n'x': 1}\ne = a \\\n      + 1\n",
    ),
    ("Ruby", "a = x ? '(' : ?( \nb = $' + f?(1) / 2\n%w(a b).map { |x| x }\ny = <<-A\n(\n  A\n"),
    ("Shell", 'case $x in\n a) echo "it\'s" ;;\nesac\n'),
    ("PHP", "<?php if ($a): ?> :) <?php endif; ?> ("),
    ("JavaScript", "const x = <p>{a}</p>; if (/\\(/.test(b)) { return /[)]/ }"),
    ("Kotlin", 'val s = """it\'s ${f("(")} ("""\n'),
]


@pytest.mark.parametrize(("language", "text"), SOUND)
def test_what_is_no_fault(language: str, text: str) -> None:
    assert walk(text, language)[1] == {}


def test_a_language_that_is_not_followed_has_nothing() -> None:
    assert walk("# ( it's", "Markdown") == (0, {})


def test_line_ends_and_first_words_are_counted() -> None:
    text = "int a;\nif b:  // no\n\na b c d e f g h\nx>\nWhat is it?\nf(\n"
    data, offsets = buffers(pa.array([text], pa.large_string()))
    lines = structure(data, offsets, np.array([features("C")]))[2]
    # lines, words, semicolon, angle, colon, stop, other
    assert lines.tolist() == [[6, 2 + 2 + 7 + 1 + 3 + 1, 1, 1, 1, 1, 2]]


def test_word_hashes_are_those_of_the_walk() -> None:
    assert STARTER_HASHES[word_hash(b"interface") & 1023] == word_hash(b"interface")


PIECES = [
    *"\"'`()[]{}/*#<%?=\\\n -ax@$R0é",
    "<<<A",
    "/*",
    "*/",
    '"""',
    "${",
    "#{",
    "r#",
    "\n=begin",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join), st.sampled_from(FOLLOWED))
def test_it_ends_within_bounds_on_any_text(text: str, language: str) -> None:
    comments, faults = walk(text, language)
    assert 0 <= comments <= non_white(text)
    assert all(count <= 2 * len(text) + 2 for count in faults.values())


def test_deep_nesting_and_long_searches_end() -> None:
    for language in FOLLOWED:
        for piece in ("(", "${", "`${", "<<A ", "%w(", 'r#"', 'R"(', "/ ", "/*", "#if\n", "\\"):
            walk(piece * 3_000, language)
