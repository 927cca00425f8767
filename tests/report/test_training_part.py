"""The training part of the report: curves on one axis, thinned, of whole and of broken runs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firnline.report import charts, training, words
from firnline.report.collect import RunFigures
from firnline.report.page import render
from firnline.report.phases import collect_phases
from firnline.report.track import POINTS, read_track, thin
from firnline.tokens.infilling import InfillingConfig
from firnline.tokens.packing import PackingConfig
from firnline.training.batch_warmup import BatchWarmup
from firnline.training.optimizer import OptimizerConfig
from firnline.training.phase import PhaseConfig
from firnline.training.schedule import Schedule

RECIPE = {
    "phases": {
        "alpha": {"data": "corpus"},
        "beta": {"init": "alpha"},
        "final": {"init": "beta"},
        "control": {"init": "alpha"},
    }
}
RECORD = {
    "sources": {"code": {"share": 0.75}, "text": {"share": "rest"}},
    "packing": PackingConfig(method="best_fit", attention="masked").model_dump(),
    "infilling": InfillingConfig(rate=0.5, spm_share=0.25).model_dump(),
}


def config(name: str, steps: int) -> PhaseConfig:
    return PhaseConfig(
        name=name,
        tokens=100 * steps,
        sequence_length=10,
        batch_sequences=10,
        schedule=Schedule(kind="wsd", peak=0.01, warmup_steps=2, decay_share=0.5),
        optimizer=OptimizerConfig(name="muon"),
    )


def row(step: int, **more: Any) -> dict[str, Any]:
    known = {"step": step, "tokens": 100 * step, "loss": 5 - step / 100, "learning_rate": 0.01}
    return {**known, "gradient_norm": 1.0, "tokens_per_second": 50.0, **more}


def source(name: str, language: str | None, share: float) -> dict[str, Any]:
    there = {"supply_documents": 7, "supply_tokens": 12_345, "supply_bytes": 45_600}
    return {
        "source": name,
        "language": language,
        "share": share,
        "epochs": 1.25,
        "tokens": round(3000 * share),
        **there,
    }


def write_run(run: Path, phases: Mapping[str, list[dict[str, Any]]]) -> Path:
    """The files that a run leaves of its phases, each with the rows of its steps."""
    table = [source("code", None, 0.75), source("code", "Python", 0.5), source("code", "C", 0.25)]
    table += [source("text", None, 0.25), source("text", "Markdown", 0.25)]
    (run).mkdir(exist_ok=True)
    (run / "epochs.json").write_text(json.dumps(dict.fromkeys(phases, table)))
    for name, rows in phases.items():
        folder = run / f"train-{name}"
        folder.mkdir()
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        manifest = {
            "config": {"phase": config(name, max(len(rows), 4)).what()},
            "inputs": {"data": json.dumps(RECORD)},
        }
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return run


def shown(run: Path) -> str:
    """The training part of the page."""
    phases = collect_phases(run, RECIPE)
    return training.section(list(phases.values()))


def curve(page: str, chart: str, name: str) -> list[tuple[float, float]]:
    """Pixels of a named curve."""
    svg = page[page.index(f'aria-label="{chart}"') :]
    path = next(
        path
        for path, title in re.findall(
            r'class="mark[^"]*" d="([^"]*)"[^>]*><title>(.*?)</title', svg
        )
        if title == name
    )
    return [
        (float(x), float(y)) for x, y in re.findall(r"([-\d.]+),([-\d.]+)", path.replace("h0", ""))
    ]


def test_phases_follow_one_another_and_the_control_branches_off(tmp_path: Path) -> None:
    steps = {"alpha": 30, "beta": 10, "final": 5, "control": 15}
    run = write_run(
        tmp_path, {name: [row(n + 1) for n in range(count)] for name, count in steps.items()}
    )
    phases = collect_phases(run, RECIPE)
    assert {name: one.start for name, one in phases.items()} == {
        "alpha": 0,
        "beta": 3000,
        "final": 4000,
        "control": 3000,
    }
    assert [name for name, one in phases.items() if one.side] == ["control"]
    page = shown(run)
    places = {name: [x for x, _ in curve(page, "Loss", name)] for name in steps}
    assert places["alpha"][-1] < places["beta"][0] == places["control"][0]
    assert places["control"][-1] == places["final"][-1]  # 3000 + 1500 = 4000 + 500
    assert page.count("stroke-dasharray") == 2  # the control, in each of the two charts
    assert "Each step reads 100 tokens." in page


def test_settings_and_mixture_are_told_in_words(tmp_path: Path) -> None:
    page = shown(write_run(tmp_path, {"alpha": [row(n) for n in range(1, 21)]}))
    text = re.sub(r"<[^>]+>", "|", page)
    for words_of in (
        "new weights, seed 0",
        "2,000 in 20 steps",
        "code 75%, text the rest",
        "10 sequences of 10 tokens",
        "linear from 0 to 0.01 at step 2, constant 0.01 to step 10, linear to 0 at step 20",
        "Muon inside the blocks, momentum 0.95; for the rest AdamW, betas 0.9 and 0.95;",
        "best fit, no document cut that fits; attention inside each document",
        "50% of documents before packing, 25% of them SPM, cut by character",
        "4.990 to 4.805",
        "|code|Python 66.7%, C 33.3%|75.0%|1.25|12.3k|45.6 kB|7|",
        "|text|Markdown|25.0%|1.25|",
        "|code|C|25.0%|1.25|",
    ):
        assert words_of in re.sub(r"\|+", "|", text)


def test_what_a_phase_measures_is_shown_where_it_is_there(tmp_path: Path) -> None:
    plain = shown(write_run(tmp_path / "plain", {"alpha": [row(1), row(2)]}))
    for absent in ("bits per byte", "MFU", "peak memory", "held-out", "Batch size", "skipped"):
        assert absent not in plain
    more = {
        "bits_per_byte": 2.5,
        "mfu_full_attention": 0.512,
        "mfu_causal_attention": 0.487,
        "peak_memory_bytes": 3_000_000_000,
    }
    rows = [row(n, **more) for n in range(1, 9)]
    rows[3] |= {"heldout_loss": 4.25, "heldout_bits_per_byte": 2.125}
    page = shown(write_run(tmp_path / "more", {"alpha": rows}))
    for text in ("51.2%", "48.7%", "3.0 GB", "4.250", "2.125"):
        assert f">{text}<" in page
    assert page.count('type="radio"') == 2
    assert len(curve(page, "Loss", "alpha, held out")) == 1
    assert len(curve(page, "Bits per byte of the training data", "alpha, held out")) == 1


def test_a_batch_warm_up_has_a_chart_without_the_cut_last_step(tmp_path: Path) -> None:
    tokens = [10, 30, 70, 150, 230, 235]
    rows = [row(n, tokens=total) for n, total in enumerate(tokens, 1)]
    page = shown(write_run(tmp_path, {"alpha": rows}))
    assert len(curve(page, "Batch size", "alpha")) == 5


def test_skipped_steps_are_marked_and_do_not_stretch_the_axis(tmp_path: Path) -> None:
    rows = [row(n) for n in range(1, 31)]
    rows[9] |= {"loss": 1e9, "skipped": "loss is 1e+09"}
    rows[19] |= {"loss": None, "gradient_norm": None, "skipped": "loss is nan"}
    run = write_run(tmp_path, {"alpha": rows})
    page = shown(run)
    assert page.count('class="mark event"') == 2
    assert "alpha, step 10: loss is 1e+09" in page
    heights = [y for _, y in curve(page, "Loss", "alpha")]
    assert len(heights) == 28
    assert max(heights) - min(heights) > 50
    assert "Steps skipped or stopped: 2<" in page


def test_a_phase_that_was_stopped_is_half_a_phase(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"alpha": [row(n) for n in range(1, 31)]})
    folder = run / ".train-alpha.partial"
    (run / "train-alpha").rename(folder)
    (folder / "manifest.json").rename(folder / "intended.json")
    (run / "epochs.json").unlink()
    lines = (folder / "metrics.jsonl").read_text().splitlines()[:12]
    cut = json.dumps(row(13))[:25]
    (folder / "metrics.jsonl").write_text("\n".join([*lines[:5], "\0\0", *lines[5:], cut]))
    stop = {"step": 13, "action": "stop", "reason": "loss is nan"}
    (folder / "spikes.jsonl").write_text(json.dumps(stop) + '\n{"step": 1')
    page = shown(run)
    assert len(curve(page, "Loss", "alpha")) == 12
    assert "not finished, 12 steps made; loss is nan" in page
    assert "stopped, loss is nan" in page
    assert "Mixtures" not in page


def test_a_phase_of_nothing_but_nan_still_gives_a_page(tmp_path: Path) -> None:
    rows = [row(n, loss=None, gradient_norm=None) for n in range(1, 10)]
    page = shown(write_run(tmp_path, {"alpha": rows}))
    assert "No step has a finite loss" in page
    assert "the loss is not finite" in page
    assert "nan" not in re.sub(r"<title>.*?</title>", "", page)


def test_older_and_broken_folders_give_what_they_have(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"alpha": [row(1), row(2)], "beta": [row(1)], "control": []})
    old = {"schedule": {"kind": "cosine", "peak": 1e-3}, "beta1": 0.8, "tokens": 200}
    old |= {"name": "alpha", "sequence_length": 10, "batch_sequences": 10}
    inputs = {"tokens": "b31df8878143f6f0"}
    (run / "train-alpha" / "manifest.json").write_text(
        json.dumps({"config": old, "inputs": inputs})
    )
    (run / "train-beta" / "manifest.json").write_text("{")
    (run / "epochs.json").write_text(json.dumps({"alpha": [{"source": "corpus"}]}))
    page = shown(run)
    assert "cosine to 0 at step 2" in page
    assert "AdamW" not in page  # the old manifest does not say it where it is looked for
    assert "Mixtures" not in page
    assert list(collect_phases(run, RECIPE)) == ["alpha", "beta"]
    assert list(collect_phases(run, {})) == ["alpha", "beta"]  # no recipe.yaml
    assert collect_phases(tmp_path / "nothing", RECIPE) == {}


def test_a_long_run_stays_a_small_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=100_000)
    more = {"bits_per_byte": 2.5, "peak_memory_bytes": 1_000_000_000}
    rows = [
        row(n, loss=3 + 4 * n**-0.3 + 0.1 * noise[n - 1], **more) | _held_out(n)
        for n in range(1, 100_001)
    ]
    run = write_run(tmp_path, {"alpha": rows})
    phases = collect_phases(run, RECIPE)
    page = render(RunFigures(recipe=RECIPE, phases=phases))
    assert len(page) < 120_000
    assert len(curve(page, "Loss", "alpha")) == POINTS
    dots = [x for x, _ in curve(page, "Loss", "alpha, held out")]
    assert len(dots) > 20
    assert min(np.diff(dots)) >= 8.9  # none touches another
    assert dots[-1] == max(dots)
    assert "500 to the width of the chart" in page


def test_a_short_phase_beside_a_long_one_gets_buckets_by_its_width(tmp_path: Path) -> None:
    steps = {"alpha": 4000, "beta": 1000, "final": 400, "control": 501}
    run = write_run(tmp_path, {k: [row(n + 1) for n in range(v)] for k, v in steps.items()})
    page = shown(run)
    drawn = {name: len(curve(page, "Loss", name)) for name in steps}
    assert drawn == {"alpha": 370, "beta": 93, "final": 400, "control": 46}  # of 540,000 tokens


def _held_out(step: int) -> dict[str, float]:
    return {"heldout_loss": 4.0} if step % 100 == 0 else {}


values = st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=3 * POINTS)


@given(values)
def test_thinning_keeps_the_mean_and_the_extremes(given_values: list[float]) -> None:
    y = np.array(given_values)
    x = np.arange(len(y), dtype=np.float64)
    points, band = thin(x, y, 7.0)
    finite = y[np.isfinite(y)]
    if len(finite) <= POINTS:
        assert [value for _, value in points] == finite.tolist()
        assert band == []
        return
    assert len(points) == len(band) == POINTS
    assert min(low for _, low, _ in band) == finite.min()
    assert max(high for _, _, high in band) == finite.max()
    for (place, mean), (same, low, high) in zip(points, band, strict=True):
        assert place == same
        assert low - 1e-6 <= mean <= high + 1e-6
    assert [place for place, _ in points] == sorted(place for place, _ in points)
    # Buckets of equal size: the mean of their means is the mean.
    if len(finite) % POINTS == 0:
        assert np.mean([mean for _, mean in points]) == pytest.approx(finite.mean(), abs=1e-6)


def test_rows_come_in_order_whatever_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = ['{"step": 2, "tokens": 9}', "[1]", "null", '{"step": "x"}', '{"step": 1, "tokens": 5}']
    path.write_bytes(
        "\n".join([*rows, '{"step": 3, "tokens": 12, "loss": true}']).encode() + b"\xff"
    )
    track = read_track(path)
    assert track.columns["step"].tolist() == [2]
    assert len(read_track(tmp_path / "none")) == 0


def test_words_of_settings_that_are_seldom_set() -> None:
    phase = config("alpha", 50).model_copy(
        update={
            "batch_warmup": BatchWarmup(kind="stairs", first_sequences=2, tokens=1000),
            "optimizer_state": "keep",
        }
    )
    said = words.settings(phase, {}, "zero")
    assert said["starts from"] == "zero, and its optimizer's state"
    assert said["batch"] == "from 2 to 10 sequences of 10 tokens over 1,000 tokens, on stairs of 1"
    assert said["data"] == said["packing"] == said["infilling"] == said["weights at the end"] == ""
    assert words.data({"selected": {"share": 1.0, "repeat": 4.0}}) == "selected, repeated 4 times"
    assert words.infilling(None) == "none"
    syntax = InfillingConfig(rate=0.9, spm_share=0, cut="syntax", level="context").model_dump()
    assert words.infilling(syntax) == (
        "90% of parts after packing, all PSM, cut by node of the syntax tree"
    )


def test_names_of_boundaries_keep_apart() -> None:
    """500B, 50B and 5B tokens: the last two begin almost at the same place."""
    line = charts.Series("alpha", [(0, 1.0), (555e9, 2.0)])
    names = [(0, "alpha"), (500e9, "continued"), (550e9, "enhanced")]
    page = charts.lines([line], title="t", x_label="x", y_label="y", boundaries=names)
    places = re.findall(r'class="note" x="([\d.]+)" y="([\d.]+)">(\w+)<', page)
    spans = [(float(x), float(x) + 7 * len(name), y) for x, y, name in places]
    for n, (start, end, y) in enumerate(spans):
        assert start >= 0 and end <= 640
        for other_start, other_end, other_y in spans[:n]:
            assert y != other_y or start > other_end or end < other_start


def test_ticks_say_what_they_are() -> None:
    page = charts.lines(
        [charts.Series("rate", [(0, 0.0), (1, 5e-4)])], title="t", x_label="x", y_label="y"
    )
    assert "1e-4" in page
    small = charts.lines(
        [charts.Series("rate", [(0, 0.0), (1, 1.2e-3)])], title="t", x_label="x", y_label="y"
    )
    assert "2.5e-4" in small
