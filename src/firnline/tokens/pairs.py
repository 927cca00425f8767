"""Pairs of text and code from described functions, as token ids, and the loader of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from firnline import engine
from firnline.documents import (
    TableWriter,
    atomic_path,
    document_shards,
    parquet_file,
    write_json,
)
from firnline.errors import FirnlineError
from firnline.kernels.runs import copy_runs
from firnline.stage import StageResult, Stats, Workspace, run_stage
from firnline.tokens.descriptions import described_functions
from firnline.tokens.folder import read_settings
from firnline.tokens.permutation import permute, unpermute
from firnline.tokens.splits import read_split
from firnline.tokens.tokenizer import Tokenizer

Integers = NDArray[np.int64]

PAIRS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("text_tokens", pa.int32(), nullable=False),
        pa.field("code_tokens", pa.int32(), nullable=False),
    ]
)
"""A pair: its document, and the place of its text in a shard, in tokens; its code follows it."""


class PairsConfig(BaseModel):
    """Settings of the `pairs` stage."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    splits: tuple[str, ...] = ("train",)
    """Which documents are read, where the corpus has a `split` column."""


def run(
    config: PairsConfig,
    documents: Path,
    tokenizer_folder: Path,
    out: Path,
    *,
    workers: int | None = None,
) -> StageResult:
    """Writes the described functions of `documents` into the folder `out`, as token ids.

    Statistics: documents read and pairs, tokens of text and of code, by language. Raises
    FirnlineError where there is no pair.
    """
    tokenizer = Tokenizer.load(tokenizer_folder)
    dtype = "uint16" if tokenizer.vocabulary_size <= 1 << 16 else "uint32"

    def body(workspace: Workspace) -> Stats:
        paths = document_shards(documents)
        workspace.workers = workers or engine.cores()
        jobs = {
            f"shard-{n:05d}": _Job(n, path, tokenizer, dtype, config.splits, workspace.folder)
            for n, path in enumerate(paths)
        }
        parts = workspace.map("pairs", _pair, jobs)
        languages: dict[str, Counter[str]] = {}
        for part in parts.values():
            for language, row in part["languages"].items():
                languages.setdefault(language, Counter()).update(row)
        total = sum(languages.values(), Counter[str]())
        if not total["pairs"]:
            raise FirnlineError(
                f"no described function in {documents}",
                mend="give documents of a language with a grammar, with docstrings or comments",
            )
        with TableWriter(workspace.folder / "pairs.parquet", PAIRS_SCHEMA) as index:
            for job in jobs.values():
                for batch in parquet_file(job.index).iter_batches():
                    index.write(batch)
        settings = {
            "vocabulary_size": tokenizer.vocabulary_size,
            "dtype": dtype,
            "end_of_text": tokenizer.end_of_text,
            "tokenizer": tokenizer.digest,
        }
        write_json(workspace.folder / "tokens.json", settings)
        rows = {name: dict(languages[name]) for name in sorted(languages)}
        return {**dict(total), "languages": rows}

    inputs: dict[str, Path | str] = {"documents": documents, "tokenizer": tokenizer.digest}
    return run_stage("pairs", config, inputs, out, body, room="tokens", workers=workers)


@dataclass(frozen=True)
class _Job:
    number: int
    documents: Path
    tokenizer: Tokenizer
    dtype: str
    splits: tuple[str, ...]
    folder: Path

    @property
    def index(self) -> Path:
        return self.folder / "parts" / "index" / f"shard-{self.number:05d}.parquet"


def _pair(job: _Job) -> Stats:
    languages: dict[str, Counter[str]] = {}
    offset = 0
    path = job.folder / f"shard-{job.number:05d}.bin"
    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as file,
        TableWriter(job.index, PAIRS_SCHEMA) as index,
    ):
        columns = ["id", "language", "content"]
        for batch in read_split(job.documents, columns, job.splits, rows=256):
            rows: list[dict[str, Any]] = []
            texts: list[str] = []
            for document in batch.to_pylist():
                language = document["language"]
                found = described_functions(language, document["content"] or "")
                count = languages.setdefault(language, Counter())
                count.update(documents=1, pairs=len(found))
                for pair in found:
                    texts += pair
                    row = {"id": document["id"], "language": language, "shard": job.number}
                    rows.append(row)
            ids, ends = job.tokenizer.encode_batch(texts, parallel=False)
            ids.astype(job.dtype).tofile(file)
            sizes = np.diff(ends).reshape(-1, 2)
            for row, start, (text, code) in zip(
                rows, ends[:-1:2].tolist(), sizes.tolist(), strict=True
            ):
                row.update(offset=offset + start, text_tokens=text, code_tokens=code)
                languages[row["language"]].update(text_tokens=text, code_tokens=code)
            offset += len(ids)
            if rows:
                index.write(pa.RecordBatch.from_pylist(rows, schema=PAIRS_SCHEMA))
    return {"languages": {name: dict(row) for name, row in languages.items()}}


class Pairs:
    """Pairs by number; those of an epoch in an order of its own, a function of (seed, phase).

    Memory: 28 bytes for each pair; tokens are mapped.
    """

    def __init__(
        self,
        folder: Path,
        *,
        text_length: int,
        code_length: int,
        seed: int,
        phase: str,
        documents: pa.Array | None = None,
    ) -> None:
        """Longer texts and codes are cut; of `documents`, ids, the pairs are used, of all without.

        Raises FirnlineError where the folder is not whole, or no pair is used.
        """
        if text_length < 1 or code_length < 1:
            raise FirnlineError(
                f"pairs of {text_length} and {code_length} tokens", mend="give at least one"
            )
        self.folder, self.seed, self.phase = folder, seed, phase
        self.text_length, self.code_length = text_length, code_length
        self.settings = read_settings(folder)
        columns = ["shard", "offset", "text_tokens", "code_tokens"]
        table = parquet_file(folder / "pairs.parquet").read(columns)
        self._shard, self._offset, self._text, self._code = (
            table[name].to_numpy() for name in columns
        )
        self._shards: dict[int, NDArray[Any]] = {}
        for number in np.unique(self._shard).tolist():
            rows = self._shard == number
            wanted = int((self._text[rows] + self._code[rows]).sum(dtype=np.int64))
            path = folder / f"shard-{number:05d}.bin"
            size = path.stat().st_size if path.is_file() else 0
            if size != wanted * np.dtype(self.settings["dtype"]).itemsize:
                raise FirnlineError(
                    f"{path} holds {size:,} bytes, its index says {wanted:,} tokens",
                    mend="run pairs again",
                )
            self._shards[number] = np.asarray(
                np.memmap(path, dtype=self.settings["dtype"], mode="r")
            )
        self._kept = np.arange(len(self._shard))
        if documents is not None:
            self._kept = np.flatnonzero(pc.is_in(self._documents, value_set=documents))
        if not len(self._kept):
            raise FirnlineError(f"no pair of {folder} is used", mend="use more documents")

    def __len__(self) -> int:
        return len(self._kept)

    @cached_property
    def _documents(self) -> pa.ChunkedArray:
        """The document of each row; read when first asked for."""
        return parquet_file(self.folder / "pairs.parquet").read(["id"])["id"]

    def supply(self) -> tuple[int, int]:
        """Documents and tokens of the pairs that are used."""
        documents = pc.count_distinct(self._documents.take(pa.array(self._kept))).as_py()
        tokens = (self._text[self._kept] + self._code[self._kept]).sum(dtype=np.int64)
        return int(documents), int(tokens)

    def documents(self, start: int, count: int) -> list[dict[str, Any]]:
        """The document of each pair, its `id`, with `text_tokens` and `code_tokens` that are read
        of the pair."""
        rows = self.rows(start, count)
        ids = self._documents.take(pa.array(rows)).to_pylist()
        texts = np.minimum(self._text[rows], self.text_length).tolist()
        codes = np.minimum(self._code[rows], self.code_length).tolist()
        return [
            {"id": name, "text_tokens": text, "code_tokens": code}
            for name, text, code in zip(ids, texts, codes, strict=True)
        ]

    def numbers_of(self, document: bytes, count: int) -> Integers:
        """Which of the pairs 0 to `count - 1` are of the document, in order."""
        own = pc.equal(self._documents.take(pa.array(self._kept)), pa.scalar(document))
        places = np.flatnonzero(own)
        numbers = [
            unpermute(places, len(self), self.seed, self.phase, "pairs", epoch) + epoch * len(self)
            for epoch in range(-(-count // len(self)) if len(places) else 0)
        ]
        found = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *numbers]))
        return found[found < count]

    def pairs(self, start: int, count: int) -> tuple[Integers, Integers]:
        """Texts [count, text_length] and codes [count, code_length]; -1 where they are shorter."""
        rows = self.rows(start, count)
        texts = np.full((count, self.text_length), -1, dtype=np.int64)
        codes = np.full((count, self.code_length), -1, dtype=np.int64)
        for number, shard in self._shards.items():
            mine = np.flatnonzero(self._shard[rows] == number)
            begins, text = self._offset[rows[mine]], self._text[rows[mine]].astype(np.int64)
            code = self._code[rows[mine]].astype(np.int64)
            for out, at, size in ((texts, begins, text), (codes, begins + text, code)):
                cut = np.minimum(size, out.shape[1])
                copy_runs(shard, at, cut, out.reshape(-1), mine * out.shape[1])
        return texts, codes

    def rows(self, start: int, count: int) -> Integers:
        """Rows of `pairs.parquet` that the numbers `start` to `start + count - 1` are."""
        numbers = np.arange(start, start + count, dtype=np.int64)
        epochs, places = np.divmod(numbers, len(self))
        rows = np.empty(count, dtype=np.int64)
        for epoch in np.unique(epochs).tolist():
            chosen = epochs == epoch
            key = (self.seed, self.phase, "pairs", epoch)
            rows[chosen] = permute(places[chosen], len(self), *key)
        return self._kept[rows]
