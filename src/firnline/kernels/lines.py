r"""Line and character statistics of many documents in one pass over their bytes.

Definitions, the same for every statistic here:

- A character is a Unicode code point; the text is UTF-8 (checked by the caller).
- A line ends at `\n`, `\r\n` or a lone `\r`; what follows the last one is a line if it is not
  empty. A line's length is in characters, without its end.
- Every code point from U+0080 up counts as a letter: identifiers, comments and strings in other
  scripts are letters, and the few symbols among them do not move a share over a whole file.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from firnline.kernels.characters import CLASSES, CONTINUATION, DIGIT, END, LETTER, WHITE
from firnline.kernels.encoded import encoded_runs
from firnline.kernels.jit import kernel

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

HEADER_CHARACTERS = 100
LONG_LINE = 1_000
HEAD_LINES = 5

_XML_HEADER = np.frombuffer(b"<?xml version=", dtype=np.uint8)


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
    white_share: Shares
    """ASCII white space."""
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
    """Statistics of documents given as UTF-8 bytes and `n + 1` offsets into them.

    Encoded runs are those of `firnline.kernels.encoded`.
    """
    counts, shares = _measure(data, offsets)
    return LineStatistics(
        characters=counts[0],
        non_white=counts[1],
        lines=counts[2],
        longest_line=counts[3],
        mean_line=shares[0],
        alphanumeric_share=shares[1],
        letter_share=shares[2],
        white_share=shares[5],
        long_line_share=shares[4],
        encoded_run=counts[4],
        encoded_share=shares[3],
        xml_header=counts[5],
        head_bytes=counts[6],
    )


@kernel
def _measure(data: Bytes, offsets: Offsets) -> tuple[Counts, Shares]:
    documents = len(offsets) - 1
    counts = np.zeros((7, documents), dtype=np.int64)
    shares = np.zeros((6, documents), dtype=np.float64)
    histogram = np.empty((4, 256), dtype=np.int64)
    for document in range(documents):
        start, end = offsets[document], offsets[document + 1]
        characters, letters, digits, white, ends = _count(data, start, end, histogram)
        plain = characters == end - start  # one byte for each character
        lines = longest_line = in_long_lines = 0
        head_bytes = end - start
        line_start = start
        for i in range(start, end + 1):
            if i < end and not (data[i] == 10 or data[i] == 13):
                continue
            after_return = i < end and data[i] == 10 and i > start and data[i - 1] == 13
            if after_return:
                line_start = i + 1
                continue
            if i == end and line_start == end:
                break
            lines += 1
            size = i - line_start
            if size > longest_line or size > LONG_LINE:
                if not plain:
                    size = _characters(data, line_start, i)
                longest_line = max(longest_line, size)
                in_long_lines += size if size > LONG_LINE else 0
            line_start = i + 1
            if lines == HEAD_LINES and i < end:
                head_bytes = i - start
        encoded, longest_run = encoded_runs(data, start, end)
        counts[0, document] = characters
        counts[1, document] = characters - white
        counts[2, document] = lines
        counts[3, document] = longest_line
        counts[4, document] = longest_run
        counts[5, document] = _has_xml_header(data, start, end)
        counts[6, document] = head_bytes
        if lines:
            shares[0, document] = (characters - ends) / lines
        if characters:
            shares[1, document] = (letters + digits) / characters
            shares[2, document] = letters / characters
            shares[4, document] = in_long_lines / characters
            shares[5, document] = white / characters
            # A pair of hex digits at the end of one kind of run can start the other kind.
            shares[3, document] = min(1.0, encoded / characters)
    return counts, shares


@kernel
def _count(data: Bytes, start: int, end: int, histogram: Counts) -> tuple[int, int, int, int, int]:
    """Characters, letters, digits, white space and line ends of data[start:end].

    Four histograms, because counting equal bytes one after the other in one would wait for the
    store of the last count.
    """
    histogram[:] = 0
    i = start
    while i + 4 <= end:
        histogram[0, data[i]] += 1
        histogram[1, data[i + 1]] += 1
        histogram[2, data[i + 2]] += 1
        histogram[3, data[i + 3]] += 1
        i += 4
    while i < end:
        histogram[0, data[i]] += 1
        i += 1
    characters = letters = digits = white = ends = 0
    for byte in range(256):
        count = histogram[0, byte] + histogram[1, byte] + histogram[2, byte] + histogram[3, byte]
        kind = CLASSES[byte]
        characters += 0 if kind & CONTINUATION else count
        letters += count if kind & LETTER else 0
        digits += count if kind & DIGIT else 0
        white += count if kind & WHITE else 0
        ends += count if kind & END else 0
    return characters, letters, digits, white, ends


@kernel
def _characters(data: Bytes, start: int, end: int) -> int:
    count = 0
    for i in range(start, end):
        count += not CLASSES[data[i]] & CONTINUATION
    return count


@kernel
def _has_xml_header(data: Bytes, start: int, end: int) -> bool:
    characters = 0
    for i in range(start, end):
        characters += not CLASSES[data[i]] & CONTINUATION
        if characters + len(_XML_HEADER) - 1 > HEADER_CHARACTERS or i + len(_XML_HEADER) > end:
            return False
        for j in range(len(_XML_HEADER)):
            if data[i + j] != _XML_HEADER[j]:
                break
        else:
            return True
    return False
