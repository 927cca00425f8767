"""Benchmark solutions inside files are found whatever their white space."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from firnline.benchmarks.problems import Benchmark, Problem, load
from firnline.quality.leaks import shares_solution

BODY = "    total = 0\n    for item in items:\n        total += item * item\n    return total\n"
PROMPT = "def sum_of_squares(items):\n"


def benchmark(prompt: str, solution: str) -> Benchmark:
    return Benchmark("b", (Problem("b", "b/0", prompt, solution, "", "f"),), "0")


def found(benchmark: Benchmark, *files: str) -> list[bool]:
    return shares_solution(pa.array(files, pa.large_string()), [benchmark]).tolist()


def test_a_whole_solution_is_found_and_a_part_is_not() -> None:
    assert found(
        benchmark(PROMPT, BODY),
        "import os\n\n\nclass A:\n    def f(self, items):\n" + BODY.replace("    ", "\t\t"),
        "x = 1\n" + BODY.rsplit("\n", 2)[0],
        BODY.replace("items", "things"),
        "",
        BODY,
    ) == [True, False, False, False, True]


def test_a_solution_cut_by_the_end_of_a_file_is_not_found_in_the_next() -> None:
    lines = BODY.splitlines(keepends=True)
    assert found(benchmark(PROMPT, BODY), "".join(lines[:-1]), lines[-1]) == [False, False]


def test_a_short_solution_is_looked_for_with_its_prompt() -> None:
    short = benchmark("def add(first, second):\n", "    return first + second\n")
    assert found(
        short, "    return first + second\n", "def add(first, second):\n  return first+second\n"
    ) == [False, True]
    assert found(benchmark("", "pass\n"), "pass\n") == [False]


def test_every_reference_of_a_real_benchmark_is_found() -> None:
    real = load("basics")
    programs = [problem.prompt + problem.solution + problem.suffix for problem in real.problems]
    files = [f"# a file\nimport math\n\n{program}\n\nprint('end')\n" for program in programs]
    assert shares_solution(pa.array(files, pa.large_string()), [real]).all()
    assert not shares_solution(pa.array([Path(__file__).read_text()]), [real]).any()
    assert shares_solution(pa.array(files), []).tolist() == [False] * len(files)
