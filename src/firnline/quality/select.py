"""Select: the best documents of each language, as many as a token budget asks for.

Arctic-SnowCoder, section 2.3: files are ranked per language and the top is taken until the budget
is met, with the language mix of pretraining; section 2.4 raises one language's share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from firnline.documents import (
    DOCUMENT_SCHEMA,
    LEDGER_SCHEMA,
    TableWriter,
    document_shards,
    hash_share,
    ledger_shards,
    parquet_file,
    read_batches,
    read_columns,
)
from firnline.errors import FirnlineError
from firnline.languages import LANGUAGES
from firnline.quality.budgets import Supply, budgets, document_counts
from firnline.quality.sampling import HELDOUT
from firnline.settings import Count
from firnline.stage import StageResult, Stats, Workspace, run_stage

SELECT_LEDGER = pa.schema([*LEDGER_SCHEMA, ("score", pa.float32()), ("tokens", pa.int32())])
_ADDED = {"score": pa.float32(), "tokens": pa.int32()}


class SelectConfig(BaseModel):
    """How many tokens to take, of which languages, in which order."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    seed: int = Field(default=0, ge=0)
    """Makes the random order."""
    tokens: Count = Field(gt=0)
    """The budget; at least as many tokens are selected. `12.5B` is understood."""
    language_share: dict[str, float] = {}
    """Share of the tokens set for a language; the others keep their proportions."""
    order: Literal["score", "random"] = "score"
    """`score`: best first; `random`: a seeded order, the control of the paper's table 4."""

    @field_validator("language_share")
    @classmethod
    def _shares(cls, value: dict[str, float]) -> dict[str, float]:
        for language, share in value.items():
            if language not in LANGUAGES:
                raise ValueError(f"no language {language!r}")
            if not 0 <= share <= 1:
                raise ValueError(f"{language}: a share between 0 and 1, got {share}")
        if sum(value.values()) > 1 + 1e-9:
            raise ValueError("the shares add up to more than 1")
        return value


@dataclass(frozen=True)
class _Corpus:
    """The documents that may be selected, in the documents' order. About 270 bytes each at peak."""

    rows: list[int]
    """Documents in each shard, those that may not be selected included."""
    ids: pa.Array
    heldout: NDArray[np.bool_]
    tokens: NDArray[np.int64]
    """-1 where the token folder does not have the document."""
    language: pa.Array
    """Null where the token folder does not have the document."""
    score: NDArray[np.float32]
    """NaN where there is none."""

    @property
    def eligible(self) -> NDArray[np.bool_]:
        return ~self.heldout & (self.tokens >= 0)


def run(
    config: SelectConfig,
    documents: Path,
    tokens: Path,
    scores: Path | None,
    out: Path,
    *,
    workers: int | None = None,
) -> StageResult:
    """Selects from `documents` those that `tokens` (a token folder) and `scores` rank best.

    The selection has at least `config.tokens` tokens, and each language as near to its share as
    whole documents allow (`firnline.quality.budgets.document_counts`). Ledger rules: `heldout`,
    `not_tokenized`, `below_budget`. Raises FirnlineError where the budget, or the share of a
    language, is above the supply, and where a document has no score.
    """
    if (scores is None) == (config.order == "score"):
        wanted = "needs an annotate folder" if scores is None else "takes no scores"
        raise FirnlineError(f"order: {config.order} {wanted}", mend="set order to fit --scores")
    shards = document_shards(documents)
    inputs: dict[str, Path | str] = {"documents": documents, "tokens": tokens}
    if scores is not None:
        inputs["scores"] = scores

    def body(workspace: Workspace) -> Stats:
        corpus = _read(shards, tokens, scores)
        ranked = _ranked(config, corpus)
        supply = {name: Supply(corpus.tokens[order]) for name, order in ranked.items()}
        budget = budgets(config.tokens, supply, config.language_share)
        counts = document_counts(budget, supply)
        chosen = {name: rows[: counts[name]] for name, rows in ranked.items()}
        _write_ledgers(workspace.folder, shards, corpus, chosen)
        sizes = {path.stem: path.stat().st_size / 1e6 for path in shards}
        items = {path.stem: path for path in shards}
        copy = partial(_copy_selected, workspace.folder)
        workspace.map("copy", copy, items, weights=sizes, unit="MB")
        return _stats(config, corpus, ranked, chosen, budget)

    return run_stage("select", config, inputs, out, body, room="quality", workers=workers)


def _read(shards: list[Path], tokens: Path, scores: Path | None) -> _Corpus:
    index = _token_index(tokens)
    ids, heldout, rows = [], [], []
    for path in shards:
        split = "split" in parquet_file(path).schema_arrow.names
        narrow = read_columns([path], ["id", "split"] if split else ["id"])
        rows.append(narrow.num_rows)
        ids.extend(narrow["id"].chunks)
        out = np.zeros(narrow.num_rows, dtype=np.bool_)
        if split:
            named = pc.equal(narrow["split"].cast(pa.string()), HELDOUT)
            out = pc.fill_null(named, False).to_numpy()
        heldout.append(out)
    key = pa.chunked_array(ids, pa.binary(16)).combine_chunks()
    place = pc.index_in(key, index["id"])
    counts = pc.fill_null(index["tokens"].take(place), -1).to_numpy().astype(np.int64)
    score = np.full(len(key), np.nan, dtype=np.float32)
    if scores is not None:
        score = _scores(scores, key)
    corpus = _Corpus(
        rows=rows,
        ids=key,
        heldout=np.concatenate(heldout),
        tokens=counts,
        language=index["language"].combine_chunks().take(place),
        score=score,
    )
    missing = int((corpus.eligible & ~np.isfinite(score)).sum()) if scores is not None else 0
    if missing:
        raise FirnlineError(
            f"{scores} has no score for {missing:,} of {int(corpus.eligible.sum()):,} documents",
            mend="annotate the same documents",
        )
    if not corpus.eligible.any():
        raise FirnlineError(
            f"{tokens} holds none of the {len(key):,} documents", mend="pack the same documents"
        )
    return corpus


def _token_index(tokens: Path) -> pa.Table:
    path = tokens / "index.parquet"
    if not path.is_file():
        raise FirnlineError(f"{tokens} is not a token folder: no index.parquet", mend="run pack")
    try:
        table = pq.read_table(path, columns=["id", "tokens", "language"])
    except (pa.ArrowInvalid, OSError) as error:
        raise FirnlineError(f"cannot read {path}: {error}", mend="run pack again") from error
    return table.set_column(0, "id", table["id"].cast(pa.binary(16)))


def _scores(folder: Path, ids: pa.Array) -> NDArray[np.float32]:
    paths = ledger_shards(folder)
    if not paths or "score" not in parquet_file(paths[0]).schema_arrow.names:
        raise FirnlineError(f"{folder} is not an annotate folder", mend="run annotate")
    table = read_columns(paths, ["id", "score"])
    place = pc.index_in(ids, table["id"])
    found: NDArray[np.float32] = table["score"].take(place).to_numpy().astype(np.float32)
    return found


def _ranked(config: SelectConfig, corpus: _Corpus) -> dict[str, NDArray[np.int64]]:
    """Rows of each language that may be selected, the first to take first; ties by id."""
    rows = np.flatnonzero(corpus.eligible)
    halves = np.frombuffer(corpus.ids.buffers()[1], dtype=">u8").reshape(-1, 2)
    halves = halves[corpus.ids.offset :][: len(corpus.ids)]
    if config.order == "score":
        first = -corpus.score.astype(np.float64)
    else:
        salt = f"{config.seed}:select"
        first = np.array([hash_share(key, salt) for key in corpus.ids.to_pylist()])
    order = rows[np.lexsort((halves[rows, 1], halves[rows, 0], first[rows]))]
    names = corpus.language.dictionary_encode()
    code = pc.fill_null(names.indices, -1).to_numpy()
    languages = names.dictionary.to_pylist()
    ranked = {name: order[code[order] == n] for n, name in enumerate(languages)}
    return {name: ranked[name] for name in sorted(ranked) if len(ranked[name])}


def _write_ledgers(
    folder: Path, shards: list[Path], corpus: _Corpus, chosen: dict[str, NDArray[np.int64]]
) -> None:
    kept = np.zeros(len(corpus.ids), dtype=np.bool_)
    kept[np.concatenate(list(chosen.values()))] = True
    details = {name: _detail(name, _threshold(corpus, rows)) for name, rows in chosen.items()}
    begin = 0
    for path, count in zip(shards, corpus.rows, strict=True):
        rows = slice(begin, begin + count)
        begin += count
        counts = corpus.tokens[rows].astype(np.int32)
        rule = np.full(count, "below_budget", dtype=object)
        rule[counts < 0] = "not_tokenized"
        rule[corpus.heldout[rows]] = "heldout"
        rule[kept[rows]] = None
        languages = corpus.language[rows].to_pylist()
        detail = [
            details[name] if why == "below_budget" else None
            for name, why in zip(languages, rule, strict=True)
        ]
        columns = [
            corpus.ids[rows],
            pa.array(kept[rows]),
            pa.array(rule, pa.string()),
            pa.array(detail, pa.string()),
            pa.array(corpus.score[rows], from_pandas=True),
            pa.array(counts, mask=counts < 0),
        ]
        with TableWriter(folder / "ledger" / path.name, SELECT_LEDGER) as ledger:
            ledger.write(pa.RecordBatch.from_arrays(columns, schema=SELECT_LEDGER))


def _detail(language: str, threshold: float | None) -> str:
    if threshold is None:
        return f"the share of {language} was filled without it"
    return f"the share of {language} was filled at score {threshold:.6f}"


def _threshold(corpus: _Corpus, rows: NDArray[np.int64]) -> float | None:
    """The score of the last document taken; None where none is taken or nothing is scored."""
    last = float(corpus.score[rows[-1]]) if len(rows) else np.nan
    return last if np.isfinite(last) else None


def _copy_selected(folder: Path, path: Path) -> Stats:
    ledger = read_columns([folder / "ledger" / path.name], ["kept", *_ADDED]).combine_chunks()
    fields = [
        DOCUMENT_SCHEMA.field(field.name) if field.name in DOCUMENT_SCHEMA.names else field
        for field in parquet_file(path).schema_arrow
        if field.name not in _ADDED
    ]
    schema = pa.schema([*fields, *_ADDED.items()])
    begin = 0
    with TableWriter(folder / "data" / path.name, schema) as data:
        for batch in read_batches(path, [field.name for field in fields], rows=1024):
            rows = ledger.slice(begin, batch.num_rows).to_batches()[0]
            begin += batch.num_rows
            columns = [*batch.columns, *(rows.column(name) for name in _ADDED)]
            whole = pa.RecordBatch.from_arrays(columns, names=schema.names)
            data.write(whole.filter(rows.column("kept")))
        documents = data.rows
    return {"documents": documents}


def _stats(
    config: SelectConfig,
    corpus: _Corpus,
    ranked: dict[str, NDArray[np.int64]],
    chosen: dict[str, NDArray[np.int64]],
    budget: dict[str, int],
) -> Stats:
    languages: dict[str, Any] = {
        name: {
            "documents": len(chosen[name]),
            "tokens": int(corpus.tokens[chosen[name]].sum()),
            "budget": budget[name],
            "supply_documents": len(rows),
            "supply_tokens": int(corpus.tokens[rows].sum()),
            "threshold": _threshold(corpus, chosen[name]),
        }
        for name, rows in ranked.items()
    }
    return {
        "order": config.order,
        "budget": config.tokens,
        "documents": sum(row["documents"] for row in languages.values()),
        "tokens": sum(row["tokens"] for row in languages.values()),
        "supply_documents": sum(row["supply_documents"] for row in languages.values()),
        "supply_tokens": sum(row["supply_tokens"] for row in languages.values()),
        "heldout": int(corpus.heldout.sum()),
        "languages": languages,
    }
