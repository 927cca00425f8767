"""Encoding speed: Firnline's tokenizer against Hugging Face `tokenizers`, ids compared.

Both encode the same real code with the same tokenizer.json, each with all cores:
`Tokenizer.encode_batch` on an Arrow column, and the faster of `tokenizers`' two batch calls,
`encode_batch_fast`, on a list of strings. The code is the Documents of `--documents`, or else the
files of this Python installation, by language. Firnline encodes all of it, `tokenizers` a sample
of its documents drawn by hash, or with `--all` every one; the two in turn, 8 MB at a time, so that
memory does not grow with the corpus; every id of the sample is compared.
gigatoken's cache of words is empty at the start. The rate of the `pack` stage, Parquet to token
shards on disk, is the median of three in the same run. The last line is a JSON object:

    vs_tokenizers       `pack` on all, from Parquet to shards, over `tokenizers` on the sample
    encode_vs_tokenizers  `Tokenizer.encode_batch` on all, over `tokenizers` on the sample
    ids_equal           whether every id of every document of the sample is equal
    ids_equal_files, ids_equal_megabytes  how much that is; first_difference, a document's id
    ...                 and the figures beside them, in MB (10^6 bytes) of UTF-8 a second

    python benchmarks/encode.py [--quick] [--documents FOLDER] [--sample-mb MB | --all]
                                [--tokenizer FOLDER] [--vocabulary SIZE]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tokenizers

from firnline.documents import (
    DOCUMENT_SCHEMA,
    content_hash,
    document_id,
    document_shards,
    hash_share,
    read_batches,
    read_columns,
    write_table,
)
from firnline.engine import cores
from firnline.languages import detect
from firnline.tokens import pack, train
from firnline.tokens.tokenizer import Tokenizer

CHUNK_MB = 8  # both encoders are given the files in pieces of this size
PACK = pack.PackConfig(splits=("train", "heldout"))
EACH_SHARE = 0.5  # no language has more than this share of the bytes


def main() -> None:
    """Encodes all with one, a sample with both, packs all, prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="12 MB of code instead of 120")
    parser.add_argument("--documents", type=Path, help="Documents to encode")
    parser.add_argument("--tokenizer", type=Path, help="instead of one trained on the spot")
    parser.add_argument("--vocabulary", type=int, default=8192, help="of the one trained")
    parser.add_argument(
        "--sample-mb", type=float, help="what tokenizers encodes; default 40 or all"
    )
    parser.add_argument("--all", action="store_true", help="tokenizers encodes every document")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        documents, tokenizer = given.documents, given.tokenizer
        if documents is None:
            documents = folder / "documents"
            gather(documents, 12 if given.quick else 120)
        sizes = sizes_by_language(documents)
        megabytes = sum(sizes.values())
        if tokenizer is None:
            tokenizer = folder / "tokenizer"
            config = train.TokenizerConfig(
                vocabulary_size=given.vocabulary, sample_mib=min(megabytes, 20)
            )
            train.run(config, documents, tokenizer)
        wanted = given.sample_mb or (40 if given.documents else megabytes)
        rates = []
        for _ in range(3):
            started = time.perf_counter()
            stats = pack.run(PACK, documents, tokenizer, folder / "tokens").stats
            rates.append(stats["bytes"] / 1e6 / (time.perf_counter() - started))
            shutil.rmtree(folder / "tokens")
        packed = statistics.median(rates)
        result = compare(documents, tokenizer, 1 if given.all else min(1, wanted / megabytes))
    result = {
        "vs_tokenizers": round(packed / result["tokenizers_mb_per_second"], 1),
        **result,
        "pack_mb_per_second": round(packed, 1),
        "megabytes": round(megabytes, 1),
        "files": stats["documents"],
        "bytes_per_token": stats["bytes_per_token"],
        "languages": {name: round(size, 2) for name, size in sorted(sizes.items())},
        "cores": cores(),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(result))


def gather(folder: Path, megabytes: int) -> None:
    """Writes Documents of about `megabytes` of this Python installation's files."""
    sizes: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    budget = megabytes * 1_000_000
    for root, path, language in _code_files():
        data = path.read_bytes()
        total = sum(sizes.values())
        if sizes.get(language, 0) + len(data) > EACH_SHARE * budget or total + len(data) > budget:
            continue
        try:
            text = data.decode()
        except UnicodeDecodeError:
            continue
        sizes[language] = sizes.get(language, 0) + len(data)
        name = path.relative_to(root).as_posix()
        rows.append(
            {
                "id": document_id("python", root.name, "", name),
                "content_hash": content_hash(data),
                "repo": name.split("/")[0],
                "path": name,
                "revision": "",
                "language": language,
                "license": None,
                "size": len(data),
                "source": "python",
                "stars": None,
                "content": text,
            }
        )
    for number in range(4):
        table = pa.Table.from_pylist(rows[number::4], schema=DOCUMENT_SCHEMA)
        write_table(folder / "data" / f"shard-{number:05d}.parquet", table)


def sizes_by_language(documents: Path) -> dict[str, float]:
    """MB of each language."""
    sizes: dict[str, float] = {}
    table = read_columns(document_shards(documents), ["language", "size"])
    for row in table.group_by("language").aggregate([("size", "sum")]).to_pylist():
        sizes[row["language"]] = row["size_sum"] / 1e6
    return sizes


def compare(documents: Path, tokenizer: Path, share: float) -> dict[str, Any]:
    """Encodes all documents, and a share of them with both, in turn; compares every id of those."""
    mine = Tokenizer.load(tokenizer)
    peer = tokenizers.Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    peer.encode_special_tokens = True
    for encode in (mine.encode_batch, peer.encode_batch_fast):
        encode(["x"])  # neither pays for imports and the start of threads
    seconds, peer_seconds, size, peer_size, files = 0.0, 0.0, 0, 0, 0
    different: str | None = None
    sample: list[tuple[str, str, np.ndarray[Any, Any]]] = []
    sample_size = 0
    for chunk in (*_chunks(documents), None):
        if chunk is not None:
            column = chunk.column("content")
            started = time.perf_counter()
            ids, offsets = mine.encode_batch(column)
            seconds += time.perf_counter() - started
            size += pc.sum(pc.binary_length(column)).as_py()
            for row, document in enumerate(chunk.column("id").to_pylist()):
                if share >= 1 or hash_share(document, "encode") < share:
                    text = column[row].as_py()
                    sample_size += len(text.encode())
                    own = ids[offsets[row] : offsets[row + 1]].copy()
                    sample.append((document.hex(), text, own))
            if sample_size < CHUNK_MB * 1e6:
                continue
        texts = [text for _, text, _ in sample]
        started = time.perf_counter()
        encodings = peer.encode_batch_fast(texts, add_special_tokens=False)
        peer_seconds += time.perf_counter() - started
        for (document, _, own), encoding in zip(sample, encodings, strict=True):
            if not np.array_equal(own, np.array(encoding.ids, dtype=np.uint32)):
                different = different or document
        peer_size += sample_size
        files += len(sample)
        sample, sample_size = [], 0
    rate, peer_rate = size / 1e6 / seconds, peer_size / 1e6 / peer_seconds
    return {
        "encode_vs_tokenizers": round(rate / peer_rate, 1),
        "ids_equal": different is None,
        "first_difference": different,
        "ids_equal_files": files,
        "ids_equal_megabytes": round(peer_size / 1e6, 1),
        "encode_mb_per_second": round(rate, 1),
        "tokenizers_mb_per_second": round(peer_rate, 3),
        "vocabulary_size": mine.vocabulary_size,
    }


def _chunks(documents: Path) -> Iterator[Any]:
    """Documents, about CHUNK_MB at a time."""
    waiting: list[Any] = []
    for path in document_shards(documents):
        for batch in read_batches(path, ["id", "content"], rows=64):
            waiting.append(batch)
            if sum(each.nbytes for each in waiting) > CHUNK_MB * 1_000_000:
                yield pa.Table.from_batches(waiting).combine_chunks()
                waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()


def _code_files() -> Iterator[tuple[Path, Path, str]]:
    seen: set[Path] = set()
    for root in dict.fromkeys(
        Path(sysconfig.get_path(name)) for name in ("include", "stdlib", "purelib", "platlib")
    ):
        for folder, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                language = detect(name, b"")
                if not language or path in seen or not path.is_file():
                    continue
                seen.add(path)
                if 0 < path.stat().st_size <= 1_000_000:
                    yield root, path, language


if __name__ == "__main__":
    main()
