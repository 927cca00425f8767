"""The report's part on training: curves of all phases on one axis, settings, mixtures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np

from firnline.report import charts, words
from firnline.report.numbers import short, size
from firnline.report.phases import PhaseFigures, Raw
from firnline.report.track import POINTS, Floats, thin

_AXIS = "tokens trained"
_BATCH = "batch"
_UNITS = (
    ("nats per token", "loss", "heldout_loss"),
    ("bits per byte", "bits_per_byte", "heldout_bits_per_byte"),
)
_TABLE_ROWS = 8
_SKIPS_SHOWN = 20
_FEWEST = 20  # buckets of a phase, however short it is beside the others
_LANGUAGES_NAMED = 3


def section(phases: Sequence[PhaseFigures]) -> str:
    """The part as HTML; empty where no phase has begun."""
    if not phases:
        return ""
    thinned = (
        f" A phase of more than {POINTS} steps is drawn in buckets of equally many, {POINTS} to the"
        " width of the chart: the line is their mean, the shade goes from the least to the greatest"
        " value."
    )
    many = any(len(one.track) > POINTS for one in phases)
    return (
        '<h2>Training</h2><p class="lead">Over tokens: a phase begins where the one it starts from'
        " ended. Dotted lines begin a phase, a dashed curve is a side path from the same weights."
        f"{thinned if many else ''}</p>"
        f"{_loss(phases)}{_learning_rate(phases)}{_batch_size(phases)}{_steps(phases)}"
        f"{_skips(phases)}{_phases(phases)}{_mixtures(phases)}"
    )


def _loss(phases: Sequence[PhaseFigures]) -> str:
    """Training and held-out loss in nats and, behind a switch, in bits per byte.

    Of objectives, whose losses are not alike, a chart for each.
    """
    views = []
    if _objectives(phases):
        return _loss_of_objectives(phases)
    for unit, key, held_out in _UNITS:
        series = _series(phases, key)
        if not series:
            continue
        chart = charts.lines(
            series + _series(phases, held_out, dots=True),
            title="Loss" if key == "loss" else "Bits per byte of the training data",
            x_label=_AXIS,
            y_label=unit,
            boundaries=_boundaries(phases),
            events=_events(phases),
            event_name="step skipped or stopped",
            dots_name="on held-out samples",
        )
        views.append((unit, chart))
    if len(views) < 2:
        chart = views[0][1] if views else '<p class="empty">No step has a finite loss.</p>'
        return f"<h3>Loss</h3>{chart}"
    # Radio buttons and CSS: it works without a script.
    buttons = "".join(
        f'<input type="radio" name="unit" id="unit-{n}"{"" if n else " checked"}>'
        f'<label for="unit-{n}">{unit}</label>'
        for n, (unit, _) in enumerate(views)
    )
    shown = "".join(f'<div class="view-{n}">{chart}</div>' for n, (_, chart) in enumerate(views))
    return f'<h3>Loss</h3><div class="switch">{buttons}{shown}</div>'


def _objectives(phases: Sequence[PhaseFigures]) -> list[str]:
    return list(dict.fromkeys(name for one in phases for name in one.objectives))


def _loss_of_objectives(phases: Sequence[PhaseFigures]) -> str:
    """Each step is of one objective; what is held out has all of a phase's together."""
    shown = []
    for objective in _objectives(phases):
        series = _series([*phases], "loss", only=objective)
        shown.append((objective.replace("_", " "), series))
    if held_out := _series(phases, "heldout_loss"):
        shown.append(("held out, all objectives of a phase together", held_out))
    parts = "".join(
        f"<div><h3>Loss: {escape(name)}</h3>"
        + charts.lines(
            series,
            title=f"Loss: {name}",
            x_label=_AXIS,
            y_label="nats per target",
            boundaries=_boundaries(phases),
            height=220,
        )
        + "</div>"
        for name, series in shown
        if series
    )
    return f'<div class="pair">{parts}</div>'


def _learning_rate(phases: Sequence[PhaseFigures]) -> str:
    chart = charts.lines(
        _series(phases, "learning_rate"),
        title="Learning rate",
        x_label=_AXIS,
        y_label="learning rate",
        boundaries=_boundaries(phases),
        y_from_zero=True,
        height=180,
    )
    return f"<h3>Learning rate</h3>{chart}"


def _batch_size(phases: Sequence[PhaseFigures]) -> str:
    sizes = np.concatenate([one.track.batch_tokens for one in phases])
    sizes = np.unique(sizes[np.isfinite(sizes)])
    if len(sizes) < 2:
        same = f"Each step reads {sizes[0]:,.0f} tokens." if len(sizes) else ""
        return f'<p class="note-text">{same}</p>'
    chart = charts.lines(
        _series(phases, _BATCH),
        title="Batch size",
        x_label=_AXIS,
        y_label="tokens per step",
        boundaries=_boundaries(phases),
        y_from_zero=True,
        height=180,
    )
    return f"<h3>Batch size</h3>{chart}"


def _series(
    phases: Sequence[PhaseFigures], key: str, dots: bool = False, only: str | None = None
) -> list[charts.Series]:
    """The curves of those phases that have the value; dots are single steps and no means. `only`
    the steps of an objective, if one is given."""
    found = []
    width = max(one.start + float(one.track.columns["tokens"][-1]) for one in phases)
    for number, one in enumerate(phases):
        tokens, values = one.track.columns["tokens"], _values(one, key)
        if only is not None:
            values = np.where(one.steps_of(only), values, np.nan)
        most = len(tokens)
        if most > POINTS and not dots:
            most = max(_FEWEST, round(POINTS * float(tokens[-1]) / width))
        points, band = thin(tokens, values, one.start, most=most)
        name = f"{one.name}, held out" if dots else one.name
        if points:
            found.append(charts.Series(name, points, number % 8 + 1, one.side, dots, band))
    return found


def _values(one: PhaseFigures, key: str) -> Floats:
    return one.track.batch_tokens if key == _BATCH else one.track.column(key)


def _boundaries(phases: Sequence[PhaseFigures]) -> list[tuple[float, str]]:
    return [(one.start, one.name) for one in phases if not one.side]


def _events(phases: Sequence[PhaseFigures]) -> list[charts.Event]:
    found = []
    for one in phases:
        for step, tokens, text in _marked(one):
            found.append(charts.Event(one.start + tokens, f"{one.name}, step {step:,}: {text}"))
    return found


def _marked(one: PhaseFigures) -> list[tuple[int, float, str]]:
    """Step, tokens and reason of the steps that were skipped or stopped the phase."""
    steps, tokens = one.track.columns["step"], one.track.columns["tokens"]
    found = [(int(steps[n]), float(tokens[n]), why) for n, why in one.track.skipped.items()]
    last = float(tokens[-1])
    found += [(int(row["step"]), last, f"stopped, {row['reason']}") for row in one.stops]
    return found


def _steps(phases: Sequence[PhaseFigures]) -> str:
    """The curves as a table, for those who cannot see them: a few steps of each phase."""
    keys = [(unit, key) for unit, *pair in _UNITS for key in pair]
    keys = [(unit, key) for unit, key in keys if any(one.track.has(key) for one in phases)]
    head = "".join(
        f"<th>{'held out, ' if key.startswith('heldout') else ''}{unit}</th>" for unit, key in keys
    )
    rows, several = [], bool(_objectives(phases))
    for one in phases:
        tokens, batch = one.track.columns["tokens"], one.track.batch_tokens
        of = _named(one) if several else []
        steps, rate = one.track.columns["step"], one.track.columns["learning_rate"]
        held = np.flatnonzero(np.isfinite(one.track.columns["heldout_loss"]))
        candidates = held if len(held) > 1 else np.arange(len(tokens))
        places = np.linspace(0, len(candidates) - 1, min(_TABLE_ROWS, len(candidates)))
        for n in candidates[places.round().astype(np.int64)].tolist():
            cells = "".join(f"<td>{_figure(one.track.column(key)[n])}</td>" for _, key in keys)
            rows.append(
                f"<tr><td>{escape(one.name)}</td>"
                f"{f'<td>{escape(of[n])}</td>' if several else ''}<td>{steps[n]:,.0f}</td>"
                f"<td>{short(one.start + tokens[n])}</td>{cells}<td>{_figure(rate[n], '.3g')}</td>"
                f"<td>{_figure(batch[n], ',.0f')}</td></tr>"
            )
    return (
        '<details class="more"><summary>The curves as a table</summary><div class="scroll"><table>'
        f"<thead><tr><th>phase</th>{'<th>objective</th>' if several else ''}<th>step</th>"
        f"<th>tokens in all</th>{head}<th>learning rate</th><th>tokens per step</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _named(one: PhaseFigures) -> list[str]:
    """The objective of each step in words; of next token none."""
    found = [""] * len(one.track)
    for name in one.objectives:
        for n in np.flatnonzero(one.steps_of(name)).tolist():
            found[n] = name.replace("_", " ")
    return found


def _figure(value: float, form: str = ".3f") -> str:
    return format(value, form) if np.isfinite(value) else "-"


def _skips(phases: Sequence[PhaseFigures]) -> str:
    marked = [(one.name, step, why) for one in phases for step, _, why in _marked(one)]
    if not marked:
        return ""
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td>{step:,}</td><td class="words">{escape(why)}</td></tr>'
        for name, step, why in marked[:_SKIPS_SHOWN]
    )
    more = f", the first {_SKIPS_SHOWN} of them" if len(marked) > _SKIPS_SHOWN else ""
    return (
        f'<details class="more"><summary>Steps skipped or stopped: {len(marked):,}{more}</summary>'
        '<div class="scroll"><table><thead><tr><th>phase</th><th>step</th>'
        f'<th class="words">why</th></tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def _phases(phases: Sequence[PhaseFigures]) -> str:
    """Phases beside one another: what was asked for and what was measured."""
    return (
        f"<h3>What each phase was</h3>{_beside(phases, _settings(phases), 'words')}"
        f"<h3>What was measured</h3>{_beside(phases, _measured(phases), '')}"
    )


def _settings(phases: Sequence[PhaseFigures]) -> dict[str, list[str]]:
    said = [words.settings(one.settings, one.record, one.init) for one in phases]
    for one, own in zip(phases, said, strict=True):
        done = int(one.track.columns["step"][-1])
        why = "".join(f"; {row['reason']}" for row in one.stops)
        own["state"] = "" if one.finished else f"not finished, {done:,} steps made{why}"
    labels = dict.fromkeys(label for own in said for label in own)
    return {label: [own.get(label, "") for own in said] for label in labels}


def _beside(phases: Sequence[PhaseFigures], rows: Mapping[str, Sequence[str]], kind: str) -> str:
    """A table with a column for each phase; a row that says nothing of any is left out."""
    head = "".join(f'<th class="{kind}">{escape(one.name)}</th>' for one in phases)
    body = "".join(
        f"<tr><td>{label}</td>"
        + "".join(f'<td class="{kind}">{escape(cell) or "-"}</td>' for cell in cells)
        + "</tr>"
        for label, cells in rows.items()
        if any(cells)
    )
    return (
        f'<div class="scroll"><table class="beside"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _median(values: Floats) -> float:
    return float(np.median(values))


def _last(values: Floats) -> float:
    return float(values[-1])


def _measured(phases: Sequence[PhaseFigures]) -> dict[str, list[str]]:
    def row(key: str, form: str, pick: Callable[[Floats], float] = _median) -> list[str]:
        return [
            format(pick(found), form) if len(found := _finite(one, key)) else "" for one in phases
        ]

    ends = {
        "loss, first step to last tenth": [
            "" if one.objectives else _ends(_finite(one, "loss")) for one in phases
        ]
    }
    for name in _objectives(phases):
        losses = [one.track.column("loss")[one.steps_of(name)] for one in phases]
        label = f"{name.replace('_', ' ')}, first step to last tenth"
        ends[label] = [_ends(own[np.isfinite(own)]) for own in losses]
    memory = [_finite(one, "peak_memory_bytes") for one in phases]
    return {
        **ends,
        "held-out loss at the end": row("heldout_loss", ".3f", _last),
        "held-out bits per byte at the end": row("heldout_bits_per_byte", ".3f", _last),
        "gradient norm, median": row("gradient_norm", ".2f"),
        "steps skipped": [f"{n:,}" if (n := len(one.track.skipped)) else "" for one in phases],
        "tokens per second, median": row("tokens_per_second", ",.0f"),
        "MFU, full attention (6N + 12LdT)": row("mfu_full_attention", ".1%"),
        "MFU, causal attention (6N + 6LdT)": row("mfu_causal_attention", ".1%"),
        "peak memory": [size(float(values.max())) if len(values) else "" for values in memory],
    }


def _ends(losses: Floats) -> str:
    if not len(losses):
        return ""
    return f"{losses[0]:.3f} to {losses[-max(1, len(losses) // 10) :].mean():.3f}"


def _finite(one: PhaseFigures, key: str) -> Floats:
    values = one.track.column(key)
    return values[np.isfinite(values)]


def _mixtures(phases: Sequence[PhaseFigures]) -> str:
    """As the table of Code Llama (Rozière et al. 2023, Table 1), for each phase."""
    known = [one for one in phases if one.table]
    if not known:
        return ""
    whole = "".join(_mixture(one, _sources(one), _how(one)) for one in known)
    parts = "".join(_mixture(one, _by_language(one), "") for one in known)
    return (
        '<h3>Mixtures</h3><p class="lead">Sampling share is of the phase\'s tokens; one epoch sees'
        " all that a source has on disk once.</p>"
        f"{_mixture_table('languages', whole)}"
        '<details class="more"><summary>Mixtures by language</summary>'
        f"{_mixture_table('language', parts)}</details>"
    )


def _mixture_table(languages: str, bodies: str) -> str:
    columns = ("sampling share", "epochs", "tokens on disk", "size on disk", "documents")
    head = "".join(f"<th>{name}</th>" for name in columns)
    return (
        '<div class="scroll"><table class="mix"><thead><tr><th>source</th>'
        f'<th class="words">{languages}</th>{head}</tr></thead>{bodies}</table></div>'
    )


def _mixture(one: PhaseFigures, rows: Sequence[tuple[Raw, str]], how: str) -> str:
    """A phase's name over its rows, each with what it says of languages."""
    lines = "".join(
        f'<tr><td>{escape(row["source"])}</td><td class="words">{escape(languages)}</td>'
        f"<td>{_share(row['share'])}</td><td>{row['epochs']:.2f}</td>"
        f"<td>{short(row['supply_tokens'])}</td>"
        f"<td>{'-' if row['supply_bytes'] is None else size(row['supply_bytes'])}</td>"
        f"<td>{row['supply_documents']:,}</td></tr>"
        for row, languages in rows
    )
    note = f"<small>{escape(how)}</small>" if how else ""
    return (
        f'<tbody><tr><th class="group" colspan="7" scope="rowgroup">{escape(one.name)}{note}</th>'
        f"</tr>{lines}</tbody>"
    )


def _how(one: PhaseFigures) -> str:
    if not one.record:
        return ""
    packing = words.packing(one.record["packing"])
    if one.objectives:
        return f"{packing}; {words.objective(one.record['objective'])}"
    return f"{packing}; infilling: {words.infilling(one.record['infilling'])}"


def _sources(one: PhaseFigures) -> list[tuple[Raw, str]]:
    """Rows of whole sources, each with its largest languages in words."""
    found = []
    for row in one.table:
        if row["language"] is None:
            inside = _inside(one, row)
            shares = [(part["language"], part["share"] / (row["share"] or 1)) for part in inside]
            text = ", ".join(f"{name} {_share(part)}" for name, part in shares[:_LANGUAGES_NAMED])
            rest = len(inside) - _LANGUAGES_NAMED
            text = inside[0]["language"] if len(inside) == 1 else text
            found.append((row, f"{text}, {rest} more" if rest > 0 else text))
    return found


def _by_language(one: PhaseFigures) -> list[tuple[Raw, str]]:
    """Rows of each source's languages, the largest first."""
    sources = [row for row in one.table if row["language"] is None]
    return [(part, part["language"]) for row in sources for part in _inside(one, row)]


def _inside(one: PhaseFigures, source: Raw) -> list[Raw]:
    mine = [row for row in one.table if row["source"] == source["source"] and row["language"]]
    return sorted(mine, key=lambda row: (-row["share"], row["language"]))


def _share(value: float) -> str:
    return f"{value:.1%}" if value >= 0.0005 or value == 0 else "under 0.1%"
