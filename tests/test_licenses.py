"""SPDX expressions: the grammar, and which expressions are permissive."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firnline.licenses import PERMISSIVE_LICENSES, canonical, ids, parse, permissive


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("MIT", True),
        ("mit", True),
        (" ( MIT ) ", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-2.0-only OR MIT AND BSD-3-Clause", True),  # AND binds closer than OR
        ("(GPL-2.0-only OR MIT) AND GPL-3.0-only", False),
        ("(GPL-2.0-only or mit) and (Apache-2.0 or AGPL-3.0-only)", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
        ("Apache-2.0+", True),
        ("GPL-2.0+", False),
        ("WTFPL", False),
        ("CC-BY-SA-4.0", False),
        ("LicenseRef-Proprietary", False),
        ("MIT OR", False),
        ("MIT Apache-2.0", False),
        ("(MIT", False),
        ("MIT)", False),
        ("see LICENSE", False),
        ("(" * 5000, False),
        ("", False),
        (None, False),
    ],
)
def test_permissive(expression: str | None, answer: bool) -> None:
    assert permissive(expression) is answer


def test_a_recipe_can_change_the_list() -> None:
    assert permissive("MPL-2.0", frozenset({"MPL-2.0"}))
    assert not permissive("MIT", frozenset({"MPL-2.0"}))
    pair = frozenset({"GPL-2.0-only WITH Classpath-exception-2.0"})
    assert permissive("GPL-2.0-only with classpath-exception-2.0", pair)
    assert not permissive("GPL-2.0-only", pair)


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        ("mit", "MIT"),
        ("apache-2.0 or mit", "Apache-2.0 OR MIT"),
        ("GPL-2.0", "GPL-2.0-only"),
        ("gpl-2+", "GPL-2.0-or-later"),
        ("LGPL-2.1-or-later", "LGPL-2.1-or-later"),
        ("(MIT OR ISC) AND Zlib", "(MIT OR ISC) AND Zlib"),
        ("(MIT AND ISC) OR Zlib", "MIT AND ISC OR Zlib"),
        ("MIT OR MIT", "MIT"),
        ("Made-Up-1.0", "Made-Up-1.0"),
        ("MIT License", None),
        ("", None),
    ],
)
def test_canonical(expression: str, written: str | None) -> None:
    assert canonical(expression) == written


def test_ids() -> None:
    assert ids("(MIT OR ISC) AND GPL-2.0-only WITH x AND MIT") == ("MIT", "ISC", "GPL-2.0-only")
    assert ids("no, none") == ()


_NAMES = ("MIT", "ISC", "GPL-2.0-only", "AGPL-3.0-only")
_EXPRESSIONS = st.recursive(
    st.sampled_from(_NAMES),
    lambda inner: st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(
        lambda three: f"({three[0]} {three[1]} {three[2]})"
    ),
    max_leaves=8,
)


@given(_EXPRESSIONS)
def test_permissive_is_the_boolean_formula(expression: str) -> None:
    """Python's own `and` and `or` over the same text, for every list of allowed licenses."""
    for size in range(len(_NAMES) + 1):
        for allowed in itertools.combinations(_NAMES, size):
            formula = expression.replace("AND", "and").replace("OR", "or")
            for name in _NAMES:
                formula = formula.replace(name, str(name in allowed))
            assert permissive(expression, frozenset(allowed)) == eval(formula)
    again = canonical(expression)
    assert again is not None
    assert permissive(again) == permissive(expression)
    assert canonical(again) == again


@given(st.text(max_size=40))
def test_any_text_is_an_expression_or_a_value_error(text: str) -> None:
    try:
        parse(text)
    except ValueError:
        assert not permissive(text)


def test_the_list_is_of_single_ids() -> None:
    assert all(ids(name) == (name,) for name in PERMISSIVE_LICENSES)
