"""Cases that broke a parser or kernel once, and a short fixed run of new ones."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
CASES = sorted(path for path in (ROOT / "tests" / "fuzz_cases").rglob("*") if path.is_file())


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "benchmarks" / "fuzz.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


fuzz = _load()


@pytest.mark.parametrize("case", CASES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_case_that_broke_something(case: Path) -> None:
    fuzz.TARGETS[case.parent.name](case.read_bytes())


@pytest.mark.parametrize("target", sorted(fuzz.TARGETS))
def test_random_edits(target: str) -> None:
    rng = random.Random(target)
    for _ in range(15):
        fuzz.TARGETS[target](fuzz.mutate(rng, target))
