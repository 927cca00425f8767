"""Where the import statements of source code begin: comments and strings are not looked into.

One pass over the bytes follows comments, strings, character and regular-expression literals by
the rules of the language, and reports where a line or statement begins with the word of an
import. What follows the word is for the caller to read (`firnline.curate.imports`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel
from firnline.kernels.literals import (
    CSHARP,
    GO,
    JAVA,
    NONE,
    PYTHON,
    RUST,
    SCRIPT,
    C,
    after_block,
    after_closing,
    after_string,
    after_template,
    ends_with,
    is_blank,
    is_word,
    regex_may_follow,
    regex_stop,
    significant,
)
from firnline.kernels.shingles import BYTE_CLASSES, WORD

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]


_LONGEST_LEAD = 512  # bytes of `#[..]` and `pub(..)` before a Rust statement
_DEEPEST = 64  # nested templates (JavaScript) and inline modules (Rust) that are followed


def _signs() -> Bytes:
    """For each family, which bytes are looked at; all others are passed over."""
    signs = np.zeros((8, 256), dtype=np.uint8)
    for family, own in {
        PYTHON: b"#;:",
        C: b"/",
        JAVA: b"/;",
        CSHARP: b"/;{}",
        SCRIPT: b"/`{}",
        GO: b"/`;",
        RUST: b"/;{}",
    }.items():
        signs[family, list(b"\n\"'" + own)] = 1
    return signs


_SIGNS = _signs()


@kernel
def _word_end(data: Bytes, i: int, end: int) -> int:
    while i < end and BYTE_CLASSES[data[i]] == WORD:
        i += 1
    return i


@kernel
def _after_blanks(data: Bytes, i: int, end: int) -> int:
    while i < end and is_blank(data[i]):
        i += 1
    return i


@kernel
def _statement(data: Bytes, i: int, end: int, family: int) -> int:
    """Where the word lies that makes an import of the line that begins at `i`; -1 if none does.

    For Go the position is `end` where declarations begin, after which no import can come.
    """
    i = _after_blanks(data, i, end)
    if i >= end:
        return -1
    first = data[i]
    if family == C:
        return i if first == 35 else -1
    if family == SCRIPT:
        return -1
    if family == RUST:
        end = min(end, i + _LONGEST_LEAD)
        while i + 1 < end and data[i] == 35 and data[i + 1] == 91:  # #[attribute]
            while i < end and data[i] != 93 and data[i] != 10:
                i += 1
            i = _after_blanks(data, i + 1, end)
        if is_word(data, i, _word_end(data, i, end), b"pub"):
            i = _after_blanks(data, i + 3, end)
            if i < end and data[i] == 40:
                while i < end and data[i] != 41 and data[i] != 10:
                    i += 1
                i = _after_blanks(data, i + 1, end)
        if i >= end or (data[i] != 109 and data[i] != 117):
            return -1
    elif not 97 <= first <= 118:
        return -1
    stop = _word_end(data, i, end)
    found = False
    if family == PYTHON:
        found = (
            is_word(data, i, stop, b"import")
            or is_word(data, i, stop, b"from")
            or is_word(data, i, stop, b"cimport")
        )
    elif family == JAVA:
        found = is_word(data, i, stop, b"import") or is_word(data, i, stop, b"package")
    elif family == CSHARP:
        if is_word(data, i, stop, b"global"):
            i = _after_blanks(data, stop, end)
            stop = _word_end(data, i, end)
        found = is_word(data, i, stop, b"using") or is_word(data, i, stop, b"namespace")
    elif family == RUST:
        found = is_word(data, i, stop, b"mod") or is_word(data, i, stop, b"use")
    elif family == GO:
        if (
            is_word(data, i, stop, b"func")
            or is_word(data, i, stop, b"type")
            or is_word(data, i, stop, b"var")
            or is_word(data, i, stop, b"const")
        ):
            return end
        found = is_word(data, i, stop, b"import") or is_word(data, i, stop, b"package")
    return i if found else -1


@kernel
def _names_module(data: Bytes, start: int, i: int) -> bool:
    """Whether the string at `i` names a module: `from "x"`, `import "x"`, `require("x")`."""
    last = significant(data, start, i)
    if last < start:
        return False
    byte = data[last]
    if byte == 40:
        last = significant(data, start, last)
        return ends_with(data, start, last, b"require") or ends_with(data, start, last, b"import")
    if byte != 109 and byte != 116:
        return False
    return ends_with(data, start, last, b"from") or ends_with(data, start, last, b"import")


@kernel
def import_statements(
    data: Bytes, offsets: Offsets, families: Bytes
) -> tuple[Offsets, Offsets, Offsets]:
    """The places in each document where an import statement may begin, in order.

    `families` has the family of each document. Returns (document, position, level), one row for
    each place. The position is that of the keyword (Python, Java, C#, Go, Rust), of the `#` of a
    directive (C), or of the quote of a string that names a module (JavaScript). The level counts
    the inline modules around a Rust statement, and is 0 elsewhere; `mod name {` opens one.
    """
    documents = np.empty(256, dtype=np.int64)
    positions = np.empty(256, dtype=np.int64)
    levels = np.empty(256, dtype=np.int64)
    stack = np.zeros(_DEEPEST, dtype=np.int64)  # depth of braces in open templates or modules
    count = 0
    for document in range(len(offsets) - 1):
        family = families[document]
        start, end = offsets[document], offsets[document + 1]
        i = start
        if end - start > 2 and data[i] == 239 and data[i + 1] == 187 and data[i + 2] == 191:
            i += 3  # the mark of UTF-8
        if family == NONE:
            i = end
        depth = level = 0
        fresh = True
        while i < end:
            found = -1
            opens = False
            if fresh:
                fresh = False
                found = _statement(data, i, end, family)
                if found == end:
                    break
                if found >= 0:
                    i = found + 1
                    if family == C:  # the quotes and slashes of <a//b> mean nothing
                        while i < end and data[i] != 60 and data[i] != 34 and data[i] != 10:
                            i += 1
                        if i < end and data[i] == 60:
                            while i < end and data[i] != 62 and data[i] != 10:
                                i += 1
                    elif family == RUST and data[found] == 109:
                        i = _after_blanks(data, found + 3, end)
                        i = _after_blanks(data, _word_end(data, i, end), end)
                        opens = i < end and data[i] == 123  # `mod name {`
            else:
                while i < end and not _SIGNS[family, data[i]]:
                    i += 1
                if i >= end:
                    break
                byte = data[i]
                if byte == 10 or byte == 59 or byte == 58:
                    i += 1
                    fresh = True
                elif byte == 47:
                    following = data[i + 1] if i + 1 < end else 32
                    if following == 42:
                        i = after_block(data, i, end, family == RUST)
                        fresh = True
                    elif following == 47:
                        while i < end and data[i] != 10:
                            i += 1
                    elif family == SCRIPT and regex_may_follow(data, start, i):
                        i = regex_stop(data, i, end)
                    else:
                        i += 1
                elif byte == 35:
                    while i < end and data[i] != 10:
                        i += 1
                elif byte == 34 or byte == 39:
                    if family == SCRIPT and _names_module(data, start, i):
                        found = i
                    i = after_string(data, start, i, end, family)
                elif byte == 96 and family == GO:
                    i = after_closing(data, i + 1, end, 96, 1, False)
                elif byte == 123:
                    depth += 1
                    fresh = family != SCRIPT
                    i += 1
                else:
                    i += 1
                    fresh = family != SCRIPT
                    template = byte == 96
                    if byte == 125:
                        if level and stack[level - 1] == depth:
                            level -= 1
                            template = family == SCRIPT
                        depth -= 1
                    if template:
                        i = after_template(data, i, end)
                        if data[i - 1] == 123 and level < _DEEPEST:  # code between ${ and }
                            depth += 1
                            stack[level] = depth
                            level += 1
            if found >= 0:
                if count == len(documents):
                    documents = np.concatenate((documents, documents))
                    positions = np.concatenate((positions, positions))
                    levels = np.concatenate((levels, levels))
                documents[count] = document
                positions[count] = found
                levels[count] = level if family == RUST else 0
                count += 1
            if opens:
                i += 1
                depth += 1
                fresh = True
                if level < _DEEPEST:
                    stack[level] = depth
                    level += 1
    return documents[:count], positions[:count], levels[:count]
