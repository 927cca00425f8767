"""What a language's text may hold, as bits: its comments, quotes and what else a walk must know."""

from __future__ import annotations

from firnline.languages import LANGUAGES

_BITS = tuple(1 << bit for bit in range(26))
FOLLOWED, HASH, SLASHES, BLOCK, DASHES, NESTED, TRIPLE, BACKTICK, SINGLE, CHARACTER = _BITS[:10]
LONG, REGEX, DOLLAR, POUND, PAREN, HEREDOC, HASHED_RAW, DELIMITED_RAW, VERBATIM = _BITS[10:19]
DIRECTIVE, INDENTED, BLANK_HASH, TAGGED, PERCENT, NO_HASH, LUA = _BITS[19:26]
"""Comments: `HASH` #, `SLASHES` //, `BLOCK` /* */ (`NESTED`: in one another), `DASHES` --, `LUA`
--[[ ]]; `BLANK_HASH`: a # only after a blank. Strings beside double quotes: `SINGLE`, `CHARACTER`
(quotes of one character), `TRIPLE`, `BACKTICK`, `LONG` (all may span lines), `VERBATIM` @"",
`HASHED_RAW` r#""# (and lifetimes), `DELIMITED_RAW` R"x()x", `HEREDOC`, `PERCENT` %w[], `REGEX` //.
Code inside strings: `DOLLAR` ${}, `POUND` #{}, `PAREN` $(). `DIRECTIVE`: #if and its like;
`INDENTED`: blocks by indentation; `TAGGED`: code inside <? ?>; `NO_HASH`: no # in code."""

_SIGNS = {"#": HASH, "//": SLASHES, "/*": BLOCK, "--": DASHES}
_JAVASCRIPT = SINGLE | BACKTICK | REGEX | DOLLAR
_FEATURES = {
    "Python": SINGLE | TRIPLE | INDENTED,
    "Java": CHARACTER | TRIPLE | NO_HASH,
    "C": CHARACTER | DIRECTIVE,
    "C++": CHARACTER | DIRECTIVE | DELIMITED_RAW,
    "C#": CHARACTER | DIRECTIVE | VERBATIM | TRIPLE,
    "JavaScript": _JAVASCRIPT,
    "TypeScript": _JAVASCRIPT,
    "PHP": SINGLE | LONG | TAGGED | HEREDOC,
    "Go": CHARACTER | BACKTICK | NO_HASH,
    "SQL": SINGLE | LONG,
    "Ruby": SINGLE | LONG | REGEX | POUND | HEREDOC | PERCENT,
    "Rust": CHARACTER | LONG | HASHED_RAW | NESTED,
    "Scala": CHARACTER | TRIPLE | NESTED | DOLLAR,
    "Kotlin": CHARACTER | TRIPLE | NESTED | DOLLAR | NO_HASH,
    "Shell": SINGLE | LONG | BLANK_HASH | PAREN | HEREDOC,
    "Dart": SINGLE | TRIPLE | NESTED | DOLLAR | NO_HASH,
    "Swift": TRIPLE | NESTED,
    "Lua": SINGLE | LUA,
    "Cython": SINGLE | TRIPLE,
    "CSS": SINGLE,
}


def features(language: str) -> int:
    """The bits of a language; 0 for one that is not followed."""
    if language not in _FEATURES:
        return 0
    signs = sum(_SIGNS.get(sign, 0) for sign in LANGUAGES[language].comments)
    return FOLLOWED | _FEATURES[language] | signs
