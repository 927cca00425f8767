"""What a benchmark is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One task: what the model is shown, the reference answer, and how an answer is tested.

    `prompt + solution + suffix` is the whole reference program; `suffix` is empty except for
    infilling. `tests` is program text to run after a candidate, empty where the benchmark
    cannot be executed here.
    """

    benchmark: str
    task_id: str
    prompt: str
    solution: str
    tests: str
    entry_point: str
    language: str = "Python"
    suffix: str = ""

    @property
    def executable(self) -> bool:
        return bool(self.tests)

    def program(self, completion: str) -> str:
        """The program whose run to its end without an exception means that `completion` passes."""
        if not self.tests:
            raise ValueError(f"{self.task_id} has no tests that can be run")
        return f"{self.prompt}{completion}{self.suffix}\n{self.tests}\n"


@dataclass(frozen=True)
class Benchmark:
    """A named list of problems; `digest` is a 128-bit hex hash of the file's text."""

    name: str
    problems: tuple[Problem, ...]
    digest: str

    @property
    def executable(self) -> bool:
        return all(problem.executable for problem in self.problems)
