"""The engine: order, errors with their type, telemetry off before the import."""

from __future__ import annotations

import os
import subprocess
import sys

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


def test_an_error_keeps_its_type_and_message() -> None:
    with pytest.raises(FirnlineError, match=r"seven is refused \(give another\)"):
        list(engine.map_items(_work, [1, 7], workers=2))


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
