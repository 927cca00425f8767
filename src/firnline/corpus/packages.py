"""What an archive is: the name, the version and the license that it tells of itself."""

from __future__ import annotations

import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.parser import HeaderParser
from typing import Any

from firnline.corpus import folder_licenses, licenses
from firnline.corpus.members import Member

ARCHIVE_SUFFIXES = (
    ".tar",
    ".tar.gz",
    ".tgz",
    ".crate",
    ".tar.zst",
    ".tzst",
    ".tar.bz2",
    ".tbz2",
    ".tar.xz",
    ".txz",
    ".zip",
    ".whl",
)
_METADATA = frozenset({"PKG-INFO", "METADATA", "package.json", "Cargo.toml", "copyright"})
_MOST_TEXTS = 64
_COMMIT = re.compile(r"[0-9a-f]{40}")
_VERSIONED = re.compile(r"(.+?)[-_]v?(\d[\w.+~!-]*)")
_DEBIAN = re.compile(r"([a-z0-9][a-z0-9+.-]+)_(\d[^_]*?)(?:\.orig(?:-[\w-]+)?|\.debian)?")


@dataclass(frozen=True)
class Package:
    """`top` is the one folder that holds every member, without a slash; empty where none does.

    `folders` are those below it that have license files, with the license that holds in them.
    """

    repo: str
    revision: str
    license: str | None
    top: str
    folders: Mapping[str, str | None] = field(default_factory=dict)

    def license_of(self, path: str) -> str | None:
        """The license of a member whose path has no `top` before it."""
        folder = path.rpartition("/")[0] if self.folders else ""
        while folder:
            if folder in self.folders:
                return folder_licenses.stated(self.folders[folder])
            folder = folder.rpartition("/")[0]
        return self.license


def tells(path: str) -> bool:
    """Whether a member may tell the package's name, version or license, or its folder's license."""
    return folder_licenses.tells(path.rpartition("/")[2]) or _tells_package(path)


def _tells_package(path: str) -> bool:
    parts = path.split("/")
    name = parts[-1]
    if len(parts) > 3:
        return False
    return name in _METADATA or licenses.tells(name) or licenses.tells("/".join(parts[-2:]))


def survey(file_name: str, members: Iterable[Member]) -> Package:
    """Name, version and license of the package in an archive of that file name, with its folders.

    In this order: a Python package's metadata (sdist, wheel), a crate's or an npm package's, the
    commit that git wrote into the archive, Debian's file names, `name-version` of the top folder
    or of the file; a name that is only the file's has its folders before it. The license is what
    manifests and license files at the top say together.
    """
    texts: dict[str, str] = {}
    told: dict[str, list[folder_licenses.Told]] = defaultdict(list)
    commit = ""
    tops: set[str] = set()
    for member in members:
        if member.whole:
            continue
        if not member.path:
            comment = (member.content or b"").decode("ascii", "replace").strip()
            commit = comment if _COMMIT.fullmatch(comment) else commit
            continue
        if len(tops) < 2 and not (member.problem or "").startswith("unsafe_path"):
            tops.add(member.path.split("/", 1)[0] if "/" in member.path else "")
        above, _, name = member.path.rpartition("/")
        if member.content is not None and folder_licenses.tells(name):
            told[above].append(folder_licenses.read(name, member.content))
        if member.content is not None and _tells_package(member.path) and len(texts) < _MOST_TEXTS:
            content = member.content[: licenses.READ_BYTES]
            texts[member.path] = content.decode("utf-8", "replace")
    top = next(iter(tops)) if len(tops) == 1 else ""
    top = "" if top == "debian" else top
    below = f"{top}/" if top else ""
    own = {path.removeprefix(below): text for path, text in texts.items()}
    folder, slash, file_name = file_name.rpartition("/")
    stem = _stem(file_name)
    named = _metadata(file_name, own, commit)
    spdx = named[2] if named else None
    if named is None and commit:
        named = (_without_revision(top or stem, commit, stem), commit, None)
    if named is None and re.search(r"\.(orig|debian)\b", stem):
        match = _DEBIAN.fullmatch(stem)
        named = (match[1], match[2], None) if match else None
    if named is None:
        match = _VERSIONED.fullmatch(top) or _VERSIONED.fullmatch(stem)
        whole = f"{folder}{slash}{stem}"
        named = (match[1], match[2], None) if match else (whole, "", None)
    license = _license(own) or spdx
    return Package(named[0], named[1], license, top, _folders(license, below, told))


def _folders(
    license: str | None, below: str, told: Mapping[str, list[folder_licenses.Told]]
) -> dict[str, str | None]:
    """The licenses of the folders below the top that have license files."""
    found: dict[str, str | None] = {}
    for path in sorted(told):
        folder = f"{path}/".removeprefix(below).rstrip("/")
        above, outer = license, folder.rpartition("/")[0]
        while outer and outer not in found:
            outer = outer.rpartition("/")[0]
        if folder:
            found[folder] = folder_licenses.within(found.get(outer, above), told[path])
    return found


def _stem(file_name: str) -> str:
    lower = file_name.lower()
    for suffix in sorted(ARCHIVE_SUFFIXES, key=len, reverse=True):
        if lower.endswith(suffix):
            return file_name[: -len(suffix)]
    return file_name


def _metadata(
    file_name: str, own: dict[str, str], commit: str
) -> tuple[str, str, str | None] | None:
    """(name, version, license) by the package's own metadata."""
    for path, text in own.items():
        if path == "PKG-INFO" or re.fullmatch(r"[^/]+\.dist-info/METADATA", path):
            headers = HeaderParser().parsestr(text)
            name = headers.get("Name", "").strip()
            if name:
                classifiers = [str(c) for c in headers.get_all("Classifier", [])]
                expression = headers.get("License-Expression")
                spdx = licenses.from_metadata(expression, classifiers, headers.get("License"))
                canonical = re.sub(r"[-_.]+", "-", name).lower()
                return canonical, headers.get("Version", "").strip(), spdx
    if file_name.endswith(".crate") and "Cargo.toml" in own:
        try:
            package: Any = tomllib.loads(own["Cargo.toml"]).get("package")
        except tomllib.TOMLDecodeError:
            return None
        return _named(package)
    if file_name.endswith(".tgz") and "package.json" in own and not commit:
        try:
            return _named(json.loads(own["package.json"]))
        except (ValueError, RecursionError):
            return None
    return None


def _named(package: Any) -> tuple[str, str, str | None] | None:
    """The fields that a crate and an npm package both have."""
    if not isinstance(package, dict) or not isinstance(package.get("name"), str):
        return None
    version, spdx = package.get("version"), package.get("license")
    if isinstance(spdx, dict):  # npm before 2015
        spdx = spdx.get("type")
    spdx = licenses.from_name(spdx) if isinstance(spdx, str) else None
    return package["name"], version if isinstance(version, str) else "", spdx


def _without_revision(name: str, commit: str, stem: str) -> str:
    """`owner-repo-sha` without the hash, `repo-tag` and `repo-branch` without tag and branch."""
    start, _, end = name.rpartition("-")
    if start and len(end) >= 7 and commit.startswith(end):
        return start
    if match := _VERSIONED.fullmatch(name):
        return match[1]
    return name.removesuffix(f"-{stem}")


def _license(own: dict[str, str]) -> str | None:
    """From manifests and license files at the top, or in a wheel's folder of metadata."""
    files = []
    for path, text in own.items():
        name = re.sub(r"^[^/]+\.dist-info/(?:licenses/)?", "", path)
        if licenses.tells(name):
            files.append((name, text.encode()))
    return licenses.of_repository(files)
