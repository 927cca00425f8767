"""Phases of encoders in a recipe: read, refused, run, killed, explained, measured."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from firnline import objective_phases, pipeline, recipe
from firnline.documents import document_shards, read_columns
from firnline.errors import FirnlineError
from firnline.model.loss import IGNORE
from firnline.plan import plan
from firnline.report import page
from firnline.tokens.descriptions import described_functions
from firnline.tokens.grammars import KINDS
from firnline.training.objectives.shapes import PRESETS
from firnline.why import step, why

transformers = pytest.importorskip("transformers", reason="pip install firnline[hf]")

PACKAGES = ("json", "logging", "email")
LENGTHS = {"text_length": 12, "code_length": 24}
RECIPE: dict[str, Any] = {
    "name": "encoders",
    "seed": 3,
    "curate": {"heldout_share": 0.1},
    "tokenizer": {"vocabulary_size": 512, "sample_mib": 0.5},
    "model": {"family": "t5", "width": 32, "layers": 1, "heads": 2, "feed_forward": 64},
    "training": {
        "sequence_length": 64,
        "batch_sequences": 4,
        "checkpoint_every_steps": 3,
        "schedule": {"kind": "linear", "warmup_steps": 2, "peak": 3e-3},
        "evaluation": {"every_steps": 5, "samples": 4},
    },
    "objective": {
        "span_masking": {"rate": 0.2},
        "identifier_tagging": {"weight": 0.5},
        "dual_generation": LENGTHS,
        "contrast": {"group": 4, **LENGTHS},
        "matching": {"group": 4, "negatives": "hard", **LENGTHS},
    },
    "phases": {
        "alpha": {
            "data": "corpus",
            "tokens": 3000,
            "objective": {
                "span_masking": 0.3,
                "masked_identifiers": 0.4,
                "identifier_tagging": 0.3,
            },
        },
        "beta": {
            "init": "alpha",
            "mixture": {"code": {"share": 1, "languages": ["Python"]}},
            "tokens": 3000,
            "objective": {
                "span_masking": 0.2,
                "dual_generation": 0.3,
                "contrast": 0.3,
                "matching": 0.2,
            },
        },
    },
    "evaluate": {"samples": 8, "compare": [["beta", "alpha"]]},
}
STAGES = [
    "ingest",
    "curate",
    "tokenizer",
    "pack-corpus",
    "pack-heldout",
    "identifiers-corpus",
    "identifiers-heldout",
    "pairs-corpus",
    "pairs-heldout",
    "train-alpha",
    "train-beta",
    "evaluate",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`recipe.yaml`, what it reads, and `run`, finished. Do not change it."""
    folder = tmp_path_factory.mktemp("encoders")
    library = Path(sysconfig.get_path("stdlib"))
    for name in PACKAGES:
        unwanted = shutil.ignore_patterns("__pycache__", "test*")
        shutil.copytree(library / name, folder / "code" / name, ignore=unwanted)
    (folder / "code" / "json" / "notes.md").write_text("# Notes\n\nWords and no code.\n" * 20)
    raw = {**RECIPE, "ingest": {"sources": [{"kind": "directory", "path": str(folder / "code")}]}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(raw))
    pipeline.run(load(folder), folder / "run", workers=1)
    return folder


def load(folder: Path, *settings: str) -> recipe.Recipe:
    return recipe.load(str(folder / "recipe.yaml"), settings)


def bert(folder: Path, objective: dict[str, Any], context: int = 80) -> recipe.Recipe:
    """The recipe with an encoder and one phase."""
    raw = load(folder).raw
    alpha = {**RECIPE["phases"]["alpha"], "objective": objective}
    model = {**RECIPE["model"], "family": "bert", "context": context}
    shared = {"contrast": {"group": 4, **LENGTHS}, "matching": {"group": 4, **LENGTHS}}
    return recipe.check(
        {
            **raw,
            "model": model,
            "phases": {"alpha": alpha},
            "objective": shared,
            "evaluate": {"samples": 8},
        }
    )


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


# --- reading ----------------------------------------------------------------------------------


def test_the_packaged_recipe_has_the_papers_numbers() -> None:
    loaded = recipe.load("codet5")
    assert loaded.model == PRESETS["codet5-base"]
    denoise, dual = loaded.phases
    epochs = [phase.training.samples / 8.35e6 for phase in loaded.phases]
    assert epochs == pytest.approx([100, 50], rel=0.01)
    assert {phase.training.batch_sequences for phase in loaded.phases} == {1024}
    assert {phase.training.schedule.peak for phase in loaded.phases} == {2e-4}
    assert denoise.objective and dual.objective
    assert set(denoise.objective.used) == {
        "span_masking",
        "masked_identifiers",
        "identifier_tagging",
    }
    assert list(dual.objective.used) == ["dual_generation"]
    assert dual.data.init == "denoise"


def test_an_overlay_gives_the_tiny_model_of_the_family() -> None:
    loaded = recipe.load("codet5+laptop")
    assert loaded.model == PRESETS["tiny-t5"]
    told = plan(loaded)
    with torch.device("meta"):
        config = transformers.T5Config(
            vocab_size=4096 + 106, d_model=128, d_ff=512, d_kv=32, num_layers=2, num_heads=4
        )
        whole = transformers.T5ForConditionalGeneration(config)
    parameters = sum(weight.numel() for weight in whole.parameters())
    assert told["parameters"] == parameters + 129  # the head for tags
    assert [row["steps"] for row in told["phases"]] == [417, 209]
    assert 0 < told["flops_causal_attention"] < told["flops_full_attention"]


def test_phases_share_objectives_and_override_them(folder: Path) -> None:
    rate = ["phases.alpha.objective.span_masking={share: 0.3, rate: 0.25}"]
    alpha, beta = load(folder, *rate).phases
    assert alpha.objective and beta.objective
    assert list(alpha.objective.used) == [
        "span_masking",
        "masked_identifiers",
        "identifier_tagging",
    ]
    assert alpha.objective.span_masking and alpha.objective.span_masking.rate == 0.25
    assert beta.objective.span_masking and beta.objective.span_masking.rate == 0.2
    assert alpha.objective.identifier_tagging and alpha.objective.identifier_tagging.weight == 0.5
    assert set(alpha.sources["corpus"].languages) == set(KINDS)
    assert beta.sources["code"].languages == ("Python",)
    alone = "{span_masking: 1, masked_identifiers: null, identifier_tagging: 0}"
    alpha, _ = load(folder, f"phases.alpha.objective={alone}").phases
    assert alpha.objective and list(alpha.objective.used) == ["span_masking"]
    assert not alpha.sources["corpus"].languages


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["phases.alpha.objective.span_masking=0.2"], "alpha.objective: the shares add up to 0.9"),
        (["phases.alpha.objective.guessing=0.1"], "alpha.objective.guessing: no such key"),
        (["objective.span_masking.rate=2"], "alpha.objective.span_masking.rate: Input should be"),
        (["phases.alpha.objective=3"], "phases.alpha.objective: a mapping of keys, got 3"),
        (["phases.alpha.objective=null"], "alpha.objective: a t5 needs one, next token is a dec"),
        (
            ["phases.beta.objective={contrast: null, span_masking: 0.5}"],
            "phases.beta.objective: hard negatives of matching are found by contrast",
        ),
        (["model.family=bert"], "alpha.objective.span_masking: it needs t5, the model is bert"),
        (["model.sentinels=2"], "alpha.objective.span_masking: 64 tokens at 20% take about 4 sent"),
        (["model.vocabulary_size=9"], "model.vocabulary_size: it is the tokenizer's"),
        (["model.heads=5"], "heads 5 do not divide width 32"),
        (["model.preset=codet5-huge"], "model.preset: no preset 'codet5-huge'"),
        (["model.preset=codebert-base"], "model.family: t5, the shape is of bert"),
        (
            ["phases.alpha.objective.masked_identifiers={share: 0.4, input_length: 5}"],
            "masked_identifiers.input_length: a sample has 64 tokens",
        ),
        (["infilling={rate: 0.5}"], "phases.alpha.infilling: it is a decoder's"),
        (["packing.attention=masked"], "phases.beta.packing.attention: an encoder reads samples"),
        (
            ["phases.alpha.batch_warmup={first_sequences: 2, tokens: 1000}"],
            "phases.alpha.batch_warmup: objectives take turns by steps",
        ),
        (
            ["phases.alpha.keep_optimizer=true", "phases.beta.optimizer_state=keep"],
            "phases.beta.optimizer_state: keep needs the heads of alpha",
        ),
        (["phases.alpha.spikes.spike=skip"], "phases.alpha.spikes.spike: steps of several object"),
        (
            ["phases.beta.mixture={code: {share: 0.5}, more: 0.5}"],
            "phases.beta.mixture: dual_generation and contrast and matching reads pairs of one",
        ),
        (
            ["phases.beta.mixture.code.language_share={Python: 1}"],
            "beta.mixture.code.language_share: dual_generation and contrast and matching takes",
        ),
        (
            ["phases.alpha={data: null, mixture: {a: {share: 1, languages: [Markdown]}}}"],
            "phases.alpha.mixture.a.languages: masked_identifiers and identifier_tagging needs",
        ),
        (
            ["phases.alpha={data: null, mixture: {a: {share: 1, tokens: /absent}}}"],
            "phases.alpha.mixture.a.tokens: masked_identifiers and identifier_tagging needs",
        ),
        (["evaluate.pass_at_1=false"], "evaluate.pass_at_1: it is for a decoder, which writes"),
        (["evaluate.benchmarks=[basics]"], "evaluate.benchmarks: it is for a decoder"),
        (["evaluate.compare=[[beta, gamma]]"], "evaluate.compare: no phase 'gamma'"),
    ],
)
def test_contradictions(folder: Path, settings: list[str], complaint: str) -> None:
    with pytest.raises(FirnlineError) as caught:
        load(folder, *settings)
    assert any(complaint in line for line in caught.value.details), caught.value.details


def test_every_mistake_at_once(folder: Path) -> None:
    settings = [
        "model.family=bert",
        "phases.alpha.objective.span_masking=0.2",
        "infilling={rate: 0.5}",
        "evaluate.max_new_tokens=5",
        "phases.beta.init=gamma",
    ]
    with pytest.raises(FirnlineError) as caught:
        load(folder, *settings)
    keys = [line.split(": ")[0] for line in caught.value.details]
    assert {
        "phases.alpha.objective",
        "phases.beta.objective.span_masking",
        "phases.beta.objective.dual_generation",
        "phases.beta.infilling",
        "evaluate.max_new_tokens",
        "phases.beta.init",
    } <= set(keys)


def test_objectives_are_no_decoders() -> None:
    with pytest.raises(FirnlineError) as caught:
        recipe.load("quickstart", ["objective={span_masking: 1}"])
    assert len(caught.value.details) == 4  # each phase's


def test_an_input_longer_than_the_table_of_positions(folder: Path) -> None:
    for objective, tokens in (("masked_tokens", 64), ("contrast", 25), ("matching", 39)):
        assert bert(folder, {objective: 1}, context=tokens).phases
        with pytest.raises(FirnlineError) as caught:
            bert(folder, {objective: 1}, context=tokens - 1)
        (line,) = caught.value.details
        assert line.startswith(f"phases.alpha.objective.{objective}: an input takes {tokens} tok")


def test_a_checkpoint_of_another_shape_is_refused(folder: Path) -> None:
    trained = folder / "run" / "train-alpha" / "checkpoint"
    start = f"phases.alpha.init={trained}"
    loaded = load(folder, start)
    assert loaded.phases[0].data.init == str(trained)
    for key, value in (("layers", 2), ("feed_forward", 32), ("sentinels", 90)):
        with pytest.raises(FirnlineError) as caught:
            load(folder, start, f"model.{key}={value}")
        (line,) = caught.value.details
        assert line.startswith(f"phases.alpha.init: {trained} has {key} ")
    with pytest.raises(FirnlineError) as caught:
        recipe.load("quickstart", [start])
    assert "is not a checkpoint of a decoder" in caught.value.details[0]
    from_it = recipe.check({**loaded.raw, "model": {"checkpoint": str(trained)}})
    assert from_it.model == loaded.model


# --- running ----------------------------------------------------------------------------------


def test_a_run_leaves_every_stage_whole_and_skips_it_then(folder: Path) -> None:
    loaded, run = load(folder), folder / "run"
    assert pipeline.stage_names(loaded) == STAGES
    for name in STAGES:
        assert read_json(run / name / "manifest.json"), name
        assert read_json(run / name / "stats.json"), name
    results = pipeline.run(loaded, run, workers=1)
    assert all(result.skipped for result in results.values())
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for phase in loaded.phases:
        own = [row for row in rows if row["phase"] == phase.name]
        assert [row["step"] for row in own] == list(range(1, phase.training.steps + 1))
        held_out = [row["step"] for row in own if "heldout_loss" in row]
        assert held_out == [5, 10, 12]
        assert np.isfinite([row["heldout_loss"] for row in own if "heldout_loss" in row]).all()


def test_stages_are_there_for_the_objectives_that_need_them(folder: Path) -> None:
    names = pipeline.stage_names(bert(folder, {"masked_tokens": 0.5, "identifier_tagging": 0.5}))
    assert {"identifiers-corpus", "identifiers-heldout", "pack-heldout"} <= set(names)
    assert not [name for name in names if name.startswith("pairs")]
    names = pipeline.stage_names(bert(folder, {"masked_tokens": 1}))
    assert "pack-heldout" in names
    assert not [name for name in names if name.startswith(("pairs", "identifiers"))]
    names = pipeline.stage_names(bert(folder, {"contrast": 1}))
    assert {"pairs-corpus", "pairs-heldout"} <= set(names)
    assert not {"identifiers-corpus", "pack-heldout"} & set(names)


def test_documents_without_a_grammar_are_not_read_for_identifiers(folder: Path) -> None:
    rows = read_json(folder / "run" / "epochs.json")
    assert {row["language"] for row in rows["alpha"]} == {None, "Python"}
    assert [row["share"] for row in rows["beta"]] == pytest.approx([0.2, 0.2, 0.8])
    pairs = rows["beta"][-1]
    held = read_json(folder / "run" / "pairs-corpus" / "stats.json")
    samples = -(-3000 // 64)
    # Two samples of generation read a pair, one of contrast or matching four.
    seen = samples * (0.3 / 2 + (0.3 + 0.2) * 4)
    assert pairs["epochs"] == pytest.approx(seen / held["pairs"], rel=0.02)
    assert pairs["supply_tokens"] == held["text_tokens"] + held["code_tokens"]
    assert plan(load(folder), run=folder / "run")["sources"][-1]["epochs"] == pairs["epochs"]


def test_pairs_seen_too_often_are_refused(folder: Path) -> None:
    few = load(folder, "phases.beta.mixture.code.max_epochs=0.01")
    with pytest.raises(FirnlineError, match="phase beta asks for more than its sources have"):
        pipeline.run(few, folder / "run", workers=1)


def test_what_a_step_read_and_when_a_document_was_read(folder: Path) -> None:
    """`why` of a document against `why --step` of every step, and pairs against the documents."""
    run, loaded = folder / "run", load(folder)
    texts = {}
    for shard in document_shards(run / "curate"):
        for row in read_columns([shard], ["id", "path", "language", "content"]).to_pylist():
            texts[row["id"].hex()] = row
    seen: dict[tuple[str, str], set[int]] = {}
    for phase in loaded.phases:
        assert phase.objective
        found = set()
        for number in range(1, phase.training.steps + 1):
            rows = step(run, phase.name, number)
            (objective,) = {row["objective"] for row in rows}  # a step is of one
            found.add(objective)
            for row in rows:
                seen.setdefault((row["id"], phase.name), set()).add(number)
                assert texts[row["id"]]["path"] == row["path"]
                if "start" not in row:
                    pairs = described_functions(row["language"], texts[row["id"]]["content"])
                    assert pairs
                    assert row["text_tokens"] <= 12
                    assert row["code_tokens"] <= 24
        assert found == set(phase.objective.used)
    for name in sorted(texts)[::10]:
        (document,) = why(run, name)
        for row in document["phases"]:
            steps = sorted(seen.get((name, row["phase"]), ()))
            assert row["steps"] == steps[:10], (name, row)
        assert "identifiers-corpus" not in [row["folder"] for row in document["tokens"]]


def test_results_are_what_transformers_and_a_loop_say(folder: Path) -> None:
    run, loaded = folder / "run", load(folder)
    answer = read_json(run / "evaluate" / "results.json")
    models = answer["models"]
    assert list(models) == ["alpha", "before alpha", "beta"]
    names = {"span_masking", "masked_identifiers", "identifier_tagging", "dual_generation"}
    assert all(
        set(row["objective_loss"]) == names | {"contrast", "matching"} for row in models.values()
    )
    folder_of = run / "train-beta" / "checkpoint"
    model = transformers.T5ForConditionalGeneration.from_pretrained(folder_of).eval()
    opened = objective_phases._open_held_out(loaded, run, folder_of)
    for name in ("span_masking", "masked_identifiers", "dual_generation"):
        objective, units, size = opened[name]
        total = count = 0.0
        for first in range(0, min(8, units) * size, size):
            batch = objective.batch(first, size)
            inputs, targets = batch["inputs"], batch["targets"]
            with torch.no_grad():
                mean = model(
                    input_ids=inputs,
                    attention_mask=(inputs != objective.vocabulary.pad).long(),
                    labels=targets,
                ).loss
            told = int((targets != IGNORE).sum())
            total, count = total + float(mean) * told, count + told
        assert models["beta"]["objective_loss"][name]["value"] == pytest.approx(
            total / count, rel=1e-4
        )
    spans = [models[name]["objective_loss"]["span_masking"]["value"] for name in models]
    assert spans[1] > spans[0]  # it learns
    contrast, groups, _ = opened["contrast"]
    trained = contrast.setup.build({"embed", "tag", "match"}).eval()
    hits = pairs = 0
    for number in range(min(8, groups)):
        batch = contrast.batch(number, 1)
        vectors = {}
        for side in ("texts", "codes"):
            ids = [[contrast.vocabulary.added("classify"), *row] for row in batch[side][0].tolist()]
            tokens = torch.tensor(ids)
            with torch.no_grad():
                vectors[side] = trained("embed", tokens, tokens != contrast.vocabulary.pad).numpy()
        for text, vector in enumerate(vectors["texts"]):
            likeness = [float(vector @ code) for code in vectors["codes"]]
            hits += likeness.index(max(likeness)) == text
            pairs += 1
    key = "code by its text, among 4 (chance 0.250)"
    assert models["beta"]["recall_at_1"][key]["value"] == pytest.approx(hits / pairs)
    difference = answer["differences"]["beta - alpha"]["objective_loss"]["span_masking"]["value"]
    assert difference == pytest.approx(spans[2] - spans[0])


def test_the_report_tells_of_each_objective(folder: Path) -> None:
    text = page.write(folder / "run").read_text()
    for words in (
        "Loss: span masking",
        "Loss: dual generation",
        "held out, all objectives of a phase together",
        "Held-out loss: identifier tagging",
        "before alpha",
        "span masking 30%, masked identifiers 40%",
        "identifier tagging 30%, its loss 0.5 times",
        "code, pairs",
    ):
        assert words in text, words
    assert "infilling" not in text


# Ends as SIGKILL ends it, right after the seventh step.
KILLED = """
import os, signal
from firnline.cli import main
from firnline.training.metrics import MetricsFile
write, rows = MetricsFile.write, []
def write_seven(self, row):
    write(self, row)
    rows.append(row)
    if len(rows) == 7:
        os.kill(os.getpid(), signal.SIGKILL)
MetricsFile.write = write_seven
main()
"""


def test_a_killed_phase_goes_on_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    kept = shutil.ignore_patterns("train-*", "evaluate", ".*")
    shutil.copytree(folder / "run", run, ignore=kept)
    command = [sys.executable, "-c", KILLED, "run", str(folder / "recipe.yaml"), "--out", str(run)]
    killed = subprocess.run([*command, "--workers", "1"], stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    assert (run / ".train-alpha.partial" / "metrics.jsonl").read_bytes().count(b"\n") == 7
    pipeline.run(load(folder), run, workers=1)
    for name in ("train-alpha/checkpoint", "train-beta/checkpoint"):
        for path in sorted((folder / "run" / name).iterdir()):
            assert digest(path) == digest(run / name / path.name), path
    assert digest(run / "evaluate" / "results.json") == digest(
        folder / "run" / "evaluate" / "results.json"
    )


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_encoder_runs_too(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run, ignore=shutil.ignore_patterns("train-*", "evaluate", ".*"))
    objective = {"masked_tokens": 0.4, "identifier_tagging": 0.3, "contrast": 0.3}
    results = pipeline.run(bert(folder, objective), run, workers=1)
    made = [name for name, result in results.items() if not result.skipped]
    assert made == ["train-alpha", "evaluate"]
    losses = read_json(run / "evaluate" / "results.json")["models"]["alpha"]["objective_loss"]
    assert set(losses) == set(objective)
    model = transformers.BertForMaskedLM.from_pretrained(run / "train-alpha" / "checkpoint")
    assert model.config.max_position_embeddings == 80
