"""Runs inside the sandbox, as the text of `python -c`: sets limits, runs a program, reports.

Standard input is a secret word, a line end and the program. The arguments are: the descriptor
to report on, the user to become (0: stay), and the limits. It reports `started`, then the word
and how the program ended: passed, failed, exited or memory. A program that ends the process in
any other way reports nothing. It must not import more than it needs: this is the time it takes
to start.
"""

import os
import resource
import sys


def main() -> None:
    """Sets the limits, becomes the user, runs the program and reports."""
    report, user, cpu_seconds, memory, processes, file_bytes = map(int, sys.argv[1:])
    with os.fdopen(0, "rb", closefd=False) as source:
        word, _, program = source.read().partition(b"\n")
    os.close(0)
    os.open("/dev/null", os.O_RDONLY)  # takes the lowest free descriptor, 0
    os.set_inheritable(report, False)
    sys.argv[:] = sys.orig_argv[:] = ["program.py"]
    if user:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    # The soft limit ends the program by SIGXCPU; a program that ignores it meets the hard one.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    for limit, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    os.write(report, b"started\n")
    process = os.getpid()
    outcome = run(program)
    if os.getpid() != process:  # a child that the program forked and let run on
        os._exit(1)
    os.write(report, word + b" " + outcome + b"\n")
    os._exit(0 if outcome == b"passed" else 1)


def run(program: bytes) -> bytes:
    """Runs the program and says how it ended."""
    # As a module that is not __main__, as HumanEval does: `if __name__ == ...` is not run.
    module = type(sys)("program")
    sys.modules["program"] = module
    try:
        exec(compile(program, "program.py", "exec"), module.__dict__)
        sys.stdout.flush()
    except MemoryError:
        return b"memory"
    except SystemExit:
        return b"exited"
    except BaseException as error:
        trace = error.__traceback__.tb_next if error.__traceback__ else None  # without this frame
        sys.__excepthook__(type(error), error.with_traceback(trace), trace)
        return b"failed"
    return b"passed"


if __name__ == "__main__":
    main()
