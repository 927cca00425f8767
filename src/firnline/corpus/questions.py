"""Questions with their answers as documents, the best answer first.

To Code or Not To Code (section 2.1) counts them as code-adjacent. They come from Stack Exchange
dumps (`Posts.xml`, unpacked from their .7z) or from tables, one question to a row.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

from pydantic import BaseModel, ConfigDict, Field

from firnline.corpus.html_text import as_text, looks_like_html
from firnline.corpus.parts import Found, Limits
from firnline.corpus.parts import as_text as name_as_text
from firnline.corpus.rows import RefusedError, Row, RowsPart, first, seconds, text_of
from firnline.corpus.storage import Blob, Storage, find, open_blob
from firnline.corpus.tables import TABLE_SUFFIXES
from firnline.licenses import canonical

_BUCKET = 20_000
"""Question numbers whose posts are put together at once: about 25 MB of Stack Overflow."""
_SPILL_BYTES = 16 << 20
_POST_CHARS = 100_000
"""Stack Exchange allows 30,000. A longer text is not taken apart as HTML: the standard library's
parser needs quadratic time for hostile ones."""

_FIELDS = (
    *("Id", "PostTypeId", "ParentId", "AcceptedAnswerId", "Score", "Title", "Tags", "Body"),
    *("CreationDate", "ContentLicense"),
)
# When Stack Exchange changed the license of what is written: stackoverflow.com/help/licensing.
_LICENSES = (
    (1_525_219_200, "CC-BY-SA-4.0"),  # 2018-05-02
    (1_302_220_800, "CC-BY-SA-3.0"),  # 2011-04-08
    (0, "CC-BY-SA-2.5"),
)


class Choice(BaseModel):
    """Which questions and answers are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    min_question_score: int = 0
    """Questions with a lower score are left out."""
    min_answer_score: int = 0
    """Answers with a lower score are left out, but for the accepted one."""
    max_answers: int = Field(default=5, ge=1)
    """Of each question, the best."""


class QuestionsSource(BaseModel):
    """Stack Exchange dumps, or tables of questions with answers."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["questions"] = "questions"
    path: str
    """A `Posts.xml`, a `.parquet` or `.jsonl` file, a folder or a glob of them; here, or `s3://`,
    `gs://`, `https://`."""
    choice: Choice = Choice()
    """Which questions and answers are kept."""
    site: str | None = None
    """The repository of the documents; null: the name of the folder that holds the dump."""
    storage: Storage = Storage()
    """How remote files are reached."""

    def parts(self) -> Iterator[Dump | RowsPart]:
        """Whole files: the answers of a question may lie anywhere after it."""
        for blob in find(self.path, ("Posts.xml", *TABLE_SUFFIXES), self.storage):
            if blob.name.lower().endswith(".xml"):
                yield Dump(blob, self.storage, self.choice, self.site)
            else:
                convert = partial(from_row, self.choice, self.site)
                yield RowsPart(blob, self.storage, convert)


@dataclass(frozen=True)
class Dump:
    """A part: one `Posts.xml`, read once as a stream.

    Posts go to temporary files by question number and are put together from there, so that memory
    does not grow with the dump; the disk takes about its size.
    """

    blob: Blob
    storage: Storage
    choice: Choice
    site: str | None

    @property
    def name(self) -> str:
        return name_as_text(self.blob.url)

    @property
    def size(self) -> int:
        return self.blob.size

    def fingerprint(self) -> str:
        """Changes with the file and the choice."""
        return f"{self.blob.fingerprint()} {self.choice} {self.site}"

    def files(self, limits: Limits) -> Iterator[Found]:
        site = self.site or name_as_text(Path(self.blob.url).parent.name)
        problem = self.blob.problem
        with tempfile.TemporaryDirectory(prefix="firnline-posts-") as folder:
            if problem is None:
                try:
                    self._spill(Path(folder))
                except ElementTree.ParseError as error:
                    problem = f"unreadable: {error}; the posts before that are kept"
                except OSError as error:
                    problem = f"unreadable: {error.strerror or error}"
            for bucket in sorted(Path(folder).iterdir()):
                yield from _together(bucket, site, self.choice)
        if problem is not None:
            yield Found("adjacent", site, "", self.blob.name, None, self.blob.size, problem=problem)

    def _spill(self, folder: Path) -> None:
        pending: dict[int, list[str]] = {}
        size = 0

        def flush() -> None:
            for bucket, lines in pending.items():
                with (folder / f"{bucket:09d}").open("a", encoding="utf-8") as file:
                    file.writelines(lines)
            pending.clear()

        try:
            with open_blob(self.blob, self.storage) as file:
                for post in _posts(file):
                    question = int(post["ParentId"] if post["PostTypeId"] == "2" else post["Id"])
                    line = json.dumps([question, post]) + "\n"
                    pending.setdefault(question // _BUCKET, []).append(line)
                    size += len(line)
                    if size > _SPILL_BYTES:
                        flush()
                        size = 0
        finally:
            flush()


def _posts(file: Any) -> Iterator[dict[str, str]]:
    """The attributes of questions and answers, as a stream. What lacks its numbers is passed by."""
    root = None
    for event, element in ElementTree.iterparse(file, events=("start", "end")):
        if event == "start":
            root = element if root is None else root
            continue
        if element.tag == "row" and root is not None:
            post = {key: element.attrib[key] for key in _FIELDS if key in element.attrib}
            numbers = ["Id", "ParentId"] if post.get("PostTypeId") == "2" else ["Id"]
            whole = all(
                post.get(key, "").isascii() and post.get(key, "").isdigit() for key in numbers
            )
            if post.get("PostTypeId") in ("1", "2") and whole:
                yield post
            root.clear()


def _together(bucket: Path, site: str, choice: Choice) -> Iterator[Found]:
    questions: dict[int, dict[str, str]] = {}
    answers: dict[int, list[dict[str, str]]] = {}
    with bucket.open(encoding="utf-8") as file:
        for line in file:
            number, post = json.loads(line)
            if post["PostTypeId"] == "1":
                questions[number] = post
            else:
                answers.setdefault(number, []).append(post)
    for number in sorted(questions):
        post = questions[number]
        path = f"questions/{number}"
        created = seconds(post.get("CreationDate"))
        spdx = _license(post, created)
        given = [
            Answer(
                as_text(answer.get("Body", "")),
                _score(answer.get("Score")),
                answer["Id"] == post.get("AcceptedAnswerId"),
                int(answer["Id"]),
                _license(answer, seconds(answer.get("CreationDate"))),
            )
            for answer in answers.get(number, [])
        ]
        title = " ".join(post.get("Title", "").split())
        tags = ", ".join(post.get("Tags", "").strip("<>|").replace("><", "|").split("|"))
        asked = Asked(title, as_text(post.get("Body", "")), tags, _score(post.get("Score")))
        try:
            content, licenses = document(asked, spdx, given, choice)
        except RefusedError as error:
            yield Found("adjacent", site, "", path, spdx, 0, created=created, problem=str(error))
            continue
        yield Found(
            "adjacent",
            site,
            "",
            path,
            licenses,
            len(content),
            content,
            language="Question",
            created=created,
        )


@dataclass(frozen=True)
class Asked:
    """A question: title, text, tags (joined by commas) and score."""

    title: str
    text: str
    tags: str
    score: int


@dataclass(frozen=True)
class Answer:
    """An answer. `number` breaks ties between equal scores."""

    text: str
    score: int
    accepted: bool
    number: int
    license: str | None


def document(
    asked: Asked, spdx: str | None, answers: list[Answer], choice: Choice
) -> tuple[bytes, str | None]:
    """(text, license) of a question with its answers; RefusedError where it is not to be kept."""
    if asked.score < choice.min_question_score:
        raise RefusedError(f"low_score: {asked.score}")
    good = [a for a in answers if a.text and (a.accepted or a.score >= choice.min_answer_score)]
    if not good:
        raise RefusedError(f"unanswered: {len(answers)} answers, none of them good enough")
    good.sort(key=lambda answer: (-answer.score, not answer.accepted, answer.number))
    kept = good[: choice.max_answers]
    if not asked.text and not asked.title:
        raise RefusedError("empty")
    parts = [part for part in (asked.title, asked.text) if part]
    if asked.tags:
        parts.append(f"Tags: {asked.tags}")
    for answer in kept:
        parts.append(f"Answer{' (accepted)' if answer.accepted else ''}:\n\n{answer.text}")
    text = ("\n\n".join(parts) + "\n").replace("\0", "")
    named = [one for one in (spdx, *(answer.license for answer in kept)) if one]
    license_all = canonical(" AND ".join(dict.fromkeys(named))) if named else None
    return text.encode("utf-8", "replace"), license_all


def from_row(choice: Choice, site: str | None, row: Row, place: str) -> Found:
    """A row with a question and its answers as a document."""
    said = first(row, "question", "body", "question_body", "text")
    if isinstance(said, dict):
        row = {**row, **said}
        said = first(said, "text", "body")
    title = " ".join(text_of(first(row, "title", "question_title")).split())
    given = first(row, "answers", "answer", "response")
    listed = given if isinstance(given, list) else [given] if given is not None else []
    answers = [_answer(one, number) for number, one in enumerate(listed)]
    stated = first(row, "license", "content_license")
    spdx = canonical(stated.replace("CC BY-SA ", "CC-BY-SA-")) if isinstance(stated, str) else None
    tags = first(row, "tags")
    tags = ", ".join(text_of(t) for t in tags) if isinstance(tags, list) else text_of(tags)
    score = first(row, "score", "question_score")
    asked = Asked(title, _plain(text_of(said)), tags, _score(score))
    content, license_all = document(asked, spdx, answers, choice)
    number = text_of(first(row, "qid", "question_id", "id"))
    created = seconds(first(row, "date", "created", "creation_date"))
    repo = site or text_of(first(row, "site", "source", "repo"))
    return Found(
        "adjacent",
        repo,
        "",
        f"questions/{number}" if number and repo else place,
        license_all,
        len(content),
        content,
        language="Question",
        created=created,
    )


def _answer(given: Any, number: int) -> Answer:
    if not isinstance(given, dict):
        return Answer(_plain(text_of(given)), 0, False, number, None)
    chosen = first(given, "selected", "accepted", "is_accepted")
    score = _score(first(given, "score", "pm_score"))
    return Answer(
        _plain(text_of(first(given, "text", "body"))), score, chosen is True, number, None
    )


def _plain(text: str) -> str:
    return as_text(text) if len(text) < _POST_CHARS and looks_like_html(text) else text.strip()


def _score(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def _license(post: dict[str, str], created: int | None) -> str | None:
    stated = post.get("ContentLicense")
    if stated:
        return canonical(stated.strip().replace("CC BY-SA ", "CC-BY-SA-"))
    if created is None:
        return None
    return next(spdx for since, spdx in _LICENSES if created >= since)
