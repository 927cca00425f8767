"""Trackers read back: TensorBoard's files, W&B's protocol and its offline files, and failures."""

from __future__ import annotations

import importlib.machinery
import math
import os
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from firnline.errors import FirnlineError
from firnline.training import tracking
from firnline.training.metrics import MetricsFile, truncate
from firnline.training.tracking import Trackers, TrackingConfig, WandbConfig

INSTALL = "pip install 'firnline[tracking]'"


def row(step: int, loss: float) -> dict[str, Any]:
    return {"step": step, "loss": loss, "tokens": 64 * step, "skipped": "", "gradient_norm": 1.0}


def phase(folder: Path, config: TrackingConfig, losses: dict[int, float]) -> None:
    """Writes rows as the loop does: into the file, then into the trackers."""
    trackers = Trackers(config, folder, phase="alpha", settings={"seed": 7})
    file = MetricsFile(folder / "metrics.jsonl")
    for step, loss in losses.items():
        file.write(row(step, loss))
        trackers.write(row(step, loss))
    file.close()
    trackers.close()


class Run:
    """A run of W&B as `wandb.init` returns it, which keeps what it is given."""

    def __init__(self, arguments: dict[str, Any], fail_at: int | None) -> None:
        self.arguments, self.fail_at = arguments, fail_at
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.finished = False

    def log(self, values: dict[str, float], *, step: int) -> None:
        if step == self.fail_at:
            raise ConnectionError("the server said 503\nand more")
        self.rows.append((step, values))

    def finish(self) -> None:
        self.finished = True


class Wandb(ModuleType):
    """Stands in for the package; refuses settings that it does not know."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
        self.runs: list[Run] = []
        self.fail_at: int | None = None
        self.reports_errors = True

    def Settings(self, **settings: Any) -> dict[str, Any]:
        return settings

    def init(self, **arguments: Any) -> Run:
        self.reports_errors = os.environ.get("WANDB_ERROR_REPORTING") != "false"
        self.runs.append(Run(arguments, self.fail_at))
        return self.runs[-1]


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    module = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_ERROR_REPORTING", raising=False)
    monkeypatch.setenv("WANDB_MODE", "online")  # the environment does not decide
    return module


OFFLINE = TrackingConfig(wandb=WandbConfig(project="snow"))


def test_wandb_gets_each_row_and_nothing_is_sent(wandb: Wandb, tmp_path: Path) -> None:
    phase(tmp_path, OFFLINE, {1: 5.0, 2: math.nan})
    (run,) = wandb.runs
    assert run.finished and not wandb.reports_errors
    assert run.rows == [
        (1, {"loss": 5.0, "tokens": 64.0, "gradient_norm": 1.0}),
        (2, {"tokens": 128.0, "gradient_norm": 1.0}),
    ]
    given = run.arguments
    assert (given["mode"], given["project"], given["group"]) == ("offline", "snow", "alpha")
    assert (given["dir"], given["config"]) == (str(tmp_path), {"seed": 7})
    silent = ("disable_code", "disable_git", "x_disable_meta", "x_disable_machine_info")
    assert all(given["settings"][key] for key in silent)


def test_sending_must_be_asked_for(wandb: Wandb, tmp_path: Path) -> None:
    config = TrackingConfig(wandb=WandbConfig(project="snow", entity="ice", mode="online"))
    phase(tmp_path, config, {1: 5.0})
    assert (wandb.runs[0].arguments["mode"], wandb.runs[0].arguments["entity"]) == ("online", "ice")


def test_a_resumed_phase_shows_its_rows_once(wandb: Wandb, tmp_path: Path) -> None:
    """Killed after step 4, it goes on from the state of step 2: steps 3 and 4 are replaced."""
    phase(tmp_path, OFFLINE, {1: 5.0, 2: 4.0, 3: 3.0, 4: 2.0})
    truncate(tmp_path / "metrics.jsonl", 2)
    phase(tmp_path, OFFLINE, {3: 3.5, 4: 2.5})
    found = [(step, values["loss"]) for step, values in wandb.runs[-1].rows]
    assert found == [(1, 5.0), (2, 4.0), (3, 3.5), (4, 2.5)]
    assert {run.arguments["group"] for run in wandb.runs} == {"alpha"}


def test_a_tracker_that_fails_is_dropped_with_a_line(
    wandb: Wandb, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb.fail_at = 2
    phase(tmp_path, OFFLINE, {1: 5.0, 2: 4.0, 3: 3.0})
    assert [step for step, _ in wandb.runs[0].rows] == [1]
    assert capsys.readouterr().err.splitlines() == [
        "wandb failed and is left out from here on: the server said 503; metrics.jsonl goes on"
    ]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_tracker_that_cannot_begin_or_end_does_not_stop_training(
    wandb: Wandb,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: Any, **__: Any) -> Run:
        raise ValueError("no key")

    monkeypatch.setattr(Run, "finish", refuse)
    phase(tmp_path, OFFLINE, {1: 5.0})
    assert "wandb failed and is left out from here on: no key" in capsys.readouterr().err
    monkeypatch.setattr(wandb, "init", refuse)
    phase(tmp_path, OFFLINE, {2: 5.0})
    assert "wandb failed and is left out from here on: no key" in capsys.readouterr().err


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    phase(tmp_path, TrackingConfig(), {1: 5.0})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_what_is_not_installed_is_said_before_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    config = TrackingConfig(tensorboard=True, wandb=WandbConfig(project="snow"))
    with pytest.raises(FirnlineError, match=r"needs tensorboard and wandb.*firnline\[tracking\]"):
        Trackers(config, tmp_path, phase="alpha", settings={})


@pytest.mark.parametrize(
    "bad", [{"wandb": {}}, {"wandb": {"project": ""}}, {"wandb": {"project": "p", "mode": "on"}}]
)
def test_a_meaningless_config_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrackingConfig.model_validate(bad)


def test_tensorboard_s_files_hold_the_rows_of_a_resumed_phase(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason=INSTALL
    )
    config = TrackingConfig(tensorboard=True)
    phase(tmp_path, config, {1: 5.0, 2: 4.0, 3: 3.0, 4: math.nan})
    truncate(tmp_path / "metrics.jsonl", 2)
    phase(tmp_path, config, {3: 3.5, 4: 2.5})
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["gradient_norm", "loss", "tokens"]
    found = [(event.step, event.value) for event in events.Scalars("loss")]
    assert found == [(1, 5.0), (2, 4.0), (3, 3.5), (4, 2.5)]


def test_wandb_s_offline_files_hold_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason=INSTALL)
    from wandb.proto import wandb_internal_pb2

    monkeypatch.delenv("WANDB_MODE", raising=False)
    phase(tmp_path, OFFLINE, {1: 5.0, 2: 4.0})
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    data, place, found = path.read_bytes(), 7, []
    assert data[:4] == b":W&B" and len(data) < 1 << 15  # one block of LevelDB's log format
    while place < len(data):
        _, length, kind = struct.unpack_from("<IHB", data, place)
        assert kind == 1  # a whole record
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data[place + 7 : place + 7 + length])
        place += 7 + length
        if record.HasField("history"):
            items = {(i.key or i.nested_key[0]): i.value_json for i in record.history.item}
            found.append((int(items["_step"]), float(items["loss"])))
    assert found == [(1, 5.0), (2, 4.0)]
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert not names & {"code", "diff.patch", "wandb-metadata.json"}
