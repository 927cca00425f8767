"""What the command line prints for people: results, plans, explanations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

stdout = Console()


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
        ("pass_at_1", "pass@1, {}"),
    ):
        keys = dict.fromkeys(key for row in models.values() for key in row.get(measure, {}))
        for key in keys:
            cells = [_figure(row.get(measure, {}).get(key)) for row in models.values()]
            table.add_row(label.format(key), *cells)
    stdout.print(table)
    if reason := results.get("pass_at_1_skipped"):
        stdout.print(f"pass@1 was not measured: {reason}", highlight=False)


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
    stdout.print(f"stages: {', '.join(answer['stages'])}", highlight=False)


def _amount(tokens: int) -> str:
    for limit, suffix in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if tokens >= limit:
            return f"{tokens / limit:g}{suffix}"
    return str(tokens)


def _hours(hours: float) -> str:
    if hours < 1:
        return f"{hours * 60:.1f} min"
    return f"{hours:,.1f} h"


def print_document(document: Mapping[str, Any]) -> None:
    """One document as `firnline.why.why` explains it."""
    stdout.rule(f"{document['repo'] or ''}  {document['path'] or '(no name)'}", align="left")
    stdout.print(f"id {document['id']}", highlight=False)
    for row in document["stages"]:
        verdict = "kept" if row["kept"] else f"dropped by {row['rule']}"
        detail = f": {row['detail']}" if row["detail"] else ""
        stdout.print(f"{row['stage']:<18} {verdict}{detail}", highlight=False, soft_wrap=True)
        values = [
            f"{name} {value}"
            for name, value in row.items()
            if name not in ("stage", "kept", "rule", "detail") and value is not None
        ]
        if values:
            stdout.print(f"{'':<18} {', '.join(values)}", style="dim", highlight=False)
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
