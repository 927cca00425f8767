"""What a file's path says about it: generated, vendored, minified, a lock, a license, test data.

Every pattern is matched against the path in small letters. The names are those that linguist
(github/linguist, `vendor.yml` and `generated.rb`, which StarCoder2 uses through go-enry) lists for
the languages of the table, and the tools' own documentation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Pattern = tuple[str, str]
"""What a reader calls it, and an expression that RE2 and Python read alike."""

_CODE = r"\.(?:js|mjs|cjs|ts|css)"

PATTERNS: dict[str, tuple[Pattern, ...]] = {
    "generated_name": (
        ("*_pb2.py", r"_pb2(?:_grpc)?\.pyi?$"),
        ("*.pb.*", r"\.pb(?:\.gw|\.validate)?\.(?:go|cc|cpp|h|c|swift|dart|ts|js)$"),
        ("*_pb.js", r"_pb\.(?:d\.ts|js|ts|rb)$"),
        ("*.g.dart", r"\.(?:g|gr|freezed|mocks|pbenum|pbjson|pbserver)\.dart$"),
        ("*.designer.cs", r"\.designer\.(?:cs|vb)$"),
        ("*.g.cs", r"\.(?:g|g\.i|generated|feature|xaml\.g)\.cs$"),
        ("moc_*.cpp", r"(?:^|/)(?:moc|qrc)_[^/]*\.cpp$"),
        ("*.moc", r"\.moc$"),
        ("ui_*.h", r"(?:^|/)ui_[^/]*\.h$"),
        ("*.tab.c", r"\.tab\.(?:c|h|cc|cpp|hh|hpp)$"),
        ("lex.*.c", r"(?:^|/)lex\.[^/]*\.(?:c|cc|cpp)$"),
        ("*_generated.*", r"[._-]generated\.(?:h|hpp|go|rs|ts|js|py|swift|php|java|kt|rb|dart)$"),
        ("zz_generated*.go", r"(?:^|/)zz_generated[^/]*\.go$"),
        ("__generated__/", r"(?:^|/)__generated__/"),
        (".pnp.js", r"(?:^|/)\.pnp\.[^/]*$"),
        ("*.zep.c", r"\.zep\.(?:c|h|php)$"),
        ("*.js.map", r"\.(?:js|css|mjs|cjs)\.map$"),
        (".idea/", r"(?:^|/)\.idea/"),
        ("BuildConfig.java", r"(?:^|/)(?:buildconfig|r)\.java$"),
        # What a compiler wrote, for its tests to compare with: docs/rules.md.
        ("tests/baselines/", r"(?:^|/)tests?/baselines?/"),
        ("Makefile.in", r"(?:^|/)(?:makefile|config\.h|configure)\.in$"),
    ),
    "vendored_path": (
        ("node_modules/", r"(?:^|/)(?:node_modules|bower_components|jspm_packages)/"),
        ("vendor/", r"(?:^|/)_?vendor(?:s|ed)?/"),
        ("third_party/", r"(?:^|/)(?:third|3rd)[-_]?party/"),
        ("site-packages/", r"(?:^|/)(?:site|dist)-packages/"),
        ("Godeps/", r"(?:^|/)godeps/"),
        ("Carthage/", r"(?:^|/)carthage/build/"),
        ("deps/", r"^deps/"),
        ("jquery*.js", r"(?:^|/)jquery(?:-\d[\d.]*|[.-]slim|-ui)*\.js$"),
        ("jquery.*.js", r"(?:^|/)jquery[.-](?:ui|effects|validate|fancybox|fileupload)[^/]*\.js$"),
        ("bootstrap*.js", r"(?:^|/)bootstrap(?:-theme|-grid|-reboot)?\.(?:js|css)$"),
        ("angular*.js", r"(?:^|/)angular(?:-[^./]*)?\.js$"),
        ("d3.js", r"(?:^|/)d3(?:\.v\d+)?\.js$"),
        ("react*.js", r"(?:^|/)react(?:-dom)?(?:\.(?:development|production))?\.js$"),
        ("modernizr*.js", r"(?:^|/)modernizr[^/]*\.js$"),
        ("mootools-*.js", r"(?:^|/)(?:mootools|prototype|dojo|knockout)-\d[\d.]*\.js$"),
        ("html5shiv.js", r"(?:^|/)html5shiv\.js$"),
        ("ckeditor.js", r"(?:^|/)(?:ckeditor|tiny_mce[^./]*)\.js$"),
        ("font-awesome.css", r"(?:^|/)(?:font-awesome|normalize|animate|foundation)\.css$"),
        ("gradlew", r"(?:^|/)gradlew(?:\.bat)?$|(?:^|/)gradle/wrapper/"),
        ("config.guess", r"(?:^|/)config\.(?:guess|sub)$"),
        ("libtool.m4", r"(?:^|/)(?:aclocal|libtool|lt[a-z~]+)\.m4$|(?:^|/)ltmain\.sh$"),
    ),
    "minified_name": (
        ("*.min.js", r"[.-]min" + _CODE + "$"),
        ("*.bundle.js", r"[.-](?:bundle|chunk)" + _CODE + "$"),
    ),
    "lock_name": (
        ("package-lock.json", r"(?:^|/)(?:package-lock|npm-shrinkwrap)\.json$"),
        ("*.lock", r"\.(?:lock|lockb|lockfile|lock\.hcl|lock\.json)$"),
        ("pnpm-lock.yaml", r"(?:^|/)(?:pnpm|conda|pixi)-lock\.ya?ml$"),
        ("go.sum", r"(?:^|/)go\.(?:work\.)?sum$"),
        ("project.assets.json", r"(?:^|/)project\.assets\.json$"),
    ),
    "license_name": (
        (
            "LICENSE",
            r"(?:^|/)(?:(?:[a-z0-9_]+[-_])?licen[cs]es?|copying|copyright|unlicense|notices?"
            r"|patents|eula)(?:[-_.](?:mit|bsd|apache|[al]?gpl|mpl|cc0|zlib|epl|\d)[a-z0-9.+_-]*)?"
            r"(?:\.(?:lib|lesser|txt|md|markdown|rst|html?))*$",
        ),
        ("LICENSES/", r"(?:^|/)licen[cs]es/"),
        ("AUTHORS", r"(?:^|/)(?:authors|contributors|maintainers|credits|thanks)(?:\.[a-z]+)?$"),
    ),
    "fixture_name": (
        ("fixtures/", r"(?:^|/)(?:__)?fixtures?(?:__)?/"),
        ("testdata/", r"(?:^|/)test[-_]?data/"),
        ("__snapshots__/", r"(?:^|/)(?:__snapshots__|cassettes|vcr_cassettes)/|\.snap$"),
    ),
}

# Programs where data is expected: the scripts that test Go's own command, and testscript's.
_EXCEPT = {"fixture_name": r"(?:^|/)testdata/scripts?/[^/]*\.(?:txt|txtar)$"}

_ANY = {name: "|".join(each for _, each in rows) for name, rows in PATTERNS.items()}
_EVERY = "|".join(_ANY.values())

# StarCoder2 (section 3.1) keeps a text file only under one of these names, or "requirement" in it.
_TELLING_TEXTS = frozenset({"readme", "notes", "todo", "description", "cmakelists"})


def name_statistics(
    paths: Sequence[str], languages: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """For each document and each of PATTERNS the number, from 1, of its first pattern; 0 for none.

    With them comes `other_text`: 1 for a text file whose name StarCoder2 does not keep.
    """
    lowered = pc.ascii_lower(pa.array(paths, pa.large_string()))
    values = {name: np.zeros(len(paths)) for name in (*PATTERNS, "other_text")}
    rows = _matching(lowered, _EVERY)
    few = lowered.take(pa.array(rows))
    for name, patterns in PATTERNS.items():
        for place in _matching(few, _ANY[name]).tolist():
            path = few[place].as_py()
            if name in _EXCEPT and re.search(_EXCEPT[name], path):
                continue
            hits = (number for number, row in enumerate(patterns, 1) if re.search(row[1], path))
            values[name][rows[place]] = next(hits)
    for row in np.flatnonzero(np.asarray(languages, dtype=object) == "Text").tolist():
        file = lowered[row].as_py().rpartition("/")[2]
        telling = "requirement" in file or file.rpartition(".")[0] in _TELLING_TEXTS
        values["other_text"][row] = not (telling or file in _TELLING_TEXTS)
    return values


def _matching(paths: pa.Array, expression: str) -> NDArray[np.int64]:
    matched = pc.match_substring_regex(paths, expression)
    return np.flatnonzero(matched.to_numpy(zero_copy_only=False))


def pattern(statistic: str, number: float) -> str:
    """What a reader calls the pattern with this number."""
    return PATTERNS[statistic][int(number) - 1][0]
