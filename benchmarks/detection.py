"""How often the language of a file is told right, where its name alone does not tell it.

Two sets with labels that do not come from the code measured:

- packages of Debian and npm that are written in one language, for extensions that several
  languages share (`.h`, `.m`, `.pl`, `.v`, `.cls`, `.inc`, `.pp`, `.sql`, `.ts`, `.r`). A header of
  a C++ or an Objective-C package that holds C alone counts as wrong, so these are lower bounds;
- with `--documents`, files of a folder of Documents, their names taken away: what the content model
  says of a file without an extension.

The last line is a JSON object: for each extension and language `n` and `right`; `open`, how many
files were left to the content model; `model_ms`, what it costs a file.

    python benchmarks/detection.py --packages FOLDER [--documents FOLDER]

Packages are fetched into FOLDER by `apt-get download` and `npm pack` where they are not there yet.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections import Counter
from pathlib import Path

import pyarrow.compute as pc

from firnline.corpus.content_type import language_of
from firnline.documents import document_shards, read_batches
from firnline.languages import LANGUAGES, candidates

# (extension, language, packages); npm packages have a version.
SETS = (
    (".h", "C", "linux-libc-dev libssl-dev libglib2.0-dev libgtk-3-dev libpng-dev libsqlite3-dev"),
    (".h", "C++", "qtbase5-dev qt6-base-dev libeigen3-dev libabsl-dev libprotobuf-dev"),
    (".h", "Objective-C", "libgnustep-base-dev libgnustep-gui-dev cordova-ios@7.0.0"),
    (".m", "Objective-C", "cordova-ios@7.0.0 react-native@0.72.0 react-native-maps@1.8.0"),
    (".m", "MATLAB", "octave-common octave-statistics octave-control octave-image octave-signal"),
    (".pl", "Perl", "perl-modules-5.36"),
    (".pl", "Prolog", "swi-prolog-core-packages swi-prolog-nox"),
    (".v", "Coq", "libcoq-stdlib"),
    (".v", "Verilog", "yosys"),
    (".cls", "LaTeX", "texlive-publishers texlive-latex-recommended texlive-latex-base"),
    (".inc", "Pascal", "fpc-source-3.2.2 lazarus-src-2.2"),
    (".inc", "C++", "libabsl-dev libprotobuf-dev libboost1.74-dev"),
    (".pp", "Pascal", "fpc-source-3.2.2 lazarus-src-2.2"),
    (".r", "R", "r-cran-ggplot2 r-base-core r-cran-mass r-cran-matrix"),
    (".sql", "SQL", "postgresql-15 postgresql-15-postgis-3-scripts phpmyadmin"),
    (".ts", "TypeScript", "typescript@5.4.5 @angular/core@17.0.0 rxjs@7.8.1 typeorm@1.1.1"),
)
_MOST = 600  # files of one extension and language


def package(folder: Path, name: str) -> Path:
    """The unpacked package, fetched where it is not there yet."""
    place = folder / name.replace("/", "-").lstrip("@")
    if not place.exists():
        place.mkdir(parents=True)
        if "@" in name[1:]:
            run(place, "npm", "pack", "--silent", name)
            run(place, "tar", "xzf", str(next(place.glob("*.tgz"))))
        else:
            run(place, "apt-get", "download", "-q", name)
            run(place, "dpkg-deb", "-x", str(next(place.glob("*.deb"))), ".")
    return place


def run(folder: Path, *command: str) -> None:
    """A command in a folder; its failure ends the run."""
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def shared_extensions(folder: Path) -> dict[str, dict[str, int]]:
    """Counts for each extension and language of `SETS`."""
    results = {}
    for extension, language, names in SETS:
        files = [
            path
            for name in names.split()
            for path in sorted(package(folder, name).rglob("*"))
            if path.suffix.lower() == extension and path.is_file() and not path.is_symlink()
        ]
        said: Counter[str | None] = Counter()
        left = 0
        for path in files[:: max(1, len(files) // _MOST)]:
            content = path.read_bytes()
            if content.strip():
                left += len(candidates(path.name, content)) > 1
                said[language_of(path.name, content)] += 1
        others = {str(name): n for name, n in said.most_common() if name != language}
        row = {"n": sum(said.values()), "right": said[language], "open": left}
        results[f"{extension} {language}"] = row
        print(f"{extension:5} {language:12} {row['n']:5} files, {row['right']:5} right", others)
    return results


def without_names(folder: Path, each: int) -> dict[str, dict[str, float]]:
    """What is said of `each` documents of each programming language, their names taken away."""
    taken: Counter[str] = Counter()
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    spent = 0.0
    for shard in document_shards(folder):
        for batch in read_batches(shard, ["language", "content", "size"], rows=512):
            batch = batch.filter(pc.less(batch["size"], 200_000))
            for language, content in zip(
                batch["language"].to_pylist(), batch["content"].to_pylist(), strict=True
            ):
                known = LANGUAGES.get(language)
                if known is None or known.kind != "programming" or taken[language] >= each:
                    continue
                taken[language] += 1
                started = time.process_time()
                found = language_of("file", content.encode())
                spent += time.process_time() - started
                right[language] += found == language
                wrong[language] += found not in (language, None)
    results: dict[str, dict[str, float]] = {}
    for language, n in sorted(taken.items(), key=lambda item: -item[1]):
        results[language] = {"n": n, "right": right[language], "wrong": wrong[language]}
        print(f"{language:18} {n:4} files, {right[language]:4} right, {wrong[language]:4} wrong")
    return {**results, "model": {"ms": 1000 * spent / max(1, sum(taken.values()))}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--documents", type=Path)
    parser.add_argument("--each", type=int, default=100)
    options = parser.parse_args()
    result: dict[str, object] = {"shared": shared_extensions(options.packages)}
    if options.documents:
        result["nameless"] = without_names(options.documents, options.each)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
