"""Groups, their order in training samples, and path lines."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from firnline.documents import document_shards
from firnline.errors import FirnlineError
from firnline.tokens.pack import INDEX_SCHEMA, PackConfig, run
from firnline.tokens.path_lines import path_line
from firnline.tokens.permutation import permute, shuffled_groups
from firnline.tokens.samples import Samples
from firnline.tokens.tokenizer import Tokenizer

LENGTH = 96


@pytest.fixture(scope="module")
def order(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger as `arrange` writes it, with places drawn at random."""
    folder = tmp_path_factory.mktemp("order")
    shards = document_shards(corpus)
    tables = [pq.read_table(path, columns=["id", "repo", "language"]) for path in shards]
    repos = [repo for table in tables for repo in table["repo"].to_pylist()]
    generator = np.random.default_rng(5)
    drawn = {repo: generator.permutation(repos.count(repo)).tolist() for repo in sorted(set(repos))}
    languages = sorted({name for table in tables for name in table["language"].to_pylist()})
    turn = dict(zip(languages, generator.permutation(len(languages)).tolist(), strict=True))
    (folder / "ledger").mkdir()
    for path, table in zip(shards, tables, strict=True):
        columns = {
            "id": table["id"],
            "place": pa.array([drawn[r].pop() for r in table["repo"].to_pylist()], pa.int32()),
            "language_place": pa.array(
                [turn[x] for x in table["language"].to_pylist()], pa.int32()
            ),
        }
        pq.write_table(pa.table(columns), folder / "ledger" / path.name)
    return folder


def places_of(order: Path) -> dict[bytes, tuple[int, int]]:
    rows = [row for path in (order / "ledger").iterdir() for row in pq.read_table(path).to_pylist()]
    return {row["id"]: (row["language_place"], row["place"]) for row in rows}


def index_of(folder: Path) -> dict[bytes, dict[str, Any]]:
    return {row["id"]: row for row in pq.read_table(folder / "index.parquet").to_pylist()}


def stream(folder: Path, epoch: int, seed: int = 3) -> list[bytes]:
    """The documents of an epoch in their order: its sequences, put back where they were cut."""
    samples = Samples(folder, sequence_length=LENGTH, seed=seed, phase="alpha")
    count = samples.samples_per_epoch
    number_at = np.argsort(permute(np.arange(count), count, seed, "alpha", epoch))
    pieces = (
        piece for n in number_at.tolist() for piece in samples.documents(epoch * count + int(n))
    )
    return [name for name, _ in itertools.groupby(piece.id for piece in pieces)]


def runs(values: list[Any]) -> list[Any]:
    return [value for value, _ in itertools.groupby(values)]


@pytest.mark.parametrize("group_by", ["language_repository", "repository", "repository_language"])
def test_documents_keep_their_places_in_every_epoch(
    corpus: Path, tokenizer_folder: Path, order: Path, tmp_path: Path, group_by: str
) -> None:
    config = PackConfig.model_validate({"group_by": group_by, "order": "dependency"})
    folder = run(config, corpus, tokenizer_folder, tmp_path / "out", order=order).folder
    rows, places = index_of(folder), places_of(order)
    groups = []
    for epoch in (0, 1, 7):
        found = stream(folder, epoch)
        assert len(found) == len(set(found))
        groups.append(runs([rows[name]["group"] for name in found]))
        assert len(groups[-1]) == len(set(groups[-1]))
        for _, members in itertools.groupby(found, lambda name: rows[name]["group"]):
            met = [places[name] for name in members]
            if group_by != "repository_language":
                met = [(0, place) for _, place in met]
            assert met == sorted(met)
    assert groups[0] != groups[1] != groups[2] != groups[0]


def test_the_hybrid_keeps_languages_together_inside_a_repository(
    corpus: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    config = PackConfig(group_by="repository_language")
    folder = run(config, corpus, tokenizer_folder, tmp_path / "out").folder
    rows = index_of(folder)
    orders = []
    for epoch in (0, 1):
        found = [rows[name] for name in stream(folder, epoch)]
        repositories = runs([row["repo"] for row in found])
        assert len(repositories) == len(set(repositories))
        languages = runs([(row["repo"], row["language"]) for row in found])
        assert len(languages) == len(set(languages))
        assert len(languages) > 3 * len(repositories)
        inside = {repo: [x for r, x in languages if r == repo] for repo in repositories}
        paths = [row["path"] for row in found]
        orders.append((repositories, inside, paths))
    for first, second in zip(*orders, strict=True):
        assert first != second  # all three are drawn anew


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 9)), max_size=40),
    key=st.integers(0, 9),
)
def test_orders_within_groups_are_permutations(rows: list[tuple[int, int, int]], key: int) -> None:
    groups, kinds, places = (np.array([row[n] for row in rows], dtype=np.int64) for n in range(3))
    parts = groups * 4 + kinds
    for given_parts, given_places in itertools.product((None, parts), (None, places)):
        order = shuffled_groups(groups, key, parts=given_parts, places=given_places)
        assert sorted(order.tolist()) == list(range(len(rows)))
        met = runs(groups[order].tolist())
        assert len(met) == len(set(met))
        if given_parts is not None:
            met = runs(parts[order].tolist())
            assert len(met) == len(set(met))
        if given_places is not None:
            unit = groups if given_parts is None else parts
            for one in set(unit.tolist()):
                own = places[order][unit[order] == one].tolist()
                assert own == sorted(own)


def test_the_index_has_more_columns_only_where_they_are_needed(
    corpus: Path, tokenizer_folder: Path, order: Path, tmp_path: Path
) -> None:
    def added(name: str, **values: Any) -> list[str]:
        config = PackConfig.model_validate(values)
        given_order = order if config.order == "dependency" else None
        out = run(config, corpus, tokenizer_folder, tmp_path / name, order=given_order).folder
        names: list[str] = pq.read_schema(out / "index.parquet").names
        assert names[: len(INDEX_SCHEMA)] == INDEX_SCHEMA.names
        return names[len(INDEX_SCHEMA) :]

    hybrid = "repository_language"
    assert added("a", group_by="repository") == []
    assert added("b", group_by=hybrid) == ["part"]
    assert added("c", group_by=hybrid, order="dependency") == ["place"]
    assert added("d", path_line="path", order="dependency") == ["header", "place"]
    assert added("e", path_line="path", group_by=hybrid) == ["header", "part"]


@pytest.mark.parametrize("kind", ["path", "repository"])
def test_a_path_line_stands_before_each_document(
    corpus: Path, tokenizer_folder: Path, tmp_path: Path, kind: str
) -> None:
    config = PackConfig.model_validate({"path_line": kind})
    folder = run(config, corpus, tokenizer_folder, tmp_path / "out").folder
    plain = run(PackConfig(), corpus, tokenizer_folder, tmp_path / "plain").folder
    tokenizer = Tokenizer.load(tokenizer_folder)
    rows, before = index_of(folder), index_of(plain)
    signs = {"Python": "#", "C": "//", "JavaScript": "//", "Shell": "#"}
    seen = set()
    for path in document_shards(corpus):
        for row in pq.read_table(path).to_pylist():
            if row["id"] not in rows:
                continue
            found = rows[row["id"]]
            shard = np.fromfile(folder / f"shard-{found['shard']:05d}.bin", dtype=np.uint16)
            ids = shard[found["offset"] : found["offset"] + found["tokens"]]
            text = tokenizer.decode(ids[:-1])
            assert text.endswith(row["content"])
            header = text.encode()[: found["header"]].decode()
            assert header + row["content"] == text
            assert found["bytes"] == len(text.encode())
            assert found["bytes"] - found["header"] == before[row["id"]]["bytes"]
            if sign := signs.get(row["language"]):
                seen.add(row["language"])
                lines = [f"{sign} {row['repo']}\n"] if kind == "repository" else []
                assert header == "".join([*lines, f"{sign} {row['path']}\n"])
            if row["language"] in ("JSON", "Text", "CSV"):
                assert header == ""
    assert {"Python", "C"} <= seen
    totals = json.loads((folder / "tokens.json").read_text())
    assert totals["bytes"] == sum(row["bytes"] for row in rows.values())


@settings(deadline=None)
@given(path=st.text(max_size=30), language=st.sampled_from(["Python", "C", "CSS", "HTML", "OCaml"]))
def test_no_path_ends_its_comment(path: str, language: str) -> None:
    line = path_line(language, path)
    assert line.count("\n") == len(line.splitlines()) == (line != "")
    for closing in ("*/", "-->", "*)"):
        assert line.count(closing) <= 1
    if line:
        assert line.endswith("\n")


def test_path_lines_of_other_languages() -> None:
    assert path_line("CSS", "a/b.css") == "/* a/b.css */\n"
    assert path_line("PHP", "a.php") == "<!-- a.php -->\n"
    assert path_line("SQL", "x/y", "z.sql") == "-- x/y\n-- z.sql\n"
    assert path_line("CSS", "*/.css") == ""
    assert path_line("Python", "", "a.py") == "# a.py\n"
    assert path_line("JSON", "a.json") == path_line("no such language", "a") == ""


def test_mistakes_are_one_line(
    corpus: Path, tokenizer_folder: Path, order: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    dependency = PackConfig(order="dependency")
    with pytest.raises(ValidationError, match="needs groups of several files"):
        PackConfig(order="dependency", group_by="file")
    with pytest.raises(FirnlineError, match="no folder of an arrange stage"):
        run(dependency, corpus, tokenizer_folder, out)
    with pytest.raises(FirnlineError, match="order: random and"):
        run(PackConfig(), corpus, tokenizer_folder, out, order=order)
    with pytest.raises(FirnlineError, match=r"does not order shard-0000\d\.parquet"):
        run(dependency, corpus, tokenizer_folder, out, order=corpus)
    short = tmp_path / "short"
    (short / "ledger").mkdir(parents=True)
    for path in (order / "ledger").iterdir():
        pq.write_table(pq.read_table(path)[1:], short / "ledger" / path.name)
    with pytest.raises(FirnlineError, match=r"orders none of 1 documents to pack, the first is "):
        run(dependency, corpus, tokenizer_folder, out, order=short)
    assert not out.exists()
