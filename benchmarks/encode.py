"""Encoding speed: Firnline's tokenizer against Hugging Face `tokenizers`, ids compared.

Both encode the same real code (the files of this Python installation, by language) with the same
tokenizer.json, each with all cores: `Tokenizer.encode_batch` on an Arrow column, and the faster of
`tokenizers`' two batch calls, `encode_batch_fast`, on a list of strings. gigatoken's cache of
words is empty at the start. The rate of the `pack` stage, Parquet to token shards on disk, comes
from the same run. The last line is a JSON object:

    vs_tokenizers   ratio of the two rates, over all files
    ids_equal       whether every id of every file is equal
    mb_per_second   MB (10^6 bytes) of UTF-8 a second, `Tokenizer.encode_batch`
    ...             and the figures beside them

    python benchmarks/encode.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tokenizers

from firnline.documents import (
    DOCUMENT_SCHEMA,
    content_hash,
    document_id,
    document_shards,
    read_batches,
    write_table,
)
from firnline.engine import cores
from firnline.languages import detect
from firnline.tokens import pack, train
from firnline.tokens.tokenizer import Tokenizer

CHUNK_MB = 8  # both encoders are given the files in pieces of this size
EACH_SHARE = 0.5  # no language has more than this share of the bytes


def main() -> None:
    """Gathers files, trains a tokenizer on some, encodes all with both, prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="12 MB of code instead of 120")
    megabytes = 12 if parser.parse_args().quick else 120
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        languages = gather(folder / "documents", megabytes)
        config = train.TokenizerConfig(vocabulary_size=8192, sample_mib=min(megabytes, 20))
        train.run(config, folder / "documents", folder / "tokenizer")
        result = compare(folder)
        started = time.perf_counter()
        stats = pack.run(
            pack.PackConfig(), folder / "documents", folder / "tokenizer", folder / "tokens"
        ).stats
        elapsed = time.perf_counter() - started
    result |= {
        "pack_mb_per_second": round(stats["bytes"] / 1e6 / elapsed, 1),
        "megabytes": round(stats["bytes"] / 1e6, 1),
        "files": stats["documents"],
        "languages": languages,
        "cores": cores(),
    }
    print(json.dumps(result))


def gather(folder: Path, megabytes: int) -> dict[str, float]:
    """Writes Documents of about `megabytes` and returns the MB of each language."""
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
    return {name: round(size / 1e6, 2) for name, size in sorted(sizes.items())}


def compare(folder: Path) -> dict[str, Any]:
    """Encodes all documents with both, in turn, and compares every id."""
    mine = Tokenizer.load(folder / "tokenizer")
    peer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    peer.encode_special_tokens = True
    for encode in (mine.encode_batch, peer.encode_batch_fast):
        encode(["x"])  # neither pays for imports and the start of threads
    seconds, peer_seconds, size, equal = 0.0, 0.0, 0, True
    for column in _chunks(folder / "documents"):
        texts = column.to_pylist()
        started = time.perf_counter()
        ids, offsets = mine.encode_batch(column)
        between = time.perf_counter()
        encodings = peer.encode_batch_fast(texts, add_special_tokens=False)
        peer_seconds += time.perf_counter() - between
        seconds += between - started
        size += sum(len(text.encode()) for text in texts)
        expected = [np.array(encoding.ids, dtype=np.uint32) for encoding in encodings]
        lengths = np.array([len(each) for each in expected])
        equal &= bool(np.array_equal(np.diff(offsets), lengths))
        equal &= bool(np.array_equal(ids, np.concatenate(expected)))
    return {
        "vs_tokenizers": round(peer_seconds / seconds, 1),
        "ids_equal": equal,
        "mb_per_second": round(size / 1e6 / seconds, 1),
        "tokenizers_mb_per_second": round(size / 1e6 / peer_seconds, 2),
    }


def _chunks(documents: Path) -> Iterator[Any]:
    waiting: list[Any] = []
    for path in document_shards(documents):
        for batch in read_batches(path, ["content"], rows=64):
            waiting.append(batch.column("content"))
            if sum(column.nbytes for column in waiting) > CHUNK_MB * 1_000_000:
                yield pa.concat_arrays(waiting)
                waiting = []
    if waiting:
        yield pa.concat_arrays(waiting)


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
