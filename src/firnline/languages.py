"""The one table of languages: names, kinds, what tells them, their comments and grammars.

Kinds: `programming` (the 18 languages of Arctic-SnowCoder, section 2.1, and a few more),
`markup`, `data`, `prose`, and `adjacent` (code-adjacent documents: commits, issues, questions with
answers; To Code or Not To Code, section 2.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Language:
    """One language: its name, kind, extensions (with the dot), file names, interpreters.

    `comments` names what opens a comment (`#`, `//`, `/*`, `--`) and the quotes beside `"` and `'`
    that must be followed for it (three quotes, either kind, and a backtick). `grammar` is the
    module of its tree-sitter grammar and the name of the function in it.
    """

    name: str
    kind: str
    extensions: tuple[str, ...]
    filenames: tuple[str, ...] = ()
    interpreters: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()
    grammar: tuple[str, str] | None = None


_C_LIKE = ("//", "/*")


def _grammar(module: str, function: str = "language") -> tuple[str, str]:
    return (f"tree_sitter_{module}", function)


_ROWS = (
    Language(
        "Python",
        "programming",
        (".py", ".pyi", ".pyw"),
        (),
        ("python", "python3"),
        comments=("#", '"""'),
        grammar=_grammar("python"),
    ),
    Language("Java", "programming", (".java",), comments=_C_LIKE, grammar=_grammar("java")),
    Language(
        "C++",
        "programming",
        (".cpp", ".cc", ".cxx", ".hpp", ".hh", ".hxx", ".cuh", ".cu"),
        comments=_C_LIKE,
        grammar=_grammar("cpp"),
    ),
    Language("C", "programming", (".c", ".h"), comments=_C_LIKE, grammar=_grammar("c")),
    Language(
        "JavaScript",
        "programming",
        (".js", ".mjs", ".cjs", ".jsx"),
        (),
        ("node",),
        comments=(*_C_LIKE, "`"),
        grammar=_grammar("javascript"),
    ),
    Language(
        "PHP",
        "programming",
        (".php",),
        (),
        ("php",),
        comments=(*_C_LIKE, "#"),
        grammar=_grammar("php", "language_php"),
    ),
    Language("C#", "programming", (".cs",), comments=_C_LIKE, grammar=_grammar("c_sharp")),
    Language("Go", "programming", (".go",), comments=(*_C_LIKE, "`"), grammar=_grammar("go")),
    Language(
        "TypeScript",
        "programming",
        (".ts", ".tsx", ".mts", ".cts"),
        (),
        ("deno", "ts-node"),
        comments=(*_C_LIKE, "`"),
        grammar=_grammar("typescript", "language_typescript"),
    ),
    Language("SQL", "programming", (".sql",), comments=("--", "/*"), grammar=_grammar("sql")),
    Language(
        "Ruby",
        "programming",
        (".rb", ".rake", ".gemspec"),
        ("Rakefile", "Gemfile"),
        ("ruby",),
        comments=("#",),
        grammar=_grammar("ruby"),
    ),
    Language("Rust", "programming", (".rs",), comments=_C_LIKE, grammar=_grammar("rust")),
    Language("Jupyter Notebook", "programming", (".ipynb",)),
    Language(
        "Scala",
        "programming",
        (".scala", ".sc"),
        comments=(*_C_LIKE, '"""'),
        grammar=_grammar("scala"),
    ),
    Language(
        "Kotlin", "programming", (".kt", ".kts"), comments=_C_LIKE, grammar=_grammar("kotlin")
    ),
    Language(
        "Shell",
        "programming",
        (".sh", ".bash", ".zsh"),
        (),
        ("sh", "bash", "zsh", "dash"),
        comments=("#",),
        grammar=_grammar("bash"),
    ),
    Language("Dart", "programming", (".dart",), comments=_C_LIKE, grammar=_grammar("dart")),
    Language("Swift", "programming", (".swift",), comments=_C_LIKE, grammar=_grammar("swift")),
    Language("Cython", "programming", (".pyx", ".pxd", ".pxi"), comments=("#", '"""')),
    Language("Fortran", "programming", (".f", ".f90", ".for")),
    Language(
        "Lua", "programming", (".lua",), (), ("lua",), comments=("--",), grammar=_grammar("lua")
    ),
    Language("Perl", "programming", (".pl", ".pm"), (), ("perl",), comments=("#",)),
    Language("R", "programming", (".r",), (), ("Rscript",), comments=("#",)),
    Language("CMake", "programming", (".cmake",), ("CMakeLists.txt",), comments=("#",)),
    Language(
        "Makefile",
        "programming",
        (".mk",),
        ("Makefile", "GNUmakefile", "makefile"),
        comments=("#",),
    ),
    Language("Dockerfile", "programming", (".dockerfile",), ("Dockerfile",), comments=("#",)),
    Language("HTML", "markup", (".html", ".htm", ".xhtml")),
    Language("CSS", "markup", (".css", ".scss", ".less"), comments=("/*",)),
    Language("XML", "markup", (".xml", ".xsd", ".xsl", ".svg")),
    Language("Markdown", "markup", (".md", ".markdown")),
    Language("reStructuredText", "markup", (".rst",)),
    Language("JSON", "data", (".json", ".jsonl")),
    Language("YAML", "data", (".yaml", ".yml"), comments=("#",)),
    Language("TOML", "data", (".toml",), comments=("#",)),
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
