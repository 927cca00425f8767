"""What every command shares: the program, its options, a config from them, what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from firnline import show
from firnline.errors import FirnlineError
from firnline.settings import make, merge, parse_settings
from firnline.stage import StageResult

app = typer.Typer(
    name="firnline",
    help="Turns raw code into a code language model whose data can be justified.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Out = Annotated[Path, typer.Option("--out", help="The folder to make.")]
Set = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; may be repeated."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes; default: one for each core.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The seed of everything random.")]
Documents = Annotated[Path, typer.Argument(help="A folder of Documents.")]
Benchmarks = Annotated[
    list[str] | None, typer.Option("--benchmark", help="`basics`, or NAME=PATH; may be repeated.")
]
TokenizerFolder = Annotated[Path, typer.Option("--tokenizer", help="A tokenizer folder.")]


def configure(kind: type[BaseModel], settings: list[str], **given: Any) -> Any:
    """A config from a command's options; one that was not given (None) keeps its default."""
    values = {name: value for name, value in given.items() if value is not None}
    return make(kind, merge(values, parse_settings(settings)))


def checkpoint_folder(folder: Path) -> Path:
    """The checkpoint folder that a path means: itself, or the one inside a training stage."""
    inside = folder / "checkpoint"
    return inside if inside.is_dir() else folder


def named_folders(texts: list[str]) -> dict[str, Path]:
    """Folders by name, from `FOLDER` (its own name) or `NAME=FOLDER`."""
    folders: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        folder = Path(path if equals else text)
        name = name if equals else folder.name
        if name in folders:
            raise FirnlineError(
                f"two of {', '.join(texts)} are called {name!r}", mend="write NAME=FOLDER"
            )
        folders[name] = folder
    return folders


def finish(result: StageResult, as_json: bool) -> None:
    """Prints what a stage measured, a line for each figure, or everything as JSON."""
    if as_json:
        print(json.dumps(as_answer(result)))
        return
    lines = {name: text for name, value in result.stats.items() if (text := show.shown(value))}
    width = max([20, *map(len, lines)])
    for name, text in (lines | {"folder": str(result.folder)}).items():
        show.stdout.print(f"{name:<{width}} {text}", highlight=False, markup=False, soft_wrap=True)


def as_answer(result: StageResult) -> dict[str, Any]:
    """What `--json` says of a stage."""
    return {"folder": str(result.folder), "skipped": result.skipped, "stats": result.stats}
