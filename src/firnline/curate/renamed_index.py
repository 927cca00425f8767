"""Which runs of a task's program are evidence of a renamed copy.

A run is RENAMED_TOKENS consecutive tokens of a program (`firnline.kernels.renamed` says what a
token is), or all tokens of a program or solution of SHORT_TOKENS or more. It tells of its task if
it has enough different tokens that are no names, and if few tasks share it.
"""

from __future__ import annotations

import builtins
import importlib
import re
import symtable
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import tree_sitter

from firnline.benchmarks.problems import Problem
from firnline.curate.idioms import shared
from firnline.kernels.passages import (
    Hashes,
    Offsets,
    comment_style,
    different,
    previous_place,
    words_of,
)
from firnline.kernels.renamed import NAME, Programs, read_blind, run_hashes
from firnline.kernels.shingles import insert, table_size
from firnline.languages import LANGUAGES

RENAMED_TOKENS = 36
SHORT_TOKENS = 20
WINDOW_TOKENS = 16
FIXED_TOKENS = 8
"""Different tokens, names not counted, of a run that is evidence."""


class Unit(NamedTuple):
    """Tokens of a member's program of which any `length` in a row are a run."""

    member: int
    tokens: Hashes
    length: int


class Windows(NamedTuple):
    """The windows to look for, by hash: the unit of each, and its place in all units' tokens."""

    hashes: Hashes
    units: Offsets
    places: Offsets


def units_of(
    member: int, program: str, tasks: Sequence[Problem], fixed: frozenset[str]
) -> Iterator[Unit]:
    """The runs of one program, and of its tasks' solutions where they are short."""
    language = tasks[0].language
    names = word_table(fixed - _bound(program, fixed) if language == "Python" else fixed)
    seen = set()
    for text in dict.fromkeys([program, *(task.solution for task in tasks)]):
        data = np.frombuffer(text.encode(), dtype=np.uint8)
        tokens = read_blind(data, comment_style(language), names)
        size = len(tokens)
        known = text != program and size >= RENAMED_TOKENS  # the program has these runs
        if size < SHORT_TOKENS or known or tokens.tobytes() in seen:
            continue
        seen.add(tokens.tobytes())
        yield Unit(member, tokens, min(size, RENAMED_TOKENS))


def programs_of(
    units: Sequence[Unit], benchmarks: Offsets, fixed: frozenset[str]
) -> tuple[Programs, Windows]:
    """All units for the kernel, and the windows that lead to their telling runs."""
    sizes = np.array([len(unit.tokens) for unit in units], dtype=np.int64)
    lengths = np.array([unit.length for unit in units], dtype=np.int64)
    stops = np.cumsum(sizes)
    starts = stops - sizes
    tokens = np.concatenate([np.zeros(0, np.uint64), *(unit.tokens for unit in units)])

    runs = sizes - lengths + 1
    unit_of = np.repeat(np.arange(len(units)), runs)
    within = np.arange(len(unit_of)) - np.repeat(np.cumsum(runs) - runs, runs)
    first = starts[unit_of] + within
    members = np.array([unit.member for unit in units], dtype=np.int64)[unit_of]
    literal = ((tokens & NAME) == 0).astype(np.uint8)
    telling = different(previous_place(tokens), literal, first, lengths[unit_of]) >= FIXED_TOKENS
    hashes = run_hashes(tokens, first, lengths[unit_of])
    telling &= ~shared(hashes, benchmarks[members], members)
    marks = np.zeros(len(tokens), dtype=np.uint8)
    marks[first[telling]] = 1

    # Each run of length n holds one window whose place is a multiple of n - WINDOW_TOKENS + 1.
    step = (lengths - WINDOW_TOKENS + 1)[unit_of[telling]]
    within = -(-within[telling] // step) * step
    chosen = np.unique(np.stack([unit_of[telling], within], axis=1).reshape(-1, 2), axis=0)
    places = starts[chosen[:, 0]] + chosen[:, 1]
    hashes = run_hashes(tokens, places, np.full(len(places), WINDOW_TOKENS))
    order = np.argsort(hashes, kind="stable")
    programs = Programs(word_table(fixed), WINDOW_TOKENS, tokens, starts, stops, lengths, marks)
    return programs, Windows(hashes[order], chosen[order, 0], places[order])


@lru_cache(maxsize=256)
def word_table(words: frozenset[str]) -> Hashes:
    """The hash table of words that `firnline.kernels.renamed` reads."""
    data = np.frombuffer(" ".join(sorted(words)).encode(), dtype=np.uint8)
    hashes = words_of(data, np.array([0, len(data)]))[0] & ~NAME
    slots = np.zeros(table_size(len(hashes)), dtype=np.uint64)
    for value in hashes:
        insert(slots, np.uint64(len(slots) - 1), value)
    return slots


@cache
def fixed_words(language: str) -> frozenset[str]:
    """The words of a language that are not renamed: its grammar's keywords, Python's builtins."""
    known = LANGUAGES.get(language)
    if known is None or known.grammar is None:
        return frozenset()
    module, function = known.grammar
    grammar = tree_sitter.Language(getattr(importlib.import_module(module), function)())
    kinds = (
        grammar.node_kind_for_id(number)
        for number in range(grammar.node_kind_count)
        if grammar.node_kind_is_visible(number) and not grammar.node_kind_is_named(number)
    )
    words = {kind for kind in kinds if kind and re.fullmatch(r"[A-Za-z_]\w*", kind)}
    return frozenset(words | set(dir(builtins)) if language == "Python" else words)


def _bound(program: str, fixed: frozenset[str]) -> frozenset[str]:
    """The words of `fixed` that a Python program gives a meaning of its own, if it parses."""
    try:
        scopes = [symtable.symtable(program, "program", "exec")]
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    bound = set()
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        for name in fixed.intersection(scope.get_identifiers()):
            symbol = scope.lookup(name)
            if symbol.is_assigned() or symbol.is_parameter():
                bound.add(name)
    return frozenset(bound)
