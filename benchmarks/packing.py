"""Packing speed on one core: documents to batches of sequences, half of them infilled.

Samples are read in order, as a training run would, until SECONDS of processor time are used; this
process is held to one core, and rates are tokens a second of processor time. Each packing and
level of infilling is measured, at a rate of 50%; those by characters spell and encode documents
again. Documents longer than a quarter of a sequence are left out, so that infilling has much to
do (`infilled_share` of the tokens); `all_documents` is with them. Beside the rates: what share of
documents that would fit is cut by concatenation, what share of best fit's tokens is padding, with
the groups of the folder and without, and how fast best fit decides.

Without `--tokens` the standard library of this Python is ingested, tokenized and packed first.
The last line is a JSON object:

    mtok_per_second   million tokens a second: on end and cut, infilled between tokens
    character_mtok_per_second   the same, infilled between characters
    ...               and the figures beside them

    python benchmarks/packing.py [--tokens FOLDER --tokenizer FOLDER] [--sequence-length 8192]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from firnline.corpus.python import PythonSource
from firnline.corpus.stage import IngestConfig
from firnline.corpus.stage import run as ingest
from firnline.kernels.bins import best_fit_decreasing
from firnline.tokens import pack, train
from firnline.tokens.folder import TokenFolder
from firnline.tokens.infilling import InfillingConfig
from firnline.tokens.packing import BestFit, PackingConfig
from firnline.tokens.permutation import shuffled_groups
from firnline.tokens.samples import Samples
from firnline.tokens.tokenizer import Tokenizer

SECONDS = 3.0
BATCH_TOKENS = 1 << 18
CONCATENATE, BEST_FIT = PackingConfig(), PackingConfig(method="best_fit", attention="masked")
KINDS: dict[str, tuple[PackingConfig, str | None, str]] = {
    "": (CONCATENATE, "token", "document"),
    "all_documents": (CONCATENATE, "token", "document"),
    "character": (CONCATENATE, "character", "document"),
    "context_token": (CONCATENATE, "token", "context"),
    "context_character": (CONCATENATE, "character", "context"),
    "best_fit_token": (BEST_FIT, "token", "document"),
    "best_fit_character": (BEST_FIT, "character", "document"),
    "plain": (CONCATENATE, None, "document"),
    "best_fit_plain": (BEST_FIT, None, "document"),
}


def main() -> None:
    """Measures every kind and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--sequence-length", type=int, default=8192)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        tokens, tokenizer = open_tokens(given, Path(name))
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        length = given.sequence_length
        result: dict[str, Any] = {}
        for kind, (packing, cut, level) in KINDS.items():
            infilling = None
            if cut is not None:
                values = {"rate": 0.5, "cut": cut, "level": level}
                infilling = InfillingConfig.model_validate(values)
            keep = None
            if kind != "all_documents":
                keep = TokenFolder(tokens).tokens <= length // 4
            row = measure(tokens, tokenizer, length, packing, infilling, keep)
            print(kind or "token", json.dumps(row))
            result |= {f"{kind}_{key}".lstrip("_"): value for key, value in row.items()}
        result |= shapes(tokens, length)
    print(json.dumps(result))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What says where the tokens come from."""
    parser.add_argument("--tokens", type=Path, help="a token folder")
    parser.add_argument("--tokenizer", type=Path, help="the tokenizer that made it")


def open_tokens(given: argparse.Namespace, scratch: Path) -> tuple[Path, Tokenizer]:
    """The folder given, or one made of the standard library of this Python."""
    if (given.tokens is None) != (given.tokenizer is None):
        raise SystemExit("give both --tokens and --tokenizer, or neither")
    if given.tokens:
        return given.tokens, Tokenizer.load(given.tokenizer)
    source = PythonSource(only=("cpython",))
    ingest(IngestConfig(sources=(source,)), scratch / "documents")
    config = train.TokenizerConfig(vocabulary_size=8192, sample_mib=16)
    train.run(config, scratch / "documents", scratch / "tokenizer")
    pack.run(pack.PackConfig(), scratch / "documents", scratch / "tokenizer", scratch / "tokens")
    return scratch / "tokens", Tokenizer.load(scratch / "tokenizer")


def measure(
    tokens: Path,
    tokenizer: Tokenizer,
    length: int,
    packing: PackingConfig,
    infilling: InfillingConfig | None,
    keep: np.ndarray[Any, np.dtype[np.bool_]] | None,
) -> dict[str, float]:
    """Speed, and what share of the tokens read is of infilled documents and padding."""
    count = max(1, BATCH_TOKENS // length)
    for compiled in (False, True):
        samples = Samples(
            tokens,
            sequence_length=length,
            seed=0,
            phase="benchmark",
            keep=keep,
            packing=packing,
            infilling=infilling,
            tokenizer=tokenizer,
        )
        if not compiled:
            samples.batch(0, count)
    began = time.process_time()
    read = infilled = padding = 0
    counting = 0.0
    while (spent := time.process_time() - began - counting) < SECONDS:
        batch = samples.batch(read, count)
        read += count
        paused = time.process_time()
        if infilling:
            infilled += infilled_tokens(batch.ids, tokenizer)
        if batch.documents is not None:
            padding += int(np.count_nonzero(batch.documents < 0))
        counting += time.process_time() - paused
    total = read * length
    found = {"mtok_per_second": round(total / 1e6 / spent, 1)}
    if infilling:
        found["infilled_share"] = round(infilled / total, 4)
    if packing.method == "best_fit":
        found["padding_share"] = round(padding / total, 5)
    return found


def infilled_tokens(ids: np.ndarray[Any, Any], tokenizer: Tokenizer) -> int:
    """Tokens from each prefix sentinel to the end of text that follows its middle."""
    flat, roles = ids.reshape(-1), tokenizer.roles
    begins = np.flatnonzero(flat == roles["fim_prefix"])
    middles = np.flatnonzero(flat == roles["fim_middle"])
    ends = np.flatnonzero(flat == roles["end_of_text"])
    stops = ends[np.searchsorted(ends, middles)]
    begins = begins[np.searchsorted(begins, middles) - 1]
    return int((stops - begins + 1).sum())


def shapes(tokens: Path, length: int) -> dict[str, float]:
    """What concatenation cuts of what would fit, and what best fit pads, by lengths alone."""
    folder = TokenFolder(tokens)
    sizes = folder.tokens.astype(np.int64)
    order = shuffled_groups(folder.group, 0, "benchmark", 0)
    ends = np.cumsum(sizes[order])
    begins = ends - sizes[order]
    fits = sizes[order] <= length + 1
    cut = fits & (ends > begins // length * length + length + 1)
    found = {
        "documents": len(sizes),
        "fitting_documents_that_concatenation_cuts": round(cut.sum() / fits.sum(), 4),
    }
    alone = np.arange(len(sizes), dtype=np.int32)
    for name, groups in (("groups", folder.group), ("no_groups", alone)):
        folder.group = groups
        packed = BestFit(folder, length, (0, "benchmark"), reserve=0, whole_only=True)
        runs = packed.runs(0, np.arange(packed.samples_per_epoch))
        room = packed.samples_per_epoch * (length + 1)
        found[f"padding_with_{name}"] = round(1 - int(runs.length.sum()) / room, 5)
    items = np.resize(np.minimum(sizes, length + 1), 1_000_000).astype(np.int32)
    began = time.process_time()
    best_fit_decreasing(items, length + 1)
    found["best_fit_mdocuments_per_second"] = round(1 / (time.process_time() - began), 2)
    return found


if __name__ == "__main__":
    main()
