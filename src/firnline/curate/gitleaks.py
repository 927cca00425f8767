"""Reading rules for secrets from a gitleaks file (TOML, format of gitleaks 8).

What is read of each rule: `id`, `regex`, `secretGroup`, `entropy`, `keywords`, and allow lists
(`regexes`, `stopwords`, `regexTarget`, `condition`), the file's own (`allowlist`, `allowlists`) for
every rule. Patterns run in RE2, whose syntax is the one they are written in. Documents have no
place on disk here, so rules that only name a `path` are left out, and so are allow lists that need
one. `[extend]` is refused: what it names is compiled into the gitleaks program.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import re2

from firnline.curate.evidence import entropy
from firnline.curate.secret_rules import CONTEXTS, Rule
from firnline.curate.secrets import compile_pattern
from firnline.errors import FirnlineError

_REACH_BYTES = 16384
_MEND = "give a file in the format of gitleaks 8"


@dataclass(frozen=True)
class AllowList:
    """What is no secret: a text that a pattern finds in, or that holds a stop word."""

    regexes: tuple[str, ...]
    stopwords: tuple[bytes, ...]
    target: str
    """What the patterns look at: the `secret`, or the `line` it is on."""
    all_of: bool


@dataclass(frozen=True)
class Judge:
    """Entropy, keywords and allow lists of one rule; picklable."""

    minimum: float
    keywords: tuple[bytes, ...]
    allowed: tuple[AllowList, ...]

    def __call__(self, document: bytes, start: int, end: int) -> list[tuple[int, int]]:
        secret = document[start:end]
        if not secret or (self.minimum and entropy(secret) <= self.minimum):
            return []
        if self.keywords:
            lower = document[max(0, start - _REACH_BYTES) : end + _REACH_BYTES].lower()
            if not any(keyword in lower for keyword in self.keywords):
                return []
        line_start = document.rfind(b"\n", 0, start) + 1
        line_end = document.find(b"\n", end)
        line = document[line_start : line_end if line_end >= 0 else len(document)]
        return [] if any(_allows(each, secret, line) for each in self.allowed) else [(start, end)]


def _allows(each: AllowList, secret: bytes, line: bytes) -> bool:
    text = line if each.target == "line" else secret
    checks = []
    if each.regexes:
        checks.append(any(compile_pattern(regex).search(text) for regex in each.regexes))
    if each.stopwords:
        lower = secret.lower()
        checks.append(any(word in lower for word in each.stopwords))
    return bool(checks) and (all(checks) if each.all_of else any(checks))


def read(path: Path) -> tuple[Rule, ...]:
    """The rules of a gitleaks file, `generic-api-key` as the kind `generic_api_key`, and so on.

    Raises FirnlineError, with all mistakes at once, where the file cannot be read or used.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FirnlineError(f"cannot read rules from {path}: {error}", mend=_MEND) from error
    if "extend" in table:
        raise FirnlineError(f"{path}: [extend] is not followed", mend="put all rules into one file")
    rules = table.get("rules")
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise FirnlineError(f"{path} has no [[rules]]", mend=_MEND)
    mistakes: list[str] = []
    shared = _allow_lists(table, "the file", mistakes)
    made = [_rule(rule, number, shared, mistakes) for number, rule in enumerate(rules)]
    if mistakes:
        raise FirnlineError(f"{path} has mistakes", mend="correct them", details=tuple(mistakes))
    return tuple(rule for rule in made if rule is not None)


def _rule(
    rule: dict[str, Any], number: int, shared: tuple[AllowList, ...], mistakes: list[str]
) -> Rule | None:
    name = rule.get("id")
    regex = rule.get("regex", "")
    if not isinstance(name, str) or not isinstance(regex, str):
        mistakes.append(f"rule {number + 1}: `id` and `regex` must be text")
        return None
    if not regex:
        return None
    try:
        groups = compile_pattern(regex).groups
    except re2.error as error:
        mistakes.append(f"rule {name}: {error.args[0]!r}")
        return None
    group, minimum = rule.get("secretGroup", 0), rule.get("entropy", 0)
    if not isinstance(group, int) or not 0 <= group <= groups:
        mistakes.append(f"rule {name}: secretGroup {group!r}, but the regex has {groups} groups")
        return None
    if not isinstance(minimum, int | float):
        mistakes.append(f"rule {name}: entropy {minimum!r} is not a number")
        return None
    keywords = tuple(word.encode() for word in _texts(rule, "keywords", name, mistakes))
    allowed = shared + _allow_lists(rule, f"rule {name}", mistakes)
    judge = Judge(float(minimum), tuple(word.lower() for word in keywords), allowed)
    kind = name.replace("-", "_")
    return Rule(kind, regex, "", judge, CONTEXTS, _REACH_BYTES, group)


def _allow_lists(table: dict[str, Any], where: str, mistakes: list[str]) -> tuple[AllowList, ...]:
    listed = table.get("allowlists", [])
    single = table.get("allowlist")
    made = []
    for each in [*listed, *([single] if single else [])]:
        regexes = _texts(each, "regexes", where, mistakes)
        stopwords = _texts(each, "stopwords", where, mistakes)
        all_of = each.get("condition") == "AND"
        if all_of and (each.get("paths") or each.get("commits")):
            continue
        for regex in regexes:
            try:
                compile_pattern(regex)
            except re2.error as error:
                mistakes.append(f"{where}: allow list: {error.args[0]!r}")
        target = "line" if each.get("regexTarget") in ("line", "match") else "secret"
        words = tuple(word.lower().encode() for word in stopwords)
        made.append(AllowList(tuple(regexes), words, target, all_of))
    return tuple(made)


def _texts(table: dict[str, Any], key: str, where: str, mistakes: list[str]) -> Sequence[str]:
    value = table.get(key, [])
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return value
    mistakes.append(f"{where}: `{key}` must be a list of texts")
    return []
