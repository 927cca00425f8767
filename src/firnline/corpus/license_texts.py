"""Licenses by their texts: phrases that each license has and its neighbours lack."""

from __future__ import annotations

import re

from firnline.licenses import canonical, permissive

_READ = 60_000  # characters: the longest texts are under 40,000
_NEAR = 8_000  # characters in which the phrases of one license lie
_WORD = re.compile(r"[a-z0-9+]+(?:\.[0-9]+)*")
_IDENTIFIER = re.compile(r"SPDX-License-Identifier:[ \t]*([^\n]*)")

_GRANT = "permission is hereby granted free of charge to any person obtaining a copy"
_NOTICE = "the above copyright notice and this permission notice"
_BSD = "redistribution and use in source and binary forms"
_ENDORSE = "endorse or promote products derived from"
_ISC = (
    "permission to use copy modify and or distribute this software for any purpose with or without"
)
_ISC_2 = (
    "permission to use copy modify and distribute this software for any purpose with or without"
)
_HPND = "permission to use copy modify and distribute this software and its documentation for any"
_FSF = "as published by the free software foundation"
_LATER = "any later version"


def _gnu() -> tuple[tuple[str, ...], ...]:
    """The GNU licenses: the notice that says `or later`, the notice that does not, the title.

    A bare text does not say whether later versions are meant; it counts as `-only`.
    """
    rows = []
    for short, name, versions in (
        ("AGPL", "affero general public license", ("3", "1")),
        ("LGPL", "lesser general public license", ("3", "2.1", "2")),
        ("LGPL", "library general public license", ("2",)),
        ("GFDL", "free documentation license", ("1.3", "1.2", "1.1")),
        ("GPL", "general public license", ("3", "2", "1")),
    ):
        for version in versions:
            spdx = f"{short}-{version if '.' in version else version + '.0'}"
            said = f"gnu {name} {_FSF} either version {version}"
            rows += [
                (f"{spdx}-or-later", said, _LATER),
                (f"{spdx}-or-later", f"gnu {name} version {version} or later"),
                (f"{spdx}-or-later", f"gnu {name} version {version} or at your option any later"),
                (f"{spdx}-or-later", f"version {version} or later of the gnu {name}"),
                (f"{spdx}-only", f"gnu {name} version {version}"),
                (f"{spdx}-or-later", f"gnu {name} {short.lower()} version {version} or later"),
                (f"{spdx}-only", f"gnu {name} {short.lower()} version {version}"),
                (f"{spdx}-only", f"gnu {name} v{version}"),
                (f"{spdx}-only", f"version {version} of the gnu {name}"),
                (f"{spdx}-only", f"gnu {name} {_FSF} version {version}"),
            ]
    return tuple(rows)


# (SPDX id, phrase that is looked for first, phrases that must be near it), the narrower first.
_PHRASES: tuple[tuple[str, ...], ...] = (
    (
        "Apache-2.0 OR MIT",
        "either of apache license version 2.0",
        "mit license",
        "at your option",
    ),
    ("Apache-2.0 OR MIT", "apache license version 2.0", "or the mit license", "at your option"),
    *_gnu(),
    ("AGPL-1.0-only", "affero general public license version 1"),
    ("LicenseRef-Commons-Clause", "commons clause"),
    ("FSL-1.1-MIT", "functional source license version 1.1", "mit future license"),
    ("FSL-1.1-ALv2", "functional source license version 1.1"),
    ("Parity-7.0.0", "the parity public license"),
    ("LicenseRef-Confluent-Community-1.0", "confluent community license"),
    ("UCL-1.0", "upstream compatibility license"),
    ("SSPL-1.0", "server side public license"),
    ("BUSL-1.1", "business source license 1.1"),
    ("Elastic-2.0", "elastic license 2.0"),
    ("EUPL-1.2", "european union public licence v 1.2"),
    ("EUPL-1.2", "european union public licence v. 1.2"),
    ("EUPL-1.2", "eupl v 1.2"),
    ("EUPL-1.2", "eupl v1.2"),
    ("EUPL-1.1", "european union public licence v.1.1"),
    ("EUPL-1.1", "european union public licence v 1.1"),
    ("EUPL-1.1", "eupl v 1.1"),
    ("EUPL-1.1", "eupl v1.1"),
    ("MPL-2.0", "mozilla public license version 2.0"),
    ("MPL-2.0", "mozilla public license v 2.0"),
    ("MPL-1.1", "mozilla public license version 1.1"),
    ("EPL-2.0", "eclipse public license v 2.0"),
    ("EPL-2.0", "eclipse public license version 2.0"),
    ("EPL-1.0", "eclipse public license v 1.0"),
    ("EPL-1.0", "eclipse public license version 1.0"),
    ("CPL-1.0", "common public license version 1.0"),
    ("CDDL-1.1", "common development and distribution license cddl version 1.1"),
    ("CDDL-1.0", "common development and distribution license cddl version 1.0"),
    ("CDDL-1.0", "common development and distribution license version 1.0"),
    ("OSL-3.0", "open software license v 3.0"),
    ("OSL-3.0", "open software license version 3.0"),
    ("AFL-3.0", "academic free license v 3.0"),
    ("AFL-3.0", "academic free license version 3.0"),
    ("ECL-2.0", "educational community license version 2.0"),
    ("Apache-2.0", "apache license version 2.0"),
    ("Apache-2.0", "apache license 2.0"),
    ("Apache-2.0", "apache.org licenses license 2.0"),
    ("Apache-1.1", "apache software license version 1.1"),
    ("Apache-1.1", _BSD, "this product includes software developed by the apache"),
    ("Python-2.0", "history of the software", "python software foundation license version 2"),
    ("Python-2.0", "python software foundation license version 2", "beopen"),
    ("PSF-2.0", "python software foundation license version 2"),
    ("BSL-1.0", "boost software license version 1.0"),
    ("BlueOak-1.0.0", "blue oak model license", "1.0.0"),
    ("UPL-1.0", "universal permissive license", "version 1.0"),
    ("MulanPSL-2.0", "mulan permissive software license version 2"),
    ("MulanPSL-2.0", "mulan psl v2"),
    ("CC0-1.0", "cc0 1.0 universal"),
    ("CC0-1.0", "creative commons zero v1.0 universal"),
    ("CC0-1.0", "creative commons cc0"),
    ("ODbL-1.0", "open database license odbl"),
    ("Unlicense", "free and unencumbered software released into the public domain"),
    ("WTFPL", "do what the fuck you want to public license"),
    ("OFL-1.1", "sil open font license version 1.1"),
    ("MS-PL", "microsoft public license"),
    ("MS-RL", "microsoft reciprocal license"),
    ("Artistic-2.0", "artistic license 2.0"),
    ("Artistic-2.0", "the artistic license version 2.0"),
    ("Artistic-1.0", "the artistic license", "reasonable copying fee"),
    ("LPPL-1.3c", "latex project public license", "1.3 c"),
    ("CECILL-2.1", "cecill free software license agreement", "version 2.1"),
    ("QPL-1.0", "the q public license version 1.0"),
    ("PHP-3.01", "the php license version 3.01"),
    ("ZPL-2.1", "zope public license zpl version 2.1"),
    ("Vim", "vim license"),
    ("Ruby", "you may make and give away verbatim copies of the source form of the software"),
    ("Unicode-3.0", "unicode license v3"),
    ("Unicode-DFS-2016", "unicode inc license agreement data files and software"),
    ("OpenSSL", "openssl license", "openssl toolkit"),
    ("FTL", "the freetype project license"),
    ("JSON", _GRANT, "the software shall be used for good not evil"),
    ("NCSA", _GRANT, "redistributions of source code must retain", "names of"),
    ("X11", _GRANT, _NOTICE, "except as contained in this notice the name"),
    ("MIT", _GRANT, _NOTICE),
    ("MIT", "under the terms of the mit license"),
    ("MIT", "licensed under the mit license"),
    ("MIT-0", _GRANT, "to permit persons to whom the software is furnished to do so"),
    ("PostgreSQL", f"{_HPND} purpose without fee", "above copyright notice and this paragraph and"),
    ("MIT-CMU", f"{_HPND} purpose and without fee", "copyright notice appears in all copies"),
    ("HPND", f"{_HPND} purpose", "above copyright notice appear in all copies", "not be used in"),
    ("HPND", f"{_HPND} purpose", "provided that the above copyright notice appear in all copies"),
    ("curl", f"{_ISC_2} fee is hereby granted", "the name of a copyright holder shall not be used"),
    ("ISC", _ISC, "provided that the above copyright notice"),
    ("ISC", _ISC_2, "provided that the above copyright notice"),
    ("0BSD", f"{_ISC} fee is hereby granted"),
    ("0BSD", f"{_ISC_2} fee is hereby granted"),
    ("Sleepycat", _BSD, "how to obtain complete source code for"),  # copyleft, unlike all of BSD
    ("BSD-3-Clause-No-Nuclear-License", _BSD, _ENDORSE, "nuclear facility"),
    ("BSD-3-Clause-No-Military-License", _BSD, _ENDORSE, "military"),
    ("BSD-4-Clause", _BSD, _ENDORSE, "all advertising materials mentioning features"),
    ("BSD-3-Clause-Clear", _BSD, _ENDORSE, "no express or implied licenses to any party"),
    ("BSD-3-Clause", _BSD, _ENDORSE),
    ("BSD-2-Clause-Patent", _BSD, "in binary form must reproduce", "royalty free irrevocable"),
    ("BSD-2-Clause", _BSD, "in binary form must reproduce"),
    ("BSD-1-Clause", _BSD, "of source code must retain"),
    ("libpng-2.0", "png reference library license version 2"),
    ("Zlib", "this software is provided as is", "altered source versions must be plainly marked"),
)

_CREATIVE_COMMONS = re.compile(
    r"(?:creative commons|cc) (?:attribution|by)( non ?commercial| nc)?( share ?alike| sa)?"
    r"( no ?deriv\w+| nd)?(?: license)?(?: version)? v?([1-4]\.[05])\b"
    r"|\battribution( non ?commercial)?( share ?alike)?( no ?deriv\w+)? ([1-4]\.[05])"
    r"(?: international| unported| generic| creative)"
)
# What takes back the grant of a permissive text, wherever it stands.
_COMMONS_CLAUSE = "commons clause license condition"
_NOT_COMMERCIAL = re.compile(
    r"\bnon ?commercial (?:use|purposes?|research(?: use| purposes?)?) only\b"
    r"|\bonly for (?:\w+ )?non ?commercial\b|\bcommercial use is (?:not permitted|prohibited)\b"
)
_POLYFORM = re.compile(r"polyform ([a-z]+(?: [a-z]+)?) license (\d\.\d\.\d)")


def from_text(text: str) -> str | None:
    """SPDX id of a license text; None where no phrase of the table is in it.

    An `SPDX-License-Identifier` line is believed. Else the license whose words come first counts:
    what follows is as a rule what the software bundles, or the licenses that a text compares
    itself with. But what forbids uses counts wherever it stands.
    """
    stated = _IDENTIFIER.search(text[:_READ])
    if stated and (found := canonical(stated[1].strip(" \t\r*/#->"))):
        return found
    folded = " ".join(_WORD.findall(text[:_READ].lower().replace("licence", "license")))
    best, place = None, len(folded)
    for spdx, first, *others in _PHRASES:
        position = folded.find(first.replace("licence", "license"), 0, place + len(first))
        if 0 <= position < place:
            near = folded[max(0, position - 500) : position + _NEAR]
            if all(other in near for other in others):
                best, place = spdx, position
    for pattern, name in ((_CREATIVE_COMMONS, _creative_commons), (_POLYFORM, _polyform)):
        match = pattern.search(folded)
        if match and match.start() < place:
            best, place = name(match), match.start()
    if _COMMONS_CLAUSE in folded:
        return "LicenseRef-Commons-Clause"
    if permissive(best) and _NOT_COMMERCIAL.search(folded):
        return "LicenseRef-NonCommercial"
    return best


def _creative_commons(match: re.Match[str]) -> str:
    groups = match.groups()[:4] if match[4] else match.groups()[4:]
    parts = zip(("NC", "SA", "ND"), groups, strict=False)
    return "-".join(["CC-BY", *(part for part, said in parts if said), groups[3]])


def _polyform(match: re.Match[str]) -> str:
    return f"PolyForm-{match[1].title().replace(' ', '-')}-{match[2]}"
