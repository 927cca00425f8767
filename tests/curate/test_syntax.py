"""Shares of errors by hand, and what the screen finds of code that was broken on purpose."""

from __future__ import annotations

import ast
import random
import sysconfig
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline import parsing
from firnline.curate import syntax
from firnline.languages import LANGUAGES

GOOD = {
    "Python": "def f(a):\n    return [a, {'b': 1}]\n\n\nclass A:\n    pass\n",
    "Java": "class A { int f(int a) { return a + 1; } }\n",
    "C": "#include <a.h>\nint main(void) { return 0; }\n",
    "C++": "template <typename T> T f(T a) { return a; }\n",
    "C#": "namespace A { class B { int C => 1; } }\n",
    "JavaScript": "export const f = (a) => ({ b: `${a}` });\n",
    "TypeScript": "interface A { b: string }\nconst c = <T,>(a: T): T => a;\n",
    "PHP": "<p><?php echo f($a); ?></p>\n",
    "Go": "package a\n\nfunc f() (int, error) { return 1, nil }\n",
    "Ruby": "def f(a)\n  a.map { |b| b + 1 }\nend\n",
    "Rust": "fn f<'a>(a: &'a str) -> &'a str { a }\n",
    "Scala": "object A { def f(a: Int): Int = a + 1 }\n",
    "Kotlin": "fun f(a: Int): Int = a + 1\n",
    "Shell": 'if [ -n "$a" ]; then echo "$(f)"; fi\n',
    "Lua": "local function f(a) return a + 1 end\n",
    "Swift": "func f(a: Int) -> Int { return a + 1 }\n",
    "Dart": "int f(int a) => a + 1;\n",
}
PROSE = "The quick brown fox: jumps over (the lazy dog. It's a story\nthat isn't code at all.\n" * 5


def shares(texts: list[str], languages: list[str], every: bool = False) -> list[float]:
    content = pa.array(texts, pa.large_string())
    return list(syntax.error_shares(content, languages, every=every))


def test_good_code_has_no_errors_in_any_language() -> None:
    assert shares(list(GOOD.values()), list(GOOD), every=True) == [0.0] * len(GOOD)


def test_prose_is_an_error_where_a_language_has_more_than_words() -> None:
    strict = ["Python", "Java", "C", "C++", "JavaScript", "TypeScript", "Go", "Rust"]
    assert min(shares([PROSE] * len(strict), strict, every=True)) > 0.3


def test_every_language_with_a_grammar_is_tested() -> None:
    with_grammar = {name for name, known in LANGUAGES.items() if known.grammar}
    assert with_grammar - {"SQL"} <= set(GOOD)


def test_only_what_belongs_to_an_error_itself_counts() -> None:
    method = "  void f() { g(1, 2); }\n"
    text = "class A {\n" + method * 50  # the closing brace is missing
    (share,) = shares([text], ["Java"], every=True)
    assert 0 < share < 0.05
    (share,) = shares(["x = $$$$\n"], ["Python"], every=True)
    assert share == pytest.approx(6 / 9)  # x, = and four signs of nine bytes


def test_jsx_in_typescript_is_no_error() -> None:
    assert shares(["const a = <p>{b}</p>;\n"], ["TypeScript"], every=True) == [0.0]


def test_what_is_not_parsed_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["x = 1\n", "( select", "(((", "", "f(((\n"]
    found = shares(texts, ["Python", "SQL", "Markdown", "Python", "Python"])
    assert np.isnan(found).tolist() == [True, True, True, True, False]
    monkeypatch.setattr(parsing, "LONGEST_BYTES", 3)
    assert np.isnan(shares(["f(((\n"], ["Python"]))
    monkeypatch.undo()
    monkeypatch.setattr(parsing, "STEPS_PER_BYTE", 0)
    monkeypatch.setattr(parsing, "FEWEST_STEPS", 0)
    long = "f((1,\n" * 400
    assert np.isnan(shares([long], ["Python"]))
    monkeypatch.undo()
    assert shares([long, "x = 1\n"], ["Python"] * 2, every=True)[1] == 0.0  # the parser goes on


def test_suspects_given_are_the_ones_parsed() -> None:
    content = pa.array(["x = 1\n", "x = (\n"], pa.large_string())
    found = syntax.error_shares(content, ["Python"] * 2, suspected=np.array([True, False]))
    assert found[0] == 0.0 and np.isnan(found[1])


def broken(text: str, how: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    if how == "conflict":
        for _ in range(10):
            place = rng.randrange(len(lines))
            lines[place:place] = ["<<<<<<< HEAD\n", lines[place], "=======\n", ">>>>>>> other\n"]
    elif how == "diff":
        lines = [f"@@ -{i},7 +{i},7 @@\n-{line}" for i, line in enumerate(lines)]
    elif how == "template":
        lines = [f"{{% if a %}}{line}" if i % 3 == 0 else line for i, line in enumerate(lines)]
    else:
        rng.shuffle(lines)
    return "".join(lines)


def test_the_screen_finds_what_full_parsing_would_drop() -> None:
    library = Path(sysconfig.get_paths()["stdlib"])
    rng = random.Random(1)
    texts = []
    for path in sorted(library.glob("*.py"))[:60]:
        text = path.read_text(encoding="utf-8")
        ast.parse(text)
        if 2_000 < len(text) < 30_000:
            texts.append(text)
    assert len(texts) > 20
    unbroken = np.isnan(shares(texts, ["Python"] * len(texts)))
    assert unbroken.mean() > 0.9  # few good files are parsed
    for how in ("conflict", "diff", "template", "shuffle"):
        planted = [broken(text, how, rng) for text in texts[:20]]
        every = np.array(shares(planted, ["Python"] * 20, every=True))
        screened = np.array(shares(planted, ["Python"] * 20))
        assert (every > 0.02).any()
        assert not np.isnan(screened[every > 0.02]).any(), how
    wrong = list(GOOD.values())[1:7] * 3
    assert not np.isnan(shares([text * 4 for text in wrong], ["Python"] * len(wrong))).any()


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=200), st.sampled_from(sorted(GOOD)))
def test_any_text_gets_a_share(text: str, language: str) -> None:
    (share,) = shares([text], [language], every=True)
    assert np.isnan(share) if not text else 0 <= share <= 1
