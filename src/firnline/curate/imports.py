"""What each document imports, as its language says it, and what it declares for others to import.

An import is one line of text, the same for every statement that means the same:

| language | import | declares |
|---|---|---|
| Python, Cython | `a.b` (`import a.b`), `..a:c` (`from ..a import c`) | |
| C, C++ | `"x/y.h` or `<x/y.h` | |
| Java | `a.b.C`, `a.b.*`; static imports alike | `a.b`, its package |
| C# | `A.B` (`using A.B`, `using static A.B`, `using N = A.B`) | `A.B`, its namespaces |
| JavaScript, TypeScript | the module's name as written: `./x`, `@scope/x` | |
| Go | the package's path | the package's name |
| Rust | `mod x`, `mod a/x` (in the file's `mod a {}`), `mod x@file.rs` (`#[path]`), `a::b::C` | |

The leading `super::` of a Rust path are counted from the file, not from the inline modules in it.
Manifests (`package.json`, `Cargo.toml`, `go.mod`) declare the name that others import.
Comments and strings count as neither; code that the preprocessor would leave out does count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from firnline.documents import buffers
from firnline.kernels import literals
from firnline.kernels.statements import import_statements

_FAMILIES = {
    "Python": literals.PYTHON,
    "Cython": literals.PYTHON,
    "C": literals.C,
    "C++": literals.C,
    "Java": literals.JAVA,
    "C#": literals.CSHARP,
    "JavaScript": literals.SCRIPT,
    "TypeScript": literals.SCRIPT,
    "Go": literals.GO,
    "Rust": literals.RUST,
}
LANGUAGES = tuple(_FAMILIES)
"""The languages whose imports are read."""

DECLARES = "="
"""A line that begins with this sign is a declaration, every other one is an import."""

# Quantifiers are possessive (`*+`): what they took is not given back, so that text without the
# sign that is looked for costs no more than one scan.
_NAME = rb"[\w\x80-\xff]"
_GAP = rb"(?:[ \t\f]|\\\r?\n)"
_DOTTED = _NAME + rb"++(?:\s*+\.\s*+" + _NAME + rb"++)*+"
_NOTE = rb"//[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/)?+"
_PYTHON_IMPORT = re.compile(rb"c?import" + _GAP + rb"++((?:[^\n;#\\]|\\\r?\n)++)")
_PYTHON_FROM = re.compile(
    rb"from" + _GAP + rb"*+((?:\." + _GAP + rb"*+)*+)((?:(?!c?import\b)" + _NAME + rb"++(?:" + _GAP
    + rb"*+\." + _GAP + rb"*+" + _NAME + rb"++)*+)?+)" + _GAP + rb"*+c?import\b" + _GAP
    + rb"*+(?:\(((?:[^)#]|#[^\n]*+)*+)|((?:[^\n;#\\]|\\\r?\n)*+))"
)  # fmt: skip
_PYTHON_COMMENT = re.compile(rb"#[^\n]*|\\\r?\n")
_PYTHON_PATH = re.compile(rb"[A-Za-z_\x80-\xff]" + _NAME + rb"*+(?:\." + _NAME + rb"++)*+")
_INCLUDE = re.compile(
    rb"#[ \t]*+(?:include_next|include|import)\b[ \t]*+([<\"])([^>\"\r\n]++)[>\"]"
)
_JAVA_IMPORT = re.compile(rb"import\s++(?:static\s++)?+([\w$.\x80-\xff]++(?:\s*+\*)?+)\s*+;")
_JAVA_PACKAGE = re.compile(rb"package\s++([\w$.\x80-\xff]++)\s*+;")
_USING = re.compile(
    rb"using\s++(?:static\s++|unsafe\s++)?+(?:"
    + _NAME
    + rb"++\s*+=\s*+)?+(?:"
    + _NAME
    + rb"++::)?+"
    rb"(" + _DOTTED + rb")\s*+(?:<[^;={}()]*+)?+;"
)
_NAMESPACE = re.compile(rb"namespace\s++(" + _DOTTED + rb")\s*+[{;]")
_STRING = re.compile(rb"([\"'])([^\"'\r\n\\]++)\1")
_GO_IMPORT = re.compile(
    rb"import\s*+(?:\(((?:[^)/\"`]|" + _NOTE + rb"|\"[^\"\n]*+\"|`[^`]*+`|/)*+)\)"
    rb"|(?:[\w.\x80-\xff]++\s++)?+([\"`][^\"`\n]++[\"`]))"
)
_GO_PATH = re.compile(_NOTE + rb"|[\"`]([^\"`\n]++)[\"`]")
_GO_PACKAGE = re.compile(rb"package\s++(" + _NAME + rb"++)")
_RUST_MOD = re.compile(rb"mod\s++(?:r#)?+(" + _NAME + rb"++)\s*+([;{])")
_RUST_PATH = re.compile(rb"#\[path\s*+=\s*+\"([^\"\n]++)\"\][^;{}]*+$")
_RUST_USE = re.compile(rb"use\s++([^;=()$!]++);")
_RUST_TOKEN = re.compile(rb"::|[{},*]|" + _NAME + rb"++")
_COMMENT = re.compile(_NOTE)
_MANIFESTS = {
    "package.json": re.compile(rb"^  ?(?:  )?\t?\"name\"\s*:\s*\"([^\"\n]+)\"", re.MULTILINE),
    "Cargo.toml": re.compile(rb"^\[package\][^\[]*?^name\s*=\s*\"([^\"\n]+)\"", re.M | re.S),
    "go.mod": re.compile(rb"^module\s+\"?([^\s\"]+)", re.MULTILINE),
}

_Reader = Callable[[re.Match[bytes], list[str]], Iterator[str]]
_LONGEST = 1 << 14  # bytes of a statement: in broken code its end may not come
_DEEPEST = 32  # braces in one `use`


def read_imports(
    content: pa.Array, languages: Sequence[str], paths: Sequence[str]
) -> list[list[str]]:
    """Imports and declarations (`DECLARES` and a name) of each document, without repetition.

    In order of their first appearance. A document in another language has none.
    """
    data, offsets = buffers(content)
    families = np.array([_FAMILIES.get(name, 0) for name in languages], dtype=np.uint8)
    found: list[dict[str, None]] = [{} for _ in languages]
    view = memoryview(data)
    if families.any():
        rows = import_statements(data, offsets, families)
        ends = np.minimum(rows[1] + _LONGEST, offsets[rows[0] + 1])
        modules: list[str] = []  # Rust: the inline modules around a statement
        read_to = 0
        for row, start, level, end in zip(
            *(column.tolist() for column in (*rows, ends)), strict=True
        ):
            if start < read_to:
                continue
            del modules[level:]
            for pattern, reader in _READERS[families[row]]:
                if match := pattern.match(view, start, end):
                    found[row].update(dict.fromkeys(reader(match, modules)))
                    read_to = match.end()
                    break
    for row, path in enumerate(paths):
        manifest = _MANIFESTS.get(path.rpartition("/")[2])
        if manifest and (match := manifest.search(view, offsets[row], offsets[row + 1])):
            found[row][DECLARES + _text(match[1])] = None
    return [list(lines) for lines in found]


def _text(data: bytes) -> str:
    return "".join(data.decode("utf-8", "replace").split())


def _python_import(match: re.Match[bytes], _: list[str]) -> Iterator[str]:
    for part in _PYTHON_COMMENT.sub(b" ", match[1]).split(b","):
        path = b"".join(part.split(b" as ")[0].split())
        if _PYTHON_PATH.fullmatch(path):
            yield _text(path)


def _python_from(match: re.Match[bytes], _: list[str]) -> Iterator[str]:
    module = _text(_PYTHON_COMMENT.sub(b"", match[1] + match[2]))
    names = _PYTHON_COMMENT.sub(b" ", match[3] if match[3] is not None else match[4])
    for part in names.split(b","):
        name = part.split()[:1]
        if name and module and (name[0] == b"*" or _PYTHON_PATH.fullmatch(name[0])):
            yield f"{module}:{_text(name[0])}"


def _include(match: re.Match[bytes], _: list[str]) -> Iterator[str]:
    path = match[2].strip().decode("utf-8", "replace").replace("\\", "/")
    if path:
        yield match[1].decode() + path


def _import(match: re.Match[bytes], _: list[str]) -> Iterator[str]:
    yield _text(match[1])


def _declaration(match: re.Match[bytes], _: list[str]) -> Iterator[str]:
    yield DECLARES + _text(match[1])


def _script(match: re.Match[bytes], _: list[str]) -> Iterator[str]:
    yield match[2].decode("utf-8", "replace")


def _go_import(match: re.Match[bytes], _: list[str]) -> Iterator[str]:
    for path in _GO_PATH.findall(match[1] if match[2] is None else match[2]):
        if path:
            yield _text(path)


def _rust_mod(match: re.Match[bytes], modules: list[str]) -> Iterator[str]:
    name = _text(match[1])
    if match[2] == b"{":
        modules.append(name)
        return
    before = bytes(match.string[max(0, match.start() - 200) : match.start()])
    given = _RUST_PATH.search(before)
    folder = "".join(f"{module}/" for module in modules)
    yield f"mod {folder}{name}" + (f"@{folder}{_text(given[1])}" if given else "")


def _rust_use(match: re.Match[bytes], modules: list[str]) -> Iterator[str]:
    for path in _use_tree(_COMMENT.sub(b" ", match[1]).replace(b"r#", b"")):
        place, *rest = path
        if place not in ("self", "super"):
            yield "::".join(path)
            continue
        while rest and rest[0] == "super":
            rest.pop(0)
        ups = len(path) - len(rest) - (place == "self") - len(modules)
        if ups >= 0:  # else it stays inside the file's own inline modules
            yield "::".join([*(["super"] * ups or ["self"]), *rest])


def _use_tree(text: bytes) -> Iterator[list[str]]:
    """The paths of a `use` tree: `a::{b, c::{self, d as e}}` is a::b, a::c and a::c::d."""
    prefixes: list[list[str]] = []
    path: list[str] = []
    renamed = False
    for token in [*_RUST_TOKEN.findall(text), b","]:
        if token == b"{" and len(prefixes) == _DEEPEST:
            return
        if token == b"{":
            prefixes.append(path)
            path = list(path)
        elif token in (b",", b"}"):
            prefix = prefixes[-1] if prefixes else []
            if len(path) > len(prefix) or (not prefixes and path):
                yield path
            path, renamed = list(prefix), False
            if token == b"}" and prefixes:
                prefixes.pop()
                path = list(prefixes[-1]) if prefixes else []
        elif token == b"as":
            renamed = True
        elif token not in (b"::", b"*") and not renamed:
            if token == b"self" and path:
                yield list(path)
            else:
                path.append(_text(token))
        elif token == b"*" and path:
            yield list(path)


_READERS: dict[int, tuple[tuple[re.Pattern[bytes], _Reader], ...]] = {
    literals.PYTHON: ((_PYTHON_FROM, _python_from), (_PYTHON_IMPORT, _python_import)),
    literals.C: ((_INCLUDE, _include),),
    literals.JAVA: ((_JAVA_IMPORT, _import), (_JAVA_PACKAGE, _declaration)),
    literals.CSHARP: ((_USING, _import), (_NAMESPACE, _declaration)),
    literals.SCRIPT: ((_STRING, _script),),
    literals.GO: ((_GO_IMPORT, _go_import), (_GO_PACKAGE, _declaration)),
    literals.RUST: ((_RUST_USE, _rust_use), (_RUST_MOD, _rust_mod)),
}


def is_local(language: str, name: str) -> bool:
    """Whether an import says by its form that it means a file of its own repository."""
    if language in ("Python", "Cython", "JavaScript", "TypeScript"):
        return name.startswith(".")
    if language in ("C", "C++"):
        return name.startswith('"')
    if language == "Rust":
        return name.startswith(("mod ", "crate::", "self::", "super::"))
    return False
