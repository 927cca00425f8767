"""SPDX license expressions: reading them, naming their parts, and which are permissive.

The grammar is SPDX 2.3, annex D: ids, `+`, `WITH`, `AND`, `OR` and parentheses, `AND` before `OR`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_BLUE_OAK = """
0BSD ADSL AFL-1.1 AFL-1.2 AFL-2.0 AFL-2.1 AFL-3.0 AMDPLPA AML AMPAS ANTLR-PD
ANTLR-PD-fallback Apache-1.0 Apache-1.1 Apache-2.0 APAFML Artistic-2.0 Bahyph Barr
bcrypt-Solar-Designer BlueOak-1.0.0 BSD-1-Clause BSD-2-Clause BSD-2-Clause-FreeBSD
BSD-2-Clause-NetBSD BSD-2-Clause-Patent BSD-2-Clause-Views BSD-3-Clause
BSD-3-Clause-Attribution BSD-3-Clause-Clear BSD-3-Clause-HP BSD-3-Clause-LBNL
BSD-3-Clause-Modification BSD-3-Clause-No-Nuclear-License-2014
BSD-3-Clause-No-Nuclear-Warranty BSD-3-Clause-Open-MPI BSD-3-Clause-Sun BSD-4-Clause
BSD-4-Clause-Shortened BSD-4-Clause-UC BSD-Source-Code BSL-1.0 bzip2-1.0.5 bzip2-1.0.6
CC0-1.0 CFITSIO Clips CNRI-Jython CNRI-Python CNRI-Python-GPL-Compatible Cube curl DSDP
ECL-1.0 ECL-2.0 eGenix Entessa FTL fwlw hdparm HPND HPND-Fenneberg-Livingston
HPND-sell-regexpr HTMLTIDY IBM-pibs ICU ImageMagick Info-ZIP Intel Intel-ACPI ISC JasPer-2.0
Libpng libpng-2.0 libtiff Linux-OpenIB LPPL-1.3c LZMA-SDK-9.22 MIT MIT-0 MIT-advertising
MIT-CMU MIT-enna MIT-feh MIT-Modern-Variant MIT-open-group MIT-testregex MIT-Wu MITNFA MS-PL
MTLL MulanPSL-1.0 MulanPSL-2.0 Multics Mup Naumen NCSA Net-SNMP NetCDF NICTA-1.0
NIST-Software NTP OGL-Canada-2.0 OLDAP-2.0 OLDAP-2.0.1 OLDAP-2.1 OLDAP-2.2 OLDAP-2.2.1
OLDAP-2.2.2 OLDAP-2.3 OLDAP-2.4 OLDAP-2.5 OLDAP-2.6 OLDAP-2.7 OLDAP-2.8 OML OpenSSL PHP-3.0
PHP-3.01 Plexus PostgreSQL PSF-2.0 Python-2.0 Python-2.0.1 Ruby Saxpath SGI-B-2.0 SHL-0.5
SMLNJ Spencer-99 SunPro SWL Symlinks TCL TCP-wrappers UCAR Unicode-3.0 Unicode-DFS-2015
Unicode-DFS-2016 UnixCrypt Unlicense UPL-1.0 VSL-1.0 W3C X11 Xerox Xfig XFree86-1.1 xlock
Xnet xpp Zlib zlib-acknowledgement ZPL-2.0 ZPL-2.1
"""
PERMISSIVE_LICENSES: frozenset[str] = frozenset(_BLUE_OAK.split())
"""What the Blue Oak Council's list (version 15) rates bronze or better, as The Stack used it, and
HPND, Python-2.0.1 and Unicode-3.0, whose nearest forms it rates so. Licenses left out ask for more
than notice (copyleft, share-alike, fields of use) or are too loosely written (WTFPL)."""

_TOKEN = re.compile(r"\s*([()]|[A-Za-z0-9][A-Za-z0-9.:+-]*)")
_GNU = re.compile(r"(?i)^(AGPL|LGPL|GPL|GFDL)-(\d(?:\.\d)?)(\+|-only|-or-later)?$")
_ID = re.compile(r"LicenseRef-[\w.-]+|[A-Za-z][\w.]*(?:-[\w.]+)*-v?\d[\d.]*[a-z]?")


@dataclass(frozen=True)
class One:
    """One license, as named, with the exception of a `WITH`."""

    name: str
    exception: str | None = None


@dataclass(frozen=True)
class Both:
    """Terms joined by `AND`: all hold."""

    terms: tuple[Expression, ...]


@dataclass(frozen=True)
class Either:
    """Terms joined by `OR`: one may be chosen."""

    terms: tuple[Expression, ...]


Expression = One | Both | Either


def parse(expression: str) -> Expression:
    """The parts of an SPDX expression, operators in any case; ValueError where it is none.

    Known ids come in SPDX's case, `GPL-2.0` and `GPL-2.0+` as `-only` and `-or-later`.
    """
    tokens: list[str] = []
    position = 0
    text = expression.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise ValueError(f"no SPDX expression: {expression!r}")
        tokens.append(match[1])
        position = match.end()
    parser = _Parser(tokens)
    found = parser.either()
    if parser.tokens:
        raise ValueError(f"no SPDX expression: {expression!r}")
    return found


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens[::-1]  # the next one is the last
        if len(tokens) > 1000 or tokens.count("(") > 50:
            raise ValueError("an SPDX expression of this length is none")

    def _next_is(self, word: str) -> bool:
        if self.tokens and self.tokens[-1].lower() == word:
            self.tokens.pop()
            return True
        return False

    def either(self) -> Expression:
        terms = [self.both()]
        while self._next_is("or"):
            terms.append(self.both())
        flat = (t for term in terms for t in (term.terms if isinstance(term, Either) else (term,)))
        once = tuple(dict.fromkeys(flat))
        return once[0] if len(once) == 1 else Either(once)

    def both(self) -> Expression:
        terms = [self.one()]
        while self._next_is("and"):
            terms.append(self.one())
        flat = (t for term in terms for t in (term.terms if isinstance(term, Both) else (term,)))
        once = tuple(dict.fromkeys(flat))
        return once[0] if len(once) == 1 else Both(once)

    def one(self) -> Expression:
        if self._next_is("("):
            found = self.either()
            if not self._next_is(")"):
                raise ValueError("a bracket is not closed")
            return found
        name = self._id()
        return One(_spelled(name), self._id() if self._next_is("with") else None)

    def _id(self) -> str:
        if not self.tokens or self.tokens[-1].lower() in ("and", "or", "with", "(", ")"):
            raise ValueError("a license is missing in the expression")
        return self.tokens.pop()


@lru_cache(maxsize=4096)
def permissive(expression: str | None, allowed: frozenset[str] = PERMISSIVE_LICENSES) -> bool:
    """Whether one may use what is under `expression` by licenses of `allowed` alone.

    Of `OR` one side is enough, of `AND` all sides must be allowed. An exception (`WITH`) only adds
    to what a license permits, so the license decides, unless `allowed` names the pair. `X+` is
    allowed where `X` is. Case does not count. False for None and for what is no SPDX expression.
    """
    if not expression:
        return False
    try:
        return _permissive(parse(expression), _folded(allowed))
    except ValueError:
        return False


@lru_cache(maxsize=8)
def _folded(allowed: frozenset[str]) -> frozenset[str]:
    return frozenset(" ".join(_spelled(name).lower().split()) for name in allowed)


def _permissive(found: Expression, allowed: frozenset[str]) -> bool:
    if isinstance(found, Either):
        return any(_permissive(term, allowed) for term in found.terms)
    if isinstance(found, Both):
        return all(_permissive(term, allowed) for term in found.terms)
    name = found.name.lower()
    if name in allowed or name.removesuffix("+") in allowed:
        return True
    return found.exception is not None and f"{name} with {found.exception.lower()}" in allowed


def canonical(expression: str) -> str | None:
    """The expression as `parse` reads it, with no bracket too many; None where it is none."""
    try:
        return _written(parse(expression), inside=False)
    except ValueError:
        return None


def ids(expression: str) -> tuple[str, ...]:
    """The licenses that an expression names, in order, each once; empty where it is none."""
    try:
        found = [parse(expression)]
    except ValueError:
        return ()
    names: dict[str, None] = {}
    while found:
        part = found.pop()
        if isinstance(part, One):
            names[part.name] = None
        else:
            found.extend(reversed(part.terms))
    return tuple(names)


def is_id(name: str) -> bool:
    """Whether a name is an SPDX id: one that is known here, or one that looks like one."""
    known = name.lower() in _SPELLING or _GNU.match(name) is not None
    return known or _ID.fullmatch(name) is not None


def _written(found: Expression, inside: bool) -> str:
    if isinstance(found, One):
        return f"{found.name} WITH {found.exception}" if found.exception else found.name
    sign = " AND " if isinstance(found, Both) else " OR "
    text = sign.join(_written(term, inside=isinstance(found, Both)) for term in found.terms)
    return f"({text})" if inside else text


def _spelled(name: str) -> str:
    if match := _GNU.match(name):
        version = match[2] if "." in match[2] else f"{match[2]}.0"
        later = (match[3] or "").lower() in ("+", "-or-later")
        return f"{match[1].upper()}-{version}{'-or-later' if later else '-only'}"
    return _SPELLING.get(name.lower(), name)


_OTHERS = """
Artistic-1.0 BUSL-1.1 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-2.5 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-4.0
CC-BY-ND-4.0 CC-BY-NC-SA-4.0 CC-BY-NC-ND-4.0 CDDL-1.0 CDDL-1.1 CECILL-2.1 CPL-1.0 Elastic-2.0
EPL-1.0 EPL-2.0 EUPL-1.1 EUPL-1.2 JSON MPL-1.1 MPL-2.0 MS-RL ODbL-1.0 OFL-1.1 OSL-3.0
PolyForm-Noncommercial-1.0.0 PolyForm-Small-Business-1.0.0 QPL-1.0 Sleepycat SSPL-1.0 Vim WTFPL
"""
_SPELLING = {name.lower(): name for name in (*PERMISSIVE_LICENSES, *_OTHERS.split())}
