"""One small reader for each benchmark file format, chosen by the keys of the first row.

Windows line ends, which MBPP and EvoEval have in places, become plain ones.
"""

from __future__ import annotations

import ast
import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from firnline.benchmarks.differential import differential_tests
from firnline.benchmarks.problem import Problem
from firnline.errors import FirnlineError

Row = dict[str, Any]
Reader = Callable[[str, Row], Problem]


def reader(row: Row, path: Path) -> Reader:
    """The reader for a file whose first row is `row`; raises FirnlineError where none fits."""
    for _, keys, read in _FORMATS:
        if keys <= row.keys():
            return read
    known = ", ".join(name for name, _, _ in _FORMATS)
    found = ", ".join(sorted(row)[:8]) or "none"
    raise FirnlineError(
        f"{path} is in no benchmark format known here: its keys are {found}",
        mend=f"known formats: {known}",
    )


def _humaneval(benchmark: str, row: Row) -> Problem:
    """HumanEval (Chen et al. 2021), also the packaged suite: `test` defines check(candidate)."""
    entry_point = _text(row, "entry_point")
    return Problem(
        benchmark=benchmark,
        task_id=_text(row, "task_id"),
        prompt=_text(row, "prompt"),
        solution=_text(row, "canonical_solution"),
        tests=f"{_text(row, 'test')}\ncheck({entry_point})",
        entry_point=entry_point,
        suffix=_text(row, "suffix") if "suffix" in row else "",
    )


def _evalplus(benchmark: str, row: Row) -> Problem:
    """HumanEval+ (Liu et al. 2023): the candidate must agree with the reference on all inputs."""
    prompt, solution = _text(row, "prompt"), _text(row, "canonical_solution")
    entry_point = _text(row, "entry_point")
    inputs = [*_list(row, "base_input"), *_list(row, "plus_input")]
    tests = differential_tests(
        prompt + solution,
        entry_point,
        [json.dumps(arguments) for arguments in inputs],
        decode="json",
        tolerance=float(row["atol"]),
        # A polynomial has many zeros: the paper's harness asks for one, not for the reference's.
        zero_of="poly" if entry_point == "find_zero" else "",
    )
    return Problem(benchmark, _text(row, "task_id"), prompt, solution, tests, entry_point)


def _mbpp_plus(benchmark: str, row: Row) -> Problem:
    """MBPP+ (Liu et al. 2023). Not executable: its JSON inputs have lost tuples and sets."""
    return Problem(
        benchmark=benchmark,
        task_id=_text(row, "task_id"),
        prompt=_text(row, "prompt"),
        solution=_text(row, "canonical_solution"),
        tests="",
        entry_point=_text(row, "entry_point"),
    )


def _evoeval(benchmark: str, row: Row) -> Problem:
    """EvoEval (Xia et al. 2024): inputs are argument lists as text; outputs the reference's.

    Most prompts lack the line end after the docstring that solutions begin after.
    """
    prompt, solution = _text(row, "prompt").rstrip() + "\n", _text(row, "canonical_solution")
    entry_point = _text(row, "entry_point")
    inputs = _list(row, "inputs")
    if not all(isinstance(arguments, str) for arguments in inputs):
        raise TypeError("inputs are not texts")
    tests = differential_tests(prompt + solution, entry_point, inputs, decode="python")
    return Problem(benchmark, _text(row, "task_id"), prompt, solution, tests, entry_point)


def _mbpp(benchmark: str, row: Row) -> Problem:
    """MBPP (Austin et al. 2021): the prompt is a docstring of the task and its first assertion."""
    assertions = [_newlines(str(line)) for line in _list(row, "test_list")]
    setup = _text(row, "test_setup_code")
    shown = "\n".join([_text(row, "text"), *assertions[:1]])
    return Problem(
        benchmark=benchmark,
        task_id=f"Mbpp/{row['task_id']}",
        prompt=f'"""\n{shown}\n"""\n',
        solution=_text(row, "code"),
        tests="\n".join([setup, *assertions]),
        entry_point=_called(assertions),
    )


def _bigcodebench(benchmark: str, row: Row) -> Problem:
    """BigCodeBench (Zhuo et al. 2024). Not executable: its tests need some 140 libraries."""
    return Problem(
        benchmark=benchmark,
        task_id=_text(row, "task_id"),
        prompt=_text(row, "complete_prompt"),
        solution=_text(row, "canonical_solution"),
        tests="",
        entry_point=_text(row, "entry_point"),
    )


def _cruxeval(benchmark: str, row: Row) -> Problem:
    """CRUXEval (Gu et al. 2024), output prediction. Not executable: the answer is a value."""
    return Problem(
        benchmark=benchmark,
        task_id=_text(row, "id"),
        prompt=f"{_text(row, 'code')}\n\nassert f({_text(row, 'input')}) ==",
        solution=f" {_text(row, 'output')}",
        tests="",
        entry_point="f",
    )


# In this order: a later format's keys may be among an earlier one's.
_FORMATS: tuple[tuple[str, frozenset[str], Reader], ...] = (
    (
        "MBPP+",
        frozenset({"prompt", "canonical_solution", "base_input", "plus_input", "assertion"}),
        _mbpp_plus,
    ),
    (
        "HumanEval+",
        frozenset({"prompt", "canonical_solution", "base_input", "plus_input", "atol"}),
        _evalplus,
    ),
    ("EvoEval", frozenset({"prompt", "canonical_solution", "entry_point", "inputs"}), _evoeval),
    ("BigCodeBench", frozenset({"complete_prompt", "canonical_solution", "test"}), _bigcodebench),
    (
        "HumanEval or HumanEval infilling",
        frozenset({"task_id", "prompt", "canonical_solution", "test", "entry_point"}),
        _humaneval,
    ),
    ("MBPP", frozenset({"task_id", "text", "code", "test_list"}), _mbpp),
    ("CRUXEval", frozenset({"id", "code", "input", "output"}), _cruxeval),
)


def _text(row: Row, key: str) -> str:
    value = row[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is not a text")
    value.encode()  # a lone surrogate is no text: UnicodeEncodeError, which is a ValueError
    return _newlines(value)


def _list(row: Row, key: str) -> list[Any]:
    value = row[key]
    if not isinstance(value, list):
        raise TypeError(f"{key} is not a list")
    return value


def _newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _called(assertions: list[str]) -> str:
    """The function that MBPP assertions test: the first one called that is not a builtin."""
    for assertion in assertions:
        for node in ast.walk(ast.parse(assertion)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = node.func.id
                if not hasattr(builtins, name):
                    return name
    return ""
