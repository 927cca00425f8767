"""The one way kernels are compiled: cached on disk, without the GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compiles a function on its first call; the decorated function keeps its type."""
    return cast(Function, njit(cache=True, nogil=True)(function))
