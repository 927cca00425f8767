"""The column layouts of tables of code, known by their column names.

The Stack and its deduplicated form: hf.co/datasets/bigcode/the-stack, -dedup (`StarCoderData` has
a part of the same columns); The Stack v2: bigcode/the-stack-v2 with the content put in; github-code
and its kin: codeparrot/github-code, codeparrot-clean; text: HuggingFaceFW/fineweb.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from firnline.errors import FirnlineError

FIELDS = (
    "content",
    "repo",
    "path",
    "revision",
    "language",
    "license",
    "stars",
    "fork",
    "created",
    "source",
)


@dataclass(frozen=True)
class Layout:
    """`columns` maps a field of ours to the columns that may hold it, the first there counts.

    `needs` are the columns that tell the layout; `source` and `language` are what its rows are,
    where no column says it.
    """

    name: str
    needs: frozenset[str]
    columns: Mapping[str, tuple[str, ...]]
    source: str = "table"
    language: str | None = None

    def among(self, names: Iterable[str]) -> dict[str, str]:
        """Field to column, for the columns that are there."""
        there = set(names)
        found = {f: next((c for c in cs if c in there), "") for f, cs in self.columns.items()}
        return {field: column for field, column in found.items() if column}


LAYOUTS = (
    Layout(
        "Documents",
        frozenset({"content", "repo", "path", "revision", "source", "content_hash"}),
        {field: (field,) for field in FIELDS},
    ),
    Layout(
        "The Stack",
        frozenset({"content", "max_stars_repo_name", "max_stars_repo_path"}),
        {
            "content": ("content",),
            "repo": ("max_stars_repo_name",),
            "path": ("max_stars_repo_path",),
            "revision": ("max_stars_repo_head_hexsha",),
            "language": ("lang",),
            "license": ("max_stars_repo_licenses",),
            "stars": ("max_stars_count",),
            "created": ("max_stars_repo_stars_event_min_datetime",),
        },
    ),
    Layout(
        "The Stack v2",
        frozenset({"content", "repo_name", "path"}),
        {
            "content": ("content",),
            "repo": ("repo_name",),
            "path": ("path",),
            "revision": ("revision_id",),
            "language": ("language", "lang"),
            "license": ("detected_licenses", "license"),
            "stars": ("star_events_count", "stars"),
            "created": ("committer_date", "revision_date", "visit_date"),
        },
    ),
    Layout(
        "github-code",
        frozenset({"code", "repo_name", "path"}),
        {
            "content": ("code",),
            "repo": ("repo_name",),
            "path": ("path",),
            "language": ("language",),
            "license": ("license",),
        },
    ),
    Layout(
        "text",
        frozenset({"text"}),
        {
            "content": ("text",),
            "repo": ("url",),
            "path": ("id",),
            "revision": ("dump",),
            "created": ("date",),
        },
        source="text",
        language="Text",
    ),
)


def recognise(names: Iterable[str], given: Mapping[str, str] | None, where: str) -> Layout:
    """The layout of a table with these columns; `given` maps fields to columns where it is set.

    Raises FirnlineError where no layout fits, or where a column given is not there.
    """
    names = list(names)
    if given is not None:
        if missing := [column for column in given.values() if column not in names]:
            raise FirnlineError(
                f"{where} has no column {', '.join(missing)}",
                mend=f"correct the source's columns; there are {_listed(names)}",
            )
        return Layout("columns", frozenset(), {f: (c,) for f, c in given.items()})
    for layout in LAYOUTS:
        if layout.needs <= set(names):
            return layout
    raise FirnlineError(
        f"{where} has no layout that is known: its columns are {_listed(names)}",
        mend="name them in the source: columns: {content: COLUMN, path: COLUMN, repo: COLUMN}",
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:40])
    return f"{shown} and {len(names) - 40} more" if len(names) > 40 else shown or "none"
