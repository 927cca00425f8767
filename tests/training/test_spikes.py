"""Spikes planted in a loss curve, and decisions that a resumed phase makes again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from firnline.training.metrics import (
    MetricsFile,
    json_line,
    read_metrics,
    rows_of,
    truncate,
    whole_lines,
)
from firnline.training.spikes import SpikeConfig, SpikePolicy, Verdict, ledger_row

SKIP = SpikeConfig(not_finite="skip", spike="skip", window=16, most_skips=3)


def curve(steps: int, seed: int = 0) -> tuple[list[float], list[float]]:
    """Loss and gradient norm of a run as they look: falling, with noise that has a tail."""
    random = np.random.default_rng(seed)
    loss = 2 + 6 * np.exp(-np.arange(steps) / 60) + random.normal(0, 0.05, steps)
    norm = 1 + random.lognormal(-2, 0.5, steps)
    return loss.tolist(), norm.tolist()


def decide(config: SpikeConfig, losses: list[float], norms: list[float]) -> list[Verdict]:
    """What a phase decides at each step; ends where it stops."""
    policy, verdicts = SpikePolicy(config), []
    for loss, norm in zip(losses, norms, strict=True):
        verdict = policy.judge(loss, norm)
        verdicts.append(verdict)
        if verdict.action == "stop":
            break
        row: dict[str, Any] = {"loss": loss, "gradient_norm": norm}
        policy.add(row | {"skipped": verdict.reason} if verdict.action == "skip" else row)
    return verdicts


def test_a_calm_curve_is_left_alone_and_planted_spikes_are_found() -> None:
    losses, norms = curve(400)
    config = SKIP.model_copy(update={"most_skips": 400})
    calm = decide(config, losses, norms)
    assert {verdict.action for verdict in calm} == {"go on"}
    losses[200] += 5
    norms[300] = 40.0
    losses[350] = math.nan
    norms[351] = math.inf
    verdicts = decide(config, losses, norms)
    found = {step: v.reason for step, v in enumerate(verdicts) if v.action == "skip"}
    assert list(found) == [200, 300, 350, 351]
    assert found[200].startswith("loss is 7.") and "above" in found[200]
    assert found[300].startswith("gradient norm is 40, above")
    assert (found[350], found[351]) == ("loss is nan", "gradient norm is inf")


def test_the_limit_is_the_median_and_deviations_of_the_last_good_steps() -> None:
    losses, norms = curve(60, seed=3)
    rows = [{"loss": a, "gradient_norm": b} for a, b in zip(losses, norms, strict=True)]
    rows[50]["skipped"] = "planted"
    policy = SpikePolicy(SKIP, rows)
    good = [*losses[:50], *losses[51:]][-16:]
    median = np.median(good)
    limit = median + 8 * max(1.4826 * np.median(np.abs(good - median)), 0.01 * median)
    calm = float(np.median(norms))
    assert policy.judge(limit * 0.9999, calm).action == "go on"
    assert policy.judge(limit * 1.0001, calm).action == "skip"
    assert policy.skips == 1


def test_values_that_hardly_differ_do_not_condemn_the_next() -> None:
    verdicts = decide(SKIP, [2.0] * 40 + [2.1], [1.0] * 41)
    assert verdicts[-1].action == "go on"
    assert decide(SKIP, [2.0] * 40 + [2.2], [1.0] * 41)[-1].action == "skip"


def test_skips_are_bounded() -> None:
    """Where the loss has risen for good, no number of skips brings it back."""
    losses, norms = curve(100)
    verdicts = decide(SKIP, [*losses, *[9.0] * 10], [*norms, *[1.0] * 10])
    assert [v.action for v in verdicts[100:]] == ["skip"] * 3 + ["stop"]
    assert verdicts[-1].reason.endswith("3 steps were skipped before")


def test_what_is_not_asked_for_is_not_done() -> None:
    """By default only what is not finite stops a phase, as it always has."""
    losses, norms = curve(300)
    losses[250] = 100.0
    assert {v.action for v in decide(SpikeConfig(), losses, norms)} == {"go on"}
    losses[250] = math.inf
    assert decide(SpikeConfig(), losses, norms)[-1] == Verdict("stop", "loss is inf")
    stop = SpikeConfig(spike="stop", window=16)
    losses[250] = 100.0
    assert decide(stop, losses, norms)[-1].action == "stop"
    assert len(decide(stop, losses, norms)) == 251
    early, norms = [50.0, 3.0, 80.0, *[1.0] * 5], [1.0] * 8
    assert {v.action for v in decide(SKIP, early, norms)} == {"go on"}  # the window is not full


@settings(max_examples=40)
@given(
    spikes=st.sets(st.integers(0, 119), max_size=6),
    cut=st.integers(0, 119),
    seed=st.integers(0, 50),
)
def test_a_resumed_phase_decides_the_same(spikes: set[int], cut: int, seed: int) -> None:
    """Rebuilt from the rows that a file holds, from any step on."""
    losses, norms = curve(120, seed)
    for step in spikes:
        losses[step] *= 3 if step % 2 else math.nan
    config = SKIP.model_copy(update={"most_skips": 100})
    whole = decide(config, losses, norms)
    lines = []
    for loss, norm, verdict in zip(losses, norms, whole, strict=True):
        row: dict[str, Any] = {"loss": loss, "gradient_norm": norm}
        if verdict.action == "skip":
            row["skipped"] = verdict.reason
        lines.append(json_line(row))
    policy = SpikePolicy(config, [json.loads(line) for line in lines[:cut]])
    for step in range(cut, 120):
        assert policy.judge(losses[step], norms[step]) == whole[step]
        policy.add(json.loads(lines[step]))


def test_the_ledger_tells_what_was_in_the_step() -> None:
    verdict = Verdict("skip", "loss is nan")
    row = ledger_row(
        phase="alpha",
        step=8,
        first_sample=56,
        samples=8,
        verdict=verdict,
        loss=math.nan,
        gradient_norm=1.0,
        learning_rate=1e-3,
    )
    assert json.loads(json_line(row)) == {
        "phase": "alpha",
        "step": 8,
        "action": "skip",
        "reason": "loss is nan",
        "loss": None,
        "gradient_norm": 1.0,
        "learning_rate": 1e-3,
        "first_sample": 56,
        "samples": 8,
    }


@pytest.mark.parametrize(
    "bad", [{"spike": "retry"}, {"deviations": 0}, {"window": 2}, {"most_skips": -1}, {"k": 3}]
)
def test_a_meaningless_config_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SpikeConfig.model_validate(bad)


def test_metrics_are_valid_json_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert (whole_lines(path), list(rows_of(path))) == (0, [])
    truncate(path, 3)
    file = MetricsFile(path)
    rows = [{"step": n, "loss": 1 / 3 + n, "skipped": "why"} for n in range(4)]
    rows.append({"step": 4, "loss": math.nan, "gradient_norm": math.inf})
    for row in rows:
        file.write(row)
    file.sync()
    file.close()
    text = path.read_text()
    assert "NaN" not in text and "Infinity" not in text
    found = read_metrics(path)
    assert found[:4] == rows[:4]
    assert math.isnan(found[4]["loss"]) and math.isnan(found[4]["gradient_norm"])
    with path.open("a") as half:
        half.write('{"step": 5, "lo')
    assert whole_lines(path) == 5
    truncate(path, 3)
    assert read_metrics(path) == rows[:3]
    truncate(path, 9)
    assert whole_lines(path) == 3
