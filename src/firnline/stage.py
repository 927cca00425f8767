"""Stage folders: skip when nothing changed, resume inside a stage, finish whole or not at all.

A stage works in `.NAME.partial` beside its folder. Finished items leave a row in `parts/`; a kill
loses at most the items in flight. When all is done the folder gets `stats.json`, then
`manifest.json`, and is renamed. A folder with a manifest is therefore always whole.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from firnline import __version__, engine
from firnline.documents import remove_temporary, write_json
from firnline.errors import FirnlineError
from firnline.languages import LANGUAGES
from firnline.progress import meter, say

Item = TypeVar("Item")
Stats = dict[str, Any]

_PACKAGES = (
    "daft",
    "gigatoken",
    "google-re2",
    "hyperscan",
    "magika",
    "numba",
    "numpy",
    "pyarrow",
    "pygit2",
    "scikit-learn",
    "tokenizers",
    "torch",
    "tree-sitter",
    *sorted({known.grammar[0].replace("_", "-") for known in LANGUAGES.values() if known.grammar}),
)
# What every room may use; a change here changes what any stage may compute.
_SHARED = (
    "documents.py",
    "language_table.py",
    "parsing.py",
    "languages.py",
    "shared_extensions.py",
    "licenses.py",
    "kernels",
    "benchmarks",
    "sandbox",
    "model",
)


@dataclass(frozen=True)
class StageResult:
    """A finished stage folder, its statistics, and whether it was skipped as unchanged."""

    folder: Path
    stats: Stats
    skipped: bool


class Workspace:
    """The folder a stage writes into while it runs, and its map over items with resume."""

    def __init__(self, name: str, folder: Path, workers: int | None) -> None:
        self.name = name
        self.folder = folder
        self.workers = workers

    def map(
        self,
        label: str,
        work: Callable[[Item], Stats],
        items: Mapping[str, Item],
        *,
        weights: Mapping[str, float] | None = None,
        unit: str = "shards",
        threads: bool = False,
    ) -> dict[str, Stats]:
        """Runs `work` on each item that is not finished yet and returns every item's statistics.

        `items` maps a name that can be a file name to a picklable item. `work` writes its output
        under a temporary name and renames it, and must give the same output when run again.
        `weights` (in `unit`) drive the progress bar. `threads` says that `work` may be called from
        several threads at once (see `engine.map_items`).
        """
        done_folder = self.folder / "parts" / label
        done_folder.mkdir(parents=True, exist_ok=True)
        size = weights or dict.fromkeys(items, 1.0)
        rows = {path.stem: _read_json(path) for path in done_folder.glob("[!.]*.json")}
        with meter(f"{self.name} {label}", sum(size[key] for key in items), unit) as progress:
            progress.advance(sum(size[key] for key in items if key in rows))
            job = partial(_finish, work, done_folder)
            pairs = [(key, item) for key, item in items.items() if key not in rows]
            pairs.sort(key=lambda pair: -size[pair[0]])  # a large one begun last would be alone
            for key, stats in engine.map_items(job, pairs, workers=self.workers, threads=threads):
                rows[key] = stats
                progress.advance(size[key])
        return {key: rows[key] for key in items}


def _finish(
    work: Callable[[Item], Stats], done_folder: Path, pair: tuple[str, Item]
) -> tuple[str, Stats]:
    key, item = pair
    stats = work(item)
    write_json(done_folder / f"{key}.json", stats)
    # As it would be read; not read here, where a network file system may not yet show it.
    return key, json.loads(json.dumps(stats, sort_keys=True))


def run_stage(
    name: str,
    config: BaseModel,
    inputs: Mapping[str, Path | str],
    out: Path,
    body: Callable[[Workspace], Stats],
    *,
    room: str,
    workers: int | None = None,
    keep: str | None = None,
    may_change: str = "",
) -> StageResult:
    """Runs `body` in a workspace and turns it into the finished folder `out`.

    `inputs` names each input: a path (fingerprinted) or a ready fingerprint. `room` is the
    package folder whose code the result depends on. A finished `out` with the same manifest is
    returned as it is. Work that was stopped and whose manifest was another is begun again, unless
    it has files that match `keep`, a glob: those are too dear to be thrown away unasked. They are
    gone on from where all that differs is the setting `may_change`. Raises FirnlineError where more
    does, where `out` is a folder Firnline did not make, where another process works on it, or where
    the disk is full.
    """
    out = out.absolute()
    manifest = _manifest(name, config, inputs, room)
    work_folder = out.with_name(f".{out.name}.partial")
    old = out.with_name(f".{out.name}.old")
    out.parent.mkdir(parents=True, exist_ok=True)
    with _lock(out.with_name(f".{out.name}.lock"), out), _disk_errors(out):
        if _read_manifest(out) == manifest:
            shutil.rmtree(work_folder, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
            say(f"{name}: unchanged, skipped")
            return StageResult(out, read_stats(out), skipped=True)
        if out.exists() and _read_manifest(out) is None and any(out.iterdir()):
            raise FirnlineError(
                f"{out} exists and is not a Firnline stage folder", mend="choose another --out"
            )
        if (intended := _read_json(work_folder / "intended.json")) != manifest:
            if keep and any(work_folder.glob(keep)):
                _refuse_other_work(name, work_folder, intended, manifest, may_change)
            else:
                shutil.rmtree(work_folder, ignore_errors=True)
                work_folder.mkdir()
            write_json(work_folder / "intended.json", manifest)
        if _read_manifest(work_folder) is None:
            remove_temporary(work_folder)  # of a killed run
            stats = body(Workspace(name, work_folder, workers))
            write_json(work_folder / "stats.json", stats)
            shutil.rmtree(work_folder / "parts", ignore_errors=True)
            remove_temporary(work_folder)  # of nodes lost in this run
            write_json(work_folder / "manifest.json", manifest)
        (work_folder / "intended.json").unlink(missing_ok=True)
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
            out.rename(old)
        work_folder.rename(out)
        _sync_folder(out.parent)
        shutil.rmtree(old, ignore_errors=True)
    return StageResult(out, read_stats(out), skipped=False)


def read_stats(folder: Path) -> Stats:
    """`stats.json` of a finished stage; raises FirnlineError where the folder is not finished."""
    stats = _read_json(folder / "stats.json")
    if not isinstance(stats, dict):
        raise FirnlineError(f"{folder} is not a finished stage", mend="run the stage again")
    return stats


def fingerprint(path: Path) -> str:
    """128-bit hex digest that changes when the input changes.

    A finished stage, or a folder directly inside one, is known by the stage's manifest, which
    names its own inputs in turn. Any other file or folder is known by the names, sizes and
    modification times below it.
    """
    digest = hashlib.blake2b(digest_size=16)
    for stage, inside in ((path, ""), (path.parent, path.name)):
        if path.is_dir() and "inputs" in (_read_manifest(stage) or {}):
            digest.update((stage / "manifest.json").read_bytes() + inside.encode())
            return digest.hexdigest()
    if not path.exists():
        raise FirnlineError(f"no such file or folder: {path}", mend="check the path")
    found = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in found:
        status = file.stat()
        name = os.fsencode(file.relative_to(path))
        digest.update(name + f"\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def _manifest(
    name: str, config: BaseModel, inputs: Mapping[str, Path | str], room: str
) -> dict[str, Any]:
    marks = {k: fingerprint(v) if isinstance(v, Path) else v for k, v in sorted(inputs.items())}
    settings = config.model_dump(mode="json")
    return {
        "stage": name,
        "config": settings,
        "seed": settings.get("seed"),
        "inputs": marks,
        "code": f"{__version__}+{_code_digest(room)}",
        "packages": _package_versions(),
    }


def _refuse_other_work(
    name: str, folder: Path, intended: Any, manifest: Mapping[str, Any], may_change: str
) -> None:
    """Raises FirnlineError where the work in a folder was begun with something else than now."""
    if not isinstance(intended, dict):  # it was removed, to go on all the same
        return
    found, wanted = dict(_values("", intended)), dict(_values("", manifest))
    differing = [
        f"{key}: {found.get(key, 'nothing')} there, {wanted.get(key, 'nothing')} here"
        for key in sorted(found | wanted)
        if found.get(key) != wanted.get(key)
        and not (may_change and key.startswith(f"config.{may_change}."))
    ]
    if differing:
        raise FirnlineError(
            f"{name} was stopped in {folder} and began with something else",
            mend="go on with that; or remove the folder to begin again, or only its intended.json "
            "to go on with what is here",
            details=tuple(differing),
        )


def _values(prefix: str, tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, each with its keys joined by dots."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _values(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value


@cache
def _code_digest(room: str) -> str:
    root = Path(__file__).parent
    files = [
        file
        for part in (room, *_SHARED)
        for file in sorted((root / part).rglob("*.py") if (root / part).is_dir() else [root / part])
        if "recorded" not in file.parts
    ]
    digest = hashlib.blake2b(digest_size=6)
    for file in files:
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


@cache
def _package_versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _read_manifest(folder: Path) -> Any:
    return _read_json(folder / "manifest.json")


@contextmanager
def _lock(path: Path, out: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FirnlineError(
                f"another process is working on {out}", mend="wait for it or choose another --out"
            ) from None
        yield


@contextmanager
def _disk_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) or re.search(
            r"No space left|errno 28\b|Disk quota", str(error)
        )
        if not full:
            raise
        raise FirnlineError(
            f"the disk is full while writing {out}",
            mend="free space and run again: finished shards are kept",
        ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
