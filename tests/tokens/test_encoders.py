"""The published ways of cutting text, each fast and with the ids of `tokenizers`."""

from __future__ import annotations

import itertools
import json
import sysconfig
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, trainers

from firnline.errors import FirnlineError
from firnline.tokens.tokenizer import Tokenizer


def _split(pattern: str, behavior: str = "Isolated") -> dict[str, Any]:
    inverted = behavior == "Removed"
    regex = {"Regex": pattern}
    return {"type": "Split", "pattern": regex, "behavior": behavior, "invert": inverted}


def _bytes(use_regex: bool) -> dict[str, Any]:
    flags = {"add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}
    return {"type": "ByteLevel", **flags}


DIGITS = {"type": "Digits", "individual_digits": True}
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CJK = "[一-龥ࠀ-一가-퟿]+"
# As in the tokenizer.json of the model's family.
SHAPES: dict[str, list[dict[str, Any]]] = {
    "GPT-2, CodeGen, Phi-2, OLMo": [_bytes(True)],
    "GPT-2 by its regex": [_split(GPT2), _bytes(False)],
    "StarCoder, StarCoder2, SantaCoder, SmolLM, Granite": [DIGITS, _bytes(True)],
    "digits before GPT-2 by its regex": [DIGITS, _split(GPT2), _bytes(False)],
    "Llama 3, OLMo 2, GLM 4": [_split(LLAMA3), _bytes(False)],
    "Llama 3 by what is left": [_split(LLAMA3, "Removed"), _bytes(False)],
    "Qwen2": [_split(LLAMA3.replace("{1,3}", "")), _bytes(False)],
    "DeepSeek-Coder": [
        *(_split("[\r\n]"), _split(r"\s?\p{L}+"), _split(r"\s?\p{P}+"), _split(CJK)),
        *(DIGITS, _bytes(False)),
    ],
    "DeepSeek-LLM": [
        *(_split("[\r\n]"), _split(r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿ]+")),
        *(
            _split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
            _split(r"\s+$"),
            _split(CJK),
            DIGITS,
            _bytes(False),
        ),
    ],
}
# Not simple splits, nor rules that gigatoken knows.
SLOW: dict[str, list[dict[str, Any]]] = {
    "Falcon": [
        {"type": "Punctuation", "behavior": "Contiguous"},
        *(_bytes(True), DIGITS | {"individual_digits": False}, _split("[0-9][0-9][0-9]")),
    ],
    # Oniguruma reads `{1,3}+` as a run of such, gigatoken as three digits at most.
    "digits of any length": [_split(LLAMA3.replace("{1,3}", "{1,3}+")), _bytes(False)],
    "a line's end that is not a piece's": [_split(r"\s+$"), _bytes(False)],
    "two classes that look like one": [_split("[0-9][a-z]"), _bytes(False)],
}
CONTROL = ("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>")
PLAIN = ("õ", "<think>", "<think>2", "9z")  # õ is one of DeepSeek-Coder's


def _entry(number: int, content: str, special: bool) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, "special": special, **flags}


def _sources() -> list[str]:
    library = Path(sysconfig.get_path("stdlib"))
    return [path.read_text() for path in sorted(library.glob("[a-c]*.py"))[:12]]


@pytest.fixture(scope="module")
def learnt() -> dict[str, Any]:
    """What `tokenizers` learnt, with control tokens and plain ones."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    # `²` and `３` as words of their own, so that some digits have one id and some several.
    made.train_from_iterator([*_sources(), "x² ３３ 中文字 ² ３ 中文字" * 500], trainer)
    settings_: dict[str, Any] = json.loads(made.to_str())
    settings_["added_tokens"] = [
        _entry(700 + n, token, token in CONTROL) for n, token in enumerate((*CONTROL, *PLAIN))
    ]
    # So `õ` is no more the byte 0xF5, which no text holds and DeepSeek-Coder lacks.
    entries = {token["content"]: token["id"] for token in settings_["added_tokens"]}
    settings_["model"]["vocab"] |= entries
    return settings_


def _make(folder: Path, learnt: dict[str, Any], parts: list[dict[str, Any]], **model: Any) -> Path:
    """The same vocabulary with these steps before it."""
    cut = parts[0] if len(parts) == 1 else {"type": "Sequence", "pretokenizers": parts}
    made = learnt | {"pre_tokenizer": cut, "model": learnt["model"] | model}
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(made))
    return folder


Pair = tuple[Tokenizer, tokenizers.Tokenizer]


def _load(folder: Path) -> Pair:
    """Ours, and `tokenizers` on the same file, told to encode control strings as text."""
    reference = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    reference.encode_special_tokens = True
    return Tokenizer.load(folder), reference


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, learnt: dict[str, Any]) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("shapes")
    return {
        name: _load(_make(folder / str(n), learnt, parts))
        for n, (name, parts) in enumerate(SHAPES.items())
    }


def _check(pair: Pair, batch: list[str]) -> None:
    tokenizer, reference = pair
    ids, offsets = tokenizer.encode_batch(pa.array(batch, pa.large_string()))
    from_list, _ = tokenizer.encode_batch(batch)
    assert ids.tolist() == from_list.tolist()
    sliced, _ = tokenizer.encode_batch(pa.array(batch, pa.string()).slice(1))
    assert sliced.tolist() == ids[offsets[min(1, len(batch))] :].tolist()
    for text, (begin, end) in zip(batch, itertools.pairwise(offsets), strict=True):
        assert ids[begin:end].tolist() == reference.encode(text).ids, text[:80]
        assert tokenizer.decode_bytes(ids[begin:end]) == text.encode()
    assert not set(ids.tolist()) & set(tokenizer.special.values())


@pytest.mark.parametrize("name", SHAPES)
def test_published_shapes_are_fast_and_exact(
    pairs: dict[str, Pair], name: str, files_by_language: dict[str, list[str]]
) -> None:
    assert pairs[name][0].fast
    real = [text[:20_000] for files in files_by_language.values() for text in files[:3]]
    hard = [
        "",
        "\x00",
        "0",
        "x" * 5_000 + "1" * 5_000 + "\u0665" * 500 + " " * 5_000,
        "\r\n\r\r\n \n\t1\n 2\r",
        "".join(CONTROL) + "".join(PLAIN) + "õõ9zõ <think>22<think9zz\nõ",
        "1\u0301e\u0301 ½²ⅧⅨ㊿１２３𝟘९ 中文１字2",
        "trailing  \n \t\n  ",
    ]
    _check(pairs[name], [*real, *hard])


words = st.one_of(
    st.sampled_from(
        [*CONTROL, *PLAIN, "\r\n", "\x00", "    ", "\n  ", "it's", "'LL", "0x1F", "中文"]
    ),
    st.text(max_size=12),
    st.characters(categories=("Nd", "Nl", "No", "Mn", "Zs", "So", "P")),
    st.sampled_from(list(" \t\n\r.'(_0a９Z中👩\u0301")).flatmap(
        lambda c: st.integers(1, 40).map(lambda n: c * n)
    ),
)


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=50, deadline=None)
@given(batch=st.lists(st.lists(words, max_size=10).map("".join), max_size=4))
def test_any_text(pairs: dict[str, Pair], name: str, batch: list[str]) -> None:
    _check(pairs[name], batch)


@pytest.mark.parametrize(
    "name", ["StarCoder, StarCoder2, SantaCoder, SmolLM, Granite", "DeepSeek-Coder"]
)
def test_every_code_point(pairs: dict[str, Pair], name: str) -> None:
    """A hundred code points to a text, each between a letter, a digit, a space and a bracket."""
    some = (*range(0x3000), *range(0xA000, 0xD800, 11), *range(0xE000, 0x20000, 5))
    points = [chr(c) for c in some]
    _check(
        pairs[name],
        [
            "".join(f"a{c}b 1{c} {c}-'{c}\n" for c in points[start : start + 100])
            for start in range(0, len(points), 100)
        ],
    )


@pytest.mark.parametrize(
    "name", ["StarCoder, StarCoder2, SantaCoder, SmolLM, Granite", "DeepSeek-Coder"]
)
def test_whole_words_before_merges(name: str, learnt: dict[str, Any], tmp_path: Path) -> None:
    pair = _load(_make(tmp_path / "whole", learnt, SHAPES[name], ignore_merges=True))
    assert pair[0].fast
    _check(pair, [*_sources(), "self import return\n12 x²"])


def test_digits_of_composed_text(learnt: dict[str, Any], tmp_path: Path) -> None:
    """Command-R composes (NFC) before it sets digits apart."""
    composed = learnt | {"normalizer": {"type": "NFC"}}
    folder = _make(tmp_path / "nfc", composed, [DIGITS, _bytes(True)])
    tokenizer, reference = _load(folder)
    assert tokenizer.fast
    for text in ("e\u03011\u0301 \u212b2\u0338", "x = 1.5 # na\u0131\u0308ve 10½"):
        assert tokenizer.encode(text).tolist() == reference.encode(text).ids


@pytest.mark.parametrize("name", SLOW)
def test_other_shapes_are_slow_and_exact(
    name: str, learnt: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = _load(_make(tmp_path / "slow", learnt, SLOW[name]))
    assert not pair[0].fast
    assert "gigatoken does not cover this tokenizer" in capsys.readouterr().err
    _check(pair, [*_sources()[:2], "2016-11-21 0x0000 12345a1b", "a  \nb \t"])


def test_text_that_is_not_unicode(pairs: dict[str, Pair]) -> None:
    for tokenizer, _ in pairs.values():
        with pytest.raises(
            FirnlineError, match="text 1 holds an unpaired surrogate at character 2"
        ):
            tokenizer.encode_batch(["fine", "ab\ud800"])
