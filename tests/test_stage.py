"""Stage folders: skip, resume, atomic finish, refusal of folders that are not ours."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from firnline.errors import FirnlineError
from firnline.stage import Workspace, fingerprint, run_stage


class Config(BaseModel):
    seed: int = 0
    factor: int = 2


def body(workspace: Workspace) -> dict[str, int]:
    rows = workspace.map("square", _square, {"a": 3, "b": 4})
    (workspace.folder / "result.txt").write_text(str(sum(row["n"] for row in rows.values())))
    return {"items": len(rows)}


def _square(n: int) -> dict[str, int]:
    return {"n": n * n}


def test_a_finished_stage_is_skipped_until_its_config_changes(tmp_path: Path) -> None:
    out = tmp_path / "stage"
    first = run_stage("test", Config(), {}, out, body, room="corpus")
    assert (out / "result.txt").read_text() == "25"
    assert not first.skipped
    assert first.stats == {"items": 2}
    assert run_stage("test", Config(), {}, out, body, room="corpus").skipped
    assert not run_stage("test", Config(factor=3), {}, out, body, room="corpus").skipped
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"stage", ".stage.lock"}
    assert sorted(p.name for p in out.iterdir()) == ["manifest.json", "result.txt", "stats.json"]


def test_a_changed_input_runs_the_stage_again(tmp_path: Path) -> None:
    source = tmp_path / "input.txt"
    source.write_text("one")
    inputs: dict[str, Path | str] = {"source": source}
    run_stage("test", Config(), inputs, tmp_path / "out", body, room="corpus")
    assert run_stage("test", Config(), inputs, tmp_path / "out", body, room="corpus").skipped
    source.write_text("other")
    assert not run_stage("test", Config(), inputs, tmp_path / "out", body, room="corpus").skipped


def test_a_failed_stage_leaves_no_folder_and_resumes_its_items(tmp_path: Path) -> None:
    seen: list[str] = []

    def failing(workspace: Workspace) -> dict[str, int]:
        workspace.workers = 1
        workspace.map("square", _square, {"a": 1, "b": 2})
        seen.append("mapped")
        if len(seen) == 1:
            raise RuntimeError("stopped")
        return {}

    with pytest.raises(RuntimeError, match="stopped"):
        run_stage("test", Config(), {}, tmp_path / "out", failing, room="corpus")
    assert not (tmp_path / "out").exists()
    part = tmp_path / ".out.partial" / "parts" / "square" / "a.json"
    part.write_text(json.dumps({"n": 100}))  # a finished item is not computed again

    def checking(workspace: Workspace) -> dict[str, int]:
        rows = workspace.map("square", _square, {"a": 1, "b": 2})
        return {"sum": sum(row["n"] for row in rows.values())}

    result = run_stage("test", Config(), {}, tmp_path / "out", checking, room="corpus")
    assert result.stats == {"sum": 104}


class Settings(BaseModel):
    steps: int = 5
    spikes: dict[str, str] = {}


def test_work_that_is_too_dear_is_not_thrown_away_for_another_setting(tmp_path: Path) -> None:
    work = tmp_path / ".out.partial"

    def stopped(workspace: Workspace) -> dict[str, int]:
        (workspace.folder / "state.json").write_text("days of work")
        raise RuntimeError("stopped")

    def going_on(workspace: Workspace) -> dict[str, int]:
        return {"found": int((workspace.folder / "state.json").exists())}

    def again(config: Settings, body: Callable[[Workspace], dict[str, int]] = going_on) -> Any:
        out = tmp_path / "out"
        return run_stage(
            "test", config, {}, out, body, room="corpus", keep="state*", may_change="spikes"
        ).stats

    with pytest.raises(RuntimeError, match="stopped"):
        again(Settings(), stopped)
    with pytest.raises(FirnlineError, match=r"test was stopped in .*\.out\.partial and") as caught:
        again(Settings(steps=6))
    assert caught.value.details == ("config.steps: 5 there, 6 here",)
    assert (work / "state.json").read_text() == "days of work"
    assert again(Settings(spikes={"not_finite": "skip"})) == {"found": 1}

    with pytest.raises(RuntimeError, match="stopped"):
        again(Settings(steps=7), stopped)
    (work / "intended.json").unlink()
    assert again(Settings(steps=8)) == {"found": 1}


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FirnlineError, match="not a Firnline stage folder"):
        run_stage("test", Config(), {}, tmp_path, body, room="corpus")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_full_disk_is_one_line_and_keeps_finished_shards(tmp_path: Path) -> None:
    def full(workspace: Workspace) -> dict[str, int]:
        workspace.map("square", _square, {"a": 1})
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(FirnlineError, match="the disk is full") as caught:
        run_stage("test", Config(), {}, tmp_path / "out", full, room="corpus")
    assert "\n" not in str(caught.value)
    assert (tmp_path / ".out.partial" / "parts" / "square" / "a.json").exists()


def test_a_kill_while_renaming_is_healed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_stage("test", Config(), {}, out, body, room="corpus")
    out.rename(tmp_path / ".out.partial")  # as if killed just before the last rename
    result = run_stage("test", Config(), {}, out, body, room="corpus")
    assert (out / "result.txt").read_text() == "25"
    assert not (tmp_path / ".out.partial").exists()
    assert result.stats == {"items": 2}


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from pydantic import BaseModel
        from firnline.stage import run_stage
        class Empty(BaseModel): pass
        def body(workspace):
            print("in", flush=True)
            time.sleep(60)
            return {}
        run_stage("test", Empty(), {}, Path(sys.argv[1]), body, room="corpus")
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"in\n"
    try:
        with pytest.raises(FirnlineError, match="another process"):
            run_stage("test", Config(), {}, tmp_path / "out", body, room="corpus")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    run_stage("test", Config(), {}, tmp_path / "out", body, room="corpus")


def test_fingerprint_of_a_missing_input_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FirnlineError, match="no such file or folder"):
        fingerprint(tmp_path / "absent")


def test_a_folder_inside_a_finished_stage_is_known_by_the_stage(tmp_path: Path) -> None:
    def with_folder(workspace: Workspace) -> dict[str, int]:
        (workspace.folder / "inside").mkdir()
        (workspace.folder / "inside" / "weights").write_text("1")
        return {}

    out = tmp_path / "stage"
    run_stage("test", Config(), {}, out, with_folder, room="corpus")
    before = fingerprint(out / "inside")
    assert before != fingerprint(out)
    (out / "inside" / "weights").touch()  # as a copy would
    assert fingerprint(out / "inside") == before
    run_stage("test", Config(factor=3), {}, out, with_folder, room="corpus")
    assert fingerprint(out / "inside") != before


def test_a_manifest_of_something_else_is_a_file_like_any(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "part").write_text("one")
    before = fingerprint(tmp_path), fingerprint(tmp_path / "data")
    (tmp_path / "data" / "part").write_text("other")
    assert before[0] != fingerprint(tmp_path)
    assert before[1] != fingerprint(tmp_path / "data")
