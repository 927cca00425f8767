"""Replays of a ledger against judging the documents afresh."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firnline.curate import rules, whatif
from firnline.documents import buffers
from firnline.errors import FirnlineError

WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa"


def documents(seed: int, count: int = 400) -> list[tuple[str, str]]:
    """(language, text) with lines of many lengths, few and many digits, some of them empty."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        language = str(rng.choice(["Python", "Go", "JSON", "HTML"]))
        words = rng.choice(WORDS.split(), rng.integers(0, 400))
        text = " ".join(words)
        if rng.random() < 0.5:
            text = text.replace(" ", "\n")
        if rng.random() < 0.3:
            text += " 0123456789" * int(rng.integers(0, 60))
        found.append((language, text))
    return found


def write_ledger(
    folder: Path, thresholds: dict[str, Any], off: list[str], *, shards: int = 3
) -> list[dict[str, Any]]:
    """A ledger as the stage writes it, and its rows; every seventh document that stays is a copy,
    every eleventh is contaminated, and half of the others have errors of syntax."""
    (folder / "ledger").mkdir(parents=True)
    table = rules.table(thresholds, off)
    rows: list[dict[str, Any]] = []
    for shard in range(shards):
        given = documents(shard)
        languages = [language for language, _ in given]
        data, offsets = buffers(pa.array([text for _, text in given], pa.large_string()))
        values = rules.measure(data, offsets, languages, [f"p/{n}.x" for n in range(len(given))])
        mine = []
        for number, place in enumerate(rules.judge(table, values, languages).tolist()):
            rule = table[place].name if place >= 0 else None
            errors = float("nan")
            if rule is None and number % 11 == 0:
                rule = "contaminated"
            elif rule is None:
                errors = (number % 2) * 0.05
                rule = "near_duplicate" if number % 7 == 0 else None
            mine.append(
                {
                    "id": bytes([shard, number % 256, number // 256]) + bytes(13),
                    "kept": rule is None,
                    "rule": rule,
                    "language": languages[number],
                    "bytes": int(offsets[number + 1] - offsets[number]),
                    "repo": f"repo-{shard}",
                    "path": f"p/{number}.x",
                    **{name: float(column[number]) for name, column in values.items()},
                    "syntax_error_share": errors,
                }
            )
        schema = pa.Table.from_pylist(mine[:1]).schema
        schema = schema.set(schema.get_field_index("rule"), pa.field("rule", pa.string()))
        schema = schema.set(schema.get_field_index("id"), pa.field("id", pa.binary(16)))
        pq.write_table(
            pa.Table.from_pylist(mine, schema=schema),
            folder / "ledger" / f"shard-{shard}.parquet",
            row_group_size=150,
        )
        rows += mine
    config = {"config": {"thresholds": thresholds, "off": off}}
    (folder / "manifest.json").write_text(json.dumps(config))
    return rows


def counts(result: whatif.Replay, side: str) -> dict[tuple[str | None, str], tuple[int, int]]:
    found = {}
    for row in result.table.to_pylist():
        if row[f"documents_{side}"]:
            key = (row["rule"], row["language"])
            found[key] = (row[f"documents_{side}"], row[f"bytes_{side}"])
    return found


def recount(rows: list[dict[str, Any]]) -> dict[tuple[str | None, str], tuple[int, int]]:
    found: dict[tuple[str | None, str], tuple[int, int]] = {}
    for row in rows:
        key = (row["rule"], row["language"])
        documents, size = found.get(key, (0, 0))
        found[key] = (documents + 1, size + row["bytes"])
    return found


def test_without_changes_nothing_changes(tmp_path: Path) -> None:
    rows = write_ledger(tmp_path, {"letter_share": {"Go": 0.6}}, ["data_lines"])
    result = whatif.replay(tmp_path, {})
    assert counts(result, "before") == counts(result, "now") == recount(rows)
    assert (result.documents, result.dropped, result.kept) == (len(rows), 0, 0)
    assert not (result.newly_dropped or result.newly_kept or result.caveats)


def test_a_replay_is_what_judging_afresh_gives(tmp_path: Path) -> None:
    rows = write_ledger(tmp_path, {"letter_share": {"Go": 0.6}}, ["data_lines"])
    changes: dict[str, Any] = {
        "data_too_long": 2_500.0,
        "letter_share": {"Python": 0.7},
        "mean_line": 60.0,
        "syntax": 0.04,
        "data_too_short": 0.0,
    }
    result = whatif.replay(tmp_path, changes, ["long_line_share", "empty"])
    now: dict[str, Any] = {
        "data_too_long": 2_500.0,
        "letter_share": {"Go": 0.6, "Python": 0.7},
        "mean_line": 60.0,
        "syntax": 0.04,
        "data_too_short": 0.0,
    }
    table = rules.table(now, ["data_lines", "long_line_share", "empty"])
    columns = {name: np.array([row[name] for row in rows]) for name in rules.STATISTICS}
    verdicts = rules.judge(table, columns, [str(row["language"]) for row in rows])
    expected = []
    for row, place in zip(rows, verdicts.tolist(), strict=True):
        rule = table[place].name if place >= 0 else None
        across = row["rule"] if row["rule"] in ("contaminated", "near_duplicate") else None
        rule = across if rule is None or (rule == "syntax" and across == "contaminated") else rule
        expected.append({**row, "rule": rule})
    assert counts(result, "before") == recount(rows)
    assert counts(result, "now") == recount(expected)
    pairs = list(zip(rows, expected, strict=True))
    drops = [row for row, new in pairs if row["rule"] is None and new["rule"] is not None]
    keeps = [row for row, new in pairs if row["rule"] is not None and new["rule"] is None]
    assert drops and keeps
    assert (result.dropped, result.kept) == (len(drops), len(keeps))
    for examples, changed in ((result.newly_dropped, drops), (result.newly_kept, keeps)):
        sample = sorted(changed, key=lambda row: row["id"])[: whatif.EXAMPLES]
        assert [e.name for e in examples] == [f"{row['repo']}/{row['path']}" for row in sample]
        assert [e.before for e in examples] == [row["rule"] for row in sample]
    assert len(result.caveats) == 2


def test_a_rule_that_was_off_can_be_tried(tmp_path: Path) -> None:
    rows = write_ledger(tmp_path, {}, ["mean_line"])
    result = whatif.replay(tmp_path, {"mean_line": 30.0})
    dropped = [row for row in rows if row["language"] != "JSON" and row["language"] != "HTML"]
    over = [row for row in dropped if row["rule"] is None and row["mean_line"] > 30]
    assert result.dropped == len(over) > 0
    optional = whatif.replay(tmp_path, {"few_comments": 0.01})
    assert {e.now for e in optional.newly_dropped} == {"few_comments"}


def test_changes_are_read_from_text() -> None:
    thresholds, off = whatif.parse_changes(
        ["mean_line=80", "letter_share=C#:0.1,Python:0.2", "data_lines=off"]
    )
    assert thresholds == {"mean_line": 80.0, "letter_share": {"C#": 0.1, "Python": 0.2}}
    assert off == ["data_lines"]


def test_every_mistake_in_the_changes_is_reported() -> None:
    with pytest.raises(FirnlineError) as caught:
        whatif.parse_changes(["mean_line=wide", "nothing=5", "letter_share=Pyton:1", "empty"])
    told = "\n".join(caught.value.details)
    for mistake in ("mean_line=wide", "nothing", "Pyton", "empty"):
        assert mistake in told


def test_a_folder_without_a_ledger_or_a_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FirnlineError, match="no ledger"):
        whatif.replay(tmp_path, {})
    write_ledger(tmp_path / "stage", {}, [])
    with pytest.raises(FirnlineError, match="license_rank"):
        whatif.replay(tmp_path / "stage", {"license": 0})
    (tmp_path / "stage" / "manifest.json").unlink()
    with pytest.raises(FirnlineError, match="not a finished"):
        whatif.replay(tmp_path / "stage", {})
