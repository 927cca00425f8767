"""The pass across shards against brute force, in any order of shards, and after a kill."""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firnline.curate import decide as room
from firnline.curate.decide import decide, explain
from firnline.curate.duplicates import BANDS, band_keys, sketch_batch
from firnline.curate.forks import Repositories
from firnline.curate.keyfiles import KeyWriter
from firnline.curate.measure import Scratch
from firnline.curate.priority import UNKNOWN_DATE
from firnline.documents import buffers, content_hash
from firnline.kernels.shingles import white_free_hashes
from firnline.stage import Workspace

TOKEN = re.compile(r"\w+|[^\w\s]")
Document = dict[str, Any]
# By document id: rule, id of the keeper (or name of the original), similarity.
Decisions = dict[bytes, tuple[str, Any, float]]

SCHEMA = pa.schema(
    [
        *(("id", pa.binary(16)), ("rule", pa.string()), ("bytes", pa.int64())),
        *(("repo", pa.string()), ("path", pa.string()), ("content_hash", pa.binary(16))),
        *(("normal_hash", pa.binary(16)), ("license_rank", pa.int8()), ("stars", pa.int64())),
        *(("vendored", pa.bool_()), ("fork", pa.bool_()), ("created", pa.int64())),
    ]
)


@dataclass(frozen=True)
class Files(Scratch):
    @property
    def keys(self) -> Path:
        return self.folder / f"{self.name}.keys"


def document(repo: str, path: str, content: str, **more: Any) -> Document:
    digest = hashlib.blake2b(f"{repo}/{path}".encode(), digest_size=16).digest()
    plain = {"rule": None, "license_rank": 0, "stars": 5, "vendored": False, "fork": False}
    plain |= {"created": UNKNOWN_DATE, "id": digest, "repo": repo, "path": path}
    return {**plain, "content": content, **more}


def write_shard(folder: Path, name: str, documents: list[Document]) -> tuple[Path, Files]:
    scratch = Files(folder, name)
    content = pa.array([one["content"] for one in documents], pa.large_string())
    languages = pa.repeat(pa.scalar("Text"), len(content))
    pq.write_table(
        pa.table({"content": content, "language": languages}),
        folder / f"{name}.parquet",
        row_group_size=7,
    )
    normal = white_free_hashes(*buffers(content))
    rows = [
        {
            **{name: one[name] for name in SCHEMA.names if name in one},
            "bytes": len(one["content"].encode()),
            "content_hash": content_hash(one["content"].encode()),
            "normal_hash": hashes.tobytes(),
        }
        for one, hashes in zip(documents, normal, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), scratch.table)
    passed = content.filter(pa.array([one["rule"] is None for one in documents], pa.bool_()))
    with KeyWriter(scratch.keys, BANDS) as writer:
        writer.write(band_keys(sketch_batch(passed, languages[: len(passed)])))
    return folder / f"{name}.parquet", scratch


def run(
    folder: Path,
    shards: list[list[Document]],
    resident: int = 0,
    workers: int = 1,
    repositories: Repositories | None = None,
) -> tuple[Decisions, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    inputs = {
        f"shard-{number}": write_shard(folder, f"shard-{number}", documents)
        for number, documents in enumerate(shards)
    }
    workspace = Workspace("curate", folder, workers)
    return decisions(shards, inputs, decide(workspace, inputs, resident, 0.7, repositories))


def decisions(
    shards: list[list[Document]], inputs: dict[str, tuple[Path, Files]], stats: dict[str, Any]
) -> tuple[Decisions, dict[str, Any]]:
    found = {}
    for documents, (_, scratch) in zip(shards, inputs.values(), strict=True):
        table = pq.read_table(scratch.decisions)
        rows = [row.values() for row in table.to_pylist()]
        assert table["row"].to_pylist() == sorted(table["row"].to_pylist())
        for row, rule, keeper, repo, path, similarity in rows:
            assert documents[row]["rule"] is None
            if rule != "fork":
                assert document(repo, path, "")["id"] == keeper
            found[documents[row]["id"]] = (rule, keeper or repo, similarity)
    return found, stats


@cache
def shingles(text: str) -> set[tuple[str, ...]]:
    tokens = TOKEN.findall(text)
    if len(tokens) < 5:
        return {tuple(tokens)} if tokens else set()
    return {tuple(tokens[i : i + 5]) for i in range(len(tokens) - 4)}


def jaccard(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b) if a and b else 0.0


def priority(one: Document, there: bool) -> tuple[Any, ...]:
    first = (not there, one["license_rank"], -one["stars"], one["fork"], one["vendored"])
    return (*first, one["created"], len(one["path"]), one["path"], one["id"])


def reference(shards: list[list[Document]], resident: int) -> dict[bytes, tuple[str, bytes | None]]:
    """(rule, keeper) of what goes, with None for a near-duplicate: it may name one of several."""
    ordered = [
        (priority(one, number < resident), one)
        for number, documents in enumerate(shards)
        for one in documents
        if one["rule"] is None
    ]
    ordered.sort(key=lambda pair: pair[0])
    equal: dict[str, bytes] = {}
    bare: dict[str, bytes] = {}
    kept: list[str] = []
    gone: dict[bytes, tuple[str, bytes | None]] = {}
    for _, one in ordered:
        content, plain = one["content"], "".join(one["content"].split())
        if content in equal:
            gone[one["id"]] = ("exact_duplicate", equal[content])
        elif plain in bare:
            gone[one["id"]] = ("whitespace_duplicate", bare[plain])
        elif any(jaccard(content, other) >= 0.7 for other in kept):
            gone[one["id"]] = ("near_duplicate", None)
        else:
            kept.append(content)
        equal.setdefault(content, one["id"])
        bare.setdefault(plain, one["id"])
    return gone


@pytest.fixture(scope="module")
def shards() -> list[list[Document]]:
    """Five shards, one empty and one without a document that passed."""
    rng = random.Random(8)
    originals = [
        " ".join(f"w{rng.randrange(40)} {rng.choice('+-(')}" for _ in range(rng.randrange(1, 90)))
        for _ in range(60)
    ]
    documents = []
    for number in range(400):
        words = rng.choice(originals).split(" ")
        for _ in range(rng.choice([0, 0, 1, 2, 6])):
            words[rng.randrange(len(words))] = f"new{rng.randrange(5)}"
        content = rng.choice([" ", " ", "  ", "\n"]).join(words)
        if rng.random() < 0.03:
            content = rng.choice(["", "   ", "\t\n"])
        more = {
            "license_rank": rng.randrange(3),
            "stars": rng.choice([-1, 3, 4]),
            "vendored": rng.random() < 0.2,
            "fork": rng.random() < 0.2,
            "created": rng.choice([1_000_000_000, 1_500_000_000, UNKNOWN_DATE]),
            "rule": "generated" if rng.random() < 0.1 else None,
        }
        documents.append(document(f"r{rng.randrange(9)}", f"{number:03}.py", content, **more))
    dropped = [document("r", f"{i}", "a b c d e f", rule="generated") for i in range(5)]
    return [documents[:90], [], documents[90:300], dropped, documents[300:]]


@pytest.mark.parametrize("resident", [0, 1])
def test_what_goes_and_why_is_what_brute_force_says(
    shards: list[list[Document]], tmp_path: Path, resident: int
) -> None:
    found, stats = run(tmp_path, shards, resident)
    truth = reference(shards, resident)
    assert found.keys() == truth.keys()
    by_id = {one["id"]: one for documents in shards for one in documents}
    counts = dict.fromkeys(room.RULES, 0)
    for identity, (rule, keeper, similarity) in found.items():
        counts[rule] += 1
        assert rule == truth[identity][0]
        if rule != "near_duplicate":
            assert (keeper, similarity) == (truth[identity][1], 1.0)
        else:
            assert keeper not in found
            real = jaccard(by_id[identity]["content"], by_id[keeper]["content"])
            assert similarity == pytest.approx(real)
            assert real >= 0.7
    assert min(counts[rule] for rule in room.RULES if rule != "fork") > 10
    assert stats["dropped"] == counts["near_duplicate"]


def test_shards_in_another_order_and_more_workers_decide_the_same(
    shards: list[list[Document]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = run(tmp_path / "one", shards)
    documents = [one for documents in shards for one in documents]
    random.Random(1).shuffle(documents)
    monkeypatch.setattr(room, "_NAMED", 10)  # keepers' names are looked up a few at a time
    other, _ = run(tmp_path / "other", [documents[:200], documents[200:], []], workers=2)
    assert one == other


def test_run_again_after_a_kill_it_writes_the_same(
    shards: list[list[Document]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, stats = run(tmp_path / "whole", shards)
    written, real = [], room.write_table

    def die(path: Path, table: pa.Table) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        real(path, table)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(room, "write_table", die)
        run(tmp_path / "killed", shards)
    again, stats_again = run(tmp_path / "killed", shards)
    assert (again, stats_again) == (first, stats)
    for path in (tmp_path / "whole").glob("*.decisions.parquet"):
        assert path.read_bytes() == (tmp_path / "killed" / path.name).read_bytes()


def family() -> list[list[Document]]:
    rng = random.Random(3)
    texts = [" ".join(f"w{rng.randrange(9999)}" for _ in range(60)) for _ in range(20)]
    main = [document("main", f"{i}.py", text, stars=9) for i, text in enumerate(texts[:10])]
    fork = [document("fork", f"{i}.py", text, stars=0) for i, text in enumerate(texts[:9])]
    fork.append(document("fork", "own.py", texts[15], stars=0))
    return [main, fork, [document("else", "a.py", texts[0], stars=1)]]


def test_a_fork_is_dropped_whole(tmp_path: Path) -> None:
    shards = family()
    found, stats = run(tmp_path, shards, repositories=Repositories())
    assert stats["forks"] == 1
    share = 9 * 60 / (10 * 60)
    for one in shards[1]:
        rule, original, held = found.pop(one["id"])
        assert (rule, original) == ("fork", "main")
        assert held == pytest.approx(share, abs=0.02)
    assert found == {shards[2][0]["id"]: ("exact_duplicate", shards[0][0]["id"], 1.0)}


def test_a_fork_that_is_marked_keeps_what_only_it_has(tmp_path: Path) -> None:
    """Its files would stay by their shorter paths; its original has more files."""
    main, fork, _ = family()
    main = [document("main", f"src/{one['path']}", one["content"]) for one in main]
    main.append(document("main", "more.py", "and one more file " * 9))
    shards = [main, [document("fork", one["path"], one["content"]) for one in fork]]
    for mode, keeper in (("mark", shards[0]), ("off", shards[1])):
        settings = Repositories(mode=mode)
        found, _ = run(tmp_path / mode, shards, repositories=settings)
        assert shards[1][9]["id"] not in found
        loser = shards[1] if mode == "mark" else shards[0]
        for one, other in zip(loser[:9], keeper[:9], strict=True):
            assert found[one["id"]] == ("exact_duplicate", other["id"], 1.0)


def test_an_against_shard_is_never_dropped_as_a_fork(tmp_path: Path) -> None:
    shards = family()
    found, _ = run(tmp_path, [shards[1], shards[0]], resident=1, repositories=Repositories())
    assert {rule for rule, _, _ in found.values()} == {"fork"}
    assert found.keys() == {one["id"] for one in shards[0]}


def test_nothing_to_decide(tmp_path: Path) -> None:
    found, stats = run(tmp_path, [[]], repositories=Repositories())
    assert found == {}
    assert stats["dropped"] == stats["forks"] == stats["candidate_documents"] == 0


def test_tables_without_the_newer_columns_are_read(tmp_path: Path) -> None:
    shards = [[document("r", "a", "x y z"), document("r", "b", "x y z"), document("r", "c", "q")]]
    inputs = {"s": write_shard(tmp_path, "s", shards[0])}
    scratch = inputs["s"][1]
    table = pq.read_table(scratch.table).drop_columns(["normal_hash", "fork", "created"])
    pq.write_table(table, scratch.table)
    stats = decide(Workspace("curate", tmp_path, 1), inputs, 0, 0.7)
    found, _ = decisions(shards, inputs, stats)
    assert found == {shards[0][1]["id"]: ("exact_duplicate", shards[0][0]["id"], 1.0)}


def test_the_ledger_says_what_is_duplicated() -> None:
    identity = bytes(range(16))
    name = f"r/p ({identity.hex()})"
    assert explain("exact_duplicate", identity, "r", "p", 1.0) == f"equal to {name}"
    assert explain("whitespace_duplicate", identity, "r", "p", 1.0) == (
        f"equal but for white space to {name}"
    )
    assert explain("near_duplicate", identity, "r", "p", 0.75) == f"Jaccard 0.750 with {name}"
    assert explain("fork", None, "r", None, 0.912) == ("91.2% of its repository's bytes are in r")
