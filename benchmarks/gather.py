"""Gathers a corpus of real code for the benchmarks from package registries.

    python benchmarks/gather.py FOLDER [--half first|second|both] [--workers N]

Takes source packages of Debian 12 (`apt-get source --download-only`, from a list of its own:
the system's lists stay as they are), packages of npm (`npm pack`) and wheels of PyPI
(`pip download`), each at the version of the table below; nothing of a package is run or built.
Of each archive the files whose name tells a language are unpacked, up to CAP bytes, into
`FOLDER/sources/HALF/PACKAGE`, so that a package is a repository. Then `ingest` turns the first
half into `FOLDER/documents`, and both halves into `FOLDER/double`. The second half is made of
other packages: a corpus of twice the size that is not a copy of the first.

Run again, it goes on: a package that is there is not fetched again. A package that cannot be had
is named and left out. Debian keeps one version of a package: where a security update came with a
new upstream version, that one is taken and named.
The last line is a JSON object with MB and documents by language.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from firnline.corpus.licenses import is_license_file
from firnline.corpus.stage import IngestConfig, run
from firnline.languages import detect

CAP = 80_000_000
"""Bytes of one package: no project should make a language."""
LARGEST = 8 << 20
LEFT_OUT = ("/tests/baselines/",)
"""Folders that are not unpacked: the TypeScript compiler's reference outputs are no code that
anybody wrote, and fill the package's CAP before its source is reached."""

DEBIAN = {
    "first": """
        guava-libraries=31.1 tomcat9=9.0.70 git=2.39.5 vim=9.0.1378 gnutls28=3.7.9
        protobuf=3.21.12 eigen3=3.4.0 poco=1.11.0 golang-1.19=1.19.8 rustc=1.63.0 symfony=5.4.53
        roundcube=1.6.5 rails=6.1.7.10 ruby3.1=3.1.2 mono=6.8.0.105 kotlin=1.3.31
        node-typescript=4.8.4 python3.11=3.11.2
    """,
    "second": """
        jetty9=9.4.57 bouncycastle=1.72 hsqldb=2.7.1 antlr4=4.7.2 postgresql-15=15.18
        redis=7.0.15 sqlite3=3.40.1 openssl=3.0.20 fmtlib=9.1.0 qtbase-opensource-src=5.15.8
        cmake=3.25.1 kubernetes=1.20.5 librsvg=2.54.7 mediawiki=1.39.17 perl=5.36.0 scala=2.11.12
    """,
}
PYPI = {
    "first": "sympy==1.12 django==5.0.4",
    "second": "pandas==2.2.2 scipy==1.13.0 scikit-learn==1.4.2 sqlalchemy==2.0.29 networkx==3.3 "
    "twisted==24.3.0 matplotlib==3.8.4 nltk==3.8.1",
}
NPM = {
    "first": "rxjs@7.8.1 @angular/core@17.3.6 lodash@4.17.21",
    "second": "three@0.164.0 date-fns@3.6.0 @types/node@20.12.7 typeorm@0.3.20 antd@5.16.4 "
    "mongodb@6.5.0 aws-cdk-lib@2.139.0",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--half", choices=("first", "second", "both"), default="both")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--shard-mib", type=int, default=64)
    arguments = parser.parse_args()
    folder: Path = arguments.folder.absolute()
    halves = ("first", "second") if arguments.half == "both" else (arguments.half,)
    update_lists(folder / "apt")
    for half in halves:
        for name, version in (pair.split("=") for pair in DEBIAN[half].split()):
            gather(
                folder,
                half,
                f"{name}-{version}",
                lambda into, name=name, version=version: fetch_debian(
                    folder / "apt", name, version, into
                ),
            )
        for spec in PYPI[half].split():
            gather(
                folder,
                half,
                spec.replace("==", "-"),
                lambda into, spec=spec: fetch_wheel(spec, into),
            )
        for spec in NPM[half].split():
            name = spec.lstrip("@").replace("/", "-").replace("@", "-")
            gather(folder, half, name, lambda into, spec=spec: fetch_npm(spec, into))
    results = {}
    if "first" in halves:
        results["documents"] = ingest(folder, ("first",), folder / "documents", arguments)
    if arguments.half == "both":
        results["double"] = ingest(folder, ("first", "second"), folder / "double", arguments)
    print(json.dumps(results, sort_keys=True))


def gather(folder: Path, half: str, name: str, fetch: Callable[[Path], list[Path]]) -> None:
    """Fetches and unpacks one package, unless it is there."""
    target = folder / "sources" / half / name
    if target.exists():
        return
    fetched, unpacked = folder / "fetched" / name, folder / "unpacked" / name
    for place in (fetched, unpacked):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    try:
        archives = fetch(fetched)
    except subprocess.CalledProcessError as error:
        print(f"{name}: left out: {error.stderr.strip().splitlines()[-1:]}", flush=True)
        return
    room = CAP
    for archive in archives:
        room -= unpack(archive, unpacked, room)
    target.parent.mkdir(parents=True, exist_ok=True)
    unpacked.rename(target)
    shutil.rmtree(fetched)
    print(f"{name}: {(CAP - room) / 1e6:.1f} MB", flush=True)


def update_lists(place: Path) -> None:
    """Package lists of Debian 12 with sources, in a folder of our own."""
    for part in ("lists/partial", "cache/archives/partial"):
        (place / part).mkdir(parents=True, exist_ok=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (place / "sources.list").write_text(
        f"deb-src [signed-by={keyring}] http://deb.debian.org/debian bookworm main\n"
    )
    command(["apt-get", *apt_options(place), "update"], place)


def apt_options(place: Path) -> list[str]:
    return [
        "-qq",
        *("-o", f"Dir::Etc::sourcelist={place}/sources.list", "-o", "Dir::Etc::sourceparts=-"),
        *("-o", f"Dir::State::lists={place}/lists", "-o", f"Dir::Cache={place}/cache"),
        *("-o", "APT::Sandbox::User=root"),
    ]


def fetch_debian(place: Path, name: str, version: str, into: Path) -> list[Path]:
    """The upstream archives of a Debian source package; apt checks their digests."""
    command(["apt-get", *apt_options(place), "source", "--download-only", name], into)
    archives = sorted(path for path in into.iterdir() if ".orig" in path.name)
    archives = [path for path in archives if path.suffix != ".asc"]
    if not any(f"_{version}" in path.name for path in archives):
        print(f"{name}: {version} is no longer there, took {archives[0].name}")
    return archives


def fetch_wheel(spec: str, into: Path) -> list[Path]:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command([*pip, "--only-binary", ":all:", spec], into)
    return sorted(into.iterdir())


def fetch_npm(spec: str, into: Path) -> list[Path]:
    command(["npm", "pack", "--silent", spec], into)
    return sorted(into.glob("*.tgz"))


def command(words: list[str], folder: Path) -> None:
    subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)


def unpack(archive: Path, into: Path, room: int) -> int:
    """Writes the files of an archive that name a language or a license; returns their bytes.

    Members keep their order until `room` bytes are written. Links, devices and names that lead
    out of the folder are left out.
    """
    written = 0
    for name, size, file in members(archive):
        parts = PurePosixPath(name).parts
        wanted = detect(name, b"") is not None or is_license_file(name)
        if not wanted or not 0 < size <= LARGEST or ".." in parts or name.startswith("/"):
            continue
        if any(folder in name for folder in LEFT_OUT):
            continue
        if written + size > room:
            break
        # The first folder of an archive is its name and version, said by our folder already.
        path = into.joinpath(*(parts[1:] if len(parts) > 1 and archive.suffix != ".whl" else parts))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as output:
                shutil.copyfileobj(file, output)
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            continue  # a file and a folder of one name in two archives of a package
        written += size
    return written


def members(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as whole:
            for item in whole.infolist():
                if not item.is_dir():
                    with whole.open(item) as file:
                        yield item.filename, item.file_size, file
        return
    with tarfile.open(archive, "r|*") as stream:
        for member in stream:
            content = stream.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, member.size, content


def ingest(
    folder: Path, halves: tuple[str, ...], out: Path, arguments: argparse.Namespace
) -> dict[str, object]:
    sources = [{"kind": "directory", "path": str(folder / "sources" / half)} for half in halves]
    config = IngestConfig.model_validate({"sources": sources, "shard_mib": arguments.shard_mib})
    stats = run(config, out, workers=arguments.workers).stats
    print(f"{out.name}: {stats['documents']:,} documents, {stats['bytes'] / 1e6:,.1f} MB")
    rows = sorted(stats["languages"].items(), key=lambda row: -row[1]["bytes"])
    for language, row in rows:
        print(f"  {language:20} {row['bytes'] / 1e6:9.1f} MB {row['documents']:9,}")
    return {
        "documents": stats["documents"],
        "content_mb": round(stats["bytes"] / 1e6, 1),
        "languages_mb": {name: round(row["bytes"] / 1e6, 2) for name, row in rows},
    }


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    main()
