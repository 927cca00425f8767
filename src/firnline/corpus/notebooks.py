"""Notebooks as scripts: code with its prose as comments, outputs dropped.

What training wants of a notebook is what its author wrote (To Code or Not To Code, section 2.1;
StarCoder trains on such scripts too). Formats 3 and 4 of `.ipynb` are read.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

from firnline.languages import LANGUAGES, named

# A line that IPython, and not Python, understands: %magic, !shell, ?help, help?, x = !ls.
_MAGIC = re.compile(
    r"^([ \t]*)((?:%{1,2}[A-Za-z]|!|\?{1,2}\w)[^\n]*|[\w.]+\?{1,2}[ \t]*"
    r"|[\w, ]+=[ \t]*(?:!|%[A-Za-z])[^\n]*)$",
    re.MULTILINE,
)
_CELL_MAGIC = re.compile(r"\s*%%(\w+)")
# Cell magics after which the cell is in the notebook's language; after others it is not.
_SAME_LANGUAGE = frozenset({"time", "timeit", "capture", "prun", "python", "python3", "debug"})
_LINE_COMMENTS = frozenset({"#", "//", "--", "%", ";", "!"})
_PICTURE = re.compile(r"\(data:image/[^)\s]*\)|\bdata:image/[^\"'\s)]*")


def as_script(content: bytes) -> tuple[bytes, str]:
    """The cells of a notebook as one script, and the language of its code.

    Markdown and raw cells become comments, code stays as it is, cells are parted by one blank
    line. Lines that only IPython understands are commented out, cells in another language whole,
    so that what is left parses. Pictures inside prose are dropped. Raises ValueError where the
    content is no notebook.
    """
    try:
        row = json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    language = _language(row)
    sign = _comment_sign(language)
    parts = []
    for kind, source in _cells(row):
        text = source.replace("\r\n", "\n").strip("\n")
        if not text.strip():
            continue
        if kind != "code":
            parts.append(_commented(_PICTURE.sub("", text), sign))
        elif language == "Python":
            parts.append(_python(text, sign))
        else:
            parts.append(_other(text, sign))
    script = "\n\n".join(parts) + "\n" if parts else ""
    return script.encode("utf-8", "replace"), language


def _language(row: dict[str, Any]) -> str:
    metadata = row.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    for key, name in (
        ("language_info", "name"),
        ("kernelspec", "language"),
        ("kernelspec", "name"),
    ):
        place = metadata.get(key)
        said = place.get(name) if isinstance(place, dict) else None
        if isinstance(said, str) and (found := named(re.sub(r"[\d.]+$", "", said))):
            return found
    return "Python"


def _comment_sign(language: str) -> str:
    return next((s for s in LANGUAGES[language].comments if s in _LINE_COMMENTS), "#")


def _cells(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(kind, source) of each cell, of format 4 or of the worksheets of format 3."""
    cells = row.get("cells")
    if cells is None:
        sheets = row.get("worksheets")
        if not isinstance(sheets, list):
            raise ValueError("no cells")
        cells = [c for s in sheets if isinstance(s, dict) for c in (s.get("cells") or [])]
    if not isinstance(cells, list):
        raise ValueError("the cells are no list")
    for cell in cells:
        if not isinstance(cell, dict):
            raise ValueError("a cell is no object")
        source = cell.get("source", cell.get("input", ""))
        if isinstance(source, list):
            source = "".join(line for line in source if isinstance(line, str))
        if not isinstance(source, str):
            raise ValueError("a cell's source is no text")
        kind = str(cell.get("cell_type"))
        if kind == "heading":  # format 3
            level = cell.get("level", 1)
            source = "#" * (level if isinstance(level, int) and 0 < level < 7 else 1) + f" {source}"
        yield kind, source


def _commented(text: str, sign: str) -> str:
    return "\n".join(f"{sign} {line}".rstrip() for line in text.split("\n"))


def _python(text: str, sign: str) -> str:
    magic = _CELL_MAGIC.match(text)
    if magic and magic[1] not in _SAME_LANGUAGE:
        return _commented(text, sign)
    # What looks like a magic may be the rest of an expression: then the cell is Python as it is.
    if not _MAGIC.search(text) or _is_python(text):
        return text
    # An indented line may be all there is in its block.
    return _MAGIC.sub(lambda m: m[1] + ("pass  " if m[1] else "") + f"{sign} {m[2]}", text)


def _is_python(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "cell", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


def _other(text: str, sign: str) -> str:
    if not _CELL_MAGIC.match(text):
        return text
    first, _, rest = text.partition("\n")
    return f"{_commented(first, sign)}\n{rest}".rstrip("\n")
