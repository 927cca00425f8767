"""Functions and what their authors say that they do: docstrings, and comments before them."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from tree_sitter import Node, Tree

from firnline.parsing import LONGEST_BYTES
from firnline.tokens.grammars import KINDS, marks, parse

LEAST_WORDS = 3
LEAST_LINES = 3
"""Shorter texts, and functions of fewer lines that are not blank, are left out (CodeSearchNet,
Husain et al. 2019, section 2)."""

_OPENS = re.compile(r"\s*(/\*+!?|\*+/|\*+|//+!?|#+!?|--+)?[ \t]?")
_CLOSES = re.compile(r"\s*\*+/\s*$")
_TAG = re.compile(r"\s*([@\\:]\w|Args:|Arguments:|Parameters|Returns?:|Raises:|# ?Arguments)")
_NEWLINE = re.compile(r"\r\n?")


class Described(NamedTuple):
    """A function's first paragraph of documentation, in one line, and the function without it."""

    text: str
    code: str


def described_functions(language: str, content: str) -> list[Described]:
    """The described functions of a document, in its order; none where it cannot be parsed."""
    if len(content) > LONGEST_BYTES:
        return []
    content = _NEWLINE.sub("\n", content)
    found = _in_python(content) if language == "Python" else _in_others(language, content)
    return [
        pair
        for pair in found
        if len(pair.text.split()) >= LEAST_WORDS
        and any(character.isalpha() for character in pair.text)
        and sum(bool(line.strip()) for line in pair.code.splitlines()) >= LEAST_LINES
    ]


def _in_python(content: str) -> Iterator[Described]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the file's own escapes
            tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    lines = content.split("\n")
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for node in sorted(functions, key=lambda node: node.lineno):
        document = ast.get_docstring(node)
        said = node.body[0]
        # A docstring that shares its lines with code cannot be taken out by lines.
        if document and len(node.body) > 1 and said.lineno > node.lineno and said.end_lineno:
            head = lines[node.lineno - 1 : said.lineno - 1]
            if (
                said.end_lineno < node.body[1].lineno
                and not lines[said.lineno - 1][: said.col_offset].strip()
            ):
                code = "\n".join(head + lines[said.end_lineno : node.end_lineno])
                yield Described(_first_paragraph(document.splitlines()), textwrap.dedent(code))


def _in_others(language: str, content: str) -> Iterator[Described]:
    text = content.encode()
    tree = parse(language, text)
    if tree is None:
        return
    found = marks(language, tree)
    comments = {}  # by their ends: where they begin
    for start, end in zip(found.comment_starts.tolist(), found.comment_ends.tolist(), strict=True):
        if _opening(text, start) is not None:
            comments[start + len(text[start:end].rstrip())] = start
    for node in _functions(tree, KINDS[language].functions):
        begin = _opening(text, node.start_byte)
        # `export function`: the line may begin with more than the function.
        line = text.rfind(b"\n", 0, node.start_byte) + 1 if begin is None else begin
        first = line
        while (end := _before(text, first)) in comments:
            first = _opening(text, comments[end]) or 0
        if first < line:
            said = _first_paragraph(
                [_strip(part) for part in text[first:line].decode(errors="replace").splitlines()]
            )
            yield Described(said, textwrap.dedent(text[line : node.end_byte].decode()))


def _opening(text: bytes, place: int) -> int | None:
    """Where the line of `place` begins, if only blanks come before it there."""
    start = text.rfind(b"\n", 0, place) + 1
    return start if not text[start:place].strip() else None


def _before(text: bytes, line: int) -> int:
    """The end of what stands on the line before the one that begins at `line`; -1: it is blank."""
    start = text.rfind(b"\n", 0, max(line - 1, 0)) + 1
    above = text[start:line].rstrip()
    return start + len(above) if above else -1


def _functions(tree: Tree, kinds: tuple[str, ...]) -> Iterator[Node]:
    nodes = [tree.root_node] if kinds else []
    while nodes:
        node = nodes.pop()
        if node.type in kinds:
            yield node
        nodes.extend(reversed(node.named_children))


def _strip(line: str) -> str:
    return _CLOSES.sub("", line[match.end() if (match := _OPENS.match(line)) else 0 :])


def _first_paragraph(lines: list[str]) -> str:
    """The lines up to a blank one or one that opens a list of parameters, as one."""
    kept: list[str] = []
    for line in lines:
        if _TAG.match(line) or (kept and not line.strip()):
            break
        if line.strip():
            kept.append(line)
    return " ".join(" ".join(kept).split())
