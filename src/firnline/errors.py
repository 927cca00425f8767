"""The one exception for what the user can mend."""

from __future__ import annotations


class FirnlineError(Exception):
    """A mistake that the user can mend; the command line prints it without a traceback.

    The message is one line: what went wrong, where (file, key or row), how to mend it.
    `details` holds further lines where several mistakes are reported at once, one for each.
    """

    def __init__(self, what: str, *, mend: str = "", details: tuple[str, ...] = ()) -> None:
        self.what = what
        self.mend = mend
        self.details = details
        super().__init__(what, mend, details)

    def __str__(self) -> str:
        line = f"{self.what} ({self.mend})" if self.mend else self.what
        return "\n".join([line, *(f"  {detail}" for detail in self.details)])

    def __reduce__(self) -> tuple[object, ...]:  # errors travel between processes
        return (_restore, (self.what, self.mend, self.details))


def _restore(what: str, mend: str, details: tuple[str, ...]) -> FirnlineError:
    return FirnlineError(what, mend=mend, details=details)
