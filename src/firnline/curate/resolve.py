"""Which file of its own repository an import means, from paths and declarations alone.

Nothing is built or run, so search paths are not known; where several files could be meant, one
rule decides: the file that lies nearest, which is the one that shares the longest folder with the
importer; then one below `include` or `src`; then the shallowest; then the first by path.
`docs/order.md` gives the rules of each language.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from firnline.curate.imports import DECLARES

_SOURCE_FOLDERS = ("include", "inc", "src", "lib", "source", "python")
# What every C compiler brings (ISO C, POSIX's commonest): <errno.h> is not compat/errno.h.
_STANDARD_HEADERS = frozenset(
    f"{name}.h"
    for name in re.findall(
        r"\w+",
        "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal "
        "stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath "
        "threads time uchar wchar wctype fcntl unistd pthread dirent getopt netdb poll pwd regex "
        "sched semaphore strings syslog termios utime malloc memory windows dlfcn glob grp",
    )
)
_SCRIPT_ENDS = (".js", ".jsx", ".mjs", ".cjs")
_TYPED_ENDS = (".ts", ".tsx", ".d.ts", ".mts", ".cts")
_OTHER_ENDS = (".json", ".vue", ".svelte")
_TYPED_FOR = {".js": (".ts", ".tsx", ".d.ts"), ".jsx": (".tsx",)}
_TYPED_FOR |= {".mjs": (".mts",), ".cjs": (".cts",)}
_PYTHON_ENDS = (".py", ".pyx", ".pyi", ".pxd")


_REMEMBERED = 1 << 16  # files come folder by folder: older answers are seldom asked for again


@dataclass(frozen=True)
class Repository:
    """The files of one repository, in order of their paths; a file's number is its place."""

    name: str
    paths: Sequence[str]
    languages: Sequence[str]
    lines: Sequence[Sequence[str]]
    """What `imports.read_imports` found in each file."""
    number: dict[str, int] = field(default_factory=dict, init=False)
    """The file of each path."""

    def __post_init__(self) -> None:
        for file, path in enumerate(self.paths):
            self.number.setdefault(path, file)

    def declared(self, languages: Iterable[str]) -> Iterator[tuple[str, int]]:
        """(name, file) of each declaration made by files in the languages."""
        wanted = set(languages)
        for file, lines in enumerate(self.lines):
            if self.languages[file] in wanted:
                yield from ((line[1:], file) for line in lines if line.startswith(DECLARES))

    def manifests(self, name: str) -> Iterator[tuple[str, str]]:
        """(folder, declared name) of each manifest file called `name`."""
        for file, path in enumerate(self.paths):
            if path.rpartition("/")[2] == name:
                for line in self.lines[file]:
                    if line.startswith(DECLARES):
                        yield folder_of(path), line[1:]


class Resolver:
    """Finds what the imports of one repository mean.

    A result below `len(repository.paths)` is a file; others are sets of files (a package, a
    namespace): entry `result - len(repository.paths)` of `sets`.
    """

    def __init__(self, repository: Repository) -> None:
        self.sets: list[tuple[int, ...]] = []
        self._repository = repository
        self._set_numbers: dict[tuple[int, ...], int] = {}
        self._finders: dict[str, _Finder] = {}
        self._known: dict[tuple[str, str, str], int | None] = {}

    def find(self, file: int, name: str) -> int | None:
        """The file or set that `name` means in `file`; None where it is not of this repository."""
        language = self._repository.languages[file]
        folder = folder_of(self._repository.paths[file])
        # All files of a folder mean the same by a name, but for Rust, where a file is a module.
        place = self._repository.paths[file] if language == "Rust" else folder
        key = (language, place, name)
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = self._number(self._finder(language)(file, folder, name))
        return self._known[key]

    def members(self, found: int) -> tuple[int, ...]:
        """The files of a set, in order; none for a file."""
        place = found - len(self._repository.paths)
        return self.sets[place] if place >= 0 else ()

    def _finder(self, language: str) -> _Finder:
        if language not in self._finders:
            self._finders[language] = _FINDERS[language](self._repository)
        return self._finders[language]

    def _number(self, found: int | list[int] | None) -> int | None:
        if not isinstance(found, list):
            return found
        if len(found) == 1:
            return found[0]
        members = tuple(found)
        if members not in self._set_numbers:
            self._set_numbers[members] = len(self._repository.paths) + len(self.sets)
            self.sets.append(members)
        return self._set_numbers[members]


_Finder = Callable[[int, str, str], int | list[int] | None]
_Key = tuple[bool, int, str]


class _Nearest:
    """Of the candidates for one name, the one that is nearest to a folder."""

    __slots__ = ("_best", "_first")

    def __init__(self) -> None:
        self._best: dict[str, tuple[_Key, int]] = {}
        self._first: tuple[str, str, int] | None = None  # alone, it is near to all

    def add(self, base: str, path: str, file: int, *, reach: int = -1) -> None:
        """Adds a file found below the folder `base`, for those in it and `reach` folders above."""
        if reach < 0 and self._first is None and not self._best:
            self._first = (base, path, file)
            return
        if self._first is not None:
            self._insert(*self._first, reach=-1)
            self._first = None
        self._insert(base, path, file, reach=reach)

    def _insert(self, base: str, path: str, file: int, *, reach: int) -> None:
        key = (base.rpartition("/")[2] not in _SOURCE_FOLDERS, path.count("/"), path)
        for place, above in enumerate(_upwards(base)):
            if reach >= 0 and place > reach:
                break
            if above not in self._best or key < self._best[above][0]:
                self._best[above] = (key, file)

    def find(self, folder: str) -> int | None:
        """The candidate nearest to `folder`."""
        if self._first is not None:
            return self._first[2]
        for above in _upwards(folder):
            if above in self._best:
                return self._best[above][1]
        return None


class _Python:
    """Absolute imports are sought from folders that are not packages, relative ones by path."""

    def __init__(self, repository: Repository) -> None:
        self._modules: dict[str, int] = {}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._nearest: dict[str, _Nearest] = {}
        packages = set()
        for end in _PYTHON_ENDS:
            for file, path in enumerate(repository.paths):
                if path.endswith(end):
                    module = path.removesuffix(end)
                    if module.rpartition("/")[2] == "__init__":
                        module = folder_of(module)
                        packages.add(module)
                    self._modules.setdefault(module, file)
        self._packages = packages - {""}
        for module in self._modules:
            self._by_name[module.rpartition("/")[2]].append(module)

    def __call__(self, file: int, folder: str, name: str) -> int | None:
        module, _, member = name.partition(":")
        rest = module.lstrip(".")
        if ups := len(module) - len(rest):
            for _ in range(ups - 1):
                folder = folder_of(folder)
            base = _join(folder, rest.replace(".", "/"))
            inside = self._modules.get(_join(base, member)) if member else None
            return self._modules.get(base) if inside is None else inside
        path = rest.replace(".", "/")
        inside = self._find(f"{path}/{member}", folder) if member else None
        return self._find(path, folder) if inside is None else inside

    def _find(self, module: str, folder: str) -> int | None:
        if module not in self._nearest:
            if len(self._nearest) >= _REMEMBERED:
                self._nearest.clear()
            nearest = self._nearest[module] = _Nearest()
            for known in self._by_name.get(module.rpartition("/")[2], ()):
                if known == module or known.endswith(f"/{module}"):
                    base = known[: -len(module)].rstrip("/")
                    if base in self._packages:
                        continue
                    # A plain name may be a library's: it counts only where Python would look.
                    source = base.rpartition("/")[2] in _SOURCE_FOLDERS
                    reach = -1 if "/" in module else int(source)
                    nearest.add(base, known, self._modules[known], reach=reach)
        return self._nearest[module].find(folder)


class _C:
    """The includer's folder first, if quoted; then the nearest file whose path ends so."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._nearest: dict[str, _Nearest] = {}
        self._by_name: dict[str, list[int]] = defaultdict(list)
        for path, file in repository.number.items():
            self._by_name[path.rpartition("/")[2]].append(file)

    def __call__(self, _: int, folder: str, name: str) -> int | None:
        sign, header = name[0], name[1:]
        if sign == '"':
            beside = self._repository.number.get(_join(folder, header))
            if beside is not None:
                return beside
        if name not in self._nearest:
            if len(self._nearest) >= _REMEMBERED:
                self._nearest.clear()
            self._nearest[name] = self._candidates(sign, header)
        return self._nearest[name].find(folder)

    def _candidates(self, sign: str, header: str) -> _Nearest:
        nearest = _Nearest()
        header = posixpath.normpath(header)
        while header.startswith("../"):
            header = header[3:]
        standard = sign == "<" and header in _STANDARD_HEADERS
        for file in self._by_name.get(header.rpartition("/")[2], ()):
            path = self._repository.paths[file]
            base = path[: -len(header)].rstrip("/")
            if path != header and not path.endswith(f"/{header}"):
                continue
            if not standard or base.rpartition("/")[2] == "include":
                nearest.add(base, path, file)
        return nearest


class _Java:
    """Classes by declared package and file name; `a.b.*` is all files of the package."""

    def __init__(self, repository: Repository) -> None:
        self._classes: dict[str, _Nearest] = defaultdict(_Nearest)
        self._packages: dict[str, list[int]] = defaultdict(list)
        for package, file in repository.declared(["Java"]):
            path = repository.paths[file]
            name = path.rpartition("/")[2].partition(".")[0]
            if name not in ("package-info", "module-info"):
                self._classes[f"{package}.{name}"].add(folder_of(path), path, file)
                self._packages[package].append(file)

    def __call__(self, _: int, folder: str, name: str) -> int | list[int] | None:
        if name.endswith(".*"):
            name = name[:-2]
            if name in self._packages:
                return self._packages[name]
        while "." in name:  # a nested class or a static member lies in its outer class's file
            if name in self._classes:
                return self._classes[name].find(folder)
            name = name.rpartition(".")[0]
        return None


class _CSharp:
    """All files that declare the namespace; for a type, the file of its name among them."""

    def __init__(self, repository: Repository) -> None:
        self._namespaces: dict[str, list[int]] = defaultdict(list)
        self._types: dict[str, _Nearest] = defaultdict(_Nearest)
        for namespace, file in repository.declared(["C#"]):
            path = repository.paths[file]
            self._namespaces[namespace].append(file)
            kind = path.rpartition("/")[2].partition(".")[0]
            self._types[f"{namespace}.{kind}"].add(folder_of(path), path, file)

    def __call__(self, _: int, folder: str, name: str) -> int | list[int] | None:
        if name in self._namespaces:
            return self._namespaces[name]
        return self._types[name].find(folder) if name in self._types else None


class _Script:
    """Relative paths as Node and TypeScript do; packages of the workspace; roots as in `@/x`."""

    def __init__(self, repository: Repository) -> None:
        self._number = repository.number
        self._languages = repository.languages
        self._workspace: dict[str, _Nearest] = defaultdict(_Nearest)
        self._folders: list[str] = []
        for folder, name in repository.manifests("package.json"):
            self._workspace[name].add(folder, folder, len(self._folders))
            self._folders.append(folder)

    def __call__(self, file: int, folder: str, name: str) -> int | None:
        typed = self._languages[file] == "TypeScript"
        name = name.partition("?")[0]
        if name.startswith("."):
            return self._at(_join(folder, name), typed)
        if name.startswith(("@/", "~/")):
            return self._above(folder, name[2:], ("", "src"), typed)
        parts = name.split("/")
        size = 2 if name.startswith("@") else 1
        package, rest = "/".join(parts[:size]), "/".join(parts[size:])
        if package in self._workspace:
            place = self._workspace[package].find(folder)
            root = self._folders[place] if place is not None else ""
            for base in (root, _join(root, "src"), _join(root, "lib")):
                if (found := self._at(_join(base, rest), typed)) is not None:
                    return found
            return None
        return self._above(folder, name, ("", "src", "node_modules"), typed) if rest else None

    def _above(self, folder: str, name: str, below: Sequence[str], typed: bool) -> int | None:
        for above in _upwards(folder):
            for inside in below:
                found = self._at(_join(_join(above, inside), name), typed)
                if found is not None:
                    return found
        return None

    def _at(self, path: str, typed: bool) -> int | None:
        if path in self._number:
            return self._number[path]
        ends = (*_TYPED_ENDS, *_SCRIPT_ENDS) if typed else (*_SCRIPT_ENDS, *_TYPED_ENDS)
        stem, end = posixpath.splitext(path)
        candidates = [stem + other for other in _TYPED_FOR.get(end, ())]
        candidates += [path + other for other in (*ends, *_OTHER_ENDS)]
        candidates += [_join(path, f"index{other}") for other in ends]
        return next((self._number[known] for known in candidates if known in self._number), None)


class _Go:
    """All files of the package's folder but tests; the module's path from go.mod, or guessed."""

    def __init__(self, repository: Repository) -> None:
        packages: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for name, file in repository.declared(["Go"]):
            if not repository.paths[file].endswith("_test.go"):
                packages[folder_of(repository.paths[file])][name].append(file)
        # Beside a package lie programs that no build includes (`//go:build ignore`).
        self._folders = {
            folder: min(named.items(), key=lambda item: (item[0] == "main", -len(item[1]), item))[1]
            for folder, named in packages.items()
        }
        modules = [(name, folder) for folder, name in repository.manifests("go.mod")]
        if not modules:
            modules = [(name, "") for name in self._guess(repository)]
        self._modules = sorted(modules, key=lambda module: (-len(module[0]), module))
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for known in self._folders:
            self._by_name[known.rpartition("/")[2]].append(known)

    def __call__(self, _: int, folder: str, name: str) -> int | list[int] | None:
        for module, root in self._modules:
            if name == module or name.startswith(f"{module}/"):
                files = self._folders.get(_join(root, name[len(module) + 1 :]))
                if files:
                    return files
        nearest = _Nearest()  # below a GOPATH, Go's own src, or vendored
        alike = self._by_name.get(name.rpartition("/")[2], ())
        for place, known in enumerate(alike):
            base = known[: -len(name)].rstrip("/")
            inside = known == name or known.endswith(f"/{name}")
            if inside and base.rpartition("/")[2] in ("src", "vendor"):
                nearest.add(base, known, place)
        found = nearest.find(folder)
        return None if found is None else self._folders[alike[found]]

    def _guess(self, repository: Repository) -> list[str]:
        """The path before the folder's in most imports that end in a folder of the repository."""
        votes: dict[str, set[str]] = defaultdict(set)
        for file, language in enumerate(repository.languages):
            for name in repository.lines[file] if language == "Go" else ():
                parts = name.split("/")
                for size in range(1, len(parts) + 1 if "." in parts[0] else 0):
                    if "/".join(parts[size:]) in self._folders:
                        votes["/".join(parts[:size])].add(name)
                        break
        last = repository.name.rpartition("/")[2].lower()
        counts = Counter({name: len(seen) for name, seen in votes.items()})
        best = sorted(counts, key=lambda name: (last not in name.lower(), -counts[name], name))[:1]
        return [name for name in best if last in name.lower() or counts[name] > 1]


class _Rust:
    """Modules by the file layout of their crate; crates of the workspace by name."""

    def __init__(self, repository: Repository) -> None:
        self._paths = repository.paths
        self._number = repository.number
        self._crates: dict[str, _Nearest] = defaultdict(_Nearest)
        own = repository.name.rpartition("/")[2]
        names = defaultdict(list)
        for folder, name in repository.manifests("Cargo.toml"):
            names[folder].append(name)
        for path, file in repository.number.items():
            if path.rpartition("/")[2] == "lib.rs":
                above = folder_of(path)
                crate = folder_of(above) if above.rpartition("/")[2] == "src" else above
                for name in names[crate] or [crate.rpartition("/")[2] or own]:
                    self._crates[name.replace("-", "_")].add(crate, path, file)

    def __call__(self, file: int, folder: str, name: str) -> int | None:
        if name.startswith("mod "):
            name, _, path = name[4:].partition("@")
            if path:
                return self._number.get(_join(folder, path))
            found = self._module(_join(self._below(file), name))
            return self._module(_join(folder, name)) if found is None else found
        parts = name.split("::")
        if parts[0] == "crate":
            root = self._root(file)
            return self._deepest(folder_of(self._paths[root]), parts[1:], root)
        if parts[0] in ("self", "super"):
            below = self._below(file)
            while parts and parts[0] in ("self", "super"):
                below = folder_of(below) if parts.pop(0) == "super" else below
            return self._deepest(below, parts, self._module(below))
        found = self._deepest(self._below(file), parts, None)
        if found is None and parts[0] in self._crates:
            crate = self._crates[parts[0]].find(folder)
            if crate is not None:
                return self._deepest(folder_of(self._paths[crate]), parts[1:], crate)
        return found

    def _deepest(self, folder: str, parts: Sequence[str], otherwise: int | None) -> int | None:
        for size in range(len(parts), 0, -1):
            found = self._module(_join(folder, "/".join(parts[:size])))
            if found is not None:
                return found
        return otherwise

    def _module(self, path: str) -> int | None:
        ends = (".rs", "/mod.rs", "/lib.rs", "/main.rs")
        names = [path + end if path else end[1:] for end in ends]
        return next((self._number[name] for name in names if name in self._number), None)

    def _root(self, file: int) -> int:
        for above in _upwards(folder_of(self._paths[file])):
            for name in ("lib.rs", "main.rs"):
                if (root := self._number.get(_join(above, name))) is not None:
                    return root
        return file  # a test, an example or a build script is a crate of its own

    def _below(self, file: int) -> str:
        """The folder where the modules inside a file's module lie."""
        path = self._paths[file]
        name = path.rpartition("/")[2]
        if name in ("lib.rs", "main.rs", "mod.rs") or self._root(file) == file:
            return folder_of(path)
        return path.removesuffix(".rs")


_FINDERS: dict[str, Callable[[Repository], _Finder]] = {
    "Python": _Python,
    "Cython": _Python,
    "C": _C,
    "C++": _C,
    "Java": _Java,
    "C#": _CSharp,
    "JavaScript": _Script,
    "TypeScript": _Script,
    "Go": _Go,
    "Rust": _Rust,
}


def folder_of(path: str) -> str:
    """The folder of a path inside a repository; empty for the root."""
    return path.rpartition("/")[0]


def _upwards(folder: str) -> Iterator[str]:
    yield folder
    while folder:
        folder = folder_of(folder)
        yield folder


def _join(folder: str, name: str) -> str:
    path = f"{folder}/{name}" if folder and name else folder or name
    if "./" in path or path.endswith("."):
        path = posixpath.normpath(path)
    return "" if path == "." else path
