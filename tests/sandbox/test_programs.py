"""The sandbox: what a program cannot see, reach, use up or leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from firnline.sandbox import bubblewrap, seccomp
from firnline.sandbox.programs import Limits, SandboxError, Verdict, available, run_programs

reason = available()
pytestmark = pytest.mark.skipif(reason is not None, reason=reason or "")

Found = TypeVar("Found")
QUICK = Limits(cpu_seconds=1, wall_seconds=10.0)


def run(program: str, limits: Limits = QUICK) -> Verdict:
    return run_programs([textwrap.dedent(program)], limits)[0]


@pytest.mark.parametrize(
    ("program", "kind", "shown"),
    [
        ("import json, re, math, collections, dataclasses, typing, decimal", "passed", ""),
        ("assert 1 + 1 == 3, 'sum'", "failed", "AssertionError: sum"),
        ("def f(:", "failed", "SyntaxError"),
        ("raise SystemExit(0)", "exited", ""),
        ("import os; os._exit(0)", "exited", ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed", ""),
        ("if __name__ == '__main__': raise SystemExit", "passed", ""),
        ("input()", "failed", "EOFError"),
        ("print('hello'); import sys; print('there', file=sys.stderr)", "passed", "there"),
        ("import os\nif os.fork() == 0: raise SystemExit\nos.wait()\nassert 0", "failed", "Asser"),
        ("import os\nif os.fork() == 0: os.kill(os.getppid(), 9)\nos.wait()", "killed", ""),
        ("def f(n): return f(n + 1)\nf(0)", "failed", "RecursionError"),
        ("class E(BaseException): pass\nraise E('own')", "failed", "E: own"),
        ("x = '\\udcff'", "passed", ""),
    ],
)
def test_kinds_of_end(program: str, kind: str, shown: str) -> None:
    verdict = run(program)
    assert verdict.kind == kind, verdict
    assert shown in verdict.output
    assert verdict.passed == (kind == "passed")


def test_verdicts_keep_the_order_of_the_programs() -> None:
    programs = [f"assert {n} % 3" for n in range(12)]
    kinds = [verdict.passed for verdict in run_programs(programs, QUICK, workers=3)]
    assert kinds == [n % 3 != 0 for n in range(12)]
    assert run_programs([]) == []


def test_no_file_of_ours_can_be_seen(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    repository = Path(__file__).resolve().parents[2]
    unseen = [str(secret), str(repository), "/etc/passwd", "/proc/self", "/home", "/var", "/bin/sh"]
    if not str(Path(sys.base_prefix)).startswith(str(Path.home())):
        unseen.append(str(Path.home()))
    verdict = run(f"""
        import os
        for path in {unseen!r}:
            assert not os.path.exists(path), path
        home = {str(Path.home())!r}
        for folder, _, files in os.walk(home):
            for file in files:  # only the interpreter may lie there
                assert os.path.join(folder, file).startswith({sys.base_prefix!r}), (folder, file)
    """)
    assert verdict.passed, verdict


def test_nothing_outside_scratch_can_be_written() -> None:
    verdict = run("""
        import os, sys
        def writable(folder):
            try:
                with open(os.path.join(folder, "probe"), "w"):
                    return True
            except OSError:
                return False
        parents = [os.path.dirname(sys.executable), os.path.dirname(os.__file__)]
        for folder in ["/", "/dev", "/usr/lib", "/tmp", "/lib", "/etc", "/scratch/..", *parents]:
            assert not writable(folder), folder
        assert writable(".") and os.getcwd() == "/scratch" and os.listdir() == ["probe"]
    """)
    assert verdict.passed, verdict
    assert run("import os; assert os.listdir('/scratch') == []").passed  # a new one each time


def test_no_environment_and_no_arguments_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "secret")
    verdict = run(f"""
        import os, sys
        assert set(os.environ) <= {set(bubblewrap.ENVIRONMENT) | {"PWD"}!r}, os.environ
        assert sys.argv == sys.orig_argv == ["program.py"]
        assert os.getuid() != 0 and os.uname().nodename == "sandbox"
        assert os.getpid() < 10
    """)
    assert verdict.passed, verdict


def test_no_connection() -> None:
    verdict = run("""
        import socket
        for family in socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_VSOCK:
            try:
                socket.socket(family, socket.SOCK_STREAM if family != 16 else socket.SOCK_RAW)
            except OSError:
                continue
            raise AssertionError(family)
        left, right = socket.socketpair()  # event loops need it
        left.send(b"x")
        assert right.recv(1) == b"x"
    """)
    assert verdict.passed, verdict


def test_no_new_namespace_and_no_uncounted_memory() -> None:
    verdict = run("""
        import ctypes, errno, os, platform
        libc = ctypes.CDLL(None, use_errno=True)
        def refused(*call):
            ctypes.set_errno(0)
            result = libc.syscall(*call)
            return result == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS)
        NEWUSER = 0x10000000
        assert libc.unshare(NEWUSER) == -1
        clone, clone3 = {"x86_64": (56, 435), "aarch64": (220, 435)}[platform.machine()]
        assert refused(clone, NEWUSER | 17, 0, 0, 0, 0)
        assert refused(clone3, 0, 0)
        assert libc.mount(b"none", b"/scratch", b"tmpfs", 0, None) == -1
        assert libc.shmget(0, 1 << 20, 0o1600) == -1
        try:
            os.memfd_create("x")
        except PermissionError:
            pass
        else:
            raise AssertionError("memfd")
    """)
    assert verdict.passed, verdict


def test_the_filter_has_whole_instructions_and_short_jumps() -> None:
    program = seccomp.filter_program()
    assert len(program) % 8 == 0
    count = len(program) // 8
    for number in range(count):
        code, taken, otherwise = program[8 * number], *program[8 * number + 2 : 8 * number + 4]
        if code & 0x07 == 0x05:  # a jump lands inside
            assert number + 1 + max(taken, otherwise) < count
    assert program[-8:] == bytes([6, 0, 0, 0, 0, 0, 0xFF, 0x7F])  # return ALLOW


def test_time_ends_loops_sleepers_and_endless_printers() -> None:
    limits = Limits(cpu_seconds=1, wall_seconds=3.0, output_bytes=100)
    loop, stubborn, sleeper, printer = run_programs(
        [
            "while True: pass",
            "import signal\nsignal.signal(signal.SIGXCPU, lambda *a: None)\nwhile True: pass",
            "import time; time.sleep(60)",
            "while True: print('x' * 10_000)",
        ],
        limits,
        workers=4,
    )
    assert loop.kind == "timeout"
    assert stubborn.kind in ("timeout", "killed")  # the hard limit, or the wall clock first
    assert sleeper == Verdict("timeout", None, "")
    assert printer.kind == "timeout"
    assert len(printer.output) == 100


def test_output_is_cut_to_its_end() -> None:
    verdict = run("print('a' * 1_000_000); print('end')", Limits(output_bytes=10))
    assert verdict.passed
    assert verdict.output == "aaaaa\nend\n"


def test_a_fork_bomb_is_bounded() -> None:
    program = """
        import os, time
        children = 0
        try:
            while True:
                if os.fork() == 0:
                    time.sleep(60)
                children += 1
        except OSError:
            assert children == {processes} - 1, children
    """
    for processes in (1, 6):
        limits = Limits(processes=processes)
        assert run(program.format(processes=processes), limits).passed
    bombs = run_programs(["import os\nwhile True: os.fork()"] * 2, QUICK, workers=2)
    assert {bomb.kind for bomb in bombs} == {"failed"}
    threads = (
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,)).start()"
    )
    assert run(threads).kind == "failed"


def test_memory_and_disk_are_bounded() -> None:
    limits = Limits(memory_bytes=128 << 20, scratch_bytes=1 << 20)
    assert run("x = bytearray(100 << 20)", Limits(memory_bytes=256 << 20)).passed
    assert run("x = bytearray(200 << 20)", limits).kind == "memory"
    assert run("x = []\nwhile True: x.append(bytes(1 << 20))", limits).kind == "memory"
    verdict = run(
        """
        written = 0
        try:
            for number in range(100):
                with open(f"file{number}", "wb") as file:
                    written += file.write(bytes(100_000))
                    file.flush()
        except OSError:
            pass
        assert 500_000 < written <= 1 << 20, written
        """,
        limits,
    )
    assert verdict.passed, verdict
    big = run(
        "open('big', 'wb', 0).write(bytes(2 << 20)); open('big', 'ab', 0).write(b'x')", limits
    )
    assert big.kind in ("failed", "killed")


def test_signals_reach_nobody_outside_and_nothing_is_left_behind() -> None:
    marker = f"firnline-{os.getpid()}"
    verdict = run(f"""
        import os, time
        if os.fork() == 0:  # a daemon
            os.setsid()
            while True:
                time.sleep(60)  # {marker}
        for victim in {os.getpid()}, {os.getppid()}, 1:
            try:
                os.kill(victim, 0 if victim == 1 else 9)
            except OSError:
                pass
        try:
            os.kill(-1, 9)  # its own processes only
        except OSError:
            pass
    """)
    assert verdict.kind in ("passed", "killed"), verdict
    run("import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(77)")
    for _ in range(100):
        left = [pid for pid in _children() if "--unshare-pid" in _command(pid)]
        if not left:
            break
        time.sleep(0.05)
    assert not left


def test_programs_die_with_the_process_that_runs_them() -> None:
    code = """
        from firnline.sandbox.programs import Limits, run_programs
        run_programs(["import time; print('in'); time.sleep(300)"], Limits(wall_seconds=299.5))
    """
    runner = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    try:
        started = _wait_for(lambda: [p for p in _all() if _is(p, runner.pid)])
        assert started
    finally:
        runner.send_signal(signal.SIGKILL)
        runner.wait()
    pid = started[0][0]
    assert _wait_for(lambda: not Path(f"/proc/{pid}").exists() or _state(pid) == "Z")


def test_a_broken_sandbox_is_not_a_verdict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: Creating new namespace failed' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SandboxError, match="Creating new namespace failed"):
        run("pass")
    said = _fresh_available()
    assert said is not None and said.startswith("namespaces are disabled here")
    fake.write_text("#!/bin/sh\necho 'bwrap: Unknown option --size' >&2\nexit 1\n")
    assert "too old" in (_fresh_available() or "")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "apt-get install bubblewrap" in (_fresh_available() or "")


def _fresh_available() -> str | None:
    available.cache_clear()
    try:
        return available()
    finally:
        available.cache_clear()


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _children() -> list[int]:
    return [pid for pid, _ in _all() if _parent(pid) == os.getpid()]


def _all() -> list[tuple[int, str]]:
    return [(int(p.name), _command(int(p.name))) for p in Path("/proc").glob("[0-9]*")]


def _is(entry: tuple[int, str], ancestor: int) -> bool:
    """Whether an entry is the innermost interpreter below `ancestor`."""
    pid, command = entry
    if "bwrap" in command.split(" ")[0] or pid == ancestor:
        return False
    while pid > 1:
        pid = _parent(pid)
        if pid == ancestor:
            return True
    return False


def _wait_for(condition: Callable[[], Found]) -> Found:
    for _ in range(200):
        if found := condition():
            break
        time.sleep(0.05)
    return found
