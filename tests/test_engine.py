"""The engine: order, errors with their type, telemetry off before the import."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from firnline import engine
from firnline.errors import FirnlineError


def _work(n: int) -> tuple[int, int]:
    if n == 7:
        raise FirnlineError("seven is refused", mend="give another")
    return n * n, os.getpid()


def test_results_keep_the_order_and_come_from_several_processes() -> None:
    results = list(engine.map_items(_work, [5, 3, 9, 1], workers=2))
    assert [value for value, _ in results] == [25, 9, 81, 1]
    assert os.getpid() not in {pid for _, pid in results}


def test_one_worker_stays_in_this_process() -> None:
    assert list(engine.map_items(_work, [2, 3], workers=1)) == [(4, os.getpid()), (9, os.getpid())]
    assert list(engine.map_items(_work, [], workers=4)) == []


def test_work_that_allows_threads_stays_in_this_process_and_in_order() -> None:
    def slow_then_fast(number: int) -> tuple[int, int]:
        time.sleep(0.05 if number % 2 == 0 else 0.0)
        return number, os.getpid()

    found = list(engine.map_items(slow_then_fast, range(8), workers=2, threads=True))
    assert found == [(number, os.getpid()) for number in range(8)]


@pytest.mark.parametrize("items", [["long"], ["short", "short", "long"]])
def test_a_thread_without_an_item_takes_parts_of_anothers(items: list[str]) -> None:
    def item(name: str) -> int:
        if name == "short":
            return 1
        deadline = time.monotonic() + 60
        seen: set[int] = set()
        for thread in engine.spread(lambda _: threading.get_ident(), itertools.count()):
            seen.add(thread)
            if len(seen) == 2 or time.monotonic() > deadline:
                break
        return len(seen)

    found = list(engine.map_items(item, items, workers=2, threads=True))
    assert found == [1] * (len(items) - 1) + [2]


def test_parts_are_in_order_whoever_did_them_and_their_errors_reach_the_caller() -> None:
    def part(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        if number == 40:
            raise KeyError("forty")
        return number

    def item(stop: int) -> list[int]:
        return list(engine.spread(part, range(stop)))

    counts = [40, 3, 0, 17, 40, 1]
    found = list(engine.map_items(item, counts, workers=3, threads=True))
    assert found == [list(range(stop)) for stop in counts]
    with pytest.raises(KeyError, match="forty"):
        list(engine.map_items(item, [50], workers=3, threads=True))
    assert list(engine.spread(abs, [-1, -2])) == [1, 2]  # outside a map


def test_an_error_in_a_thread_is_raised_after_what_was_finished_before_it() -> None:
    def fails_at_three(number: int) -> int:
        if number == 3:
            raise FirnlineError("three", mend="two")
        return number

    results = engine.map_items(fails_at_three, range(100), workers=2, threads=True)
    with pytest.raises(FirnlineError, match="three"):
        for place, value in enumerate(results):
            assert value == place < 3


def test_an_error_keeps_its_type_and_message() -> None:
    with pytest.raises(FirnlineError, match=r"seven is refused \(give another\)"):
        list(engine.map_items(_work, [1, 7], workers=2))


def _die(n: int) -> int:
    if n == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


def test_a_worker_that_dies_is_one_line() -> None:
    with pytest.raises(FirnlineError, match="a worker process died") as caught:
        list(engine.map_items(_die, [0, 1, 2, 3], workers=2))
    assert "run again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_runner_comes_from_the_environment_unless_it_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "_chosen", None)
    monkeypatch.setenv("FIRNLINE_RUNNER", "spark")
    with pytest.raises(FirnlineError, match="no runner 'spark'"):
        engine.runner()
    monkeypatch.setenv("FIRNLINE_RUNNER", "ray:10.0.0.1:6379")
    assert engine.runner() == "ray:10.0.0.1:6379"
    engine.use("native")
    assert engine.runner() == "native"
    for wrong in ("ray://head:1", "ray:", "ray:head", "Native", "ray:a:1 b"):
        with pytest.raises(FirnlineError, match="choose native, ray"):
            engine.use(wrong)


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="pip install 'firnline[ray]' to test the cluster runner")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(engine, "_chosen", f"ray:127.0.0.1:{port}")
    with pytest.raises(FirnlineError, match=f"no Ray cluster answers at .*{port}"):
        list(engine.map_items(_work, [1, 2]))


def test_telemetry_is_off_before_the_engine_is_imported() -> None:
    code = """
import socket, threading
def refuse(*_): raise SystemExit("the engine opened a connection")
socket.socket.connect = refuse
from firnline import engine
engine._daft()
from daft import scarf_telemetry
assert scarf_telemetry.opted_out()
print([thread.name for thread in threading.enumerate()])
"""
    environment = {k: v for k, v in os.environ.items() if k not in engine.TELEMETRY_OFF}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['MainThread']"
