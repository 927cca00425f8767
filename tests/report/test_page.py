"""The report: self-contained, every chart with marks, no console error in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from firnline.errors import FirnlineError
from firnline.report import charts
from firnline.report.collect import Amount, RunFigures, Sample, collect
from firnline.report.page import render
from firnline.report.phases import PhaseFigures
from firnline.report.track import KEYS, Track
from firnline.training.phase import PhaseConfig
from firnline.training.schedule import Schedule

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium on this machine: apt-get install chromium, or make system"
)


def figures() -> RunFigures:
    def estimate(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 72}

    def phase(name: str, loss: float, start: float = 0.0, side: bool = False) -> PhaseFigures:
        steps = np.arange(1.0, 40)
        columns = {"step": steps, "tokens": 100 * steps, "learning_rate": steps / 1e4}
        columns["loss"] = loss - steps / 50
        columns["bits_per_byte"] = columns["loss"] / 2
        columns["heldout_loss"] = np.where(steps % 10 == 0, loss, np.nan)
        missing = {key: np.full(39, np.nan) for key in KEYS if key not in columns}
        track = Track(columns | missing, {7: "loss is <inf>"})
        table = [
            {"source": "code", "language": language, "share": share, "epochs": 2.5, "tokens": 9}
            | {"supply_documents": 7, "supply_tokens": 12_345, "supply_bytes": 45_600}
            for language, share in ((None, 1.0), ("Python", 0.6), ("C++", 0.4))
        ]
        settings = PhaseConfig(
            name=name,
            tokens=3900,
            sequence_length=10,
            batch_sequences=10,
            schedule=Schedule(kind="cosine", peak=0.01, warmup_steps=2),
        )
        return PhaseFigures(name, None, start, side, True, track, settings, table=table)

    languages = {"Python": {"documents": 8, "bytes": 800, "tokens": 300}}
    languages["C++"] = {"documents": 2, "bytes": 200, "tokens": 50}
    packed = {"documents": 10, "bytes": 1000, "tokens": 350, "languages": languages}
    area = {"value": 0.9, "low": 0.8, "high": 0.95}
    curve = [[0.0, 0.0], [0.1, 0.8], [1.0, 1.0]]
    aligned = {"roc_auc": area, "roc_curve": curve, "solutions": 72, "random_files": 500}
    return RunFigures(
        recipe={
            "name": "a <b> recipe",
            "seed": 3,
            "phases": {
                "alpha": {"data": "corpus"},
                "beta": {"data": "selected", "init": "alpha"},
                "control": {"data": "corpus", "init": "alpha"},
            },
        },
        stats={
            "ingest": {
                "files": 20,
                "documents": 12,
                "bytes": 1200,
                "repositories": 2,
                "languages": languages,
            },
            "pack-corpus": packed,
            "pack-beta": packed,
            "annotate": {
                "histogram": {"edges": [0, 0.5, 1], "counts": {"all": [3, 9]}},
                "alignment": {"basics": {"all_languages": aligned, "same_language": aligned}},
            },
        },
        funnel=[
            ("files seen", Amount(20)),
            ("code read", Amount(12, 1200)),
            ("x", Amount(9, 9, 9)),
        ],
        rules={"generated": 2, "near_duplicate": 1},
        mixes=[("code read", {"Python": 800.0, "C++": 200.0})],
        phases={
            "alpha": phase("alpha", 5.0),
            "beta": phase("beta", 4.0, 3900),
            "control": phase("control", 4.1, 3900, side=True),
        },
        results={
            "models": {
                name: {
                    "bits_per_byte": {"basics": estimate(value)},
                    "heldout_loss": {"Python": estimate(3 + value)},
                    "pass_at_1": {"basics": estimate(0.1)},
                }
                for name, value in (("alpha", 2.0), ("beta", 1.5), ("control", 1.9))
            },
            "differences": {
                "beta - alpha": {
                    "bits_per_byte": {"basics": {**estimate(-0.5), "verdict": "differs"}},
                    "heldout_loss": {"C": {**estimate(0), "verdict": "cannot tell apart"}},
                }
            },
        },
        programs=[
            {
                "model": "beta",
                "task_id": "basics/0",
                "completion": "    return a < b\n",
                "verdict": "passed",
                "passed": True,
                "output": "",
            }
        ],
        samples=[
            Sample("ab" * 16, "numpy", "a.py", "Python", 9, None, None, 0.9, "x = 1 < 2\n"),
            Sample("cd" * 16, "torch", "b.h", "C++", 9, "generated", "says </pre>", None, "int x;"),
        ],
    )


class Charts(HTMLParser):
    """Counts the marks inside each SVG."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: dict[str, int] = {}
        self.current = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "svg":
            self.current = values["aria-label"] or ""
            self.marks[self.current] = 0
        elif self.current and "mark" in (values.get("class") or "").split():
            self.marks[self.current] += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "svg":
            self.current = ""


def test_every_chart_has_marks() -> None:
    parser = Charts()
    parser.feed(render(figures()))
    assert set(parser.marks) == {
        "Language mix",
        "Scores of the corpus",
        "ROC of benchmark solutions against unseen corpus files",
        "Loss",
        "Bits per byte of the training data",
        "Learning rate",
        "Bits per byte, basics",
    }
    assert min(parser.marks.values()) >= 2


def test_the_page_needs_nothing_else_and_escapes_what_it_shows() -> None:
    page = render(figures())
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert "http" not in page
    assert "a &lt;b&gt; recipe" in page
    assert "says &lt;/pre&gt;" in page
    assert "loss is &lt;inf&gt;" in page


def test_a_half_finished_run_gives_half_a_report() -> None:
    empty = render(RunFigures(recipe={"name": "young"}))
    assert "young" in empty
    assert "<svg" not in empty


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FirnlineError, match="no finished stage"):
        collect(tmp_path)


def test_constant_and_single_values_can_be_drawn() -> None:
    flat = charts.lines(
        [charts.Series("flat", [(1.0, 0.0)])], title="flat", x_label="x", y_label="y"
    )
    assert "nan" not in flat
    assert "mark" in flat
    assert "nothing was measured" in charts.lines([], title="none", x_label="x", y_label="y")


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
        f"--user-data-dir={page.parent / 'profile'}",
        *options,
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)


@needs_browser
def test_a_real_browser_shows_it_without_a_console_error(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(figures()))
    done = browse(page, "--dump-dom")
    assert not re.search(r"CONSOLE|Uncaught", done.stderr)
    assert "2 of 2 files" in done.stdout  # the script ran


@needs_browser
def test_it_fits_a_phone(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    probe = (
        "<script>document.title = 'overflow ' + (document.documentElement.scrollWidth"
        " - document.documentElement.clientWidth);</script></body>"
    )
    page.write_text(render(figures()).replace("</body>", probe))
    done = browse(page, "--window-size=500,900", "--dump-dom")
    assert "<title>overflow 0</title>" in done.stdout
