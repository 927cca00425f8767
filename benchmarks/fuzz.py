"""Feeds random and mutated bytes to the parsers and kernels and holds what must always be true.

    python benchmarks/fuzz.py [--minutes 10] [--workers 2] [--only TARGET ...] [--save FOLDER]
    NUMBA_BOUNDSCHECK=1 python benchmarks/fuzz.py --minutes 10     # kernels check every index

Each target of `TARGETS` takes bytes, gives them to one part of Firnline, and raises where
something that must hold does not: no exception but the stated ones, sizes and offsets that are
true, valid UTF-8, the same answer for a document alone and among others, redaction that finds
nothing more the second time. Cases come from real seeds by random edits, some are random alone.

Targets run in processes of their own. A case is written down before it runs, so that one that
ends its process (a segmentation fault) or takes more than 60 seconds is known too. A case that
breaks something is saved as `FOLDER/TARGET/DIGEST`; those in `tests/fuzz_cases` are run again by
`tests/test_fuzz_cases.py`. The last line is a JSON object: cases by target and failures. The exit
status is 1 where there were any.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import io
import itertools
import json
import multiprocessing
import os
import random
import shutil
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tokenizers

from firnline.corpus import licenses, notebooks
from firnline.corpus.archives import Archive
from firnline.corpus.content_type import language_of
from firnline.corpus.parts import Found, Limits
from firnline.corpus.stage import judge
from firnline.corpus.storage import Blob, Storage
from firnline.corpus.tables import TableSource
from firnline.curate import rules
from firnline.curate.contamination import Index
from firnline.curate.duplicates import shingle_sets_batch, sketch_batch
from firnline.curate.imports import read_imports
from firnline.curate.redaction import Redactor, SecretsConfig
from firnline.curate.syntax import error_shares
from firnline.documents import (
    DOCUMENT_SCHEMA,
    buffers,
    content_hash,
    document_id,
    document_shards,
    read_batches,
    write_table,
)
from firnline.errors import FirnlineError
from firnline.tokens.folder import TokenFolder
from firnline.tokens.pack import PackConfig
from firnline.tokens.pack import run as run_pack
from firnline.tokens.tokenizer import SPECIAL_TOKENS, Tokenizer

SLOWEST_SECONDS = 60.0
LIMITS = Limits(max_file_bytes=1 << 20, max_members=1000, max_total_bytes=16 << 20)
LANGUAGES = (
    *("Python", "C", "C++", "Java", "JavaScript", "TypeScript", "Go", "Rust", "C#", "PHP"),
    *("Ruby", "Kotlin", "Scala", "Shell", "SQL", "HTML", "XML", "JSON", "YAML", "Markdown"),
    *("Text", "Perl", "Jupyter Notebook", "no such language"),
)


def temporary(data: bytes, name: str) -> Path:
    folder = Path(tempfile.gettempdir()) / f"firnline-fuzz-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(data)
    return path


def archive(data: bytes) -> None:
    path = temporary(data, "package-1.0.tar.gz")
    for found in Archive(Blob(str(path), len(data)), Storage()).files(LIMITS):
        check_found(found)
        if found.content is not None:
            parts = found.path.split("/")
            assert not found.path.startswith("/"), found.path
            assert ".." not in parts, found.path


def jsonl(data: bytes) -> None:
    table(data, "rows.jsonl")


def jsonl_gz(data: bytes) -> None:
    table(data, "rows.jsonl.gz")


def parquet(data: bytes) -> None:
    table(data, "rows.parquet")


def table(data: bytes, name: str) -> None:
    path = temporary(data, name)
    try:
        for part in TableSource(path=str(path)).parts():
            for found in part.files(LIMITS):
                check_found(found)
    except FirnlineError:
        pass  # no layout that is known, or not a table at all


def check_found(found: Found) -> None:
    for text in (found.repo, found.path, found.revision, found.license or "", found.problem or ""):
        text.encode("utf-8")
    assert (found.content is None) or len(found.content) <= LIMITS.max_file_bytes
    assert (found.content is None) or found.size == len(found.content)
    assert (found.content is None) != (found.problem is None), found.problem
    language, text, problem = judge(found, LIMITS)
    assert problem is not None or (language and text.strip())


def documents(data: bytes) -> None:
    path = temporary(data, "shard-00000.parquet")
    try:
        for shard in document_shards(path.parent):
            for batch in read_batches(shard, DOCUMENT_SCHEMA.names):
                batch.validate()
    except FirnlineError as error:
        assert "\n" not in str(error)
    finally:
        path.unlink()


def notebook(data: bytes) -> None:
    try:
        script, language = notebooks.as_script(data)
    except ValueError:
        return
    script.decode("utf-8")
    assert language


def license_texts(data: bytes) -> None:
    for name in ("LICENSE", "package.json", "pyproject.toml", "Cargo.toml", "setup.py", "pom.xml"):
        found = licenses.of_repository([(name, data), ("COPYING", data[: len(data) // 2])])
        assert found is None or found.strip()
    licenses.from_header(data[:4096])


def language(data: bytes) -> None:
    for name in ("a.h", "a.m", "a.sql", "a.ts", "a.pl", "a", "README", "a.\xe9"):
        language_of(name, data)


def statistics(data: bytes) -> None:
    content, languages = batch_of(data)
    column, offsets = buffers(content)
    paths = [("src/a.py", "vendor/b.min.js", "é.h", "x")[n % 4] for n in range(len(content))]
    together = rules.measure(column, offsets, languages, paths)
    verdicts = rules.judge(rules.table(), together, languages)
    assert len(verdicts) == len(content)
    for row, alone in enumerate(one_by_one(content)):
        column, offsets = buffers(alone)
        own = rules.measure(column, offsets, [languages[row]], [paths[row]])
        for name, values in own.items():
            assert len(values) == 1
            np.testing.assert_equal(values[0], together[name][row], name)


def sketches(data: bytes) -> None:
    content, names = batch_of(data)
    languages = pa.array(names, pa.string())
    together = sketch_batch(content, languages)
    hashes, offsets = shingle_sets_batch(content, languages)
    assert offsets[0] == 0 and offsets[-1] == len(hashes)
    assert (np.diff(offsets) >= 0).all()
    for row, alone in enumerate(one_by_one(content)):
        language = languages[row : row + 1]
        np.testing.assert_array_equal(sketch_batch(alone, language)[0], together[row])
        own, _ = shingle_sets_batch(alone, language)
        np.testing.assert_array_equal(
            np.sort(own), np.sort(hashes[offsets[row] : offsets[row + 1]])
        )


def contamination(data: bytes) -> None:
    content, languages = batch_of(data)
    together = basics().find(content, languages)
    for row, alone in enumerate(one_by_one(content)):
        found = basics().find(alone, [languages[row]])
        assert bool(found) == (row in together)
        if found:
            assert found[0] == together[row]
            size = len(content[row].as_py().encode())
            assert all(0 <= span.start < span.stop <= size for span in found[0].spans)
            basics().explain(found[0])


def secrets(data: bytes) -> None:
    content, _ = batch_of(data)
    first = redactor().redact(content)
    first.content.validate(full=True)
    assert len(first.content) == len(content)
    assert all((counts >= 0).all() for counts in first.counts.values())
    changed = np.array(
        [a != b for a, b in zip(content.to_pylist(), first.content.to_pylist(), strict=True)]
    )
    np.testing.assert_array_equal(changed, first.changed)
    second = redactor().redact(first.content)
    assert not second.changed.any(), "redaction is not idempotent"
    for row, alone in enumerate(one_by_one(content)):
        assert redactor().redact(alone).content[0].as_py() == first.content[row].as_py()


def imports(data: bytes) -> None:
    content, languages = batch_of(data)
    paths = [("a/b.x", "go.mod", "Cargo.toml", "package.json")[n % 4] for n in range(len(content))]
    together = read_imports(content, languages, paths)
    for row, alone in enumerate(one_by_one(content)):
        assert read_imports(alone, [languages[row]], [paths[row]])[0] == together[row]


def syntax(data: bytes) -> None:
    content, languages = batch_of(data)
    shares = error_shares(content, languages, every=True)
    assert ((shares >= 0) & (shares <= 1) | np.isnan(shares)).all()
    suspected = error_shares(content, languages)
    both = ~np.isnan(suspected)
    np.testing.assert_array_equal(suspected[both], shares[both])


def tokens(data: bytes) -> None:
    content, _ = batch_of(data)
    ids, ends = tokenizer().encode_batch(content, parallel=False)
    assert ends[0] == 0 and ends[-1] == len(ids) and (np.diff(ends) >= 0).all()
    assert not np.isin(ids, list(tokenizer().special.values())).any()
    for row, text in enumerate(content.to_pylist()):
        own = ids[ends[row] : ends[row + 1]]
        assert tokenizer().decode_bytes(own) == text.encode()
        np.testing.assert_array_equal(tokenizer().encode(text), own)


def pack(data: bytes) -> None:
    """Packs documents, whose names are random bytes too, and reads them back."""
    rng = random.Random(data)
    content, languages = batch_of(data)
    names = [data[n : n + 40].decode("utf-8", "replace") for n in range(len(content))]
    rows = [
        {"id": document_id("fuzz", name, "1", str(n)), "repo": name, "path": f"{name}/{n}"}
        | {"revision": "1", "language": language, "license": None, "stars": None, "source": "git"}
        | {"content_hash": content_hash(text.encode()), "size": len(text), "content": text}
        for n, (name, language, text) in enumerate(
            zip(names, languages, content.to_pylist(), strict=True)
        )
    ]
    folder = temporary(b"", "empty").parent
    write_table(folder / "documents" / "one.parquet", pa.Table.from_pylist(rows, DOCUMENT_SCHEMA))
    config = PackConfig(
        group_by=rng.choice(("language_repository", "repository", "repository_language", "file")),
        path_line=rng.choice(("none", "path", "repository")),
        nodes=rng.random() < 0.3,
    )
    shutil.rmtree(folder / "tokens", ignore_errors=True)
    with contextlib.redirect_stderr(io.StringIO()):  # its progress
        run_pack(config, folder / "documents", tokenizer().folder, folder / "tokens", workers=1)
    packed = TokenFolder(folder / "tokens")
    assert len(packed.tokens) == len(rows)
    for row, text in enumerate(content.to_pylist()):
        start = int(packed.offset[row])
        ids = packed.shards[0][start : start + int(packed.tokens[row])]
        assert ids[-1] == tokenizer().end_of_text
        header = int(packed.header[row]) if packed.header is not None else 0
        assert tokenizer().decode_bytes(ids[:-1])[header:] == text.encode()


@cache
def tokenizer() -> Tokenizer:
    """A small byte-level tokenizer, trained on the seeds."""
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator([text.decode("utf-8", "ignore") for text in seeds("tokens")], trainer)
    folder = temporary(b"", "empty").parent / "tokenizer"
    folder.mkdir(exist_ok=True)
    model.save(str(folder / "tokenizer.json"))
    return Tokenizer.load(folder)


def batch_of(data: bytes) -> tuple[pa.Array, list[str]]:
    """A few documents from the bytes, cut where they say, as a slice of a longer column."""
    rng = random.Random(data)
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(4)))
    edges = [0, *places, len(data)]
    texts = [data[a:b].decode("utf-8", "replace") for a, b in itertools.pairwise(edges)]
    content = pa.array(["before\n", *texts, "after"], pa.large_string())[1:-1]
    return content, [rng.choice(LANGUAGES) for _ in texts]


def one_by_one(content: pa.Array) -> Iterator[pa.Array]:
    for row in range(len(content)):
        yield pa.array([content[row].as_py()], pa.large_string())


@cache
def basics() -> Index:
    return Index(("basics",), 10)


@cache
def redactor() -> Redactor:
    return Redactor(SecretsConfig(off=()))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(archive, jsonl, jsonl_gz, parquet, documents, notebook, license_texts, language),
        *(statistics, sketches, contamination, secrets, imports, syntax, tokens, pack),
    )
}
TEXTS = frozenset(
    {"statistics", "sketches", "contamination", "secrets", "imports", "syntax", "tokens", "pack"}
)


@cache
def seeds(target: str) -> tuple[bytes, ...]:
    """Small inputs that are right, for edits to start from."""
    root = Path(__file__).resolve().parents[1]
    if target == "archive":
        return tuple(archives(root))
    if target in ("jsonl", "jsonl_gz", "parquet", "documents"):
        rows = [
            {"content": text.decode(), "path": f"a/{n}.py", "repo_name": "r", "license": "mit"}
            | {"max_stars_repo_name": "o/r", "max_stars_repo_path": f"{n}.py", "size": n}
            for n, text in enumerate(texts(root)[:6])
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        if target == "jsonl":
            return lines, lines[:500]
        if target == "jsonl_gz":
            return (gzip.compress(lines, mtime=0), pa.compress(lines, "zstd", asbytes=True))
        sink = io.BytesIO()
        whole = pa.Table.from_pylist(rows)
        if target == "documents":
            columns = {name: pa.nulls(4, kind.type) for name, kind in _fields().items()}
            whole = pa.table(columns, schema=pa.schema(list(_fields().values())))
        pq.write_table(whole, sink, row_group_size=3)
        return (sink.getvalue(),)
    if target == "notebook":
        cell = {"cell_type": "code", "source": ["%time x\n", "!ls\n", "x = 1"], "outputs": []}
        prose = {"cell_type": "markdown", "source": "# Title\n![a](data:image/png;base64,AAAA)"}
        book = {"cells": [prose, cell], "metadata": {"kernelspec": {"language": "python"}}}
        old = {"worksheets": [{"cells": [cell | {"input": "y = 2"}]}], "nbformat": 3}
        return tuple(json.dumps(each).encode() for each in (book, old))
    if target == "license_texts":
        manifest = b'{"name": "a", "license": "MIT OR Apache-2.0"}\n[project]\nlicense = "MIT"\n'
        return ((root / "LICENSE").read_bytes()[:6000], manifest, b"License: GPL-2+\n")
    return texts(root)


def _fields() -> dict[str, pa.Field]:
    return {field.name: field.with_nullable(True) for field in DOCUMENT_SCHEMA}


@cache
def texts(root: Path) -> tuple[bytes, ...]:
    code = root / "src" / "firnline" / "synthesis" / "recorded"
    files = sorted(path for path in code.rglob("*") if path.is_file() and path.suffix != ".jsonl")
    return tuple(path.read_bytes()[:5000] for path in files[::4])


def archives(root: Path) -> Iterator[bytes]:
    members = [(f"p-1/src/{n}.py", text[:700]) for n, text in enumerate(texts(root)[:5])]
    members.append(("p-1/PKG-INFO", b"Name: p\nVersion: 1\nLicense: MIT\n"))
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
            sink = io.BytesIO()
            with tarfile.open(fileobj=sink, mode=mode, format=kind) as tar:
                for name, content in members:
                    info = tarfile.TarInfo(name if kind == tarfile.GNU_FORMAT else name * 9)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
            yield sink.getvalue()
            if mode == "w":
                yield pa.compress(sink.getvalue(), "zstd", asbytes=True)
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w", compression) as zipped:
            zipped.comment = b"0123456789012345678901234567890123456789"
            for name, content in members:
                zipped.writestr(name, content)
        yield sink.getvalue()


WORDS = (
    *(b"\0", b"\r", b"\r\n", b"\n", b"\t", b"\\", b"\\\n", b'"', b"'", b'"""', b"'''", b"`"),
    *(b"/*", b"*/", b"//", b"#", b"--", b"<!--", b"-->", b"<script>", b"{", b"}", b"(", b")"),
    *(b"\xef\xbb\xbf", "é".encode(), "漢字".encode(), "\U0001f600".encode(), b"\xed\xa0\x80"),
    *(b"\xc2", b"\xff", "\u2028".encode(), "\x85".encode(), b"\x0b", b"\x0c", b"\x1b"),
    *(b"import ", b"from . import *", b"#include <", b"use a::{b, c::{d}};", b"import ("),
    *(b"a@b.com", b"10.0.0.1", b"http://u:p@h/", b"AKIAIOSFODNN7ABCDEFG", b"2001:db8::1"),
    *(b"-----BEGIN RSA PRIVATE KEY-----\n", b"-----END RSA PRIVATE KEY-----"),
    *(b"password = ", b"ghp_", b"eyJhbGciOiJIUzI1NiJ9.", b"A" * 1100, b"0x41," * 300),
    *(b"../", b"/etc/passwd", b"ustar", b"PK\x03\x04", b"PK\x01\x02", b"PAR1", b"\x1f\x8b"),
    *(b"\xff" * 8, b"\x7f" + b"\xff" * 3, b"\0" * 16, b"18446744073709551615", b"-1", b"NaN"),
)


def mutate(rng: random.Random, target: str) -> bytes:
    """A seed after some edits; now and then bytes that are random alone."""
    if rng.random() < 0.03:
        return rng.randbytes(rng.randrange(2000))
    if rng.random() < 0.03:
        return b"".join(rng.choice(WORDS) for _ in range(rng.randrange(200)))
    stock = seeds(target)
    data = bytearray(rng.choice(stock))
    if target in TEXTS and rng.random() < 0.7:
        start = rng.randrange(len(data) + 1)
        data = data[start : start + rng.randrange(1500)]
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8, 30))):
        place = rng.randrange(len(data) + 1)
        kind = rng.randrange(7)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[place : place + 1] = rng.randbytes(rng.randrange(4))
        elif kind in (2, 3):
            data[place : place + rng.choice((0, 0, 4))] = rng.choice(WORDS)
        elif kind == 4:
            del data[place : place + rng.randrange(1, 64)]
        elif kind == 5:
            piece = data[place : place + rng.randrange(1, 256)]
            data[place:place] = piece * rng.choice((1, 2, 20))
        else:
            other = rng.choice(stock)
            cut = rng.randrange(len(other) + 1)
            data = data[:place] + other[cut : cut + 2000]
    if rng.random() < 0.1:
        del data[rng.randrange(len(data) + 1) :]
    return bytes(data[: 1 << 16])


def worker(
    names: list[str], seed: int, until: float, current: Path, save: Path, results: Any
) -> None:
    """Runs cases of the targets in turn until the time is over; tells what failed."""
    rng = random.Random(seed)
    counts = dict.fromkeys(names, 0)
    for name in names:  # kernels compile, which may take longer than a case may
        TARGETS[name](seeds(name)[0])
    while time.time() < until:
        for name in names:
            end = min(until, time.time() + 2.0)  # each target its share, slow ones too
            while time.time() < end:
                data = mutate(rng, name)
                current.write_bytes(name.encode() + b"\0" + data)
                counts[name] += 1
                try:
                    TARGETS[name](data)
                except Exception:  # any at all is what a fuzzer looks for
                    results.put((name, keep(save, name, data), traceback.format_exc(limit=-3)))
    results.put(("", "", json.dumps(counts)))
    current.unlink()


def keep(save: Path, name: str, data: bytes) -> str:
    path = save / name / hashlib.blake2b(data, digest_size=8).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=sorted(TARGETS), default=list(TARGETS))
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--save", type=Path, default=Path("fuzz-failures"))
    arguments = parser.parse_args()
    seed = (
        arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 32)
    )
    print(f"seed {seed}")
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    until = time.time() + 60 * arguments.minutes
    failures: dict[str, dict[str, str]] = {}
    counts: dict[str, int] = {}

    def failed(name: str, path: str, text: str) -> None:
        lines = text.strip().splitlines()
        cause = lines[-1][:200]
        if cause not in failures.setdefault(name, {}):
            failures[name][cause] = path
            print(f"\n{name}: {path}\n" + "\n".join(lines[-12:]), flush=True)

    def drain() -> None:
        while not results.empty():
            name, path, text = results.get()
            if name:
                failed(name, path, text)
                continue
            for target, count in json.loads(text).items():
                counts[target] = counts.get(target, 0) + count

    with tempfile.TemporaryDirectory() as folder:
        crew: dict[int, Any] = {}
        while True:
            drain()
            for place in range(arguments.workers):
                current = Path(folder) / str(place)
                process = crew.get(place)
                if process is not None and process.is_alive():
                    if current.exists() and time.time() - current.stat().st_mtime > SLOWEST_SECONDS:
                        process.kill()
                        process.join()
                    else:
                        continue
                if process is not None and current.exists():  # it did not end by itself
                    name, _, data = current.read_bytes().partition(b"\0")
                    path = keep(arguments.save, name.decode(), data)
                    failed(name.decode(), path, f"the process ended with {process.exitcode}")
                    current.unlink()
                elif process is not None:
                    if process.exitcode:
                        failed("start", "", f"the process ended with {process.exitcode}")
                    continue
                seed += 1
                names = arguments.only[place % len(arguments.only) :]
                names += arguments.only[: place % len(arguments.only)]
                arguments_of = (names, seed, until, current, arguments.save, results)
                if time.time() < until:
                    crew[place] = spawn.Process(target=worker, args=arguments_of)
                    crew[place].start()
            if not any(process.is_alive() for process in crew.values()):
                break
            time.sleep(0.5)
        drain()
    broken = {name: len(causes) for name, causes in failures.items()}
    print(json.dumps({"cases": counts, "failures": broken}, sort_keys=True))
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
