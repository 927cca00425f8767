"""Decontamination against a plain Python search, and on planted and innocent documents."""

from __future__ import annotations

import ast
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firnline.benchmarks.problems import Problem, load
from firnline.curate import renamed_index
from firnline.curate.contamination import Evidence, Index
from firnline.curate.passages_index import build
from firnline.curate.renamed_index import fixed_words, word_table
from firnline.errors import FirnlineError
from firnline.kernels.escapes import unescaped
from firnline.kernels.passages import comment_style
from firnline.kernels.renamed import read_blind

SIGNATURE = "def moving_median(readings: list[float], width: int) -> list[float]:\n"
DOCSTRING = (
    '    """Return the median of every window of width consecutive readings, oldest first."""\n'
)
SOLUTION = """    medians = []
    for start in range(len(readings) - width + 1):
        window = sorted(readings[start : start + width])
        middle = width // 2
        medians.append(window[middle] if width % 2 else (window[middle - 1] + window[middle]) / 2)
    return medians
"""
SHORT = "    return a + b\n"
IMPORTS = "import numpy as np\nimport pandas as pd\nfrom matplotlib import pyplot as plt\n"


def write_benchmark(path: Path, problems: list[tuple[str, str, str]]) -> str:
    with path.open("w") as file:
        for task, prompt, solution in problems:
            row = {"task_id": task, "prompt": prompt, "canonical_solution": solution}
            row |= {"entry_point": "f", "test": "def check(candidate):\n    assert True\n"}
            file.write(json.dumps(row) + "\n")
    return f"bench={path}"


@pytest.fixture
def index(tmp_path: Path) -> Index:
    problems = [
        ("B/0", SIGNATURE + DOCSTRING, SOLUTION),
        ("B/1", "def add(a, b):\n", SHORT),
        *((f"B/{n}", f"{IMPORTS}def task_{n}(x):\n", "    return x\n") for n in range(2, 6)),
        ("B/6", "def zeros():\n", "    return [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]\n"),
    ]
    return Index([write_benchmark(tmp_path / "bench.jsonl", problems)], 10)


def find(index: Index, text: str, language: str = "Python") -> Evidence | None:
    padding = "x = 1\n" * 3
    column = pa.array(["", text, padding], pa.large_string())
    found = index.find(column, ["Text", language, "Python"])
    assert set(found) <= {1}
    return found.get(1)


def task(index: Index, evidence: Evidence | None) -> str | None:
    return None if evidence is None else index.tasks[evidence.tasks[0]][1]


def test_a_whole_problem_is_found_with_its_place(index: Index) -> None:
    before = "# café\nimport os\n\n"
    evidence = find(index, before + SIGNATURE + DOCSTRING + SOLUTION)
    assert evidence is not None
    assert task(index, evidence) == "B/0"
    text = (before + SIGNATURE + DOCSTRING + SOLUTION).encode()
    assert text[evidence.start :].startswith(evidence.excerpt.encode()[:10])
    assert index.explain(evidence).startswith("bench/B/0: whole prompt at byte 19 ")
    assert len(index.explain(evidence)) < 250


def test_a_docstring_alone_in_another_language_and_layout_is_found(index: Index) -> None:
    comment = "// Return the median of every window\n// of width consecutive readings, oldest"
    assert task(index, find(index, comment + "\nfunc f() {}\n", "Go")) == "B/0"


def test_a_solution_cut_up_by_comments_and_white_space_is_found(index: Index) -> None:
    lines = SOLUTION.splitlines()
    cut = "\n\n".join(f"  {line}   # step {n} of many more steps" for n, line in enumerate(lines))
    assert task(index, find(index, cut)) == "B/0"


def test_only_whole_solutions_survive_comments_between_short_lines(tmp_path: Path) -> None:
    lines = ["    total = zero(first, second)", "    count = scale(third)", "    return total"]
    lines += ["    # unreachable", "    yield count, total, second"]
    solution = "\n".join(lines) + "\n"
    spec = write_benchmark(tmp_path / "b.jsonl", [("B/0", "def f(first):\n", solution)])
    index = Index([spec], 10)
    comment = "  # " + "words that are not the benchmark's own at all here"
    cut = "\n".join(f"{line}{comment}" for line in lines if "#" not in line)
    evidence = find(index, cut)
    assert evidence is not None
    assert evidence.kind == "solution"
    assert index.explain(evidence).startswith("bench/B/0: whole solution at byte 4 ")
    assert find(index, cut.replace("yield count, total", "yield count + total")) is None
    assert find(index, cut.replace("scale", "scales")) is None
    assert find(index, cut, "Text") is None  # no comment signs there


def test_innocent_documents_stay(index: Index) -> None:
    assert find(index, "def add(a, b):\n    return a + b\n") is None  # under ten words
    assert find(index, IMPORTS) is None  # four tasks share it
    assert find(index, "x = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]\n") is None  # no names
    assert find(index, "for start in range(len(readings) - width + 1):\n") is None


def test_what_everybody_writes_tells_of_no_task(tmp_path: Path) -> None:
    names = "January February March April May June July August September October November December"
    months = f"    months = {names.split()!r}\n"
    loops = (
        "    return [(months[j], i) for i in range(rows) for j in range(cols) if i > j + rows]\n"
    )
    spec = write_benchmark(tmp_path / "b.jsonl", [("B/0", SIGNATURE, months + loops)])
    index = Index([spec], 10)
    assert find(index, months) is None
    assert find(index, "for i in range(rows):\n  for j in range(cols):\n") is None
    assert find(Index([spec], 8), months) is None
    for text in (SIGNATURE + months + loops, months + loops, loops):  # the whole is found
        assert task(index, find(index, text)) == "B/0"


def test_a_task_is_not_found_in_part_of_a_word(index: Index) -> None:
    words = DOCSTRING.replace("median", "premedian").replace("window", "windows")
    words = words.replace("readings", "reading")
    assert find(index, words) is None


def test_no_benchmarks_and_no_documents(index: Index) -> None:
    assert Index([], 10).find(pa.array(["a"], pa.large_string()), ["Python"]) == {}
    assert index.find(pa.array([], pa.large_string()), []) == {}


def test_two_benchmarks_of_one_name_are_refused(tmp_path: Path) -> None:
    spec = write_benchmark(tmp_path / "b.jsonl", [("B/0", "def f():\n", SOLUTION)])
    with pytest.raises(FirnlineError, match="two benchmarks are called bench"):
        Index([spec, spec], 10)


def test_every_task_of_the_packaged_suite_is_found_in_its_own_solution() -> None:
    benchmark = load("basics")
    index = Index(["basics"], 10)
    programs = [problem.prompt + problem.solution for problem in benchmark.problems]
    found = index.find(pa.array(programs, pa.large_string()), ["Python"] * len(programs))
    missed = [n for n in range(len(programs)) if n not in found or n not in found[n].tasks]
    assert [benchmark.problems[n].task_id for n in missed] == []


# A plain Python search for what the index calls n-grams. Equal programs count as one task.
def plain_search(programs: list[str], text: str, n: int) -> set[int]:
    def windows(source: str) -> list[tuple[str, ...]]:
        words = re.findall(r"[A-Za-z0-9_\x80-\U0010ffff]+", source)
        return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]

    owners: dict[tuple[str, ...], set[int]] = {}
    for number, program in enumerate(programs):
        for window in windows(program):
            owners.setdefault(window, set()).add(number)
    telling = {
        window: tasks
        for window, tasks in owners.items()
        if len({programs[number] for number in tasks}) <= 2
        and len({w for w in window if len(w) >= 2 and not re.fullmatch(r"\d+", w)}) >= n // 2
    }
    return {number for window in windows(text) for number in telling.get(window, ())}


words = st.sampled_from(["aa", "bb", "cc", "x", "1", "22", "é1", "+", "(", "\n", " ", "dd"])
sources = st.lists(words, max_size=40).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(st.lists(sources, min_size=1, max_size=5), st.lists(sources, max_size=4))
def test_n_grams_are_those_of_a_plain_search(
    tmp_path_factory: pytest.TempPathFactory, programs: list[str], texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("bench")
    programs = [f"{program} aa" for program in programs]  # a solution is never empty
    rows = [(f"B/{number}", program[:-2], "aa") for number, program in enumerate(programs)]
    index = Index([write_benchmark(folder / "b.jsonl", rows)], 6)
    texts = [*texts, *programs[:1], " ".join(programs)]
    found = index.find(pa.array(texts, pa.large_string()), ["Python"] * len(texts))
    for number, text in enumerate(texts):
        spans = found[number].spans if number in found else ()
        tasks = {span.task for span in spans if span.kind == "n-gram"}
        assert tasks == plain_search(programs, text, 6)


class Renamed(ast.NodeTransformer):
    """Gives every name that a program binds another one."""

    def __init__(self, tree: ast.AST) -> None:
        nodes = list(ast.walk(tree))
        bound = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        self.names = {name: f"other_{number}" for number, name in enumerate(sorted(bound))}

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.arg = self.names.get(node.arg, node.arg)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.name = self.names.get(node.name, node.name)
        if ast.get_docstring(node) is not None and len(node.body) > 1:
            node.body = node.body[1:]
        return node


def renamed(program: str) -> str:
    """The program with other names and no docstrings, as `ast.unparse` lays it out."""
    tree = ast.parse(program)
    return ast.unparse(Renamed(tree).visit(tree))


def test_a_renamed_copy_is_found_and_says_so(index: Index) -> None:
    copy = renamed(SIGNATURE + DOCSTRING + SOLUTION)
    assert "medians" not in copy
    assert "readings" not in copy
    commented = "\n".join(
        f"{line}  # step {n}, in words" for n, line in enumerate(copy.split("\n"))
    )
    for text in (copy, commented, commented.replace("    ", "\t").replace("'", '"')):
        evidence = find(index, "import os\n\n\n" + text)
        assert task(index, evidence) == "B/0"
        assert evidence is not None
        assert evidence.kind == "renamed"
        assert index.explain(evidence).startswith("bench/B/0: renamed copy at byte ")


def test_a_copy_is_renamed_only_if_its_names_map_one_to_one(tmp_path: Path) -> None:
    solution = """    for position, row in enumerate(rows):
        if row[0] == wanted:
            return position + len(rows)
    return None
"""
    index = Index([write_benchmark(tmp_path / "b.jsonl", [("B/0", "", solution)])], 10)
    copy = re.sub(r"\b(position|row|rows|wanted)\b", r"my_\1", solution)
    evidence = find(index, copy)
    assert evidence is not None
    assert evidence.kind == "renamed"
    assert find(index, copy.replace("my_wanted", "my_row")) is None  # two names became one
    assert find(index, copy.replace("my_rows)\n", "other)\n")) is None  # one became two
    assert find(index, copy.replace("[0]", "[1]")) is None
    assert find(index, copy.replace("len(", "size(")) is None


def test_a_verbatim_copy_is_not_called_renamed(index: Index) -> None:
    evidence = find(index, SIGNATURE + DOCSTRING + SOLUTION)
    assert evidence is not None
    assert {span.kind for span in evidence.spans} == {"prompt", "solution", "n-gram"}
    text = SIGNATURE + DOCSTRING + SOLUTION
    for span in evidence.spans:
        whole = {"prompt": SIGNATURE + DOCSTRING, "solution": SOLUTION, "n-gram": text}[span.kind]
        words = re.findall(r"\w+", text.encode()[span.start : span.stop].decode())
        assert words == re.findall(r"\w+", whole)
        assert span.excerpt == " ".join(text[span.start : span.stop].split())[:197] + "..." * (
            len(" ".join(text[span.start : span.stop].split())) > 200
        )


def test_renamed_copies_of_the_longer_packaged_tasks_are_found() -> None:
    benchmark = load("basics")
    index = Index(["basics"], 10)
    long = [n for n, problem in enumerate(benchmark.problems) if len(problem.solution) > 200]
    texts = [renamed(benchmark.problems[n].prompt + benchmark.problems[n].solution) for n in long]
    found = index.find(pa.array(texts, pa.large_string()), ["Python"] * len(texts))
    assert len(long) > 10
    assert [n for row, n in enumerate(long) if n not in found[row].tasks] == []


def test_tasks_that_share_a_program_count_once(tmp_path: Path) -> None:
    whole = SIGNATURE + DOCSTRING + SOLUTION
    lines = whole.splitlines(keepends=True)
    cuts = [("".join(lines[:n]), lines[n], "".join(lines[n + 1 :])) for n in range(2, 6)]
    rows = [
        {"task_id": f"B/{n}", "prompt": before, "canonical_solution": line, "suffix": after}
        | {"entry_point": "f", "test": "x"}
        for n, (before, line, after) in enumerate(cuts)
    ]
    path = tmp_path / "infilling.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    evidence = find(Index([f"fill={path}"], 10), DOCSTRING)
    assert evidence is not None
    assert evidence.tasks == (0, 1, 2, 3)


def test_text_of_other_languages_and_huge_single_lines(index: Index) -> None:
    filler = "x" * 50 + " = 'ünï' ; "
    for times in (1, 5000, 90_000):  # the last in pieces
        text = (
            filler * times + (SIGNATURE + DOCSTRING + SOLUTION).replace("\n", " ") + filler * times
        )
        evidence = find(index, text)
        assert evidence is not None
        assert {evidence.kind} == {"prompt"}
        assert evidence.start == len(filler.encode()) * times
    assert find(index, "é" * 5_000_000) is None


@pytest.mark.parametrize(
    ("language", "write"),
    [
        ("JSON", lambda text: json.dumps([{"id": 1}, {"code": text}])),
        ("JSON", lambda text: json.dumps(text).replace("<", "\\u003c").replace("/", "\\/")),
        ("Jupyter Notebook", lambda text: json.dumps(text.splitlines(True), indent=1)),
        ("Python", lambda text: f"TASKS = [{text!r}]\n"),
        ("JavaScript", lambda text: f"const text = {json.dumps(text)};\n"),
    ],
)
def test_what_is_in_a_string_with_escapes_is_found_where_it_is(
    index: Index, language: str, write: Callable[[str], str]
) -> None:
    text = write(SOLUTION)
    for before in ("", "x = 1\n" * 900_000):  # the second is searched in pieces
        evidence = find(index, before + text, language)
        assert evidence is not None
        assert task(index, evidence) == "B/0"
        assert evidence.start == len(before) + text.index("medians")
    message = 'printf("%d readings\\n"); puts("start and width\\n");\n' * 20
    assert find(index, message, "C") is None


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from('ab \n\t\r"\\/<é\x01')))
def test_json_escapes_are_undone_in_place(text: str) -> None:
    escaped = json.dumps(text).encode()
    data = np.frombuffer(escaped, dtype=np.uint8)
    plain = unescaped(data, 0, len(data)).tobytes().decode()
    assert len(plain) == len(escaped)
    expected = text.replace("\t", " ").replace("\r", " ").replace("é", "\\u00e9")
    gone = str.maketrans("", "", " ")
    assert plain.translate(gone)[1:-1] == expected.translate(gone).replace("\\u00e9", "u00e9")


def test_an_index_travels_between_processes(index: Index) -> None:
    other = pickle.loads(pickle.dumps(index))
    text = pa.array([SIGNATURE + DOCSTRING + SOLUTION], pa.large_string())
    assert other.find(text, ["Python"]) == index.find(text, ["Python"])


def code_tokens(text: str) -> list[str]:
    """Tokens outside comments, of text without quotes, from the first word on."""
    tokens = re.findall(r"\w+|[^\w\s]", re.sub(r"#[^\n]*", "", text))
    first = next((n for n, token in enumerate(tokens) if re.match(r"\w", token)), len(tokens))
    return tokens[first:]


pieces = st.lists(
    st.sampled_from(["aa", "bb", "+", "(", " ", "\n", "# aa bb\n", "#\n"]), max_size=25
)
texts = pieces.map(" ".join)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(texts, texts), min_size=1, max_size=2), st.lists(texts, max_size=3), texts
)
def test_whole_texts_are_those_of_a_plain_search(
    problems: list[tuple[str, str]], documents: list[str], between: str
) -> None:
    known = [
        Problem("bench", f"B/{n}", prompt, solution, "", "f")
        for n, (prompt, solution) in enumerate(problems)
    ]
    index = Index([], 5)
    index.tasks = tuple((problem.benchmark, problem.task_id) for problem in known)
    index._index = build(known, 5)
    documents += [between.join(problem[::-1]) for problem in problems]
    documents += [problem[1].replace(" ", "  # aa\n  ") for problem in problems]
    found = index.find(pa.array(documents, pa.large_string()), ["Python"] * len(documents))
    for row, document in enumerate(documents):
        tokens = re.findall(r"\w+|[^\w\s]", re.sub(r"#[^\n]*", "", document))
        expected = set()
        for task, problem in enumerate(known):
            for kind, text in (("solution", problem.solution), ("prompt", problem.prompt)):
                part = code_tokens(text)
                if sum(token.isalpha() for token in part) >= 5 and any(
                    tokens[n : n + len(part)] == part for n in range(len(tokens))
                ):
                    expected.add((task, kind))
        spans = found[row].spans if row in found else ()
        assert {(s.task, s.kind) for s in spans if s.kind in ("solution", "prompt")} == expected


def canonical(tokens: list[int]) -> list[tuple[bool, int]]:
    """Each name as the number of its first appearance."""
    names: dict[int, int] = {}
    return [(True, names.setdefault(t, len(names))) if t & 1 else (False, t) for t in tokens]


lines = st.lists(st.sampled_from(["a", "b", "c", "+", "=", "if", "[", "7", "\n"]), max_size=24)
programs = lines.map(" ".join)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(programs, programs), min_size=1, max_size=3), st.lists(programs, max_size=3)
)
def test_renamed_runs_are_those_of_a_plain_search(
    problems: list[tuple[str, str]], documents: list[str]
) -> None:
    run, short, least = 8, 5, 2
    known = [
        Problem("bench", f"B/{n}", prompt + " ", solution, "", "f")
        for n, (prompt, solution) in enumerate(problems)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renamed_index, "RENAMED_TOKENS", run)
        patch.setattr(renamed_index, "SHORT_TOKENS", short)
        patch.setattr(renamed_index, "WINDOW_TOKENS", 4)
        patch.setattr(renamed_index, "FIXED_TOKENS", least)
        index = Index([], 20)
        index._index = build(known, 20)
    index.tasks = tuple((problem.benchmark, problem.task_id) for problem in known)
    swap = str.maketrans("abc", "bca")
    documents += [f"{problem[0]} {problem[1]}".translate(swap) for problem in problems]
    documents += [f"b {problem[1]}".translate(swap) for problem in problems]

    fixed = word_table(fixed_words("Python"))

    def tokens(text: str) -> list[int]:
        data = np.frombuffer(text.encode(), dtype=np.uint8)
        found: list[int] = read_blind(data, comment_style("Python"), fixed).tolist()
        return found

    runs: dict[int, list[list[int]]] = {}
    for task, problem in enumerate(known):
        whole, solution = tokens(problem.prompt + problem.solution), tokens(problem.solution)
        size = min(run, len(whole))
        if size >= short:
            runs[task] = [whole[n : n + size] for n in range(len(whole) - size + 1)]
        if short <= len(solution) < run:
            runs.setdefault(task, []).append(solution)

    def blind(tokens: list[int]) -> list[int]:
        return [1 if token & 1 else token for token in tokens]

    found = index.find(pa.array(documents, pa.large_string()), ["Python"] * len(documents))
    for row, document in enumerate(documents):
        text = tokens(document)
        places = range(len(text))
        expected = set()
        for task, parts in runs.items():
            for part in parts:
                owners = {
                    known[other].prompt + known[other].solution
                    for other, others in runs.items()
                    if blind(part) in map(blind, others)
                }
                if len({token for token in part if not token & 1}) >= least and len(owners) <= 2:
                    same = canonical(part)
                    if any(canonical(text[n : n + len(part)]) == same for n in places):
                        expected.add(task)
        assert (set(found[row].tasks) if row in found else set()) == expected
