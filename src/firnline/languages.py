"""The one table of languages: names, kinds, extensions, file names, interpreters.

Kinds: `programming` (the 18 languages of Arctic-SnowCoder, section 2.1, and a few more),
`markup`, `data`, `prose`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Language:
    """One language: its name, kind, extensions (with the dot), file names, interpreters."""

    name: str
    kind: str
    extensions: tuple[str, ...]
    filenames: tuple[str, ...] = ()
    interpreters: tuple[str, ...] = ()


_ROWS = (
    Language("Python", "programming", (".py", ".pyi", ".pyw"), (), ("python", "python3")),
    Language("Java", "programming", (".java",)),
    Language("C++", "programming", (".cpp", ".cc", ".cxx", ".hpp", ".hh", ".hxx", ".cuh", ".cu")),
    Language("C", "programming", (".c", ".h")),
    Language("JavaScript", "programming", (".js", ".mjs", ".cjs", ".jsx"), (), ("node",)),
    Language("PHP", "programming", (".php",), (), ("php",)),
    Language("C#", "programming", (".cs",)),
    Language("Go", "programming", (".go",)),
    Language("TypeScript", "programming", (".ts", ".tsx", ".mts", ".cts"), (), ("deno", "ts-node")),
    Language("SQL", "programming", (".sql",)),
    Language(
        "Ruby", "programming", (".rb", ".rake", ".gemspec"), ("Rakefile", "Gemfile"), ("ruby",)
    ),
    Language("Rust", "programming", (".rs",)),
    Language("Jupyter Notebook", "programming", (".ipynb",)),
    Language("Scala", "programming", (".scala", ".sc")),
    Language("Kotlin", "programming", (".kt", ".kts")),
    Language("Shell", "programming", (".sh", ".bash", ".zsh"), (), ("sh", "bash", "zsh", "dash")),
    Language("Dart", "programming", (".dart",)),
    Language("Swift", "programming", (".swift",)),
    Language("Cython", "programming", (".pyx", ".pxd", ".pxi")),
    Language("Fortran", "programming", (".f", ".f90", ".for")),
    Language("Lua", "programming", (".lua",), (), ("lua",)),
    Language("Perl", "programming", (".pl", ".pm"), (), ("perl",)),
    Language("R", "programming", (".r",), (), ("Rscript",)),
    Language("CMake", "programming", (".cmake",), ("CMakeLists.txt",)),
    Language("Makefile", "programming", (".mk",), ("Makefile", "GNUmakefile", "makefile")),
    Language("Dockerfile", "programming", (".dockerfile",), ("Dockerfile",)),
    Language("HTML", "markup", (".html", ".htm", ".xhtml")),
    Language("CSS", "markup", (".css", ".scss", ".less")),
    Language("XML", "markup", (".xml", ".xsd", ".xsl", ".svg")),
    Language("Markdown", "markup", (".md", ".markdown")),
    Language("reStructuredText", "markup", (".rst",)),
    Language("JSON", "data", (".json", ".jsonl")),
    Language("YAML", "data", (".yaml", ".yml")),
    Language("TOML", "data", (".toml",)),
    Language("INI", "data", (".ini", ".cfg")),
    Language("CSV", "data", (".csv", ".tsv")),
    Language("Text", "prose", (".txt",)),
)

LANGUAGES: dict[str, Language] = {row.name: row for row in _ROWS}

ARCTIC_SNOWCODER_LANGUAGES: tuple[str, ...] = tuple(row.name for row in _ROWS[:18])

_BY_EXTENSION = {extension: row.name for row in _ROWS for extension in row.extensions}
_BY_FILENAME = {filename: row.name for row in _ROWS for filename in row.filenames}
_BY_INTERPRETER = {program: row.name for row in _ROWS for program in row.interpreters}

_SHEBANG = re.compile(rb"#![ \t]*(?:\S*/)?([^/\s]+)(?:[ \t]+(?:-S[ \t]+)?(\S+))?")
_CPP_IN_HEADER = re.compile(
    rb"^\s*(?:template\s*<|namespace\s+\w*|class\s+\w+|using\s+\w|public:|private:|protected:)"
    rb"|\bstd::|\bconstexpr\b|\bnullptr\b|^#\s*include\s*<(?:\w+)>",
    re.MULTILINE,
)


def detect(path: str, head: bytes) -> str | None:
    """The language of a file from its name, then its first bytes; None where neither tells.

    `head` is the first few KiB. It decides between C and C++ for `.h`, and gives the language of
    a file without an extension from its `#!` line.
    """
    name = PurePosixPath(path).name
    if name in _BY_FILENAME:
        return _BY_FILENAME[name]
    extension = PurePosixPath(name).suffix.lower()
    if extension == ".h" and _CPP_IN_HEADER.search(head):
        return "C++"
    if extension:
        return _BY_EXTENSION.get(extension)
    if match := _SHEBANG.match(head):
        program = match[2] if match[1] == b"env" and match[2] else match[1]
        return _BY_INTERPRETER.get(re.sub(r"[\d.]+$", "", program.decode("ascii", "replace")))
    return None
