"""What an import means inside its repository, language by language (`docs/order.md`).

Nothing is built or run, so search paths are not known: paths and declarations alone tell. A finder
takes (file, its folder, the import) and gives a file, the files of a package or namespace, or None.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from firnline.curate.repository import (
    SOURCE_FOLDERS,
    Nearest,
    Repository,
    folder_of,
    join,
    upwards,
)

Finder = Callable[[int, str, str], int | list[int] | None]

REMEMBERED = 1 << 16
"""Answers kept: files come folder by folder, and older ones are seldom asked for again."""

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


class _Python:
    """Absolute imports are sought from folders that are not packages, relative ones by path."""

    def __init__(self, repository: Repository) -> None:
        self._modules: dict[str, int] = {}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._nearest: dict[str, Nearest] = {}
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
            base = join(folder, rest.replace(".", "/"))
            inside = self._modules.get(join(base, member)) if member else None
            return self._modules.get(base) if inside is None else inside
        path = rest.replace(".", "/")
        inside = self._find(f"{path}/{member}", folder) if member else None
        return self._find(path, folder) if inside is None else inside

    def _find(self, module: str, folder: str) -> int | None:
        if module not in self._nearest:
            if len(self._nearest) >= REMEMBERED:
                self._nearest.clear()
            nearest = self._nearest[module] = Nearest()
            for known in self._by_name.get(module.rpartition("/")[2], ()):
                if known == module or known.endswith(f"/{module}"):
                    base = known[: -len(module)].rstrip("/")
                    if base in self._packages:
                        continue
                    # A plain name may be a library's: it counts only where Python would look.
                    source = base.rpartition("/")[2] in SOURCE_FOLDERS
                    reach = -1 if "/" in module else int(source)
                    nearest.add(base, known, self._modules[known], reach=reach)
        return self._nearest[module].find(folder)


class _C:
    """The includer's folder first, if quoted; then the nearest file whose path ends so."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._nearest: dict[str, Nearest] = {}
        self._by_name: dict[str, list[int]] = defaultdict(list)
        for path, file in repository.number.items():
            self._by_name[path.rpartition("/")[2]].append(file)

    def __call__(self, _: int, folder: str, name: str) -> int | None:
        sign, header = name[0], name[1:]
        if sign == '"':
            beside = self._repository.number.get(join(folder, header))
            if beside is not None:
                return beside
        if name not in self._nearest:
            if len(self._nearest) >= REMEMBERED:
                self._nearest.clear()
            self._nearest[name] = self._candidates(sign, header)
        return self._nearest[name].find(folder)

    def _candidates(self, sign: str, header: str) -> Nearest:
        nearest = Nearest()
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
        self._classes: dict[str, Nearest] = defaultdict(Nearest)
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
        self._types: dict[str, Nearest] = defaultdict(Nearest)
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
        self._workspace: dict[str, Nearest] = defaultdict(Nearest)
        self._folders: list[str] = []
        for folder, name in repository.manifests("package.json"):
            self._workspace[name].add(folder, folder, len(self._folders))
            self._folders.append(folder)

    def __call__(self, file: int, folder: str, name: str) -> int | None:
        typed = self._languages[file] == "TypeScript"
        name = name.partition("?")[0]
        if name.startswith("."):
            return self._at(join(folder, name), typed)
        if name.startswith(("@/", "~/")):
            return self._above(folder, name[2:], ("", "src"), typed)
        parts = name.split("/")
        size = 2 if name.startswith("@") else 1
        package, rest = "/".join(parts[:size]), "/".join(parts[size:])
        if package in self._workspace:
            place = self._workspace[package].find(folder)
            root = self._folders[place] if place is not None else ""
            for base in (root, join(root, "src"), join(root, "lib")):
                if (found := self._at(join(base, rest), typed)) is not None:
                    return found
            return None
        return self._above(folder, name, ("", "src", "node_modules"), typed) if rest else None

    def _above(self, folder: str, name: str, below: Sequence[str], typed: bool) -> int | None:
        for above in upwards(folder):
            for inside in below:
                found = self._at(join(join(above, inside), name), typed)
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
        candidates += [join(path, f"index{other}") for other in ends]
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
                files = self._folders.get(join(root, name[len(module) + 1 :]))
                if files:
                    return files
        nearest = Nearest()  # below a GOPATH, Go's own src, or vendored
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
        self._crates: dict[str, Nearest] = defaultdict(Nearest)
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
                return self._number.get(join(folder, path))
            found = self._module(join(self._below(file), name))
            return self._module(join(folder, name)) if found is None else found
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
            found = self._module(join(folder, "/".join(parts[:size])))
            if found is not None:
                return found
        return otherwise

    def _module(self, path: str) -> int | None:
        ends = (".rs", "/mod.rs", "/lib.rs", "/main.rs")
        names = [path + end if path else end[1:] for end in ends]
        return next((self._number[name] for name in names if name in self._number), None)

    def _root(self, file: int) -> int:
        for above in upwards(folder_of(self._paths[file])):
            for name in ("lib.rs", "main.rs"):
                if (root := self._number.get(join(above, name))) is not None:
                    return root
        return file  # a test, an example or a build script is a crate of its own

    def _below(self, file: int) -> str:
        """The folder where the modules inside a file's module lie."""
        path = self._paths[file]
        name = path.rpartition("/")[2]
        if name in ("lib.rs", "main.rs", "mod.rs") or self._root(file) == file:
            return folder_of(path)
        return path.removesuffix(".rs")


FINDERS: dict[str, Callable[[Repository], Finder]] = {
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
