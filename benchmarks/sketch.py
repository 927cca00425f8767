"""Near-duplicate sketches: speed on one core beside two peers, recall against brute force.

    python benchmarks/sketch.py [--quick] [--corpus FOLDER]

Speed is content bytes over CPU seconds of one thread, the best of three, after a first call that
compiles; the three libraries take the same documents (datatrove, being slow, a sample of them).
License headers count for nothing. We find them on the clock; the peers are given the documents
without them, by `body` below, at no cost and credited with the bytes of the whole document.

- Ours: from a content column to 256 bins of 5-token shingles.
- rensa 0.5: `RMinHash`, its full-set digest of 256 hashes, one thread. It takes shingles and has
  no tokenizer, so Python makes them (the same tokens), in the two ways we know: joined bytes, and
  hashes combined in NumPy. `vs_rensa` is from text to digest, by the faster of the two.
- `vs_rensa_digest_only` gives rensa its shingles ready, as byte strings, and compares our whole
  path from text with its digest alone. `vs_rensa_ready_hashes` gives both the shingles' hashes
  ready. (Its full-set digest is fast similarity sketching, as ours is.)
- Beside these, from ready hashes: `rensa_rho_mb_per_second`, its pipeline that samples token
  positions and is therefore no digest of the set, and `rensa_cminhash_mb_per_second`, its
  C-MinHash, one hash for each token and slot. None of the ratios uses them.
- datatrove: its signature step at its defaults (14 x 8 hashes, normalised English words),
  without writing the signatures.

Recall: real files and near copies of them; all pairs with Jaccard 0.7 or more by sparse matrix
products over Python's own hashes of the shingles. `recall` is the share of those pairs that
become candidates, `precision` the share of drops whose keeper brute force confirms, and
`kept_pairs` the share of those pairs of which both documents are kept. `candidate_precision` is
what precision would be without verification. The peers' recall is the share of the same pairs
that share a band: datatrove at its defaults, rensa with 128 hashes in 8 bands as its own
benchmark has it.

The last line is a JSON object; a peer that is not installed has null figures.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import random
import re
import sysconfig
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

os.environ["RAYON_NUM_THREADS"] = "1"  # rensa on one core, as we are

import numpy as np
import pyarrow as pa
import scipy.sparse

from firnline.curate.duplicates import (
    THRESHOLD,
    band_keys,
    near_duplicates,
    shingle_sets_batch,
    sketch_batch,
)
from firnline.curate.keyfiles import ArrayKeys
from firnline.documents import document_shards, read_batches
from firnline.kernels.sketch import sketch_sets
from firnline.languages import detect

TOKEN = re.compile(rb"[A-Za-z0-9_\x80-\xff]+|[^ \t\n\r\x0b\x0c]")
SUFFIXES = {
    *(".c", ".cc", ".cpp", ".css", ".cu", ".cuh", ".f90", ".h", ".hpp", ".html", ".java", ".js"),
    *(".jl", ".md", ".php", ".pl", ".py", ".pyi", ".pyx", ".pxd", ".rb", ".rs", ".sh", ".ts"),
}
LARGEST_FILE = 1 << 20
Pair = tuple[int, int]

# What opens a comment by language, and what closes it where its line's end does not; of the
# languages that most of the files are in.
_C_LIKE = ("//", "/*", "*/")
SIGNS = {
    **dict.fromkeys(("Python", "Ruby", "Shell", "Perl", "YAML", "TOML"), ("#", "(?!)", "(?!)")),
    **dict.fromkeys(("C", "C++", "C#", "Java", "JavaScript", "TypeScript", "Kotlin"), _C_LIKE),
    **dict.fromkeys(("Go", "Rust", "Scala"), _C_LIKE),
    "PHP": (r"#(?!\[)|//", "/*", "*/"),
    "CSS": ("(?!)", "/*", "*/"),
    "SQL": ("--", "/*", "*/"),
    **dict.fromkeys(("HTML", "XML", "Markdown"), ("(?!)", "<!--", "-->")),
}
SPEAKS_OF_LICENSE = re.compile(rb"(?i)copyright|licen[sc]e|spdx")


@dataclass(frozen=True)
class Document:
    language: str
    content: bytes

    @cached_property
    def body(self) -> bytes:
        """The content without its license header, from the definition in docs/duplicates.md."""
        if self.language not in SIGNS:
            return self.content
        mark = 3 if self.content.startswith(b"\xef\xbb\xbf") else 0
        shebang = re.compile(rb"#![^\n]*").match(self.content, mark)
        place = shebang.end() if shebang else mark
        end = 0
        while found := header_piece(self.language).match(self.content, place):
            place = found.end()
            if found["comment"] is not None and SPEAKS_OF_LICENSE.search(found["comment"]):
                end = place
        return self.content[end:] if self.content[place:].strip() else self.content


@cache
def header_piece(language: str) -> re.Pattern[bytes]:
    """White space, then a tag, a run of lines of comment or one comment between signs."""
    line, *signs = SIGNS[language]
    opener, closer = (sign if sign == "(?!)" else re.escape(sign) for sign in signs)
    run = rf"(?:{line})[^\n]*(?:\n[ \t\r\v\f]*(?:{line})[^\n]*)*"
    tag = {"PHP": r"<\?\S*", "HTML": r"<\?[^>]*>?", "XML": r"<\?[^>]*>?", "Markdown": r"<\?[^>]*>?"}
    block = rf"{opener}(?s:.*?)(?:{closer}|\Z)"
    return re.compile(rf"\s*(?:{tag.get(language, '(?!)')}|(?P<comment>{run}|{block}))".encode())


def columns(documents: list[Document]) -> tuple[pa.Array, pa.Array]:
    contents = [document.content.decode() for document in documents]
    languages = [document.language for document in documents]
    return pa.array(contents, pa.large_string()), pa.array(languages, pa.string())


def gather(folder: Path | None, limit_bytes: int) -> list[Document]:
    """Distinct source files, in a fixed random order, until `limit_bytes`.

    From a folder of Documents, a folder of source files, or the Python installation.
    """
    rng = random.Random(0)
    found: Iterable[tuple[str, bytes]]
    if folder is not None and (any(folder.glob("*.parquet")) or (folder / "data").is_dir()):
        shards = document_shards(folder)
        found = (
            (row["language"], row["content"].encode())
            for shard in shards
            for batch in read_batches(shard, ["language", "content"], rows=512)
            for row in batch.to_pylist()
        )
    else:
        names = sysconfig.get_paths()
        roots = [folder] if folder is not None else [Path(names["stdlib"]), Path(names["purelib"])]
        paths = sorted({p for root in roots for p in root.rglob("*") if p.suffix in SUFFIXES})
        rng.shuffle(paths)
        files = (p for p in paths if p.is_file() and p.stat().st_size > 0)
        found = ((detect(p.name, b"") or "Text", p.read_bytes()) for p in files)
    seen: dict[bytes, str] = {}
    total = 0
    for language, content in found:
        if len(content) <= LARGEST_FILE and content.strip() and content not in seen:
            try:
                content.decode()
            except UnicodeDecodeError:
                continue
            seen[content] = language
            total += len(content)
            if total >= limit_bytes:
                break
    # Any other language is given to us as text, so that no header is looked for there.
    named = {content: name if name in SIGNS else "Text" for content, name in seen.items()}
    result = [Document(named[content], content) for content in sorted(seen)]
    rng.shuffle(result)
    return result


def megabytes(documents: list[Document]) -> float:
    return sum(len(document.content) for document in documents) / 1e6


def cpu_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The least CPU time of this thread over some repeats."""
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)


def joined_shingles(content: bytes) -> list[bytes]:
    tokens = TOKEN.findall(content)
    if len(tokens) < 5:
        return [b" ".join(tokens)] if tokens else []
    return [b" ".join(tokens[i : i + 5]) for i in range(len(tokens) - 4)]


def hashed_shingles(content: bytes) -> np.ndarray:
    """Distinct shingles as Python's token hashes combined, uint64; nothing of ours in it."""
    tokens = TOKEN.findall(content)
    values = np.fromiter(map(hash, tokens), np.int64, len(tokens)).view(np.uint64)
    if len(tokens) < 5:
        values = np.pad(values, (0, 5 - len(tokens))) if tokens else values
    result = np.zeros(max(len(values) - 4, 0), dtype=np.uint64)
    for place in range(5 if len(result) else 0):
        result = result * np.uint64(0x9E3779B97F4A7C15) + values[place : place + len(result)]
    return result


def measure_speed(documents: list[Document]) -> dict[str, float | int | None]:
    size = megabytes(documents)
    column, languages = columns(documents)
    sketch_batch(column[:1], languages[:1])  # compiles
    ours = size / cpu_seconds(lambda: sketch_batch(column, languages))
    bodies = [document.body for document in documents]
    left = sum(map(len, bodies)) / 1e6
    print(
        f"ours: {size:.1f} MB at {ours:.1f} MB/s, {len(documents):,} documents; "
        f"{size - left:.1f} MB are license headers"
    )
    figures: dict[str, float | int | None] = {"mb_per_second": ours}
    figures |= dict.fromkeys(("vs_rensa", "vs_rensa_digest_only", "vs_rensa_ready_hashes"))
    figures["rensa_mb_per_second"] = None
    figures |= dict.fromkeys(f"rensa_{x}_mb_per_second" for x in ("digest", "rho", "cminhash"))
    if not importlib.util.find_spec("rensa"):
        print("rensa is not installed: pip install 'firnline[bench]'")
        return figures
    from rensa import CMinHash, RMinHash

    def joined() -> None:
        for body in bodies:
            sketch = RMinHash(num_perm=256, seed=42)
            sketch.update(joined_shingles(body))
            sketch.digest()

    def hashed() -> None:
        parts = [hashed_shingles(body) for body in bodies]
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.uint64)
        RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(parts), offsets, 256, 42)

    rates = {"joined": size / cpu_seconds(joined), "hashed": size / cpu_seconds(hashed)}
    rensa = max(rates.values())
    count = max(1, len(documents) // 8)  # ready shingles take a lot of memory
    sample_size = megabytes(documents[:count])
    ready = [joined_shingles(body) for body in bodies[:count]]
    parts = [hashed_shingles(body) for body in bodies[:count]]
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.uint64)
    flat = np.concatenate(parts)
    sets = [part.tolist() for part in parts]

    def digest() -> None:
        for shingles in ready:
            sketch = RMinHash(num_perm=256, seed=42)
            sketch.update(shingles)
            sketch.digest()

    modes = {
        "strings": digest,
        "hashes": lambda: RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, 256, 42),
        "rho": lambda: RMinHash.digest_matrix_from_flat_token_hashes_rho(flat, offsets, 256, 42),
        "cminhash": lambda: CMinHash.digests64_from_token_hash_sets(sets, 256, 42),
    }
    speeds = {name: sample_size / cpu_seconds(mode) for name, mode in modes.items()}
    our_sets = shingle_sets_batch(column[:count], languages[:count])
    sketch_sets(*our_sets)  # compiles
    our_hashes = sample_size / cpu_seconds(lambda: sketch_sets(*our_sets))
    print(
        f"ours from ready hashes: {our_hashes:.1f} MB/s\n"
        f"rensa: from text {rates['joined']:.1f} MB/s (joined bytes), {rates['hashed']:.1f} MB/s "
        "(hashes in NumPy); digest of ready shingles "
        + ", ".join(f"{name} {speed:.1f} MB/s" for name, speed in speeds.items())
    )
    return figures | {
        "vs_rensa": ours / rensa,
        "vs_rensa_digest_only": ours / speeds["strings"],
        "vs_rensa_ready_hashes": our_hashes / speeds["hashes"],
        "rensa_mb_per_second": rensa,
        "rensa_digest_mb_per_second": speeds["strings"],
        "rensa_rho_mb_per_second": speeds["rho"],
        "rensa_cminhash_mb_per_second": speeds["cminhash"],
    }


def near_copy(rng: random.Random, content: bytes) -> bytes:
    """The file after one to many edits of lines and names, as forks and versions have them."""
    lines = content.decode().splitlines(keepends=True)
    rate = rng.choice([0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.12])
    for place, line in enumerate(lines):
        if rng.random() < rate:
            kind = rng.randrange(3)
            words = re.findall(r"[A-Za-z_]\w+", line)
            if kind == 0:
                lines[place] = ""
            elif kind == 1 and words:
                lines[place] = line.replace(rng.choice(words), f"renamed_{rng.randrange(999)}")
            else:
                lines[place] = f"{line}added_{rng.randrange(9999)} = {rng.random():.3f}\n"
    return "".join(lines).encode()


def recall_documents(gathered: list[Document], count: int) -> list[Document]:
    """`count` documents of at most 64 KiB, half of them near copies of the other half."""
    rng = random.Random(1)
    real = [document for document in gathered if len(document.content) <= 1 << 16]
    real = real[: count // 2]
    documents = list(real)
    for _ in range(count - len(real)):
        one = rng.choice(real)
        documents.append(Document(one.language, near_copy(rng, one.content)))
    documents = [document for document in documents if document.content.strip()]
    rng.shuffle(documents)
    return documents


def brute_force(documents: list[Document]) -> dict[Pair, float]:
    """Every pair at the threshold or more, with its Jaccard, by sparse matrix products."""
    sets = [np.unique(hashed_shingles(document.body)) for document in documents]
    sizes = np.array([len(members) for members in sets])
    _, columns = np.unique(np.concatenate(sets), return_inverse=True)
    matrix = scipy.sparse.csr_matrix(
        (np.ones(len(columns), np.int32), columns, np.r_[0, np.cumsum(sizes)])
    )
    transposed = matrix.T.tocsc()
    pairs: dict[Pair, float] = {}
    for start in range(0, len(documents), 250):
        block = (matrix[start : start + 250] @ transposed).tocoo()
        rows, others = block.row + start, block.col
        jaccard = block.data / (sizes[rows] + sizes[others] - block.data)
        wanted = (jaccard >= THRESHOLD) & (rows < others)
        found = zip(rows[wanted].tolist(), others[wanted].tolist(), strict=True)
        pairs |= dict(zip(found, jaccard[wanted].tolist(), strict=True))
    return pairs


def sharing(keys: Iterable[Iterable[Any]]) -> set[Pair]:
    """Pairs of documents that share a key in some band; keys are given document by document."""
    groups: dict[tuple[int, Any], list[int]] = defaultdict(list)
    for document, bands in enumerate(keys):
        for band, key in enumerate(bands):
            groups[band, key].append(document)
    return {pair for group in groups.values() for pair in itertools.combinations(group, 2)}


def measure_recall(documents: list[Document]) -> dict[str, float | int | None]:
    truth = brute_force(documents)
    column, languages = columns(documents)
    keys = band_keys(sketch_batch(column, languages))
    candidates = sharing(keys.tolist())
    result = near_duplicates(
        ArrayKeys(keys),
        np.arange(len(documents), dtype=np.uint32),
        lambda rows: shingle_sets_batch(
            column.take(pa.array(rows)), languages.take(pa.array(rows))
        ),
        sizes=np.array([len(document.content) for document in documents], dtype=np.uint32),
    )
    dropped = [(int(k), row) for row, k in enumerate(result.keeper) if k != row]
    confirmed = sum(abs(truth.get(pair, 0.0) - result.jaccard[pair[1]]) < 1e-6 for pair in dropped)
    keeps = result.keeper == np.arange(len(documents))
    figures: dict[str, float | int | None] = {
        "documents": len(documents),
        "pairs": len(truth),
        "recall": len(candidates & truth.keys()) / len(truth),
        "precision": confirmed / len(dropped),
        "candidate_precision": len(candidates & truth.keys()) / len(candidates),
        "kept_pairs": sum(bool(keeps[a] and keeps[b]) for a, b in truth) / len(truth),
        "comparisons": result.compared,
        "recall_rensa_lsh": None,
        "vs_datatrove": None,
        "datatrove_mb_per_second": None,
        "recall_datatrove": None,
    }
    print(
        f"recall: {len(documents):,} documents, {len(truth):,} pairs at {THRESHOLD} or more, "
        f"{len(candidates):,} candidates, {len(dropped):,} dropped"
    )
    if importlib.util.find_spec("rensa"):
        from rensa import RMinHash

        digests = RMinHash.digest_matrix_from_token_byte_sets(
            [joined_shingles(document.body) for document in documents], 128, 42
        )
        matrix = np.array(digests.to_rows(), dtype=np.uint32).reshape(len(documents), 8, 16)
        rensa = sharing([[band.tobytes() for band in row] for row in matrix])
        figures["recall_rensa_lsh"] = len(rensa & truth.keys()) / len(truth)
    datatrove = datatrove_signatures(documents)
    if datatrove is not None:
        bands, rate = datatrove
        seconds = cpu_seconds(lambda: sketch_batch(column, languages))
        figures["vs_datatrove"] = megabytes(documents) / seconds / rate
        figures["datatrove_mb_per_second"] = rate
        figures["recall_datatrove"] = len(sharing(bands) & truth.keys()) / len(truth)
    else:
        print("datatrove was not measured: pip install 'firnline[bench]'")
    return figures


def datatrove_signatures(documents: list[Document]) -> tuple[list[list[Any]], float] | None:
    """Its bucket signatures and their MB for each CPU second; None where it is not installed."""
    if not importlib.util.find_spec("datatrove"):
        return None
    from datatrove.pipeline.dedup.minhash import MinhashDedupSignature

    texts = [document.body.decode() for document in documents]
    with tempfile.TemporaryDirectory() as folder:
        try:
            step = MinhashDedupSignature(folder)
            step.get_signature(
                step.get_shingles("warm up the tokenizer once before the clock runs")
            )
        except ImportError as error:
            print(f"datatrove cannot run: {error}")
            return None
        signatures: list[list[Any]] = []
        start = time.thread_time()
        for text in texts:
            shingles = step.get_shingles(text)
            signatures.append(step.get_signature(shingles) if shingles.size else [])
        seconds = time.thread_time() - start
    bands = [[tuple(bucket) for bucket in signature] for signature in signatures]
    return bands, megabytes(documents) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0],
        epilog="See the top of this file for what is compared and how.",
    )
    parser.add_argument("--quick", action="store_true", help="a smaller corpus; about a minute")
    parser.add_argument("--corpus", type=Path, help="a folder of Documents or of source files")
    options = parser.parse_args()
    documents = gather(options.corpus, (12 if options.quick else 80) << 20)
    figures = measure_speed(documents)
    figures |= measure_recall(recall_documents(documents, 1_000 if options.quick else 6_000))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
