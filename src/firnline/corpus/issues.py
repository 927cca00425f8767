"""Issues and pull requests as documents: the title, the opening text, the comments in order.

To Code or Not To Code (section 2.1) counts them as code-adjacent. Rows are whole threads, in the
layout of The Stack's issues (hf.co/datasets/bigcode/the-stack-github-issues: `events`) or with
`title`, `body` and `comments`. As for StarCoder, bots are left out and the names of people are
replaced by `username_0`, `username_1`, in the order in which they speak.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from firnline.corpus.parts import Found
from firnline.corpus.rows import RefusedError, Row, RowsPart, first, seconds, text_of
from firnline.corpus.storage import Storage, find
from firnline.corpus.tables import TABLE_SUFFIXES

_BOT = re.compile(
    r"(?i)\[bot\]$|(?:^|[-_])(?:ro)?bot(?:$|[-_])|[-_]ci$|^(?:.*-)?(?:bors|codecov(?:-io)?|coveralls"
    r"|dependabot(?:-preview)?|renovate|greenkeeper|greenkeeperio|github-actions|googlebot|mergify"
    r"|netlify|now|vercel|sonarcloud|stale|travis-ci|appveyor|circleci|claassistant|cla-assistant"
    r"|allcontributors|hound|houndci|codeclimate|snyk|pyup|lgtm-com|msftclas|salesforce-cla"
    r"|changeset|imgbot|welcome|issue-label|probot|pull|k8s-ci|openshift-ci|boring-cyborg)$|bot$"
)
# What mail clients add to a comment that was sent as a reply.
_REPLY = re.compile(
    r"(?ms)^(?:On .{5,120}? wrote:[ \t]*$.*|-+ ?Original Message ?-+.*|_{10,}\n.*"
    r"|(?:—|--|-) *\n(?:You are receiving this|Reply to this email|Sent from).*"
    r"|(?:You are receiving this because|Reply to this email directly).*)\Z"
)
_COMMENT = re.compile(r"(?s)<!--.*?(?:-->|\Z)")  # templates' instructions


class IssuesSource(BaseModel):
    """Tables of issues and pull requests, one thread to a row."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["issues"] = "issues"
    path: str
    """A `.parquet` or `.jsonl` file, a folder or a glob; here, or `s3://`, `gs://`, `https://`."""
    storage: Storage = Storage()
    """How remote files are reached."""

    def parts(self) -> Iterator[RowsPart]:
        """Whole files."""
        for blob in find(self.path, TABLE_SUFFIXES, self.storage):
            yield RowsPart(blob, self.storage, from_row)


def from_row(row: Row, place: str) -> Found:
    """A thread as a document; RefusedError where only bots speak or nothing is said."""
    title, speeches, created = _thread(row)
    people = [(author, text) for author, text in speeches if not _BOT.search(author)]
    if not people:
        raise RefusedError("bot" if speeches else "empty")
    if not speeches or _BOT.search(speeches[0][0]):
        raise RefusedError("bot: it opened the thread")
    people = [(author, _said(text)) for author, text in people]
    names = {
        author: f"username_{n}" for n, author in enumerate(dict.fromkeys(a for a, _ in people))
    }
    names.pop("", None)
    body = "\n\n".join(
        f"{names.get(author, 'username')}: {text}" for author, text in people if text
    )
    if not body:
        raise RefusedError("empty")
    text = _masked(f"{title}\n\n{body}" if title else body, names) + "\n"
    content = text.replace("\0", "").encode()
    repo = text_of(first(row, "repo", "repo_name", "repository", "repository_name"))
    number = text_of(first(row, "issue_number", "number", "issue_id", "id"))
    return Found(
        "adjacent",
        repo.removeprefix("https://github.com/"),
        "",
        f"issues/{number}" if number and repo else place,
        None,  # what people say in an issue is under no license of the repository
        len(content),
        content,
        language="Issue",
        created=created,
    )


def _thread(row: Row) -> tuple[str, list[tuple[str, str]], int | None]:
    """(title, (author, text) in order, when it was opened)."""
    events = row.get("events")
    if isinstance(events, list):
        said = [event for event in events if isinstance(event, dict)]
        title = next((text_of(e.get("title")) for e in said if e.get("title")), "")
        speeches = [(_author(e), text_of(e.get("text"))) for e in said]
        when = next((t for e in said if (t := seconds(e.get("datetime"))) is not None), None)
    else:
        opening = (_author(row), text_of(first(row, "body", "text", "description")))
        comments = first(row, "comments", "comment_list")
        said = [c for c in comments if isinstance(c, dict)] if isinstance(comments, list) else []
        title = text_of(row.get("title"))
        speeches = [opening, *((_author(c), text_of(first(c, "body", "text"))) for c in said)]
        when = seconds(first(row, "created_at", "created", "date"))
    if title or any(text.strip() for _, text in speeches):
        return " ".join(title.split()), speeches, when
    raise RefusedError("empty")


def _author(row: Row) -> str:
    who: Any = first(row, "author", "user", "username", "user_login", "actor")
    if isinstance(who, dict):
        who = first(who, "login", "name", "username")
    return text_of(who)


def _said(text: str) -> str:
    return _REPLY.sub("", _COMMENT.sub("", text)).strip()


def _masked(text: str, names: dict[str, str]) -> str:
    """The text with every name of `names` replaced where it stands as a word or a mention.

    A name that is a common word would be replaced in prose and code: such a name, short or all
    lower case letters without a digit or hyphen, is only replaced where it is a mention.
    """
    if not names:
        return text
    longest = sorted(names, key=len, reverse=True)
    mention = "|".join(map(re.escape, longest))
    folded = {name.lower(): place for name, place in names.items()}
    text = re.sub(
        rf"(?i)(?<![\w.-])@({mention})(?![\w-])",
        lambda match: "@" + folded.get(match[1].lower(), "username"),
        text,
    )
    sharp = [name for name in longest if len(name) > 4 and re.search(r"[\d_-]|.[A-Z]", name)]
    if not sharp:
        return text
    word = "|".join(map(re.escape, sharp))
    return re.sub(rf"(?<![\w-])({word})(?![\w-])", lambda match: names[match[1]], text)
