"""Notebooks as scripts: formats 3 and 4, magics, other kernels, broken files."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firnline.corpus.notebooks import as_script


def notebook(*cells: dict[str, Any], **metadata: Any) -> bytes:
    return json.dumps({"nbformat": 4, "metadata": metadata, "cells": cells}).encode()


def code(source: Any) -> dict[str, Any]:
    picture = {"data": {"image/png": "iVBORw0KGgo" * 100}}
    return {"cell_type": "code", "source": source, "outputs": [picture], "execution_count": 7}


def prose(source: Any) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": source}


def test_code_stays_prose_is_commented_outputs_go() -> None:
    content = notebook(
        prose(["# Title\n", "\n", "Some *words*."]), code(["x = 1\n", "print(x)"]), code("  \n")
    )
    assert as_script(content) == (
        b"# # Title\n#\n# Some *words*.\n\nx = 1\nprint(x)\n",
        "Python",
    )


def test_format_3_has_worksheets_inputs_and_headings() -> None:
    cells = [
        {"cell_type": "heading", "level": 2, "source": ["Part"]},
        {"cell_type": "code", "input": ["y = 2"], "outputs": [{"text": "2"}], "language": "python"},
    ]
    content = json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}], "metadata": {}})
    assert as_script(content.encode()) == (b"# ## Part\n\ny = 2\n", "Python")


@pytest.mark.parametrize(
    ("source", "script"),
    [
        ("%matplotlib inline\nimport os", "# %matplotlib inline\nimport os\n"),
        ("!pip install x\nimport x", "# !pip install x\nimport x\n"),
        ("if a:\n    !ls\nelse:\n    b()", "if a:\n    pass  # !ls\nelse:\n    b()\n"),
        ("files = !ls\nlen?", "# files = !ls\n# len?\n"),
        ("%%time\nf()", "# %%time\nf()\n"),
        ("%%bash\nls | wc", "# %%bash\n# ls | wc\n"),
        ('print("%d"\n      %len(x))', 'print("%d"\n      %len(x))\n'),
        ('s = """\n!not a magic\n"""', 's = """\n!not a magic\n"""\n'),
    ],
)
def test_magics_are_commented_out(source: str, script: str) -> None:
    found, _ = as_script(notebook(code(source)))
    assert found.decode() == script
    ast.parse(found)


@pytest.mark.parametrize(
    ("metadata", "language", "sign"),
    [
        ({"language_info": {"name": "R"}}, "R", "#"),
        ({"kernelspec": {"language": "julia", "name": "julia-1.9"}}, "Julia", "#"),
        ({"kernelspec": {"name": "python3"}}, "Python", "#"),
        ({"language_info": {"name": "scala"}}, "Scala", "//"),
        ({"language_info": {"name": "haskell"}}, "Haskell", "--"),
        ({"language_info": {"name": "clojure"}}, "Clojure", ";"),
        ({"language_info": {"name": "unheard of"}}, "Python", "#"),
        ({"kernelspec": None, "language_info": 3}, "Python", "#"),
    ],
)
def test_the_kernel_tells_language_and_comments(
    metadata: dict[str, Any], language: str, sign: str
) -> None:
    found, spoken = as_script(notebook(prose("words"), code("%x"), **metadata))
    assert spoken == language
    assert found.decode().startswith(f"{sign} words\n\n")


def test_pictures_inside_prose_go() -> None:
    found, _ = as_script(notebook(prose("see ![a](data:image/png;base64,iVBORw0KG==) here")))
    assert found == b"# see ![a] here\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b'{"a": 1}',
        b'{"cells": 3}',
        b'{"cells": ["x"]}',
        b'{"cells": [{"cell_type": "code", "source": 3}]}',
        b'{"cells": [',
        b"[" * 200_000,
        b'{"cells": "\xff"}',
    ],
)
def test_what_is_no_notebook_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError):
        as_script(content)


def test_a_notebook_without_cells_is_empty() -> None:
    assert as_script(notebook()) == (b"", "Python")


@given(
    st.lists(
        st.tuples(st.sampled_from(["code", "markdown", "raw", "odd"]), st.text(max_size=60)),
        max_size=5,
    )
)
def test_any_cells_give_utf8_text(cells: list[tuple[str, str]]) -> None:
    content = notebook(*({"cell_type": kind, "source": text} for kind, text in cells))
    script, _ = as_script(content)
    script.decode()
    assert all(
        word in script.decode()
        for kind, t in cells
        if kind != "code"
        for word in t.split(" ")
        if word.isalnum()
    )
