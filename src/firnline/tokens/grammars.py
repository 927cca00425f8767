"""What tree-sitter's grammars call identifiers, comments and functions, and parsing with them."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tree_sitter import Language, Node, Query, QueryCursor, Tree

from firnline import parsing
from firnline.parsing import LONGEST_BYTES

_C_COMMENTS = "(comment) @comment"
_TWO_COMMENTS = "(line_comment) @comment (block_comment) @comment"


class Kinds(NamedTuple):
    """Nodes of one language: kinds of identifiers and of functions, and a query for comments."""

    identifiers: tuple[str, ...]
    functions: tuple[str, ...]
    comments: str = _C_COMMENTS


_SCRIPT = Kinds(
    (
        "identifier",
        "property_identifier",
        "private_property_identifier",
        "shorthand_property_identifier",
        "shorthand_property_identifier_pattern",
        "statement_identifier",
    ),
    ("function_declaration", "generator_function_declaration", "method_definition"),
)
_C = ("identifier", "field_identifier", "type_identifier", "statement_identifier")

KINDS: dict[str, Kinds] = {
    # A string that is a statement of its own is documentation and not code.
    "Python": Kinds(
        ("identifier",),
        ("function_definition",),
        "(comment) @comment (expression_statement . (string) @comment .)",
    ),
    "Java": Kinds(
        ("identifier", "type_identifier"),
        ("method_declaration", "constructor_declaration"),
        _TWO_COMMENTS,
    ),
    "C": Kinds(_C, ("function_definition",)),
    "C++": Kinds((*_C, "namespace_identifier"), ("function_definition",)),
    "JavaScript": _SCRIPT,
    "TypeScript": _SCRIPT._replace(identifiers=(*_SCRIPT.identifiers, "type_identifier")),
    # What stands outside of `<?php` is text.
    "PHP": Kinds(
        ("name",), ("function_definition", "method_declaration"), f"{_C_COMMENTS} (text) @comment"
    ),
    "C#": Kinds(("identifier",), ("method_declaration", "constructor_declaration")),
    "Go": Kinds(
        ("identifier", "field_identifier", "type_identifier", "package_identifier", "label_name"),
        ("function_declaration", "method_declaration"),
    ),
    "SQL": Kinds(("identifier",), ("create_function",)),
    "Ruby": Kinds(
        ("identifier", "constant", "instance_variable", "class_variable", "global_variable"),
        ("method", "singleton_method"),
    ),
    "Rust": Kinds(
        ("identifier", "type_identifier", "field_identifier", "shorthand_field_identifier"),
        ("function_item",),
        _TWO_COMMENTS,
    ),
    "Scala": Kinds(
        ("identifier", "type_identifier"),
        ("function_definition",),
        "(comment) @comment (block_comment) @comment",
    ),
    "Kotlin": Kinds(("identifier",), ("function_declaration",), _TWO_COMMENTS),
    "Shell": Kinds(("variable_name",), ("function_definition",)),
    "Dart": Kinds(
        ("identifier", "type_identifier"),
        (),
        "(comment) @comment (documentation_comment) @comment",
    ),
    "Swift": Kinds(
        ("simple_identifier", "type_identifier"),
        ("function_declaration",),
        "(comment) @comment (multiline_comment) @comment",
    ),
    "Lua": Kinds(("identifier",), ("function_declaration",)),
}


class Marks(NamedTuple):
    """Bytes of a document, each [n] int64: begin (included) and end (not included)."""

    identifier_starts: NDArray[np.int64]
    identifier_ends: NDArray[np.int64]
    comment_starts: NDArray[np.int64]
    comment_ends: NDArray[np.int64]


def parse(language: str, text: bytes) -> Tree | None:
    """The tree of a text; None without a grammar, for long texts, and where the parser gives up.

    A text with errors has a tree too, with ERROR nodes in it.
    """
    if language not in KINDS or not 0 < len(text) <= LONGEST_BYTES:
        return None
    first, *dialects = parsing.parsers(language)
    tree = parsing.parse(first, text)
    for dialect in dialects:
        if tree is None or tree.root_node.has_error:
            other = parsing.parse(dialect, text)
            tree = other if other is not None and not other.root_node.has_error else tree
    return tree


def marks(language: str, tree: Tree) -> Marks:
    """Identifiers and comments of a tree in the order of the text; identifiers do not overlap."""
    found = QueryCursor(_query(language, tree.language)).captures(tree.root_node)
    starts, ends = _places(found.get("identifier", []))
    if len(starts):
        apart = np.append(True, starts[1:] >= np.maximum.accumulate(ends)[:-1])
        starts, ends = starts[apart], ends[apart]
    return Marks(starts, ends, *_places(found.get("comment", [])))


def _places(nodes: list[Node]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    places = sorted({(node.start_byte, node.end_byte) for node in nodes})
    array = np.array(places, dtype=np.int64).reshape(-1, 2)
    array = array[array[:, 0] < array[:, 1]]  # a missing identifier has no bytes
    return array[:, 0], array[:, 1]


@cache
def _query(language: str, grammar: Language) -> Query:
    kinds = KINDS[language]
    patterns = [f"({kind}) @identifier" for kind in kinds.identifiers]
    if language == "Shell":
        patterns.append("(function_definition name: (word) @identifier)")
    return Query(grammar, " ".join([*patterns, kinds.comments]))
