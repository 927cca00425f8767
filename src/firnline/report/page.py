"""The report: one self-contained HTML file of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from firnline import __version__
from firnline.documents import atomic_path
from firnline.report import charts, training
from firnline.report.collect import Amount, RunFigures, Sample, collect
from firnline.report.numbers import short, size

_MEASURES = (
    ("bits_per_byte", "Bits per byte of reference solutions: {}", False),
    ("heldout_loss", "Held-out loss: {}", False),
    ("objective_loss", "Held-out loss: {}", False),
    ("recall_at_1", "Recall@1: {}", True),
    ("pass_at_1", "pass@1: {}", True),
)


def write(run: Path) -> Path:
    """Writes `run/report.html` from whatever stages are finished, and returns its path.

    The file needs no network and no other file. Raises FirnlineError where the run folder holds
    no finished stage.
    """
    figures = collect(run)
    path = run / "report.html"
    with atomic_path(path) as temporary:
        temporary.write_text(render(figures), encoding="utf-8")
    return path


def render(figures: RunFigures) -> str:
    """The page as HTML text."""
    name = str(figures.recipe.get("name", "run"))
    style = _packaged("page.css")
    script = _packaged("page.js")
    parts = [
        _header(name, figures),
        _results(figures),
        _funnel(figures),
        _languages(figures),
        _quality(figures),
        training.section(list(figures.phases.values())),
        _browser(figures.samples),
        f"<footer>Made by Firnline {escape(__version__)}, seed"
        f" {escape(str(figures.recipe.get('seed', 0)))}. The ledgers beside this file hold every"
        " decision; <code>firnline why</code> reads them.</footer>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Firnline: {escape(name)}</title>"
        '<link rel="icon" href="data:,">'
        f"<style>{style}</style></head><body><main>{''.join(parts)}</main>"
        f"<script>{script}</script></body></html>\n"
    )


def _packaged(name: str) -> str:
    return (resources.files("firnline") / "report" / name).read_text(encoding="utf-8")


def _header(name: str, figures: RunFigures) -> str:
    cards = []
    ingest = figures.stats.get("ingest")
    if ingest:
        cards.append((size(ingest["bytes"]), "of code read"))
        cards.append((f"{ingest['repositories']:,}", "repositories"))
    if ingest and "pack-corpus" in figures.stats:
        packed = figures.stats["pack-corpus"]
        cards.append((f"{packed['documents'] / max(ingest['documents'], 1):.0%}", "of files kept"))
        cards.append((short(packed["tokens"]), "tokens to train on"))
    trained = sum(float(one.track.columns["tokens"][-1]) for one in figures.phases.values())
    if trained:
        cards.append((short(trained), "tokens trained, all phases"))
    boxes = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(label)}</span></div>'
        for value, label in cards
    )
    return f'<header><h1>{escape(name)}</h1></header><div class="cards">{boxes}</div>'


def _results(figures: RunFigures) -> str:
    models: Mapping[str, Any] = figures.results.get("models", {})
    if not models:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in models)
    rows, plots = [], []
    for measure, label, higher in _MEASURES:
        keys = dict.fromkeys(key for row in models.values() for key in row.get(measure, {}))
        for key in keys:
            entries = {name: row.get(measure, {}).get(key) for name, row in models.items()}
            named = key.replace("_", " ") if measure == "objective_loss" else key
            rows.append(_result_row(label.format(named), entries, higher))
            if measure == "bits_per_byte":
                plots.append(_dot_plot(f"Bits per byte, {key}", entries, "bits per byte"))
    skipped = figures.results.get("pass_at_1_skipped")
    note = f'<p class="note-text">pass@1 was not measured: {escape(skipped)}</p>' if skipped else ""
    return (
        f'<h2>Results</h2><p class="lead">With 95% intervals. {_which_is_better(models)} Two values'
        " whose difference has zero in its interval cannot be told apart.</p>"
        f'<div class="scroll"><table><thead><tr><th>measure</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{note}{''.join(plots)}"
        f"{_differences(figures.results.get('differences', {}))}{_programs(figures.programs)}"
    )


def _which_is_better(models: Mapping[str, Any]) -> str:
    if any("objective_loss" in row for row in models.values()):
        return (
            "Loss is in nats for each target of an objective, on held-out samples; lower is better."
            " Recall@1 is the share of pairs found among those of their group; higher is better."
        )
    return "Lower is better for bits per byte and held-out loss, higher for pass@1."


def _result_row(label: str, entries: Mapping[str, Any], higher: bool) -> str:
    values = [entry["value"] for entry in entries.values() if entry]
    best = (max if higher else min)(values) if len(set(values)) > 1 else None
    cells = []
    for entry in entries.values():
        if not entry:
            cells.append("<td>-</td>")
            continue
        shown = f"{entry['value']:.3f}"
        shown = f"<b>{shown}</b>" if entry["value"] == best else shown
        # One document gives no interval.
        interval = f"{entry['low']:.3f} to {entry['high']:.3f}, " if entry["n"] > 1 else ""
        cells.append(f"<td>{shown}<small>{interval}n {entry['n']:,}</small></td>")
    return f"<tr><td>{escape(label)}</td>{''.join(cells)}</tr>"


def _dot_plot(title: str, entries: Mapping[str, Any], x_label: str) -> str:
    rows = [
        charts.Interval(name, entry["value"], entry["low"], entry["high"], 1 + number % 8)
        for number, (name, entry) in enumerate(entries.items())
        if entry
    ]
    return f"<h3>{escape(title)}</h3>" + charts.dots(rows, title=title, x_label=x_label)


def _differences(differences: Mapping[str, Any]) -> str:
    """Benchmarks' differences in the open, those of each held-out language folded."""
    shown: list[str] = []
    folded: list[str] = []
    for pair, measures in differences.items():
        for measure, by_key in measures.items():
            for key, entry in by_key.items():
                named = key.replace("_", " ") if measure == "objective_loss" else key
                row = (
                    f"<tr><td>{escape(pair)}</td><td>{escape(measure.replace('_', ' '))}, "
                    f"{escape(named)}</td><td>{entry['value']:+.3f}<small>{entry['low']:+.3f} to "
                    f"{entry['high']:+.3f}</small></td><td>{escape(entry['verdict'])}</td></tr>"
                )
                (folded if measure.startswith("heldout") else shown).append(row)
    if not shown and not folded:
        return ""
    more = f'<details class="more"><summary>Held-out languages</summary>{_pairs(folded)}</details>'
    return f"<h3>Differences, paired</h3>{_pairs(shown)}{more if folded else ''}"


def _pairs(rows: Sequence[str]) -> str:
    return (
        '<div class="scroll"><table><thead><tr><th>pair</th><th>measure</th><th>difference</th>'
        f"<th>verdict</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _programs(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    files = "".join(
        f'<details class="program"><summary>'
        f'<span class="tag {"kept" if row["passed"] else "dropped"}">'
        f"{escape(row['verdict'])}</span><code>{escape(row['task_id'])}</code></summary>"
        f"<pre>{escape(row['completion'])}</pre>"
        f'<p class="detail">{escape(row["output"].strip().rpartition(chr(10))[2])}</p></details>'
        for row in rows
    )
    return (
        f'<h3>What {escape(rows[0]["model"])} writes</h3><p class="note-text">Greedy completions'
        f" of the first tasks, those that passed first.</p>{files}"
    )


def _funnel(figures: RunFigures) -> str:
    if not figures.funnel:
        return ""
    top_files = max(amount.files for _, amount in figures.funnel)
    top_bytes = max((amount.size or 0 for _, amount in figures.funnel), default=0)
    top_tokens = max((amount.tokens or 0 for _, amount in figures.funnel), default=0)
    rows = []
    for label, amount in figures.funnel:
        cells = [
            _bar(f"{amount.files:,}", amount.files, top_files),
            _bar(size(amount.size) if amount.size is not None else "", amount.size, top_bytes),
            _bar(_tokens(amount), amount.tokens, top_tokens),
        ]
        rows.append(f"<tr><td>{escape(label)}</td>{''.join(cells)}</tr>")
    drops = "".join(
        f"<tr><td>{escape(rule.replace('_', ' '))}</td>"
        f"{_bar(f'{count:,}', count, max(figures.rules.values()))}</tr>"
        for rule, count in figures.rules.items()
    )
    return (
        '<h2>From raw code to each phase</h2><p class="lead">What is left after each step.'
        " Tokens are counted where documents are encoded; before that they are estimated from the"
        " bytes.</p>"
        '<div class="scroll"><table class="funnel"><thead><tr><th>step</th><th>files</th>'
        f"<th>bytes</th><th>tokens</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        "<h3>What dropped the rest</h3>"
        '<div class="scroll"><table><thead><tr><th>rule</th><th>files</th></tr></thead>'
        f"<tbody>{drops}</tbody></table></div>"
    )


def _tokens(amount: Amount) -> str:
    if amount.tokens is None:
        return ""
    return f"about {short(amount.tokens)}" if amount.estimated else short(amount.tokens)


def _bar(text: str, value: float | None, top: float) -> str:
    if value is None:
        return "<td></td>"
    return f'<td class="bar" style="--w:{100 * value / top if top else 0:.1f}%">{text}</td>'


def _languages(figures: RunFigures) -> str:
    if not figures.mixes:
        return ""
    totals: dict[str, float] = {}
    for _, mix in figures.mixes:
        whole = sum(mix.values()) or 1.0
        for language, amount in mix.items():
            totals[language] = max(totals.get(language, 0.0), amount / whole)
    keys = sorted(totals, key=lambda language: (-totals[language], language))[:8]
    return (
        '<h2>Language mix</h2><p class="lead">Share of bytes as read, of tokens afterwards.</p>'
        + charts.shares(figures.mixes, title="Language mix", keys=keys)
    )


def _quality(figures: RunFigures) -> str:
    stats = figures.stats.get("annotate")
    if not stats:
        return ""
    histogram = stats["histogram"]
    counts = histogram["counts"]["all"]
    curves: list[charts.Series] = []
    rows = []
    for name, by_negatives in stats.get("alignment", {}).items():
        for kind, entry in by_negatives.items():
            if entry is None:  # no unseen file of the language was left to compare with
                continue
            area = entry["roc_auc"]
            label = f"{name}, {kind.replace('_', ' ')}"
            curves.append(
                charts.Series(label, [tuple(p) for p in entry["roc_curve"]], len(curves) + 1)
            )
            rows.append(
                f"<tr><td>{escape(label)}</td><td>{area['value']:.3f}<small>{area['low']:.3f} to "
                f"{area['high']:.3f}</small></td><td>{entry['solutions']:,}</td>"
                f"<td>{entry['random_files']:,}</td></tr>"
            )
    roc = charts.lines(
        curves,
        title="ROC of benchmark solutions against unseen corpus files",
        x_label="share of corpus files above the threshold",
        y_label="share of solutions above it",
        diagonal=True,
        y_from_zero=True,
    )
    return (
        '<h2>Quality</h2><p class="lead">A file scores the mean of its top, middle and bottom'
        " window. Alignment is the ROC-AUC of benchmark solutions, which the annotator never saw,"
        " against random corpus files that it never saw.</p>"
        '<div class="pair"><div><h3>Scores of the corpus</h3>'
        + charts.histogram(
            histogram["edges"],
            [("files", counts)],
            title="Scores of the corpus",
            x_label="score",
            y_label="files",
        )
        + f"</div><div><h3>Alignment</h3>{roc}</div></div>"
        '<div class="scroll"><table><thead><tr><th>benchmark, against</th><th>ROC-AUC</th>'
        f"<th>solutions</th><th>files</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _browser(samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    rules = sorted({sample.rule or "kept" for sample in samples})
    languages = sorted({sample.language for sample in samples})
    controls = (
        f'<div class="controls">{_choice("rule", "kept and dropped", rules)}'
        f"{_choice('language', 'all languages', languages)}"
        '<input id="words" type="search" placeholder="words in path or text" aria-label="words">'
        '<span class="tag" id="count"></span></div>'
    )
    return (
        '<h2>Files kept and dropped</h2><p class="lead">A seeded sample: kept files by score, then'
        " dropped ones for each rule with the reason. Long files show their start.</p>"
        + controls
        + "".join(_file(sample) for sample in samples)
    )


def _choice(name: str, everything: str, values: Sequence[str]) -> str:
    options = "".join(f'<option value="{escape(v)}">{escape(v)}</option>' for v in values)
    return (
        f'<select id="{name}" aria-label="{name}"><option value="">{everything}</option>'
        f"{options}</select>"
    )


def _file(sample: Sample) -> str:
    verdict = "kept" if sample.rule is None else sample.rule
    kind = "kept" if sample.rule is None else "dropped"
    score = f'<span class="tag">score {sample.score:.3f}</span>' if sample.score is not None else ""
    detail = f'<p class="detail">{escape(sample.detail)}</p>' if sample.detail else ""
    return (
        f'<details class="file" data-rule="{escape(verdict)}"'
        f' data-language="{escape(sample.language)}"><summary>'
        f'<span class="tag {kind}">{escape(verdict.replace("_", " "))}</span>'
        f"<code>{escape(sample.repo)}/{escape(sample.path)}</code>"
        f'<span class="tag">{escape(sample.language)}</span>'
        f'<span class="tag">{size(sample.size)}</span>{score}</summary>{detail}'
        f'<p class="detail">id {sample.id}</p><pre>{escape(sample.content)}</pre></details>'
    )
