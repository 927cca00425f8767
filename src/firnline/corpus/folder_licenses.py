"""Licenses of folders below a repository's top: each adds to what holds above it.

A program under MIT brings along a library under the GPL, or a folder that may not be used freely.
What such a folder's license file says holds for the files in it and below, together (AND) with the
license above, so that reading these files never makes anything freer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from firnline.corpus.license_texts import from_text
from firnline.corpus.licenses import READ_BYTES, of_texts, same_licenses
from firnline.licenses import canonical

UNCLEAR = "?"
"""The license of a folder whose text tells none: that of its files is null."""

_NAME = re.compile(
    r"(?i)(?:un)?licen[cs]e(?:[-_.](?:mit|apache|bsd|gpl|lgpl|mpl|isc|zlib|cc0)[\w.-]*)?"
    r"(?:\.(?:txt|md|rst))?|copying(?:\.(?:lesser|lib))?(?:\.(?:txt|md))?"
)
_POINTER = re.compile(r"(?is)\b(?:see|refer|same|root|top)\b.*\b(?:licen[cs]e|copying)")
_SHORT_CHARACTERS = 300
_SHORT = "short"  # unclear, unless another file of the folder tells: `dual-licensed, choose either`

Told = tuple[str, str]
"""The name of a license file and what it says: SPDX, that it is unclear, nothing of its own."""


def tells(name: str) -> bool:
    """Whether a file of that name is the license of the folder it lies in."""
    return _NAME.fullmatch(name) is not None


def read(name: str, content: bytes) -> Told:
    """What a license file says; nothing where it is empty or points to another one."""
    text = content[:READ_BYTES].decode("utf-8-sig", "replace").strip()
    if says := from_text(text):
        return name, says
    if len(text) >= _SHORT_CHARACTERS:
        return name, UNCLEAR
    return name, "" if not text or _POINTER.search(text) else _SHORT


def within(above: str | None, told: Sequence[Told]) -> str | None:
    """The license of a folder with these files below one under `above`: SPDX, UNCLEAR or None."""
    texts = sorted((name, says) for name, says in told if says not in ("", _SHORT))
    short = any(says == _SHORT for _, says in told)
    if above == UNCLEAR or not (texts or short):
        return above
    if not texts or any(says == UNCLEAR for _, says in texts):
        return UNCLEAR
    own = of_texts(texts)
    if own is None or above is None:
        return own or above
    return above if same_licenses(above, own) else canonical(f"({above}) AND ({own})")


def stated(license: str | None) -> str | None:
    """The license as documents have it."""
    return None if license == UNCLEAR else license
