"""Nodes of documents' syntax trees, recorded when they are packed: what infilling by syntax cuts.

Parsing takes a second for about 10 MB, so it is not for load time. `nodes.bin` in a token folder
has for each row of the index NODES pairs of int32, the first byte of a node and the one after its
last (counted from the document's beginning, path line included), then -1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from tree_sitter import Tree

from firnline.errors import FirnlineError
from firnline.parsing import LONGEST_BYTES, parse, parsers
from firnline.tokens.permutation import random_words

NODES = 8
"""Nodes recorded for a document at most."""

Spans = npt.NDArray[np.int32]


def syntax_nodes(language: str, content: bytes, header: int, document: bytes) -> Spans:
    """Up to NODES nodes of the document's tree, int32 [NODES, 2], -1 where there are no more.

    For each a random byte is drawn, then one of the named nodes that hold it, evenly, without the
    root and without errors: so all sizes come, from the name to the class. The same node may come
    twice. The draw depends on the document's id alone. The path line, the first `header` bytes,
    is not parsed. A language without a grammar has no nodes.
    """
    spans = np.full((NODES, 2), -1, dtype=np.int32)
    text = content[header:]
    grammars = parsers(language)
    tree = parse(grammars[0], text) if grammars and 0 < len(text) <= LONGEST_BYTES else None
    if tree is None:
        return spans
    words = random_words(4 * NODES, document.hex(), "nodes").tolist()
    found = 0
    for place, choice in zip(words[::2], words[1::2], strict=True):
        holding = _nodes_at(tree, place % len(text))
        if holding and found < NODES:
            begin, end = holding[choice % len(holding)]
            spans[found] = begin + header, end + header
            found += 1
    return spans


def read_nodes(folder: Path, documents: int) -> Spans:
    """Maps the nodes of a token folder, [documents, NODES, 2].

    Raises FirnlineError where the folder has none, or not as many as documents.
    """
    path = folder / "nodes.bin"
    if not path.is_file() or path.stat().st_size != documents * NODES * 8:
        raise FirnlineError(
            f"{folder} records no syntax nodes of its documents", mend="pack with nodes: true"
        )
    return np.asarray(np.memmap(path, np.int32, "r", shape=(documents, NODES, 2)))


def _nodes_at(tree: Tree, place: int) -> list[tuple[int, int]]:
    """The named nodes that hold a byte, outermost first, without root and errors."""
    cursor = tree.walk()
    found = []
    while cursor.goto_first_child_for_byte(place) is not None:
        node = cursor.node
        if node is None or not node.start_byte <= place < node.end_byte:
            break
        if node.is_named and not node.is_error:
            found.append((node.start_byte, node.end_byte))
    return found
