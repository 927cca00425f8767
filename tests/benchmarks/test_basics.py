"""The packaged suite of elementary problems is well formed and its checks are strict."""

import ast
import doctest
import importlib.resources
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

KEYS = {"task_id", "prompt", "entry_point", "canonical_solution", "test"}


def load_rows() -> list[dict[str, str]]:
    source = importlib.resources.files("firnline") / "benchmarks" / "basics.jsonl"
    return [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]


ROWS = load_rows()
each_row = pytest.mark.parametrize("row", ROWS, ids=[row["task_id"] for row in ROWS])


def run_check(row: dict[str, str], body: str) -> None:
    """Run a body against the checks of a problem, put together as the harness does it."""
    program = row["prompt"] + body + "\n" + row["test"] + "\n" + f"check({row['entry_point']})"
    exec(compile(program, row["task_id"], "exec"), {"__name__": "basics"})


def parameter_names(row: dict[str, str]) -> list[str]:
    function = ast.parse(row["prompt"]).body[-1]
    assert isinstance(function, ast.FunctionDef)
    return [argument.arg for argument in function.args.args]


@contextmanager
def rejected(row: dict[str, str], body: str) -> Iterator[None]:
    """Expect that the block raises an ordinary exception."""
    try:
        yield
    except Exception:
        return
    pytest.fail(f"{row['task_id']} accepts the body {body.strip()!r}")


def test_there_are_enough_problems() -> None:
    assert len(ROWS) >= 60


def test_task_ids_count_up() -> None:
    assert [row["task_id"] for row in ROWS] == [f"basics/{n}" for n in range(len(ROWS))]


def test_entry_points_are_unique() -> None:
    assert len({row["entry_point"] for row in ROWS}) == len(ROWS)


@each_row
def test_row_has_the_expected_fields(row: dict[str, Any]) -> None:
    assert set(row) == KEYS
    assert all(isinstance(value, str) and value for value in row.values())


@each_row
def test_prompt_is_a_documented_typed_function(row: dict[str, str]) -> None:
    function = ast.parse(row["prompt"]).body[-1]
    assert isinstance(function, ast.FunctionDef)
    assert function.name == row["entry_point"]
    assert function.returns is not None
    assert all(argument.annotation is not None for argument in function.args.args)
    assert ">>> " + function.name in (ast.get_docstring(function) or "")
    assert row["prompt"].endswith('"""\n')
    assert row["canonical_solution"].startswith("    ")
    assert row["canonical_solution"].endswith("\n")


@each_row
def test_lines_are_short(row: dict[str, str]) -> None:
    lines = (row["prompt"] + row["canonical_solution"] + row["test"]).splitlines()
    assert max(map(len, lines)) <= 100


@each_row
def test_check_has_enough_asserts(row: dict[str, str]) -> None:
    (check,) = ast.parse(row["test"]).body
    assert isinstance(check, ast.FunctionDef)
    assert check.name == "check"
    asserts = [
        ast.unparse(node)
        for node in ast.walk(check)
        if isinstance(node, ast.Assert) and "candidate(" in ast.unparse(node)
    ]
    assert len(asserts) >= 8
    assert len(set(asserts)) == len(asserts)


@each_row
def test_reference_solution_passes(row: dict[str, str]) -> None:
    run_check(row, row["canonical_solution"])


@each_row
def test_examples_in_the_docstring_hold(row: dict[str, str]) -> None:
    namespace: dict[str, Any] = {"__name__": "basics"}
    exec(row["prompt"] + row["canonical_solution"], namespace)
    docstring = namespace[row["entry_point"]].__doc__
    example = doctest.DocTestParser().get_doctest(docstring, namespace, row["task_id"], None, 0)
    outcome = doctest.DocTestRunner(verbose=False).run(example)
    assert outcome.attempted >= 1
    assert outcome.failed == 0


@each_row
def test_plausible_wrong_bodies_fail(row: dict[str, str]) -> None:
    values = ["None", "0", "1", "-1", "''", "[]", "{}", "True", "False", *parameter_names(row)]
    for body in ["    pass\n", *(f"    return {value}\n" for value in values)]:
        with rejected(row, body):
            run_check(row, body)
