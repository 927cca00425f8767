"""Which tokens are identifiers, and which of them: labels beside a token folder.

The label folder has a label for each token, in files and an index as the token folder has them.
So `Samples` (or a mixture of them), given the label folder and the settings that it was given for
the tokens, returns the labels of the same tokens. `firnline.kernels.identifiers` has the bits.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from firnline import engine
from firnline.documents import atomic_path, document_shards, parquet_file, read_batches, write_json
from firnline.errors import FirnlineError
from firnline.kernels.identifiers import CODE, NEVER, NUMBER, label_tokens
from firnline.stage import StageResult, Stats, Workspace, run_stage
from firnline.tokens.folder import read_settings
from firnline.tokens.grammars import marks, parse
from firnline.tokens.samples import check
from firnline.tokens.tokenizer import Tokenizer

SMALL_MIB = 8  # less than this is parsed sooner than processes start
_WHITE = np.isin(np.arange(256), list(b" \t\n\r\f\v"))


class IdentifiersConfig(BaseModel):
    """Settings of the `identifiers` stage: there are none, the grammars say it all."""

    model_config = ConfigDict(extra="forbid")


def run(
    config: IdentifiersConfig,
    documents: Path,
    tokenizer_folder: Path,
    tokens: Path,
    out: Path,
    *,
    workers: int | None = None,
) -> StageResult:
    """Labels the tokens of the token folder `tokens`, which `documents` were packed into.

    Statistics, in all and by language: documents, how many of them were parsed, tokens, tokens of
    code, of identifiers, and of identifiers that cannot be masked. Raises FirnlineError where the
    documents or the tokenizer are not those of the token folder.
    """
    tokenizer = Tokenizer.load(tokenizer_folder)
    check(tokens, tokenizer)

    def body(workspace: Workspace) -> Stats:
        paths = document_shards(documents)
        found = parquet_file(tokens / "index.parquet").read(["shard", "bytes"])
        shard = found["shard"].to_numpy()
        if len(shard) and shard.max() >= len(paths):
            raise _other_documents(tokens, documents)
        sizes = np.bincount(shard, weights=found["bytes"].to_numpy(), minlength=len(paths))
        mib = dict(enumerate(sizes / (1 << 20)))
        small = sum(mib.values()) < SMALL_MIB
        workspace.workers = workers or (1 if small else engine.cores())
        jobs = {
            f"shard-{n:05d}": _Job(n, path, tokenizer, tokens, workspace.folder)
            for n, path in enumerate(paths)
        }
        weights = {name: mib[job.number] for name, job in jobs.items()}
        parts = workspace.map("label", _label, jobs, weights=weights, unit="MiB")
        shutil.copyfile(tokens / "index.parquet", workspace.folder / "index.parquet")
        settings = {**read_settings(tokens), "dtype": "uint32", "labels": True}
        write_json(workspace.folder / "tokens.json", settings)
        languages: dict[str, Counter[str]] = {}
        for part in parts.values():
            for language, row in part["languages"].items():
                languages.setdefault(language, Counter()).update(row)
        total = sum(languages.values(), Counter[str]())
        rows = {name: dict(languages[name]) for name in sorted(languages)}
        return {**dict(total), "languages": rows}

    inputs: dict[str, Path | str] = {
        "documents": documents,
        "tokenizer": tokenizer.digest,
        "tokens": tokens,
    }
    return run_stage("identifiers", config, inputs, out, body, room="tokens", workers=workers)


@dataclass(frozen=True)
class _Job:
    number: int
    documents: Path
    tokenizer: Tokenizer
    tokens: Path
    folder: Path

    @property
    def name(self) -> str:
        return f"shard-{self.number:05d}.bin"


def _label(job: _Job) -> Stats:
    """Writes the labels of one token shard."""
    token_bytes = job.tokenizer.token_bytes
    sizes = np.zeros(max(token_bytes) + 1, dtype=np.int64)
    sizes[list(token_bytes)] = [len(value) for value in token_bytes.values()]
    dtype = read_settings(job.tokens)["dtype"]
    languages: dict[str, Counter[str]] = {}
    with atomic_path(job.folder / job.name) as temporary, temporary.open("wb") as file:
        rows = _rows(job)
        if rows:
            tokens = np.memmap(job.tokens / job.name, dtype=dtype, mode="r")
        for row, content in _contents(job, rows):
            ids = tokens[row["offset"] : row["offset"] + row["tokens"] - 1]
            labels = label_document(
                row["language"], content, sizes[ids], header=row.get("header") or 0
            )
            count = languages.setdefault(row["language"], Counter())
            count.update(documents=1, tokens=row["tokens"], parsed=int(labels is not None))
            if labels is None:
                labels = np.zeros(len(ids), dtype=np.int32)
            count.update(
                code=int(np.count_nonzero(labels & CODE)),
                identifiers=int(np.count_nonzero(labels & NUMBER)),
                never_masked=int(np.count_nonzero(labels & NUMBER == NEVER)),
            )
            np.append(labels, 0).astype(np.uint32).tofile(file)  # the end of text has none
    return {"languages": {name: dict(row) for name, row in languages.items()}}


def label_document(
    language: str, content: bytes, sizes: NDArray[np.int64], *, header: int = 0
) -> NDArray[np.int32] | None:
    """The label of each token of a document, of which `sizes` are the bytes.

    `header` bytes of the tokens come before the content. None where the document cannot be
    parsed, or where the tokenizer did not keep its bytes.
    """
    tree = parse(language, content)
    if tree is None or int(sizes.sum()) != header + len(content):
        return None
    found = marks(language, tree)
    code = ~_WHITE[np.frombuffer(content, dtype=np.uint8)]
    for start, end in zip(found.comment_starts.tolist(), found.comment_ends.tolist(), strict=True):
        code[start:end] = False
    names: dict[bytes, int] = {}
    spans = zip(found.identifier_starts.tolist(), found.identifier_ends.tolist(), strict=True)
    numbers = [names.setdefault(content[start:end], len(names) + 1) for start, end in spans]
    return label_tokens(
        sizes,
        header,
        code,
        found.identifier_starts,
        found.identifier_ends,
        np.array(numbers, dtype=np.int64),
    )


def _rows(job: _Job) -> list[dict[str, Any]]:
    index = job.tokens / "index.parquet"
    columns = ["id", "language", "offset", "tokens"]
    if "header" in parquet_file(index).schema_arrow.names:
        columns.append("header")
    table = pq.read_table(index, columns=columns, filters=[("shard", "=", job.number)])
    rows: list[dict[str, Any]] = table.sort_by("offset").to_pylist()
    return rows


def _contents(job: _Job, rows: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Each packed document of the shard with its content; held-out ones are passed over."""
    place = 0
    for batch in read_batches(job.documents, ["id", "content"], rows=256):
        for name, content in zip(batch.column("id"), batch.column("content"), strict=True):
            if place < len(rows) and name.as_py() == rows[place]["id"]:
                yield rows[place], (content.as_py() or "").encode()
                place += 1
    if place < len(rows):
        raise _other_documents(job.tokens, job.documents)


def _other_documents(tokens: Path, documents: Path) -> FirnlineError:
    return FirnlineError(
        f"{tokens} was not packed from {documents}", mend="give the documents that were packed"
    )
