"""Real files of every language on this machine, and a tokenizer trained by `tokenizers` itself."""

from __future__ import annotations

import hashlib
import json
import os
import sysconfig
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from firnline.documents import DOCUMENT_SCHEMA, content_hash, document_id, write_table
from firnline.languages import detect
from firnline.tokens.tokenizer import SPECIAL_TOKENS

FILES_EACH = 10
LARGEST = 40_000

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="session")
def files_by_language() -> dict[str, list[str]]:
    """A few texts of each language, from Python's own folders and the system's."""
    roots = [
        Path(sysconfig.get_path("stdlib")),
        Path(sysconfig.get_path("purelib")),
        Path(sysconfig.get_path("include")),
        Path("/usr/include"),
        Path("/usr/share"),
        Path("/etc"),
    ]
    found: dict[str, list[str]] = defaultdict(list)
    for root in dict.fromkeys(roots):
        seen = 0
        for folder, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                language = detect(name, b"") or "unknown"
                if len(found[language]) >= FILES_EACH or not path.is_file():
                    continue
                try:
                    if 0 < path.stat().st_size <= LARGEST:
                        found[language].append(path.read_bytes().decode())
                except (OSError, UnicodeDecodeError):
                    continue
            seen += len(names)
            if seen > 20_000:
                break
    del found["unknown"]
    return dict(found)


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer made by `tokenizers` alone, with the contract's special tokens."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(QWEN2), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library = Path(sysconfig.get_path("stdlib"))
    texts = [path.read_text() for path in sorted(library.glob("[a-d]*.py"))]
    made.train_from_iterator(texts, trainer)
    folder = tmp_path_factory.mktemp("tokenizer")
    made.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def reference(tokenizer_folder: Path) -> tokenizers.Tokenizer:
    """The same file read by `tokenizers`, told to encode special strings as text."""
    loaded = tokenizers.Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    loaded.encode_special_tokens = True
    return loaded


@pytest.fixture(scope="session")
def corpus(
    tmp_path_factory: pytest.TempPathFactory, files_by_language: dict[str, list[str]]
) -> Path:
    """Documents in four shards (one without any): real files and awkward texts, two splits."""
    texts = [
        (language, text)
        for language, files in sorted(files_by_language.items())
        for text in files[:6]
    ]
    texts += [("Python", text) for text in ("", "x", "<|endoftext|>" * 3, "a\r\n\x00🙂\n" * 40)]
    rows = []
    for number, (language, text) in enumerate(texts):
        repo, path = f"repo-{number % 5}", f"src/file-{number}"
        data = text.encode()
        document = document_id("directory", repo, "1", path)
        rows.append(
            {
                "id": document,
                "content_hash": content_hash(data),
                "repo": repo,
                "path": path,
                "revision": "1",
                "language": language,
                "license": None,
                "size": len(data),
                "source": "directory",
                "stars": None,
                "content": text,
                "split": "heldout" if number % 7 == 3 else "train",
            }
        )
    folder = tmp_path_factory.mktemp("corpus")
    schema = DOCUMENT_SCHEMA.append(pa.field("split", pa.string()))
    third = len(rows) // 3
    parts = (rows[:third], [], rows[third : 2 * third], rows[2 * third :])
    for number, part in enumerate(parts):
        table = pa.Table.from_pylist(part, schema=schema)
        write_table(folder / "data" / f"shard-{number:05d}.parquet", table)
    return folder


@pytest.fixture(scope="session")
def write_token_folder() -> Callable[..., Path]:
    """Writes a token folder by hand, as docs/contracts.md describes it."""

    def write(
        folder: Path,
        documents: list[list[int]],
        *,
        digest: str = "by hand",
        shards: int = 2,
        **columns: Sequence[int],
    ) -> Path:
        """Each document ends with end of text; `columns` are those of the index beyond the ids."""
        folder.mkdir(parents=True)
        rows = len(documents)
        sizes = np.array([len(ids) for ids in documents], dtype=np.int32)
        shard = np.arange(rows, dtype=np.int32) * shards // rows
        offset = np.zeros(rows, dtype=np.int64)
        for number in range(shards):
            held = np.flatnonzero(shard == number)
            offset[held] = np.cumsum(sizes[held]) - sizes[held]
            joined = np.array([token for row in held for token in documents[row]], dtype=np.uint16)
            joined.tofile(folder / f"shard-{number:05d}.bin")
        ids = [hashlib.blake2b(str(n).encode(), digest_size=16).digest() for n in range(rows)]
        table = pa.table(
            {
                "id": pa.array(ids, pa.binary(16)),
                "repo": ["repo"] * rows,
                "path": [str(n) for n in range(rows)],
                "shard": shard,
                "offset": offset,
                "tokens": sizes,
                "group": pa.array(columns.pop("group", range(rows)), pa.int32()),
            }
            | {name: pa.array(values) for name, values in columns.items()}
        )
        pq.write_table(table, folder / "index.parquet")
        settings = {"vocabulary_size": 1200, "dtype": "uint16", "end_of_text": 0}
        (folder / "tokens.json").write_text(json.dumps(settings | {"tokenizer": digest}))
        return folder

    return write
