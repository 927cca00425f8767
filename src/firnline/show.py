"""What the command line prints for people: results, plans, explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from firnline.curate.whatif import Replay

stdout = Console()
_SMALLEST_SHARE = 0.001  # of a phase, that is shown


def _figure(entry: Mapping[str, Any] | None) -> str:
    """`0.912 [0.871, 0.950]`, a dash, or the value alone where one unit gives no interval."""
    if not entry:
        return "-"
    if entry["n"] < 2:
        return f"{entry['value']:.3f}"
    apart = " " if stdout.width >= 110 else "\n"
    return f"{entry['value']:.3f}{apart}[{entry['low']:.3f}, {entry['high']:.3f}]"


def print_results(results: Mapping[str, Any]) -> None:
    """The results table: a row for each measure, a column for each model."""
    table = Table(title="Results, with 95% intervals", title_justify="left", box=SIMPLE_HEAD)
    models = results["models"]
    table.add_column("measure")
    for name in models:
        table.add_column(name, justify="right", no_wrap=True)
    for measure, label in (
        ("bits_per_byte", "bits per byte, {}"),
        ("heldout_loss", "held-out loss, {}"),
        ("objective_loss", "held-out loss, {}"),
        ("recall_at_1", "recall@1, {}"),
        ("pass_at_1", "pass@1, {}"),
    ):
        keys = dict.fromkeys(key for row in models.values() for key in row.get(measure, {}))
        for key in keys:
            cells = [_figure(row.get(measure, {}).get(key)) for row in models.values()]
            table.add_row(label.format(key), *cells)
    stdout.print(table)
    _print_differences(results.get("differences", {}))
    if reason := results.get("pass_at_1_skipped"):
        stdout.print(f"pass@1 was not measured: {reason}", highlight=False)


def _print_differences(differences: Mapping[str, Any]) -> None:
    """A line for each pair of models and benchmark; held-out languages are in the report."""
    for pair, measures in differences.items():
        for measure, label in (
            ("bits_per_byte", "bits per byte"),
            ("objective_loss", "held-out loss"),
            ("recall_at_1", "recall@1"),
            ("pass_at_1", "pass@1"),
        ):
            for benchmark, entry in measures.get(measure, {}).items():
                apart = f"{entry['value']:+.3f} [{entry['low']:+.3f}, {entry['high']:+.3f}]"
                line = f"{pair}: {label}, {benchmark} {apart}, {entry['verdict']}"
                stdout.print(line, highlight=False, markup=False, soft_wrap=True)


def print_table(lines: Sequence[Sequence[str]]) -> None:
    """Lines of cells under the first of them; cells of digits stand to the right."""
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for place, column in enumerate(lines[0]):
        digits = any(line[place][:1].isdigit() for line in lines[1:])
        table.add_column(column, justify="right" if digits else "left", overflow="fold")
    for line in lines[1:]:
        table.add_row(*line)
    stdout.print(table)


def print_step(rows: Sequence[Mapping[str, Any]]) -> None:
    """What an optimizer step saw, as `firnline.why.step` tells it."""
    for row in rows:
        if "start" in row:
            form = "" if row["form"] == "plain" else f", {row['form']}"
            read = f"tokens {row['start']:,} to {row['end']:,} of {row['tokens']:,}{form}"
        else:
            read = (
                f"a pair of {row['text_tokens']:,} tokens of text, {row['code_tokens']:,} of code"
            )
        part = f"{row['objective']} of {row['part']}" if "objective" in row else row["part"]
        where = f"{row['repo']}/{row['path']}"
        known = [str(row[key]) for key in ("revision", "license") if row[key]]
        about = f" ({', '.join(known)})" if known else ""
        line = f"sample {row['sample']:,} {part:<8} {read}: {where}{about}"
        stdout.print(line, highlight=False, markup=False, soft_wrap=True)


def print_plan(answer: Mapping[str, Any]) -> None:
    """The answer of `firnline.plan.plan`."""
    corpus = f"{answer['corpus_gib']:,.2f} GiB"
    device = f"{answer['devices']} x {answer['device']}"
    rows = (
        ("parameters", f"{answer['parameters']:,}"),
        ("tokens", f"{answer['tokens']:,}"),
        ("FLOPs, full attention (6N + 12LdT)", f"{answer['flops_full_attention']:.3e}"),
        ("FLOPs, causal attention (6N + 6LdT)", f"{answer['flops_causal_attention']:.3e}"),
        ("code" if answer["corpus_listed"] else "code (sources not here: from tokens)", corpus),
        ("memory of ingest and curate", f"{answer['curation_memory_gib']:.2f} GiB"),
        ("training memory on each device", f"{answer['memory_gib']:.2f} GiB"),
        ("disk", f"{answer['disk_gib']:.2f} GiB"),
        (f"training on {device} at {answer['utilization']:.0%}", _hours(answer["hours"])),
    )
    for label, value in rows:
        stdout.print(f"{label:<40} {value:>20}", highlight=False)
    table = Table()
    for column in ("phase", "from", "data", "tokens", "unique, at most", "steps", "training"):
        table.add_column(column, justify="left" if column in ("phase", "from", "data") else "right")
    for row in answer["phases"]:
        table.add_row(
            row["phase"],
            row["init"] or "nothing",
            row["data"],
            _amount(row["tokens"]),
            _amount(row["unique_tokens"]),
            f"{row['steps']:,}",
            _hours(row["hours"]),
        )
    stdout.print(table)
    _print_sources(answer["sources"])
    stdout.print(f"stages: {', '.join(answer['stages'])}", highlight=False)


def _print_sources(rows: Sequence[Mapping[str, Any]]) -> None:
    """What each phase reads (Code Llama, Table 1): shares of its tokens, and how often."""
    lines = [["phase", "source", "language", "share", "tokens", "epochs", "on disk"]]
    for row in rows:
        if row["epochs"] is None or row["share"] < _SMALLEST_SHARE:
            continue
        figures = (
            f"{row['tokens']:,}",
            f"{row['epochs']:.3g}",
            f"{size / 1e6:,.1f} MB" if (size := row["supply_bytes"]) is not None else "-",
        )
        where = (row["phase"], row["source"], row["language"] or "all")
        lines.append([*where, f"{row['share']:.1%}", *figures])
    if len(lines) > 1:
        print_table(lines)


def print_curation_plan(answer: Mapping[str, Any]) -> None:
    """The answer of `firnline.plan.plan_curation`."""
    rows = (
        ("documents", f"{answer['documents']:,}"),
        ("content", f"{answer['content_gib']:.2f} GiB"),
        (f"memory with {answer['workers']} workers", f"{answer['memory_gib']:.2f} GiB"),
        ("disk while it runs, output included", f"{answer['disk_gib']:.2f} GiB"),
    )
    for label, value in rows:
        stdout.print(f"{label:<40} {value:>20}", highlight=False)


def _amount(tokens: int) -> str:
    for limit, suffix in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if tokens >= limit:
            return f"{tokens / limit:g}{suffix}"
    return str(tokens)


def _hours(hours: float) -> str:
    if hours < 1:
        return f"{hours * 60:.1f} min"
    return f"{hours:,.1f} h"


def shown(value: Any) -> str:
    """A figure or a word for people to read; nothing for what has parts."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.6g}"
        case str():
            return value
    return ""


def print_document(document: Mapping[str, Any]) -> None:
    """One document as `firnline.why.why` explains it."""
    title = f"{document['repo'] or ''}  {document['path'] or '(no name)'}"
    stdout.rule(Text(title), align="left")  # a Text, for paths such as pages/[id].tsx
    stdout.print(f"id {document['id']}", highlight=False)
    for row in document["stages"]:
        verdict = "kept" if row["kept"] else f"dropped by {row['rule']}"
        detail = f": {row['detail']}" if row["detail"] else ""
        line = f"{row['stage']:<18} {verdict}{detail}"
        stdout.print(line, highlight=False, markup=False, soft_wrap=True)
        values = [
            f"{name} {shown(value)}"
            for name, value in row.items()
            if name not in ("stage", "kept", "rule", "detail") and value is not None
        ]
        if values:
            stdout.print(Padding(Text(", ".join(values), style="dim"), (0, 0, 0, 19)))
    for row in document["tokens"]:
        stdout.print(f"{row['folder']:<18} {row['tokens']:,} tokens", highlight=False)
    for row in document["phases"]:
        stdout.print(f"{row['phase']:<18} {_trained(row)}", highlight=False, soft_wrap=True)


def _trained(row: Mapping[str, Any]) -> str:
    """`trained on in 12 samples, at steps 3, 17, ... of 391`."""
    if not row["samples"]:
        return f"none of its tokens came up in {row['of_steps']:,} steps"
    samples = "1 sample" if row["samples"] == 1 else f"{row['samples']:,} samples"
    steps = ", ".join(f"{step:,}" for step in row["steps"])
    more = ", ..." if len(row["steps"]) < row["samples"] and len(row["steps"]) > 9 else ""
    return f"trained on in {samples}, at steps {steps}{more} of {row['of_steps']:,}"


def print_replay(found: Replay) -> None:
    """What other thresholds would change: `firnline curate --what-if`."""
    table = Table(box=SIMPLE_HEAD)
    columns = ("rule", "language", "documents", "would be", "MB", "would be")
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place < 2 else "right")
    for row in found.table.to_pylist():
        if row["documents_before"] == row["documents_now"]:
            continue
        amounts = [f"{row[f'documents_{when}']:,}" for when in ("before", "now")]
        sizes = [f"{row[f'bytes_{when}'] / 1e6:,.2f}" for when in ("before", "now")]
        table.add_row(row["rule"] or "(kept)", row["language"], *amounts, *sizes)
    if table.row_count:
        stdout.print(table)
    for label, examples in (
        ("dropped", found.newly_dropped),
        ("kept", found.newly_kept),
    ):
        for example in examples:
            rule = example.now or example.before or ""
            line = f"would be {label}: {example.name} ({example.language}, {rule})"
            stdout.print(line, highlight=False, markup=False, soft_wrap=True)
    summary = f"of {found.documents:,} documents {found.dropped:,} more would be dropped"
    stdout.print(f"{summary}, {found.kept:,} more kept", highlight=False)
    for caveat in found.caveats:
        stdout.print(f"note: {caveat}", highlight=False, markup=False)


def print_contamination(benchmarks: Mapping[str, Mapping[str, Any]]) -> None:
    """How much of each benchmark a corpus holds: `firnline contamination`."""
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    kinds = list(next(iter(benchmarks.values()))["tasks_by_kind"]) if benchmarks else []
    for column in ("benchmark", "tasks", "found", "share", "documents", *kinds):
        table.add_column(
            column, justify="left" if column == "benchmark" else "right", overflow="fold"
        )
    for name, row in benchmarks.items():
        figures = (row["tasks"], row["tasks_found"])
        by_kind = (row["tasks_by_kind"][kind] for kind in kinds)
        table.add_row(
            name,
            *(f"{figure:,}" for figure in figures),
            f"{row['share']:.1%}",
            *(f"{figure:,}" for figure in (row["documents"], *by_kind)),
        )
    stdout.print(table)
