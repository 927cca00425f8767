"""The one way kernels are compiled: cached on disk, without the GIL.

A compiled kernel holds the kernels that it calls and the tables that it reads, of other files too.
numba compiles again when the kernel's own file changes; here also when one does that it imports.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parents[1]
_IMPORTED = re.compile(r"^from firnline\.([\w.]+) import", re.MULTILINE)


def kernel(function: Function) -> Function:
    """Compiles a function on its first call; the decorated function keeps its type."""
    compiled = njit(cache=True, nogil=True)(function)
    if hasattr(compiled, "_cache"):  # not where NUMBA_DISABLE_JIT is set
        # numba has no public way to say what else a cached function is made of.
        compiled._cache._cache_file._source_stamp = source_stamp(
            Path(function.__code__.co_filename)
        )
    return cast(Function, compiled)


@cache
def source_stamp(path: Path) -> str:
    """A hash of a source file and of the files of this package that it imports."""
    source = path.read_text(encoding="utf-8")
    modules = _IMPORTED.findall(source)
    files = [_PACKAGE.joinpath(*module.split(".")).with_suffix(".py") for module in modules]
    parts = [source, *(source_stamp(file) for file in files if file.is_file())]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
