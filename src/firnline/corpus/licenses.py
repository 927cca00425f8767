"""SPDX licenses from license files and package metadata."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

READ_BYTES = 200_000
"""Of a license file, what is read."""

# Phrases that only this license has, tried in order: the narrower before the wider.
_PHRASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("AGPL-3.0-only", ("gnu affero general public license", "version 3")),
    ("LGPL-3.0-only", ("gnu lesser general public license", "version 3")),
    ("LGPL-2.1-only", ("gnu lesser general public license", "version 2.1")),
    ("GPL-3.0-only", ("gnu general public license", "version 3")),
    ("GPL-2.0-only", ("gnu general public license", "version 2")),
    ("MPL-2.0", ("mozilla public license version 2.0",)),
    ("EPL-2.0", ("eclipse public license", "2.0")),
    ("Apache-2.0", ("apache license", "version 2.0")),
    ("PSF-2.0", ("python software foundation license version 2",)),
    ("BSL-1.0", ("boost software license", "version 1.0")),
    ("CC0-1.0", ("cc0 1.0 universal",)),
    ("Unlicense", ("free and unencumbered software released into the public domain",)),
    (
        "ISC",
        (
            "permission to use, copy, modify, and",
            "distribute this software for any purpose with or without fee",
        ),
    ),
    (
        "BSD-3-Clause",
        (
            "redistribution and use in source and binary forms",
            "endorse or promote products derived from",
        ),
    ),
    ("BSD-2-Clause", ("redistribution and use in source and binary forms",)),
    (
        "MIT",
        (
            "permission is hereby granted, free of charge, to any person obtaining a copy",
            "the above copyright notice and this permission notice",
        ),
    ),
    ("Zlib", ("altered source versions must be plainly marked as such",)),
)

_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "The Unlicense (Unlicense)": "Unlicense",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "zlib/libpng License": "Zlib",
}

# What people write into a free-text license field, lower case, without "license" and "the".
_FREE_TEXT = {
    "mit": "MIT",
    "apache 2.0": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "apache software": "Apache-2.0",
    "apache, version 2.0": "Apache-2.0",
    "apache version 2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "bsd-2-clause": "BSD-2-Clause",
    "isc": "ISC",
    "mpl-2.0": "MPL-2.0",
    "psf-2.0": "PSF-2.0",
}

_FILE_NAME = re.compile(r"(?i)^(un)?licen[cs]e|^copying|^copyright|^mit-license")


def is_license_file(path: str) -> bool:
    """Whether a file at the top of a repository is its license by name."""
    return _FILE_NAME.match(PurePosixPath(path).name) is not None


def from_text(text: str) -> str | None:
    """SPDX id of a license text; None where no phrase of the table is in its start."""
    folded = " ".join(re.sub(r"[#*/;\"'`]+", " ", text[:40_000].lower()).split())
    for spdx, phrases in _PHRASES:
        if all(phrase in folded for phrase in phrases):
            return spdx
    return None


def from_metadata(expression: str | None, classifiers: list[str], free: str | None) -> str | None:
    """SPDX expression from a Python distribution's metadata.

    A `License-Expression` is taken as it is; then the classifiers (joined with OR where there are
    several); then a free-text field of one line that names a license of the table, or a whole
    license text.
    """
    if expression:
        return expression.strip()
    named = [
        _CLASSIFIERS[name] for c in classifiers if (name := c.split(" :: ")[-1]) in _CLASSIFIERS
    ]
    if named:
        return " OR ".join(dict.fromkeys(named))
    if not free:
        return None
    key = " ".join(re.sub(r"(?i)\b(the|licen[cs]ed?)\b", " ", free).lower().split())
    return _FREE_TEXT.get(key) or from_text(free)
