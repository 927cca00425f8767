"""Commands for tokenizers and token shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from firnline import show
from firnline.cli.options import (
    AsJson,
    Documents,
    Out,
    Seed,
    Set,
    TokenizerFolder,
    Workers,
    app,
    configure,
    finish,
    named_folders,
)


@app.command()
def tokenizer(
    documents: Documents,
    out: Out,
    vocabulary_size: Annotated[int, typer.Option(min=1, help="Entries, specials included.")],
    seed: Seed = 0,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Train a byte-level BPE tokenizer on Documents."""
    from firnline.tokens import train

    config = configure(train.TokenizerConfig, settings, vocabulary_size=vocabulary_size, seed=seed)
    finish(train.run(config, documents, out, workers=workers), as_json)


@app.command()
def import_tokenizer(
    source: Annotated[
        Path, typer.Argument(help="A folder or tokenizer.json, vocab.json or .tiktoken file.")
    ],
    out: Out,
    settings: Set = [],
    as_json: AsJson = False,
) -> None:
    """Take over the tokenizer of a public model, ids kept."""
    from firnline.tokens import import_tokenizer as importing

    finish(importing.run(configure(importing.ImportConfig, settings), source, out), as_json)


@app.command()
def extend_tokenizer(
    folder: Annotated[Path, typer.Argument(help="A tokenizer folder.")],
    out: Out,
    tokens: Annotated[list[str], typer.Option("--token", help="A new control token; repeat.")],
    settings: Set = [],
    as_json: AsJson = False,
) -> None:
    """Add control tokens; `resize` then fits a model."""
    from firnline.tokens import extend

    config = configure(extend.ExtendConfig, settings, tokens=tuple(tokens))
    finish(extend.run(config, folder, out), as_json)


@app.command()
def compare_tokenizers(
    documents: Documents,
    tokenizers: Annotated[
        list[str], typer.Option("--tokenizer", help="FOLDER or NAME=FOLDER; repeat.")
    ],
    sample_mib: Annotated[float, typer.Option(min=0.001, help="MiB of content to encode.")] = 20.0,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Bytes for each token, tokenizers side by side."""
    from firnline.tokens import compression

    rows = compression.report(
        named_folders(tokenizers), documents, sample_mib=sample_mib, seed=seed
    )
    if as_json:
        print(json.dumps([row._asdict() for row in rows]))
        return
    show.print_table(compression.table(rows))


@app.command()
def pack(
    documents: Documents,
    tokenizer_folder: TokenizerFolder,
    out: Out,
    order: Annotated[
        Path | None, typer.Option(help="An arrange folder; its order is then `dependency`.")
    ] = None,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Encode Documents into token shards."""
    from firnline.tokens import pack as packing

    given = "dependency" if order is not None else None
    config = configure(packing.PackConfig, settings, order=given)
    result = packing.run(config, documents, tokenizer_folder, out, order=order, workers=workers)
    finish(result, as_json)


@app.command()
def identifiers(
    documents: Documents,
    tokens: Annotated[Path, typer.Option("--tokens", help="Their token folder.")],
    tokenizer_folder: TokenizerFolder,
    out: Out,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Label the tokens that are identifiers.

    For objectives that mask or tag them.
    """
    from firnline.tokens import identifiers as labels

    config = labels.IdentifiersConfig()
    finish(labels.run(config, documents, tokenizer_folder, tokens, out, workers=workers), as_json)


@app.command()
def pairs(
    documents: Documents,
    tokenizer_folder: TokenizerFolder,
    out: Out,
    settings: Set = [],
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Find functions with the text that describes them.

    For objectives over pairs.
    """
    from firnline.tokens import pairs as finding

    config = configure(finding.PairsConfig, settings)
    finish(finding.run(config, documents, tokenizer_folder, out, workers=workers), as_json)
