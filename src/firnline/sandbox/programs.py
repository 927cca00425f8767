"""Runs untrusted programs, each in a bubblewrap sandbox of its own, and says how each ended.

There is no way to run a program without the sandbox: where bubblewrap does not work, `available`
says why and `run_programs` raises.
"""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Literal

from firnline import engine
from firnline.sandbox import bubblewrap, seccomp

Kind = Literal["passed", "failed", "timeout", "memory", "exited", "killed"]

_BOOTSTRAP = Path(__file__).with_name("bootstrap.py").read_text()
_CHUNK = 1 << 16


class SandboxError(RuntimeError):
    """The sandbox itself did not start; the message is one line."""


@dataclass(frozen=True)
class Limits:
    """What a program may use. Memory is for each process: in all, memory times processes."""

    cpu_seconds: int = 10
    wall_seconds: float = 30.0
    memory_bytes: int = 512 << 20
    processes: int = 4
    """Processes and threads at one time, the program itself included."""
    scratch_bytes: int = 16 << 20
    """Size of the only folder that can be written, and of the largest file."""
    output_bytes: int = 4096
    """Kept from the end of what the program prints; the rest is read and dropped."""


@dataclass(frozen=True)
class Verdict:
    """How a program ended.

    `passed`: it ran to its end. `failed`: an exception, also SyntaxError. `timeout`: out of
    processor or wall time. `memory`: a MemoryError reached the top. `exited`: it called exit
    before its end. `killed`: ended by a signal, its own or the kernel's.
    `exit_code` is 128 + n for signal n, None where we ended it. `output` is the end of its
    standard output and standard error together.
    """

    kind: Kind
    exit_code: int | None
    output: str

    @property
    def passed(self) -> bool:
        return self.kind == "passed"


def run_programs(
    programs: Sequence[str], limits: Limits | None = None, workers: int | None = None
) -> list[Verdict]:
    """Runs Python programs, `workers` (default: cores) at a time; verdicts in their order.

    Raises SandboxError where the sandbox does not start: ask `available` first.
    """
    if not programs:
        return []
    limits = limits or Limits()
    pool = ThreadPoolExecutor(min(workers or engine.cores(), len(programs)))
    try:
        return list(pool.map(partial(_run, limits), programs))
    finally:
        pool.shutdown(cancel_futures=True)


@cache
def available() -> str | None:
    """None where programs can be run; otherwise why not, and how to mend it, in one line."""
    if reason := bubblewrap.obstacle():
        return reason
    try:
        run_programs(["pass"], Limits(wall_seconds=60), workers=1)
    except SandboxError as error:
        return bubblewrap.explain(str(error))
    return None


# As root, each program runs as a user of its own, so that processes are counted apart.
_users = count(os.getpid() * 64)
_FIRST_USER, _USERS = 20_000, 40_000


def _run(limits: Limits, program: str) -> Verdict:
    word = secrets.token_hex(8)
    user = _FIRST_USER + next(_users) % _USERS if os.geteuid() == 0 else 0
    source = _memory_file(f"{word}\n{program}".encode("utf-8", "surrogateescape"))
    rules = _memory_file(seccomp.filter_program())
    report, report_end = os.pipe()
    command = [*bubblewrap.command(limits.scratch_bytes, rules), "-c", _BOOTSTRAP]
    command += map(
        str,
        (
            report_end,
            user,
            limits.cpu_seconds,
            limits.memory_bytes,
            # Where there is a user namespace, bubblewrap's own first process counts too.
            limits.processes + (0 if user else 1),
            limits.scratch_bytes,
        ),
    )
    try:
        process = subprocess.Popen(
            command,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=bubblewrap.ENVIRONMENT,
            pass_fds=(rules, report_end),
        )
    except OSError as error:
        os.close(report)
        raise SandboxError(f"cannot start bubblewrap: {error.strerror}") from error
    finally:
        for descriptor in (source, rules, report_end):
            os.close(descriptor)
    assert process.stdout is not None
    with process, os.fdopen(report, "rb", buffering=0) as reports:
        ended, reported, output = _watch(process, reports.fileno(), limits)
        process.kill()
    return _verdict(word, ended, process.returncode, reported, output)


def _memory_file(data: bytes) -> int:
    descriptor = os.memfd_create("firnline", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _watch(
    process: subprocess.Popen[bytes], report: int, limits: Limits
) -> tuple[bool, bytes, bytes]:
    """Reads output and reports until the program ends or its time is over.

    Returns whether it ended by itself, what it reported, and the end of its output. The pipes
    may stay open after the program's end, in processes that it left: those die with it.
    """
    assert process.stdout is not None
    output = process.stdout.fileno()
    alive = os.pidfd_open(process.pid)
    tails = {output: b"", report: b""}
    sizes = {output: limits.output_bytes, report: 256}
    deadline = time.monotonic() + limits.wall_seconds
    poll = select.poll()
    for descriptor in (alive, *tails):
        os.set_blocking(descriptor, False)
        poll.register(descriptor, select.POLLIN)
    try:
        ended = False
        while not ended and (left := deadline - time.monotonic()) > 0:
            ready = {descriptor for descriptor, _ in poll.poll(left * 1000)}
            ended = alive in ready
            for descriptor in tails:
                if descriptor not in ready and not ended:
                    continue
                while chunk := _read(descriptor):
                    tails[descriptor] = (tails[descriptor] + chunk)[-sizes[descriptor] :]
                    if time.monotonic() > deadline:
                        break
                if chunk == b"" and not ended:
                    poll.unregister(descriptor)
    finally:
        os.close(alive)
    return ended, tails[report], tails[output]


def _read(descriptor: int) -> bytes | None:
    """Bytes, nothing at the end of the stream, None where there are none for now."""
    try:
        return os.read(descriptor, _CHUNK)
    except BlockingIOError:
        return None


def _verdict(word: str, ended: bool, code: int, reported: bytes, output: bytes) -> Verdict:
    text = output.decode("utf-8", "replace")
    if not ended:
        return Verdict("timeout", None, text)
    if not reported.startswith(b"started\n"):
        raise SandboxError(text.strip().splitlines()[-1] if text.strip() else f"exit code {code}")
    for kind in ("passed", "failed", "memory", "exited"):
        if reported == f"started\n{word} {kind}\n".encode():
            return Verdict(kind, code, text)
    if code == 128 + signal.SIGXCPU:
        return Verdict("timeout", code, text)
    return Verdict("killed" if code > 128 else "exited", code, text)
