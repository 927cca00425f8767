"""Which tokens of a document are of its identifiers, and which are code.

A token's label is an int32 of these bits:

    0-17   number of the identifier in its document, from 1 on; 0: of none; NEVER: of one that
           cannot be masked
    18     the token holds code: a byte that is neither white space nor inside a comment
    19     the identifier begins in this token
    20     the identifier ends in this token
    21-25  bytes of the token before the identifier (` name`, `.name`), where it begins here
    26-30  bytes of the token after it (`name_(`), where it ends here
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firnline.kernels.jit import kernel

Integers = NDArray[np.int64]

NUMBER = (1 << 18) - 1
NEVER = NUMBER
CODE, FIRST, LAST = 1 << 18, 1 << 19, 1 << 20
HEAD, TAIL = 21, 26
MOST_AROUND = 31


@kernel
def label_tokens(
    sizes: Integers,
    begin: int,
    code: NDArray[np.bool_],
    starts: Integers,
    ends: Integers,
    numbers: Integers,
) -> NDArray[np.int32]:
    """Labels of a document's tokens.

    `sizes` are the tokens' bytes; content begins `begin` bytes after the first token does. `code`
    says of each byte of content whether it is code. Identifier i has the bytes `starts[i]` to
    `ends[i]` of content, in order, none overlapping, and `numbers[i]`.

    An identifier cannot be masked, in all its occurrences, if one shares a token with another
    identifier or has more than MOST_AROUND bytes of its token before or after it.
    """
    count = len(sizes)
    bounds = np.zeros(count + 1, dtype=np.int64)
    for token in range(count):
        bounds[token + 1] = bounds[token] + sizes[token]
    first = np.empty(len(starts), dtype=np.int64)
    last = np.empty(len(starts), dtype=np.int64)
    never = np.zeros(len(starts) + 2, dtype=np.bool_)
    token = 0
    for i in range(len(starts)):
        while bounds[token + 1] <= starts[i] + begin:
            token += 1
        first[i] = token
        while bounds[token + 1] < ends[i] + begin:
            token += 1
        last[i] = token
        head = starts[i] + begin - bounds[first[i]]
        tail = bounds[last[i] + 1] - ends[i] - begin
        if head > MOST_AROUND or tail > MOST_AROUND:
            never[numbers[i]] = True
        if i and first[i] == last[i - 1]:
            never[numbers[i]] = True
            never[numbers[i - 1]] = True
    labels = np.zeros(count, dtype=np.int32)
    for token in range(count):
        for byte in range(max(bounds[token] - begin, 0), bounds[token + 1] - begin):
            if code[byte]:
                labels[token] = CODE
                break
    for i in range(len(starts)):
        for token in range(first[i], last[i] + 1):
            labels[token] |= NEVER if never[numbers[i]] else numbers[i]
        if not never[numbers[i]]:
            labels[first[i]] |= FIRST | (starts[i] + begin - bounds[first[i]]) << HEAD
            labels[last[i]] |= LAST | (bounds[last[i] + 1] - ends[i] - begin) << TAIL
    return labels
