"""What a language's text may hold, as bits: its comments, quotes and what else a walk must know."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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

# Words that start a line with another word after them in these languages, and in no other.
_STARTERS = {
    "abstract": "Java C++ C# TypeScript PHP Scala Kotlin Dart",
    "bool": "C C++ C# Dart",
    "boolean": "Java",
    "char": "C C++ C# Java",
    "const": "C C++ C# JavaScript TypeScript Go Rust PHP Dart Kotlin",
    "declare": "TypeScript PHP Shell",
    "def": "Python Ruby Scala Cython",
    "double": "C C++ C# Java Dart",
    "echo": "PHP Shell",
    "elif": "Python Cython Shell",
    "enum": "C C++ C# Java TypeScript Rust PHP Kotlin Scala Swift Dart",
    "final": "Java C++ PHP Kotlin Scala Swift Dart",
    "float": "C C++ C# Java",
    "fn": "Rust",
    "from": "Python Cython JavaScript TypeScript SQL Kotlin Scala Shell C#",
    "fun": "Kotlin",
    "func": "Go Swift",
    "function": "JavaScript TypeScript PHP Shell Lua",
    "impl": "Rust",
    "implements": "Java PHP TypeScript Dart",
    "import": "Python Cython Java JavaScript TypeScript Go Kotlin Scala Swift Dart C++",
    "int": "C C++ C# Java Dart",
    "interface": "Java C# TypeScript PHP Kotlin Go Dart",
    "let": "JavaScript TypeScript Rust Swift Shell",
    "namespace": "C++ C# PHP TypeScript",
    "package": "Java Go Kotlin Scala",
    "private": "Java C++ C# PHP TypeScript Kotlin Scala Swift Ruby",
    "protected": "Java C++ C# PHP TypeScript Kotlin Scala Ruby",
    "pub": "Rust",
    "public": "Java C++ C# PHP TypeScript Kotlin Scala Swift Ruby",
    "readonly": "C# TypeScript PHP Shell",
    "struct": "C C++ C# Rust Swift",
    "trait": "Rust PHP Scala",
    "type": "Go Rust TypeScript Scala Python SQL Shell C Kotlin",
    "using": "C++ C# SQL JavaScript TypeScript",
    "val": "Kotlin Scala",
    "var": "JavaScript TypeScript Go C# Java Kotlin Scala Swift Dart PHP",
    "void": "C C++ C# Java Dart JavaScript TypeScript",
}
_NUMBERS = {language: number for number, language in enumerate(_FEATURES)}
LANGUAGE_BIT = 32
"""Where a language's number begins in its features."""


def word_hash(word: bytes) -> int:
    """A 32-bit hash; the walk computes the same byte by byte."""
    value = 0
    for byte in word:
        value = (value * 31 + byte) & 0xFFFFFFFF
    return value


def _starters() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """By the low 10 bits of a word's hash: the hash, and bits of the languages it is foreign to."""
    hashes, foreign = np.zeros(1024, dtype=np.int64), np.zeros(1024, dtype=np.int64)
    for word, at_home in _STARTERS.items():
        value = word_hash(word.encode())
        if hashes[value & 1023]:
            raise AssertionError(f"{word!r} needs another place: choose another multiplier")
        hashes[value & 1023] = value
        strangers = set(_NUMBERS) - set(at_home.split()) - {"SQL", "CSS", "Lua", "Swift", "Shell"}
        foreign[value & 1023] = sum(1 << _NUMBERS[language] for language in strangers)
    return hashes, foreign


STARTER_HASHES, STARTER_FOREIGN = _starters()


def features(language: str) -> int:
    """The bits of a language and its number; 0 for one that is not followed."""
    if language not in _FEATURES:
        return 0
    signs = sum(_SIGNS.get(sign, 0) for sign in LANGUAGES[language].comments)
    return FOLLOWED | _FEATURES[language] | signs | _NUMBERS[language] << LANGUAGE_BIT
