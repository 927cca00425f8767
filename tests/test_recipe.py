"""Recipes: packaged ones are whole, files extend one another, every mistake is named at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import yaml
from tokenizers import decoders, models, pre_tokenizers

from firnline import recipe
from firnline.errors import FirnlineError
from firnline.model import checkpoint
from firnline.model.llama import Llama
from firnline.model.presets import PRESETS
from firnline.tokens.mixture import shares
from firnline.tokens.train import TokenizerConfig


def mistakes(raw: dict[str, Any]) -> list[str]:
    with pytest.raises(FirnlineError) as caught:
        recipe.check(raw)
    return list(caught.value.details)


@pytest.mark.parametrize("name", recipe.packaged())
def test_packaged_recipes_are_whole(name: str) -> None:
    loaded = recipe.load(name)
    assert loaded.name == name
    assert recipe.check(loaded.raw) == loaded


def shares_of(name: str, *settings: str) -> dict[str, dict[str, float]]:
    """Each phase's sources and their shares, as numbers."""
    loaded = recipe.load(name, settings)
    return {
        phase.name: {source: float(share) for source, share in shares(phase.sources).items()}
        for phase in loaded.phases
    }


B = 10**9


def test_to_code_or_not_to_code_s_numbers() -> None:
    """Sections 2.3 and 3.1 to 3.5 of the paper."""
    base = recipe.load("text-and-code")
    (pretrain,) = base.phases
    assert (base.model.vocabulary_size, base.model.context) == (256_000, 8192)
    assert base.model == PRESETS["to-code-470m"]
    larger = recipe.load("text-and-code", ["model.preset=to-code-2.8b"])
    assert larger.model == PRESETS["to-code-2.8b"]
    training = pretrain.training
    assert (training.tokens, training.batch_sequences) == (200 * B, 512)
    assert (training.schedule.kind, training.schedule.warmup_steps) == ("cosine", 1325)
    for share in (0, 0.25, 0.5, 0.75, 0.9, 1):  # section 3.3
        wanted = {"text": 1 - share, "code": share}
        found = shares_of("text-and-code", f"phases.pretrain.mixture.code={share}")
        assert found == {"pretrain": pytest.approx({k: v for k, v in wanted.items() if v})}
    assert shares_of("text-and-code") == {"pretrain": {"text": 0.75, "code": 0.25}}
    # Section 3.1.
    assert shares_of("text-only") == {"pretrain": {"text": 1}}
    assert shares_of("balanced") == {"pretrain": {"text": 0.5, "code": 0.5}}
    text = {"text": 0.9, "code": 0.1}
    balanced = {"pretrain": {"text": 0.5, "code": 0.5}, "continue": text}
    assert shares_of("balanced-then-text") == balanced
    assert shares_of("code-then-text") == {"pretrain": {"code": 1}, "continue": text}
    for name, tokens in {
        "text-only": [400],
        "balanced": [400],
        "balanced-then-text": [200, 200],
        "code-then-text": [200, 200],
        "kinds-of-code": [200],
        "cooldown": [200, 200, 40, 40],
    }.items():
        assert [p.training.tokens for p in recipe.load(name).phases] == [t * B for t in tokens]
    assert recipe.load("code-then-text").phase("continue").data.init == "pretrain"
    # Section 3.4.
    assert shares_of("kinds-of-code") == {"pretrain": {"code": 0.9, "synthetic": 0.1}}
    for other in ("markup", "adjacent"):
        swap = [f"phases.pretrain.mixture.{other}=0.1", "phases.pretrain.mixture.synthetic=0"]
        assert shares_of("kinds-of-code", *swap) == {"pretrain": {"code": 0.9, other: 0.1}}
    # Section 3.5.
    cooldown = shares_of("cooldown")
    assert cooldown["with-code"] == {"text": 0.8, "code": 0.2}
    assert cooldown["without-code"] == {"text": 1}
    for name in ("with-code", "without-code"):
        phase = recipe.load("cooldown").phase(name)
        assert phase.data.init == "continue"
        assert (phase.training.schedule.kind, phase.training.schedule.floor) == ("linear", 1e-6)


@pytest.mark.parametrize(
    "name", ["text-only", "balanced-then-text", "code-then-text", "kinds-of-code", "cooldown"]
)
def test_a_paper_s_recipe_on_a_laptop(name: str) -> None:
    whole, small = recipe.load(name), recipe.load(f"{name}+laptop", ["synthesize.folder=null"])
    assert small.name == name
    assert small.model.layers == PRESETS["tiny"].layers
    for large, phase in zip(whole.phases, small.phases, strict=True):
        assert phase.training.tokens == large.training.tokens / 500_000
        assert phase.training.schedule.peak == pytest.approx(10 * large.training.schedule.peak)
        assert phase.training.schedule.warmup_steps < phase.training.steps / 30
        assert shares(phase.sources) == shares(large.sources)
    if name != "kinds-of-code":
        assert small.phases[-1].sources["text"].kinds == ("prose", "markup")


def test_recipes_are_put_over_one_another(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 3\nextends: balanced+laptop\nname: mine\n")
    loaded = recipe.load(str(tmp_path / "mine.yaml"))
    assert (loaded.seed, loaded.name, loaded.model.layers) == (3, "mine", 4)
    (tmp_path / "over.yaml").write_text("seed: 4\n")
    assert recipe.load(f"{tmp_path / 'mine.yaml'}+{tmp_path / 'over.yaml'}").seed == 4
    with pytest.raises(FirnlineError, match="no recipe laptoop"):
        recipe.load("balanced+laptoop")
    assert "laptop" not in recipe.packaged()


def test_the_paper_s_numbers() -> None:
    paper = recipe.load("arctic-snowcoder-1.3b")
    alpha, beta, final = paper.phases
    assert [p.training.tokens for p in paper.phases] == [500 * 10**9, 50 * 10**9, 5 * 10**9]
    assert {p.training.sequence_length for p in paper.phases} == {8192}
    assert {p.training.batch_sequences for p in paper.phases} == {512}
    assert (beta.data.init, beta.data.data, beta.data.repeat) == ("alpha", "selected", 4)
    assert (final.data.init, final.data.data) == ("beta", "synthetic")
    assert final.data.language_share == {"Python": 0.5}
    assert alpha.selection is None
    assert beta.selection == ("selected", 12_500_000_000, {})  # four times
    assert final.selection == ("synthetic", 2_000_000_000, {"Python": 0.5})
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
    assert isinstance(changed.tokenizer, TokenizerConfig)
    assert changed.curate.seed == changed.tokenizer.seed == 7


def test_recipes_extend_one_another(tmp_path: Path) -> None:
    below = {"extends": "quickstart", "name": "below", "tokenizer": {"vocabulary_size": 2048}}
    above = {"extends": "below.yaml", "name": "above", "phases": {"beta": {"repeat": 3}}}
    (tmp_path / "below.yaml").write_text(yaml.safe_dump(below))
    (tmp_path / "above.yaml").write_text(yaml.safe_dump(above))
    loaded = recipe.load(str(tmp_path / "above.yaml"))
    assert loaded.name == "above"
    assert isinstance(loaded.tokenizer, TokenizerConfig)
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
        (["phases.beta.init=./absent"], "phases.beta.init: "),
        (["phases.beta.mixture={a: 1}"], "either data or a mixture, there are both"),
        (["phases.beta.data=null"], "either data or a mixture, there are neither"),
        (["phases.beta.max_epochs=0"], "phases.beta.max_epochs: Input should be greater"),
        (["mixture=3"], "mixture: a mapping of keys, got 3"),
        (["packing.method=tetris"], "phases.alpha.packing.method: "),
        (["phases.alpha.infilling={rate: 2}"], "phases.alpha.infilling.rate: "),
        (["scale.tokens=-1"], "scale.tokens: "),
        (["training.attention=masked"], "phases.alpha.attention: it belongs to packing"),
        (["phases.beta.optimizer_state=keep"], "phases.beta.optimizer_state: keep needs an init"),
        (["phases.alpha.optimizer_state=keep"], "phases.alpha.optimizer_state: keep needs an init"),
        (
            [
                "phases.alpha.keep_optimizer=true",
                "phases.beta.optimizer_state=keep",
                "phases.beta.optimizer.name=muon",
            ],
            "phases.beta.optimizer_state: keep needs one optimizer, alpha has adamw and this",
        ),
        (
            ["phases.alpha.batch_warmup={first_sequences: 4, tokens: 1M}"],
            "tokens, the phase has 800,000",
        ),
        (
            ["training.averaging.last=3", "training.checkpoint_every_steps=90"],
            "phases.final: averaging: of the last 3 states 2 are there, 98 steps with checkpoint",
        ),
        (
            ["training.evaluation={every_steps: 9, samples: 9}", "curate.heldout_share=0"],
            "phases.alpha.evaluation: curate.heldout_share is 0",
        ),
        (["phases.beta.max_epochs=2"], "phases.beta.repeat: 4 is above max_epochs, which is 2"),
        (["infilling={rate: 0.5, cut: syntax}"], "phases.alpha.infilling.cut: syntax needs pack"),
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


@pytest.mark.parametrize(
    ("mixture", "complaint"),
    [
        ("{a: 0.5, b: 0.4}", "mixture: the shares add up to 0.9, not to 1"),
        ("{a: rest, b: rest}", "mixture: only one share can be the rest, a and b are"),
        ("{a: 2}", "mixture.a.share: a share between 0 and 1, or rest, got 2"),
        ("{a: {kinds: [programming]}}", "mixture.a.share: Field required"),
        ("{a: {share: 1, colour: blue}}", "mixture.a.colour: no such key"),
        ("{a: {share: 1, languages: [Klingon]}}", "mixture.a.languages: no language 'Klingon'"),
        ("{a: {share: 1, language_share: {C: 2}}}", "language_share: C: between 0 and 1, got 2"),
        ("{a/b: 1}", "mixture: a source cannot be called 'a/b'"),
        ("[a, b]", "mixture: Input should be a valid dictionary"),
        ("{a: {share: 1, tokens: /absent}}", "a.tokens: /absent is not a token folder"),
        ("{a: {share: 1, tokens: /absent, data: corpus}}", "a: either data or tokens"),
        ("{a: {share: 1, data: synthetic, quality: {above: 0.5}}}", "only the corpus has scores"),
        ("{a: {share: 1, quality: {above: 0.5, below: 0.2}}}", "above (0.5) is not under below"),
        ("{a: {share: 1, repeat: 2}}", "a.repeat: it needs data: selected"),
        ("{a: {share: 1, data: selected, repeat: 9}}", "repeat (9) is above max_epochs (4)"),
        (
            "{a: {share: 1, languages: [C], language_share: {C: 0.5, Go: 0.5}}}",
            "a.language_share: its filters leave out Go",
        ),
        (
            "{a: {share: 1, kinds: [prose], language_share: {Go: 0.5}}}",
            "a.language_share: its filters leave out Go",
        ),
        (
            "{a: {share: 1, languages: [C, Go], language_share: {C: 0.5, Go: 0.4}}}",
            "a.language_share: adds up to 0.9, and there is no other language",
        ),
        ("{a: {share: 1, data: selected, kinds: [data]}}", "a.data: what is selected is not"),
        (
            "{a: {share: rest, data: selected}, b: {share: 0.5, data: selected}}",
            "only one source can be selected, a and b are",
        ),
    ],
)
def test_contradictions_of_a_mixture(mixture: str, complaint: str) -> None:
    settings = [
        f"phases.mixed={{tokens: 80k, schedule: {{kind: constant, peak: 1e-3}}, "
        f"mixture: {mixture}}}"
    ]
    with pytest.raises(FirnlineError) as caught:
        recipe.load("quickstart", settings)
    lines = caught.value.details
    assert any(complaint in line and line.startswith("phases.mixed.m") for line in lines), lines


def test_every_contradiction_of_a_mixture_at_once() -> None:
    """A quality bucket, selected and synthetic data without the stages that they need."""
    raw = recipe.load("balanced").raw
    raw["phases"]["pretrain"]["mixture"] = {
        "text": {"share": 0.5, "quality": {"above": 0.9}},
        "code": {"share": 0.4, "data": "selected"},
        "made": {"share": 0.4, "data": "synthetic"},
        "unused": {"share": 0.0, "data": "synthetic"},
    }
    raw["phases"]["continue"] = {**raw["phases"]["pretrain"], "init": "pretrian"}
    found = mistakes(raw)
    for phase in ("pretrain", "continue"):
        key = f"phases.{phase}.mixture"
        assert f"{key}: the shares add up to 1.3, not to 1" in found
        assert f"{key}.text.quality: a bucket needs an annotate section" in found
        assert f"{key}.code.data: selected needs an annotate section" in found
        assert f"{key}.made.data: synthetic needs a synthesize section" in found
    assert "phases.continue.init: no phase 'pretrian'; a checkpoint folder has a / in it" in found


def test_a_mistake_brings_no_others_that_are_none() -> None:
    """What a phase with a mistake says stands, for those that refer to it."""
    settings = ["phases.alpha.keep_optimizer=true", "phases.beta.optimizer_state=keep"]
    with pytest.raises(FirnlineError) as caught:
        recipe.load("quickstart", [*settings, "phases.alpha.schedule.floor=1"])
    assert caught.value.details == ("phases.alpha.schedule: floor (1) is above peak (0.003)",)
    with pytest.raises(FirnlineError) as caught:
        recipe.load("quickstart", ["training.clip=0"])
    assert [line.split(":")[0] for line in caught.value.details] == [
        f"phases.{name}.clip" for name in ("alpha", "beta", "final", "control")
    ]


def test_phases_share_packing_and_infilling_and_override_them() -> None:
    loaded = recipe.load(
        "quickstart",
        [
            "packing.attention=masked",
            "infilling={rate: 0.5, spm_share: 0}",
            "phases.beta.packing.attention=across",
            "phases.beta.infilling.rate=0.9",
            "phases.final.infilling=null",
        ],
    )
    attention = ["masked", "across", "masked", "masked"]
    assert [phase.packing.attention for phase in loaded.phases] == attention
    assert [phase.training.attention for phase in loaded.phases] == attention
    rates = [phase.infilling and phase.infilling.rate for phase in loaded.phases]
    assert rates == [0.5, 0.9, None, 0.5]
    assert loaded.phases[1].infilling and loaded.phases[1].infilling.spm_share == 0


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    checkpoint.save(Llama(PRESETS["tiny"]), tmp_path)
    start = f"phases.alpha.init={tmp_path}"
    assert recipe.load("quickstart", [start]).phase("alpha").data.init == str(tmp_path)
    with pytest.raises(FirnlineError) as caught:
        recipe.load("quickstart", [start, "model.layers=3", "model.heads=4"])
    lines = caught.value.details
    key = "phases.alpha.init"
    assert f"{key}: {tmp_path} has layers 4, the recipe's model has 3" in lines
    assert f"{key}: {tmp_path} has heads 2, the recipe's model has 4" in lines


def write_tokenizer(folder: Path, *merges: tuple[str, str]) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = ["<|endoftext|>", *alphabet, *("".join(pair) for pair in merges)]
    vocabulary = {content: n for n, content in enumerate(entries)}
    made = tokenizers.Tokenizer(models.BPE(vocabulary, list(merges)))
    made.add_special_tokens(["<|endoftext|>"])
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.save(str(folder / "tokenizer.json"))


def test_a_tokenizer_that_others_were_not_made_with_is_refused(tmp_path: Path) -> None:
    """Before anything runs, where the recipe brings it."""
    shape = PRESETS["tiny"].model_copy(update={"vocabulary_size": 258})
    checkpoint.save(Llama(shape), tmp_path / "model")
    write_tokenizer(tmp_path / "model", ("a", "b"))
    write_tokenizer(tmp_path, ("b", "a"))
    tokens = {"vocabulary_size": 258, "dtype": "uint16", "end_of_text": 0, "tokenizer": "other"}
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "tokens.json").write_text(json.dumps(tokens))
    settings = [
        f"phases.alpha.init={tmp_path / 'model'}",
        "phases.control.data=null",
        f"phases.control.mixture={{own: {{share: 1, tokens: {tmp_path / 'tokens'}}}}}",
    ]
    same = recipe.load("quickstart", [f"tokenizer.folder={tmp_path / 'model'}", settings[0]])
    assert same.phase("alpha").data.init == str(tmp_path / "model")
    with pytest.raises(FirnlineError) as caught:
        recipe.load("quickstart", [f"tokenizer.folder={tmp_path}", *settings])
    init, folder = caught.value.details
    assert init.startswith(f"phases.alpha.init: {tmp_path / 'model'} was trained with tokenizer ")
    assert folder.startswith(f"phases.control.mixture.own.tokens: {tmp_path / 'tokens'} was packed")


def test_a_tokenizer_from_elsewhere(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    given = f"tokenizer.folder={tmp_path}"
    assert recipe.load("quickstart", [given]).model.vocabulary_size == 257
    assert recipe.load("quickstart", [given, "model.vocabulary_size=320"]).phases
    with pytest.raises(FirnlineError) as caught:
        recipe.load("quickstart", [given, "model.vocabulary_size=100", "infilling={rate: 0.5}"])
    lines = caught.value.details
    assert "model.vocabulary_size: 100 is less than the tokenizer's 257" in lines
    missing = "fim_prefix, fim_middle, fim_suffix"
    assert f"phases.alpha.infilling: the tokenizer has no {missing}; extend it" in lines
    with pytest.raises(FirnlineError) as caught:
        recipe.load("quickstart", ["tokenizer.folder=/absent"])
    assert any(line.startswith("tokenizer.folder: ") for line in caught.value.details)


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
