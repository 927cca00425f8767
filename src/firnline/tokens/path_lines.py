"""A comment before each document that says where it lies (DeepSeek-Coder, section 2.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from firnline.languages import COMMENT_ENDS, LANGUAGES

# Outside of `<?php`, PHP is HTML; Markdown may hold HTML anywhere.
_COMMENTS = {"PHP": "<!--", "HTML": "<!--", "Markdown": "<!--"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def path_line(language: str, *names: str) -> str:
    """One line for each name, each a comment of the language; empty where it has no comments.

    Characters that would end the line become U+FFFD; a name that would end the comment gets no
    line.
    """
    known = LANGUAGES.get(language)
    opens = _COMMENTS.get(language) or next(iter(known.comments if known else ()), None)
    if opens is None:
        return ""
    closes = COMMENT_ENDS.get(opens, "")
    lines = []
    for name in names:
        if name and not (closes and closes in name):
            text = f"{opens} {_CONTROL.sub(chr(0xFFFD), name)} {closes}".rstrip()
            lines.append(f"{text}\n")
    return "".join(lines)


def path_lines(
    languages: Sequence[str], paths: Sequence[str], repositories: Sequence[str] | None
) -> list[str]:
    """The text before each document: a line with its repository, where given, and its path's."""
    names = zip(repositories, paths, strict=True) if repositories else ((path,) for path in paths)
    return [path_line(language, *own) for language, own in zip(languages, names, strict=True)]
