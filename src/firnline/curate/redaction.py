"""Redaction: secrets and personal data of a batch of documents replaced by typed placeholders.

Only the secret goes; quotes, separators and line ends around it stay, so that code still parses
and lines keep their numbers. What is counted and told is the kind and the line, never the text.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from firnline.curate import gitleaks
from firnline.curate.secret_rules import KINDS, PLACEHOLDERS, RULES, Rule
from firnline.curate.secrets import Finding, Scanner, scanner
from firnline.documents import buffers
from firnline.errors import FirnlineError

_LINES_TOLD = 5
_ROUNDS = 4
_SHORTEST = 6


class Pattern(BaseModel):
    """A user's own kind of secret."""

    model_config = ConfigDict(extra="forbid")

    kind: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """What it is called in the ledger."""
    regex: str = Field(min_length=1)
    """RE2 over UTF-8 bytes; the first group that takes part, or all without one, is the secret."""


class SecretsConfig(BaseModel):
    """What counts as a secret and what becomes of it."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["redact", "drop", "measure"] = "redact"
    """`redact` replaces, `drop` drops the document, `measure` only counts."""
    off: tuple[str, ...] = ("username",)
    """Kinds that are not looked for."""
    placeholders: dict[str, str] = {}
    """Kind: what takes its place. Defaults: `<EMAIL>`, `<IP_ADDRESS>`, `<NAME>`, `<PASSWORD>` for
    passwords, `<KEY>` for the rest."""
    allow: tuple[str, ...] = ()
    """Texts that are no secret, with `*` and `?` as wild cards: `*@ourcompany.com`, `10.*`."""
    patterns: tuple[Pattern, ...] = ()
    """More kinds, beside the built-in ones."""
    rules: Path | None = None
    """A gitleaks file; its rules come beside the built-in ones."""

    @field_validator("placeholders")
    @classmethod
    def _one_line(cls, placeholders: dict[str, str]) -> dict[str, str]:
        for kind, text in placeholders.items():
            if not re.fullmatch(r"[^\s\"'`\\]{1,64}", text):
                raise ValueError(
                    f"{kind}: a placeholder is 1 to 64 characters without white space, quotes or \\"
                )
        return placeholders

    @model_validator(mode="after")
    def _known(self) -> SecretsConfig:
        own = {pattern.kind for pattern in self.patterns}
        if clash := own & set(KINDS):
            raise ValueError(f"patterns: {', '.join(sorted(clash))}: built-in kinds; choose others")
        if self.rules is None and (
            unknown := (set(self.off) | set(self.placeholders)) - own - set(KINDS)
        ):
            raise ValueError(f"off, placeholders: no such kind: {', '.join(sorted(unknown))}")
        return self


@dataclass(frozen=True)
class Redacted:
    """A batch after redaction, row for row.

    `counts` has an int32 array over the rows for each kind that was found in the batch; `changed`
    says where `content` is not what it was; `redactions` is the ledger's text, such as
    `email 2 (lines 3, 9), aws_key 1 (line 14)`, null where nothing was found.
    """

    content: pa.Array
    counts: dict[str, NDArray[np.int32]]
    changed: NDArray[np.bool_]
    redactions: pa.Array


class Redactor:
    """Finds and replaces secrets; picklable, and compiled once in each process.

    Raises FirnlineError for a rules file that cannot be read and for patterns that cannot be
    compiled, all at once.
    """

    def __init__(self, config: SecretsConfig) -> None:
        self.config = config
        self._rules = _rules(config)
        scanner(self._rules)
        kinds = dict.fromkeys(rule.kind for rule in self._rules)
        self.placeholders = {
            kind: config.placeholders.get(kind, PLACEHOLDERS.get(kind, "<KEY>")) for kind in kinds
        }
        self._marks = tuple({text.encode() for text in self.placeholders.values()})

    def redact(self, content: pa.Array) -> Redacted:
        """Redacts a column of text (string or large_string; a null stays null).

        With the actions `drop` and `measure` the content comes back as it was.
        """
        data, offsets = buffers(content)
        text = memoryview(data)
        counts: dict[str, NDArray[np.int32]] = {}
        changed = np.zeros(len(content), dtype=bool)
        told: dict[int, str] = {}
        replaced: dict[int, bytes] = {}
        bounds = offsets.tolist()
        engine = scanner(self._rules)
        for row in range(len(content)):
            document = text[bounds[row] : bounds[row + 1]]
            found = self._find(engine, document)
            if not found:
                continue
            for each in found:
                column = counts.setdefault(each.kind, np.zeros(len(content), dtype=np.int32))
                column[row] += 1
            told[row] = _tell(bytes(document), found)
            if self.config.action == "redact":
                replaced[row] = self._replace(engine, bytes(document), found)
                changed[row] = True
        ledger = pa.array([told.get(row) for row in range(len(content))], pa.string())
        return Redacted(_spliced(content, text, bounds, replaced), counts, changed, ledger)

    def find(self, document: memoryview) -> list[Finding]:
        """The secrets of one document, for those who want to read them."""
        return self._find(scanner(self._rules), document)

    def _find(self, engine: Scanner, document: memoryview) -> list[Finding]:
        """The findings that neither the allow list nor an earlier redaction takes out."""
        found = engine.find(document)
        return [each for each in found if not self._is_allowed(document, each)] if found else []

    def _is_allowed(self, document: memoryview, found: Finding) -> bool:
        secret = bytes(document[found.start : found.end])
        rest = secret
        for mark in self._marks:
            rest = rest.replace(mark, b"")
        if rest != secret and len(rest) < _SHORTEST:
            return True
        if not self.config.allow:
            return False
        name = secret.decode("utf-8", "replace")
        return any(fnmatchcase(name, pattern) for pattern in self.config.allow)

    def _replace(self, engine: Scanner, document: bytes, found: list[Finding]) -> bytes:
        """The document without its secrets.

        What is left is looked at again: a secret can come to light where one that overlapped it
        has gone. So a second redaction changes nothing.
        """
        for _ in range(_ROUNDS):
            pieces, position = [], 0
            for each in found:
                mark = self.placeholders[each.kind].encode()
                for number, (start, end) in enumerate(each.spans):
                    pieces += [document[position:start], b"" if number else mark]
                    position = end
            document = b"".join([*pieces, document[position:]])
            found = self._find(engine, memoryview(document))
            if not found:
                break
        return document


def _rules(config: SecretsConfig) -> tuple[Rule, ...]:
    own = tuple(
        Rule(each.kind, each.regex, judge=_as_found, reach=16384) for each in config.patterns
    )
    listed = gitleaks.read(config.rules) if config.rules else ()
    known = {rule.kind for rule in (*RULES, *own, *listed)}
    if unknown := (set(config.off) | set(config.placeholders)) - known:
        raise FirnlineError(
            f"no such kind of secret: {', '.join(sorted(unknown))}",
            mend="correct `off` and `placeholders` of the secrets config",
        )
    return tuple(rule for rule in (*own, *RULES, *listed) if rule.kind not in config.off)


def _as_found(document: bytes, start: int, end: int) -> list[tuple[int, int]]:
    return [(start, end)] if end > start else []


def _tell(document: bytes, found: list[Finding]) -> str:
    """`email 2 (lines 3, 9), aws_key 1 (line 14)`: kinds, counts, the first lines. No secret."""
    lines: dict[str, list[int]] = {}
    line, position = 1, 0
    for each in found:
        line += document.count(b"\n", position, each.start)
        position = each.start
        lines.setdefault(each.kind, []).append(line)
    counts = Counter({kind: len(where) for kind, where in lines.items()})
    parts = []
    for kind, count in counts.items():
        where = list(dict.fromkeys(lines[kind]))
        more = ", …" if len(where) > _LINES_TOLD else ""
        shown = ", ".join(map(str, where[:_LINES_TOLD])) + more
        parts.append(f"{kind} {count} ({'line' if len(where) == 1 else 'lines'} {shown})")
    return ", ".join(parts)


def _spliced(
    content: pa.Array, text: memoryview, bounds: list[int], replaced: dict[int, bytes]
) -> pa.Array:
    """The column with some rows' texts replaced; what lies between them is copied whole."""
    if not replaced:
        return content
    growth = np.zeros(len(content) + 1, dtype=np.int64)
    for row, document in replaced.items():
        growth[row + 1] = len(document) - (bounds[row + 1] - bounds[row])
    offsets = np.asarray(bounds, dtype=np.int64) - bounds[0] + np.cumsum(growth)
    joined = pa.allocate_buffer(int(offsets[-1]))  # from Arrow's pool, whose pages are in use again
    out = memoryview(joined).cast("B")
    position = bounds[0]
    for row, document in replaced.items():
        start, end = int(offsets[row]), int(offsets[row + 1])
        out[start - (bounds[row] - position) : start] = text[position : bounds[row]]
        out[start:end] = document
        position = bounds[row + 1]
    out[len(out) - (bounds[-1] - position) :] = text[position : bounds[-1]]
    validity = None
    if content.null_count:
        validity = pa.array(content.is_valid()).buffers()[1]
    layout = [validity, pa.py_buffer(offsets), joined]
    array = pa.Array.from_buffers(pa.large_string(), len(content), layout)
    return array if content.type == pa.large_string() else array.cast(content.type)
