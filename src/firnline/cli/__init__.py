"""The command line. Each command calls the function of the same name in the room that does it."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import Annotated

import typer

from firnline import __version__, engine
from firnline.cli.options import app
from firnline.errors import FirnlineError

# Importing registers the commands, in the order of --help.
# isort: off
from firnline.cli import runs, data, tokens, models, explain  # noqa: F401
# isort: on

# What the file system refuses wherever a path is given.
_MENDABLE = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
_EXTRAS = {"torch": "train", "safetensors": "train", "transformers": "hf"}
_STOPPED = 130  # what typer makes of Ctrl-C


def main() -> None:
    """The program `firnline`."""
    sys.unraisablehook = _stop_after_all
    if status := command_line():
        sys.stdout.flush()
        sys.stderr.flush()
        # The engine may be at work still: its threads abort where Python is torn down under them.
        os._exit(status)


def _stop_after_all(unraisable: sys.UnraisableHookArgs) -> None:
    """Raises a Ctrl-C again that came in a destructor or weak reference's callback.

    Python prints and forgets what is raised there; a moment later it is raised elsewhere.
    """
    if unraisable.exc_type is KeyboardInterrupt:
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
    else:
        sys.__unraisablehook__(unraisable)


def command_line() -> int:
    """Does what `sys.argv` says and returns the exit status.

    What the user can mend is one line and status 1. Anything else is a fault of ours and is
    raised.
    """
    try:
        app()
    except FirnlineError as error:
        print(f"firnline: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        mend = f"pip install 'firnline[{_EXTRAS[error.name]}]'"
        print(f"firnline: this needs the package {error.name} ({mend})", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in _MENDABLE:
            raise
        place = f": {error.filename}" if error.filename else ""
        print(f"firnline: {error.strerror}{place}", file=sys.stderr)
        return 1
    except SystemExit as end:
        if end.code == _STOPPED:
            print("firnline: stopped; run the same command again to go on", file=sys.stderr)
        return end.code if isinstance(end.code, int) else 0
    return 0


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    runner: Annotated[
        str | None,
        typer.Option(
            metavar="RUNNER",
            help="Where work runs: native (this machine, the default), ray, or ray:HOST:PORT.",
        ),
    ] = None,
) -> None:
    """Options before the command."""
    engine.use(runner)
