"""Forks against Python sets, and the promises of the rule."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from firnline.curate.forks import FILES_SCHEMA, Forks, Repositories, find_forks
from firnline.curate.priority import UNKNOWN_DATE

File = dict[str, Any]
PLAIN = {"vendored": False, "there": False, "stars": -1, "fork": False, "license_rank": 0}


def file(repo: str, content: str, **more: Any) -> File:
    digest = hashlib.blake2b(content.encode(), digest_size=16).digest()
    plain = {"repo": repo, "content_hash": digest, "bytes": 1000, "created": UNKNOWN_DATE}
    return {**PLAIN, **plain, **more}


def repository(name: str, contents: Iterable[int], **more: Any) -> list[File]:
    return [file(name, f"content {number}", **more) for number in contents]


def forks(files: list[File], batch: int = 1000, part_rows: int = 1 << 20, **config: Any) -> Forks:
    table = pa.Table.from_pylist(files, schema=FILES_SCHEMA)

    def batches() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches(max_chunksize=batch)

    return find_forks(batches, Repositories(**config), part_rows)


def pairs(found: Forks) -> dict[str, tuple[str, float]]:
    names = zip(found.repo.to_pylist(), found.original.to_pylist(), strict=True)
    return {
        repo: (original, share)
        for (repo, original), share in zip(names, found.share.tolist(), strict=True)
    }


def test_a_fork_goes_and_what_is_shared_is_said() -> None:
    files = repository("main", range(100), stars=50)
    files += repository("fork", range(10, 101), stars=2)  # lags behind, with a file of its own
    files += repository("other", range(200, 300))
    files += repository("half", [*range(300, 350), *range(50)], stars=1)
    found = forks(files)
    assert pairs(found) == {"fork": ("main", 90 / 91)}
    assert found.find(pa.array(["main", "fork", "nobody"])).tolist() == [-1, 0, -1]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"there": True}, {"stars": 9}),
        ({"stars": 9, "fork": True}, {"stars": 8}),
        ({"license_rank": 2}, {"fork": True}),
        ({"license_rank": 0, "created": 9}, {"license_rank": 1, "created": 1}),
        ({"created": 5}, {"created": 6}),
    ],
)
def test_which_repository_stays(better: File, worse: File) -> None:
    """`b` would win by its name last, so `worse` has the smaller one."""
    files = repository("a", range(50), **worse) + repository("b", range(50), **better)
    assert pairs(forks(files)) == {"a": ("b", 1.0)}


def test_more_files_then_the_smaller_name() -> None:
    assert pairs(forks(repository("a", range(50)) + repository("b", range(51)))) == {
        "a": ("b", 1.0)
    }
    assert pairs(forks(repository("b", range(50)) + repository("a", range(50)))) == {
        "b": ("a", 1.0)
    }


def test_there_are_no_chains() -> None:
    """c is in b and b in a, but c is not in a: c stays when b goes."""
    files = repository("a", range(100), stars=3) + repository("b", range(20, 110), stars=2)
    files += repository("c", range(50, 110), stars=1)
    assert pairs(forks(files, share=0.85)) == {"b": ("a", 80 / 90)}
    assert pairs(forks(files, share=0.83)) == {"b": ("a", 80 / 90), "c": ("a", 50 / 60)}


def test_documents_already_there_never_go() -> None:
    files = repository("a", range(50), there=True) + repository("b", range(50), there=True)
    assert pairs(forks(files)) == {}


def test_bytes_count_not_files() -> None:
    files = repository("main", range(10), stars=1)
    files += [*repository("small", range(10)), file("small", "its own", bytes=2501)]
    assert pairs(forks(files)) == {}
    files[-1]["bytes"] = 2500
    assert pairs(forks(files)) == {"small": ("main", 0.8)}


def test_what_does_not_count() -> None:
    library = repository("library", range(30), stars=1)
    brought = repository("program", range(30), stars=9, vendored=True)
    program = brought + repository("program", range(100, 130), stars=9)
    assert pairs(forks(library + program)) == {}
    tiny = repository("a", range(30), bytes=99) + repository("b", range(30), bytes=99)
    assert pairs(forks(tiny)) == {}
    assert pairs(forks(tiny, min_file_bytes=99)) == {"b": ("a", 1.0)}
    few = repository("a", range(4)) + repository("b", range(4))
    assert pairs(forks(few)) == {}
    assert pairs(forks(few, min_files=4)) == {"b": ("a", 1.0)}
    nameless = repository("", range(30)) + repository("b", range(30))
    assert pairs(forks(nameless)) == {}
    copies = repository("a", range(4)) + repository("b", range(4)) * 3
    assert pairs(forks(copies)) == {}  # four different contents, however often


def test_contents_that_many_hold_do_not_count() -> None:
    files = [one for name in "abcdef" for one in repository(name, range(30))]
    assert len(pairs(forks(files))) == 5
    assert pairs(forks(files, common=5)) == {}
    files += repository("a", range(30, 50)) + repository("b", range(31, 51))
    assert pairs(forks(files, common=5)) == {"b": ("a", 19 / 20)}


def reference(files: list[File], least: float) -> dict[str, tuple[set[str], float]]:
    """Each loser with the originals that hold the most of it, by sets of contents."""
    held: dict[str, dict[bytes, int]] = {}
    for one in files:
        held.setdefault(one["repo"], {})[one["content_hash"]] = one["bytes"]
    count = {name: sum(one["repo"] == name for one in files) for name in held}
    stars = {one["repo"]: one["stars"] for one in files}
    kept: list[str] = []
    lost: dict[str, tuple[set[str], float]] = {}
    for name in sorted(held, key=lambda name: (-stars[name], -count[name], name)):
        shares = {
            other: sum(held[name][c] for c in held[name].keys() & held[other].keys())
            / sum(held[name].values())
            for other in kept
            if len(held[name].keys() & held[other].keys()) >= 5
        }
        best = max(shares.values(), default=0.0)
        if best >= least:
            lost[name] = ({other for other, share in shares.items() if share == best}, best)
        else:
            kept.append(name)
    return lost


def test_families_of_forks_are_those_of_brute_force() -> None:
    rng = random.Random(6)
    files: list[File] = []
    for family in range(12):
        pool = [(f"f{family} {number}", rng.randrange(100, 5000)) for number in range(60)]
        pool += [("shared by families", 400), (f"pair {family // 2}", 4000)]
        for member in range(rng.randrange(1, 9)):
            chosen = rng.sample(pool, rng.randrange(20, 62))
            chosen += [(f"own {family} {member} {i}", 800) for i in range(rng.randrange(12))]
            name, stars = f"{family}/{member}", rng.randrange(3)
            files += [file(name, content, bytes=size, stars=stars) for content, size in chosen]
    rng.shuffle(files)
    truth = reference(files, 0.6)
    assert len(truth) > 10
    one = pairs(forks(files, share=0.6))
    assert one.keys() == truth.keys()
    for repo, (original, share) in one.items():
        assert original in truth[repo][0]
        assert share == pytest.approx(truth[repo][1])
    rng.shuffle(files)
    # The order of the files, batches and parts change nothing.
    assert pairs(forks(files, batch=7, part_rows=100, share=0.6)) == one
    assert pairs(forks(files[:0])) == {}
