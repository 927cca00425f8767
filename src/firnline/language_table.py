"""The one table of languages: names, kinds, what tells them, their comments and grammars.

Kinds: `programming` (the 18 languages of Arctic-SnowCoder, section 2.1, and more), `markup`,
`data`, `prose`, and `adjacent` (code-adjacent documents: commits, issues, questions with answers;
To Code or Not To Code, section 2.2). `firnline.languages` answers from it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """One language: its name, kind, extensions (with the dot), file names, interpreters.

    `comments` names what opens a comment (`#`, `//`, `/*`, `--`, `%`, `;`, ...), a sign for the
    rest of a line first where there is one, and the quotes beside `"` and `'` that must be
    followed for it (three quotes, either kind, and a backtick). `grammar` is the module of its
    tree-sitter grammar and the name of the function in it. `aliases` are names that other tables
    use for it, where they differ by more than case, blanks and hyphens.
    """

    name: str
    kind: str
    extensions: tuple[str, ...] = ()
    filenames: tuple[str, ...] = ()
    interpreters: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()
    grammar: tuple[str, str] | None = None
    aliases: tuple[str, ...] = ()


_C_LIKE = ("//", "/*")


def _grammar(module: str, function: str = "language") -> tuple[str, str]:
    return (f"tree_sitter_{module}", function)


ROWS = (
    Language(
        "Python",
        "programming",
        (".py", ".pyi", ".pyw"),
        ("SConstruct", "SConscript"),
        ("python", "python3", "pypy", "pypy3"),
        comments=("#", '"""'),
        grammar=_grammar("python"),
    ),
    Language("Java", "programming", (".java",), comments=_C_LIKE, grammar=_grammar("java")),
    Language(
        "C++",
        "programming",
        (
            ".cpp",
            ".cc",
            ".cxx",
            ".c++",
            ".hpp",
            ".hh",
            ".hxx",
            ".h++",
            ".ipp",
            ".inl",
            ".tpp",
            ".cuh",
            ".cu",
        ),
        comments=_C_LIKE,
        grammar=_grammar("cpp"),
        aliases=("cpp", "cuda"),
    ),
    Language("C", "programming", (".c", ".h"), comments=_C_LIKE, grammar=_grammar("c")),
    Language(
        "JavaScript",
        "programming",
        (".js", ".mjs", ".cjs", ".jsx"),
        ("Jakefile",),
        ("node", "nodejs", "bun"),
        comments=(*_C_LIKE, "`"),
        grammar=_grammar("javascript"),
    ),
    Language(
        "PHP",
        "programming",
        (".php", ".phtml"),
        (),
        ("php",),
        comments=(*_C_LIKE, "#"),
        grammar=_grammar("php", "language_php"),
    ),
    Language(
        "C#",
        "programming",
        (".cs", ".csx"),
        comments=_C_LIKE,
        grammar=_grammar("c_sharp"),
        aliases=("c-sharp", "csharp"),
    ),
    Language(
        "Go",
        "programming",
        (".go",),
        comments=(*_C_LIKE, "`"),
        grammar=_grammar("go"),
        aliases=("golang",),
    ),
    Language(
        "TypeScript",
        "programming",
        (".ts", ".tsx", ".mts", ".cts"),
        (),
        ("deno", "ts-node", "tsx"),
        comments=(*_C_LIKE, "`"),
        grammar=_grammar("typescript", "language_typescript"),
        aliases=("tsx",),
    ),
    Language(
        "SQL",
        "programming",
        (".sql",),
        comments=("--", "/*"),
        grammar=_grammar("sql"),
        aliases=("plsql", "plpgsql", "tsql"),
    ),
    Language(
        "Ruby",
        "programming",
        (".rb", ".rake", ".gemspec", ".podspec", ".ru"),
        ("Rakefile", "Gemfile", "Podfile", "Vagrantfile", "Brewfile", "Fastfile"),
        ("ruby", "jruby", "rake"),
        comments=("#",),
        grammar=_grammar("ruby"),
    ),
    Language("Rust", "programming", (".rs",), comments=_C_LIKE, grammar=_grammar("rust")),
    Language(
        "Jupyter Notebook",
        "programming",
        (".ipynb",),
        aliases=("jupyter-scripts", "jupyter-structured-text"),
    ),
    Language(
        "Scala",
        "programming",
        (".scala", ".sc", ".sbt"),
        (),
        ("scala",),
        comments=(*_C_LIKE, '"""'),
        grammar=_grammar("scala"),
    ),
    Language(
        "Kotlin",
        "programming",
        (".kt", ".kts"),
        (),
        ("kotlin",),
        comments=_C_LIKE,
        grammar=_grammar("kotlin"),
    ),
    Language(
        "Shell",
        "programming",
        (".sh", ".bash", ".zsh", ".ksh", ".bats"),
        (".bashrc", ".bash_profile", ".bash_aliases", ".profile", ".zshrc", "PKGBUILD"),
        ("sh", "bash", "zsh", "dash", "ksh", "bats"),
        comments=("#",),
        grammar=_grammar("bash"),
        aliases=("bash", "zsh"),
    ),
    Language("Dart", "programming", (".dart",), comments=_C_LIKE, grammar=_grammar("dart")),
    Language("Swift", "programming", (".swift",), comments=_C_LIKE, grammar=_grammar("swift")),
    # The order of the rows above is Arctic-SnowCoder's; the rows below are in groups.
    Language("Cython", "programming", (".pyx", ".pxd", ".pxi"), comments=("#", '"""')),
    Language(
        "Fortran", "programming", (".f", ".f90", ".f95", ".f03", ".f08", ".for"), comments=("!",)
    ),
    Language(
        "Lua",
        "programming",
        (".lua",),
        (),
        ("lua", "luajit"),
        comments=("--",),
        grammar=_grammar("lua"),
    ),
    Language("Perl", "programming", (".pl", ".pm", ".t"), (), ("perl",), comments=("#",)),
    Language("R", "programming", (".r",), (".Rprofile",), ("Rscript",), comments=("#",)),
    Language("CMake", "programming", (".cmake",), ("CMakeLists.txt",), comments=("#",)),
    Language(
        "Makefile",
        "programming",
        (".mk", ".mak"),
        ("Makefile", "GNUmakefile", "makefile", "Makefile.am", "Makefile.in", "Kbuild"),
        ("make",),
        comments=("#",),
    ),
    Language(
        "Dockerfile",
        "programming",
        (".dockerfile",),
        ("Dockerfile", "Containerfile"),
        comments=("#",),
    ),
    Language(
        "Objective-C", "programming", (".m", ".mm"), comments=_C_LIKE, aliases=("objective-c++",)
    ),
    Language(
        "MATLAB",
        "programming",
        (".matlab",),
        (".octaverc",),
        ("octave",),
        comments=("%", "#"),
        aliases=("octave",),
    ),
    Language("Haskell", "programming", (".hs",), (), ("runhaskell",), comments=("--", "{-")),
    Language("Julia", "programming", (".jl",), (), ("julia",), comments=("#", '"""')),
    Language("Elixir", "programming", (".ex", ".exs"), (), ("elixir",), comments=("#", '"""')),
    Language(
        "Erlang", "programming", (".erl", ".hrl"), ("rebar.config",), ("escript",), comments=("%",)
    ),
    Language(
        "Clojure",
        "programming",
        (".clj", ".cljs", ".cljc", ".edn"),
        (),
        ("clojure", "bb"),
        comments=(";",),
    ),
    Language(
        "OCaml", "programming", (".ml", ".mli", ".mll", ".mly"), (), ("ocaml",), comments=("(*",)
    ),
    Language(
        "F#",
        "programming",
        (".fs", ".fsi", ".fsx"),
        comments=("//", "(*"),
        aliases=("f-sharp", "fsharp"),
    ),
    Language(
        "Groovy",
        "programming",
        (".groovy", ".gradle"),
        ("Jenkinsfile",),
        ("groovy",),
        comments=_C_LIKE,
    ),
    Language(
        "PowerShell",
        "programming",
        (".ps1", ".psm1", ".psd1"),
        (),
        ("pwsh", "powershell"),
        comments=("#", "<#"),
    ),
    Language(
        "Batchfile", "programming", (".bat", ".cmd"), comments=("REM", "::"), aliases=("batch",)
    ),
    Language("Assembly", "programming", (".asm", ".s", ".nasm"), comments=(";", "#", *_C_LIKE)),
    Language("Verilog", "programming", (".v", ".vh"), comments=_C_LIKE),
    Language("SystemVerilog", "programming", (".sv", ".svh"), comments=_C_LIKE),
    Language("VHDL", "programming", (".vhd", ".vhdl"), comments=("--",)),
    Language("Solidity", "programming", (".sol",), comments=_C_LIKE),
    Language("Zig", "programming", (".zig",), comments=("//",)),
    Language("Nim", "programming", (".nim", ".nims"), (), ("nim",), comments=("#",)),
    Language(
        "Protocol Buffers",
        "programming",
        (".proto",),
        comments=_C_LIKE,
        aliases=("protobuf", "protocol-buffer", "proto"),
    ),
    Language("GraphQL", "programming", (".graphql", ".gql"), comments=("#", '"""')),
    Language(
        "HCL",
        "programming",
        (".tf", ".hcl", ".tfvars"),
        comments=("#", *_C_LIKE),
        aliases=("terraform",),
    ),
    Language("Pascal", "programming", (".pas", ".pp", ".dpr", ".lpr"), comments=("//", "{", "(*")),
    Language("Prolog", "programming", (".prolog",), (), ("swipl", "gprolog"), comments=("%", "/*")),
    Language("Coq", "programming", (".coq",), comments=("(*",), aliases=("rocq",)),
    Language("Ada", "programming", (".adb", ".ads"), comments=("--",)),
    Language("D", "programming", (".d", ".di"), (), ("rdmd",), comments=(*_C_LIKE, "`")),
    Language("Common Lisp", "programming", (".lisp", ".asd"), (), ("sbcl",), comments=(";",)),
    Language("Emacs Lisp", "programming", (".el",), (".emacs",), ("emacs",), comments=(";",)),
    Language("Scheme", "programming", (".scm", ".ss"), (), ("guile",), comments=(";",)),
    Language("Racket", "programming", (".rkt",), (), ("racket",), comments=(";",)),
    Language("Standard ML", "programming", (".sml",), comments=("(*",)),
    Language("Elm", "programming", (".elm",), comments=("--", "{-")),
    Language("Agda", "programming", (".agda",), comments=("--", "{-")),
    Language("Lean", "programming", (".lean",), comments=("--",)),
    Language("Idris", "programming", (".idr",), comments=("--", "{-")),
    Language("Crystal", "programming", (".cr",), (), ("crystal",), comments=("#",)),
    Language(
        "CoffeeScript", "programming", (".coffee",), ("Cakefile",), ("coffee",), comments=("#",)
    ),
    Language("Tcl", "programming", (".tcl",), (), ("tclsh", "wish"), comments=("#",)),
    Language("Awk", "programming", (".awk",), (), ("awk", "gawk", "mawk"), comments=("#",)),
    Language("V", "programming", (".vsh",), comments=_C_LIKE),
    Language("GLSL", "programming", (".glsl", ".vert", ".frag", ".comp"), comments=_C_LIKE),
    Language(
        "Starlark", "programming", (".bzl",), ("BUILD", "WORKSPACE", "BUILD.bazel"), comments=("#",)
    ),
    Language("Nix", "programming", (".nix",), comments=("#", "/*")),
    Language("Puppet", "programming", (), comments=("#",)),
    Language("Thrift", "programming", (".thrift",), comments=("//", "#", "/*")),
    Language("Stan", "programming", (".stan",), comments=_C_LIKE),
    Language("QML", "programming", (".qml",), comments=_C_LIKE),
    Language("Apex", "programming", (".apex", ".trigger"), comments=_C_LIKE),
    Language("Visual Basic", "programming", (".vb", ".bas", ".vbs"), comments=("'",)),
    Language(
        "Vim Script",
        "programming",
        (".vim",),
        (".vimrc", "vimrc"),
        comments=('"',),
        aliases=("viml",),
    ),
    Language("M4", "programming", (".m4", ".ac"), comments=("dnl", "#")),
    Language("HTML", "markup", (".html", ".htm", ".xhtml"), comments=("<!--",)),
    Language(
        "CSS",
        "markup",
        (".css", ".scss", ".less", ".sass"),
        comments=("/*",),
        aliases=("scss", "less"),
    ),
    Language("XML", "markup", (".xml", ".xsd", ".xsl", ".xslt", ".svg"), comments=("<!--",)),
    Language("Markdown", "markup", (".md", ".markdown", ".mdx"), comments=("<!--",)),
    Language("reStructuredText", "markup", (".rst",), aliases=("rst", "restructuredtext")),
    Language("AsciiDoc", "markup", (".adoc", ".asciidoc"), comments=("//",)),
    Language(
        "LaTeX", "markup", (".tex", ".sty", ".ltx", ".dtx"), comments=("%",), aliases=("tex",)
    ),
    Language("R Markdown", "markup", (".rmd", ".qmd"), comments=("<!--",)),
    Language("Vue", "markup", (".vue",), comments=("<!--", *_C_LIKE, "`")),
    Language("Svelte", "markup", (".svelte",), comments=("<!--", *_C_LIKE, "`")),
    Language("JSON", "data", (".json", ".jsonl", ".json5", ".jsonc", ".geojson")),
    Language("YAML", "data", (".yaml", ".yml"), comments=("#",)),
    Language("TOML", "data", (".toml",), ("Pipfile", "Cargo.lock", "poetry.lock"), comments=("#",)),
    Language("INI", "data", (".ini", ".cfg"), (".editorconfig", ".gitconfig"), comments=(";", "#")),
    Language("CSV", "data", (".csv", ".tsv")),
    Language("SQL Dump", "data", comments=("--", "/*")),
    Language("Text", "prose", (".txt", ".text")),
    # What the adjacent sources give; no file has these languages.
    Language("Commit", "adjacent", aliases=("git-commits", "commits")),
    Language("Issue", "adjacent", aliases=("github-issues", "issues")),
    Language("Question", "adjacent", aliases=("stack-exchange", "stackexchange")),
)
