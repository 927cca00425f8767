"""Encoding speed for each published way of cutting text into words, ids compared.

For each way a small tokenizer is trained with `tokenizers` on half of `--mb` of code, and encodes
the code: all of it with `Tokenizer.encode_batch`, a part with `tokenizers`, on one core each. Rates
are MB (10^6 bytes) of UTF-8 for each second of processor time, gigatoken's cache of words filled.
The last line is a JSON object: by way, `fast` (whether gigatoken encodes), both rates and
`ids_equal`.

    python benchmarks/encode_shapes.py [--documents FOLDER] [--mb MB] [--only NAME ...]
"""

from __future__ import annotations

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # before tokenizers is imported

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tokenizers
from encode import gather
from tokenizers import models, pre_tokenizers, trainers

from firnline.documents import document_shards, read_batches
from firnline.tokens.tiktoken_ranks import PATTERNS
from firnline.tokens.tokenizer import END_OF_TEXT, Tokenizer

PEER_SHARE = 10  # tokenizers encodes every tenth file
Part = dict[str, Any]


def _split(pattern: str) -> Part:
    regex = {"Regex": pattern}
    return {"type": "Split", "pattern": regex, "behavior": "Isolated", "invert": False}


def _bytes(use_regex: bool) -> Part:
    flags = {"add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}
    return {"type": "ByteLevel", **flags}


DIGITS = {"type": "Digits", "individual_digits": True}
CJK = _split("[一-龥ࠀ-一가-퟿]+")
CL100K, O200K, QWEN2 = (str(PATTERNS[name]) for name in ("cl100k", "o200k", "qwen2"))
# `{1,3}+` is a run of such for Oniguruma, which `tokenizers` uses: digits of any length.
PHI4 = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s+"
)
DEEPSEEK_V3 = (
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
)
SHAPES: dict[str, list[Part]] = {
    "GPT-2, CodeGen, Phi-2, OLMo": [_bytes(True)],
    "StarCoder, StarCoder2, SantaCoder, SmolLM, Granite": [DIGITS, _bytes(True)],
    "Llama 3, OLMo 2, cl100k_base": [_split(CL100K), _bytes(False)],
    "Qwen2, Firnline": [_split(QWEN2), _bytes(False)],
    "o200k_base": [_split(O200K), _bytes(False)],
    "DeepSeek-V3": [*map(_split, DEEPSEEK_V3), _bytes(False)],
    "DeepSeek-Coder": [
        *(_split("[\r\n]"), _split(r"\s?\p{L}+"), _split(r"\s?\p{P}+"), CJK, DIGITS),
        _bytes(False),
    ],
    "Phi-4": [_split(PHI4), _bytes(False)],
    "BLOOM": [_split(r" ?[^(\s|[.,!?…。，、।۔،])]+"), _bytes(False)],
    "Falcon": [
        {"type": "Punctuation", "behavior": "Contiguous"},
        *(_bytes(True), DIGITS | {"individual_digits": False}, _split("[0-9][0-9][0-9]")),
    ],
}


def main() -> None:
    """Trains, encodes and compares for each way, prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=Path, help="Documents to train on and to encode")
    parser.add_argument("--mb", type=float, default=6, help="how much of them")
    parser.add_argument("--only", nargs="*", help="parts of names of the ways to measure")
    given = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        documents = given.documents
        if documents is None:
            documents = folder / "documents"
            gather(documents, int(given.mb))
        texts = _texts(documents, given.mb)
        for number, (shape, parts) in enumerate(SHAPES.items()):
            if given.only is None or any(part in shape for part in given.only):
                results[shape] = compare(_train(folder / str(number), parts, texts), texts)
                print(shape, results[shape], flush=True)
    print(json.dumps(results))


def _texts(documents: Path, megabytes: float) -> list[str]:
    """About as much from the start of each shard."""
    shards = document_shards(documents)
    texts: list[str] = []
    for path in shards:
        taken = 0.0
        for batch in read_batches(path, ["content"], rows=16):
            if taken > megabytes / len(shards):
                break
            texts += [text or "" for text in batch.column("content").to_pylist()]
            taken += batch.nbytes / 1e6
    return texts


def _train(folder: Path, parts: list[Part], texts: list[str]) -> Path:
    made = tokenizers.Tokenizer(models.BPE())
    cut = {"type": "Sequence", "pretokenizers": parts} if parts[1:] else parts[0]
    settings = json.loads(made.to_str()) | {"pre_tokenizer": cut}
    made = tokenizers.Tokenizer.from_str(json.dumps(settings))
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts[::2], trainer)
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    return folder


def compare(folder: Path, texts: list[str]) -> dict[str, Any]:
    """Both rates, and whether all ids are equal on what `tokenizers` encodes."""
    mine = Tokenizer.load(folder)
    peer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    peer.encode_special_tokens = True
    part = texts[::PEER_SHARE]
    started = time.process_time()
    encodings = peer.encode_batch_fast(part, add_special_tokens=False)
    peer_rate = _megabytes(part) / (time.process_time() - started)
    texts = texts if mine.fast else part
    column = pa.array(texts, pa.large_string())
    for _ in range(2):
        started = time.process_time()
        ids, offsets = mine.encode_batch(column, parallel=False)
        rate = _megabytes(texts) / (time.process_time() - started)
    step = PEER_SHARE if mine.fast else 1
    return {
        "fast": mine.fast,
        "mb_per_second": round(rate, 1),
        "tokenizers_mb_per_second": round(peer_rate, 2),
        "ids_equal": all(
            np.array_equal(ids[offsets[row * step] : offsets[row * step + 1]], encoding.ids)
            for row, encoding in enumerate(encodings)
        ),
    }


def _megabytes(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


if __name__ == "__main__":
    main()
