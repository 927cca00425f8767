"""What is installed in a Python interpreter."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from firnline.corpus import licenses
from firnline.corpus.listing import Listing, entry_of, walk
from firnline.errors import FirnlineError

_PACKAGES = frozenset({"site-packages", "dist-packages"})


class PythonSource(BaseModel):
    """The distributions installed in a Python interpreter, and its standard library."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["python"] = "python"
    interpreter: Path | None = None
    """The interpreter to look into; null is the one that runs Firnline."""
    only: tuple[str, ...] = ()
    """Name patterns to take (`cpython` is the standard library); empty: all."""
    exclude: tuple[str, ...] = ()
    """Name patterns to leave out."""

    def parts(self) -> Iterator[Listing]:
        """The standard library (`cpython`), then the distributions in name order."""
        found = _ask_interpreter(str(self.interpreter or sys.executable))
        for row in found:
            name = re.sub(r"[-_.]+", "-", row["name"]).lower()
            if self.only and not any(fnmatch(name, pattern) for pattern in self.only):
                continue
            if any(fnmatch(name, pattern) for pattern in self.exclude):
                continue
            spdx = row["spdx"] or licenses.from_metadata(
                row["expression"], row["classifiers"], row["license"]
            )
            for prefix, folder in row["folders"]:
                listing = Listing("python", name, row["version"], spdx, folder)
                entries = walk(Path(folder), _PACKAGES)
                yield from listing.cut(e._replace(path=prefix + e.path) for e in entries)
            paths = (path for path in row["files"] if not path.startswith(("..", "/")))
            listing = Listing("python", name, row["version"], spdx, row["root"])
            yield from listing.cut(entry_of(row["root"], path) for path in paths)


# Runs in the other interpreter, which may be an older Python: standard library only.
_LIST_DISTRIBUTIONS = """
import json, os, platform, sys, sysconfig
from importlib import metadata
paths = sysconfig.get_paths()
stdlib = paths["stdlib"]
folders = [["", stdlib]]
if os.path.isdir(paths["include"]):
    folders.append(["include/", paths["include"]])
rows = [{"name": "cpython", "version": platform.python_version(), "spdx": "PSF-2.0",
         "root": stdlib, "folders": folders, "files": [], "expression": None,
         "classifiers": [], "license": None}]
seen = set()
for one in metadata.distributions():
    name = one.metadata["Name"]
    if not name or name.lower() in seen:
        continue
    seen.add(name.lower())
    files = [str(f) for f in (one.files or [])]
    files = [f for f in files if "__pycache__" not in f and ".dist-info" not in f.split("/")[0]
             and ".egg-info" not in f.split("/")[0]]
    if files:
        rows.append({"name": name, "version": one.version, "spdx": None,
                     "root": str(one.locate_file("")), "folders": [], "files": sorted(set(files)),
                     "expression": one.metadata.get("License-Expression"),
                     "classifiers": [c for c in (one.metadata.get_all("Classifier") or [])
                                     if c.startswith("License ::")],
                     "license": one.metadata.get("License")})
rows[1:] = sorted(rows[1:], key=lambda r: r["name"].lower())
print(json.dumps(rows))
"""


def _ask_interpreter(interpreter: str) -> list[dict[str, Any]]:
    command = [interpreter, "-I", "-c", _LIST_DISTRIBUTIONS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return list(json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise FirnlineError(
            f"cannot list the distributions of {interpreter}: {error}",
            mend="the source's interpreter must be Python 3.8 or newer",
        ) from error
