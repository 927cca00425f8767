"""SentencePiece models: written by hand as protobuf, their ids by the algorithm's definition."""

from __future__ import annotations

import io
import itertools
import json
import struct
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.errors import FirnlineError
from firnline.tokens.import_tokenizer import ImportConfig, run
from firnline.tokens.tokenizer import Tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
Pieces = list[tuple[str, float, int]]

SPECIAL: Pieces = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL)]
BYTES: Pieces = [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
USER: Pieces = [(text, 0.0, USER_DEFINED) for text in ("\n\n", "▁▁", "▁▁▁▁", "<think>")]
# In the order in which they were learnt: an earlier merge goes before a later one.
MERGED = ["▁d", "ef", "▁def", "==", "▁==", "====", "le", "▁le", "no", "él", "self", "se", "lf"]
MERGED += ["</", "s>", "</s", "▁<", "▁a", "aa", "aaa", "aaaa", "x▁", "<0", "x0", "<0x0", "A>", "▁x"]
CHARACTERS = sorted({character for text in MERGED for character in text} | set("\n▁(b:)"))
SCORED: Pieces = [(text, float(-rank), NORMAL) for rank, text in enumerate([*MERGED, *CHARACTERS])]
PIECES = [*SPECIAL, *BYTES, *USER, *SCORED]


def _varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _write(folder: Path, pieces: Pieces = PIECES, **flags: Any) -> Path:
    """A `.model`: fields of sentencepiece_model.proto. `flags` change how it says it works."""
    out = b""
    for text, score, kind in pieces:
        piece = _field(1, text.encode()) + _varint(2 << 3 | 5) + struct.pack("<f", score)
        out += _field(1, piece + (_field(3, kind) if kind != NORMAL else b""))
    trainer = _field(3, flags.get("model_type", 2)) + _field(35, flags.get("byte_fallback", 1))
    trainer += _field(44, b"\xe2\x81\x87") + _field(24, flags.get("space_last", 0))
    normalizer = _field(1, b"identity") + _field(2, flags.get("character_map", b""))
    normalizer += _field(3, flags.get("space_first", 0)) + _field(4, flags.get("one_space", 0))
    out += _field(2, trainer) + _field(3, normalizer + _field(5, flags.get("escape", 1)))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tokenizer.model"
    path.write_bytes(out)
    return path


def _by_definition(text: str) -> list[int]:
    """Tokens of the user first, longest first; then the best two neighbours, leftmost first."""
    number = {piece: n for n, (piece, _, _) in enumerate(PIECES)}
    score = {piece: score for piece, score, kind in PIECES if kind in (NORMAL, USER_DEFINED)}
    user = sorted((piece for piece, _, kind in PIECES if kind == USER_DEFINED), key=len)[::-1]
    ours = "\ue000"  # `▁` of the text itself, which is none of the vocabulary
    text = text.replace("▁", ours).replace(" ", "▁")
    parts: list[tuple[str, bool]] = []
    while text:
        found = next((piece for piece in user if text.startswith(piece)), None)
        parts.append((found or text[0], found is not None))
        text = text[len(parts[-1][0]) :]
    while True:
        pairs = [
            (-score[left[0] + right[0]], at)
            for at, (left, right) in enumerate(itertools.pairwise(parts))
            if not left[1] and not right[1] and left[0] + right[0] in score
        ]
        if not pairs:
            break
        at = min(pairs)[1]
        parts[at : at + 2] = [(parts[at][0] + parts[at + 1][0], False)]
    return [
        n
        for part, _ in parts
        for n in (
            [number[part]]
            if part in score
            else [number[f"<0x{byte:02X}>"] for byte in part.replace(ours, "▁").encode()]
        )
    ]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("sentencepiece")
    stats = run(ImportConfig(), _write(folder / "source"), folder / "out").stats
    assert stats["exact"] is stats["fast"] is True
    assert stats["spelling"] == "sentencepiece"
    assert stats["roles"] == {"end_of_text": "</s>"}
    return Tokenizer.load(folder / "out")


words = st.one_of(
    st.sampled_from(
        [*MERGED, "</s>", "<s>", "<unk>", "<0x0A>", "▁", "▁▁", "\r\n", "\x00", "é", "🙂"]
    ),
    st.sampled_from([" def", "  ", "    ", " == ", "\n", "<think>", "self.aé"]),
    st.text(max_size=8),
    st.sampled_from(list(" =\nax")).flatmap(lambda c: st.integers(1, 20).map(lambda n: c * n)),
)


@settings(max_examples=200, deadline=None)
@given(text=st.lists(words, max_size=10).map("".join))
def test_ids_are_those_of_the_definition_and_every_byte_comes_back(
    imported: Tokenizer, text: str
) -> None:
    if "\ue000" not in text:
        ids = imported.encode(text).tolist()
        assert ids == _by_definition(text)
        assert imported.decode_bytes(ids) == text.encode()
        assert not set(ids) & set(imported.special.values())


def test_spaces_and_marks(imported: Tokenizer) -> None:
    names = {n: piece for n, (piece, _, _) in enumerate(PIECES)}
    for text, pieces in {
        " def": ["▁def"],
        "def": ["d", "ef"],  # no space before a text
        "      x": ["▁▁▁▁", "▁▁", "x"],
        "▁": ["<0xE2>", "<0x96>", "<0x81>"],
        "</s>": ["</", "s>"],
    }.items():
        assert [names[n] for n in imported.encode(text).tolist()] == pieces
    assert imported.token_bytes[PIECES.index(("▁▁▁▁", 0.0, USER_DEFINED))] == b"    "


def test_the_file_is_one_for_tokenizers(imported: Tokenizer) -> None:
    """With the space before a text that the model asks for, and no other difference."""
    text = "a def self\n\n    == é🙂"
    loaded = tokenizers.Tokenizer.from_file(str(imported.folder / "tokenizer.json"))
    assert loaded.encode(text).ids == imported.encode(text).tolist()
    assert loaded.decode(loaded.encode(text).ids) == text


def test_a_space_before_each_text(tmp_path: Path) -> None:
    run(ImportConfig(), _write(tmp_path / "source", space_first=1), tmp_path / "out")
    ours = Tokenizer.load(tmp_path / "out")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert theirs.encode("def x").ids == ours.encode(" def x").tolist()
    assert theirs.decode(theirs.encode("def x").ids) == "def x"
    assert ours.decode(ours.encode("def x")) == "def x"


def test_tokens_of_the_files_beside(tmp_path: Path) -> None:
    """Code Llama's older folders list infilling tokens beside the model."""
    source = _write(tmp_path / "source").parent
    size = len(PIECES)
    names = ["▁<PRE>", "▁<MID>", "▁<SUF>"]
    (source / "added_tokens.json").write_text(
        json.dumps({t: size + n for n, t in enumerate(names)})
    )
    listed = {"content": "<think>", "special": True}
    (source / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": {str(size - 1): listed}, "eos_token": "</s>"}).replace(
            str(size - 1), str(PIECES.index(("<think>", 0.0, USER_DEFINED)))
        )
    )
    stats = run(ImportConfig(), source, tmp_path / "out").stats
    tokenizer = Tokenizer.load(tmp_path / "out")
    assert tokenizer.roles["fim_prefix"] == size
    assert stats["vocabulary_size"] == size + 3
    assert "<think>" in tokenizer.special
    text = "".join(names) + "<think>"
    assert not set(tokenizer.encode(text).tolist()) & set(tokenizer.special.values())
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_what_cannot_be_imported_is_one_line(tmp_path: Path) -> None:
    whole = _write(tmp_path).read_bytes()
    unused: Pieces = [*PIECES, ("zz", -90.0, UNUSED)]
    bad: Iterable[tuple[str, dict[str, Any]]] = [
        ("is a Unigram model, not BPE", {"model_type": 1}),
        ("is a word model, not BPE", {"model_type": 3}),
        ("has no byte fallback", {"byte_fallback": 0}),
        ("makes one space of several", {"one_space": 1}),
        ("rewrites characters before it encodes", {"character_map": b"\x04\x00\x00\x00abcd"}),
        ("does not write ▁ before a word", {"escape": 0}),
        ("does not write ▁ before a word", {"space_last": 1}),
        ("has pieces that are marked unused", {"pieces": unused}),
        ("has no token for byte 0x00 and 1 more", {"pieces": [*SPECIAL, *BYTES[2:], *SCORED]}),
        ("no special token .* that ends a document", {"pieces": [*BYTES, *SCORED]}),
    ]
    for message, flags in bad:
        with pytest.raises(FirnlineError, match=message) as caught:
            run(ImportConfig(), _write(tmp_path, **flags), tmp_path / "out")
        assert "\n" not in str(caught.value)
        assert caught.value.mend
    for size in (1, 5, len(whole) // 2, len(whole) - 1):
        (tmp_path / "tokenizer.model").write_bytes(whole[:size])
        with pytest.raises(FirnlineError, match="is no SentencePiece model, or is cut short"):
            run(ImportConfig(), tmp_path, tmp_path / "out")
    with pytest.raises(FirnlineError, match="says itself how text is cut"):
        run(ImportConfig(encoding="qwen2"), _write(tmp_path), tmp_path / "out")


def test_ids_of_sentencepiece_itself(tmp_path: Path) -> None:
    peer = pytest.importorskip("sentencepiece", reason="pip install sentencepiece to compare ids")
    library = Path(sysconfig.get_path("stdlib"))
    files = [path.read_text() for path in sorted(library.glob("[a-b]*.py"))[:8]]
    written = io.BytesIO()
    peer.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in files for line in text.split("\n")),
        model_writer=written,
        model_type="bpe",
        vocab_size=800,
        byte_fallback=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        allow_whitespace_only_pieces=True,
        user_defined_symbols=["\n\n", "▁▁", "▁▁▁▁"],
        minloglevel=2,
        num_threads=1,
    )
    (tmp_path / "tokenizer.model").write_bytes(written.getvalue())
    run(ImportConfig(), tmp_path, tmp_path / "out")
    tokenizer = Tokenizer.load(tmp_path / "out")
    theirs = peer.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    for text in [*files, "é☃\x00\r\n  </s><0x0A> =====", *("=" * n + " " * n for n in range(60))]:
        assert tokenizer.encode(text).tolist() == theirs.encode(text)
