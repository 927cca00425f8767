"""Benchmark files: each format read, reference solutions that pass their own tests, bad files."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from firnline.benchmarks.differential import differential_tests
from firnline.benchmarks.problems import Problem, load
from firnline.errors import FirnlineError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "benchmarks"

Row = dict[str, Any]
HUMANEVAL: Row = {
    "task_id": "test/0",
    "prompt": "def return1():\n",
    "canonical_solution": "    return 1",
    "test": "def check(candidate):\n    assert candidate() == 1",
    "entry_point": "return1",
}
INFILLING: Row = {
    "task_id": "test/0",
    "prompt": "def return1():\n",
    "suffix": "1",
    "canonical_solution": "    return ",
    "test": "def check(candidate):\n    assert candidate() == 1",
    "entry_point": "return1",
}
EVALPLUS: Row = {
    **HUMANEVAL,
    "prompt": "def add(a, b):\n",
    "canonical_solution": "    return a + b\n",
    "entry_point": "add",
    "contract": "",
    "base_input": [[1, 2]],
    "plus_input": [[0.1, 0.2], ["a", "b"], [[1.5], [2.5]]],
    "atol": 0,
}
EVOEVAL: Row = {
    "task_id": "EvoEval/0",
    "prompt": 'def swap(pair):\n    """Swap."""   ',
    "canonical_solution": "    return pair[1], pair[0]\r\n",
    "entry_point": "swap",
    "contract": "",
    "inputs": ["(1, 2)", "('a,', \"b\")"],
    "parent": "HumanEval/0",
}
MBPP: Row = {
    "task_id": 7,
    "text": "Write a function to double.",
    "code": "def double(n):\r\n\treturn 2 * n",
    "test_setup_code": "",
    "test_list": ["assert sorted([double(2)]) == [4]", "assert double(0) == 0"],
    "challenge_test_list": [],
}
BIGCODEBENCH: Row = {
    "task_id": "BigCodeBench/0",
    "complete_prompt": "def task_func():\n",
    "instruct_prompt": "",
    "canonical_solution": "    return 1",
    "code_prompt": "def task_func():\n",
    "test": "import unittest",
    "entry_point": "task_func",
}
CRUXEVAL: Row = {"code": "def f(n):\n    return n", "input": "1", "output": "1", "id": "sample_0"}


def write(path: Path, *rows: Row) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def passes(problem: Problem, completion: str) -> bool:
    """Runs a trusted completion in this process."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(problem.program(completion), problem.task_id, "exec"), {})
    except Exception:
        return False
    return True


@pytest.mark.parametrize(
    ("row", "right", "wrong"),
    [
        (HUMANEVAL, "\treturn 1", "    return 2"),
        (INFILLING, "    return 0 + ", "    return 1"),
        (EVALPLUS, "    return a.__add__(b)", "    return b + a"),
        (EVOEVAL, "    return tuple(reversed(pair))", "    return [pair[1], pair[0]]"),
        (MBPP, "double = lambda n: n + n", "double = lambda n: n ** 3"),
    ],
)
def test_programs_accept_right_answers_and_refuse_wrong_ones(
    tmp_path: Path, row: Row, right: str, wrong: str
) -> None:
    (problem,) = load(f"mine={write(tmp_path / 'x.jsonl', row)}").problems
    assert problem.benchmark == "mine"
    assert problem.executable
    assert passes(problem, problem.solution)
    if row is not EVALPLUS:  # __add__ of int and float differ
        assert passes(problem, right)
    assert not passes(problem, wrong)


def test_columns_become_problems(tmp_path: Path) -> None:
    def only(row: Row) -> Problem:
        return load(str(write(tmp_path / "x.jsonl", row))).problems[0]

    assert only(MBPP) == Problem(
        benchmark="x",
        task_id="Mbpp/7",
        prompt=('"""\nWrite a function to double.\nassert sorted([double(2)]) == [4]\n"""\n'),
        solution="def double(n):\n\treturn 2 * n",
        tests="\nassert sorted([double(2)]) == [4]\nassert double(0) == 0",
        entry_point="double",
    )
    assert only(INFILLING).suffix == "1"
    assert (
        only(CRUXEVAL).prompt + only(CRUXEVAL).solution == f"{CRUXEVAL['code']}\n\nassert f(1) == 1"
    )
    assert only(BIGCODEBENCH).prompt == BIGCODEBENCH["complete_prompt"]
    for row in (BIGCODEBENCH, CRUXEVAL, {**EVALPLUS, "assertion": ""}):
        assert not only(row).executable
        with pytest.raises(ValueError, match="no tests"):
            only(row).program("")


def test_names_digests_and_gzip(tmp_path: Path) -> None:
    plain = write(tmp_path / "Tasks.jsonl", HUMANEVAL)
    packed = tmp_path / "Tasks.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert load(str(plain)).name == load(str(packed)).name == "Tasks"
    assert load(str(plain)).digest == load(str(packed)).digest
    assert (
        load(str(plain)).digest == hashlib.blake2b(plain.read_bytes(), digest_size=16).hexdigest()
    )
    named = load(f"other={packed}")
    assert named.name == "other"
    assert {problem.benchmark for problem in named.problems} == {"other"}


def test_outputs_are_compared_with_a_tolerance() -> None:
    def agree(reference: str, candidate: str, arguments: str, tolerance: float = 0.0) -> bool:
        tests = differential_tests(
            f"def f(*a): return {reference}", "f", [arguments], decode="json", tolerance=tolerance
        )
        try:
            exec(f"def f(*a): return {candidate}\n{tests}", {})
        except AssertionError:
            return False
        return True

    assert agree("0.3", "0.1 + 0.2", "[]")
    assert agree("[0.3, 1.0]", "[0.1 + 0.2, 1.0]", "[]")
    assert not agree("0.3", "0.3001", "[]")
    assert agree("0.3", "0.3001", "[]", tolerance=1e-3)
    assert not agree("[[0.3]]", "[[0.1 + 0.2]]", "[]")  # as EvalPlus: only flat lists of floats
    assert agree("[[0.3]]", "[[0.1 + 0.2]]", "[]", tolerance=1e-6)
    assert not agree("[0.3, 1.0]", "(0.1 + 0.2, 1.0)", "[]")
    assert not agree("[0.3]", "[0.3, 0.3]", "[]", tolerance=1e-6)
    assert agree("float('nan')", "float('nan')", "[]")
    assert agree("[float('nan'), None, 1]", "[float('nan'), None, 1]", "[]")
    assert not agree("[[1, 2]]", "[(1, 2)]", "[]")
    assert not agree("[1, 10**9]", "[1, 10**9 + 1]", "[]")
    assert agree("float('inf')", "float('inf')", "[]")
    assert agree("1", "True", "[]")
    assert not agree("'1'", "1", "[]", tolerance=1.0)
    assert agree("sorted(a[0])", "(a[0].sort(), a[0])[1]", "[[2, 1]]")  # arguments may be changed
    assert agree("a[0]", "a[0]", "[Infinity]")


BAD: list[tuple[str, Callable[[Path], object], str]] = [
    ("x.jsonl.gz", lambda path: path.write_bytes(b"not gzip"), "not a whole gzip file"),
    (
        "x.jsonl.gz",
        lambda path: path.write_bytes(gzip.compress(b"{}" * 99)[:-9]),
        "not a whole gzip",
    ),
    ("x.jsonl", lambda path: path.write_text(""), "no problems"),
    ("x.jsonl", lambda path: path.write_text('\n{"a": \n'), "x.jsonl, line 2 is not JSON"),
    ("x.jsonl", lambda path: path.write_bytes(b'{"a": "\xff"}'), "line 1 is not JSON"),
    ("x.jsonl", lambda path: path.write_text("[1]"), "line 1 is not a JSON object"),
    ("x.jsonl", lambda path: write(path, {"question": "", "answer": ""}), "keys are answer, quest"),
    ("x.jsonl", lambda path: write(path, HUMANEVAL, HUMANEVAL), "test/0 twice"),
    ("x.jsonl", lambda path: write(path, HUMANEVAL, {"task_id": "a"}), "line 2: no key"),
    ("x.jsonl", lambda path: write(path, {**CRUXEVAL, "output": 3}), "output is not a text"),
    ("x.jsonl", lambda path: write(path, {**MBPP, "code": " "}), "reference solution is empty"),
    ("x.jsonl", lambda path: write(path, {**HUMANEVAL, "prompt": 3}), "prompt is not a text"),
    ("x.jsonl", lambda path: write(path, {**HUMANEVAL, "prompt": "\ud800"}), "line 1: .*surrogate"),
    ("x.jsonl", lambda path: write(path, {**EVOEVAL, "inputs": [[1]]}), "inputs are not texts"),
    ("x.jsonl", lambda path: path.mkdir(), "no benchmark file"),
    ("x.jsonl", lambda path: None, "no benchmark file"),
]


@pytest.mark.parametrize(("name", "make", "message"), BAD)
def test_bad_files_are_one_line(
    tmp_path: Path, name: str, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(FirnlineError, match=message) as caught:
        load(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_spec_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FirnlineError, match="no name"):
        load(f"={write(tmp_path / 'x.jsonl', HUMANEVAL)}")


# Counts published with each benchmark; the five of EvoEval add up to 500.
PUBLISHED = {
    "HumanEval.jsonl.gz": 164,
    "HumanEvalPlus-v0.1.10.jsonl.gz": 164,
    "MbppPlus-v0.2.0.jsonl.gz": 378,
    "MbppPlus-v0.1.0.jsonl.gz": 399,
    "BigCodeBench.jsonl.gz": 1140,
    "cruxeval.jsonl": 800,
    "mbpp.jsonl": 974,
    "evoeval/EvoEval_combine.jsonl.gz": 100,
    "evoeval/EvoEval_creative.jsonl.gz": 100,
    "evoeval/EvoEval_difficult.jsonl.gz": 100,
    "evoeval/EvoEval_subtle.jsonl.gz": 100,
    "evoeval/EvoEval_tool_use.jsonl.gz": 100,
    "infilling/HumanEval-SingleLineInfilling.jsonl.gz": 1033,
    "infilling/HumanEval-RandomSpanInfillingLight.jsonl.gz": 164,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_read_whole(name: str) -> None:
    if not (SHARED / name).exists():
        pytest.skip(f"needs the public benchmark file {name} in {SHARED}")
    benchmark = load(str(SHARED / name))
    assert len(benchmark.problems) == PUBLISHED[name]
    for problem in benchmark.problems:
        assert problem.solution.strip()
        compile(problem.prompt + problem.solution + problem.suffix, problem.task_id, "exec")
        if problem.executable:
            compile(problem.program(problem.solution), problem.task_id, "exec")


@pytest.mark.parametrize("row", [HUMANEVAL, INFILLING, EVALPLUS, EVOEVAL, MBPP])
def test_without_tests_everything_else_is_the_same(row: Row, tmp_path: Path) -> None:
    path = tmp_path / "benchmark.jsonl"
    path.write_text(json.dumps(row) + "\n")
    whole, bare = load(str(path)), load(str(path), tests=False)
    assert whole.digest == bare.digest
    assert [replace(problem, tests="") for problem in whole.problems] == list(bare.problems)
    assert not bare.executable
