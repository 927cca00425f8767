"""Parsing with tree-sitter: the grammars of a language, and a limit that no clock sets."""

from __future__ import annotations

import importlib
from functools import cache
from threading import Lock

from tree_sitter import Language, Parser, Point, Tree

from firnline.languages import LANGUAGES

LONGEST_BYTES = 1 << 19
"""Longer documents are not worth parsing; the callers leave them out."""
STEPS_PER_BYTE = 8
"""The parser stops after this many steps for each byte (code takes 0.2 to 2.2). A count and not
a clock, so that what becomes of a document does not depend on the machine."""
FEWEST_STEPS = 10_000
_ONE_AT_A_TIME = Lock()  # threads share the parsers


@cache
def parsers(language: str) -> tuple[Parser, ...]:
    """The parser of a language and those of its dialects, made once for each process; empty for
    a language without a grammar."""
    known = LANGUAGES.get(language)
    if known is None or known.grammar is None:
        return ()
    module = importlib.import_module(known.grammar[0])
    names = [known.grammar[1]]
    if language == "TypeScript":
        names.append("language_tsx")
    return tuple(Parser(Language(getattr(module, name)())) for name in names)


def parse(parser: Parser, text: bytes) -> Tree | None:
    """The tree, with ERROR nodes where the text has errors; None where the parser gives up."""
    steps = 0

    def read(start: int, point: Point) -> bytes:
        return text[start : start + 65536]

    def stop(position: int, error: bool) -> bool:
        nonlocal steps
        steps += 100
        return steps > STEPS_PER_BYTE * len(text) + FEWEST_STEPS

    with _ONE_AT_A_TIME:
        try:
            return parser.parse(read, progress_callback=stop)
        except ValueError:  # stopped
            parser.reset()
            return None
