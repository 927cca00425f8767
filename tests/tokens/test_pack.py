"""Token folders: every document comes back whole; resume, determinism, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from firnline.documents import document_shards
from firnline.errors import FirnlineError
from firnline.tokens.pack import INDEX_SCHEMA, PackConfig, run
from firnline.tokens.samples import Samples
from firnline.tokens.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def packed(corpus: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "tokens"
    return run(PackConfig(), corpus, tokenizer_folder, out).folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_training_document_comes_back_whole(
    packed: Path, corpus: Path, tokenizer_folder: Path
) -> None:
    tokenizer = Tokenizer.load(tokenizer_folder)
    settings = json.loads((packed / "tokens.json").read_text())
    index = pq.read_table(packed / "index.parquet")
    assert index.schema.equals(INDEX_SCHEMA)
    columns = ["id", "repo", "path", "language", "source", "content", "split"]
    expected = []
    for number, path in enumerate(document_shards(corpus)):
        expected += [(number, row) for row in pq.read_table(path, columns=columns).to_pylist()]
    expected = [(number, row) for number, row in expected if row["split"] == "train"]
    assert index.num_rows == len(expected) == settings["documents"]
    ends = dict.fromkeys(range(4), 0)
    for found, (shard, document) in zip(index.to_pylist(), expected, strict=True):
        for name in ("id", "repo", "path", "language", "source"):
            assert found[name] == document[name]
        assert found["shard"] == shard
        assert found["offset"] == ends[shard]
        assert found["bytes"] == len(document["content"].encode())
        ids = np.fromfile(packed / f"shard-{shard:05d}.bin", dtype=settings["dtype"])
        held = ids[found["offset"] : found["offset"] + found["tokens"]]
        assert held[-1] == settings["end_of_text"] == 0
        assert tokenizer.decode(held[:-1]) == document["content"]
        assert not (held[:-1] < 7).any()  # no control token from content
        ends[shard] += found["tokens"]
    for shard, end in ends.items():
        assert (packed / f"shard-{shard:05d}.bin").stat().st_size == 2 * end
    assert settings["dtype"] == "uint16"
    assert settings["tokens"] == sum(ends.values())
    assert settings["bytes"] == sum(index.column("bytes").to_pylist())
    assert settings["tokenizer"] == tokenizer.digest


def test_statistics_by_language_add_up(packed: Path) -> None:
    stats = json.loads((packed / "stats.json").read_text())
    index = pq.read_table(packed / "index.parquet").to_pylist()
    for language, row in stats["languages"].items():
        mine = [found for found in index if found["language"] == language]
        assert row["documents"] == len(mine)
        assert row["tokens"] == sum(found["tokens"] for found in mine)
        assert row["bytes"] == sum(found["bytes"] for found in mine)
    assert stats["tokens"] == sum(row["tokens"] for row in stats["languages"].values())


@pytest.mark.parametrize(
    ("group_by", "key"),
    [
        ("language_repository", lambda row: (row["language"], row["repo"])),
        ("repository", lambda row: row["repo"]),
        ("file", lambda row: row["id"]),
    ],
)
def test_groups_are_what_the_setting_says(
    corpus: Path, tokenizer_folder: Path, tmp_path: Path, group_by: str, key: object
) -> None:
    assert callable(key)
    config = PackConfig.model_validate({"group_by": group_by})
    folder = run(config, corpus, tokenizer_folder, tmp_path / "out").folder
    rows = pq.read_table(folder / "index.parquet").to_pylist()
    pairs = {(row["group"], key(row)) for row in rows}
    assert len(pairs) == len({group for group, _ in pairs}) == len({name for _, name in pairs})
    assert {group for group, _ in pairs} == set(range(len(pairs)))


def test_two_processes_give_the_same_bytes(
    packed: Path, corpus: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    other = run(PackConfig(), corpus, tokenizer_folder, tmp_path / "out", workers=2)
    assert files_of(other.folder) == files_of(packed)
    again = run(PackConfig(), corpus, tokenizer_folder, tmp_path / "out", workers=1)
    assert again.skipped


def test_another_tokenizer_packs_again(
    corpus: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(PackConfig(), corpus, tokenizer_folder, out)
    data = (tokenizer_folder / "tokenizer.json").read_bytes()
    (tmp_path / "same").mkdir()
    (tmp_path / "same" / "tokenizer.json").write_bytes(data)
    assert run(PackConfig(), corpus, tmp_path / "same", out).skipped
    (tmp_path / "same" / "tokenizer.json").write_bytes(data + b"\n")
    assert not run(PackConfig(), corpus, tmp_path / "same", out).skipped


def test_a_large_vocabulary_takes_four_bytes(
    packed: Path, corpus: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    large = json.loads((tokenizer_folder / "tokenizer.json").read_text())
    token = {"id": 1 << 16, "content": "<|last|>", "special": True, "normalized": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False}
    large["added_tokens"].append(token | flags)
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text(json.dumps(large))
    folder = run(PackConfig(), corpus, tmp_path / "tokenizer", tmp_path / "out").folder
    settings = json.loads((folder / "tokens.json").read_text())
    assert settings["dtype"] == "uint32"
    assert settings["vocabulary_size"] == (1 << 16) + 1
    sizes = [path.stat().st_size for path in folder.glob("*.bin")]
    assert sum(sizes) == 4 * settings["tokens"]
    wide, narrow = (
        Samples(path, sequence_length=64, seed=1, phase="x") for path in (folder, packed)
    )
    assert wide.vocabulary_size == (1 << 16) + 1
    assert np.array_equal(wide.batch(0, 9).ids, narrow.batch(0, 9).ids)


def test_killed_at_any_moment_it_ends_the_same(
    packed: Path, corpus: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    """Killed after each shard in turn (a shard waits for the kill), then run to the end."""
    code = """
import sys, time
from pathlib import Path
from firnline.tokens import pack
encode, allowed, done = pack._encode, int(sys.argv[4]), []
def slow(job):
    done.append(job.number)
    if len(done) > allowed:
        (job.folder / "shard-half.tmp").write_bytes(b"half")
        print("waiting", flush=True)
        time.sleep(60)
    return encode(job)
pack._encode = slow
pack.run(pack.PackConfig(), *map(Path, sys.argv[1:4]), workers=1)
"""
    out = tmp_path / "out"
    arguments = [sys.executable, "-c", code, str(corpus), str(tokenizer_folder), str(out)]
    for allowed in (0, 2):
        process = subprocess.Popen([*arguments, str(allowed)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not out.exists()
    finished = min((tmp_path / ".out.partial").glob("shard-*.bin"))
    os.utime(finished, (1, 1))
    before = time.time()
    run(PackConfig(), corpus, tokenizer_folder, out)
    assert (out / finished.name).stat().st_mtime < before  # not made again
    (out / "shard-half.tmp").unlink()
    assert files_of(out) == files_of(packed)


def test_nothing_to_pack_is_one_line(corpus: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FirnlineError, match="no documents to pack"):
        run(PackConfig(splits=("other",)), corpus, tokenizer_folder, tmp_path / "out")
    with pytest.raises(FirnlineError, match=r"no tokenizer\.json"):
        run(PackConfig(), corpus, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
