"""Losses of encoder and encoder-decoder models, and that each objective learns."""

from __future__ import annotations

import json
import math
import sysconfig
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from firnline.batch import Batch
from firnline.errors import FirnlineError
from firnline.model.loss import IGNORE
from firnline.tokens.descriptions import described_functions
from firnline.tokens.identifiers import label_document
from firnline.training.objectives import stage
from firnline.training.objectives.hiding import (
    IdentifierTagging,
    MaskedIdentifiers,
    MaskedTokens,
    SpanMasking,
)
from firnline.training.objectives.mixture import Mixture
from firnline.training.objectives.models import build_model, save_model
from firnline.training.objectives.objective import Objective, Setup
from firnline.training.objectives.pairing import Contrast, DualGeneration, Matching, alike
from firnline.training.objectives.shapes import (
    PRESETS,
    ModelShape,
    Pass,
    parameter_count,
    read_shape,
    training_flops,
)
from firnline.training.objectives.vocabulary import Vocabulary
from firnline.training.phase import PhaseConfig
from firnline.training.schedule import Schedule

LENGTH = 64
SMALL = {"width": 48, "layers": 1, "heads": 2, "feed_forward": 64, "sentinels": 20}
T5_SHAPE = ModelShape(family="t5", **SMALL)
BERT_SHAPE = ModelShape(family="bert", **SMALL)
# One token for each byte: id 0 ends a text, byte b is id b + 1.
VOCABULARY = Vocabulary.of(
    {0: b"<|endoftext|>", **{byte + 1: bytes([byte]) for byte in range(256)}},
    special=[0],
    end=0,
    sentinels=20,
)
T5 = Setup(T5_SHAPE, VOCABULARY, seed=3, phase="alpha")
BERT = Setup(BERT_SHAPE, VOCABULARY, seed=3, phase="alpha")
TEXTS = [
    Path(sysconfig.get_path("stdlib"), f"{name}.py").read_text() for name in ("bisect", "heapq")
]
ROWS = 48  # samples of an epoch: little enough to learn in a second


class Source:
    """Real Python, a token for each byte, or its labels, cut into samples."""

    def __init__(self, labels: bool, rows: int = ROWS) -> None:
        self.rows = rows
        parts = []
        for text in TEXTS:
            data = text.encode()
            ids = np.frombuffer(data, dtype=np.uint8).astype(np.int64) + 1
            if labels:
                found = label_document("Python", data, np.ones(len(data), dtype=np.int64))
                assert found is not None
                ids = found.astype(np.int64)
            parts.append(np.append(ids, 0))
        self.stream = np.concatenate(parts)

    def batch(self, start: int, count: int) -> Batch:
        numbers = np.arange(start, start + count) * 5 % self.rows
        return Batch(self.stream[numbers[:, None] * LENGTH + np.arange(LENGTH + 1)], None)

    def epochs(self, samples: int) -> dict[str, float]:
        return {"source": samples / self.rows}


class Functions:
    """Described functions of the same files."""

    text_length, code_length = 24, 40

    def __init__(self) -> None:
        self.found = [pair for text in TEXTS for pair in described_functions("Python", text)]

    def pairs(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        out = tuple(
            np.full((count, size), -1, dtype=np.int64)
            for size in (self.text_length, self.code_length)
        )
        for row in range(count):
            pair = self.found[(start + row) % len(self.found)]
            for array, text in zip(out, pair, strict=True):
                data = np.frombuffer(text.encode(), dtype=np.uint8)[: array.shape[1]]
                array[row, : len(data)] = data.astype(np.int64) + 1
        return out[0], out[1]


class Counted:
    """Pairs of which text and code begin with the same letter: matching and contrast can see it."""

    text_length, code_length = 3, 4

    def pairs(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        texts = np.full((count, 3), -1, dtype=np.int64)
        codes = np.full((count, 4), -1, dtype=np.int64)
        texts[:, 0] = codes[:, 1] = 60 + np.arange(start, start + count) * 7 % 40
        codes[:, 0] = 50
        return texts, codes


IDS, LABELS = Source(labels=False), Source(labels=True)


def objectives() -> dict[str, Objective]:
    pairs = Counted()
    return {
        "spans": SpanMasking(T5, IDS, sequence_length=LENGTH),
        "names": MaskedIdentifiers(T5, IDS, LABELS, sequence_length=LENGTH),
        "tags": IdentifierTagging(T5, IDS, LABELS, sequence_length=LENGTH),
        "encoder tags": IdentifierTagging(BERT, IDS, LABELS, sequence_length=LENGTH),
        "tokens": MaskedTokens(BERT, Source(labels=False, rows=6), sequence_length=LENGTH),
        "dual": DualGeneration(T5, Functions()),
        "contrast": Contrast(BERT, pairs, group=8),
        "matching": Matching(BERT, pairs, group=8),
        "hard matching": Matching(BERT, pairs, group=8, negatives="hard"),
    }


OBJECTIVES = objectives()


def mean_loss(objective: Objective | Mixture, model: torch.nn.Module, first: int) -> float:
    with torch.no_grad():
        total, count = objective.loss(model, objective.batch(first, 8))
    return total.item() / int(count)


# ---- losses


def test_the_loss_of_t5_is_that_of_transformers() -> None:
    for name in ("spans", "names", "dual"):
        objective = OBJECTIVES[name]
        model, batch = objective.build(), objective.batch(0, 6)
        total, count = objective.loss(model, batch)
        reference = model.backbone(
            input_ids=batch["inputs"],
            attention_mask=(batch["inputs"] != VOCABULARY.pad).long(),
            labels=batch["targets"],
        ).loss
        assert int(count) == int((batch["targets"] != IGNORE).sum()) > 50
        assert (total / count).item() == pytest.approx(reference.item(), rel=1e-6)


def test_the_loss_of_bert_is_that_of_transformers() -> None:
    objective = OBJECTIVES["tokens"]
    model, batch = objective.build(), objective.batch(0, 6)
    total, count = objective.loss(model, batch)
    reference = model.backbone(
        input_ids=batch["inputs"], attention_mask=None, labels=batch["targets"]
    ).loss
    assert (total / count).item() == pytest.approx(reference.item(), rel=1e-6)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_sums_do_not_depend_on_micro_batches(name: str) -> None:
    objective = OBJECTIVES[name]
    model, batch = objective.build(), objective.batch(4, 6)
    total, count = objective.loss(model, batch)
    parts = [
        objective.loss(model, {key: tensor[rows] for key, tensor in batch.items()})
        for rows in (slice(0, 1), slice(1, 4), slice(4, 6))
    ]
    assert total.item() == pytest.approx(sum(part[0].item() for part in parts), rel=1e-4)
    assert int(count) == sum(int(part[1]) for part in parts)


def test_padding_does_not_change_the_loss() -> None:
    objective = OBJECTIVES["names"]
    model, batch = objective.build(), objective.batch(0, 4)
    pad = torch.full((4, 9), VOCABULARY.pad)
    wider = {
        "inputs": torch.cat([batch["inputs"], pad], 1),
        "targets": torch.cat([batch["targets"], torch.full((4, 9), IGNORE)], 1),
    }
    (total, count), (again, same) = objective.loss(model, batch), objective.loss(model, wider)
    assert again.item() == pytest.approx(total.item(), rel=1e-5)
    assert int(count) == int(same)


@pytest.mark.parametrize("name", ["spans", "names", "tags", "tokens"])
def test_without_a_target_the_sum_is_zero_and_has_a_gradient(name: str) -> None:
    objective = OBJECTIVES[name]
    model = objective.build()
    batch = {key: tensor.clone() for key, tensor in objective.batch(0, 2).items()}
    batch["targets"][:] = IGNORE
    total, count = objective.loss(model, batch)
    total.backward()
    assert total.item() == 0
    assert int(count) == 0


def test_contrast_is_the_symmetric_cross_entropy_of_a_plain_loop() -> None:
    objective = OBJECTIVES["contrast"]
    assert isinstance(objective, Contrast)
    model, batch = objective.build(), objective.batch(0, 3)
    batch = {key: tensor.clone() for key, tensor in batch.items()}
    batch["texts"][1, 3] = batch["texts"][1, 5]  # a duplicate is no negative
    total, count = objective.loss(model, batch)

    def vectors(ids: Tensor) -> np.ndarray:
        lead = torch.full((len(ids), 1), VOCABULARY.added("classify"))
        inputs = torch.cat([lead, ids], 1)
        mask = (inputs != VOCABULARY.pad).long()
        hidden = model.backbone.bert(input_ids=inputs, attention_mask=mask).last_hidden_state
        out = model.heads["embed"](hidden[:, 0]).detach().double().numpy()
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    expected = 0.0
    for sample in range(3):
        scores = vectors(batch["texts"][sample]) @ vectors(batch["codes"][sample]).T / 0.07
        for i in range(8):
            others = [j for j in range(8) if not (sample == 1 and {i, j} == {3, 5})]
            expected += (np.log(np.exp(scores[i, others]).sum()) - scores[i, i]) / 2
            expected += (np.log(np.exp(scores[others, i]).sum()) - scores[i, i]) / 2
    assert int(count) == 24
    assert total.item() == pytest.approx(expected, rel=1e-4)


def test_wrong_pairs_are_never_right_ones() -> None:
    texts = torch.tensor([[[1], [1], [2], [3]]])
    codes = torch.tensor([[[5], [6], [7], [7]]])
    expected = torch.zeros(1, 4, 4, dtype=torch.bool)
    expected[0, 0, 1] = expected[0, 1, 0] = expected[0, 2, 3] = expected[0, 3, 2] = True
    assert torch.equal(alike(texts, codes), expected)


@pytest.mark.parametrize("negatives", ["random", "hard"])
def test_matching_reads_each_text_with_its_code_and_a_wrong_one(negatives: str) -> None:
    objective = Matching(BERT, Counted(), group=8, negatives=negatives)  # type: ignore[arg-type]
    model, seen = objective.build(), []
    forward = model.forward

    def watch(head: str, inputs: Tensor, mask: Tensor, targets: Tensor | None = None) -> Tensor:
        out = forward(head, inputs, mask, targets)
        seen.append((head, inputs, out))
        return out

    model.forward = watch  # type: ignore[method-assign]
    batch = objective.batch(0, 2)
    batch["codes"][1] = batch["codes"][1, :1]  # all the same: no wrong one
    _, count = objective.loss(model, batch)
    assert int(count) == 16 + 8
    (_, right, yes), (_, wrong, no) = [call for call in seen if call[0] == "match"]
    told = [value > 0 for value in yes.tolist()] + [value < 0 for value in no.tolist()]
    assert objective.found(model, batch) == [sum(told)]
    seen = [call for call in seen if call[0] == "embed"][:2]
    assert torch.equal(right[:8, 1:4], batch["texts"][0])
    assert torch.equal(right[:8, 5:9], batch["codes"][0])
    assert torch.equal(wrong[:, 1:4], batch["texts"][0])
    same = (wrong[:, None, 5:9] == batch["codes"][0]).all(-1)
    assert same.any(1).all()
    assert not same.diagonal().any()
    if negatives == "hard":
        (_, _, texts), (_, _, codes) = seen
        likeness = (texts[:8] @ codes[:8].T).fill_diagonal_(-2)
        assert same[torch.arange(8), likeness.argmax(1)].all()


# ---- models


@pytest.mark.parametrize("shape", [T5_SHAPE, BERT_SHAPE])
def test_weights_are_a_function_of_the_seed(shape: ModelShape) -> None:
    before = torch.random.get_rng_state()
    one, two, other = (build_model(shape, VOCABULARY, seed, ["tag"]) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, two.state_dict()[name])
    assert not torch.equal(one.heads["tag"].weight, other.heads["tag"].weight)
    assert not any(m.p for m in one.modules() if isinstance(m, torch.nn.Dropout))


def test_presets_have_the_published_sizes() -> None:
    with torch.device("meta"):
        for name, millions, rows in (("codet5-small", 60, 32_100), ("codet5-base", 220, 32_100)):
            shape = PRESETS[name]
            config = transformers.T5Config(
                vocab_size=rows,
                d_model=shape.width,
                d_ff=shape.feed_forward,
                d_kv=64,
                num_layers=shape.layers,
                num_heads=shape.heads,
            )
            model = transformers.T5ForConditionalGeneration(config)
            assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, 0.02)
            assert shape.width // shape.heads == 64


@pytest.mark.parametrize("name", ["codet5-small", "codebert-base", "tiny-t5", "tiny-bert"])
def test_parameters_are_counted_as_transformers_has_them(name: str, tmp_path: Path) -> None:
    shape = PRESETS[name].model_copy(update={"sentinels": 20})
    with torch.device("meta"):
        model = build_model(shape, VOCABULARY, 0, ("tag", "embed", "match"))
    rows = shape.rows(VOCABULARY.tokenizer_size)
    counted = parameter_count(shape, rows, ("tag", "embed", "match"))
    assert counted == sum(weight.numel() for weight in model.parameters())
    model.backbone.config.save_pretrained(tmp_path)
    (tmp_path / "added_ids.json").write_text('{"sentinels": 20}')
    assert read_shape(tmp_path) == shape


def test_flops_are_those_that_torch_counts() -> None:
    """Of a forward pass, of which training takes three; half of a causal mask is not seen."""
    for setup, head, one in (
        (T5, "generate", Pass(24, 10)),
        (BERT, "mask", Pass(24, 4)),
        (BERT, "embed", Pass(24)),
    ):
        model = setup.build(["embed"])
        model.backbone.set_attn_implementation("eager")  # the fused one is not counted on CPUs
        inputs = torch.ones(1, one.inputs, dtype=torch.int64)
        targets = torch.ones(1, one.targets, dtype=torch.int64)
        if head == "mask":
            targets = torch.full_like(inputs, IGNORE)
            targets[0, : one.targets] = 1
        with FlopCounterMode(display=False) as counter:
            model(head, inputs, inputs > 0, targets if one.targets else None)
        own = counter.get_total_flops() - (2 * 48 * 48 if head == "embed" else 0)
        assert training_flops(setup.shape, VOCABULARY.size, [one]).full_attention == 3 * own


@pytest.mark.parametrize("setup", [T5, BERT])
def test_a_checkpoint_opens_in_transformers_and_here(setup: Setup, tmp_path: Path) -> None:
    model = setup.build(["tag", "match"])
    save_model(model, tmp_path)
    kind = type(model.backbone)
    opened = kind.from_pretrained(tmp_path)
    inputs = IDS.batch(0, 2).ids
    tokens = torch.from_numpy(inputs)
    given = {"decoder_input_ids": tokens[:, :5]} if setup is T5 else {}
    with torch.no_grad():
        expected = model.backbone(input_ids=tokens, **given).logits
        assert torch.equal(opened.eval()(input_ids=tokens, **given).logits, expected)
    again = build_model(setup.shape, VOCABULARY, 9, ["tag", "embed"], tmp_path)
    for name, weight in again.state_dict().items():
        if "embed." not in name or name in model.state_dict():
            assert torch.equal(weight, model.state_dict()[name])
    wider = setup.shape.model_copy(update={"width": 64})
    deeper = setup.shape.model_copy(update={"layers": 3})
    for shape in (wider, deeper):
        with pytest.raises(FirnlineError, match="another shape"):
            build_model(shape, VOCABULARY, 9, [], tmp_path)
    with pytest.raises(FirnlineError, match=r"no model\.safetensors"):
        build_model(setup.shape, VOCABULARY, 9, [], tmp_path / "none")


# ---- learning


def unigram_entropy(objective: Objective) -> float:
    """Nats of the best constant guess: of what the targets are, wherever they stand."""
    targets = objective.batch(0, 400)["targets"]
    counts = np.array(list(Counter(targets[targets != IGNORE].tolist()).values()))
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


# Steps, learning rate, and what is left of the loss of the best constant guess after them.
LEARNED = {
    "spans": (80, 1e-2, 0.85),
    "names": (60, 1e-2, 0.75),
    "tags": (60, 4e-3, 0.7),
    "encoder tags": (60, 4e-3, 0.7),
    "tokens": (120, 4e-3, 0.8),
    "dual": (50, 1e-2, 0.7),
    "contrast": (30, 4e-3, 0.5),
    "matching": (60, 4e-3, 0.9),
}


@pytest.mark.parametrize("name", sorted(LEARNED))
def test_each_objective_learns(name: str) -> None:
    objective, (steps, rate, share) = OBJECTIVES[name], LEARNED[name]
    if name == "contrast":
        trivial = math.log(8)
    elif name == "matching":
        trivial = math.log(2)
    else:
        trivial = unigram_entropy(objective)
    model = objective.build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    for step in range(steps):
        total, count = objective.loss(model, objective.batch(8 * step, 8))
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    after = mean_loss(objective, model, 100_000)
    print(name, trivial, after, after / trivial)
    assert after < share * trivial


def test_a_mixture_trains_through_the_stage_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    mixed = {name: OBJECTIVES[name] for name in ("spans", "names", "tags", "dual")}
    task = Mixture(mixed, dict.fromkeys(mixed, 0.25), weights={"tags": 0.2})
    config = PhaseConfig(
        name="alpha",
        tokens=12 * 8 * LENGTH,
        sequence_length=LENGTH,
        batch_sequences=8,
        micro_batch_sequences=3,
        schedule=Schedule(kind="constant", peak=2e-3),
        checkpoint_every_steps=5,
        device="cpu",
    )
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text("{}")
    whole = stage.run(
        config, task, tmp_path / "whole", inputs={}, tokenizer_file=tokenizer, workers=1
    )
    rows = [json.loads(line) for line in (whole.folder / "metrics.jsonl").open()]
    assert len(rows) == 12
    assert rows[-1]["loss"] < rows[0]["loss"]

    class Stops(Mixture):
        def batch(self, first: int, count: int) -> dict[str, Tensor]:
            if first >= 8 * 8:
                raise KeyboardInterrupt
            return dict(super().batch(first, count))

    failing = Stops(mixed, dict.fromkeys(mixed, 0.25), weights={"tags": 0.2})
    other = {"inputs": {}, "tokenizer_file": tokenizer, "workers": 1}
    with pytest.raises(KeyboardInterrupt):
        stage.run(config, failing, tmp_path / "again", **other)
    again = stage.run(config, task, tmp_path / "again", **other)
    for name in ("model.safetensors", "heads.safetensors", "added_ids.json"):
        written = [(run.folder / "checkpoint" / name).read_bytes() for run in (whole, again)]
        assert written[0] == written[1]
    assert json.loads((whole.folder / "checkpoint" / "added_ids.json").read_text())["sentinel"] == (
        VOCABULARY.sentinel
    )
    after = stage.run(config, task, tmp_path / "again", **other)
    assert after.skipped
