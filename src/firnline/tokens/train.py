"""Trains a byte-level BPE tokenizer on a sample of the training documents.

Digits are split one by one and runs of white space are kept, as Qwen2's pre-tokenizer does; the
regular expression is one that gigatoken follows exactly.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from firnline.documents import atomic_path, document_shards, hash_share
from firnline.errors import FirnlineError
from firnline.progress import meter
from firnline.stage import StageResult, Stats, Workspace, run_stage
from firnline.tokens.splits import read_split
from firnline.tokens.tokenizer import SPECIAL_TOKENS, Tokenizer

PRE_TOKENIZER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SMALLEST = len(SPECIAL_TOKENS) + 256  # the special tokens and the bytes
MIB = 1 << 20


class TokenizerConfig(BaseModel):
    """Settings of the `tokenizer` stage."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    seed: int = 0
    """Chooses the sample."""
    vocabulary_size: int = Field(default=4096, ge=SMALLEST, le=1 << 20)
    """Entries: 7 special tokens, the 256 bytes, then merges."""
    sample_mib: float = Field(default=20.0, gt=0)
    """About this many MiB of content are trained on; all of it where the corpus is smaller."""
    language_exponent: float = Field(default=1.0, ge=0, le=1)
    """A language's share of the sample is proportional to its bytes to this power: 1 keeps the
    corpus's mix, 0 gives each language the same share, as far as its supply goes."""
    splits: tuple[str, ...] = ("train",)
    """Which documents count, where the corpus has a `split` column."""


def run(
    config: TokenizerConfig, documents: Path, out: Path, *, workers: int | None = None
) -> StageResult:
    """Trains on `documents` and writes `out/tokenizer.json`; the same inputs give the same bytes.

    Statistics: documents, bytes, tokens and bytes for each token of the sample, by language.
    Raises FirnlineError where the sample cannot fill the vocabulary.
    """

    def body(workspace: Workspace) -> Stats:
        sample = Sample(config, document_shards(documents))
        trained = _train(config, sample)
        if trained.get_vocab_size() < config.vocabulary_size:
            raise FirnlineError(
                f"vocabulary_size is {config.vocabulary_size:,}, the sample of "
                f"{sample.size / MIB:,.2f} MiB supports {trained.get_vocab_size():,} entries",
                mend="lower vocabulary_size or raise sample_mib",
            )
        with atomic_path(workspace.folder / "tokenizer.json") as temporary:
            trained.save(str(temporary))
        return _measure(Tokenizer.load(workspace.folder), sample)

    return run_stage(
        "tokenizer", config, {"documents": documents}, out, body, room="tokens", workers=workers
    )


class Sample:
    """A share of each language's documents, chosen by a hash of their ids.

    Whether a document is in depends on its id and its language's share alone, so the sample is
    read as a stream, any number of times. `size` is its expected bytes.
    """

    def __init__(self, config: TokenizerConfig, shards: list[Path]) -> None:
        self.config = config
        self.shards = shards
        supply: dict[str, int] = defaultdict(int)
        for path in shards:
            for batch in read_split(path, ["language", "size"], config.splits, rows=65536):
                sums = pa.table(batch).group_by("language").aggregate([("size", "sum")])
                for row in sums.to_pylist():
                    supply[row["language"]] += row["size_sum"]
        if not sum(supply.values()):
            raise FirnlineError(
                f"no text to train a tokenizer on in {shards[0].parent}",
                mend=f"give documents whose split is {' or '.join(config.splits)}",
            )
        wanted = language_bytes(supply, config.sample_mib * MIB, config.language_exponent)
        self.size = sum(wanted.values())
        self.share = {name: wanted[name] / max(supply[name], 1) for name in supply}

    def __iter__(self) -> Iterator[Any]:
        """Batches of `language` and `content`."""
        salt = f"tokenizer {self.config.seed}"
        columns = ["id", "language", "content"]
        for path in self.shards:
            for batch in read_split(path, columns, self.config.splits):
                names = batch.column("language").to_pylist()
                ids = batch.column("id").to_pylist()
                chosen = [
                    self.share[name] >= 1 or hash_share(document, salt) < self.share[name]
                    for name, document in zip(names, ids, strict=True)
                ]
                yield batch.filter(pa.array(chosen, pa.bool_())).select(["language", "content"])


def language_bytes(supply: dict[str, int], budget: float, exponent: float) -> dict[str, float]:
    """Bytes to take of each language: shares proportional to supply ** exponent.

    No language gives more than it has; what a small one lacks, the others give.
    """
    weights = {name: float(supply[name]) ** exponent for name in sorted(supply)}
    taken: dict[str, float] = {}
    while weights:
        scale = budget / sum(weights.values())
        short = [name for name in weights if supply[name] <= weights[name] * scale]
        if not short:
            return taken | {name: weight * scale for name, weight in weights.items()}
        for name in short:
            taken[name] = float(supply[name])
            budget -= taken[name]
            del weights[name]
    return taken


def _train(config: TokenizerConfig, sample: Sample) -> Any:
    # Set, so that tokenizers does not warn in the processes that other stages start later.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(PRE_TOKENIZER), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    with meter("tokenizer train", sample.size / MIB, "MiB") as progress:

        def texts() -> Iterator[list[str]]:
            for batch in sample:
                yield batch.column("content").to_pylist()
                progress.advance(batch.column("content").nbytes / MIB)

        tokenizer.train_from_iterator(texts(), trainer)
    return tokenizer


def _measure(tokenizer: Tokenizer, sample: Sample) -> Stats:
    rows: dict[str, dict[str, int]] = {}
    for batch in sample:
        _, ends = tokenizer.encode_batch(batch.column("content"))
        tokens = np.diff(ends).tolist()
        sizes = pc.binary_length(batch.column("content")).to_pylist()
        names = batch.column("language").to_pylist()
        for name, size, count in zip(names, sizes, tokens, strict=True):
            row = rows.setdefault(name, {"documents": 0, "bytes": 0, "tokens": 0})
            row["documents"] += 1
            row["bytes"] += size
            row["tokens"] += count
    total = {
        key: sum(row[key] for row in rows.values()) for key in ("documents", "bytes", "tokens")
    }
    return {
        "vocabulary_size": tokenizer.vocabulary_size,
        "tokenizer": tokenizer.digest,
        **_rates(total),
        "languages": {name: _rates(rows[name]) for name in sorted(rows)},
    }


def _rates(row: dict[str, int]) -> Stats:
    return {**row, "bytes_per_token": round(row["bytes"] / max(row["tokens"], 1), 4)}
