"""Dependencies come first: against a slow reference, on real folders, through kills and workers."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.curate.arrange import ARRANGE_LEDGER_SCHEMA, ArrangeConfig, run
from firnline.documents import DOCUMENT_SCHEMA, content_hash, document_id
from firnline.errors import FirnlineError
from firnline.kernels.dependencies import dependency_order

Row = dict[str, Any]
Edges = set[tuple[int, int]]


def ordered(files: int, nodes: int, edges: Edges) -> tuple[list[int], list[int]]:
    pairs = np.array(sorted(edges), dtype=np.int64).reshape(-1, 2)
    order, unmet = dependency_order(files, nodes, pairs[:, 0].copy(), pairs[:, 1].copy())
    return order.tolist(), unmet.tolist()


def reaches(nodes: int, edges: Edges) -> list[set[int]]:
    """What each node depends on, directly or not."""
    closure = [{b for a, b in edges if a == node} for node in range(nodes)]
    for _ in range(nodes):
        closure = [own.union(*(closure[other] for other in own)) for own in closure]
    return closure


def reference(files: int, nodes: int, edges: Edges) -> tuple[list[int], list[int]]:
    """The rule as it is stated, one file at a time, everything counted anew."""
    closure = reaches(nodes, edges)
    both = edges | {(b, a) for a, b in edges}
    component = [min({node} | own) for node, own in enumerate(reaches(nodes, both))]
    order: list[int] = []
    unmet = [-1] * files

    def met(node: int) -> bool:
        if node < files:
            return node in order
        return all(met(member) for user, member in edges if user == node)

    for lowest in sorted(set(component[:files])):
        members = [file for file in range(files) if component[file] == lowest]
        while left := [file for file in members if file not in order]:
            candidates = []
            for file in left:
                cycle = {file} | {n for n in closure[file] if file in closure[n]}
                waits = [(a, b) for a, b in edges if a in cycle and b not in cycle and not met(b)]
                if not waits:
                    own = sum(not met(b) for a, b in edges if a == file)
                    candidates.append((own, file))
            count, file = min(candidates)
            unmet[file] = count
            order.append(file)
    return order, unmet


@st.composite
def graphs(draw: st.DrawFn, cycles: bool = True) -> tuple[int, int, Edges]:
    """Files, nodes and edges; sets have members and users, and no user is a member."""
    files = draw(st.integers(1, 9))
    file = st.integers(0, files - 1)
    pairs = draw(st.sets(st.tuples(file, file), max_size=20))
    edges = {(a, b) for a, b in pairs if (a != b if cycles else a > b)}
    nodes = files
    for _ in range(draw(st.integers(0, 2)) if files > 2 else 0):
        members = draw(st.sets(file, min_size=2, max_size=4))
        users = draw(st.sets(file, max_size=4)) - members
        if not cycles:
            users = {user for user in users if user > max(members)}
        edges |= {(nodes, member) for member in members} | {(user, nodes) for user in users}
        nodes += 1
    return files, nodes, edges


@settings(max_examples=80, deadline=None)
@given(graphs())
def test_the_order_is_the_one_the_rule_gives(graph: tuple[int, int, Edges]) -> None:
    assert ordered(*graph) == reference(*graph)


@settings(max_examples=100, deadline=None)
@given(graphs(cycles=False))
def test_without_cycles_every_dependency_comes_first(graph: tuple[int, int, Edges]) -> None:
    files, nodes, edges = graph
    order, unmet = ordered(files, nodes, edges)
    assert sorted(order) == list(range(files))
    assert set(unmet) == {0}
    place = {file: at for at, file in enumerate(order)}
    for node in range(files, nodes):
        place[node] = max(place[member] for user, member in edges if user == node)
    assert all(place[a] > place[b] for a, b in edges if a < files)


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_only_cycles_come_out_of_order(graph: tuple[int, int, Edges]) -> None:
    files, nodes, edges = graph
    order, unmet = ordered(files, nodes, edges)
    assert sorted(order) == list(range(files))
    closure = reaches(nodes, edges)
    place = {file: at for at, file in enumerate(order)}
    for a, b in edges:
        if a < files and b < files and a not in closure[b]:
            assert place[a] > place[b]
    for file in range(files):
        if unmet[file]:
            assert file in closure[file]


def test_a_million_files_take_seconds() -> None:
    """A chain that a star closes to one cycle: the worst depth for a search, and for a heap."""
    files = 1_000_000
    users = np.concatenate((np.arange(files - 1), np.full(files - 2, files - 2)))
    used = np.concatenate((np.arange(1, files), np.arange(files - 2)))
    order, unmet = dependency_order(files, files, users, used)
    assert np.array_equal(np.sort(order), np.arange(files))
    assert order[0] == files - 1  # the one file that depends on nothing
    assert order[-1] == files - 2  # the one that waits for all others
    assert unmet.max() == 1


def document(repo: str, path: str, content: str, language: str = "Python") -> Row:
    data = content.encode()
    row: Row = {"id": document_id("directory", repo, "1", path), "content_hash": content_hash(data)}
    row |= {"repo": repo, "path": path, "revision": "1", "language": language, "license": None}
    return row | {"size": len(data), "source": "directory", "stars": None, "content": content}


def write(folder: Path, shards: list[list[Row]]) -> Path:
    (folder / "data").mkdir(parents=True)
    for number, rows in enumerate(shards):
        table = pa.Table.from_pylist(rows, schema=DOCUMENT_SCHEMA)
        pq.write_table(table, folder / "data" / f"shard-{number:05d}.parquet")
    return folder


def ledger(folder: Path) -> dict[bytes, Row]:
    paths = sorted((folder / "ledger").iterdir())
    return {row["id"]: row for path in paths for row in pq.read_table(path).to_pylist()}


SHOP = [
    document("shop", "shop/__init__.py", ""),
    document("shop", "shop/cart.py", "from .money import Price\nfrom shop import tax\nimport os\n"),
    document("shop", "shop/money.py", "import decimal\nfrom . import tax\n"),
    document("shop", "shop/tax.py", "RATE = 1\n"),
    document("shop", "native/fast.cpp", '#include "fast.h"\n#include <vector>\n', "C++"),
    document("shop", "native/fast.h", "int fast(void);\n", "C"),
    document("shop", "native/python.c", '#include "../native/fast.h"\n', "C"),
    document("shop", "README.md", "# shop\n", "Markdown"),
    document("other", "shop/tax.py", "RATE = 2\n"),
    document("", "loose.py", "import shop\n"),
]


def test_the_ledger_says_what_comes_after_what(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", [SHOP[:3], SHOP[3:8], SHOP[8:]])
    result = run(ArrangeConfig(), folder, tmp_path / "out", workers=1)
    rows = ledger(result.folder)
    schema = pq.read_schema(result.folder / "ledger" / "shard-00000.parquet")
    assert schema.equals(ARRANGE_LEDGER_SCHEMA)
    for number, shard in enumerate((SHOP[:3], SHOP[3:8], SHOP[8:])):
        path = result.folder / "ledger" / f"shard-{number:05d}.parquet"
        assert pq.read_table(path)["id"].to_pylist() == [row["id"] for row in shard]
    of = {(row["repo"], row["path"]): rows[row["id"]] for row in SHOP}
    assert all(row["kept"] and row["rule"] is None for row in rows.values())
    in_order = sorted((p for r, p in of if r == "shop"), key=lambda p: of["shop", p]["place"])
    assert in_order == [
        "README.md",
        "native/fast.h",
        "native/fast.cpp",
        "native/python.c",
        "shop/__init__.py",
        "shop/tax.py",
        "shop/money.py",
        "shop/cart.py",
    ]
    cart = of["shop", "shop/cart.py"]
    assert cart["detail"] == "depends on shop/money.py, shop/tax.py"
    assert (cart["imports"], cart["resolved"]) == (3, 2)
    assert (cart["dependencies"], cart["unmet"]) == (2, 0)
    languages = {
        row["language"]: of["shop", row["path"]]["language_place"]
        for row in SHOP
        if row["repo"] == "shop"
    }
    assert languages == {"C": 0, "C++": 1, "Markdown": 2, "Python": 3}
    assert of["other", "shop/tax.py"]["place"] == 0
    assert of["", "loose.py"]["place"] == of["", "loose.py"]["imports"] == 0
    stats = result.stats
    assert (stats["documents"], stats["without_repository"], stats["repositories"]) == (10, 1, 2)
    assert stats["languages"]["Python"] == {
        "documents": 5,
        "imports": 5,
        "resolved": 3,
        "dependencies": 3,
        "in_cycles": 0,
        "local": 2,
        "local_resolved": 2,
    }


def test_rows_in_any_order_in_any_shards_and_buckets_give_the_same_places(tmp_path: Path) -> None:
    rows = [row for row in SHOP if row["repo"]]
    for number in range(12):
        name = f"m{number}"
        text = f"import m{(number + 1) % 4}, m{number * 5 % 12}\n" + "# filler\n" * 15_000
        rows.append(document(f"ring-{number % 3}", f"{name}.py", text))
    expected = ledger(run(ArrangeConfig(), write(tmp_path / "one", [rows]), tmp_path / "a").folder)
    shuffled = random.Random(3).sample(rows, len(rows))
    shards = [shuffled[:5], [], shuffled[5:9], shuffled[9:]]
    folder = write(tmp_path / "many", shards)
    for workers, mib in ((1, 1), (2, 1), (1, 1024)):
        out = tmp_path / f"out-{workers}-{mib}"
        found = run(ArrangeConfig(bucket_mib=mib), folder, out, workers=workers)
        assert ledger(found.folder) == expected


def test_killed_between_its_passes_it_ends_the_same(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", [SHOP[:4], SHOP[4:]])
    whole = run(ArrangeConfig(), folder, tmp_path / "whole", workers=1)
    code = """
import os, signal, sys
from pathlib import Path
from firnline.stage import Workspace
from firnline.curate import arrange
plain = Workspace.map
def stop_before(self, label, *rest, **more):
    if label == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, label, *rest, **more)
Workspace.map = stop_before
arrange.run(arrange.ArrangeConfig(), Path(sys.argv[1]), Path(sys.argv[2]), workers=1)
"""
    out = tmp_path / "out"
    for label in ("order", "ledger"):
        command = [sys.executable, "-c", code, str(folder), str(out), label]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL
        assert not out.exists()
    again = run(ArrangeConfig(), folder, out, workers=1)
    assert again.stats == whole.stats
    files = [
        {path.relative_to(at.folder): path.read_bytes() for path in at.folder.rglob("*.parquet")}
        for at in (whole, again)
    ]
    assert files[0] == files[1]


def test_odd_documents_do_no_harm(tmp_path: Path) -> None:
    rows = [
        document("r", "a.py", "import b\n"),
        document("r", "a.py", "import a\n") | {"id": bytes(16)},  # one path twice
        document("r", "b.py", "from . import nothing, a\nfrom ... import b\n"),
        document("r", "/abs//odd/../x.c", '#include "../../../../x.h"\n', "C"),
        document("r", "x.h", '#include "x.h"\n#include ""\n#include <\n', "C"),
        document("r", "\n.js", "require('./\\n'); import './.'; import '../..'", "JavaScript"),
        document("r", "mod.rs", "use super::super::super::x; mod r#in; use self::{*};", "Rust"),
        document("r", "g.go", 'package g; import ("." ; ".." ; "")', "Go"),
        document("r", "no.xyz", "import b\n", "Unknown"),
    ]
    result = run(ArrangeConfig(), write(tmp_path / "in", [rows]), tmp_path / "out", workers=1)
    found = ledger(result.folder)
    assert sorted(row["place"] for row in found.values()) == list(range(len(rows)))
    empty = write(tmp_path / "empty", [[]])
    assert run(ArrangeConfig(), empty, tmp_path / "none", workers=1).stats["documents"] == 0
    with pytest.raises(FirnlineError, match="no Documents in"):
        run(ArrangeConfig(), tmp_path, tmp_path / "never")


def test_places_number_each_repository_from_zero(tmp_path: Path) -> None:
    rows = [document(f"r{n % 7}", f"f{n}.py", f"import f{n * 3 % 50}\n") for n in range(50)]
    result = run(ArrangeConfig(), write(tmp_path / "in", [rows]), tmp_path / "out", workers=1)
    found = ledger(result.folder)
    by_repository: dict[str, list[int]] = {}
    for row in rows:
        by_repository.setdefault(row["repo"], []).append(found[row["id"]]["place"])
    assert all(sorted(own) == list(range(len(own))) for own in by_repository.values())
    assert any(a > b for own in by_repository.values() for a, b in pairwise(own))
