"""Orders the files of repositories: what a file imports comes before it."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from firnline.curate.imports import DECLARES, LANGUAGES, is_local
from firnline.curate.repository import Repository
from firnline.curate.resolve import Resolver
from firnline.kernels.dependencies import dependency_order
from firnline.stage import Stats

Integers = NDArray[np.int64]

_NAMED = 3  # dependencies that a ledger row names


def order_repositories(table: pa.Table) -> tuple[dict[str, Any], Stats]:
    """The columns that `arrange` adds to its ledger, and statistics, for some whole repositories.

    `table` has one row for each document, sorted by repository, path and id: `repo`, `path`,
    `language`, and `lines`, what `read_imports` found, joined by newlines.
    """
    graph = _Graph(len(table))
    starts = _starts(table["repo"])
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        graph.add(start, table.slice(start, stop - start))
    users, used = graph.edges()
    order, unmet = dependency_order(len(table), len(table) + len(graph.first_members), users, used)
    repository = np.repeat(starts[:-1], np.diff(starts))
    places = np.empty(len(table), dtype=np.int64)
    places[order] = np.arange(len(table))
    columns = {
        "place": places - repository,
        "language_place": _language_places(graph, table["language"], repository, users, used),
        "imports": graph.imports,
        "resolved": graph.resolved,
        "dependencies": graph.dependencies,
        "unmet": unmet,
        "detail": pa.array(graph.details, pa.string()),
    }
    return columns, {"repositories": len(starts) - 1, "languages": graph.count(table, unmet)}


class _Graph:
    """Dependencies among documents, numbered by row, and sets of documents, numbered behind."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.imports = np.zeros(rows, dtype=np.int64)
        self.resolved = np.zeros(rows, dtype=np.int64)
        self.dependencies = np.zeros(rows, dtype=np.int64)
        self.details: list[str | None] = [None] * rows
        self.first_members = array("q")
        self.local: Counter[str] = Counter()
        self.local_resolved: Counter[str] = Counter()
        self._users = array("q")
        self._used = array("q")

    def add(self, start: int, table: pa.Table) -> None:
        """Resolves the imports of one repository, whose rows begin at `start`."""
        lines = _Lines(table["lines"].to_pylist())
        paths, languages = table["path"].to_pylist(), table["language"].to_pylist()
        resolver = Resolver(Repository(table["repo"][0].as_py(), paths, languages, lines))
        for file, own in enumerate(lines):
            if own and languages[file] in LANGUAGES:
                found = self._resolve(resolver, file, languages[file], own, start + file)
                if found:
                    self._link(resolver, found, start, start + file, paths)
        for members in resolver.sets:
            node = self.rows + len(self.first_members)
            self.first_members.append(start + members[0])
            self._users.extend([node] * len(members))
            self._used.extend(start + member for member in members)

    def _resolve(
        self, resolver: Resolver, file: int, language: str, lines: Sequence[str], row: int
    ) -> list[int]:
        """What the file depends on; nothing depends on itself, nor on a set that it is part of."""
        found: dict[int, None] = {}
        for name in lines:
            if name.startswith(DECLARES):
                continue
            target = resolver.find(file, name)
            local = is_local(language, name)
            self.imports[row] += 1
            self.local[language] += local
            if target is not None:
                self.resolved[row] += 1
                self.local_resolved[language] += local
                if target != file and not _holds(resolver.members(target), file):
                    found[target] = None
        return list(found)

    def _link(
        self, resolver: Resolver, found: list[int], start: int, row: int, paths: Sequence[str]
    ) -> None:
        files = len(paths)
        sets = self.rows + len(self.first_members)
        nodes = [start + node if node < files else sets + node - files for node in found]
        self._users.extend([row] * len(nodes))
        self._used.extend(nodes)
        self.dependencies[row] = len(nodes)
        named = [paths[(resolver.members(node) or (node,))[0]] for node in found[:_NAMED]]
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        self.details[row] = f"depends on {', '.join(named)}{more}"

    def edges(self) -> tuple[Integers, Integers]:
        """Which node depends on which, one entry for each dependency."""
        return np.array(self._users, dtype=np.int64), np.array(self._used, dtype=np.int64)

    def count(self, table: pa.Table, unmet: Integers) -> dict[str, dict[str, int]]:
        """For each language whose imports are read: documents, imports, what became of them."""
        counted = pa.table(
            {
                "language": table["language"],
                "imports": self.imports,
                "resolved": self.resolved,
                "dependencies": self.dependencies,
                "in_cycles": (unmet > 0).astype(np.int64),
            }
        )
        names = counted.column_names[1:]
        sums = counted.group_by("language").aggregate(
            [("language", "count"), *((name, "sum") for name in names)]
        )
        return {
            row["language"]: {
                "documents": row["language_count"],
                **{name: row[f"{name}_sum"] for name in names},
                "local": self.local[row["language"]],
                "local_resolved": self.local_resolved[row["language"]],
            }
            for row in sums.to_pylist()
            if row["language"] in LANGUAGES
        }


class _Lines(Sequence[Sequence[str]]):
    """Lines of each text, split when they are asked for: a repository can have a million files."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, file: Any) -> Any:
        text = self._texts[file]
        return text.split("\n") if text else []


def _holds(members: Sequence[int], file: int) -> bool:
    place = bisect_left(members, file)
    return place < len(members) and members[place] == file


def _starts(repos: pa.ChunkedArray) -> Integers:
    """The first row of each run of equal names, and the number of rows."""
    if not len(repos):
        return np.zeros(1, dtype=np.int64)
    lengths = pc.run_end_encode(repos.combine_chunks()).run_ends.to_numpy()
    return np.concatenate(([0], lengths)).astype(np.int64)


def _language_places(
    graph: _Graph, languages: pa.ChunkedArray, repository: Integers, users: Integers, used: Integers
) -> Integers:
    """The place of each document's language among the languages of its repository.

    The languages are ordered as the files are: one depends on another if a file of it does.
    """
    names = languages.combine_chunks().dictionary_encode()
    rank = pc.rank(names.dictionary, sort_keys="ascending").to_numpy().astype(np.int64)
    rows = len(repository)
    keys = repository * len(rank) + rank[names.indices.to_numpy()] - 1
    kinds, first, kind = np.unique(keys, return_index=True, return_inverse=True)
    kind_of_node = np.concatenate((kind, kind[np.array(graph.first_members, dtype=np.int64)]))
    pairs = np.stack((kind_of_node[users], kind_of_node[used]), axis=1)
    pairs = np.unique(pairs[(pairs[:, 0] != pairs[:, 1]) & (users < rows)], axis=0)
    order, _ = dependency_order(
        len(kinds), len(kinds), np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
    )
    places = np.empty(len(kinds), dtype=np.int64)
    places[order] = np.arange(len(kinds))
    _, of_repository, number = np.unique(repository[first], return_index=True, return_inverse=True)
    return np.asarray((places - of_repository[number])[kind], dtype=np.int64)
