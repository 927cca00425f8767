"""Importing tokenizers of every kind: equal ids, exact bytes, no control token from content."""

from __future__ import annotations

import base64
import functools
import itertools
import json
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from firnline.errors import FirnlineError
from firnline.tokens.extend import ExtendConfig, check_checkpoint
from firnline.tokens.extend import run as extend
from firnline.tokens.import_tokenizer import ImportConfig, run
from firnline.tokens.roles import INFILLING_NAMES, find_roles
from firnline.tokens.tokenizer import Tokenizer

regex = pytest.importorskip("regex")  # comes with transformers

# As tiktoken publishes them with each encoding. Its later versions write `\s++$|\s*[\r\n]` in
# CL100K, which for a vocabulary learnt with these words gives the same ids.
GPT2 = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
CL100K = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"""
    r"""|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
O200K = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
SPECIALS = ("<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
CONTROL_TEXTS = (*SPECIALS, "</s>", "<s>", "<unk>", "▁<PRE>", "<｜fim▁hole｜>", "[PREFIX]", "<eos>")


def _sources() -> list[str]:
    library = Path(sysconfig.get_path("stdlib"))
    return [path.read_text() for path in sorted(library.glob("[a-c]*.py"))[:25]]


@pytest.fixture(scope="module")
def learnt() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of byte-level BPE, learnt by `tokenizers`."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
    )
    made.train_from_iterator(_sources(), trainer)
    model = json.loads(made.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def _unspell(token: str) -> bytes:
    """Byte-level text to bytes, by the decoder of `tokenizers`, a byte at a time."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in printable]
    return bytes(ord(c) if ord(c) < 256 else others[ord(c) - 256] for c in token)


@pytest.fixture(scope="module")
def ranks(learnt: tuple[dict[str, int], list[tuple[str, str]]]) -> dict[bytes, int]:
    """The same vocabulary as ranks, with a hole at 300 as p50k_base has one at 50,256."""
    return {_unspell(token): n if n < 300 else n + 1 for token, n in learnt[0].items()}


def _write_ranks(path: Path, ranks: dict[bytes, int]) -> None:
    lines = (base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())
    path.write_bytes(b"".join(lines))


def _as_tiktoken(ranks: dict[bytes, int], pattern: str) -> Callable[[str], list[int]]:
    """tiktoken by its definition: in each word merge the pair of least rank, until none is left."""

    @functools.cache
    def word_ids(word: bytes) -> tuple[int, ...]:
        parts = [bytes([byte]) for byte in word]
        while word not in ranks:  # a word that is a token is taken whole
            pairs = [ranks.get(a + b, 1 << 40) for a, b in itertools.pairwise(parts)]
            if not pairs or min(pairs) == 1 << 40:
                return tuple(ranks[part] for part in parts)
            at = pairs.index(min(pairs))
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return (ranks[word],)

    def encode(text: str) -> list[int]:
        return [i for word in regex.findall(pattern, text) for i in word_ids(word.encode())]

    return encode


@pytest.fixture(scope="module")
def sentencepiece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of Code Llama's kind: `▁` for spaces, byte fallback, a space before each text."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    control = ["<unk>", "<s>", "</s>"]
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=1100, special_tokens=[*control, *fallback], show_progress=False
    )
    made.train_from_iterator(_sources(), trainer)
    model = json.loads(made.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    # Merges that would spell control tokens and bytes, as real files have had them.
    vocabulary = dict(model["vocab"])
    for token in ("</", "<0x0", "A>"):
        vocabulary.setdefault(token, len(vocabulary))
    merges += [("<", "/"), ("</", "s"), ("s", ">"), ("</", "s>"), ("<0x0", "A>")]
    vocabulary.setdefault("s>", len(vocabulary))
    vocabulary.setdefault("</s", len(vocabulary))
    vocabulary.setdefault("<0", len(vocabulary))
    vocabulary.setdefault("x0", len(vocabulary))
    merges += [("<", "0"), ("x", "0"), ("<0", "x0"), ("A", ">")]
    rebuilt = tokenizers.Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    rebuilt.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    rebuilt.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    infilling = ["▁<PRE>", "▁<MID>", "▁<SUF>"]
    rebuilt.add_special_tokens([AddedToken(token) for token in (*control, *infilling)])
    folder = tmp_path_factory.mktemp("sentencepiece")
    rebuilt.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def imported(
    tmp_path_factory: pytest.TempPathFactory,
    learnt: tuple[dict[str, int], list[tuple[str, str]]],
    ranks: dict[bytes, int],
    sentencepiece: Path,
    tokenizer_folder: Path,
) -> dict[str, Tokenizer]:
    """One tokenizer of each kind of source, imported."""
    folder = tmp_path_factory.mktemp("imported")
    special = {token: 2000 + n for n, token in enumerate(SPECIALS)}
    _write_ranks(folder / "own.tiktoken", ranks)
    legacy = folder / "legacy"
    legacy.mkdir()
    vocabulary = learnt[0] | {token: len(learnt[0]) + n for n, token in enumerate(SPECIALS)}
    (legacy / "vocab.json").write_text(json.dumps(vocabulary))
    lines = ["#version: 0.2", *(" ".join(merge) for merge in learnt[1])]
    (legacy / "merges.txt").write_text("\n".join(lines) + "\n")
    sources: dict[str, tuple[Path, ImportConfig]] = {
        "tokenizer.json": (tokenizer_folder, ImportConfig()),
        "sentencepiece": (sentencepiece, ImportConfig()),
        "legacy": (legacy, ImportConfig()),
        "gpt2 ranks": (
            folder / "own.tiktoken",
            ImportConfig(encoding="r50k_base", special_tokens=special),
        ),
        "cl100k ranks": (
            folder / "own.tiktoken",
            ImportConfig(encoding="cl100k_base", special_tokens=special),
        ),
        "o200k ranks": (
            folder / "own.tiktoken",
            ImportConfig(encoding="o200k_base", special_tokens=special),
        ),
    }
    loaded = {}
    for name, (source, config) in sources.items():
        run(config, source, folder / "out" / name)
        loaded[name] = Tokenizer.load(folder / "out" / name)
    return loaded


KINDS = ("tokenizer.json", "sentencepiece", "legacy", "gpt2 ranks", "cl100k ranks", "o200k ranks")
words = st.one_of(
    st.sampled_from(
        [*CONTROL_TEXTS, "<0x0A>", "<0xC3>", "\r\n", "    ", "\n  ", "def ", "it's", "I'LL", "'ſ"]
    ),
    st.text(max_size=12),
    st.sampled_from(list(" \t\n\r.'(_-#/<>0aZ中")).flatmap(
        lambda c: st.integers(1, 60).map(lambda n: c * n)
    ),
)
texts = st.lists(words, max_size=10).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(text=texts)
def test_no_text_makes_a_control_token_and_every_byte_comes_back(
    imported: dict[str, Tokenizer], kind: str, text: str
) -> None:
    tokenizer = imported[kind]
    text = f"{''.join(tokenizer.special)} {text}" if len(text) % 3 == 0 else text
    ids = tokenizer.encode(text)
    assert not set(ids.tolist()) & set(tokenizer.special.values())
    assert tokenizer.decode_bytes(ids) == text.encode()


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [("gpt2 ranks", GPT2), ("cl100k ranks", CL100K), ("o200k ranks", O200K)],
)
def test_ranks_give_the_ids_that_tiktoken_defines(
    imported: dict[str, Tokenizer],
    ranks: dict[bytes, int],
    kind: str,
    pattern: str,
    files_by_language: dict[str, list[str]],
) -> None:
    encode = _as_tiktoken(ranks, pattern)
    real = [files[0][:8000] for files in files_by_language.values()]
    hard = [
        "",
        "\n  ",
        " \n \t",
        "x\n\n  ",
        "a  \r\n b",
        "1234567",
        "Ünïçödé中文🙂",
        *CONTROL_TEXTS,
    ]
    _equal(imported[kind], [*real, *hard], encode)


@settings(max_examples=100, deadline=None)
@given(text=texts)
def test_ranks_on_any_text(
    imported: dict[str, Tokenizer], ranks: dict[bytes, int], text: str
) -> None:
    if "ſ" not in text:  # whose case `regex` folds in its own way
        ids = imported["cl100k ranks"].encode(text).tolist()
        assert ids == _as_tiktoken(ranks, CL100K)(text)


def test_vocabulary_and_merges_files_are_the_tokenizer_they_came_from(
    imported: dict[str, Tokenizer],
    learnt: tuple[dict[str, int], list[tuple[str, str]]],
    files_by_language: dict[str, list[str]],
) -> None:
    whole = tokenizers.ByteLevelBPETokenizer(*learnt)
    real = [files[0][:8000] for files in files_by_language.values()]
    _equal(imported["legacy"], real, lambda text: whole.encode(text).ids)
    size = len(learnt[0])
    assert dict(imported["legacy"].special) == {t: size + n for n, t in enumerate(SPECIALS)}


def test_sentencepiece_ids_are_those_of_tokenizers_inside_a_text(
    imported: dict[str, Tokenizer], sentencepiece: Path, files_by_language: dict[str, list[str]]
) -> None:
    """`tokenizers` puts a space before a text; after a first byte of its own its ids are ours."""
    reference = tokenizers.Tokenizer.from_file(str(sentencepiece / "tokenizer.json"))
    reference.encode_special_tokens = True
    first = json.loads(reference.to_str())["model"]["vocab"]["<0x01>"]
    real = [files[0][:8000] for files in files_by_language.values()]

    def encode(text: str) -> list[int]:
        ids = reference.encode("\x01" + text, add_special_tokens=False).ids
        return list(ids[ids.index(first) + 1 :])

    _equal(imported["sentencepiece"], [*real, "x = 'ñ☃'\n"], encode)
    assert imported["sentencepiece"].spelling == "sentencepiece"


def _equal(tokenizer: Tokenizer, batch: list[str], encode: Callable[[str], list[int]]) -> None:
    ids, offsets = tokenizer.encode_batch(pa.array(batch, pa.large_string()))
    for text, (begin, end) in zip(batch, itertools.pairwise(offsets), strict=True):
        assert ids[begin:end].tolist() == encode(text), text[:80]


def test_bytes_of_tokens(imported: dict[str, Tokenizer], ranks: dict[bytes, int]) -> None:
    table = imported["cl100k ranks"].token_bytes
    assert {number: token for number, token in table.items() if number < 2000} == {
        number: token for token, number in ranks.items()
    }
    assert imported["cl100k ranks"].vocabulary_size == 2004
    pieces = imported["sentencepiece"].token_bytes
    assert [pieces[3 + byte] for byte in range(256)] == [bytes([byte]) for byte in range(256)]
    snow = imported["sentencepiece"].encode("☃").tolist()
    assert snow == [3 + byte for byte in "☃".encode()]


def test_a_space_is_never_put_before_a_text(imported: dict[str, Tokenizer]) -> None:
    for tokenizer in imported.values():
        parts = ["def", " f(", "):", "\n    ", "return"]
        whole = [i for part in parts for i in tokenizer.encode(part).tolist()]
        assert tokenizer.decode(whole) == "".join(parts)


def test_roles_of_each_kind(imported: dict[str, Tokenizer]) -> None:
    for kind, tokenizer in imported.items():
        names = {number: token for token, number in tokenizer.special.items()}
        roles = {role: names[number] for role, number in tokenizer.roles.items()}
        if kind == "sentencepiece":
            middle = {"fim_prefix": "▁<PRE>", "fim_middle": "▁<MID>", "fim_suffix": "▁<SUF>"}
            assert roles == {"end_of_text": "</s>", **middle}
        else:
            first = dict(zip(("end_of_text", *FIM), SPECIALS, strict=True))
            assert roles == first | ({"pad": "<|pad|>"} if kind == "tokenizer.json" else {})
        assert tokenizer.end_of_text == tokenizer.roles["end_of_text"]


FIM = ("fim_prefix", "fim_middle", "fim_suffix")


def test_infilling_names_of_public_models() -> None:
    for family in INFILLING_NAMES:
        added = [{"id": n, "content": t, "special": True} for n, t in enumerate(reversed(family))]
        assert find_roles(added) == dict(zip(FIM, family, strict=True))
        assert find_roles(added[1:]) == {}
    # DeepSeek-Coder's prompt is begin, prefix, hole, suffix, end, middle.
    deepseek = find_roles([{"content": f"<｜fim▁{part}｜>"} for part in ("begin", "hole", "end")])
    assert [deepseek[role] for role in ("fim_prefix", "fim_suffix", "fim_middle")] == [
        f"<｜fim▁{part}｜>" for part in ("begin", "hole", "end")
    ]


@pytest.fixture
def plain(tokenizer_folder: Path) -> dict[str, Any]:
    """Settings to change, of a good tokenizer."""
    settings_: dict[str, Any] = json.loads((tokenizer_folder / "tokenizer.json").read_text())
    return settings_


def _entry(number: int, content: str, special: bool) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, "special": special, **flags}


def _save(folder: Path, value: Any, name: str = "tokenizer.json") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(value))
    return folder


def test_control_tokens_that_files_do_not_call_special(
    plain: dict[str, Any], tmp_path: Path
) -> None:
    """Qwen's and DeepSeek's infilling tokens say `special: false`; line breaks of Gemma too."""
    names = ["<|im_end|>", "<fim-prefix>", "<fim-middle>", "<fim-suffix>", "<think>", "\n\n\n\n"]
    plain["added_tokens"] += [_entry(1200 + n, name, False) for n, name in enumerate(names)]
    source = _save(tmp_path / "source", plain)
    run(ImportConfig(control=("<think>",)), source, tmp_path / "out")
    tokenizer = Tokenizer.load(tmp_path / "out")
    text = "".join(names)
    ids = tokenizer.encode(text).tolist()
    assert tokenizer.decode(ids) == text
    assert [i for i in ids if i >= 1200] == [1205]  # the line breaks keep their id
    assert set(names) - set(tokenizer.special) == {"\n\n\n\n"}


def test_added_tokens_that_gigatoken_does_not_follow(plain: dict[str, Any], tmp_path: Path) -> None:
    """A token that counts as a whole word only: gigatoken 0.10 finds it inside words."""
    plain["added_tokens"].append(_entry(1200, "wordy", False) | {"single_word": True})
    source = _save(tmp_path / "source", plain)
    assert not run(ImportConfig(), source, tmp_path / "out").stats["fast"]
    reference = tokenizers.Tokenizer.from_file(str(source / "tokenizer.json"))
    batch = ["a wordy, wordys and wordywordy", "wordy"]
    _equal(Tokenizer.load(tmp_path / "out"), batch, lambda text: reference.encode(text).ids)


def test_the_files_eos_token_decides_where_names_do_not(
    plain: dict[str, Any], tmp_path: Path
) -> None:
    plain["added_tokens"] = [
        _entry(1200 + n, token, True) for n, token in enumerate(("<done>", "<|im_end|>"))
    ]
    source = _save(tmp_path / "source", plain)
    with pytest.raises(FirnlineError, match=r"no special token .* ends a document") as caught:
        run(ImportConfig(), source, tmp_path / "out")
    assert str(source) in str(caught.value)
    assert ".partial" not in str(caught.value)
    for eos in ("<done>", {"content": "<done>"}):
        _save(source, {"eos_token": eos, "pad_token": "<|im_end|>"}, "tokenizer_config.json")
        stats = run(ImportConfig(), source, tmp_path / "out").stats
        assert stats["roles"] == {"end_of_text": "<done>", "pad": "<|im_end|>"}
    file = source / "tokenizer.json"  # what lies beside it counts just as well
    assert run(ImportConfig(), file, tmp_path / "file").stats == stats
    _save(source, {"eos_token": "<done>"}, "tokenizer_config.json")
    assert "pad" not in run(ImportConfig(), file, tmp_path / "file").stats["roles"]
    stats = run(ImportConfig(roles={"end_of_text": "<|im_end|>"}), source, tmp_path / "out").stats
    assert stats["roles"] == {"end_of_text": "<|im_end|>"}
    # A chat model's file: the name that ends documents goes before its end of a turn.
    plain["added_tokens"].append(_entry(0, "<|endoftext|>", True))
    _save(source, plain)
    _save(source, {"eos_token": "<|im_end|>"}, "tokenizer_config.json")
    assert run(ImportConfig(), source, tmp_path / "out").stats["roles"]["end_of_text"] == (
        "<|endoftext|>"
    )


def test_transformers_reads_an_imported_folder(imported: dict[str, Tokenizer]) -> None:
    transformers = pytest.importorskip("transformers")
    for kind in ("cl100k ranks", "legacy"):
        tokenizer = imported[kind]
        loaded = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(tokenizer.folder / "tokenizer.json")
        )
        text = "def f(x):\n    return x  # 中\n"
        assert loaded(text)["input_ids"] == tokenizer.encode(text).tolist()
        for token, number in tokenizer.special.items():
            assert loaded.convert_tokens_to_ids(token) == number


def _bad_sources(folder: Path, good: dict[str, Any]) -> Iterator[tuple[str, Path, ImportConfig]]:
    def source(value: Any, name: str = "tokenizer.json") -> Path:
        return _save(folder / str(next(numbers)), value, name)

    numbers = itertools.count()
    none = ImportConfig()
    model = good["model"]
    unigram = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0]]}
    yield "is Unigram, not byte-level BPE", source(good | {"model": unigram}), none
    wordpiece = model | {"type": "WordPiece"}
    yield "is WordPiece, not byte-level BPE", source(good | {"model": wordpiece}), none
    characters = good | {"pre_tokenizer": {"type": "Whitespace"}}
    yield "is BPE over characters", source(characters), none
    fewer = {token: number for token, number in model["vocab"].items() if token != "Ċ"}
    yield "no token for byte 0x0A", source(good | {"model": model | {"vocab": fewer}}), none
    yield "not a Hugging Face tokenizer", source({"a": 1}), none
    yield "cannot read", source([1]), none
    yield "says itself how text is cut", source(good), ImportConfig(encoding="qwen2")
    yield "no added token '<x>'", source(good), ImportConfig(roles={"pad": "<x>"})
    clash = ImportConfig(special_tokens={"<x>": 300})
    yield "'<x>' has id 300; in .* 300 is ", source(good), clash
    twice = [*good["added_tokens"], _entry(3, "<x>", True)]
    yield "gives id 3 to .* and '<x>'", source(good | {"added_tokens": twice}), none
    two = [*good["added_tokens"], _entry(1200, "(", True)]
    yield r"gives '\(' the ids \d+ and 1200", source(good | {"added_tokens": two}), none
    moved = ImportConfig(special_tokens={"<|endoftext|>": 5000})
    yield "has id 5000; in .* it has id 0", source(good), moved
    yield "no tokenizer in .*: none of tokenizer.json", source({}, "other.json"), none
    yield "no such file .*absent", folder / "absent.tiktoken", none
    yield "cannot read .*merges.txt", source({}, "vocab.json"), none
    unknown = source({"a": 0}, "vocab.json")
    (unknown / "merges.txt").write_text("")
    _save(unknown, {"tokenizer_class": "OwnTokenizer"}, "tokenizer_config.json")
    yield "how OwnTokenizer cuts text into words is not known", unknown, none
    (unknown / "merges.txt").write_text("a b c\n")
    yield "'a b c' is no pair", unknown, none
    model_file = source({}, "tokenizer.model")
    (model_file / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>\x15\x00")
    yield "is no SentencePiece model, or is cut short", model_file, none
    (model_file / "tokenizer.model").write_bytes(b"{}")
    yield "no token and rank of a tiktoken file", model_file, none
    (folder / "few.tiktoken").write_bytes(b"IQ== 0\n")
    yield "no rank for byte 0x00", folder / "few.tiktoken", none
    every = {bytes([byte]): byte for byte in range(256)}
    _write_ranks(folder / "named-by-nobody.tiktoken", every)
    yield "does not say how text is cut", folder / "named-by-nobody.tiktoken", none
    _write_ranks(folder / "same.tiktoken", every | {b"ab": 7})
    yield "one rank for two tokens", folder / "same.tiktoken", none
    many = every | {n.to_bytes(3, "big"): 256 + n for n in range(50_100)}
    _write_ranks(folder / "r50k_base.tiktoken", many)
    yield (
        "ranks up to 255, which",
        folder / "named-by-nobody.tiktoken",
        ImportConfig(encoding="gpt2"),
    )
    yield "ranks up to 50,355, which is not r50k_base", folder / "r50k_base.tiktoken", none


def test_what_cannot_be_imported_is_one_line(plain: dict[str, Any], tmp_path: Path) -> None:
    for message, source, config in _bad_sources(tmp_path, plain):
        with pytest.raises(FirnlineError, match=message) as caught:
            run(config, source, tmp_path / "out")
        assert "\n" not in str(caught.value)
        assert caught.value.mend
        assert not (tmp_path / "out").exists()
    with pytest.raises(ValidationError, match="one token has two roles"):
        ImportConfig(roles={"pad": "</s>", "end_of_text": "</s>"})


@pytest.mark.parametrize("kind", KINDS)
def test_extending_keeps_every_id(
    imported: dict[str, Tokenizer], kind: str, tmp_path: Path
) -> None:
    before = imported[kind]
    config = ExtendConfig(tokens=("<note>", "<gap>"), roles={"pad": "<gap>"})
    stats = extend(config, before.folder, tmp_path / "out").stats
    after = Tokenizer.load(tmp_path / "out")
    size = before.vocabulary_size
    assert stats["was"] == size
    assert stats["added"] == {"<note>": size, "<gap>": size + 1}
    assert after.vocabulary_size == size + 2
    assert after.roles == {**before.roles, "pad": size + 1}
    assert {**before.token_bytes, size: b"<note>", size + 1: b"<gap>"} == after.token_bytes
    text = "def f():\n    return '<note><gap>' # 中\n"
    assert np.array_equal(before.encode(text), after.encode(text))
    assert after.digest != before.digest
    loaded = tokenizers.Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert [loaded.token_to_id(token) for token in after.special] == list(after.special.values())


def test_extending_a_file_as_its_makers_wrote_it(sentencepiece: Path, tmp_path: Path) -> None:
    """Its added tokens have no entry in the vocabulary; their ids must stay all the same."""
    extend(ExtendConfig(tokens=("<note>",)), sentencepiece, tmp_path / "out")
    before, after = Tokenizer(sentencepiece).special, Tokenizer(tmp_path / "out").special
    loaded = tokenizers.Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert dict(after) == {**before, "<note>": max(before.values()) + 1}
    assert {token: loaded.token_to_id(token) for token in after} == dict(after)


def test_extending_takes_reserved_slots(plain: dict[str, Any], tmp_path: Path) -> None:
    names = [f"<|reserved_special_token_{n}|>" for n in range(3)]
    plain["added_tokens"] += [_entry(1200 + n, name, True) for n, name in enumerate(names)]
    run(ImportConfig(), _save(tmp_path / "source", plain), tmp_path / "before")
    config = ExtendConfig(tokens=("<a>", "<b>"), reserved=True)
    stats = extend(config, tmp_path / "before", tmp_path / "out").stats
    assert stats["added"] == {"<a>": 1200, "<b>": 1201}
    assert stats["was"] == stats["vocabulary_size"] == 1203
    tokenizer = Tokenizer.load(tmp_path / "out")
    assert names[2] in tokenizer.special
    assert names[0] not in tokenizer.special
    with pytest.raises(FirnlineError, match="has 1 reserved tokens, 2 are wanted"):
        extend(
            ExtendConfig(tokens=("<c>", "<d>"), reserved=True), tmp_path / "out", tmp_path / "more"
        )


@pytest.mark.parametrize(
    ("tokens", "roles", "message"),
    [
        (("<|pad|>",), {}, "in the vocabulary of .* already"),
        (("def",), {}, "in the vocabulary of .* already"),
        (("<a>", "<a>"), {}, "given twice"),
        ((" ",), {}, "is empty"),
        (("<a>",), {"pad": "<b>"}, "no control token"),
    ],
)
def test_clashes_are_refused(
    tokenizer_folder: Path, tmp_path: Path, tokens: Any, roles: Any, message: str
) -> None:
    with pytest.raises(FirnlineError, match=message):
        extend(ExtendConfig(tokens=tokens, roles=roles), tokenizer_folder, tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_goes_on_with_its_own_tokenizer_or_one_that_extends_it(
    imported: dict[str, Tokenizer], kind: str, sentencepiece: Path, tmp_path: Path
) -> None:
    own = imported[kind]
    check_checkpoint(tmp_path, own)  # a checkpoint that says nothing
    check_checkpoint(own.folder, own)
    if kind == "sentencepiece":  # the public model's file and what was imported from it
        check_checkpoint(sentencepiece, own)
    extend(ExtendConfig(tokens=("<note>",)), own.folder, tmp_path / "more")
    more = Tokenizer.load(tmp_path / "more")
    check_checkpoint(own.folder, more)
    with pytest.raises(FirnlineError, match="has another id for <note>, or none"):
        check_checkpoint(more.folder, own)
    for other, tokenizer in imported.items():
        if other != kind:
            with pytest.raises(FirnlineError, match="was trained with tokenizer"):
                check_checkpoint(own.folder, tokenizer)
    extend(
        ExtendConfig(tokens=("<end>",), roles={"end_of_text": "<end>"}), own.folder, tmp_path / "e"
    )
    with pytest.raises(FirnlineError, match="ends documents with another token"):
        check_checkpoint(own.folder, Tokenizer.load(tmp_path / "e"))


def test_a_model_goes_on_where_reserved_tokens_were_taken(
    plain: dict[str, Any], tmp_path: Path
) -> None:
    names = [f"<|reserved_special_token_{n}|>" for n in range(2)]
    plain["added_tokens"] += [_entry(1200 + n, name, True) for n, name in enumerate(names)]
    run(ImportConfig(), _save(tmp_path / "source", plain), tmp_path / "before")
    extend(ExtendConfig(tokens=("<a>",), reserved=True), tmp_path / "before", tmp_path / "after")
    check_checkpoint(tmp_path / "before", Tokenizer.load(tmp_path / "after"))
