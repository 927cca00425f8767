"""What the command line prints of results."""

from __future__ import annotations

from typing import Any

import pytest

from firnline import show


def entry(value: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "n": 92, **more}


def test_differences_are_lines_with_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    models = {name: {"bits_per_byte": {"basics": entry(2.5, 2.4, 2.6)}} for name in ("a", "b")}
    difference = entry(-0.2169, -0.266, -0.169, verdict="lower")
    measures = {
        "bits_per_byte": {"basics": difference},
        "heldout_bits_per_byte": {"C": difference},
        "pass_at_1": {"basics": entry(0.0, 0.0, 0.0, verdict="cannot tell apart")},
    }
    show.print_results({"models": models, "differences": {"a - b": measures}})
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("a - b")]
    assert lines == [
        "a - b: bits per byte, basics -0.217 [-0.266, -0.169], lower",
        "a - b: pass@1, basics +0.000 [+0.000, +0.000], cannot tell apart",
    ]


def test_results_without_comparisons_have_no_such_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show.print_results({"models": {"a": {"bits_per_byte": {"basics": entry(2.5, 2.4, 2.6)}}}})
    assert " - " not in capsys.readouterr().out


def test_a_document_is_printed_as_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"lines": 1200.0, "letter_share": 0.5865, "jaccard": None, "size": 47951}
    stage = {"stage": "curate", "kept": False, "rule": "contaminated", "detail": "x[/i] = [a]"}
    document = {
        "id": "0" * 32,
        "repo": "site",
        "path": "pages/[/id].tsx",
        "stages": [{**stage, **values}],
        "tokens": [],
        "phases": [],
    }
    show.print_document(document)
    title, _, verdict, figures = capsys.readouterr().out.splitlines()
    assert title.startswith("site  pages/[/id].tsx ")
    assert verdict.split(maxsplit=1) == ["curate", "dropped by contaminated: x[/i] = [a]"]
    assert figures.strip() == "lines 1,200, letter_share 0.5865, size 47,951"
