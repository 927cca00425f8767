"""What the table of languages says: a file's language, a language by another table's name.

A few extensions belong to several languages; for those the first KiB decide, by the signs of
`shared_extensions.py`.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from firnline.language_table import ROWS, Language
from firnline.shared_extensions import SHARED

LANGUAGES: dict[str, Language] = {row.name: row for row in ROWS}

ARCTIC_SNOWCODER_LANGUAGES: tuple[str, ...] = tuple(row.name for row in ROWS[:18])

COMMENT_ENDS = {"/*": "*/", "(*": "*)", "{-": "-}", "<!--": "-->", "<#": "#>", "{": "}"}
"""What ends a comment that its line's end does not, by what opens it."""

_BY_EXTENSION = {extension: row.name for row in ROWS for extension in row.extensions}
_BY_FILENAME = {filename: row.name for row in ROWS for filename in row.filenames}
_BY_INTERPRETER = {program: row.name for row in ROWS for program in row.interpreters}


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "-", name.strip().lower())


_BY_NAME = {_plain(alias): row.name for row in ROWS for alias in (*row.aliases, row.name)}

_SHEBANG = re.compile(rb"#![ \t]*(?:\S*/)?([^/\s]+)(?:[ \t]+(?:-S[ \t]+)?(\S+))?")


def detect(path: str, head: bytes) -> str | None:
    """The language of a file from its name, then its first bytes; None where neither tells.

    `head` is the first few KiB, or empty where the content is not known: then the language that
    the extension most often means. Cheap and pure: a content model is behind
    `corpus.content_type.language_of`, which also has an answer where this one is a guess.
    """
    found = candidates(path, head)
    return found[0] if found else None


def candidates(path: str, head: bytes) -> tuple[str, ...]:
    """The languages that a file may be in: one where name or head tell, the likeliest first.

    Name and extension come first, then, for an extension that several languages share, signs in
    the head, and for a file without an extension its `#!` line.
    """
    name = PurePosixPath(path).name
    if name in _BY_FILENAME:
        return (_BY_FILENAME[name],)
    extension = PurePosixPath(name).suffix.lower()
    if extension in SHARED:
        return SHARED[extension].candidates(head)
    if extension:
        return (_BY_EXTENSION[extension],) if extension in _BY_EXTENSION else ()
    if match := _SHEBANG.match(head):
        program = match[2] if match[1] == b"env" and match[2] else match[1]
        found = _BY_INTERPRETER.get(re.sub(r"[\d.]+$", "", program.decode("ascii", "replace")))
        return (found,) if found else ()
    return ()


def named(name: str) -> str | None:
    """Our name of a language that another table names: `c-sharp`, `Jupyter notebook`, `TSX`."""
    return _BY_NAME.get(_plain(name))
