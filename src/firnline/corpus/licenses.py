"""SPDX licenses of repositories and files: license files, package metadata, header lines."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable
from email.parser import HeaderParser
from pathlib import PurePosixPath
from typing import Any

from firnline.corpus.license_names import CLASSIFIERS, from_name
from firnline.corpus.license_texts import from_text
from firnline.licenses import canonical, ids

__all__ = [
    "from_header",
    "from_metadata",
    "from_name",
    "from_text",
    "is_license_file",
    "of_repository",
    "of_texts",
    "same_licenses",
    "tells",
]

READ_BYTES = 200_000
"""Of a license file, what is read."""
FOLDERS = ("debian", "LICENSES")
"""Folders at the top of a repository in which `tells` knows files."""

_FILE_NAME = re.compile(
    r"(?i)^(un)?licen[cs]e|^copying|^copyright"
    r"|^(?:mit|apache|[al]?gpl|bsd|mpl|isc)[\w.]*[-_]licen[cs]e"
)
_OTHERS_TERMS = re.compile(
    r"(?i)third|3rd|vendor|bundled|depend|notice|docs?\b|documentation|fonts?\b|images?\b|data\b"
    r"|\.(?:py|js|ts|java|go|rs|c|h|rb|php|spdx|json|ya?ml|xml)$"
)
_HEADER = re.compile(rb"SPDX-License-Identifier:[ \t]*([\w.+():\t -]{1,200})([^\r\n]*)")
_AFTER_HEADER = re.compile(rb"\*/|-->|#|(?!['`])[^\w\x80-\xff]*\Z")  # the end of a comment
_REUSE = re.compile(r"LICENSES/([\w.+-]+)\.(?:txt|md)")


def is_license_file(path: str) -> bool:
    """Whether a file at the top of a repository is its license by name."""
    return _FILE_NAME.match(PurePosixPath(path).name) is not None


def tells(path: str) -> bool:
    """Whether `of_repository` reads a file: a license file or package metadata, by its name.

    `path` is relative to the top of the repository; of folders only `FOLDERS` have such files.
    """
    if path == "debian/copyright" or _REUSE.fullmatch(path):
        return True
    return "/" not in path and (is_license_file(path) or _reader(path) is not None)


def of_repository(files: Iterable[tuple[str, bytes]]) -> str | None:
    """The SPDX expression of a repository from (path, content) of the files for which `tells`.

    What the package metadata declares counts first; where two manifests differ, both hold (AND).
    License texts come next: files named for a license (`LICENSE-MIT`, `LICENSE.APACHE`) are a
    choice (OR), other files hold together (AND), the GNU GPL beside the LGPL is part of it, and
    files for bundled parts, documentation or data are passed by. A text that the declaration does
    not name is added to it with AND, so that a manifest's default never hides a stricter license.
    Where none of these tells, all texts in `LICENSES/` hold together (REUSE 3.3: one for each
    license that some file is under).
    """
    declared: list[str] = []
    texts: list[tuple[str, str]] = []
    reuse: list[str] = []
    for path, content in sorted(files):
        text = content[:READ_BYTES].decode("utf-8-sig", "replace")
        if match := _REUSE.fullmatch(path):
            if not re.search(r"(?i)exception|-note$", match[1]):
                spdx = from_name(match[1]) or from_text(text) or canonical(match[1])
                reuse.extend([spdx] if spdx else [])
            continue
        reader = _reader(path)
        if reader is not None:
            declared.extend(filter(None, [reader(text)]))
        elif is_license_file(path) and not _OTHERS_TERMS.search(PurePosixPath(path).name):
            spdx = from_text(text) or from_name(text)
            texts.extend([(PurePosixPath(path).name, spdx)] if spdx else [])
    said = _joined("AND", declared)
    written = of_texts(texts)
    if said is None or written is None:
        return said or written or _joined("AND", reuse)
    if said == "BSD-3-Clause" and written.startswith("BSD-"):
        return written  # a bare `BSD` is read as three clauses; the text knows
    if same_licenses(said, written):
        return said
    return _joined("AND", [said, written])


def from_header(head: bytes) -> str | None:
    """The license that a file states for itself in `SPDX-License-Identifier` lines of its head.

    It overrules the repository's; several lines hold together. None where the first 4 KiB have no
    such line, or one with more after the expression than the end of a comment.
    """
    if b"SPDX-License-Identifier" not in head[:4096]:
        return None
    stated = []
    for match in _HEADER.finditer(head[:4096]):
        if _AFTER_HEADER.match(match[2]):
            stated.append(canonical(match[1].decode().strip(" \t-.:")))
    return _joined("AND", [expression for expression in stated if expression])


def from_metadata(expression: str | None, classifiers: list[str], free: str | None) -> str | None:
    """SPDX expression from a Python distribution's metadata.

    A `License-Expression` comes first; then the classifiers (joined with OR where there are
    several); then a free-text field that names a license, or holds a whole license text. A
    classifier that leaves the version open (`BSD License`) gives way to a text that does not.
    """
    if expression and (found := canonical(expression)):
        return found
    named = [CLASSIFIERS[name] for c in classifiers if (name := c.split(" :: ")[-1]) in CLASSIFIERS]
    stated = (from_name(free) or from_text(free)) if free else None
    sharp = [name for name in named if not name.startswith("BSD")]
    return _joined("OR", sharp) or stated or _joined("OR", named)


def of_texts(texts: list[tuple[str, str]]) -> str | None:
    """What license files of one folder, by name and SPDX id, say together."""
    spdx = [name for _, name in texts]
    if any(name.startswith("LGPL") for name in spdx):
        spdx = [name for name in spdx if not name.startswith("GPL")]
    choice = len(texts) > 1 and all(
        re.search(
            r"(?i)(?:^|[-_.])(?:mit|apache|bsd|gpl|lgpl|mpl|zlib|isc|cc0|unlicense|boost|al2)", name
        )
        or PurePosixPath(name).stem.lower() in ("unlicense", "copyright")
        for name, _ in texts
    )
    return _joined("OR" if choice else "AND", spdx)


def _joined(sign: str, expressions: list[str]) -> str | None:
    if not expressions:
        return None
    return canonical(f" {sign} ".join(f"({one})" for one in dict.fromkeys(expressions)))


def same_licenses(known: str, other: str) -> bool:
    """Whether `other` names no license beyond those of `known`, `-only` or `-or-later` alike."""
    named = {_family(name) for name in ids(known)}
    return all(_family(name) in named for name in ids(other))


def _family(spdx: str) -> str:
    return re.sub(r"-only$|-or-later$|\+$", "", spdx).lower()


def _reader(path: str) -> Callable[[str], str | None] | None:
    name = PurePosixPath(path).name
    if path == "debian/copyright":
        return _debian
    if name.endswith(".gemspec"):
        return _gemspec
    return _READERS.get(name)


def _json(text: str) -> str | None:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    stated = row.get("license") or row.get("licenses")
    several = stated if isinstance(stated, list) else [stated]
    names = [
        one.get("type") or one.get("name") if isinstance(one, dict) else one for one in several
    ]
    return _joined("OR", [found for name in names if (found := _named(name))])


def _named(name: Any) -> str | None:
    if not isinstance(name, str):
        return None
    if name.strip().upper() in ("UNLICENSED", "PROPRIETARY"):
        return "LicenseRef-Proprietary"
    return from_name(name)


def _table(text: str, *keys: str) -> dict[str, Any]:
    """A table of a TOML file; empty where there is none."""
    try:
        row: Any = tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}
    for key in keys:
        row = row.get(key) if isinstance(row, dict) else None
    return row if isinstance(row, dict) else {}


def _cargo(text: str) -> str | None:
    """A crate's license, or the one that a workspace gives to its crates."""
    own = _table(text, "package").get("license")
    shared = _table(text, "workspace", "package").get("license")
    return _named(own) or _named(shared)


def _pyproject(text: str) -> str | None:
    """PEP 621 and PEP 639, else Poetry's and Flit's own tables."""
    row = _table(text, "project")
    stated = row.get("license")
    if isinstance(stated, dict):
        stated = stated.get("text")
    stated = stated if isinstance(stated, str) else None
    listed = row.get("classifiers")
    classifiers = [c for c in listed if isinstance(c, str)] if isinstance(listed, list) else []
    expression = canonical(stated) if stated else None
    return (
        _named(expression)
        or from_metadata(None, classifiers, stated)
        or _named(_table(text, "tool", "poetry").get("license"))
        or _named(_table(text, "tool", "flit", "metadata").get("license"))
    )


def _headers(text: str) -> str | None:
    """PKG-INFO and METADATA."""
    fields = HeaderParser().parsestr(text)
    listed = [str(line) for line in fields.get_all("Classifier", [])]
    return from_metadata(fields["License-Expression"], listed, fields["License"])


def _setup(text: str) -> str | None:
    """setup.cfg and setup.py: the license argument and the classifiers, by their look."""
    free = re.search(r"\blicense[ \t]*=[ \t]*[\"']([^\"'\n]+)", text) or re.search(
        r"^[ \t]*license[ \t]*=[ \t]*([^\"'\n]+)", text, re.MULTILINE
    )
    classifiers = re.findall(r"License :: [^\"'\n]+", text)
    return from_metadata(None, [c.strip() for c in classifiers], free[1] if free else None)


def _gemspec(text: str) -> str | None:
    match = re.search(r"\.licenses?\s*=\s*\[?([^\n\]]+)", text)
    names = re.findall(r"[\"']([^\"']+)[\"']", match[1]) if match else []
    return _joined("OR", [found for name in names if (found := _named(name))])


def _pom(text: str) -> str | None:
    """Maven: several licenses are a choice. Read by tags, so that no entity is expanded."""
    block = text.partition("<licenses>")[2].partition("</licenses>")[0]
    names = re.findall(r"<name>([^<]+)</name>", block)
    return _joined("OR", [found for name in names if (found := from_name(name))])


def _description(text: str) -> str | None:
    """R: `GPL (>= 2) | file LICENSE`."""
    match = re.search(r"^License:[ \t]*([^\n]*(?:\n[ \t]+[^\n]*)*)", text, re.MULTILINE)
    if not match:
        return None
    found = []
    for option in match[1].split("|"):
        name = re.sub(r"\+?\s*file LICEN[CS]E", "", option).strip()
        name = re.sub(r"\s*\(>=?\s*([\d.]+)\)", r"-\1+", name)
        if spdx := from_name(name):
            found.append(spdx)
    return _joined("OR", found)


def _debian(text: str) -> str | None:
    """Debian's copyright file: the paragraph of `Files: *` (DEP 5), or the whole as a text."""
    if not re.search(r"^Files:", text, re.MULTILINE):
        return from_text(text)
    for paragraph in re.split(r"\n[ \t]*\n", text):
        files = re.search(r"^Files:[ \t]*(.*)", paragraph, re.MULTILINE)
        stated = re.search(r"^License:[ \t]*(.*)", paragraph, re.MULTILINE)
        if files and stated and files[1].split()[:1] == ["*"]:
            return from_name(stated[1])
    return None


_READERS: dict[str, Callable[[str], str | None]] = {
    "package.json": _json,
    "composer.json": _json,
    "Cargo.toml": _cargo,
    "pyproject.toml": _pyproject,
    "PKG-INFO": _headers,
    "METADATA": _headers,
    "setup.cfg": _setup,
    "setup.py": _setup,
    "pom.xml": _pom,
    "DESCRIPTION": _description,
}
