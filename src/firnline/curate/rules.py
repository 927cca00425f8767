"""Measuring documents and judging them by the rules of `firnline.curate.rulebook`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from firnline.curate.names import PATTERNS, name_statistics, pattern
from firnline.curate.rulebook import GENERATED_MARKERS as GENERATED_MARKERS
from firnline.curate.rulebook import HARMLESS_PHRASES
from firnline.curate.rulebook import OPTIONAL_RULES as OPTIONAL_RULES
from firnline.curate.rulebook import RULES as RULES
from firnline.curate.rulebook import Rule as Rule
from firnline.curate.syntax import suspects
from firnline.kernels.html import visible_text
from firnline.kernels.lexical import features
from firnline.kernels.lines import Bytes, Offsets, line_statistics
from firnline.kernels.phrases import first_marker
from firnline.kernels.structure import structure
from firnline.languages import LANGUAGES

Statistics = dict[str, npt.NDArray[np.float64]]
Overrides = Mapping[str, float | Mapping[str, float]]

STATISTICS: tuple[str, ...] = (
    "characters",
    "non_white",
    "lines",
    "longest_line",
    "long_line_share",
    "mean_line",
    "alphanumeric_share",
    "letter_share",
    "white_share",
    "encoded_run",
    "encoded_share",
    "xml_header",
    "generated_marker",
    "html_visible_characters",
    "html_visible_share",
    "comment_share",
    *PATTERNS,
    "other_text",
    "syntax_suspect",
    "syntax_error_share",
)
"""Ledger columns, float64, NaN where there is nothing to measure: the two of HTML in other
languages, `comment_share` and `syntax_suspect` where comments are not followed, `white_share` under
FEWEST_CHARACTERS, those of names without paths, and `syntax_error_share` until
`firnline.curate.syntax` has looked."""

FEWEST_CHARACTERS = 500


class Choices(Protocol):
    """What a config says about rules; `firnline.curate.stage.CurateConfig` is one."""

    @property
    def thresholds(self) -> Overrides: ...
    @property
    def off(self) -> Sequence[str]: ...


def check(config: Choices) -> list[str]:
    """Every mistake in a config's `thresholds` and `off`, each with its key; empty if none."""
    names = {rule.name for rule in (*RULES, *OPTIONAL_RULES)}
    known = ", ".join(rule.name for rule in (*RULES, *OPTIONAL_RULES))
    mistakes = [
        f"off: no rule {name!r}; rules: {known}" for name in config.off if name not in names
    ]
    for name, value in config.thresholds.items():
        if name not in names:
            mistakes.append(f"thresholds.{name}: no such rule; rules: {known}")
        elif isinstance(value, Mapping):
            mistakes += [
                f"thresholds.{name}.{language}: no such language; firnline.languages lists them"
                for language in value
                if language not in LANGUAGES
            ]
    return mistakes


def table(thresholds: Overrides | None = None, off: Sequence[str] = ()) -> tuple[Rule, ...]:
    """RULES and the optional ones with a threshold, without those in `off`, overridden.

    A number replaces a rule's threshold wherever it applies; a mapping sets single languages,
    those included that the rule left out. An optional rule that is given a mapping applies to
    those languages alone.
    """
    given = thresholds or {}
    asked = [rule for rule in OPTIONAL_RULES if rule.name in given]
    rules = []
    for rule in (*RULES[:-1], *asked, RULES[-1]):
        if rule.name in off:
            continue
        value = given.get(rule.name)
        limits = dict(rule.thresholds)
        if isinstance(value, Mapping):
            limits = ({} if rule in asked else limits) | dict(value)
        elif value is not None:
            limits = {key: None if old is None else value for key, old in limits.items()}
        rules.append(replace(rule, thresholds=limits))
    return tuple(rules)


def measure(
    data: Bytes, offsets: Offsets, languages: Sequence[str], paths: Sequence[str] | None = None
) -> Statistics:
    """The columns of STATISTICS for documents given as UTF-8 bytes and offsets."""
    lines = line_statistics(data, offsets)
    missing = np.full(len(languages), np.nan)
    values = {
        name: np.asarray(getattr(lines, name, missing), dtype=np.float64) for name in STATISTICS
    }
    values["white_share"][lines.characters < FEWEST_CHARACTERS] = np.nan
    markers = first_marker(data, offsets, lines.head_bytes, GENERATED_MARKERS, HARMLESS_PHRASES)
    values["generated_marker"] = markers.astype(np.float64)

    names, codes = np.unique(np.asarray(languages, dtype=object), return_inverse=True)
    pages = np.flatnonzero(np.asarray(languages, dtype=object) == "HTML")
    visible = missing.copy()
    visible[pages] = visible_text(data, offsets, pages)
    values["html_visible_characters"] = visible
    values["html_visible_share"] = visible / np.maximum(lines.characters, 1)

    kinds = np.array([features(name) for name in names], dtype=np.int64)[codes]
    comments, faults, ends = structure(data, offsets, kinds)
    share = np.minimum(comments / np.maximum(lines.non_white, 1), 1.0)
    values["comment_share"] = np.where(kinds != 0, share, np.nan)
    suspected = suspects(faults, ends, np.diff(offsets), languages)
    values["syntax_suspect"] = np.where(kinds != 0, suspected, np.nan)
    if paths is not None:
        values |= name_statistics(paths, languages)
    return {name: np.array(values[name]) for name in STATISTICS}


def judge(
    rules: Sequence[Rule], statistics: Mapping[str, npt.ArrayLike], languages: Sequence[str]
) -> npt.NDArray[np.int64]:
    """The place in `rules` of the first rule that drops each document; -1 where none does.

    A value that is missing (NaN) or a whole column that is missing drops nothing. Ledger columns do
    as `statistics`, so that a ledger can be judged again with another table.
    """
    names, codes = np.unique(np.asarray(languages, dtype=object), return_inverse=True)
    return judge_codes(rules, statistics, names.tolist(), codes)


def judge_codes(
    rules: Sequence[Rule],
    statistics: Mapping[str, npt.ArrayLike],
    names: Sequence[str],
    codes: npt.NDArray[np.signedinteger],
) -> npt.NDArray[np.int64]:
    """`judge` for languages given as places in `names`."""
    first = np.full(len(codes), -1, dtype=np.int64)
    for place in reversed(range(len(rules))):  # the first in the table writes last
        rule = rules[place]
        if rule.statistic not in statistics:
            continue
        limit = np.array([rule.threshold(name) for name in names], dtype=np.float64)[codes]
        value = np.asarray(statistics[rule.statistic], dtype=np.float64)
        fails = value < limit if rule.comparison == "<" else value > limit
        first[fails] = place
    return first


def explain(rule: Rule, value: float, language: str) -> str:
    """A drop in words: the value measured and the threshold it met."""
    marker = GENERATED_MARKERS[int(value) - 1] if rule.statistic == "generated_marker" else ""
    return rule.words.format(
        value=_figure(value, rule),
        threshold=_figure(rule.threshold(language), rule),
        marker=marker,
        pattern=pattern(rule.statistic, value) if rule.statistic in PATTERNS else "",
    )


def _figure(value: float, rule: Rule) -> str:
    if rule.statistic.endswith("share"):
        return f"{value:.1%}"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
