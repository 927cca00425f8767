"""Benchmarks as problems: prompts, reference solutions, and programs that test a completion.

`load` reads the packaged suite `basics` or any benchmark file whose format `formats.py` knows.
Decontamination and alignment need the prompts and solutions of all of them; pass@1 needs the
executable ones.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from firnline.benchmarks.formats import reader
from firnline.benchmarks.problem import Benchmark, Problem
from firnline.errors import FirnlineError
from firnline.uncollected import uncollected

__all__ = ["PACKAGED", "Benchmark", "Problem", "load", "locate"]

# Columns of calls that tests are made from.
_INPUTS = {"base_input", "plus_input", "inputs"}

PACKAGED = {"basics": Path(__file__).with_name("basics.jsonl")}


def load(spec: str, *, tests: bool = True) -> Benchmark:
    """Reads a benchmark: `basics`, `name=PATH`, or a PATH (the name is then the file's).

    PATH is JSON Lines, gzipped if it ends in `.gz`. Without `tests` its problems have none: who
    looks for their text alone need not wait for programs of thousands of inputs. Raises
    FirnlineError where the file is missing, is not what its name says, or has a line or columns
    that cannot be read.
    """
    name, path = locate(spec)
    try:
        status = path.stat()
    except OSError as error:
        raise FirnlineError(f"cannot read {path}: {error.strerror}", mend="check it") from error
    return _load(name, path, status.st_mtime_ns, status.st_size, tests)


@lru_cache(maxsize=32)
def _load(name: str, path: Path, changed: int, size: int, tests: bool) -> Benchmark:
    """Reads a file once for each state it is in: a stage asks several times."""
    data = _read(path)
    with uncollected():
        rows = _rows(data, path)
    read = reader(rows[0][1], path)
    problems = []
    for number, row in rows:
        try:
            if tests:
                problem = read(name, row)
            else:
                without: dict[str, Any] = {key: [] for key in _INPUTS if key in row}
                problem = replace(read(name, {**row, **without}), tests="")
            if not problem.solution.strip():
                raise ValueError("the reference solution is empty")
            problems.append(problem)
        except KeyError as error:
            raise FirnlineError(
                f"{path}, line {number}: no key {error.args[0]!r}", mend="restore the row"
            ) from None
        except (TypeError, ValueError) as error:
            raise FirnlineError(f"{path}, line {number}: {error}", mend="restore the row") from None
    _refuse_repeats(problems, path)
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    return Benchmark(name, tuple(problems), digest)


def locate(spec: str) -> tuple[str, Path]:
    """The name and the file that a benchmark's spec stands for."""
    if spec in PACKAGED:
        return spec, PACKAGED[spec]
    name, equals, text = spec.partition("=")
    path = Path(text if equals else spec).expanduser()
    if not equals:
        name = path.name.removesuffix(".gz").removesuffix(".jsonl")
    if not name:
        raise FirnlineError(f"benchmark {spec!r} has no name", mend="write name=PATH")
    if not path.is_file():
        known = ", ".join(PACKAGED)
        raise FirnlineError(f"no benchmark file {path}", mend=f"give {known}, a path, or name=PATH")
    return name, path


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FirnlineError(f"{path} is not a whole gzip file: {error}", mend="get it again") from (
            error
        )
    except OSError as error:
        raise FirnlineError(f"cannot read {path}: {error.strerror}", mend="check it") from error


def _rows(data: bytes, path: Path) -> list[tuple[int, dict[str, Any]]]:
    """(line number, row) for each line that is not empty."""
    rows = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:  # includes bytes that are not UTF-8
            raise FirnlineError(
                f"{path}, line {number} is not JSON: {error}", mend="benchmarks are JSON Lines"
            ) from None
        if not isinstance(row, dict):
            raise FirnlineError(
                f"{path}, line {number} is not a JSON object", mend="benchmarks are JSON Lines"
            )
        rows.append((number, row))
    if not rows:
        raise FirnlineError(f"{path} holds no problems", mend="give a benchmark file")
    return rows


def _refuse_repeats(problems: Sequence[Problem], path: Path) -> None:
    seen: set[str] = set()
    for problem in problems:
        if problem.task_id in seen:
            raise FirnlineError(
                f"{path} holds {problem.task_id} twice", mend="each task has an id of its own"
            )
        seen.add(problem.task_id)
