"""Infilling: nothing lost or added, the rates asked for, nothing cut short, ids as at inference."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tree_sitter
import tree_sitter_python
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from firnline.errors import FirnlineError
from firnline.kernels.infilling import cut_characters, cut_tokens
from firnline.languages import LANGUAGES
from firnline.tokens import pack, samples
from firnline.tokens.infilling import InfillingConfig
from firnline.tokens.packing import PackingConfig
from firnline.tokens.permutation import random_words, shuffled_groups
from firnline.tokens.samples import Piece, Samples
from firnline.tokens.tokenizer import Tokenizer

END, PREFIX, MIDDLE, SUFFIX = range(4)
LENGTH = 64
CONCATENATE = PackingConfig()
BEST_FIT = PackingConfig(method="best_fit", attention="masked")


def write(folder: Path, texts: list[str], tokenizer: Tokenizer, write_folder, **columns) -> Path:
    ids, ends = tokenizer.encode_batch(texts)
    parts = [[*ids[a:b].tolist(), END] for a, b in itertools.pairwise(ends.tolist())]
    return write_folder(folder, parts, digest=tokenizer.digest, **columns)


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> Tokenizer:
    return Tokenizer.load(tokenizer_folder)


ALPHABET = "abcdefgh =()\n019_éñüßøλДжא中文字かな한🙂👩💻𝔸€½"
SHORT = ["", "x", "\n\n", "🙂", "中文字🙂\n" * 4]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    generator = np.random.default_rng(2)
    letters = np.array(list(ALPHABET))
    lengths = generator.geometric(1 / 14, 160)
    return [*SHORT, *("".join(generator.choice(letters, n)) for n in lengths)]


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    tokenizer: Tokenizer,
    write_token_folder: Callable[..., Path],
) -> Path:
    out = tmp_path_factory.mktemp("infilling") / "tokens"
    groups = [n // 5 for n in range(len(texts))]
    return write(out, texts, tokenizer, write_token_folder, group=groups)


def samples_of(folder: Path, tokenizer: Tokenizer, packing=CONCATENATE, **settings) -> Samples:
    options = {"rate": 0.5, "cut": "token"} | settings
    return Samples(
        folder,
        sequence_length=LENGTH,
        seed=3,
        phase="alpha",
        packing=packing,
        infilling=InfillingConfig(**options),
        tokenizer=tokenizer,
    )


class Reader:
    """Reads samples back to documents, by the rules alone."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, cut: str) -> None:
        self.tokenizer, self.cut = tokenizer, cut
        shards = [np.fromfile(path, np.uint16) for path in sorted(folder.glob("*.bin"))]
        self.documents = {
            row["id"]: shards[row["shard"]][row["offset"] :][: row["tokens"]].tolist()
            for row in pq.read_table(folder / "index.parquet").to_pylist()
        }

    def check(self, ids: list[int], pieces: list[Piece]) -> None:
        """Asserts that `ids` are the pieces, each as its form says, then padding alone."""
        at = 0
        for piece in pieces:
            tokens = self.documents[piece.id][piece.start : piece.end]
            if piece.form == "plain":
                assert ids[at : at + len(tokens)] == tokens
                at += len(tokens)
                continue
            stop = at + ids[at:].index(END)  # fails where a form is cut short
            self._check_form(ids[at:stop], tokens[: len(tokens) - (tokens[-1] == END)], piece.form)
            at = stop + 1
        assert set(ids[at:]) <= ({PREFIX} if len(ids) == at + 1 else {END})

    def _check_form(self, form: list[int], tokens: list[int], order: str) -> None:
        suffix, middle = form.index(SUFFIX), form.index(MIDDLE)
        assert form[0] == PREFIX
        assert sum(token in (PREFIX, MIDDLE, SUFFIX) for token in form) == 3
        before, after = form[1:suffix], form[suffix + 1 : middle]
        if order == "SPM":
            assert not before
        first = [before, form[middle + 1 :]]
        text = [self.tokenizer.decode_bytes(part) for part in (*first, after)]
        assert b"".join(text) == self.tokenizer.decode_bytes(tokens)
        parts = [part.decode() for part in text]  # each of whole characters
        if self.cut == "token":
            assert [*before, *form[middle + 1 :], *after] == tokens
            return
        assert after == self.tokenizer.encode(parts[2]).tolist()
        if order == "PSM":
            assert [self.tokenizer.encode(part).tolist() for part in parts[:2]] == first
        else:
            splits = [
                self.tokenizer.encode(parts[1][:n]).tolist()
                + self.tokenizer.encode(parts[1][n:]).tolist()
                for n in range(len(parts[1]) + 1)
            ]
            assert first[1] in splits
        if self.cut == "line" and order == "PSM":
            for head, tail in itertools.pairwise(itertools.accumulate(parts)):
                assert head == "" or head == tail or head.endswith("\n") or tail == head


@pytest.mark.parametrize("packing", [CONCATENATE, BEST_FIT], ids=["concatenate", "best_fit"])
@pytest.mark.parametrize("level", ["document", "context"])
@pytest.mark.parametrize("cut", ["token", "character", "line"])
def test_samples_read_back_to_their_documents(
    folder: Path, tokenizer: Tokenizer, cut, level, packing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(samples.BLOCK_TOKENS, cut, 7 * LENGTH)
    source = samples_of(folder, tokenizer, packing, cut=cut, level=level, rate=0.7)
    reader = Reader(folder, tokenizer, cut)
    count = source.samples_per_epoch
    batch = source.batch(count - 20, count + 20)  # across two epochs
    forms: Counter[str] = Counter()
    scanned: dict[bytes, list[int]] = {name: [] for name in reader.documents}
    for number in range(2 * count):
        pieces = source.documents(number)
        for name in {piece.id for piece in pieces}:
            scanned[name].append(number)
        if number < count - 20:
            continue
        place = number - count + 20
        ids = batch.ids[place].tolist()
        if batch.documents is not None:
            padding = batch.documents[place] == -1
            assert not np.any(np.diff(padding.astype(int)) < 0)  # at the end alone
            assert np.count_nonzero(~padding) == len(ids) - padding.sum()
            ids = ids[: np.count_nonzero(~padding)]
            assert batch.documents[place].max() + 1 == len(pieces)
        reader.check(ids, pieces)
        forms.update(piece.form for piece in pieces)
    assert forms["PSM"] > 20
    assert forms["SPM"] > 20
    for name, numbers in scanned.items():
        assert source.numbers_of(name, 2 * count).tolist() == numbers


@pytest.mark.parametrize("packing", [CONCATENATE, BEST_FIT], ids=["concatenate", "best_fit"])
@pytest.mark.parametrize("cut", ["token", "character"])
def test_what_fills_a_sequence_is_infilled_too(
    tokenizer: Tokenizer, cut, packing, tmp_path: Path, write_token_folder: Callable[..., Path]
) -> None:
    """At context level the rate holds whatever the documents' lengths: most are parts here."""
    generator = np.random.default_rng(5)
    letters = np.array([letter for letter in ALPHABET if letter.isascii()])
    texts = ["".join(generator.choice(letters, n)) for n in generator.integers(20, 4000, 120)]
    texts += ["".join(generator.choice(list(ALPHABET), 2000)) for _ in range(20)]
    folder = write(tmp_path / "tokens", texts, tokenizer, write_token_folder)
    source = samples_of(folder, tokenizer, packing, cut=cut, level="context", rate=0.6)
    reader = Reader(folder, tokenizer, cut)
    batch = source.batch(0, source.samples_per_epoch)
    infilled = plain = left_out = 0
    read: dict[bytes, set[int]] = {name: set() for name in reader.documents}
    for number, ids in enumerate(batch.ids.tolist()):
        pieces = source.documents(number)
        if batch.documents is not None:
            ids = ids[: np.count_nonzero(batch.documents[number] >= 0)]
        reader.check(ids, pieces)
        left_out += LENGTH + 1 - sum(piece.end - piece.start for piece in pieces)
        for before, piece in itertools.pairwise([None, *pieces]):
            read[piece.id].update(range(piece.start, piece.end))
            tokens = reader.documents[piece.id][piece.start : piece.end]
            # Behind a form stands what was cut off to make room for it.
            behind = before is not None and (before.id, before.end) == (piece.id, piece.start)
            if piece.form != "plain":
                infilled += 1
            elif not behind and len(tokens) > 12 and tokenizer.decode_bytes(tokens).isascii():
                plain += 1
    ascii_only = infilled * 120 / 140  # about, of all that is infilled
    assert infilled > 800
    assert ascii_only / (ascii_only + plain) == pytest.approx(0.6, abs=0.06)
    if packing is BEST_FIT:
        assert all(len(read[name]) == len(tokens) for name, tokens in reader.documents.items())
    else:
        assert left_out < 12 * infilled


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    start=st.integers(0, 10**11),
    cuts=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    cut=st.sampled_from(["token", "character"]),
    level=st.sampled_from(["document", "context"]),
    packing=st.sampled_from([CONCATENATE, BEST_FIT]),
)
def test_a_batch_is_the_same_however_it_is_sliced(
    folder: Path, tokenizer: Tokenizer, start, cuts, cut, level, packing
) -> None:
    options = {"cut": cut, "level": level}
    whole = samples_of(folder, tokenizer, packing, **options).batch(start, sum(cuts)).ids
    source, parts = samples_of(folder, tokenizer, packing, **options), []
    for count in cuts:
        parts.append(source.batch(start, count).ids)
        start += count
    assert np.array_equal(np.concatenate(parts), whole)


def test_concatenation_loses_only_what_infilling_pushes_off_a_block(
    folder: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one block, the documents of the epoch's order are there up to one, then none."""
    source = samples_of(folder, tokenizer, rate=1.0)
    reader = Reader(folder, tokenizer, "token")
    names = list(reader.documents)
    groups = pq.read_table(folder / "index.parquet")["group"].to_numpy()
    count = source.samples_per_epoch
    for epoch in (0, 1):
        seen: dict[bytes, list[tuple[int, int, str]]] = {name: [] for name in names}
        for number in range(epoch * count, (epoch + 1) * count):
            for piece in source.documents(number):
                seen[piece.id].append((piece.start, piece.end, piece.form))
        order = [names[row] for row in shuffled_groups(groups, 3, "alpha", epoch)]
        left = 0
        for name in order:
            size = len(reader.documents[name])
            runs = sorted(run for run in seen[name])
            whole = runs and runs[0][0] == 0 and max(end for _, end, _ in runs) == size
            if not whole or left:
                left += size - (max((end for _, end, _ in runs), default=0))
                continue
            for a, b in itertools.pairwise(runs):  # a sequence shares a token with the next
                assert a[1] - b[0] in (0, 1)
        infilled = sum(run[2] != "plain" for runs in seen.values() for run in runs)
        assert left <= 3 * infilled + LENGTH
        assert infilled > len(names) / 2


@pytest.mark.parametrize(("cut", "level"), [("token", "document"), ("character", "context")])
def test_a_batch_is_the_same_in_another_process(
    folder: Path, tokenizer: Tokenizer, cut, level
) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from firnline.tokens.samples import Samples;"
        "from firnline.tokens.infilling import InfillingConfig;"
        "from firnline.tokens.tokenizer import Tokenizer;"
        "s = Samples(Path(sys.argv[1]), sequence_length=64, seed=3, phase='alpha',"
        "infilling=InfillingConfig(rate=0.5, cut=sys.argv[3], level=sys.argv[4]),"
        "tokenizer=Tokenizer.load(Path(sys.argv[2])));"
        "sys.stdout.buffer.write(s.batch(10**10, 50).ids.tobytes())"
    )
    command = [sys.executable, "-c", code, str(folder), str(tokenizer.folder), cut, level]
    answer = subprocess.run(command, check=True, capture_output=True)
    mine = samples_of(folder, tokenizer, cut=cut, level=level).batch(10**10, 50).ids
    assert answer.stdout == mine.tobytes()


def test_draws_belong_to_the_document_and_the_epoch(folder: Path, tokenizer: Tokenizer) -> None:
    """A document is cut the same wherever it lies, and anew in each epoch."""

    def cuts(source: Samples, epoch: int) -> dict[bytes, tuple[int, ...]]:
        found = {}
        for number in range(source.samples_per_epoch):
            number += epoch * source.samples_per_epoch
            ids, at = source.batch(number, 1).ids[0].tolist(), 0
            for piece in source.documents(number):
                stop = at + piece.end - piece.start
                if piece.form != "plain":
                    stop = at + ids[at:].index(END) + 1
                    found[piece.id] = tuple(ids[at:stop])
                at = stop
        return found

    some = np.arange(165) % 4 != 1
    options = {"sequence_length": LENGTH, "seed": 3, "phase": "alpha", "tokenizer": tokenizer}
    infilling = InfillingConfig(rate=0.5, cut="token")
    all_of_it = cuts(Samples(folder, infilling=infilling, **options), 0)
    part = cuts(Samples(folder, infilling=infilling, keep=some, packing=BEST_FIT, **options), 0)
    both = all_of_it.keys() & part.keys()
    assert len(both) > 30
    assert all(all_of_it[name] == part[name] for name in both)
    later = cuts(Samples(folder, infilling=infilling, **options), 1)
    again = all_of_it.keys() & later.keys()
    assert len(again) < 0.8 * len(all_of_it)
    assert sum(all_of_it[name] == later[name] for name in again) < len(again) / 2


def test_a_million_infilled_documents(
    tokenizer: Tokenizer, tmp_path: Path, write_token_folder: Callable[..., Path]
) -> None:
    letters = "".join(dict.fromkeys(ALPHABET + "ijklmnopqrstuvwxyz")).replace("\n", "")
    chosen = range(7, 7 + 44**3)
    base = len(letters)
    texts = [
        "#" + letters[n % base] + letters[n // base % base] + letters[n // base**2 % base]
        for n in chosen
    ]
    assert len(set(texts)) == len(texts)
    folder = write(
        tmp_path / "tokens", texts, tokenizer, write_token_folder, header=[1] * len(texts)
    )
    source = Samples(
        folder,
        sequence_length=LENGTH,
        seed=0,
        phase="alpha",
        infilling=InfillingConfig(rate=0.5, spm_share=0.3, cut="token"),
        tokenizer=tokenizer,
    )
    known = {text.encode() for text in texts}
    opening = int(tokenizer.encode("#")[0])
    infilled = backwards = passed_over = 0
    for epoch in range(33):
        ids = source.batch(epoch * source.samples_per_epoch, source.samples_per_epoch).ids
        seen, forms, spm, plain = read_epoch(ids, opening, tokenizer)
        assert seen.keys() <= known  # no byte lost or added
        assert max(seen.values()) == 1
        assert seen.total() > 0.7 * len(texts)  # others lie in two sequences, or were pushed off
        infilled, backwards, passed_over = infilled + forms, backwards + spm, passed_over + plain
    assert infilled > 1_000_000
    assert infilled / (infilled + passed_over) == pytest.approx(0.5, abs=0.0025)
    assert backwards / infilled == pytest.approx(0.3, abs=0.0025)


def read_epoch(
    ids: np.ndarray, opening: int, tokenizer: Tokenizer
) -> tuple[Counter[bytes], int, int, int]:
    """(texts of whole documents, how many are infilled, in SPM, and plain with room for a form).

    Each text begins with the token `opening`, which stands nowhere else.
    """
    width = ids.shape[1]
    flat = ids.reshape(-1)
    row, column = np.arange(len(flat)) // width, np.arange(len(flat)) % width
    prefix = np.flatnonzero((flat == PREFIX) & (column < width - 1))
    suffix, middle = np.flatnonzero(flat == SUFFIX), np.flatnonzero(flat == MIDDLE)
    ends = np.flatnonzero(flat == END)
    end = ends[np.searchsorted(ends, middle)]
    assert np.all((prefix < suffix) & (suffix < middle) & (middle < end))
    assert np.array_equal(row[prefix], row[end])  # no sequence ends inside a middle
    assert np.all(end[:-1] < prefix[1:])
    spm = suffix == prefix + 1  # the header stays in the prefix, so that of PSM is not empty

    starts = np.flatnonzero(flat == opening)
    inside = np.searchsorted(prefix, starts, side="right") - 1
    starts = starts[(inside < 0) | (starts > end[inside])]
    stops = ends[np.minimum(np.searchsorted(ends, starts), len(ends) - 1)]
    whole = (row[starts] == row[stops]) & (stops > starts)
    starts, stops = starts[whole], stops[whole]
    room = column[starts] + (stops - starts + 1) + 3 <= width

    first, second = np.where(spm, middle, prefix) + 1, np.where(spm, suffix, middle) + 1
    first_end, second_end = np.where(spm, end, suffix), np.where(spm, middle, end)
    third, third_end = np.where(spm, end, suffix + 1), np.where(spm, end, middle)
    begin = np.stack([first, second, third, end], axis=1).reshape(-1)
    stop = np.stack([first_end, second_end, third_end, end + 1], axis=1).reshape(-1)
    begin, stop = np.concatenate([begin, starts]), np.concatenate([stop, stops + 1])
    length = stop - begin
    places = np.repeat(begin - (np.cumsum(length) - length), length) + np.arange(length.sum())
    spelled = tokenizer.decode_bytes(flat[places])
    texts = Counter(spelled.split(b"<|endoftext|>")[:-1])
    assert texts.total() == len(prefix) + len(starts)

    # Each part is of whole characters, the parts between sentinels are what a model reads.
    parts = np.concatenate([prefix, suffix, middle])
    follow = np.concatenate([suffix, middle, end])
    length = follow - parts
    places = np.repeat(parts - (np.cumsum(length) - length), length) + np.arange(length.sum())
    tokenizer.decode_bytes(flat[places]).decode()  # a sentinel is ASCII: fails inside a character
    return texts, len(prefix), int(spm.sum()), int(room.sum())


def test_path_lines_stay_in_the_prefix(
    texts: list[str], tokenizer: Tokenizer, tmp_path: Path, write_token_folder
) -> None:
    lines = [f"# path-{n}/é.py\n" for n in range(len(texts))]
    both = [line + text for line, text in zip(lines, texts, strict=True)]
    headers = [len(line.encode()) for line in lines]
    folder = write(tmp_path / "tokens", both, tokenizer, write_token_folder, header=headers)
    for cut in ("token", "character", "line"):
        source = samples_of(folder, tokenizer, cut=cut, rate=1.0, spm_share=0)
        found = 0
        for number in range(source.samples_per_epoch):
            ids, at = source.batch(number, 1).ids[0].tolist(), 0
            for piece in source.documents(number):
                size = piece.end - piece.start
                if piece.form != "plain":
                    size = ids[at:].index(END) + 1
                    before = ids[at + 1 : at + ids[at:].index(SUFFIX)]
                    line = lines[int(piece.path)]
                    assert tokenizer.decode_bytes(before).startswith(line.encode())
                    found += 1
                at += size
        assert found > 30


def test_cuts_by_syntax_are_around_nodes(
    corpus: Path, tokenizer_folder: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    packed = pack.run(
        pack.PackConfig(nodes=True, path_line="path"), corpus, tokenizer_folder, tmp_path / "t"
    )
    index = {row["id"]: row for row in pq.read_table(packed.folder / "index.parquet").to_pylist()}
    assert (packed.folder / "nodes.bin").stat().st_size == len(index) * 8 * 2 * 4
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_python.language()))
    source = Samples(
        packed.folder,
        sequence_length=1 << 14,
        seed=0,
        phase="alpha",
        packing=BEST_FIT,
        infilling=InfillingConfig(rate=1.0, spm_share=0, cut="syntax"),
        tokenizer=tokenizer,
    )
    checked = by_lines = 0
    for number in range(source.samples_per_epoch):
        ids, at = source.batch(number, 1).ids[0].tolist(), 0
        for piece in source.documents(number):
            size = piece.end - piece.start
            if piece.form != "plain":
                size = ids[at:].index(END) + 1
                form = ids[at : at + size - 1]
                suffix, middle = form.index(SUFFIX), form.index(MIDDLE)
                parts = (form[1:suffix], form[middle + 1 :], form[suffix + 1 : middle])
                before, inside, after = (tokenizer.decode_bytes(part) for part in parts)
                row = index[piece.id]
                if row["language"] == "Python" and row["bytes"] > 500:
                    header = row["header"]
                    tree = parser.parse((before + inside + after)[header:])
                    span = (len(before) - header, len(before) + len(inside) - header)
                    assert span in spans_of(tree.root_node)
                    checked += 1
                elif LANGUAGES[row["language"]].grammar is None:  # by lines
                    assert before == b"" or not inside + after or before.endswith(b"\n")
                    assert inside == b"" or not after or inside.endswith(b"\n")
                    by_lines += 1
            at += size
    assert checked >= 2
    assert by_lines >= 2


def test_cuts_are_fixed_for_ever() -> None:
    """A known answer: an edit must not silently change what is trained on."""
    data, offsets = np.arange(97, 117, dtype=np.uint8), np.array([0, 8, 20])
    bounds = cut_characters(data, offsets, np.zeros(2, int), random_words(2, "cuts"), False)
    assert bounds.tolist() == BOUNDS


BOUNDS = [0, 1, 5, 8, 16, 16, 20]


@pytest.mark.parametrize("cut", ["token", "character", "line"])
def test_cuts_are_uniform(cut: str) -> None:
    """Two independent cuts among k places: any one twice 1 in k x k, any two of them 2."""
    count = 64_000
    states = random_words(count, "cuts")
    headers = np.full(count, 2)
    if cut == "token":  # id 1 begins inside a character, ids 5 and 6 make up the header
        ids = np.tile(np.array([5, 6, 0, 1, 2, 3], dtype=np.uint32), count)
        sizes, inside = np.ones(7, dtype=np.int64), np.array([0, 1, 0, 0, 0, 0, 0], dtype=np.uint8)
        bounds = cut_tokens(ids, np.arange(count + 1) * 6, headers, states, sizes, inside)
        places = [2, 4, 5, 6]
    else:
        text = "##é🙂x" if cut == "character" else "##ab\n\nlast"
        places = [2, 4, 8, 9] if cut == "character" else [2, 5, 6, 10]
        data = np.frombuffer(text.encode() * count, dtype=np.uint8)
        offsets = np.arange(count + 1) * len(text.encode())
        bounds = cut_characters(data, offsets, headers, states, cut == "line")
    cuts = bounds[:-1].reshape(-1, 3)
    pairs = Counter(map(tuple, (cuts[:, 1:] - cuts[:, :1]).tolist()))
    expected = {(a, b): 1 + (a < b) for a in places for b in places if a <= b}
    assert pairs.keys() == expected.keys()
    for pair, share in expected.items():
        mean = count * share / 16
        assert abs(pairs[pair] - mean) < 5 * mean**0.5


def spans_of(root: tree_sitter.Node) -> set[tuple[int, int]]:
    found, nodes = set(), [root]
    while nodes:
        node = nodes.pop()
        nodes += node.children
        if node.is_named and node != root:
            found.add((node.start_byte, node.end_byte))
    return found


def test_what_cannot_be_infilled_is_refused(
    folder: Path, tokenizer: Tokenizer, tmp_path: Path, tokenizer_folder: Path
) -> None:
    options = {"sequence_length": LENGTH, "seed": 3, "phase": "alpha"}
    with pytest.raises(FirnlineError, match="records no syntax nodes"):
        samples_of(folder, tokenizer, cut="syntax")
    with pytest.raises(ValueError, match="infilling needs the tokenizer"):
        Samples(folder, infilling=InfillingConfig(rate=0.5), **options)
    text = (tokenizer_folder / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text.replace("<|fim_middle|>", "<|other|>"))
    with pytest.raises(FirnlineError, match="was packed with tokenizer"):
        Samples(folder, tokenizer=Tokenizer.load(tmp_path), **options)
    for wrong in ({"rate": 0}, {"rate": 1.5}, {"rate": 0.5, "cut": "word"}, {}):
        with pytest.raises(ValidationError):
            InfillingConfig(**wrong)
