"""What the pages say is there is there: links, commands, options, settings, names and figures."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
import typer.main
from pydantic import BaseModel

from firnline import recipe as recipes
from firnline.cli.options import app
from firnline.corpus.stage import IngestConfig
from firnline.curate.arrange import ArrangeConfig
from firnline.curate.exposure import ExposureConfig
from firnline.curate.redaction import SecretsConfig
from firnline.curate.rulebook import RULES
from firnline.curate.stage import CurateConfig
from firnline.errors import FirnlineError
from firnline.evaluation.stage import EvaluateConfig
from firnline.model.config import ModelConfig
from firnline.phases import PhaseData
from firnline.quality.stage import AnnotateConfig
from firnline.settings import make, merge, read_yaml
from firnline.synthesis.stage import SynthesisConfig
from firnline.tokens.extend import ExtendConfig
from firnline.tokens.import_tokenizer import ImportConfig
from firnline.tokens.pack import PackConfig
from firnline.tokens.pairs import PairsConfig
from firnline.tokens.train import TokenizerConfig
from firnline.training.phase import PhaseConfig
from firnline.training.schedule import Schedule

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGE = ROOT / "src" / "firnline"
PROGRAM: Any = typer.main.get_command(app)


class Fence(NamedTuple):
    """A block of code on a page: its language (or nothing) and its text."""

    language: str
    text: str


@cache
def fences(page: Path) -> list[Fence]:
    """Fenced blocks, and those that are indented by four."""
    text = page.read_text()
    found = [
        Fence(*match.groups()) for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    ]
    for block in re.findall(r"(?:^|\n)\n((?: {4}\S.*\n)+)", text):
        found.append(Fence("", re.sub(r"^ {4}", "", block, flags=re.M)))
    return found


@cache
def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)


@cache
def inline(page: Path) -> list[str]:
    """What stands between single backticks, line breaks taken for blanks."""
    return [re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", prose(page))]


def snippets(language: str) -> list[Any]:
    """The blocks of one language on all pages, as parameters of a test."""
    return [
        pytest.param(fence.text, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, fence in enumerate(fences(page))
        if fence.language == language
    ]


# Links


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives a page's headings."""
    seen: Counter[str] = Counter()
    names = set()
    for heading in re.findall(r"^#{1,6} +(.*?)\s*$", prose(page), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        names.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return names


def test_links_lead_to_files_and_headings() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
            if target.startswith(("http://", "https://")):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists() or (anchor and anchor not in anchors(file)):
                broken.append(f"{page.name}: {target}")
    assert not broken


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached = {PAGES[0]}
    waiting = [PAGES[0]]
    while waiting:
        page = waiting.pop()
        for target in re.findall(r"\]\(([^)\s#]+\.md)", prose(page)):
            file = (page.parent / target).resolve()
            if file not in reached:
                reached.add(file)
                waiting.append(file)
    assert not [page.name for page in PAGES if page not in reached]


# Figures


def test_figures_of_the_readme_are_those_of_the_page_they_come_from() -> None:
    table = PAGES[0].read_text().split("## How fast, how exact")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) > 8
    wrong = []
    for what, _, figures, link in rows[1:]:
        target = re.findall(r"\]\(([^)#]+)", link)[0]
        page = (ROOT / target).read_text()
        for figure in re.findall(r"\d[\d,.]*(?:e-\d+)?", figures):
            number = figure.rstrip(".,")
            if not re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.]*\d)", page):
                wrong.append(f"{what}: {number} is not in {target}")
    assert not wrong


# Commands


class Command(NamedTuple):
    """A command line as a page gives it; `whole` where nothing is left to the reader."""

    page: Path
    words: list[str]
    whole: bool


def shell_lines(page: Path) -> list[str]:
    """The lines of a page's blocks that a shell could be given."""
    blocks = [fence.text for fence in fences(page) if fence.language in ("", "sh")]
    return "\n".join(blocks).replace("\\\n", " ").splitlines()


def command_lines(page: Path) -> Iterator[str]:
    """All of them, and what stands in the text."""
    yield from shell_lines(page)
    yield from inline(page)


def firnline_commands() -> list[Command]:
    """Every `firnline ...` of the pages, as words after the program's name."""
    commands = []
    for page in PAGES:
        blocks = shell_lines(page)
        for line in (*blocks, *inline(page)):
            start = re.search(r"(?:^|\s|/)firnline (?=[a-z-])", line)
            if start is None or line.startswith("firnline: "):
                continue
            text = re.sub(r"[\[\]]", " ", line[start.end() :])
            part_of_it = line not in blocks or any(sign in line for sign in ("...", "[", "|"))
            words = shlex.split(text, comments=True)
            for part in " ".join(map(shlex.quote, words)).split(" '|' "):
                given = [word for word in shlex.split(part) if word != "..."]
                commands.append(Command(page, given, not part_of_it))
    return commands


# A command whose settings are all those of one stage takes them with --set.
SETTINGS: dict[str, type[BaseModel]] = {
    "ingest": IngestConfig,
    "curate": CurateConfig,
    "contamination": ExposureConfig,
    "arrange": ArrangeConfig,
    "synthesize": SynthesisConfig,
    "annotate": AnnotateConfig,
    "tokenizer": TokenizerConfig,
    "import-tokenizer": ImportConfig,
    "extend-tokenizer": ExtendConfig,
    "pack": PackConfig,
    "pairs": PairsConfig,
    "train": PhaseConfig,
    "evaluate": EvaluateConfig,
}


def complaint(command: Command) -> str | None:
    """What the program would say of a command line before it does anything."""
    words = ["1" if word == "N" else word for word in command.words]
    if words[0] == "--runner":
        words = words[2:]
    name, *arguments = words
    if name.startswith("--"):
        return None if name in options(PROGRAM) else "no such option"
    found = PROGRAM.commands.get(name)
    if found is None:
        return "no such command"
    try:
        if command.whole and arguments:
            found.make_context(name, list(arguments))
        else:
            found.make_parser(found.context_class(found)).parse_args(list(arguments))
    except Exception as error:  # click's, which typer brings along under a name of its own
        return str(error) or type(error).__name__
    if name in ("run", "plan"):
        return recipe_complaint(arguments)
    settings = [value for option, value in pairwise(arguments) if option == "--set"]
    unknown = [
        setting
        for setting in settings
        if setting.partition("=")[0].partition(".")[0] not in SETTINGS[name].model_fields
    ]
    return f"no setting {unknown}" if unknown else None


def recipe_complaint(arguments: list[str]) -> str | None:
    """Loads the packaged recipe that is named, with the settings beside it."""
    if not arguments or arguments[0].isupper() or re.search(r"/|\.yaml$", arguments[0]):
        return None  # RECIPE, DOCUMENTS, a folder, or a file that the page makes up
    settings = [value for option, value in pairwise(arguments) if option == "--set"]
    try:
        recipes.load(arguments[0], [value for value in settings if value != "key=value"])
    except FirnlineError as error:
        return str(error)
    return None


def options(command: Any) -> set[str]:
    """The options that a command takes."""
    return {name for parameter in command.params for name in parameter.opts}


def test_commands_are_taken_by_the_program() -> None:
    commands = firnline_commands()
    assert len(commands) > 50
    wrong = {
        f"{command.page.name}: {' '.join(command.words)}": why
        for command in commands
        if (why := complaint(command))
    }
    assert not wrong


def test_readme_names_every_command() -> None:
    named = {c.words[0] for c in firnline_commands() if c.page == PAGES[0]}
    assert set(PROGRAM.commands) <= named


def test_every_option_of_a_command_says_what_it_is() -> None:
    silent = [
        f"{name} {parameter.name}"
        for name, command in PROGRAM.commands.items()
        for parameter in command.params
        if not getattr(parameter, "help", None) and parameter.name != "help"
    ]
    assert not silent


# What is not an option of ours: of torchrun, pip, Ray and Slurm.
FOREIGN = {"--signal", "--disable-usage-stats"}


def test_options_named_alone_are_options_of_something() -> None:
    known = options(PROGRAM) | FOREIGN
    for command in PROGRAM.commands.values():
        known |= options(command)
    for script in (ROOT / "benchmarks").glob("*.py"):
        known |= set(re.findall(r'"(--[a-z-]+)"', script.read_text()))
    unknown = [
        f"{page.name}: {code}"
        for page in PAGES
        for code in inline(page)
        if code.startswith("--") and re.split("[ =]", code)[0] not in known
    ]
    assert not unknown


def test_packaged_recipes_are_described() -> None:
    page = (ROOT / "docs" / "recipes.md").read_text()
    missing = [name for name in recipes.packaged() if f"| `{name}` |" not in page]
    assert not missing
    assert all(f"`{name}`" in page for name in recipes.OVERLAYS)


def fields(config: type[BaseModel]) -> Iterator[str]:
    """Names of a config's settings and of the settings inside them."""
    for name, field in config.model_fields.items():
        yield name
        waiting = [field.annotation]
        while waiting:
            kind = waiting.pop()
            if inspect.isclass(kind) and issubclass(kind, BaseModel):
                yield from fields(kind)
            waiting += get_args(kind)


def test_every_setting_is_named_on_a_page() -> None:
    named = set()
    for page in PAGES:
        code = " ".join([*inline(page), *(fence.text for fence in fences(page))])
        named |= set(re.findall(r"\w+", code))
    configs = {*SETTINGS.values(), PhaseData, PhaseConfig, ModelConfig}
    settings = {name for config in configs for name in fields(config)}
    assert len(settings) > 150
    assert not settings - named


def test_rules_are_described() -> None:
    page = (ROOT / "docs" / "rules.md").read_text()
    assert not [rule.name for rule in RULES if f"`{rule.name}`" not in page]


def test_ledger_rules_of_sources_are_described() -> None:
    """Rules are given as the beginning of a text: `problem="symlink"`, `f"too_large: {size}"`."""
    pages = [ROOT / "docs" / name for name in ("ingest.md", "sources-adjacent.md")]
    described = {code for page in pages for code in inline(page)}
    given = r"(?:problem ?= ?|Error\(|return |problem\()f?\"([a-z_]+)[:\"]"
    text = "".join(path.read_text() for path in (PACKAGE / "corpus").glob("*.py"))
    rules = set(re.findall(given, text))
    assert len(rules) > 20
    assert not rules - described


def benchmark_calls(page: Path) -> Iterator[tuple[str, str]]:
    """Names of benchmark scripts with what they are given; the README leaves their folder out."""
    for line in command_lines(page):
        yield from re.findall(r"(?<!/)benchmarks/(\w+\.py)([^#`]*)", line)
        if page == PAGES[0] and (match := re.fullmatch(r"(\w+\.py)( --.*)?", line)):
            yield match[1], match[2] or ""


def test_benchmark_scripts_take_the_options_they_are_given() -> None:
    wrong = []
    for page in PAGES:
        for name, given in benchmark_calls(page):
            script = ROOT / "benchmarks" / name
            known = script.read_text() if script.exists() else ""
            options_given = re.findall(r"--[a-z][a-z-]*", given)
            if not known or any(f'"{option}"' not in known for option in options_given):
                wrong.append(f"{page.name}: {name}{given}")
    assert not wrong


def test_every_benchmark_is_named_on_a_page() -> None:
    pages = "".join(page.read_text() for page in PAGES)
    silent = [s.name for s in (ROOT / "benchmarks").glob("*.py") if s.name not in pages]
    assert not silent


def test_tests_that_pages_run_exist() -> None:
    wrong = []
    for page in PAGES:
        for line in command_lines(page):
            if (call := re.search(r"\bpytest (tests\S*)(?: -k (\w+))?", line)) is None:
                continue
            path, word = call.groups()
            target = ROOT / path
            files = sorted(target.rglob("test_*.py")) if target.is_dir() else [target]
            found = target.exists() and (
                not word or any(word in file.read_text().lower() for file in files)
            )
            if not found:
                wrong.append(f"{page.name}: {line}")
    assert not wrong


# Files and names


# Pages that quote paths of other people's code.
READERS = {"reading.md", "quality.md", "order.md", "rules.md", "secrets.md", "three-phases.md"}


def test_files_named_exist() -> None:
    rooms = {folder.name for folder in PACKAGE.iterdir() if folder.is_dir()}
    missing = []
    for page in PAGES:
        for code in inline(page):
            if re.fullmatch(r"[\w.-]+(/[\w.-]+)+\.(py|yaml|css|js|jsonl)", code) is None:
                continue
            first = code.partition("/")[0]
            ours = first in ({"src", "firnline", "tests", "benchmarks"} | rooms)
            if not ours or (first in rooms | {"tests"} and page.name in READERS):
                continue
            if not any((base / code).exists() for base in (ROOT, ROOT / "src", PACKAGE)):
                missing.append(f"{page.name}: {code}")
    assert not missing


def defined(path: Path) -> set[str]:
    """Names that a file defines, those inside its classes too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def test_names_said_to_be_in_a_file_are_in_it() -> None:
    said = []
    for page in PAGES:
        text = re.sub(r"\s+", " ", prose(page))
        said += re.findall(r"`([A-Za-z_][\w.]*)` (?:in|of) `([\w/]+\.py)`", text)
    assert len(said) > 5
    missing = []
    for name, file in said:
        found = [base / file for base in (ROOT, ROOT / "src", PACKAGE) if (base / file).exists()]
        if not found or name.rpartition(".")[2] not in defined(found[0]):
            missing.append(f"{name} in {file}")
    assert not missing


def resolve(dotted: str) -> Any:
    """What a dotted name means: a module, or something in one."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise AttributeError(dotted)


def named_objects() -> dict[str, str]:
    """Dotted names of the package that pages give, and the page of each."""
    names = {}
    for page in PAGES:
        for code in inline(page):
            if found := re.match(r"firnline(?:\.\w+)+", code):
                names[found[0]] = page.name
        for fence in fences(page):
            if fence.language == "python":
                for name in imported(ast.parse(fence.text)).values():
                    names[name] = page.name
    return {name: page for name, page in names.items() if name.startswith("firnline")}


def imported(tree: ast.Module) -> dict[str, str]:
    """The dotted name behind each name that a piece of code imports."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return names


def test_names_exist_and_say_what_they_are() -> None:
    objects = named_objects()
    assert len(objects) > 40
    missing, silent = [], []
    for name, page in objects.items():
        try:
            found = resolve(name)
        except AttributeError:
            missing.append(f"{page}: {name}")
            continue
        if (inspect.isfunction(found) or inspect.isclass(found)) and not found.__doc__:
            silent.append(name)
    assert not missing
    assert not silent


def test_public_functions_and_classes_have_docstrings() -> None:
    silent = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if "recorded" in path.parts:
            continue
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree) and tree.body:
            silent.append(str(path))
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if not ast.get_docstring(node):
                silent.append(f"{path.name}: {node.name}")
    assert not silent


# Python and YAML on the pages


@pytest.mark.parametrize("text", snippets("python"))
def test_calls_in_python_fit_their_signatures(text: str) -> None:
    tree = ast.parse(text)
    names = imported(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        head, _, rest = ast.unparse(node.func).partition(".")
        if not names.get(head, "").startswith("firnline"):
            continue
        called = resolve(f"{names[head]}.{rest}" if rest else names[head])
        positional = [argument for argument in node.args if not isinstance(argument, ast.Starred)]
        named = {word.arg: None for word in node.keywords if word.arg}
        inspect.signature(called).bind(*positional, **named)


@pytest.mark.parametrize(
    "text", [p for p in snippets("python") if re.search(r"^print\(", str(p.values[0]), re.M)]
)
def test_python_that_prints_prints_what_the_page_says(text: str) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(text, "page", "exec"), {})
    for line in said.getvalue().splitlines():
        assert f"# {line}".rstrip() in text


def settings_of(text: str) -> list[dict[str, Any]]:
    """A block of YAML as mappings; one that repeats a key shows alternatives."""
    keys = re.findall(r"^(\w+):", text, re.M)
    if len(keys) == len(set(keys)):
        return [read_yaml(text)]
    return [read_yaml(piece) for piece in re.split(r"^(?=\w+:)", text, flags=re.M) if piece]


@pytest.mark.parametrize("text", snippets("yaml"))
def test_yaml_is_taken_by_what_it_configures(text: str) -> None:
    for settings in settings_of(text):
        if "schedule" in settings:
            make(Schedule, settings["schedule"])
        elif "secrets" in settings:
            make(SecretsConfig, settings["secrets"])
        else:
            below = read_yaml((PACKAGE / "recipes" / "quickstart.yaml").read_text())
            settings["benchmarks"] = ["basics"]  # files that the page makes up are not there
            if settings.pop("extends", None) is None and "phases" in settings:
                schedule = {"kind": "constant", "peak": 1e-3}
                below |= {"phases": {}, "evaluate": {}}
                below["training"] = {**below["training"], "schedule": schedule}
            recipes.check(merge(below, settings))


# The house


ROOMS = {"corpus", "curate", "quality", "synthesis", "tokens", "training", "evaluation", "report"}


def firnline_imports(path: Path) -> set[str]:
    """The rooms and top modules of the package that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "firnline":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("firnline."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            dotted = [a.name.split(".") for a in node.names if a.name.startswith("firnline.")]
            found |= {parts[1] for parts in dotted}
    return found


def files_of(name: str) -> list[Path]:
    """The files of a room or of a module at the top."""
    folder = PACKAGE / name
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{name}.py"]
    return [path for path in files if path.exists() and "recorded" not in path.parts]


def test_no_room_imports_a_room_beside_it() -> None:
    wrong = []
    seen, waiting = set(ROOMS), sorted(ROOMS)
    while waiting:  # rooms, and then all that they import: what lies below them imports no room
        name = waiting.pop()
        for path in files_of(name):
            for other in firnline_imports(path) - {name}:
                if other in ROOMS and (name, other) != ("report", "training"):
                    wrong.append(f"{path.relative_to(PACKAGE)} imports {other}")
                elif other not in seen:
                    seen.add(other)
                    waiting.append(other)
    assert not wrong
