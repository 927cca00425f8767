"""A compiled kernel is not used once a file that it is made of has changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from firnline.kernels import jit

PACKAGE = Path(jit.__file__).parents[1]


def answer(folder: Path) -> tuple[int, int]:
    """What the outer kernel gives in a fresh process, and how often it was compiled for it."""
    program = (
        "from firnline.kernels.outer import outer\n"
        "print(outer(1), sum(outer.stats.cache_misses.values()))\n"
    )
    command = [sys.executable, "-c", program]
    environment = {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    value, compiled = done.stdout.split()
    return int(value), int(compiled)


def test_a_change_in_an_imported_file_compiles_again(tmp_path: Path) -> None:
    kernels = tmp_path / "firnline" / "kernels"
    kernels.mkdir(parents=True)
    for name in ("__init__.py", "kernels/__init__.py", "kernels/jit.py"):
        (tmp_path / "firnline" / name).write_text((PACKAGE / name).read_text())
    begin = "from firnline.kernels.jit import kernel\n"
    inner = begin + "\n\n@kernel\ndef inner(x: int) -> int:\n    return x + {}\n"
    (kernels / "inner.py").write_text(inner.format(1))
    (kernels / "outer.py").write_text(
        begin + "from firnline.kernels.inner import inner\n"
        "\n\n@kernel\ndef outer(x: int) -> int:\n    return 10 * inner(x)\n"
    )
    assert answer(tmp_path) == (20, 1)
    assert answer(tmp_path) == (20, 0)  # from the cache
    (kernels / "inner.py").write_text(inner.format(2))
    assert answer(tmp_path) == (30, 1)
