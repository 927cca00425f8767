"""Code-adjacent sources: commits, issues, questions with answers."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firnline.corpus import questions
from firnline.corpus.commits import CommitsSource, cleaned
from firnline.corpus.html_text import as_text
from firnline.corpus.issues import IssuesSource
from firnline.corpus.parts import Found, Limits
from firnline.corpus.questions import QuestionsSource
from firnline.corpus.stage import IngestConfig, run
from firnline.documents import document_shards, ledger_shards
from firnline.errors import FirnlineError


def found(source: Any) -> list[Found]:
    return [file for part in source.parts() for file in part.files(Limits())]


def texts(source: Any) -> list[str]:
    return [file.content.decode() for file in found(source) if file.content is not None]


def problems(source: Any) -> list[str]:
    return [file.problem for file in found(source) if file.problem is not None]


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# Commits


def commits(path: Path, **bounds: int) -> CommitsSource:
    bounds = {"min_message_words": 1, **bounds}
    return CommitsSource.model_validate({"path": str(path), "bounds": bounds})


def git(repo: Path, *arguments: str, author: str = "Ann") -> str:
    identity = ["-c", f"user.name={author}", "-c", "user.email=ann@example.org"]
    done = subprocess.run(
        ["git", "-C", str(repo), *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def commit(
    repo: Path, message: str, files: dict[str, str | bytes | None], author: str = "Ann"
) -> None:
    for name, content in files.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            (repo / name).unlink()
        elif isinstance(content, bytes):
            (repo / name).write_bytes(content)
        else:
            (repo / name).write_text(content)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", message, author=author)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    lines = [f"line {number}\n" for number in range(30)]
    commit(repo, "Start", {"a.py": "".join(lines), "LICENSE": "Apache License\nVersion 2.0"})
    lines[10] = "changed\n"
    trailers = "Fix it\n\nBecause.\n\nSigned-off-by: Ann <ann@example.org>\nCc: bob@example.org\n"
    commit(repo, trailers, {"a.py": "".join(lines), "p.png": b"\x89PNG\0\0"})
    commit(repo, "Bump", {"b.txt": "1\n"}, author="dependabot[bot]")
    commit(repo, "Picture", {"p.png": b"\x89PNG\0\1"})
    commit(repo, "Many", {f"f{number}.txt": "x\n" for number in range(25)})
    commit(
        repo, "Move and end without a newline", {"b.txt": None, "c.txt": "1\n", "d.txt": "no end"}
    )
    git(repo, "checkout", "-q", "-b", "side", "HEAD~1")
    commit(repo, "Side", {"s.txt": "s\n"})
    git(repo, "checkout", "-q", "main")
    git(repo, "merge", "-q", "--no-ff", "-m", "Merge side", "side")
    return repo


def test_a_commit_is_its_message_then_a_unified_diff(repository: Path) -> None:
    kept = {f.content.split(b"\n")[0].decode(): f for f in found(commits(repository)) if f.content}
    assert set(kept) == {"Start", "Fix it", "Move and end without a newline", "Side"}
    fix = kept["Fix it"]
    assert fix.content == (
        b"Fix it\n\nBecause.\n\ndiff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n"
        b"@@ -8,7 +8,7 @@ line 6\n line 7\n line 8\n line 9\n-line 10\n"
        b"+changed\n line 11\n line 12\n line 13\n"
    )
    assert (fix.source, fix.language, fix.license) == ("adjacent", "Commit", "Apache-2.0")
    assert fix.path == f"commits/{fix.revision}"
    move = kept["Move and end without a newline"].content
    assert move is not None
    assert (
        b"--- /dev/null\n+++ b/d.txt\n@@ -0,0 +1 @@\n+no end\n\\ No newline at end of file\n"
        in move
    )
    assert all(b"example.org" not in (f.content or b"") for f in kept.values())


def test_what_is_left_out_has_its_reason(repository: Path) -> None:
    rules = sorted(problem.split(":")[0] for problem in problems(commits(repository)))
    assert rules == ["bot", "many_files", "merge", "no_text_change"]
    few = commits(repository, max_files=1)
    assert sum(p.startswith("many_files") for p in problems(few)) == 4
    words = commits(repository, min_message_words=3)
    assert "short_message: 1 words, limit 3" in problems(words)


def test_the_diff_applies(repository: Path, tmp_path: Path) -> None:
    """`git apply` takes each document's diff from the parent's tree to the commit's."""
    for file in found(commits(repository)):
        if file.content is None:
            continue
        tree = tmp_path / file.revision
        git(repository, "worktree", "add", "-q", "--detach", str(tree), file.revision)
        parents = git(repository, "rev-list", "--parents", "-n1", file.revision).split()[1:]
        git(tree, "reset", "-q", "--hard", parents[0]) if parents else git(tree, "rm", "-qrf", ".")
        (tmp_path / "patch").write_bytes(file.content[file.content.index(b"diff --git ") :])
        git(tree, "apply", str(tmp_path / "patch"))
        git(tree, "add", "-A")
        changed = git(tree, "diff", "--cached", "--stat", file.revision, "--", "*.py", "*.txt")
        assert changed == ""


def test_a_table_with_commitpack_columns(tmp_path: Path) -> None:
    row = {
        "commit": "ab12",
        "old_file": "x.py",
        "new_file": "x.py",
        "old_contents": "a = 1\nb = 2\n",
        "new_contents": "a = 1\nb = 3\n",
        "subject": "Set b",
        "message": "Set b\n\nSigned-off-by: A <a@example.org>",
        "lang": "Python",
        "license": "mit",
        "repos": "snow/firn,fork/firn",
    }
    bad = {**row, "old_contents": None}
    same = {**row, "new_contents": row["old_contents"]}
    path = jsonl(tmp_path / "c.jsonl", row, bad, same)
    (one, two, three) = found(commits(path))
    text = (
        b"Set b\n\ndiff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n"
        b"@@ -1,2 +1,2 @@\n a = 1\n-b = 2\n+b = 3\n"
    )
    assert (one.content, one.repo, one.revision, one.license) == (text, "snow/firn", "ab12", "MIT")
    assert str(two.problem).startswith("no_content")
    assert three.problem == "no_text_change"
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "c.parquet")
    assert texts(commits(tmp_path / "c.parquet")) == [text.decode()]


@given(st.text(max_size=200))
def test_no_address_is_left_in_a_message(text: str) -> None:
    assert "someone@example.org" not in cleaned(f"{text} someone@example.org {text}")


def test_a_repository_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FirnlineError, match="no git repository"):
        found(CommitsSource(path=str(tmp_path)))


# Issues

EVENTS = {
    "repo": "snow/firn",
    "issue_number": 7,
    "events": [
        {"author": "AnnPerson", "type": "issue", "action": "opened", "title": "It  breaks",
         "text": "Line one\r\nsee @bob-9\n<!-- fill in -->", "datetime": "2021-01-02T00:00:00Z"},
        {"author": "codecov[bot]", "type": "comment", "text": "Coverage 99%"},
        {"author": "bob-9", "type": "comment", "text": "AnnPerson is right\n\nOn May 1 X wrote:\n"},
        {"author": "AnnPerson", "type": "comment", "text": "Thanks @Bob-9, `bob-9`"},
    ],
}  # fmt: skip


def test_a_thread_keeps_its_order_and_hides_its_people(tmp_path: Path) -> None:
    (file,) = found(IssuesSource(path=str(jsonl(tmp_path / "i.jsonl", EVENTS))))
    assert file.content is not None
    assert file.content.decode() == (
        "It breaks\n\nusername_0: Line one\nsee @username_1\n\nusername_1: username_0 is right\n\n"
        "username_0: Thanks @username_1, `username_1`\n"
    )
    assert (file.repo, file.path, file.created) == ("snow/firn", "issues/7", 1609545600)
    assert (file.source, file.language, file.license) == ("adjacent", "Issue", None)


def test_titles_bodies_and_comments_from_parquet_and_jsonl_alike(tmp_path: Path) -> None:
    row = {
        "title": "T", "body": "B", "user": {"login": "x"}, "repository": "a/b", "number": 3,
        "comments": [{"user": {"login": "y"}, "body": "C", "created_at": "2020-01-01T00:00:00Z"}],
    }  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "i.parquet")
    jsonl(tmp_path / "i.jsonl", row)
    expected = ["T\n\nusername_0: B\n\nusername_1: C\n"]
    assert texts(IssuesSource(path=str(tmp_path / "i.parquet"))) == expected
    assert texts(IssuesSource(path=str(tmp_path / "i.jsonl"))) == expected


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"title": "Bump", "body": "x", "user": {"login": "dependabot[bot]"}}, "bot"),
        ({"title": "", "body": None}, "empty"),
        ({"events": [{"author": "a", "text": "  "}]}, "empty"),
        ({"events": "odd", "body": 3.5}, None),
        ({}, "empty"),
    ],
)
def test_threads_that_are_left_out(tmp_path: Path, row: dict[str, Any], rule: str | None) -> None:
    (file,) = found(IssuesSource(path=str(jsonl(tmp_path / "i.jsonl", row))))
    assert (file.problem or "").split(":")[0] == (rule or "")


def test_lines_that_are_no_rows_are_ledger_rows(tmp_path: Path) -> None:
    path = tmp_path / "i.jsonl"
    path.write_bytes(b'{broken\n[1]\n\xff\n\n{"title": "t", "body": "fine", "author": "a"}')
    kept, lost = texts(IssuesSource(path=str(path))), problems(IssuesSource(path=str(path)))
    assert kept == ["t\n\nusername_0: fine\n"]
    assert [problem.split(":")[0] for problem in lost] == ["unreadable"] * 3
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    assert problems(IssuesSource(path=str(tmp_path / "x.parquet")))[0].startswith("unreadable")


# Questions


def posts(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        "  <row " + " ".join(f"{k}={quoteattr(str(v))}" for k, v in row.items()) + " />"
        for row in rows
    ]
    head = '<?xml version="1.0" encoding="utf-8"?>\n<posts>\n'
    path.write_text(head + "\n".join(lines) + "\n</posts>\n", encoding="utf-8")
    return path


def question(number: int, **more: Any) -> dict[str, Any]:
    row = {"Id": number, "PostTypeId": 1, "Score": 3, "Title": f"Q{number}", "Body": "<p>Why?</p>",
           "Tags": "<python><regex>", "CreationDate": "2012-05-01T00:00:00.000"}  # fmt: skip
    return {**row, **more}


def answer(number: int, parent: int, score: int, **more: Any) -> dict[str, Any]:
    row = {"Id": number, "PostTypeId": 2, "ParentId": parent, "Score": score,
           "Body": f"<p>A{number}</p>", "CreationDate": "2019-05-01T00:00:00.000"}  # fmt: skip
    return {**row, **more}


def test_answers_come_by_score_wherever_they_lie_in_the_dump(tmp_path: Path) -> None:
    rows = [
        question(1, AcceptedAnswerId=5),
        question(2),
        answer(3, 1, 2),
        answer(4, 1, 9),
        question(20_001),
        answer(5, 1, -4),
        answer(6, 20_001, 0),
        answer(7, 1, -1),
        {"Id": 8, "PostTypeId": 5, "Body": "wiki"},
        {"Id": "x", "PostTypeId": 1},
    ]
    path = posts(tmp_path / "code.example" / "Posts.xml", *rows)
    files = found(QuestionsSource(path=str(path.parent)))
    assert [(f.path, f.problem) for f in files] == [
        ("questions/1", None),
        ("questions/2", "unanswered: 0 answers, none of them good enough"),
        ("questions/20001", None),
    ]
    first = files[0]
    assert first.content is not None
    assert first.content.decode() == (
        "Q1\n\nWhy?\n\nTags: python, regex\n\nAnswer:\n\nA4\n\nAnswer:\n\nA3\n\n"
        "Answer (accepted):\n\nA5\n"
    )
    assert (first.repo, first.license) == ("code.example", "CC-BY-SA-3.0 AND CC-BY-SA-4.0")
    assert first.created == 1335830400


def test_spilling_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shuffle = random.Random(1)
    rows = [question(number) for number in range(1, 400)]
    rows += [answer(1000 + n, shuffle.randrange(1, 400), shuffle.randrange(9)) for n in range(900)]
    shuffle.shuffle(rows)
    source = QuestionsSource(path=str(posts(tmp_path / "s" / "Posts.xml", *rows)))
    whole = found(source)
    monkeypatch.setattr(questions, "_SPILL_BYTES", 2000)
    assert found(source) == whole
    monkeypatch.setattr(questions, "_BUCKET", 7)
    assert found(source) == whole


def test_a_dump_cut_short_keeps_what_came_before(tmp_path: Path) -> None:
    path = posts(tmp_path / "s" / "Posts.xml", question(1), answer(2, 1, 3), question(3))
    path.write_bytes(path.read_bytes()[:-60])
    files = found(QuestionsSource(path=str(path)))
    assert files[0].content is not None
    assert str(files[-1].problem).startswith("unreadable")


def test_entities_do_not_blow_up(tmp_path: Path) -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">'
    bomb += "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    path = tmp_path / "Posts.xml"
    path.write_text(bomb + ']><posts><row Id="1" PostTypeId="1" Body="&a11;"/></posts>')
    (file,) = found(QuestionsSource(path=str(path)))
    assert str(file.problem).startswith("unreadable")


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            {"qid": 4, "question": "How?", "answers": [
                {"text": "b", "pm_score": 1, "selected": False},
                {"text": "<p>a <code>x</code></p>", "pm_score": 5, "selected": True}]},
            "How?\n\nAnswer (accepted):\n\na `x`\n\nAnswer:\n\nb\n",
        ),
        ({"title": "T", "body": "B", "answer": "A", "tags": ["x", "y"]},
         "T\n\nB\n\nTags: x, y\n\nAnswer:\n\nA\n"),
        ({"question": {"title": "T", "text": "B", "score": 2}, "answers": ["A"]},
         "T\n\nB\n\nAnswer:\n\nA\n"),
    ],
)  # fmt: skip
def test_questions_from_tables(tmp_path: Path, row: dict[str, Any], text: str) -> None:
    assert texts(QuestionsSource(path=str(jsonl(tmp_path / "q.jsonl", row)))) == [text]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>a &lt;b&gt; &amp; c</p><p>d\n e</p>", "a <b> & c\n\nd e"),
        ("<pre><code>if a:\n    b &lt; c\n</code></pre>", "```\nif a:\n    b < c\n```"),
        ("<p>use <code>x</code>:</p><ul><li>one</li><li>two</li></ul><p>end</p>",
         "use `x`:\n\n- one\n- two\n\nend"),
        ("<ol><li>a</li><li>b</li></ol>", "1. a\n2. b"),
        ("<blockquote><p>said</p><pre>x\ny</pre></blockquote><p>ok</p>",
         "> said\n\n> ```\n> x\n> y\n> ```\n\nok"),
        ('<h2>H</h2><a href="http://x">link</a> <img src="y"><script>z</script>', "## H\n\nlink"),
        ("no tags", "no tags"),
        ("<pre>left open", "```\nleft open\n```"),
        ("</blockquote></ul></pre>x", "x"),
    ],
)  # fmt: skip
def test_html_becomes_text(html: str, text: str) -> None:
    assert as_text(html) == text


# All through ingest


def test_fingerprints_change_with_the_options_and_not_with_the_process(tmp_path: Path) -> None:
    path = str(jsonl(tmp_path / "t.jsonl", EVENTS))
    sources: list[Any] = [
        IssuesSource(path=path),
        commits(Path(path)),
        commits(Path(path), max_files=3),
        QuestionsSource(path=path),
        QuestionsSource(path=path, site="x"),
        QuestionsSource.model_validate({"path": path, "choice": {"max_answers": 1}}),
    ]
    marks = [part.fingerprint() for source in sources for part in source.parts()]
    assert len(set(marks)) == len(marks)
    assert not any(" at 0x" in mark for mark in marks)


def test_adjacent_sources_through_ingest(tmp_path: Path, repository: Path) -> None:
    jsonl(tmp_path / "i.jsonl", EVENTS)
    posts(tmp_path / "site" / "Posts.xml", question(1), answer(2, 1, 3))
    sources = [
        {"kind": "commits", "path": str(repository), "bounds": {"min_message_words": 1}},
        {"kind": "issues", "path": str(tmp_path / "i.jsonl")},
        {"kind": "questions", "path": str(tmp_path / "site")},
    ]
    out = run(IngestConfig.model_validate({"sources": sources}), tmp_path / "out", workers=1).folder
    data = [row for path in document_shards(out) for row in pq.read_table(path).to_pylist()]
    ledger = [row for path in ledger_shards(out) for row in pq.read_table(path).to_pylist()]
    languages = [row["language"] for row in data]
    assert languages == ["Commit"] * 4 + ["Issue", "Question"]
    assert {row["source"] for row in data} == {"adjacent"}
    assert len({row["id"] for row in ledger}) == len(ledger)
    assert {row["rule"] for row in ledger} == {None, "bot", "many_files", "merge", "no_text_change"}
