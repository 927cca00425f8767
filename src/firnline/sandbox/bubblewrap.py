"""The bubblewrap command line: what a program sees, and whether it works on this machine."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from firnline.sandbox import seccomp

SCRATCH = "/scratch"
INSTALL = "apt-get install bubblewrap, or your system's package of that name"
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/nix/store", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
# Hash order of sets and dictionaries of strings is fixed, so that a verdict can be repeated.
ENVIRONMENT = {"HOME": SCRATCH, "TMPDIR": SCRATCH, "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}


def command(scratch_bytes: int, seccomp_descriptor: int) -> list[str]:
    """`bwrap` and its arguments, up to the interpreter that runs `-c`.

    The root is an empty tmpfs, made read-only at the end, with the C libraries, the interpreter
    and its standard library bound read-only, three devices, and a scratch folder of limited
    size. No /proc, /etc, /home, and no other environment than ours. Every namespace is new;
    so is the session; all processes die with their parent.

    Root drops to another user inside (bootstrap.py), because the kernel does not count root's
    processes, wherever a user namespace maps it; anybody else gets a user namespace.
    """
    interpreter = str(_interpreter())
    arguments = [str(shutil.which("bwrap")), "--die-with-parent", "--new-session"]
    arguments += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    arguments += ["--unshare-cgroup-try", "--hostname", "sandbox", "--cap-drop", "ALL"]
    if os.geteuid() == 0:
        arguments += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        arguments += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    for path in filter(os.path.exists, (*_LIBRARIES, *_python_paths())):
        for parent in reversed(Path(path).parents[:-1]):  # made for a bind, they are private
            arguments += ["--dir", str(parent)]
        arguments += ["--ro-bind", path, path]
    for device in _DEVICES:
        arguments += ["--dev-bind", device, device]
    arguments += ["--perms", "1777", "--size", str(scratch_bytes), "--tmpfs", SCRATCH]
    arguments += ["--chdir", SCRATCH, "--remount-ro", "/", "--seccomp", str(seccomp_descriptor)]
    return [*arguments, "--", interpreter, "-s", "-S", "-P", "-B"]


def _interpreter() -> Path:
    """The interpreter itself, also where `sys.executable` is a virtual environment's link."""
    return Path(sys.executable).resolve()


def _python_paths() -> list[str]:
    """The interpreter, its standard library, and its shared library where it has one."""
    found = [str(_interpreter()), sysconfig.get_path("stdlib")]
    if dynamic := sysconfig.get_config_var("DESTSHARED"):
        found.append(dynamic)
    library = sysconfig.get_config_var("LDLIBRARY")
    folder = sysconfig.get_config_var("LIBDIR")
    if library and folder and Path(folder, library).suffix != ".a":
        shared = Path(sysconfig.get_config_var("INSTSONAME") or library).name
        found.append(str(Path(folder, shared)))
    return found


def obstacle() -> str | None:
    """Why programs cannot be run here, as far as that is known without a trial."""
    if sys.platform != "linux":
        return "the sandbox needs Linux: bubblewrap is made of its namespaces"
    if not seccomp.supported():
        return "the sandbox knows the system calls of x86_64 and aarch64 only"
    if shutil.which("bwrap") is None:
        return f"bubblewrap is not installed: {INSTALL}"
    return None


def explain(message: str) -> str:
    """What an error message of bubblewrap means, and how to mend it."""
    if "nknown option" in message:
        return "bubblewrap is too old: 0.7 or newer is needed for a scratch folder of limited size"
    if any(word in message for word in ("namespace", "uid map", "loopback")):
        return (
            f"namespaces are disabled here ({message}): as root, sysctl"
            " kernel.unprivileged_userns_clone=1 or kernel.apparmor_restrict_unprivileged_userns=0;"
            " in a container, allow them to it"
        )
    return f"bubblewrap does not work here: {message}"
