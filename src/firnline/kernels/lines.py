r"""Line and character statistics of many documents in one pass over their bytes.

Definitions, the same for every statistic here:

- A character is a Unicode code point; the text is UTF-8 (checked by the caller).
- A line ends at `\n`, `\r\n` or a lone `\r`; what follows the last one is a line if it is not
  empty. A line's length is in characters, without its end.
- Every code point from U+0080 up counts as a letter: identifiers, comments and strings in other
  scripts are letters, and the few symbols among them do not move a share over a whole file.
- An encoded run (StarCoder2, section 3.1) is one of
  - base64: 64 or more of `A-Za-z0-9+/=` with a letter and a digit among them, so that a ruler such
    as `//////` is none. A line end inside is allowed after 32 or more of them on its line, so that
    a list of one word a line is none either.
  - escapes: 8 or more `\xHH`, `\uHHHH`, `\UHHHHHHHH`, with or without numbers as below between.
  - numbers: 8 or more `0xHH` or `HH` and nothing else. They count for the share only: a table of
    256 bytes is half of many a hash function, and a file of nothing else is data.
  Between items there may be blanks, commas and a line end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from firnline.kernels.jit import kernel

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

BASE64_CHARACTERS = 64
BASE64_LINE = 32
HEX_ITEMS = 8
HEADER_CHARACTERS = 100
LONG_LINE = 1_000
HEAD_LINES = 5

# Character classes, one bit each, so that the pass looks each byte up once.
_LETTER, _DIGIT, _WHITE, _END, _BASE64, _HEX, _WORD, _CONTINUATION = (1 << bit for bit in range(8))


def _classes() -> Bytes:
    table = np.zeros(256, dtype=np.uint8)
    for byte in range(256):
        text = chr(byte)
        letter = (byte < 128 and text.isalpha()) or byte >= 0xC0
        digit = byte < 128 and text.isdigit()
        table[byte] = (
            _LETTER * letter
            + _DIGIT * digit
            + _WHITE * (text in " \t\n\r\f\v")
            + _END * (text in "\n\r")
            + _BASE64 * (byte < 128 and (text.isalnum() or text in "+/="))
            + _HEX * (text in "0123456789abcdefABCDEF")
            + _WORD * (byte >= 128 or text.isalnum() or text == "_")
            + _CONTINUATION * (0x80 <= byte < 0xC0)
        )
    return table


_CLASS = _classes()
_XML_HEADER = np.frombuffer(b"<?xml version=", dtype=np.uint8)
_HIDDEN = ("script", "style", "template", "noscript")


class LineStatistics(NamedTuple):
    """One value for each document; shares are of its characters and 0 where it has none."""

    characters: Counts
    non_white: Counts
    """Characters that are not ASCII white space."""
    lines: Counts
    longest_line: Counts
    """Characters."""
    mean_line: Shares
    """Characters, line ends not counted; 0 for no lines."""
    alphanumeric_share: Shares
    letter_share: Shares
    long_line_share: Shares
    """Of characters in lines of more than LONG_LINE characters."""
    encoded_run: Counts
    """Characters of the longest run of base64 or escapes."""
    encoded_share: Shares
    """Of characters inside encoded runs, at most 1."""
    xml_header: Counts
    """1 where `<?xml version=` lies in the first 100 characters."""
    head_bytes: Counts
    """Bytes of the first five lines, without the last one's end."""


def line_statistics(data: Bytes, offsets: Offsets) -> LineStatistics:
    """Statistics of documents given as UTF-8 bytes and `n + 1` offsets into them."""
    counts, shares = _measure(data, offsets, _CLASS)
    return LineStatistics(
        characters=counts[0],
        non_white=counts[1],
        lines=counts[2],
        longest_line=counts[3],
        mean_line=shares[0],
        alphanumeric_share=shares[1],
        letter_share=shares[2],
        long_line_share=shares[4],
        encoded_run=counts[4],
        encoded_share=shares[3],
        xml_header=counts[5],
        head_bytes=counts[6],
    )


@kernel
def _measure(data: Bytes, offsets: Offsets, classes: Bytes) -> tuple[Counts, Shares]:
    documents = len(offsets) - 1
    counts = np.zeros((7, documents), dtype=np.int64)
    shares = np.zeros((5, documents), dtype=np.float64)
    for document in range(documents):
        start, end = offsets[document], offsets[document + 1]
        characters = letters = digits = white = ends = 0
        lines = line = longest_line = in_long_lines = 0
        encoded = longest_run = 0
        base64_next = hex_next = start
        head_bytes = end - start
        kind = _WHITE
        for i in range(start, end):
            byte = data[i]
            kind_before = kind
            kind = classes[byte]
            if kind & _CONTINUATION:
                continue
            characters += 1
            letters += kind & _LETTER
            digits += (kind & _DIGIT) >> 1
            white += (kind & _WHITE) >> 2
            if kind & _END:
                ends += 1
                if byte == 13 or i == start or data[i - 1] != 13:  # not the second half of \r\n
                    lines += 1
                    longest_line = max(longest_line, line)
                    in_long_lines += line if line > LONG_LINE else 0
                    line = 0
                    if lines == HEAD_LINES:
                        head_bytes = i - start
            else:
                line += 1
            if kind & _BASE64 and i >= base64_next:
                base64_next, found = _base64_run(data, i, end, classes)
                if found:
                    encoded += base64_next - i
                    longest_run = max(longest_run, base64_next - i)
            # A bare item starts a word; an escape starts with a backslash (92).
            starts_item = (kind & _HEX and not kind_before & _WORD) or byte == 92
            if starts_item and i >= hex_next:
                hex_next, found, escapes = _hex_run(data, i, end, classes)
                if found:
                    encoded += hex_next - i
                    longest_run = max(longest_run, hex_next - i if escapes else 0)
        if line:
            lines += 1
            longest_line = max(longest_line, line)
            in_long_lines += line if line > LONG_LINE else 0
        counts[0, document] = characters
        counts[1, document] = characters - white
        counts[2, document] = lines
        counts[3, document] = longest_line
        counts[4, document] = longest_run
        counts[5, document] = _has_xml_header(data, start, end, classes)
        counts[6, document] = head_bytes
        if lines:
            shares[0, document] = (characters - ends) / lines
        if characters:
            shares[1, document] = (letters + digits) / characters
            shares[2, document] = letters / characters
            shares[4, document] = in_long_lines / characters
            # A pair of hex digits at the end of one kind of run can start the other kind.
            shares[3, document] = min(1.0, encoded / characters)
    return counts, shares


@kernel
def _base64_run(data: Bytes, start: int, end: int, classes: Bytes) -> tuple[int, bool]:
    """Where to look for the next base64 run, and whether one from `start` ends there."""
    # Most words are short: the last byte that breaks a run of the least length is soon found
    # from the right, and no run reaches across it.
    if start + BASE64_CHARACTERS > end:
        return end, False
    for i in range(start + BASE64_CHARACTERS - 1, start, -1):
        if not classes[data[i]] & (_BASE64 | _END):
            return i, False
    letters = digits = 0
    i = line_start = start
    while True:
        while i < end and classes[data[i]] & _BASE64:
            letters += classes[data[i]] & _LETTER
            digits += classes[data[i]] & _DIGIT
            i += 1
        after = _after_line_end(data, i, end)
        goes_on = after < end and i - line_start >= BASE64_LINE and classes[data[after]] & _BASE64
        if after == i or not goes_on:
            return i, i - start >= BASE64_CHARACTERS and letters > 0 and digits > 0
        i = line_start = after


@kernel
def _hex_run(data: Bytes, position: int, end: int, classes: Bytes) -> tuple[int, bool, bool]:
    """End of the run of hex items at `position`, whether it is long enough, and has escapes.

    Where no item starts, the end is the next position.
    """
    items = escapes = 0
    run_end = position + 1
    i = position
    while i < end:
        after = _after_hex_item(data, i, end, classes)
        if after == i:
            break
        items += 1
        escapes += data[i] == 92
        run_end = after
        i = _after_blanks(data, after, end)
        separated = i > after
        i = _after_line_end(data, i, end)
        after = i
        i = _after_blanks(data, after, end)
        if i < end and data[i] != 92 and not (separated or i > after):
            break
    return run_end, items >= HEX_ITEMS, escapes > 0


@kernel
def _after_hex_item(data: Bytes, i: int, end: int, classes: Bytes) -> int:
    r"""End of `\xHH`, `\uHHHH`, `\UHHHHHHHH`, `0xHH` or `HH` at `i`; `i` where there is none."""
    digits, j = 2, i
    if data[i] == 92:
        if i + 1 == end:
            return i
        letter = data[i + 1]
        if letter == 117:  # u
            digits = 4
        elif letter == 85:  # U
            digits = 8
        elif letter != 120:  # x
            return i
        j = i + 2
    elif data[i] == 48 and i + 1 < end and data[i + 1] | 32 == 120:  # 0x or 0X
        j = i + 2
    if j + digits > end:
        return i
    for k in range(j, j + digits):
        if not classes[data[k]] & _HEX:
            return i
    j += digits
    ends_word = j == end or not classes[data[j]] & _WORD
    return j if data[i] == 92 or ends_word else i


@kernel
def _after_blanks(data: Bytes, i: int, end: int) -> int:
    while i < end and (data[i] == 32 or data[i] == 9 or data[i] == 44):  # blank, tab, comma
        i += 1
    return i


@kernel
def _after_line_end(data: Bytes, i: int, end: int) -> int:
    if i < end and data[i] == 13:
        i += 1
        return i + 1 if i < end and data[i] == 10 else i
    return i + 1 if i < end and data[i] == 10 else i


@kernel
def _has_xml_header(data: Bytes, start: int, end: int, classes: Bytes) -> bool:
    characters = 0
    for i in range(start, end):
        characters += not classes[data[i]] & _CONTINUATION
        if characters + len(_XML_HEADER) - 1 > HEADER_CHARACTERS or i + len(_XML_HEADER) > end:
            return False
        for j in range(len(_XML_HEADER)):
            if data[i + j] != _XML_HEADER[j]:
                break
        else:
            return True
    return False


def first_marker(
    data: Bytes,
    offsets: Offsets,
    head_bytes: Counts,
    markers: tuple[str, ...],
    harmless: tuple[str, ...] = (),
) -> Counts:
    """Which of `markers` (ASCII, lower case) comes first in each document's first `head_bytes`.

    The number is the marker's place in the tuple counted from 1; 0 where none occurs. Case of the
    text is ignored. Where two start at one place, the one listed first counts. Text that matches a
    `harmless` phrase is passed over, so that a marker inside it is none.
    """
    phrases = (*harmless, *markers)
    text = np.frombuffer("".join(phrases).encode("ascii"), dtype=np.uint8)
    bounds = np.cumsum([0, *(len(phrase) for phrase in phrases)])
    return _first_marker(data, offsets, head_bytes, text, bounds, len(harmless))


@kernel
def _first_marker(
    data: Bytes, offsets: Offsets, head_bytes: Counts, text: Bytes, bounds: Offsets, harmless: int
) -> Counts:
    found = np.zeros(len(offsets) - 1, dtype=np.int64)
    for document in range(len(found)):
        head_end = offsets[document] + head_bytes[document]
        i = offsets[document]
        while i < head_end and not found[document]:
            step = 1
            for phrase in range(len(bounds) - 1):
                if _has_phrase(data, i, head_end, text[bounds[phrase] : bounds[phrase + 1]]):
                    if phrase < harmless:
                        step = bounds[phrase + 1] - bounds[phrase]
                    else:
                        found[document] = phrase - harmless + 1
                    break
            i += step
    return found


@kernel
def _has_phrase(data: Bytes, i: int, end: int, phrase: Bytes) -> bool:
    if i + len(phrase) > end:
        return False
    for j in range(len(phrase)):
        byte = data[i + j]
        if 65 <= byte <= 90:
            byte |= 32
        if byte != phrase[j]:
            return False
    return True


def visible_text(data: Bytes, offsets: Offsets) -> Counts:
    """Characters of an HTML document that a reader sees; a run of white space counts as one.

    Left out: tags, comments, declarations, and the content of `script`, `style`, `template` and
    `noscript`. Entities count as they are written.
    """
    text = np.frombuffer("".join(_HIDDEN).encode(), dtype=np.uint8)
    bounds = np.cumsum([0, *(len(name) for name in _HIDDEN)])
    return _visible_text(data, offsets, _CLASS, text, bounds)


@kernel
def _visible_text(
    data: Bytes, offsets: Offsets, classes: Bytes, text: Bytes, bounds: Offsets
) -> Counts:
    visible = np.zeros(len(offsets) - 1, dtype=np.int64)
    for document in range(len(visible)):
        i, end = offsets[document], offsets[document + 1]
        count = pending = 0
        while i < end:
            kind = classes[data[i]]
            if data[i] == 60 and i + 1 < end:  # <
                after = _after_tag(data, i, end, text, bounds)
                if after > i:
                    i = after
                    continue
            if kind & _WHITE:
                pending = 1 if count else 0  # white space at the start is not seen
            elif not kind & _CONTINUATION:
                count += 1 + pending
                pending = 0
            i += 1
        visible[document] = count
    return visible


@kernel
def _after_tag(data: Bytes, i: int, end: int, text: Bytes, bounds: Offsets) -> int:
    """End of the tag, comment, declaration or hidden element at `<`; `i` for a bare `<`."""
    if i + 4 <= end and data[i + 1] == 33 and data[i + 2] == 45 and data[i + 3] == 45:  # <!--
        for j in range(i + 4, end - 2):
            if data[j] == 45 and data[j + 1] == 45 and data[j + 2] == 62:
                return j + 3
        return end
    opener = data[i + 1] | 32
    if not (97 <= opener <= 122 or data[i + 1] == 47 or data[i + 1] == 33 or data[i + 1] == 63):
        return i
    after = end
    quote = np.uint8(0)
    for j in range(i + 1, end):
        if quote:
            if data[j] == quote:
                quote = np.uint8(0)
        elif data[j] == 62:  # >
            after = j + 1
            break
        elif (data[j] == 34 or data[j] == 39) and data[j - 1] == 61:  # a quoted attribute value
            quote = data[j]
    for name in range(len(bounds) - 1):
        if _is_name(data, i + 1, end, text, bounds, name):
            for j in range(after, end - 1):
                closes = data[j] == 60 and data[j + 1] == 47  # </
                if closes and _is_name(data, j + 2, end, text, bounds, name):
                    return j
            return end
    return after


@kernel
def _is_name(data: Bytes, i: int, end: int, text: Bytes, bounds: Offsets, name: int) -> bool:
    size = bounds[name + 1] - bounds[name]
    if i + size > end:
        return False
    for j in range(size):
        if data[i + j] | 32 != text[bounds[name] + j]:
            return False
    if i + size == end:
        return True
    following = data[i + size]
    return not (97 <= following | 32 <= 122 or 48 <= following <= 57 or following == 45)
