"""Where the import statements of source code begin: comments and strings are not looked into.

One pass over the bytes follows comments, strings, character and regular-expression literals by
the rules of the language, and reports where a line or statement begins with the word of an
import. What follows the word is for the caller to read (`firnline.curate.imports`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel
from firnline.kernels.shingles import BYTE_CLASSES, WORD

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]

# Families of languages that are read alike.
NONE, PYTHON, C, JAVA, CSHARP, SCRIPT, GO, RUST = range(8)

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
def _is_word(data: Bytes, start: int, end: int, word: bytes) -> bool:
    if end - start != len(word):
        return False
    for place in range(len(word)):  # noqa: SIM110  # numba compiles no generators
        if data[start + place] != word[place]:
            return False
    return True


@kernel
def _blank(byte: int) -> bool:
    return bool(byte == 32 or byte == 9 or byte == 13 or byte == 12)


@kernel
def _word_end(data: Bytes, i: int, end: int) -> int:
    while i < end and BYTE_CLASSES[data[i]] == WORD:
        i += 1
    return i


@kernel
def _after_blanks(data: Bytes, i: int, end: int) -> int:
    while i < end and _blank(data[i]):
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
        while i + 1 < end and data[i] == 35 and data[i + 1] == 91:  # #[attribute]
            while i < end and data[i] != 93 and data[i] != 10:
                i += 1
            i = _after_blanks(data, i + 1, end)
        if _is_word(data, i, _word_end(data, i, end), b"pub"):
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
            _is_word(data, i, stop, b"import")
            or _is_word(data, i, stop, b"from")
            or _is_word(data, i, stop, b"cimport")
        )
    elif family == JAVA:
        found = _is_word(data, i, stop, b"import") or _is_word(data, i, stop, b"package")
    elif family == CSHARP:
        if _is_word(data, i, stop, b"global"):
            i = _after_blanks(data, stop, end)
            stop = _word_end(data, i, end)
        found = _is_word(data, i, stop, b"using") or _is_word(data, i, stop, b"namespace")
    elif family == RUST:
        found = _is_word(data, i, stop, b"mod") or _is_word(data, i, stop, b"use")
    elif family == GO:
        if (
            _is_word(data, i, stop, b"func")
            or _is_word(data, i, stop, b"type")
            or _is_word(data, i, stop, b"var")
            or _is_word(data, i, stop, b"const")
        ):
            return end
        found = _is_word(data, i, stop, b"import") or _is_word(data, i, stop, b"package")
    return i if found else -1


@kernel
def _ends_with(data: Bytes, start: int, last: int, word: bytes) -> bool:
    """Whether data[start:last + 1] ends with `word`, whole and not as a member (`x.word`)."""
    first = last + 1 - len(word)
    if first < start or not _is_word(data, first, last + 1, word):
        return False
    before = data[first - 1] if first > start else 32
    return BYTE_CLASSES[before] != WORD and before != 46 and before != 36


@kernel
def _after_quote(data: Bytes, i: int, end: int, many_lines: bool) -> int:
    """After a string in plain quotes that begins at `i`; at a line's end where it is not closed."""
    quote = data[i]
    i += 1
    while i < end:
        byte = data[i]
        if byte == quote:
            return i + 1
        if byte == 92:
            i += 1
            if i + 1 < end and data[i] == 13 and data[i + 1] == 10:
                i += 1
        elif byte == 10 and not many_lines:
            return i
        i += 1
    return end


@kernel
def _after_closing(data: Bytes, i: int, end: int, quote: int, count: int, escapes: bool) -> int:
    """After the next run of `count` quotes; a backslash hides the byte that follows it."""
    run = 0
    while i < end:
        if data[i] == quote:
            run += 1
            if run == count:
                return i + 1
        else:
            run = 0
            if escapes and data[i] == 92:
                i += 1
        i += 1
    return end


@kernel
def _after_raw(data: Bytes, i: int, end: int) -> int:
    """After a C++ string R"delimiter( ... )delimiter" whose quote lies at `i`."""
    stop = i + 1
    while stop < end and data[stop] != 40 and stop - i < 18:
        stop += 1
    size = stop - i - 1
    place = stop + 1
    while place + size + 1 < end:
        if data[place] == 41 and data[place + 1 + size] == 34:
            same = True
            for k in range(size):
                same &= data[place + 1 + k] == data[i + 1 + k]
            if same:
                return place + size + 2
        place += 1
    return end


@kernel
def _after_rust_string(data: Bytes, start: int, i: int, end: int) -> int:
    """After a Rust string whose quote lies at `i`: with `r##` before it, up to `"##`."""
    hashes = i
    while hashes > start and data[hashes - 1] == 35:
        hashes -= 1
    if hashes == start or data[hashes - 1] != 114:
        return _after_quote(data, i, end, True)
    count = i - hashes
    place = i + 1
    while place < end:
        if data[place] == 34:
            run = 0
            while run < count and place + 1 + run < end and data[place + 1 + run] == 35:
                run += 1
            if run == count:
                return place + 1 + count
        place += 1
    return end


@kernel
def _after_rust_mark(data: Bytes, i: int, end: int) -> int:
    """After a `'` that begins a character at `i`, or after the sign alone: a lifetime."""
    if i + 1 < end and data[i + 1] == 92:
        return _after_quote(data, i, end, False)
    for size in range(1, 5):
        if i + 1 + size < end and data[i + 1 + size] == 39 and (size == 1 or data[i + 1] >= 128):
            return i + size + 2
    return i + 1


@kernel
def _after_csharp_string(data: Bytes, start: int, i: int, end: int) -> int:
    """After a C# string whose first quote lies at `i`: plain, verbatim or raw."""
    marks = 0
    while i + marks < end and data[i + marks] == 34:
        marks += 1
    sign = data[i - 1] if i > start else 32
    if sign == 64 or (sign == 36 and i - 1 > start and data[i - 2] == 64):
        i = _after_closing(data, i + 1, end, 34, 1, False)
        while i < end and data[i] == 34:  # a doubled quote stands for one: the string goes on
            i = _after_closing(data, i + 1, end, 34, 1, False)
        return i
    if marks > 2:
        return _after_closing(data, i + marks, end, 34, marks, False)
    return _after_quote(data, i, end, False)


@kernel
def _parts_digits(data: Bytes, start: int, i: int, end: int) -> bool:
    """Whether the `'` at `i` parts the digits of a number, as in 1'000'000 (C++14, 5.13.2)."""
    first = i
    while first > start and (BYTE_CLASSES[data[first - 1]] == WORD or data[first - 1] == 39):
        first -= 1
    return first < i and 48 <= data[first] <= 57


@kernel
def _after_block(data: Bytes, i: int, end: int, nests: bool) -> int:
    """After a `/* */` comment that begins at `i`."""
    depth = 1
    i += 2
    while i + 1 < end:
        if data[i] == 42 and data[i + 1] == 47:
            depth -= 1
            i += 2
            if depth == 0:
                return i
        elif nests and data[i] == 47 and data[i + 1] == 42:
            depth += 1
            i += 2
        else:
            i += 1
    return end


@kernel
def _after_regex(data: Bytes, i: int, end: int) -> int:
    """After a JavaScript regular expression that begins at `i`; `i + 1` where none ends."""
    place = i + 1
    inside = False
    while place < end and data[place] != 10:
        byte = data[place]
        if byte == 92:
            place += 1
        elif byte == 91:
            inside = True
        elif byte == 93:
            inside = False
        elif byte == 47 and not inside:
            return place + 1
        place += 1
    return i + 1


@kernel
def _significant(data: Bytes, start: int, i: int) -> int:
    """The last byte before `i` that is no blank and in no block comment; `start - 1` if none."""
    i -= 1
    while i >= start:
        if _blank(data[i]) or data[i] == 10:
            i -= 1
        elif data[i] == 47 and i - 3 >= start and data[i - 1] == 42:
            i -= 3
            while i > start and not (data[i] == 47 and data[i + 1] == 42):
                i -= 1
            i -= 1
        else:
            break
    return i


@kernel
def _regex_may_follow(data: Bytes, start: int, i: int) -> bool:
    """Whether a `/` at `i` begins a regular expression and does not divide."""
    last = _significant(data, start, i)
    if last < start:
        return True
    byte = data[last]
    if BYTE_CLASSES[byte] == WORD:
        return _ends_with(data, start, last, b"return") or _ends_with(data, start, last, b"typeof")
    return byte not in (41, 93, 125, 36, 34, 39)


@kernel
def _names_module(data: Bytes, start: int, i: int) -> bool:
    """Whether the string at `i` names a module: `from "x"`, `import "x"`, `require("x")`."""
    last = _significant(data, start, i)
    if last < start:
        return False
    byte = data[last]
    if byte == 40:
        last = _significant(data, start, last)
        return _ends_with(data, start, last, b"require") or _ends_with(data, start, last, b"import")
    if byte != 109 and byte != 116:
        return False
    return _ends_with(data, start, last, b"from") or _ends_with(data, start, last, b"import")


@kernel
def _after_template(data: Bytes, i: int, end: int) -> int:
    """After the text of a JavaScript template from `i` on: behind its end, or behind a `${`."""
    while i < end and data[i] != 96:
        if data[i] == 92:
            i += 1
        elif data[i] == 36 and i + 1 < end and data[i + 1] == 123:
            return i + 2
        i += 1
    return min(i + 1, end)


@kernel
def _after_string(data: Bytes, start: int, i: int, end: int, family: int) -> int:
    """After the string, or character, whose first quote lies at `i`."""
    byte = data[i]
    if family == CSHARP and byte == 34:
        return _after_csharp_string(data, start, i, end)
    if family == RUST:
        if byte == 39:
            return _after_rust_mark(data, i, end)
        return _after_rust_string(data, start, i, end)
    if family == C:
        if byte == 39 and _parts_digits(data, start, i, end):
            return i + 1
        if byte == 34 and i > start and data[i - 1] == 82:
            return _after_raw(data, i, end)
    triple = i + 2 < end and data[i + 1] == byte and data[i + 2] == byte
    if triple and (family == PYTHON or (family == JAVA and byte == 34)):
        return _after_closing(data, i + 3, end, byte, 3, True)
    return _after_quote(data, i, end, False)


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
                        i = _after_block(data, i, end, family == RUST)
                        fresh = True
                    elif following == 47:
                        while i < end and data[i] != 10:
                            i += 1
                    elif family == SCRIPT and _regex_may_follow(data, start, i):
                        i = _after_regex(data, i, end)
                    else:
                        i += 1
                elif byte == 35:
                    while i < end and data[i] != 10:
                        i += 1
                elif byte == 34 or byte == 39:
                    if family == SCRIPT and _names_module(data, start, i):
                        found = i
                    i = _after_string(data, start, i, end, family)
                elif byte == 96 and family == GO:
                    i = _after_closing(data, i + 1, end, 96, 1, False)
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
                        i = _after_template(data, i, end)
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
