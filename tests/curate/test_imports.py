"""What code imports: against Python's `ast`, grammars, compilers and resolvers of each language."""

from __future__ import annotations

import ast
import importlib
import json
import os
import shutil
import subprocess
import sysconfig
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from importlib.machinery import FileFinder, SourceFileLoader
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_sitter import Language, Parser

from firnline.curate.imports import DECLARES, LANGUAGES, is_local, read_imports
from firnline.curate.repository import Repository
from firnline.curate.resolve import Resolver
from firnline.languages import LANGUAGES as TABLE
from firnline.languages import detect

LIBRARY = Path(sysconfig.get_path("stdlib"))


def found(language: str, text: str, path: str = "file") -> list[str]:
    lines = read_imports(pa.array([textwrap.dedent(text)], pa.large_string()), [language], [path])
    return lines[0]


def resolved(files: Mapping[str, str], repo: str = "owner/name") -> dict[str, dict[str, Any]]:
    """For each file what each of its imports means: a path, a list of paths, or None."""
    paths = sorted(files)
    languages = [detect(path, files[path].encode()) or "" for path in paths]
    texts = pa.array([textwrap.dedent(files[path]) for path in paths], pa.large_string())
    repository = Repository(repo, paths, languages, read_imports(texts, languages, paths))
    resolver = Resolver(repository)

    def meaning(file: int, name: str) -> Any:
        node = resolver.find(file, name)
        if node is None:
            return None
        members = resolver.members(node)
        return [paths[member] for member in members] if members else paths[node]

    return {
        path: {
            name: meaning(file, name)
            for name in repository.lines[file]
            if not name.startswith(DECLARES)
        }
        for file, path in enumerate(paths)
        if languages[file] in LANGUAGES
    }


def need(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed; install it to compare with it")
    return path


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(text))


def library_files(most: int = 150) -> list[Path]:
    files = [p for p in sorted(LIBRARY.rglob("*.py")) if "site-packages" not in p.parts]
    return files[:: max(1, len(files) // most)]


def test_python_imports_are_those_that_ast_finds() -> None:
    paths = [path for path in library_files() if path.stat().st_size < 60_000]
    texts = [path.read_bytes().decode("utf-8", "replace") for path in paths]
    texts += [
        "import a, b.c as d, \\\n  e\nfrom . import (x, # (not y\n y as z,)\nfrom .import q\n",
        "try: import a\nexcept E: from b import c; import d\nif x:\n\tfrom ..e.f import *\n",
        '"""\nimport no\n"""\nx = \'\\\'\'; import yes\n# import no\nyield_ = 1\nfrom_ = 2\n',
        "def f():\n    yield from a\n    raise E from b\n    import_ = 3\n    x.import_(1)\n",
        "\ufeffimport a\r\nfrom b import (c,\r\n  d)\r\n",
    ]
    lines = read_imports(
        pa.array(texts, pa.large_string()), ["Python"] * len(texts), ["f.py"] * len(texts)
    )
    compared = 0
    for text, own in zip(texts, lines, strict=True):
        expected = set()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text.lstrip("\ufeff"))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                expected |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                expected |= {f"{module}:{name.name}" for name in node.names}
        assert set(own) == expected
        assert len(own) == len(expected)
        compared += len(expected)
    assert compared > 1000


def test_python_modules_are_found_where_python_finds_them() -> None:
    files = [p for p in sorted(LIBRARY.rglob("*.py")) if "site-packages" not in p.parts]
    paths = sorted(p.relative_to(LIBRARY).as_posix() for p in files)
    asked = {path.relative_to(LIBRARY).as_posix() for path in library_files(120)}
    lines = read_imports(
        pa.array(
            [(LIBRARY / p).read_bytes().decode("utf-8", "replace") for p in paths if p in asked]
        ),
        ["Python"] * len(asked),
        sorted(asked),
    )
    by_path = dict(zip(sorted(asked), lines, strict=True))
    own = [by_path.get(path, []) for path in paths]
    resolver = Resolver(Repository("python", paths, ["Python"] * len(paths), own))
    compared = 0
    for file, path in enumerate(paths):
        folder = path.split("/")[:-1]
        for name in own[file]:
            module, _, member = name.partition(":")
            ups = len(module) - len(module.lstrip("."))
            parts = [part for part in module.lstrip(".").split(".") if part]
            parts = [*folder[: len(folder) - ups + 1], *parts] if ups else parts
            expected = _python_finds([*parts, member]) if member else None
            expected = expected or _python_finds(parts)
            node = resolver.find(file, name)
            assert (None if node is None else paths[node]) == expected, (path, name)
            compared += expected is not None
    assert compared > 300


def _python_finds(parts: Sequence[str]) -> str | None:
    """The file of a module below the library's folder, by Python's own finder."""
    folder: str = str(LIBRARY)
    spec = None
    for part in parts:
        spec = FileFinder(folder, (SourceFileLoader, [".py"])).find_spec(part)
        if spec is None:
            return None
        folder = (spec.submodule_search_locations or [os.devnull])[0]
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).relative_to(LIBRARY).as_posix()


SOURCES = {
    "C": r"""
        /* #include "no.h" */
        #include <stdio.h> // "#include <no.h>"
        #  include  "a/b.h"
        const char *s = "\
        #include <no.h>\
        "; char q = '"';
        #include <a//b.h>
    """,
    "C++": r"""
        #include "one.hpp"
        auto raw = R"x(
        #include "no.hpp"
        )" )x"; long n = 1'000'000; char c = '\'';
        #include <two>
        #if 0
        #include "three.hpp"
        #endif
    """,
    "Java": r"""
        // import no.A;
        package a.b; import c.D; /* import no.B; */
        import static c.E.f;
        import g.h.*;
        class X { String s = "import no.C;"; String t = \"""
        import no.D;
        \"""; char q = '"'; }
    """.replace('\\"""', '"""'),
    "C#": r"""
        using System; using static A.B;
        global using C.D;
        using E = F.G<int>;
        namespace H.I
        {
            using J;
            class X { string s = @"
        using No;
        "; void M() { using (var f = Open("a")) { } using var g = Open(""); } string r = $@"" ""
        using No2;
        ""; }
        }
    """.replace('$@"" ""', '$@" ""').replace('\n        ""; }', '\n        "; }'),
    "JavaScript": r"""
        import a from "./a.js"; import './b';
        import {c, // from "./no"
          d} from '../c';
        export * from "d"; export {x} from 'e';
        const f = require("f"), g = import(/* webpack: "no" */ "g");
        const t = `import "no1" ${ require("h") + `${ require('i') }` } from "no2"`;
        const r = /from "no3"/.test(x) / 2; // require("no4")
        obj.require("no5"); const from = "no6", s = 'require("no7")';
    """,
    "TypeScript": r"""
        import type { A } from "./a";
        import b = require("b");
        let c: import("./c").C;
        export type { D } from './d';
        const s: string = "from './no'";
    """,
    "Go": r"""
        package main
        import "fmt"
        import (
            f "a/b" // "no"
            _ `c`
            . "d/e" /* "no" */
        )
        var s = `import "no"`
        import "late"
    """.replace('        import "late"\n', ""),
    "Rust": r"""
        use std::{io::{self, Read as R}, fmt};
        pub(crate) use crate::a::*;
        #[cfg(test)] mod tests { use super::*; use super::super::up; mod deep; }
        pub mod b; /* mod no; /* nested */ mod no2; */
        extern crate c;
        const S: &str = r#"" use no3; mod no4; "#; const C: char = '"';
        fn f<'a>(x: &'a str) { use self::d::E; }
        use super::g;
    """,
}


def truth_of_grammar(language: str, text: str) -> set[str]:
    """Imports in the tree of the language's grammar, for the statements in SOURCES."""
    module, function = TABLE[language].grammar or ("", "")
    grammar = Language(getattr(importlib.import_module(module), function)())
    root = Parser(grammar).parse(text.encode()).root_node
    names, nodes = set(), [root]
    while nodes:
        node = nodes.pop()
        nodes += node.children
        words = (node.text or b"").decode()
        if node.type == "preproc_include":
            path = node.child_by_field_name("path")
            assert path is not None and path.text
            names.add(path.text.decode()[:-1])
        elif language == "Java" and node.type == "import_declaration":
            names.add(words.removeprefix("import ").removeprefix("static ").rstrip(";"))
        elif node.type == "using_directive":
            target = words.removeprefix("global ").removeprefix("using ").removeprefix("static ")
            names.add(target.rstrip(";").partition("= ")[2].partition("<")[0] or target.rstrip(";"))
        elif node.type in ("import_statement", "export_statement", "import_require_clause"):
            source = node.child_by_field_name("source")
            if source is not None and source.text:
                names.add(source.text.decode()[1:-1])
        elif node.type == "call_expression" and words.startswith(("require(", "import(")):
            names |= {
                x.text.decode()[1:-1] for x in node.children[1].children if x.type == "string"
            }
        elif node.type == "import_spec":
            path = node.child_by_field_name("path")
            assert path is not None and path.text
            names.add(path.text.decode()[1:-1])
    return names


@pytest.mark.parametrize(
    "language", [name for name in SOURCES if name not in ("Rust", "TypeScript")]
)
def test_imports_are_those_of_the_grammar(language: str) -> None:
    text = textwrap.dedent(SOURCES[language])
    imports = [name for name in found(language, text) if not name.startswith(DECLARES)]
    assert set(imports) == truth_of_grammar(language, text)
    assert len(imports) >= 3


def test_imports_and_declarations_of_each_language() -> None:
    assert found("TypeScript", SOURCES["TypeScript"]) == ["./a", "b", "./c", "./d"]
    assert found("Rust", SOURCES["Rust"]) == [
        *("std::io", "std::io::Read", "std::fmt", "crate::a"),
        *("self", "super::up", "mod tests/deep", "mod b", "self::d::E", "super::g"),
    ]
    assert found("Rust", '#[path = "x/y.rs"]\npub mod z;\nuse r#type::a;') == [
        "mod z@x/y.rs",
        "type::a",
    ]
    assert "=a.b" in found("Java", SOURCES["Java"])
    assert "=H.I" in found("C#", SOURCES["C#"])
    assert found("C#", "namespace A;\nusing B;") == ["=A", "B"]
    assert found("Go", SOURCES["Go"])[0] == "=main"
    assert found("JSON", '{\n  "name": "@a/b",\n  "x": 1}', "p/package.json") == ["=@a/b"]
    assert found("TOML", '[lib]\nname="no"\n[package]\nname = "x-y"\n', "Cargo.toml") == ["=x-y"]
    assert found("", "module example.org/m\n\ngo 1.19\n", "go.mod") == ["=example.org/m"]
    assert found("Cython", "cimport a.b\nfrom c cimport d\n") == ["a.b", "c:d"]
    assert found("Markdown", "import a\n") == found("Ruby", "require 'a'\n") == []
    assert is_local("C", '"a.h') and not is_local("C", "<a.h") and not is_local("Go", "./a")


@settings(max_examples=150, deadline=None)
@given(
    text=st.text("aR\"'`/*\\\n#{}$();:%@ import from use mod x", max_size=120),
    language=st.sampled_from(LANGUAGES),
)
def test_any_text_is_read_to_its_end_and_changes_no_neighbour(text: str, language: str) -> None:
    alone = found(language, text)
    documents = ["", text, "import a\n", text]
    languages = ["C", language, "Python", language]
    lines = read_imports(pa.array(documents, pa.large_string()), languages, ["f"] * 4)
    assert lines == [[], alone, ["a"], alone] or textwrap.dedent(text) != text


TREE = {
    "src/a.c": '#include "b.h"\n#include <lib/c.h>\n#include "../top.h"\n#include <stdio.h>\n',
    "src/b.h": '#include "deep/d.h"\n',
    "src/deep/d.h": "int d;\n",
    "include/lib/c.h": '#include "e.h"\n#include <lib/f.hpp>\n',
    "include/lib/e.h": "int e;\n",
    "include/lib/f.hpp": "",
    "other/e.h": "int other;\n",
    "other/b.h": "int other;\n",
    "compat/stdio.h": "int no;\n",
    "top.h": "int top;\n",
}


def test_includes_mean_what_gcc_reads(tmp_path: Path) -> None:
    gcc = need("gcc")
    write(tmp_path, TREE)
    command = [gcc, "-H", "-E", "-Iinclude", "src/a.c", "-o", os.devnull]
    told = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={"LC_ALL": "C", **os.environ},
    ).stderr
    edges, above = set(), ["src/a.c"]
    for line in told.splitlines():
        depth = len(line) - len(line.lstrip("."))
        if not depth or not line[depth:].startswith(" "):
            break
        path = os.path.normpath(line[depth + 1 :])
        above[depth:] = [path]
        if path in TREE:
            edges.add((above[depth - 1], path))
    means = resolved(TREE)
    mine = {(user, path) for user, names in means.items() for path in names.values() if path}
    assert mine == edges
    assert len(edges) == 6


def test_ambiguous_includes_go_by_fixed_rules() -> None:
    files = {f"{place}/x.h": "" for place in ("include", "lib", "test/data", "zlib")}
    files |= {
        "app/a.c": '#include "x.h"\n',
        "test/t.c": "#include <x.h>\n",
        "zlib/z.c": '#include "x.h"',
    }
    means = resolved(files)
    assert means["app/a.c"] == {'"x.h': "include/x.h"}  # none is near: what lies below include
    assert means["test/t.c"] == {"<x.h": "test/data/x.h"}  # the nearest
    assert means["zlib/z.c"] == {'"x.h': "zlib/x.h"}  # the includer's own folder


def test_go_packages_are_those_of_go_list(tmp_path: Path) -> None:
    go = need("go")
    files = {
        "go.mod": "module example.org/tool\n\ngo 1.18\n",
        "main.go": 'package main; import ("fmt"; "example.org/tool/store"; '
        '"example.org/tool/store/disk")\n'
        "func main() { fmt.Println(store.A, disk.B) }\n",
        "store/a.go": 'package store\nimport "example.org/tool/store/disk"\nvar A = disk.B\n',
        "store/b.go": "package store\n",
        "store/a_test.go": 'package store_test\nimport "example.org/tool/store"\nvar _ = store.A\n',
        "store/gen.go": '//go:build ignore\n\npackage main\nimport "fmt"\n'
        "func main() { fmt.Println() }\n",
        "store/disk/disk.go": 'package disk\nimport "errors"\nvar B = errors.New("")\n',
        "errors/errors.go": "package errors\n",
    }
    write(tmp_path, files)
    environment = {**os.environ, "GOCACHE": str(tmp_path / "c"), "GOFLAGS": "-mod=mod"}
    told = subprocess.run(
        [go, "list", "-json", "./..."], cwd=tmp_path, env=environment | {"GOPROXY": "off"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    decoder, packages = json.JSONDecoder(), {}
    while told.strip():
        package, end = decoder.raw_decode(told.lstrip())
        told = told.lstrip()[end:]
        packages[package["ImportPath"]] = package
    for without in ({}, {"go.mod"}):  # the module's path is guessed where go.mod is not there
        given_files = {name: text for name, text in files.items() if name not in without}
        means = resolved(given_files, "someone/tool")
        for package in packages.values():
            folder = Path(package["Dir"]).relative_to(tmp_path)
            for name in package["GoFiles"]:
                for wanted, found_files in means[(folder / name).as_posix()].items():
                    expected = None
                    if wanted in packages:
                        other = Path(packages[wanted]["Dir"]).relative_to(tmp_path)
                        expected = [(other / x).as_posix() for x in packages[wanted]["GoFiles"]]
                    one = [found_files] if isinstance(found_files, str) else found_files
                    assert one == expected, (name, wanted)


def test_script_modules_are_those_that_node_finds(tmp_path: Path) -> None:
    node = need("node")
    files = {
        "package.json": '{\n  "name": "root"\n}',
        "a.js": "require('./b'); require('./c'); require('./d.js'); require('./data');"
        "require('.'); require('./e/../b'); require('./none'); require('fs'); require('pkg/sub')",
        "index.js": "",
        "b.js": "require('./c/inner')",
        "c/index.js": "require('..'); require('../d')",
        "c/inner.js": "",
        "c.txt": "",
        "d.js": "",
        "data.json": "{}",
        "node_modules/pkg/sub/index.js": "",
    }
    write(tmp_path, files)
    for user, names in resolved(files).items():
        for name, path in names.items():
            code = (
                f"const at = require('module').createRequire({json.dumps(str(tmp_path / user))});"
                f"console.log(at.resolve({json.dumps(name)}))"
            )
            done = subprocess.run(
                [node, "-e", code],
                capture_output=True,
                text=True,
                check=False,
            )
            told = done.stdout.strip()
            inside = told.startswith(str(tmp_path))
            assert path == (os.path.relpath(told, tmp_path) if inside else None), (user, name)


def test_typescript_and_workspaces() -> None:
    means = resolved(
        {
            "packages/core/package.json": '{\n  "name": "@x/core"\n}',
            "packages/core/src/index.ts": "export * from './a.js'; import './types'; import '@/a'",
            "packages/core/src/a.ts": "",
            "packages/core/src/types.d.ts": "",
            "packages/app/main.tsx": "import {c} from '@x/core'; import d from '@x/core/src/a';"
            "import React from 'react'; import '@x/none'",
        }
    )
    core = "packages/core/src"
    assert means[f"{core}/index.ts"] == {
        "./a.js": f"{core}/a.ts",
        "./types": f"{core}/types.d.ts",
        "@/a": f"{core}/a.ts",
    }
    assert means["packages/app/main.tsx"] == {
        "@x/core": f"{core}/index.ts",
        "@x/core/src/a": f"{core}/a.ts",
        "react": None,
        "@x/none": None,
    }


CRATE = {
    "src/lib.rs": 'pub mod a;\nmod b;\n#[path = "odd/place.rs"]\nmod c;\nuse crate::a::deep::D;\n'
    "mod inside { pub mod far; }\n",
    "src/a.rs": "pub mod deep;\nuse super::b::B;\nuse self::deep::D as E;\n",
    "src/a/deep.rs": "pub struct D;\nmod inline { use super::super::super::b::B; }\n",
    "src/b/mod.rs": "mod inner;\npub use inner::I as B;\n",
    "src/b/inner.rs": "pub struct I;\nuse std::fmt;\n",
    "src/odd/place.rs": "use crate::a::{self, deep};\n",
    "src/inside/far.rs": "",
    "src/unused.rs": "",
}


def test_rust_modules_are_those_that_rustc_reads(tmp_path: Path) -> None:
    rustc = need("rustc")
    write(tmp_path, CRATE)
    command = [rustc, "--crate-type=lib", "--emit=dep-info=deps", "--edition=2021", "src/lib.rs"]
    done = subprocess.run(
        [*command, "-Aunused"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"rustc cannot run here: {done.stderr.splitlines()[0]}")
    read = (tmp_path / "deps").read_text().splitlines()[0].partition(":")[2].split()
    means = resolved(CRATE)
    reached, ahead = {"src/lib.rs"}, ["src/lib.rs"]
    while ahead:
        names = means[ahead.pop()]
        new = {path for name, path in names.items() if name.startswith("mod ")} - reached
        reached |= new
        ahead += new
    assert reached == {os.path.normpath(path) for path in read}


def test_rust_paths_mean_the_deepest_module() -> None:
    means = resolved(
        {
            **CRATE,
            "Cargo.toml": '[package]\nname = "my-crate"\n',
            "tests/t.rs": "mod common;\nuse my_crate::a::deep::D;\nuse common::X;\nuse serde::S;\n",
            "tests/common/mod.rs": "",
        }
    )
    assert means["src/lib.rs"]["crate::a::deep::D"] == "src/a/deep.rs"
    assert means["src/a.rs"] == {
        "mod deep": "src/a/deep.rs",
        "super::b::B": "src/b/mod.rs",
        "self::deep::D": "src/a/deep.rs",
    }
    assert means["src/a/deep.rs"] == {"super::super::b::B": "src/b/mod.rs"}
    assert means["src/b/mod.rs"]["inner::I"] == "src/b/inner.rs"
    assert means["src/odd/place.rs"] == {
        "crate::a": "src/a.rs",
        "crate::a::deep": "src/a/deep.rs",
    }
    assert means["tests/t.rs"] == {
        "mod common": "tests/common/mod.rs",
        "my_crate::a::deep::D": "src/a/deep.rs",
        "common::X": "tests/common/mod.rs",
        "serde::S": None,
    }


def test_java_classes_packages_and_csharp_namespaces() -> None:
    means = resolved(
        {
            "m1/src/a/B.java": "package a; class B { static int x; static class C {} }",
            "m2/src/a/B.java": "package a; class B {}",
            "m1/src/a/D.java": "package a; class D {}",
            "m2/src/e/F.java": "package e; import a.B; import a.B.C; import static a.B.x;"
            "import a.*; import java.util.List; import static a.D.*;",
            "N/One.cs": "namespace N { class One {} }",
            "N/Two.cs": "using M; namespace N; class Two {}",
            "M/Three.cs": "using N; using static N.One; using T = N.Two; using System;"
            "namespace M {}",
        }
    )
    all_of_a = ["m1/src/a/B.java", "m1/src/a/D.java", "m2/src/a/B.java"]
    assert means["m2/src/e/F.java"] == {
        "a.B": "m2/src/a/B.java",
        "a.B.C": "m2/src/a/B.java",
        "a.B.x": "m2/src/a/B.java",
        "a.*": all_of_a,
        "java.util.List": None,
        "a.D.*": "m1/src/a/D.java",
    }
    assert means["N/Two.cs"] == {"M": "M/Three.cs"}
    assert means["M/Three.cs"] == {
        "N": ["N/One.cs", "N/Two.cs"],
        "N.One": "N/One.cs",
        "N.Two": "N/Two.cs",
        "System": None,
    }


def test_python_roots() -> None:
    means = resolved(
        {
            "src/pkg/__init__.py": "from . import sub\nfrom .sub import name\n",
            "src/pkg/sub.py": "import pkg\nimport logging\nfrom pkg.space import leaf\n",
            "src/pkg/logging.py": "",
            "src/pkg/space/leaf.py": "from ..sub import x\nfrom ... import y\n",
            "src/pkg/fast.pyx": "",
            "tests/test_sub.py": "import pkg.sub\nfrom pkg import fast\nimport helper, numpy\n",
            "tests/helper.py": "",
            "vendor/numpy.py": "",
        }
    )
    assert means["src/pkg/__init__.py"] == {
        ".:sub": "src/pkg/sub.py",
        ".sub:name": "src/pkg/sub.py",
    }
    assert means["src/pkg/sub.py"] == {
        "pkg": "src/pkg/__init__.py",
        "logging": None,  # inside a package a plain name is not its sibling
        "pkg.space:leaf": "src/pkg/space/leaf.py",
    }
    assert means["src/pkg/space/leaf.py"] == {"..sub:x": "src/pkg/sub.py", "...:y": None}
    assert means["tests/test_sub.py"] == {
        "pkg.sub": "src/pkg/sub.py",
        "pkg:fast": "src/pkg/fast.pyx",
        "helper": "tests/helper.py",
        "numpy": None,
    }
