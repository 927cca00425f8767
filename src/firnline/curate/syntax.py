"""The syntax rule: how much of a document its language's tree-sitter grammar cannot parse.

Parsing costs about 100 ms for each MB of code and all of curation takes 40, so `suspects` names
the documents worth parsing from what the pass over structure has counted anyway
(`firnline.kernels.structure`); docs/rules.md has what it finds of planted errors and what it
misses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tree_sitter import Node, Parser

from firnline import parsing
from firnline.documents import buffers
from firnline.kernels.lexical import features
from firnline.kernels.structure import PROSE, structure

FAULTS_PER_KB = 0.2
_FEWEST_LINES = 4
_FEWEST_BYTES = 200

# What ends a language's lines of code, as shares of them: at least and at most so many in `;{}`, at
# most so many in `>`, `:`, `.?!`, and at most so many plain words at their beginning, on the mean.
# Each is where about 2 of 1,000 real files lie beyond (docs/rules.md).
USUAL: dict[str, tuple[float, float, float, float, float, float]] = {
    "Python": (0.0, 0.2, 0.0, 0.5, 0.4, 2.0),
    "Java": (0.25, 1.0, 0.08, 0.2, 0.01, 3.0),
    "C": (0.0, 1.0, 0.45, 0.25, 0.03, 1.8),
    "C++": (0.01, 1.0, 0.33, 0.23, 0.08, 1.5),
    "C#": (0.2, 1.0, 0.33, 0.19, 0.01, 1.6),
    "JavaScript": (0.0, 1.0, 0.24, 0.25, 0.09, 2.3),
    "TypeScript": (0.08, 1.0, 0.25, 0.1, 0.04, 3.3),
    "PHP": (0.0, 1.0, 0.01, 0.15, 0.06, 1.9),
    "Go": (0.0, 0.9, 0.0, 0.23, 0.4, 1.9),
    "Ruby": (0.0, 0.45, 0.01, 0.01, 0.35, 1.5),
    "Rust": (0.12, 1.0, 0.2, 0.04, 0.03, 2.4),
    "Scala": (0.0, 1.0, 0.38, 0.04, 0.4, 2.4),
    "Kotlin": (0.0, 0.7, 0.3, 0.06, 0.22, 2.9),
    "Shell": (0.0, 0.6, 0.0, 0.06, 0.22, 2.2),
}
_ANY = (0.0, 1.0, 1.0, 1.0, 1.0, 9.0)


@cache
def _usual(language: str) -> tuple[float, ...]:
    return USUAL.get(language, _ANY)


def suspects(
    faults: NDArray[np.int64],
    lines: NDArray[np.int64],
    sizes: NDArray[np.int64],
    languages: Sequence[str],
) -> NDArray[np.bool_]:
    """Which documents are worth parsing, from `structure`'s faults and lines and sizes in bytes."""
    counted = faults.sum(axis=1) - np.where(faults[:, PROSE] < 2, faults[:, PROSE], 0)
    faulty = counted * 1000 >= FAULTS_PER_KB * np.maximum(sizes, _FEWEST_BYTES)
    usual = np.array([_usual(language) for language in languages]).reshape(-1, len(_ANY))
    words, semicolon, *others = (lines[:, 1:-1] / np.maximum(lines[:, :1], 1)).T
    odd: NDArray[np.bool_] = (
        (semicolon < usual[:, 0]) | (semicolon > usual[:, 1]) | (words > usual[:, 5])
    )
    for column, share in enumerate(others, 2):
        odd |= share > usual[:, column]
    suspected: NDArray[np.bool_] = faulty & (counted > 0) | odd & (lines[:, 0] >= _FEWEST_LINES)
    return suspected


def error_shares(
    content: pa.Array,
    languages: Sequence[str],
    *,
    every: bool = False,
    suspected: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """The share of each document's bytes that lie in errors of its tree; NaN where none was parsed.

    In errors are the tokens that belong to an ERROR node itself; comments and what lies below one
    but was parsed whole are not, so that one missing brace does not make a whole file an error. A
    MISSING token counts as one byte. Parsed is what `suspected` says, or `every` document, or
    (with neither) what `suspects` names; never one without a grammar, longer than LONGEST_BYTES,
    or one on which the parser gives up. `content` is a large_string array.
    """
    data, offsets = buffers(content)
    if every:
        suspected = np.ones(len(languages), dtype=bool)
    elif suspected is None:
        kinds = np.array([features(language) for language in languages], dtype=np.int64)
        _, faults, lines = structure(data, offsets, kinds)
        suspected = suspects(faults, lines, np.diff(offsets), languages)
    shares = np.full(len(languages), np.nan)
    for row in np.flatnonzero(suspected).tolist():
        # SQL's grammar knows too few dialects.
        grammars = () if languages[row] == "SQL" else parsing.parsers(languages[row])
        text = data[offsets[row] : offsets[row + 1]].tobytes()
        if grammars and 0 < len(text) <= parsing.LONGEST_BYTES:
            shares[row] = _least_share(grammars, text)
    return shares


def _least_share(grammars: Iterable[Parser], text: bytes) -> float:
    least = float("nan")
    for parser in grammars:
        share = _error_share(parser, text)
        least = share if not least <= share else least
        if least == 0.0:
            break
    return least


def _error_share(parser: Parser, text: bytes) -> float:
    tree = parsing.parse(parser, text)
    if tree is None:
        return float("nan")
    return min(1.0, _error_bytes(tree.root_node) / len(text))  # missing tokens have no bytes


def _error_bytes(root: Node) -> int:
    count = 0
    nodes = [root] if root.has_error else []
    while nodes:
        node = nodes.pop()
        if node.is_missing:
            count += 1
        elif node.is_error and not node.child_count:
            count += node.end_byte - node.start_byte
        else:
            for child in node.children:
                if child.has_error:
                    nodes.append(child)
                elif node.is_error and not (child.child_count or child.is_extra):
                    count += child.end_byte - child.start_byte
    return count
