"""Recipes: packaged ones are whole, files extend one another, every mistake is named at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from firnline import recipe
from firnline.errors import FirnlineError


def mistakes(raw: dict[str, Any]) -> list[str]:
    with pytest.raises(FirnlineError) as caught:
        recipe.check(raw)
    return list(caught.value.details)


@pytest.mark.parametrize("name", recipe.packaged())
def test_packaged_recipes_are_whole(name: str) -> None:
    loaded = recipe.load(name)
    assert loaded.name == name
    assert [phase.name for phase in loaded.phases][:3] == ["alpha", "beta", "final"]


def test_the_paper_s_numbers() -> None:
    paper = recipe.load("arctic-snowcoder-1.3b")
    alpha, beta, final = paper.phases
    assert [p.training.tokens for p in paper.phases] == [500 * 10**9, 50 * 10**9, 5 * 10**9]
    assert {p.training.sequence_length for p in paper.phases} == {8192}
    assert {p.training.batch_sequences for p in paper.phases} == {512}
    assert (beta.data.init, beta.data.data, beta.data.repeat) == ("alpha", "selected", 4)
    assert (final.data.init, final.data.data) == ("beta", "synthetic")
    assert final.data.language_share == {"Python": 0.5}
    shape = (alpha.training.schedule.kind, alpha.training.schedule.warmup_steps)
    assert shape == ("cosine", 600)
    assert (alpha.training.schedule.peak, alpha.training.schedule.floor) == (5.3e-4, 5.3e-5)
    for phase in (beta, final):
        curve = phase.training.schedule
        assert (curve.kind, curve.warmup_steps, curve.peak, curve.floor) == (
            "linear",
            1000,
            5.3e-4,
            0.0,
        )


def test_settings_change_a_recipe() -> None:
    changed = recipe.load(
        "quickstart", ["phases.beta.tokens=64k", "seed=7", "phases.beta.repeat=2"]
    )
    assert changed.phase("beta").training.tokens == 64_000
    assert changed.phase("beta").data.repeat == 2
    assert changed.curate.seed == changed.tokenizer.seed == 7


def test_recipes_extend_one_another(tmp_path: Path) -> None:
    below = {"extends": "quickstart", "name": "below", "tokenizer": {"vocabulary_size": 2048}}
    above = {"extends": "below.yaml", "name": "above", "phases": {"beta": {"repeat": 3}}}
    (tmp_path / "below.yaml").write_text(yaml.safe_dump(below))
    (tmp_path / "above.yaml").write_text(yaml.safe_dump(above))
    loaded = recipe.load(str(tmp_path / "above.yaml"))
    assert loaded.name == "above"
    assert loaded.tokenizer.vocabulary_size == loaded.model.vocabulary_size == 2048
    assert loaded.phase("beta").data.repeat == 3
    assert loaded.phase("beta").data.init == "alpha"


def test_recipes_that_extend_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\nname: a\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\nname: b\n")
    with pytest.raises(FirnlineError, match="in a circle"):
        recipe.load(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("phases: [", "is not YAML"), ("- a\n- b\n", "is not a mapping"), ("", "is not a mapping")],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(FirnlineError, match=complaint) as caught:
        recipe.load(str(path))
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_names_the_known() -> None:
    with pytest.raises(FirnlineError, match=r"no recipe swift.*quickstart"):
        recipe.load("swift")


def test_five_mistakes_are_reported_at_once_with_their_keys() -> None:
    raw = recipe.load("quickstart").raw
    raw["ingest"]["sources"].append({"kind": "python", "interpretor": "/usr/bin/python3"})
    raw["curate"]["thresholds"] = {"longest_lime": 1000}
    raw["phases"]["beta"]["init"] = "omega"
    raw["phases"]["final"]["tokens"] = "plenty"
    raw["model"]["heads"] = 5
    found = mistakes(raw)
    assert len(found) == 5
    keys = [line.split(":")[0] for line in found]
    assert any(key.startswith("ingest.sources.1") and key.endswith("interpretor") for key in keys)
    assert any("longest_lime" in line for line in found)
    assert "phases.beta.init" in keys
    assert "phases.final.tokens" in keys
    assert any(line.startswith("model") and "heads" in line for line in found)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["phases.alpha.init=beta"], "phases.alpha.init: 'beta' does not come before"),
        (["phases.alpha.repeat=2"], "phases.alpha.data: repeat and language_share need"),
        (["phases.final.language_share.Klingon=0.1"], "no language 'Klingon'"),
        (["phases.final.language_share.Rust=0.7"], "the shares add up to more than 1"),
        (["phases.final.language_share.Python=-1"], "between 0 and 1, got -1"),
        (["model.vocabulary_size=5"], "model.vocabulary_size: it is the tokenizer's"),
        (["model.context=8"], "model.context: 8 is shorter"),
        (["model.preset=huge"], "model.preset: no preset 'huge'"),
        (["benchmarks=[humaneval=/absent.jsonl]"], "benchmarks: no benchmark file /absent.jsonl"),
        (["curate.seed=4"], "curate.seed: set seed at the top"),
        (["evaluate.compare=[[final, gamma]]"], "evaluate.compare: no phase 'gamma'"),
        (["colour=blue"], "colour: no such key"),
        (["seed=-1"], "seed: a whole number"),
        (["phases=3"], "phases: a mapping"),
        (
            ["phases.corpus={data: corpus, tokens: 80k, schedule: {kind: constant, peak: 1e-3}}"],
            "phases.corpus: pack-corpus has that name",
        ),
    ],
)
def test_contradictions(settings: list[str], complaint: str) -> None:
    with pytest.raises(FirnlineError) as caught:
        recipe.load("quickstart", settings)
    assert any(complaint in line for line in caught.value.details), caught.value.details


def test_an_annotator_needs_examples() -> None:
    raw = recipe.load("quickstart").raw
    del raw["synthesize"]
    assert any(line.startswith("annotate: its good examples") for line in mistakes(raw))


@pytest.mark.parametrize(
    ("missing", "data"), [("annotate", "selected"), ("synthesize", "synthetic")]
)
def test_data_needs_the_stage_that_makes_it(missing: str, data: str) -> None:
    raw = recipe.load("quickstart").raw
    del raw[missing]
    assert any(
        f"{data} needs a{'n' if missing[0] == 'a' else ''} {missing}" in m for m in mistakes(raw)
    )
