"""A phase that mixes the corpus's better half, its best, and synthetic documents; and its steps."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import yaml

from firnline import pipeline, recipe
from firnline.documents import document_shards, read_columns
from firnline.errors import FirnlineError
from firnline.plan import plan
from firnline.why import step, why

PHASE = """phases.mixed={init: alpha, tokens: 5000, mixture: {
  better: {share: rest, quality: {above: 0.5}},
  best: {share: 0.3, data: selected, repeat: 2},
  made: {share: 0.2, data: synthetic, language_share: {Python: 0.5}}}}"""


def rerun(tiny_recipe: Path, run: Path, *settings: str) -> list[str]:
    """The stages that did not stand, up to the training of `mixed`."""
    loaded = recipe.load(str(tiny_recipe), (PHASE, *settings))
    results = pipeline.run(loaded, run, until="train-mixed", workers=1)
    return [name for name, result in results.items() if not result.skipped]


@pytest.fixture(scope="module")
def mixed_run(tiny_recipe: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("mixed") / "run"))
    assert rerun(tiny_recipe, run) == ["select-mixed", "pack-mixed", "train-mixed"]
    return run


@pytest.fixture(scope="module")
def rows(mixed_run: Path) -> list[dict[str, Any]]:
    """What every step saw."""
    steps = -(-5000 // (4 * 64))
    found = [row for number in range(1, steps + 1) for row in step(mixed_run, "mixed", number)]
    json.dumps(found)  # plain values
    return found


def test_steps_hold_the_shares_exactly(rows: list[dict[str, Any]]) -> None:
    """79 samples of 64 tokens, the last one cut to 8: each source's share to within a sample."""
    samples = {row["sample"]: row["part"] for row in rows}
    assert sorted(samples) == list(range(79))
    counts = Counter(samples.values())
    assert counts["better"] in (39, 40) and counts["best"] in (23, 24)
    assert {counts["made/Python"], counts["made/others"]} <= {7, 8}
    # Each sample has one token more than it predicts.
    assert sum(row["end"] - row["start"] for row in rows) == 5000 + 79
    for row in rows:
        if row["part"] == "made/Python":
            assert (row["language"], row["source"]) == ("Python", "synthetic")
        if row["part"] == "made/others":
            assert row["language"] != "Python"


def test_rows_lead_to_the_documents(mixed_run: Path, rows: list[dict[str, Any]]) -> None:
    """Repository, path, revision and license are the Documents'; tokens are in the document."""
    known: dict[str, dict[str, Any]] = {}
    for stage in ("curate", "curate-synthetic"):
        table = read_columns(
            document_shards(mixed_run / stage),
            ["id", "repo", "path", "revision", "license", "source", "language", "content"],
        )
        known |= {row["id"].hex(): row for row in table.to_pylist()}
    theirs = tokenizers.Tokenizer.from_file(str(mixed_run / "tokenizer" / "tokenizer.json"))
    theirs.encode_special_tokens = True
    for row in rows[::5]:
        document = known[row["id"]]
        for key in ("repo", "path", "revision", "license", "source", "language"):
            assert row[key] == document[key]
        assert row["tokens"] == len(theirs.encode(document["content"]).ids) + 1
        assert 0 <= row["start"] < row["end"] <= row["tokens"]


def test_a_document_is_explained_by_the_steps_that_hold_it(
    mixed_run: Path, rows: list[dict[str, Any]]
) -> None:
    often = Counter(row["id"] for row in rows).most_common(3)
    for key, _ in often:
        held = sorted({row["sample"] for row in rows if row["id"] == key})
        (found,) = why(mixed_run, key)
        (phase,) = [one for one in found["phases"] if one["phase"] == "mixed"]
        assert phase["samples"] == len(held)
        assert phase["steps"] == sorted({number // 4 + 1 for number in held})[:10]


def test_epochs_are_written_and_planned(
    tiny_recipe: Path, mixed_run: Path, rows: list[dict[str, Any]]
) -> None:
    table = json.loads((mixed_run / "epochs.json").read_text())
    assert list(table) == ["alpha", "beta", "control", "final", "mixed"]
    totals = {row["source"]: row for row in table["mixed"] if row["language"] is None}
    counts = Counter({row["sample"]: row["part"] for row in rows}.values())
    stats = json.loads((mixed_run / "train-mixed" / "stats.json").read_text())
    for name, row in totals.items():
        own = [one for one in rows if one["part"] == name]
        read = sum(one["end"] - one["start"] for one in own) - counts[name]
        assert row["tokens"] == read  # which `why` tells of the steps
        assert row["share"] == pytest.approx(read / 5000)
        assert row["epochs"] == pytest.approx(64 * counts[name] / row["supply_tokens"], rel=0.1)
        assert stats["epochs"][name] == row["epochs"]
    loaded = recipe.load(str(tiny_recipe), [PHASE])
    planned = [row for row in plan(loaded, run=mixed_run)["sources"] if row["phase"] == "mixed"]
    assert planned == [{"phase": "mixed", **row} for row in table["mixed"]]
    before = [row for row in plan(loaded)["sources"] if row["phase"] == "mixed"]
    assert [(row["source"], row["share"], row["epochs"]) for row in before] == [
        ("better", 0.5, None),
        ("best", 0.3, None),
        ("made", 0.2, None),
    ]


def test_another_share_trains_again_and_the_same_does_not(
    tiny_recipe: Path, mixed_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(mixed_run, tmp_path / "run"))
    assert rerun(tiny_recipe, run) == []
    more = "phases.mixed.mixture.better.max_epochs=5"
    assert rerun(tiny_recipe, run, more) == ["train-mixed"]
    half = "phases.mixed.mixture.best.share=0.5"
    assert rerun(tiny_recipe, run, half) == ["select-mixed", "pack-mixed", "train-mixed"]
    masked = "phases.mixed.packing.attention=masked"
    assert rerun(tiny_recipe, run, half, masked) == ["train-mixed"]


def test_growing_batches_of_infilled_and_padded_samples(
    tiny_recipe: Path, mixed_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(mixed_run, tmp_path / "run"))
    changed = rerun(
        tiny_recipe,
        run,
        "phases.mixed.batch_warmup={first_sequences: 1, tokens: 1500}",
        "phases.mixed.infilling={rate: 0.9, level: context}",
        "phases.mixed.sequence_length=256",
        "phases.mixed.packing={method: best_fit, attention: masked}",
        "phases.mixed.evaluation={every_steps: 2, samples: 3}",
        "model.context=256",
    )
    assert changed[0] == "pack-heldout" and changed[-1] == "train-mixed"
    metrics = (run / "train-mixed" / "metrics.jsonl").read_text().splitlines()
    tokens = [json.loads(line)["tokens"] for line in metrics]
    steps = [step(run, "mixed", number) for number in range(1, len(tokens) + 1)]
    samples = [sorted({row["sample"] for row in rows}) for rows in steps]
    assert len(samples[0]) == 1
    assert [number for own in samples for number in own] == list(range(20))
    # What a step's samples predict is what its metrics count.
    assert [min(256 * (own[-1] + 1), 5000) for own in samples] == tokens
    assert {"PSM", "SPM"} & {row["form"] for rows in steps for row in rows}
    key = steps[-1][0]["id"]
    held = [n for n, rows in enumerate(steps, 1) if key in {row["id"] for row in rows}]
    (found,) = [one for one in why(run, key)[0]["phases"] if one["phase"] == "mixed"]
    assert found["steps"] == held[:10]


def test_a_token_folder_and_a_checkpoint_from_elsewhere(
    tiny_recipe: Path, mixed_run: Path, tmp_path: Path
) -> None:
    outside = Path(shutil.copytree(mixed_run / "pack-corpus", tmp_path / "elsewhere"))
    run = Path(shutil.copytree(mixed_run, tmp_path / "run"))
    settings = [
        f"phases.mixed.mixture={{better: null, made: null, best: null, theirs: {{share: 1, "
        f"tokens: {outside}}}}}",
        f"phases.mixed.init={mixed_run / 'train-alpha' / 'checkpoint'}",
    ]
    assert rerun(tiny_recipe, run, *settings) == ["train-mixed"]
    assert {row["folder"] for row in step(run, "mixed", 1)} == {"elsewhere"}
    taken = [f"tokenizer.folder={mixed_run / 'tokenizer'}", *settings]  # the same bytes
    assert rerun(tiny_recipe, run, *taken)[0] == "tokenizer"
    assert step(run, "mixed", 1)[0]["folder"] == "elsewhere"
    vocabulary = ["tokenizer.sample_mib=0.25"]  # another tokenizer of the same size
    with pytest.raises(FirnlineError, match="elsewhere was packed with tokenizer"):
        rerun(tiny_recipe, run, *settings, *vocabulary)
    settings[0] = "phases.mixed.mixture={better: null, made: null, best: null, all: 1}"
    with pytest.raises(FirnlineError, match=r"was trained with tokenizer .* in another way"):
        rerun(tiny_recipe, run, *settings, *vocabulary)


def test_a_short_supply_is_refused_before_training(
    tiny_recipe: Path, mixed_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(mixed_run, tmp_path / "run"))
    with pytest.raises(FirnlineError, match="phase mixed asks for more") as caught:
        rerun(tiny_recipe, run, "phases.mixed.mixture.made.max_epochs=0.0001")
    assert [line.split(":")[0] for line in caught.value.details] == ["made/Python", "made/others"]


@pytest.mark.parametrize(
    ("phase", "number", "complaint"),
    [
        ("omega", 1, r"no finished phase 'omega' .*alpha, beta"),
        ("mixed", 0, r"no step 0 \(give 1 to 20\)"),
        ("mixed", 21, "no step 21"),
    ],
)
def test_steps_that_are_not_there(mixed_run: Path, phase: str, number: int, complaint: str) -> None:
    with pytest.raises(FirnlineError, match=complaint):
        step(mixed_run, phase, number)


def test_a_run_goes_on_from_the_checkpoint_of_another(
    tiny_recipe: Path, tiny_run: Path, tmp_path: Path
) -> None:
    """A public model's folder: its tokenizer, its shape and its weights, named by their paths."""
    theirs = tiny_run / "train-final" / "checkpoint"
    raw = yaml.safe_load(tiny_recipe.read_text())
    raw["tokenizer"] = {"folder": str(theirs)}
    raw["model"] = {"checkpoint": str(theirs)}
    raw["phases"] = {"more": {"init": str(theirs), "data": "corpus", "tokens": 1000}}
    raw["evaluate"]["compare"] = []
    for key in ("synthesize", "annotate"):
        del raw[key]
    results = pipeline.run(recipe.check(raw), tmp_path / "run", until="train", workers=1)
    stats, fresh = (
        json.loads((run / "stats.json").read_text())
        for run in (results["train-more"].folder, tiny_run / "train-alpha")
    )
    assert stats["parameters"] == fresh["parameters"]
    assert stats["first_loss"] < fresh["first_loss"] - 0.5
    raw["model"]["checkpoint"] = str(tmp_path / "absent")
    with pytest.raises(FirnlineError) as caught:
        recipe.check(raw)
    assert any(line.startswith("model.checkpoint: ") for line in caught.value.details)
