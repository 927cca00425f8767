"""What objectives of encoders learn in a few hundred small steps, and how fast their samples come.

Real code: the standard library of this Python, a tenth of its files held out. Tokenizer, token
folders, labels and pairs are made by their stages, each objective is trained by the loop, and its
loss is taken on held-out samples before and after; `last_steps` is the mean of the last twenty
steps, on samples that were trained on before (pairs about twenty times). `constant` is the loss of
the best guess that does not look at the input: the shares of the training targets, ln 2 for
matching, and ln(group) for contrast.

    OMP_NUM_THREADS=1 python benchmarks/objectives.py [--steps 300] [--only NAME ...] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import math
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from firnline.documents import DOCUMENT_SCHEMA, content_hash, document_id, write_table
from firnline.model.loss import IGNORE
from firnline.tokens import identifiers, pack, pairs, train
from firnline.tokens.samples import Samples
from firnline.tokens.tokenizer import Tokenizer
from firnline.training.objectives import stage
from firnline.training.objectives.hiding import (
    IdentifierTagging,
    MaskedIdentifiers,
    MaskedTokens,
    SpanMasking,
)
from firnline.training.objectives.mixture import Mixture
from firnline.training.objectives.objective import Objective, Setup
from firnline.training.objectives.pairing import Contrast, DualGeneration, Matching
from firnline.training.objectives.shapes import ModelShape
from firnline.training.objectives.vocabulary import Vocabulary
from firnline.training.phase import PhaseConfig
from firnline.training.schedule import Schedule

LENGTH, GROUP, BATCH = 128, 8, 8
SIZE = {"width": 128, "layers": 2, "heads": 4, "feed_forward": 512}
SHAPES = {family: ModelShape(family=family, **SIZE) for family in ("t5", "bert")}
RATES = {"t5": 6e-3, "bert": 1e-3}
VOCABULARY_SIZE = 1024
HELD_OUT_SAMPLES = 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--only", nargs="*", help="names of objectives")
    parser.add_argument("--folder", type=Path, help="keep what is made here, and use it again")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        rates = make_folders(folder)
        report = {
            objective: measure(folder, objective, arguments.steps)
            for objective in arguments.only or NAMES
        }
    print(json.dumps({"benchmark": "objectives", "stages": rates, "objectives": report}))


def make_folders(folder: Path) -> dict[str, float]:
    """Documents, tokenizer, tokens, labels and pairs; MB of code for each CPU second."""
    if not (folder / "documents").exists():
        write_documents(folder / "documents")
    documents, tokenizer = folder / "documents", folder / "tokenizer"
    config = train.TokenizerConfig(vocabulary_size=VOCABULARY_SIZE, sample_mib=4)
    train.run(config, documents, tokenizer, workers=1)
    rates = {}
    for split in ("train", "heldout"):
        tokens, labels = folder / f"tokens-{split}", folder / f"labels-{split}"
        config_of_split = pack.PackConfig(splits=(split,))
        size = pack.run(config_of_split, documents, tokenizer, tokens).stats["bytes"] / 1e6
        started = time.process_time()
        identifiers.run(
            identifiers.IdentifiersConfig(), documents, tokenizer, tokens, labels, workers=1
        )
        rates[f"identifiers_{split}"] = round(size / (time.process_time() - started), 2)
        started = time.process_time()
        made = pairs.PairsConfig(splits=(split,))
        pairs.run(made, documents, tokenizer, folder / f"pairs-{split}", workers=1)
        rates[f"pairs_{split}"] = round(size / (time.process_time() - started), 2)
    return rates


def write_documents(folder: Path) -> None:
    library = Path(sysconfig.get_path("stdlib"))
    paths = [p for p in sorted(library.glob("*.py")) if p.stat().st_size < 200_000]
    rows = []
    for number, path in enumerate(paths):
        data = path.read_bytes()
        rows.append(
            {
                "id": document_id("directory", "library", "1", path.name),
                "content_hash": content_hash(data),
                "repo": "library",
                "path": path.name,
                "revision": "1",
                "language": "Python",
                "size": len(data),
                "source": "directory",
                "content": data.decode(errors="replace"),
                "split": "heldout" if number % 10 == 0 else "train",
            }
        )
    schema = DOCUMENT_SCHEMA.append(pa.field("split", pa.string()))
    write_table(folder / "data" / "shard-00000.parquet", pa.Table.from_pylist(rows, schema=schema))


def vocabulary(folder: Path) -> Vocabulary:
    tokenizer = Tokenizer.load(folder / "tokenizer")
    special = tokenizer.special.values()
    return Vocabulary.of(tokenizer.token_bytes, special=special, end=tokenizer.end_of_text)


NAMES = (
    "span_masking",
    "masked_identifiers",
    "identifier_tagging",
    "dual_generation",
    "masked_tokens",
    "contrast",
    "matching",
    "mixture",
)


def family_of(name: str) -> str:
    return "t5" if name in (*NAMES[:4], "mixture") else "bert"


def task(folder: Path, name: str, split: str, init: Path | None = None) -> Objective | Mixture:
    setup = Setup(SHAPES[family_of(name)], vocabulary(folder), seed=0, phase=split, init=init)

    def source(kind: str) -> Samples:
        path = folder / f"{kind}-{split}"
        return Samples(path, sequence_length=LENGTH, seed=0, phase=split)

    def described() -> pairs.Pairs:
        path = folder / f"pairs-{split}"
        return pairs.Pairs(path, text_length=16, code_length=40, seed=0, phase=split)

    def make(name: str) -> Objective:
        if name == "span_masking":
            return SpanMasking(setup, source("tokens"), sequence_length=LENGTH)
        if name == "masked_identifiers":
            tokens, labels = source("tokens"), source("labels")
            return MaskedIdentifiers(setup, tokens, labels, sequence_length=LENGTH)
        if name == "identifier_tagging":
            tokens, labels = source("tokens"), source("labels")
            return IdentifierTagging(setup, tokens, labels, sequence_length=LENGTH)
        if name == "masked_tokens":
            return MaskedTokens(setup, source("tokens"), sequence_length=LENGTH)
        if name == "dual_generation":
            return DualGeneration(setup, described())
        if name == "contrast":
            return Contrast(setup, described(), group=GROUP)
        return Matching(setup, described(), group=GROUP)

    if name != "mixture":
        return make(name)
    parts = {part: make(part) for part in NAMES[:4]}
    shares = dict.fromkeys(parts, 0.25)
    return Mixture(parts, shares, weights={"identifier_tagging": 0.2}, block=BATCH)


def measure(folder: Path, name: str, steps: int) -> dict[str, float]:
    learned, held_out = task(folder, name, "train"), task(folder, name, "heldout")
    config = PhaseConfig(
        name="train",
        tokens=steps * BATCH * LENGTH,
        sequence_length=LENGTH,
        batch_sequences=BATCH,
        schedule=Schedule(kind="linear", peak=RATES[family_of(name)], warmup_steps=steps // 10),
        device="cpu",
    )
    before = loss(held_out, held_out.build())
    started = time.process_time()
    result = stage.run(
        config,
        learned,
        folder / f"train-{name}",
        inputs={"tokens": folder / "tokens-train", "pairs": folder / "pairs-train"},
        tokenizer_file=folder / "tokenizer" / "tokenizer.json",
        workers=1,
    )
    seconds = time.process_time() - started
    trained = task(folder, name, "heldout", result.folder / "checkpoint")
    row = {"before": before, "after": loss(trained, trained.build()), "train_seconds": seconds}
    lines = (result.folder / "metrics.jsonl").read_text().splitlines()[-20:]
    row["last_steps"] = sum(json.loads(line)["loss"] for line in lines) / len(lines)
    row["constant"] = constant(learned, held_out)
    learned.batch(0, 2)
    started = time.process_time()
    learned.batch(0, 512)
    row["samples_per_second"] = 512 / (time.process_time() - started)
    return {key: round(value, 3) for key, value in row.items() if math.isfinite(value)}


def loss(task: Objective | Mixture, model: torch.nn.Module) -> float:
    """Mean over the targets of the held-out samples."""
    total, count = 0.0, 0
    with torch.no_grad():
        for first in range(0, HELD_OUT_SAMPLES, BATCH):
            summed, targets = task.loss(model, task.batch(first, BATCH))
            total, count = total + summed.item(), count + int(targets)
    return total / count


def constant(learned: Objective | Mixture, held_out: Objective | Mixture) -> float:
    """The loss of the best guess that does not look at the input; NaN for a mixture: left out."""
    if isinstance(learned, Mixture) or isinstance(held_out, Mixture):
        return math.nan
    if learned.name == "contrast":
        return math.log(GROUP)
    if learned.name == "matching":
        return math.log(2)
    counts = np.ones(2 if learned.name == "identifier_tagging" else learned.vocabulary.size)
    seen = learned.batch(0, 2000)["targets"]
    counts += np.bincount(seen[seen != IGNORE], minlength=len(counts))
    told = held_out.batch(0, HELD_OUT_SAMPLES)["targets"]
    return float(-np.log(counts / counts.sum())[told[told != IGNORE]].mean())


if __name__ == "__main__":
    main()
