"""Extensions that several languages share, and the signs in a file's head that tell them apart.

Signs are tried in order and the first that is found decides. They are chosen sharp: a sign of one
language is not code in another. Where none is found, the languages stay candidates; an extension
that has one left then means that one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_READ = 16_384  # bytes of the head that signs are looked for in
_COMMENTS = re.compile(rb'/\*.*?(?:\*/|\Z)|//[^\n]*|"(?:[^"\\\n]|\\.)*"?', re.DOTALL)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Sign:
    """A pattern that tells a language. One of `words` is in every match, and looked for first: it
    is found, or not, many times faster than the pattern."""

    pattern: re.Pattern[bytes]
    words: tuple[bytes, ...] = ()

    def is_in(self, text: bytes) -> bool:
        """Whether the text has the sign."""
        if self.words and not any(word in text for word in self.words):
            return False
        return self.pattern.search(text) is not None


@dataclass(frozen=True)
class Shared:
    """One extension. `languages` has the likeliest first.

    `signs` are (language, sign), the language None where the file is in none of the table.
    With `c_comments`, comments and strings of C are blanked before, because prose looks like
    signs.
    """

    languages: tuple[str, ...]
    signs: tuple[tuple[str | None, Sign], ...]
    c_comments: bool = False

    def candidates(self, head: bytes) -> tuple[str, ...]:
        """One language where a sign is found, none where it is not ours, else all."""
        text = head[:_READ].removeprefix(_BYTE_ORDER_MARK)
        if self.c_comments:
            text = _COMMENTS.sub(_blank, text)
        for language, sign in self.signs:
            if sign.is_in(text):
                return (language,) if language else ()
        return self.languages if text.strip() else self.languages[:1]


def _blank(match: re.Match[bytes]) -> bytes:
    return b'""' if match[0][:1] == b'"' else b" "


def _sign(pattern: bytes, flags: int = 0, words: tuple[bytes, ...] = ()) -> Sign:
    return Sign(re.compile(pattern, re.MULTILINE | flags), words)


_OBJECTIVE_C = _sign(
    rb"^[ \t]*(?:@(?:interface|implementation|protocol|class|import|end|property|optional)\b"
    rb"|#[ \t]*import\b)|\b(?:NS_ASSUME_NONNULL_BEGIN|NS_(?:ENUM|OPTIONS)\b|FOUNDATION_EXPORT\b)",
    words=(b"@", b"import", b"NS_", b"FOUNDATION_EXPORT"),
)
_C_PLUS_PLUS = _sign(
    rb"^[ \t]*(?:template[ \t]*<|(?:inline[ \t]+)?namespace\b|using[ \t]+\w"
    rb"|(?:public|private|protected)[ \t]*:|(?:public|private)[ \t]+Q_SLOTS[ \t]*:"
    rb"|(?:enum[ \t]+)?class[ \t]+(?:[A-Z_]+[ \t]+)?\w+(?:[ \t]+final)?[ \t]*(?:[;{:]|$))"
    rb"|\w::[\w~]|\b(?:constexpr|nullptr|noexcept|static_cast|reinterpret_cast|const_cast)\b"
    rb"|\bconst[ \t]+\w+[ \t]*&|\) ?const[ \t]*[;{]|\boperator[ \t]*(?:[-+*/=<>!&|^%\[(]|bool\b)"
    rb"|\b(?:virtual|typename|mutable|friend|explicit)[ \t]+\w",
    words=(
        *(b"::", b"class", b"template", b"namespace", b"using", b"public", b"private"),
        *(b"protected", b"virtual", b"operator", b"constexpr", b") const", b")const", b"nullptr"),
        *(b"noexcept", b"_cast", b"typename", b"mutable", b"friend", b"explicit", b"&"),
    ),
)
_CPP_HEADER = _sign(rb"include[ \t]*<\w+>")
_PERL = _sign(
    rb"\A#!.*\bperl|^#{1,3}(?: |$)|^1;|<<['\"][A-Z]|^[ \t]*'?\w+'?[ \t]*=>[ \t]*[\d'\"<\[{\\]"
    rb"|^[ \t]*(?:use|no)[ \t]+(?:strict|warnings|utf8|lib\b|v?5|[A-Z]\w*(?:::\w+)*)"
    rb"|^[ \t]*(?:my|our|local)[ \t]*[($@%]|^[ \t]*sub[ \t]+\w+"
    rb"|^[ \t]*package[ \t]+[\w:]+[ \t]*[;{]"
    rb"|^[ \t]*[$@%]\w+(?:\{\w+\})?[ \t]*[.|]?=|^=(?:pod|head1|cut)\b|^__(?:END|DATA)__"
)
_PROLOG = _sign(
    rb"^[ \t]*:-[ \t]*\w|^[a-z]\w*(?:\(.*\))?[ \t]*(?::-|-->)[ \t]*(?:%.*)?$"
    rb"|^[a-z]\w*\([^()\n]*(?:\([^()\n]*\)[^()\n]*)*\)[ \t]*(?::-.*|-->.*|\.[ \t]*(?:%.*)?)$"
)
_MATLAB = _sign(
    rb"^[ \t]*(?:function\b(?:[ \t]*[\[\w].*=)?[ \t]*[a-zA-Z][\w.]*[ \t]*(?:\(|;|$|%|#)|classdef\b"
    rb"|%|##|end(?:function|if|for|while)\b|(?:clear|close)[ \t]+all\b|clc\b|1;[ \t]*$)"
)
_PASCAL = _sign(
    rb"\{\$[A-Za-z]|\(\*\$[A-Za-z]|^[ \t]*(?:unit|program|library)[ \t]+[\w.]+[ \t]*;"
    rb"|^[ \t]*(?:procedure|function|constructor|destructor)[ \t]+[\w.]+[ \t]*(?:\(|:|;)"
    rb"|^[ \t]*end[ \t]*[;.][ \t]*$|^[ \t]*\w+[ \t]*:=.*;|^[ \t]*begin[ \t]*$|\A\s*\{[ \t*]",
    re.IGNORECASE,
)
_SQL_DATA = _sign(
    rb"^-- (?:MySQL|MariaDB|PostgreSQL database|phpMyAdmin SQL) dump|^COPY [^;\n]* FROM stdin;"
    rb"|(?:^[ \t]*(?:INSERT|REPLACE)[ \t]+(?:IGNORE[ \t]+)?INTO\b.*\n+){30}"
    rb"|(?:^[ \t]*\(.*\)[ \t]*,[ \t]*\n){30}",
    re.IGNORECASE,
)

SHARED: dict[str, Shared] = {
    # Without a sign of the others a header is C: so were 872 of 878 that were counted, and the
    # content model told 3 of the 56 others.
    ".h": Shared(
        ("C",),
        (("Objective-C", _OBJECTIVE_C), ("C++", _CPP_HEADER), ("C++", _C_PLUS_PLUS)),
        c_comments=True,
    ),
    ".m": Shared(
        ("Objective-C", "MATLAB"),
        (
            (None, _sign(rb"\A\s*\(\*|^:-[ \t]*(?:module|interface|import_module)\b")),
            (
                "Objective-C",
                _sign(_OBJECTIVE_C.pattern.pattern + rb"|^[ \t]*#[ \t]*(?:include|define)\b"),
            ),
            ("MATLAB", _MATLAB),
        ),
    ),
    ".mm": Shared(("Objective-C",), ()),
    ".sql": Shared(("SQL",), (("SQL Dump", _SQL_DATA),)),
    ".ts": Shared(
        ("TypeScript",),
        (
            ("XML", _sign(rb"\A\s*<(?:\?xml|!DOCTYPE\s+TS|TS\b)")),  # Qt Linguist
            (None, _sign(rb"\AG.{187}G", re.DOTALL)),  # an MPEG stream: a packet, a packet
        ),
    ),
    ".tsx": Shared(("TypeScript",), (("XML", _sign(rb"\A\s*<\?xml")),)),  # Tiled
    ".pl": Shared(
        ("Perl", "Prolog"),
        (
            ("Prolog", _sign(rb"\A#!.*\b(?:swipl|gprolog|yap)\b|^:-[ \t]*[a-z]\w*\(")),
            ("Perl", _PERL),
            ("Prolog", _PROLOG),
        ),
    ),
    ".v": Shared(
        ("Verilog", "Coq", "V"),
        (
            ("V", _sign(rb"^(?:pub[ \t]+)?fn[ \t]+[\w(]")),
            (
                "Coq",
                _sign(
                    rb"\A\s*\(\*\*|^[ \t]*(?:(?:From[ \t]+\S+[ \t]+)?Require\b"
                    rb"|(?:Theorem|Lemma|Definition"
                    rb"|Inductive|Fixpoint|Notation|Section|Instance|Ltac2?|Module|Hint|Axiom"
                    rb"|Export|Declare|Set|Import|Record|Class)\b.*(?:[.:(]|$))"
                ),
            ),
            (
                "Verilog",
                _sign(
                    rb"^[ \t]*(?:(?:end)?(?:module|primitive|function|task)[ \t]+\w+[ \t]*[#(;]"
                    rb"|module[ \t]+[\\$]*\w+[ \t]*(?:#|\(|;|$)|endmodule\b"
                    rb"|`(?:timescale|define|include|ifdef|ifndef|default_nettype)\b"
                    rb"|(?:assign|always|initial|input|output|localparam|parameter)\b)"
                ),
            ),
        ),
        c_comments=True,
    ),
    ".r": Shared(
        ("R",),
        ((None, _sign(rb"\A\s*(?:REBOL|Red)\b[^\n]*\[|^#include[ \t]+\"\w+\.r\"", re.IGNORECASE)),),
    ),
    ".cls": Shared(
        ("LaTeX", "Apex", "Visual Basic"),
        (
            ("Visual Basic", _sign(rb"^(?:VERSION 1\.0 CLASS|Attribute VB_|Option Explicit)")),
            (None, _sign(rb"^(?:Class [\w.%]+ Extends|CLASS [\w.]+[^{]*:)")),
            (
                "Apex",
                _sign(
                    rb"^[ \t]*(?:@isTest\b|(?:public|private|global)[ \t]+(?:(?:with|without"
                    rb"|inherited)[ \t]+sharing|virtual|abstract|class|interface|enum)\b)",
                    re.IGNORECASE,
                ),
            ),
            ("LaTeX", _sign(rb"^[ \t]*(?:%|\\\w+)")),
        ),
    ),
    ".inc": Shared(
        ("PHP", "Pascal", "C", "C++", "Assembly", "SQL", "HTML", "Makefile"),
        (
            ("PHP", _sign(rb"<\?(?:php|=|\s)")),
            ("HTML", _sign(rb"\A\s*<(?:!--|!DOCTYPE|html|div|table|p|h\d|script|a|ul)\b", re.I)),
            (
                "Assembly",
                _sign(rb"^[ \t]*%(?:define|macro|ifdef|assign)\b|^\w+[ \t]+(?:equ|EQU)\b"),
            ),
            ("Pascal", _PASCAL),
            ("C++", _CPP_HEADER),
            ("C++", _C_PLUS_PLUS),
            ("C", _sign(rb"^[ \t]*#[ \t]*(?:include|define|ifdef|ifndef|if|undef|pragma)\b")),
        ),
    ),
    ".fs": Shared(
        ("F#",),
        (
            (
                "GLSL",
                _sign(rb"^[ \t]*(?:#version\b|precision[ \t]+\w+p\b|uniform[ \t]|varying[ \t])"),
            ),
            (None, _sign(rb"^: \S+|\A\s*\\ ")),  # Forth
        ),
    ),
    ".pp": Shared(
        ("Pascal", "Puppet"),
        (
            ("Pascal", _PASCAL),
            (
                "Puppet",
                _sign(rb"^[ \t]*(?:class|define|node)[ \t]+[\w:'.]+.*[{(][ \t]*$|[ \t]=>[ \t]"),
            ),
        ),
    ),
    ".d": Shared(
        ("D",),
        ((None, _sign(rb"^\S+\.(?:o|lo|obj|d)[ \t]*:|^#!.*dtrace|^#pragma D option")),),
    ),
    ".f": Shared(("Fortran",), ((None, _sign(rb"^: \S+.*;[ \t]*$|\A\s*\\ ")),)),  # Forth
    ".md": Shared(("Markdown",), ((None, _sign(rb"^\(define_(?:insn|expand|attr|constants)\b")),)),
}
