"""The structure of code without a grammar: comments, strings and brackets, one pass over the bytes.

What it gives is enough to say how much of a file is comment, and to name the few files that a real
parser should look at (`firnline.curate.syntax`). It is no parser: where a language cannot be lexed
without one (a slash in Ruby, a quote in a here-document's name), it guesses, and a wrong guess
costs the parser's time and nothing else.

What counts as a fault, by column of `faults`:

- BRACKETS: a closing bracket without its opening one, or one that is never closed. Branches of
  `#if` each start from the depth before it; what a `#define` opens does not count.
- STRINGS: a one-line string or a comment without an end, and a quote that opens no character where
  only characters have one.
- MARKERS: marks of a merge conflict, a diff or a template engine.
- PROSE: a line that starts with seven words of small letters with one blank between them.
- LAYOUT: Python's indentation where no block starts or none follows a colon; a semicolon inside
  brackets or at a line's end there; a `#` in languages that have none.
- FOREIGN: a line that starts as in another language (`def f`, `interface I`, `pub fn`).
- CONTROL: bytes that no text has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel
from firnline.kernels.lexical import (
    BACKTICK,
    BLANK_HASH,
    CHARACTER,
    DELIMITED_RAW,
    DIRECTIVE,
    FOLLOWED,
    HASHED_RAW,
    HEREDOC,
    INDENTED,
    LANGUAGE_BIT,
    NO_HASH,
    PAREN,
    PERCENT,
    POUND,
    REGEX,
    SINGLE,
    TAGGED,
    TRIPLE,
    VERBATIM,
)
from firnline.kernels.line_starts import (
    BEGIN,
    ELSE,
    ENDIF,
    IF,
    PROSE_WORDS,
    after_begin,
    directive_of,
    indent_of,
    words_at,
)
from firnline.kernels.spans import (
    CLOSED,
    OPENED,
    after_character,
    after_comment,
    after_heredoc,
    after_open_tag,
    after_percent,
    after_raw,
    after_regex,
    after_string,
    heredoc_word,
    is_word,
    starts_with,
)

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Counts = NDArray[np.int64]

BRACKETS, STRINGS, MARKERS, PROSE, LAYOUT, FOREIGN, CONTROL = range(7)
FAULTS = ("brackets", "strings", "markers", "prose", "layout", "foreign", "control")
LINES = ("lines", "words", "semicolon", "angle", "colon", "stop", "other")


def _text_classes() -> Bytes:
    """1 for each byte that starts a character other than ASCII white space."""
    table = np.ones(256, dtype=np.uint8)
    table[list(b" \t\n\r\f\v")] = 0
    table[0x80:0xC0] = 0
    return table


_TEXT = _text_classes()
_SPECIAL = np.zeros(256, dtype=np.uint8)
_SPECIAL[list(b"\n\"'`()[]{}/#-<%;?\\")] = 1
_CONTROLS = [byte for byte in range(32) if byte not in b"\t\n\r\f\v"] + [127]
_SPECIAL[_CONTROLS] = 2
_DEPTH = 2048

_ENDS = np.full(256, len(LINES) - 1, dtype=np.uint8)
"""The column of `lines` for the last byte of a line."""
_ENDS[list(b";{}")] = 2
_ENDS[list(b">")] = 3
_ENDS[list(b":")] = 4
_ENDS[list(b".?!")] = 5


@kernel
def _text(data: Bytes, start: int, stop: int) -> int:
    """Characters in data[start:stop] that are not white space."""
    count = 0
    for i in range(start, stop):
        count += _TEXT[data[i]]
    return count


@kernel
def structure(data: Bytes, offsets: Offsets, kinds: Counts) -> tuple[Counts, Counts, Counts]:
    """(characters of comments that are not white space, faults, lines) of each document.

    `kinds` has each document's `features`; where they are 0 so are the results. Faults and lines
    have a row for each document and a column for each of FAULTS and LINES. Python's strings in
    three quotes that stand alone count as comments, as they do in SantaCoder.
    """
    documents = len(offsets) - 1
    comments = np.zeros(documents, dtype=np.int64)
    faults = np.zeros((documents, len(FAULTS)), dtype=np.int64)
    lines = np.zeros((documents, len(LINES)), dtype=np.int64)
    closers = np.empty(_DEPTH, dtype=np.uint8)
    resumes = np.empty(_DEPTH, dtype=np.int64)
    branches = np.empty(64, dtype=np.int64)
    indents = np.empty(128, dtype=np.int64)
    for document in range(documents):
        bits = kinds[document]
        if not bits & FOLLOWED:
            continue
        start, end = offsets[document], offsets[document + 1]
        found = faults[document]
        commented = depth = branch = level = indents[0] = 0
        i = line_start = start
        comment_at = -1
        directive = opener = False
        heredocs = bool(bits & HEREDOC)
        word = word_end = 0
        resume = 0
        words = words_at(data, start, end, bits >> LANGUAGE_BIT)
        found[MARKERS] += words == -1
        found[FOREIGN] += words == -2
        if bits & TAGGED:
            i = after_open_tag(data, i, end)
        elif bits & POUND and starts_with(data, i, end, BEGIN):
            i = after_begin(data, i, end)
            commented += _text(data, start, i)
        while i < end:
            byte = data[i]
            if not _SPECIAL[byte]:
                i += 1
                continue
            if byte == 10:
                stop = comment_at if comment_at >= 0 else i
                while stop > line_start and data[stop - 1] <= 32:
                    stop -= 1
                if stop > line_start:
                    last = data[stop - 1]
                    lines[document, 0] += 1
                    lines[document, 1] += max(words, 0)
                    lines[document, _ENDS[last]] += 1
                    found[PROSE] += words == PROSE_WORDS
                    if bits & INDENTED and depth == 0:
                        opener = last == 58
                        found[LAYOUT] += last == 59
                comment_at = -1
                if directive:
                    last = i - 1 - (i - 1 > start and data[i - 1] == 13)
                    directive = data[last] == 92
                i += 1
                if word_end > word:
                    after = after_heredoc(data, i, end, word, word_end)
                    heredocs = after >= 0
                    i = max(i, after)
                    word = word_end
                line_start = i
                words = words_at(data, i, end, bits >> LANGUAGE_BIT)
                found[MARKERS] += words == -1
                found[FOREIGN] += words == -2
                if bits & INDENTED and depth == 0:
                    indent = indent_of(data, i, end)
                    if indent > indents[level]:
                        found[LAYOUT] += not opener
                        level = min(level + 1, len(indents) - 1)
                        indents[level] = indent
                        opener = False
                    elif indent >= 0:
                        found[LAYOUT] += opener
                        while level > 0 and indents[level] > indent:
                            level -= 1
                        found[LAYOUT] += indents[level] != indent
                        opener = False
                elif bits & POUND and starts_with(data, i, end, BEGIN):
                    i = after_begin(data, i, end)
                    commented += _text(data, line_start, i)
                continue
            if byte == 34 or byte == 39 or byte == 96:
                before = data[i - 1] if i > start else np.uint8(10)
                asked = before == 63 and not (i - 1 > start and is_word(data[i - 2]))
                if bits & POUND and (before == 36 or asked):  # a global or a character
                    i += 1
                    continue
                if byte == 39 and bits & CHARACTER:
                    after = after_character(data, i, end, bits & HASHED_RAW != 0)
                    if after == i:
                        if not (bits & HASHED_RAW or directive or is_word(int(before))):
                            found[STRINGS] += 1
                        after = i + 1
                    i = after
                    continue
                if (byte == 39 and not bits & SINGLE) or (byte == 96 and not bits & BACKTICK):
                    i += 1
                    continue
                if byte == 34 and bits & (HASHED_RAW | DELIMITED_RAW | VERBATIM):
                    after = after_raw(data, start, i, end, bits)
                    if after > i:
                        i = after
                        continue
                size = 1
                if i + 2 < end and data[i + 1] == byte and data[i + 2] == byte and byte != 96:
                    if bits & TRIPLE:
                        size = 3
                    elif bits & CHARACTER:
                        found[STRINGS] += 1
                resume = byte + 256 * size
                begin = i
                i += size
            elif byte == 40 or byte == 91 or byte == 123:
                before = data[i - 1] if i > start else np.uint8(10)
                following = data[i + 1] if i + 1 < end else np.uint8(10)
                if before == 63 and bits & POUND and not (i - 1 > start and is_word(data[i - 2])):
                    i += 1
                    continue
                if byte == 123:
                    template = following == 37 and i + 2 < end and data[i + 2] in (32, 45)
                    found[MARKERS] += template or (following == 123 and bits & INDENTED != 0)
                if not directive and depth < _DEPTH:
                    closers[depth] = byte + (1 if byte == 40 else 2)
                    resumes[depth] = 0
                    depth += 1
                i += 1
                continue
            elif byte == 41 or byte == 93 or byte == 125:
                i += 1
                if directive:
                    continue
                if depth and closers[depth - 1] == byte:
                    depth -= 1
                elif not (byte == 41 and bits & PAREN):
                    found[BRACKETS] += 1
                    for back in range(2, 5):
                        if depth >= back and closers[depth - back] == byte:
                            depth -= back
                            break
                    else:
                        continue
                else:
                    continue
                resume = resumes[depth]
                if not resume:
                    continue
                begin = -1
            else:
                following = data[i + 1] if i + 1 < end else np.uint8(10)
                after = after_comment(data, start, i, end, bits)
                if after > i:
                    comment_at = i if comment_at < 0 else comment_at
                    commented += _text(data, i, after)
                    if after == end and byte == 47 and following == 42:
                        found[STRINGS] += not (data[end - 2] == 42 and data[end - 1] == 47)
                    i = after
                    continue
                if byte == 47 and bits & REGEX:
                    after = after_regex(data, start, i, end, bits)
                    i = max(after, i + 1)
                    continue
                if byte == 92:
                    after_blank = i + 2 < end and following == 13 and data[i + 2] == 10
                    i += 3 if after_blank else 2 if following == 10 or bits & BLANK_HASH else 1
                    continue
                if byte == 35:
                    j = i
                    while j > line_start and data[j - 1] <= 32:
                        j -= 1
                    if bits & NO_HASH and following != 33:
                        found[LAYOUT] += 1
                    elif bits & DIRECTIVE and j == line_start:
                        directive = True
                        sign = directive_of(data, i + 1, end)
                        if sign == IF:
                            branches[min(branch, len(branches) - 1)] = depth
                            branch += 1
                        elif branch > 0 and sign == ELSE:
                            depth = branches[min(branch, len(branches)) - 1]
                        elif branch > 0 and sign == ENDIF:
                            branch -= 1
                elif byte == 60:
                    if following == 37 and i + 2 < end and data[i + 2] in (32, 61, 45):
                        found[MARKERS] += 1
                    elif following == 60 and heredocs and word_end == word:
                        word, word_end = heredoc_word(data, i, end, bits)
                        i = max(i + 1, word_end - 1)
                elif byte == 37 and bits & PERCENT:
                    i = max(i, after_percent(data, start, i, end) - 1)
                elif byte == 63 and following == 62 and bits & TAGGED:
                    i = after_open_tag(data, i, end) - 1
                elif byte == 59 and bits & INDENTED:
                    found[LAYOUT] += depth > 0
                elif _SPECIAL[byte] == 2:
                    found[CONTROL] += 1
                i += 1
                continue
            # A string: begun here, or gone on after the code inside it.
            i, why = after_string(data, i, end, resume & 255, resume >> 8, bits)
            if why == OPENED and depth < _DEPTH:
                closers[depth] = 125 if data[i - 1] == 123 else 41
                resumes[depth] = resume
                depth += 1
            elif why != CLOSED:
                found[STRINGS] += not directive
            if begin >= 0 and resume >> 8 == 3 and bits & INDENTED and depth == 0:
                j = begin  # over a prefix such as rb, then to the line's start
                while j > line_start and begin - j < 2 and is_word(int(data[j - 1])):
                    j -= 1
                while j > line_start and data[j - 1] <= 32:
                    j -= 1
                if j == line_start:
                    commented += _text(data, begin, i)
        found[BRACKETS] += depth if not bits & PAREN else 0
        comments[document] = commented
    return comments, faults, lines
