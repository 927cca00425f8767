"""Licenses by what people call them: classifiers, Debian's short names, free text of one line."""

from __future__ import annotations

import re

from firnline.licenses import canonical, ids, is_id

CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "European Union Public Licence 1.2 (EUPL 1.2)": "EUPL-1.2",
    "Eclipse Public License 1.0 (EPL-1.0)": "EPL-1.0",
    "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
    "Academic Free License (AFL)": "AFL-3.0",
    "Artistic License": "Artistic-2.0",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
    "The Unlicense (Unlicense)": "Unlicense",
    "Universal Permissive License (UPL)": "UPL-1.0",
    "University of Illinois/NCSA Open Source License": "NCSA",
    "Zope Public License": "ZPL-2.1",
    "zlib/libpng License": "Zlib",
    "Other/Proprietary License": "LicenseRef-Proprietary",
}

# Patterns for what is left of a name: lower case, without `the`, `license`, `version`, commas.
_NAMES: tuple[tuple[str, str], ...] = (
    (r"mit|expat|mit/x11|mit x11|x11/mit|mit-?style", "MIT"),
    (r"x11", "X11"),
    (r"mit[- ]0|mit no attribution", "MIT-0"),
    (r"(?:apache|asl|al)(?: software)?(?: foundation)?[- ]?(?:v ?)?2(?:\.0)?", "Apache-2.0"),
    (r"apache(?: software)?", "Apache-2.0"),
    (r"(?:new|modified|revised) bsd|bsd|bsd[- ]?3(?:[- ]?clause)?|3[- ]clause bsd", "BSD-3-Clause"),
    (r"bsd-like|bsd[- ]style", "BSD-3-Clause"),
    (r"(?:simplified|freebsd) bsd|bsd[- ]?2(?:[- ]?clause)?|2[- ]clause bsd", "BSD-2-Clause"),
    (r"bsd[- ]?4(?:[- ]?clause)?(?:-uc)?|original bsd", "BSD-4-Clause"),
    (r"bsd[- ]1(?:-clause)?", "BSD-1-Clause"),
    (r"0bsd|bsd[- ]0|bsd zero clause", "0BSD"),
    (r"isc|iscl", "ISC"),
    (r"psf|psfl|python software foundation|psf[- ]2(?:\.0)?", "PSF-2.0"),
    (r"python|python[- ]2(?:\.0)?", "Python-2.0"),
    (r"mpl|mpl[- ]?(?:v ?)?2(?:\.0)?|mozilla public 2\.0(?: \(mpl 2\.0\))?", "MPL-2.0"),
    (r"mpl[- ]?1\.1|mozilla public 1\.1", "MPL-1.1"),
    (r"epl[- ]?2(?:\.0)?|eclipse public(?: v ?)? ?2(?:\.0)?", "EPL-2.0"),
    (r"epl[- ]?1(?:\.0)?|eclipse public(?: v ?)? ?1(?:\.0)?", "EPL-1.0"),
    (r"eupl[- ]?1\.2", "EUPL-1.2"),
    (r"zlib|zlib/libpng|zlib-acknowledgement", "Zlib"),
    (r"(?:bsl|boost(?: software)?)(?:[- ]1(?:\.0)?)?", "BSL-1.0"),
    (r"cc0|cc0[- ]1(?:\.0)?(?: universal)?", "CC0-1.0"),
    (r"unlicense|un", "Unlicense"),
    (r"wtfpl|do what the fuck you want to public", "WTFPL"),
    (r"artistic[- ]2(?:\.0)?", "Artistic-2.0"),
    (r"artistic|artistic[- ]1(?:\.0)?|perl(?:[- ]5)?", "Artistic-1.0"),
    (r"ofl[- ]?1\.1|sil open font(?: 1\.1)?|sil-1\.1", "OFL-1.1"),
    (r"lppl[- ]?1\.3c?\+?", "LPPL-1.3c"),
    (r"ms-?pl|microsoft public", "MS-PL"),
    (r"hpnd", "HPND"),
    (r"postgresql", "PostgreSQL"),
    (r"ncsa|university of illinois/ncsa(?: open source)?", "NCSA"),
    (r"curl", "curl"),
    (r"ruby", "Ruby"),
    (r"cddl(?:[- ]1\.0)?|cddl 1\.0", "CDDL-1.0"),
    (r"cddl[- ]?1\.1", "CDDL-1.1"),
    (r"proprietary|commercial|all rights reserved|other/proprietary", "LicenseRef-Proprietary"),
    (r"public[- ]domain|pd", "LicenseRef-Public-Domain"),
)
_GNU = re.compile(
    r"(?:gnu )?(a|affero|l|lesser|library)?[- ]?(?:gpl|general public)[- ]?(?:v|version)?[- ]?"
    r"(\d(?:\.\d)?)?( ?\+| or later|[- ]or-later| or newer|-only| only)?"
    r"(?: \([al]?gpl ?v?[\d.]*\+?\))?(?: with [a-z- ]+ exception)?"
)
_CREATIVE_COMMONS = re.compile(
    r"(?:cc|creative commons)[- ](?:by|attribution)((?:[- ](?:nc|nd|sa))*)[- ]([1-4]\.[05])"
    r"(?: international| unported)?"
)


def from_name(name: str) -> str | None:
    """SPDX expression from a name of one line: `Apache License, Version 2.0`, `GPL-2+ or Expat`.

    An SPDX expression is itself. None where a part of the name is not known.
    """
    line = name.strip()
    if not line or "\n" in line or len(line) > 200:
        return None
    single = _one(line)
    if single:
        return single
    found = canonical(line)
    if found and all(is_id(one) for one in ids(found)):
        return found
    for sign, words in (
        (" OR ", r"\s+or\s+|\s*/\s*|\s*\|\s*"),
        (" AND ", r"\s+and\s+|,\s+and\s+|\s*&\s*"),
    ):
        parts = re.split(f"(?i)(?:,\\s*)?(?:{words})", line)
        if len(parts) > 1:
            known = [from_name(part) for part in parts]
            if all(known):
                return canonical(sign.join(f"({one})" for one in known))
    return None


def _one(line: str) -> str | None:
    folded = line.lower().replace("licence", "license")
    folded = re.sub(r"\b(?:the|version|licensed?|licenses)\b|[,\"']|\s-\s", " ", folded)
    folded = " ".join(folded.split()).strip(" .-")
    for pattern, spdx in _NAMES:
        if re.fullmatch(pattern, folded):
            return spdx
    if (match := _GNU.fullmatch(folded)) and (match[1] or match[2]):
        prefix = {"a": "A", "affero": "A", None: ""}.get(match[1], "L")
        version = match[2] or {"A": "3.0", "L": "2.1"}.get(prefix, "2.0")
        later = match[3] or ("" if match[2] else "+")
        sign = "" if "only" in later or not later else "+"
        return canonical(f"{prefix}GPL-{version}{sign}")
    if match := _CREATIVE_COMMONS.fullmatch(folded):
        return f"CC-BY{match[1].upper().replace(' ', '-')}-{match[2]}"
    return None
