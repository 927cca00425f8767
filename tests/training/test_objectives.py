"""What objectives hide and ask for: nothing lost, rules kept, against plain Python."""

from __future__ import annotations

import re
import sysconfig
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.batch import Batch
from firnline.errors import FirnlineError
from firnline.kernels.identifiers import CODE, FIRST, LAST, NEVER, NUMBER
from firnline.kernels.renaming import find, respell
from firnline.model.loss import IGNORE
from firnline.tokens.identifiers import label_document
from firnline.training.objectives.hiding import (
    IdentifierTagging,
    MaskedIdentifiers,
    MaskedTokens,
    SpanMasking,
)
from firnline.training.objectives.mixture import Mixture
from firnline.training.objectives.objective import Setup
from firnline.training.objectives.pairing import Contrast, DualGeneration, Matching
from firnline.training.objectives.shapes import ModelShape
from firnline.training.objectives.vocabulary import ADDED, Vocabulary, sample_states

T5_SHAPE = ModelShape(family="t5", width=16, layers=1, heads=2, feed_forward=16)
BERT_SHAPE = ModelShape(family="bert", width=16, layers=1, heads=2, feed_forward=16, context=128)
END = 0
LIBRARY = Path(sysconfig.get_path("stdlib"))
TEXTS = [(LIBRARY / f"{name}.py").read_text() for name in ("bisect", "heapq", "queue", "shelve")]


def token_table() -> dict[int, bytes]:
    """All bytes, and frequent pieces of words with what stands before or after them."""
    pieces = Counter(
        re.findall(r"[ ._(]?[a-z]{1,4}|_\(|__|_\.|\n +| {2,}|\)\.|[A-Z][a-z]+", "".join(TEXTS))
    )
    common = [piece.encode() for piece, _ in pieces.most_common(400) if len(piece) > 1]
    texts = [b"<|endoftext|>", *(bytes([byte]) for byte in range(256)), *dict.fromkeys(common)]
    return dict(enumerate(texts))


TABLE = token_table()
BY_TEXT = {text: number for number, text in TABLE.items() if number != END}
LONGEST = max(map(len, BY_TEXT))
VOCABULARY = Vocabulary.of(TABLE, special=[END], end=END, sentinels=100)


def tokenize(text: bytes) -> list[int]:
    ids, place = [], 0
    while place < len(text):
        size = next(n for n in range(LONGEST, 0, -1) if text[place : place + n] in BY_TEXT)
        size = min(size, len(text) - place)
        ids.append(BY_TEXT[text[place : place + size]])
        place += size
    return ids


def spelled(ids: list[int]) -> bytes:
    return b"".join(TABLE[i] for i in ids)


class Source:
    """Documents on end, cut into samples; or their labels."""

    def __init__(self, documents: list[list[int]], length: int) -> None:
        stream = np.concatenate([np.array(part, dtype=np.int64) for part in documents])
        self.rows = (len(stream) - 1) // length
        at = np.arange(self.rows)[:, None] * length + np.arange(length + 1)
        self.ids = stream[at]

    def batch(self, start: int, count: int) -> Batch:
        return Batch(self.ids[np.arange(start, start + count) % self.rows], None)

    def epochs(self, samples: int) -> dict[str, float]:
        return {"source": samples / self.rows}


def sources(length: int, texts: list[str] = TEXTS) -> tuple[Source, Source]:
    documents, labels = [], []
    for text in texts:
        ids = tokenize(text.encode())
        marks = label_document("Python", text.encode(), np.array([len(TABLE[i]) for i in ids]))
        assert marks is not None
        documents.append([*ids, END])
        labels.append([*marks.tolist(), 0])
    return Source(documents, length), Source(labels, length)


LENGTH = 96
IDS, LABELS = sources(LENGTH)
T5 = Setup(T5_SHAPE, VOCABULARY, seed=1, phase="alpha")
BERT = Setup(BERT_SHAPE, VOCABULARY, seed=1, phase="alpha")


def told(targets: np.ndarray) -> dict[int, list[int]]:
    """What a target says of each sentinel, in order."""
    spans: dict[int, list[int]] = {}
    kept = [i for i in targets.tolist() if i != IGNORE]
    if not kept:
        return spans
    assert kept[-1] == END
    for number in kept[:-1]:
        if number >= VOCABULARY.sentinel:
            assert number == VOCABULARY.sentinel + len(spans)
            spans[number] = []
        else:
            spans[list(spans)[-1]].append(number)
    return spans


def filled(inputs: np.ndarray, spans: dict[int, list[int]]) -> list[int]:
    whole: list[int] = []
    for number in inputs.tolist():
        if number != VOCABULARY.pad:
            whole += spans[number] if number >= VOCABULARY.sentinel else [number]
    return whole


# ---- the vocabulary


def test_added_ids_follow_the_tokenizers() -> None:
    size = len(TABLE)
    assert [VOCABULARY.added(name) for name in ADDED] == list(range(size, size + len(ADDED)))
    assert VOCABULARY.sentinel == size + len(ADDED)
    assert VOCABULARY.size == size + len(ADDED) + 100
    assert VOCABULARY.ordinary.tolist() == list(range(1, size))
    with pytest.raises(FirnlineError, match="1 of the 256 bytes"):
        Vocabulary.of({0: b"", **{n: bytes([n]) for n in range(1, 256)}}, special=[0], end=0)


@given(st.lists(st.sampled_from(sorted(BY_TEXT)), min_size=1, max_size=3), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_respelling_keeps_the_bytes(parts: list[bytes], begin: int) -> None:
    spelling = VOCABULARY.spelling
    for part in parts:
        start = int(spelling.offsets[BY_TEXT[part]])
        stop = int(spelling.offsets[BY_TEXT[part] + 1])
        assert find(spelling, start, stop) == BY_TEXT[part]
        start = min(start + begin, stop)
        out = np.zeros(64, dtype=np.int64)
        end = respell(spelling, start, stop, out, 0)
        assert spelled(out[:end].tolist()) == part[len(part) - (stop - start) :]


def test_random_states_differ_by_all_that_they_depend_on() -> None:
    numbers = np.arange(1000)
    states = [
        sample_states(seed, phase, name, numbers)
        for seed in (0, 1)
        for phase in "ab"
        for name in "xy"
    ]
    assert len(np.unique(np.concatenate(states))) == 8000
    assert np.array_equal(states[0][10:20], sample_states(0, "a", "x", np.arange(10, 20)))


# ---- spans


def spans_of(source: Source, length: int, **settings: object) -> SpanMasking:
    return SpanMasking(T5, source, sequence_length=length, **settings)  # type: ignore[arg-type]


def test_spans_put_back_give_the_tokens() -> None:
    objective = spans_of(IDS, LENGTH)
    batch = objective.batch(0, 3 * IDS.rows)
    hidden, words, budget = 0, Counter[int](), 0
    for row in range(3 * IDS.rows):
        ids = IDS.ids[row % IDS.rows, :LENGTH]
        inputs, targets = batch["inputs"][row].numpy(), batch["targets"][row].numpy()
        spans = told(targets)
        assert filled(inputs, spans) == ids.tolist()
        joined = VOCABULARY.joins(ids[None])[0]
        place, previous_hidden = 0, False
        for number in inputs[inputs != VOCABULARY.pad].tolist():
            span = spans.get(number)
            if span is not None:
                assert not previous_hidden  # sentinels never touch
                stop = place + len(span)
                assert not joined[place] and (stop == LENGTH or not joined[stop])
                assert END not in span
                words[int((~joined[place:stop]).sum())] += 1
            previous_hidden = span is not None
            place += len(span) if span is not None else 1
        hidden += sum(map(len, spans.values()))
        budget += round(0.15 * int((ids != END).sum()))
    assert set(words) <= {1, 2, 3, 4, 5}
    assert 0.98 * budget <= hidden <= budget
    shares = np.array([words[n] for n in range(1, 6)]) / sum(words.values())
    assert 2.3 < (shares * np.arange(1, 6)).sum() < 3.1
    assert shares.min() > 0.1


def test_words_are_what_letters_digits_and_underscores_make() -> None:
    text = "x_1 = naïve(self.foo_bar)  # ça va\n"
    ids = np.array([tokenize(text.encode())])
    joined = VOCABULARY.joins(ids)[0]
    ends = np.cumsum([len(TABLE[i]) for i in ids[0].tolist()])
    word = re.compile(rb"[A-Za-z0-9_\x80-\xff]")
    data = text.encode()
    for place in range(1, len(ids[0])):
        at = int(ends[place - 1])
        inside = word.match(data[at - 1 : at]) and word.match(data[at : at + 1])
        assert joined[place] == bool(inside)


@pytest.mark.parametrize("rate", [0.05, 0.5])
@pytest.mark.parametrize("longest", [1, 9])
def test_rate_and_longest_span_are_settings(rate: float, longest: int) -> None:
    objective = spans_of(IDS, LENGTH, rate=rate, longest=longest)
    batch = objective.batch(0, IDS.rows)
    for row in range(IDS.rows):
        spans = told(batch["targets"][row].numpy())
        ids = IDS.ids[row, :LENGTH]
        assert filled(batch["inputs"][row].numpy(), spans) == ids.tolist()
        assert sum(map(len, spans.values())) <= round(rate * LENGTH)


def test_padding_is_not_hidden_and_not_seen() -> None:
    class Padded(Source):
        def batch(self, start: int, count: int) -> Batch:
            ids, _ = super().batch(start, count)
            documents = np.zeros(ids.shape, dtype=np.int32)
            documents[:, 50:] = -1
            return Batch(ids, documents)

    source = Padded([TEXTS and tokenize(TEXTS[0].encode())], LENGTH)
    batch = spans_of(source, LENGTH).batch(0, 5)
    for row in range(5):
        spans = told(batch["targets"][row].numpy())
        assert filled(batch["inputs"][row].numpy(), spans) == source.ids[row, :50].tolist()
        assert sum(map(len, spans.values())) <= 8


def test_a_sample_of_special_tokens_has_no_targets() -> None:
    batch = spans_of(Source([[END] * 30], 10), 10).batch(0, 2)
    assert (batch["targets"] == IGNORE).all()
    assert (batch["inputs"] == END).all()


# ---- identifiers


def renamed(length: int = LENGTH, **settings: object) -> tuple[MaskedIdentifiers, Source, Source]:
    ids, labels = sources(length)
    objective = MaskedIdentifiers(
        T5,
        ids,
        labels,
        sequence_length=length,
        **settings,  # type: ignore[arg-type]
    )
    return objective, ids, labels


def occurrences(ids: np.ndarray, labels: np.ndarray) -> tuple[dict, set]:
    """Whole occurrences of each (document, number) in a sample, and those that are cut."""
    found: dict[tuple[int, int], int] = Counter()
    cut, document, place = set(), 0, 0
    while place < len(ids) - 1:
        document += place > 0 and ids[place - 1] == END
        label = int(labels[place])
        number = label & NUMBER
        if number in (0, NEVER):
            place += 1
            continue
        if not label & FIRST:
            cut.add((document, number))
            place += 1
            continue
        while place < len(ids) - 1 and not labels[place] & LAST:
            place += 1
        if place == len(ids) - 1:
            cut.add((document, number))
        else:
            found[document, number] += 1
        place += 1
    return found, cut


@pytest.mark.parametrize("length", [7, 31, LENGTH, 1500])
def test_names_put_back_give_the_bytes_and_all_occurrences_are_hidden(length: int) -> None:
    objective, ids, labels = renamed(length, input_length=4 * length, target_length=4 * length)
    batch = objective.batch(0, ids.rows)
    for row in range(ids.rows):
        inputs, spans = batch["inputs"][row].numpy(), told(batch["targets"][row].numpy())
        assert spelled(filled(inputs, spans)) == spelled(ids.ids[row, :length].tolist())
        found, cut = occurrences(ids.ids[row], labels.ids[row])
        whole = {key: count for key, count in found.items() if key not in cut}
        seen = Counter(i for i in inputs.tolist() if i >= VOCABULARY.sentinel)
        if len(whole) <= VOCABULARY.sentinels:
            assert sorted(seen.values()) == sorted(whole.values())
        # Sentinels count up from the left, and names are names.
        assert list(dict.fromkeys(i for i in inputs.tolist() if i in seen)) == sorted(seen)
        for name in spans.values():
            assert re.fullmatch(rb"[A-Za-z_]\w*", spelled(name))
        if len({key[0] for key in whole}) == 1:
            assert len({spelled(name) for name in spans.values()}) == len(spans)


@pytest.mark.parametrize(("more_input", "target"), [(0, 12), (3, 20), (40, 4), (200, 400)])
def test_names_that_have_no_room_stay(more_input: int, target: int) -> None:
    objective, ids, _ = renamed(input_length=LENGTH + more_input, target_length=target)
    batch = objective.batch(0, ids.rows)
    hidden = 0
    for row in range(ids.rows):
        inputs, spans = batch["inputs"][row].numpy(), told(batch["targets"][row].numpy())
        assert spelled(filled(inputs, spans)) == spelled(ids.ids[row, :LENGTH].tolist())
        hidden += len(spans)
    assert hidden > 0


def test_a_name_is_hidden_by_hand() -> None:
    text = "def area(self, w):\n    return w * self.w\n"
    ids, labels = sources(len(tokenize(text.encode())), [text])
    objective = MaskedIdentifiers(T5, ids, labels, sequence_length=ids.ids.shape[1] - 1)
    batch = objective.batch(0, 1)
    spans = told(batch["targets"][0].numpy())
    assert [spelled(name).decode() for name in spans.values()] == ["area", "self", "w"]
    marks = {number: list(f"<{number - VOCABULARY.sentinel}>".encode()) for number in spans}
    shown = {n: [BY_TEXT[bytes([byte])] for byte in mark] for n, mark in marks.items()}
    assert spelled(filled(batch["inputs"][0].numpy(), shown)).decode() == (
        "def <0>(<1>, <2>):\n    return <2> * <1>.<2>\n"
    )


def test_tags_are_of_code_alone() -> None:
    objective = IdentifierTagging(T5, IDS, LABELS, sequence_length=LENGTH)
    batch = objective.batch(0, IDS.rows)
    assert np.array_equal(batch["inputs"], IDS.ids[:, :LENGTH])
    for labels, targets in zip(LABELS.ids[:, :LENGTH], batch["targets"].tolist(), strict=True):
        wanted = [int(label & NUMBER > 0) if label & CODE else IGNORE for label in labels.tolist()]
        if set(wanted) == {IGNORE}:  # no code at all: one target, that the first is none
            wanted[0] = 0
        assert targets == wanted


def test_labels_of_other_samples_are_refused() -> None:
    other = Source([[1] * 500], 20)
    for kind in (IdentifierTagging, MaskedIdentifiers):
        with pytest.raises(FirnlineError, match="not of these tokens"):
            kind(T5, IDS, other, sequence_length=LENGTH).batch(0, 2)


# ---- tokens of an encoder


def test_masked_tokens_are_80_10_10() -> None:
    objective = MaskedTokens(BERT, IDS, sequence_length=LENGTH)
    count = 8 * IDS.rows
    batch = objective.batch(0, count)
    inputs, targets = batch["inputs"].numpy(), batch["targets"].numpy()
    ids = np.concatenate([IDS.ids[:, :LENGTH]] * 8)
    chosen = targets != IGNORE
    assert np.array_equal(inputs[~chosen], ids[~chosen])
    assert np.array_equal(targets[chosen], ids[chosen])
    assert not (ids[chosen] == END).any()
    assert (chosen.sum(1) == np.floor(0.15 * (ids != END).sum(1) + 0.5)).all()
    masked = (inputs[chosen] == VOCABULARY.added("mask")).mean()
    stays = (inputs[chosen] == ids[chosen]).mean()
    error = 4 * np.sqrt(0.25 / chosen.sum())
    assert abs(masked - 0.8) < error
    assert abs(stays - 0.1) < error
    assert (inputs[chosen] != END).all()


# ---- pairs


class Numbered:
    """Pair n: a text of one token and a code of up to five, from which n can be read."""

    text_length, code_length = 3, 5

    def pairs(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        texts = np.full((count, 3), -1, dtype=np.int64)
        codes = np.full((count, 5), -1, dtype=np.int64)
        for row, number in enumerate(range(start, start + count)):
            texts[row, 0] = 1 + number
            codes[row, : 1 + number % 5] = 101 + number
        return texts, codes


def test_both_directions_of_each_pair() -> None:
    objective = DualGeneration(T5, Numbered())
    batch = objective.batch(3, 8)  # from the second direction of pair 1 on
    for row, number in enumerate(range(3, 11)):
        inputs = [i for i in batch["inputs"][row].tolist() if i != VOCABULARY.pad]
        targets = [i for i in batch["targets"][row].tolist() if i != IGNORE]
        pair, to_text = divmod(number, 2)
        text, code = [1 + pair], [101 + pair] * (1 + pair % 5)
        given, wanted = (code, text) if to_text else (text, code)
        assert inputs == [VOCABULARY.added("to_text" if to_text else "to_code"), *given]
        # A code that fills its length may have been cut: no end.
        assert targets == wanted + [END] * (to_text or len(code) < 5)


def test_groups_are_consecutive_pairs() -> None:
    batch = Contrast(BERT, Numbered(), group=4).batch(2, 3)
    assert batch["texts"].shape == (3, 4, 3)
    assert batch["texts"][:, :, 0].flatten().tolist() == list(range(9, 21))
    assert (batch["texts"][:, :, 1:] == VOCABULARY.pad).all()
    for kind in (Contrast, Matching):
        with pytest.raises(FirnlineError, match="group is 1"):
            kind(BERT, Numbered(), group=1)


# ---- several objectives


def every_objective(length: int = LENGTH) -> dict:
    made = {"sequence_length": length}
    return {
        "spans": SpanMasking(T5, IDS, **made),
        "names": MaskedIdentifiers(T5, IDS, LABELS, **made),
        "tags": IdentifierTagging(T5, IDS, LABELS, **made),
        "dual": DualGeneration(T5, Numbered()),
        "contrast": Contrast(T5, Numbered(), group=3),
        "matching": Matching(T5, Numbered(), group=3),
    }


@pytest.mark.parametrize("name", sorted(every_objective()))
def test_a_sample_does_not_depend_on_its_batch(name: str) -> None:
    objective = every_objective()[name]
    whole = objective.batch(3, 9)
    parts = [objective.batch(3, 4), objective.batch(7, 1), objective.batch(8, 4)]
    for key, tensor in whole.items():
        assert np.array_equal(tensor, np.concatenate([part[key] for part in parts]))
        assert len(tensor) == 9


def test_the_next_epoch_hides_other_tokens() -> None:
    objective = every_objective()["spans"]
    assert not np.array_equal(
        objective.batch(0, 4)["inputs"], objective.batch(IDS.rows, 4)["inputs"]
    )


def test_a_mixture_gives_each_objective_its_share_and_its_own_samples() -> None:
    objectives = every_objective()
    shares = {"spans": 0.4, "names": 0.3, "tags": 0.2, "dual": 0.1}
    mixture = Mixture({name: objectives[name] for name in shares}, shares)
    kinds = mixture.kinds(0, 40_000)
    names = sorted(shares)
    for number, name in enumerate(names):
        assert abs((kinds == number).mean() - shares[name]) < 0.01
    batch = mixture.batch(5, 30)
    assert np.array_equal(batch["kind"], kinds[5:35])
    for row, kind in enumerate(batch["kind"].tolist()):
        for key, tensor in objectives[names[kind]].batch(5 + row, 1).items():
            assert np.array_equal(batch[f"{names[kind]}.{key}"][row], tensor[0])
    blocks = Mixture({n: objectives[n] for n in shares}, shares, block=8).kinds(0, 800)
    assert (blocks.reshape(-1, 8) == blocks.reshape(-1, 8)[:, :1]).all()
    assert len(np.unique(blocks)) == 4


def test_what_cannot_be_is_refused() -> None:
    objectives = every_objective()
    two = {name: objectives[name] for name in ("spans", "tags")}
    for shares in ({"spans": 1.0}, {"spans": 0.5, "tags": 0.6}, {"spans": 1.0, "tags": 0.0}):
        with pytest.raises(FirnlineError, match="shares"):
            Mixture(two, shares)
    with pytest.raises(FirnlineError, match="without full stops"):
        Mixture({"a.b": objectives["spans"]}, {"a.b": 1.0})
    other = SpanMasking(
        Setup(T5_SHAPE, VOCABULARY, seed=1, phase="alpha"), IDS, sequence_length=LENGTH
    )
    with pytest.raises(FirnlineError, match="several setups"):
        Mixture({"a": other, "b": objectives["tags"]}, {"a": 0.5, "b": 0.5})
    with pytest.raises(FirnlineError, match="choose t5"):
        SpanMasking(BERT, IDS, sequence_length=LENGTH)
    with pytest.raises(FirnlineError, match="context is 128"):
        MaskedTokens(BERT, IDS, sequence_length=200)
    with pytest.raises(FirnlineError, match="sentinels"):
        spans_of(IDS, 4000)
    with pytest.raises(FirnlineError, match="outside the vocabulary"):
        spans_of(Source([[len(TABLE)] * 300], LENGTH), LENGTH).batch(0, 1)
    with pytest.raises(ValueError, match="do not divide"):
        ModelShape(family="t5", width=10, layers=1, heads=4, feed_forward=8)
