"""Chooses held-out documents: the same ones for every model, spread over the corpus."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from firnline.documents import document_shards, hash_share, parquet_file, read_batches
from firnline.errors import FirnlineError

# A token has fewer bytes than this on average; what is chosen beyond need is not evaluated.
_BYTES_PER_TOKEN = 8


def choose(
    folder: Path, tokens_per_language: int, document_bytes: int, seed: int
) -> dict[str, list[str]]:
    """For each language, the beginnings of held-out documents, in a seeded random order.

    They hold at least `tokens_per_language` tokens by any likely tokenizer, or all there is. Each
    is cut to `document_bytes` UTF-8 bytes, so that no document makes up a language. Raises
    FirnlineError where the Documents have no `split`.
    """
    shards = document_shards(folder)
    found: dict[str, list[tuple[float, int, int, int]]] = {}  # place, shard, row, size
    for number, shard in enumerate(shards):
        if "split" not in parquet_file(shard).schema_arrow.names:
            raise FirnlineError(
                f"{shard} has no column split: it names the held-out documents",
                mend="give the folder that curate wrote",
            )
        first = 0
        for batch in read_batches(shard, ["id", "language", "size", "split"]):
            for row, document in enumerate(batch.to_pylist(), start=first):
                if document["split"] == "heldout" and document["size"] > 0:
                    place = hash_share(document["id"], f"evaluate {seed}")
                    entry = (place, number, row, document["size"])
                    found.setdefault(document["language"], []).append(entry)
            first += batch.num_rows
    chosen: dict[str, list[tuple[int, int]]] = {}
    for language in sorted(found):
        need = tokens_per_language * _BYTES_PER_TOKEN
        for _, number, row, size in sorted(found[language]):
            if need <= 0:
                break
            chosen.setdefault(language, []).append((number, row))
            need -= min(size, document_bytes)
    texts = _read(shards, {at for places in chosen.values() for at in places}, document_bytes)
    return {language: [texts[at] for at in places] for language, places in chosen.items()}


def _read(
    shards: list[Path], wanted: set[tuple[int, int]], document_bytes: int
) -> dict[tuple[int, int], str]:
    """The beginnings of the documents at (shard, row)."""
    texts = {}
    for number, shard in enumerate(shards):
        rows = sorted(row for at, row in wanted if at == number)
        if not rows:
            continue
        first = 0
        for batch in read_batches(shard, ["content"]):
            inside = [row for row in rows if first <= row < first + batch.num_rows]
            contents = batch["content"].take(pa.array([row - first for row in inside], pa.int64()))
            for row, content in zip(inside, contents.to_pylist(), strict=True):
                texts[number, row] = _beginning(content, document_bytes)
            first += batch.num_rows
    return texts


def _beginning(text: str, size: int) -> str:
    """At most `size` bytes of a text, whole characters."""
    data = text.encode()
    return text if len(data) <= size else data[:size].decode("utf-8", "ignore")
