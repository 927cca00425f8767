"""Bytes by what they are, one bit each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

LETTER, DIGIT, WHITE, END, BASE64, HEX, WORD, CONTINUATION = (1 << bit for bit in range(8))


def _classes() -> Bytes:
    table = np.zeros(256, dtype=np.uint8)
    for byte in range(256):
        text = chr(byte)
        letter = (byte < 128 and text.isalpha()) or byte >= 0xC0
        digit = byte < 128 and text.isdigit()
        table[byte] = (
            LETTER * letter
            + DIGIT * digit
            + WHITE * (text in " \t\n\r\f\v")
            + END * (text in "\n\r")
            + BASE64 * (byte < 128 and (text.isalnum() or text in "+/="))
            + HEX * (text in "0123456789abcdefABCDEF")
            + WORD * (byte >= 128 or text.isalnum() or text == "_")
            + CONTINUATION * (0x80 <= byte < 0xC0)
        )
    return table


CLASSES = _classes()
