"""What a recipe will cost, before anything runs: parameters, tokens, FLOPs, memory, disk, hours."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from firnline import engine
from firnline.curate import cost
from firnline.documents import document_shards, parquet_file
from firnline.errors import FirnlineError
from firnline.inputs import phase_inputs
from firnline.model.config import FlopsPerToken, ModelConfig, flops_per_token, parameter_count
from firnline.phases import Phase
from firnline.pipeline import stage_names
from firnline.recipe import Recipe
from firnline.tokens.mixture import shares
from firnline.tokens.tokenizer import Tokenizer
from firnline.tokens.train import TokenizerConfig
from firnline.training.objectives import shapes
from firnline.training.objectives.shapes import ModelShape

# Code at the tokenizers people train for it has three to four bytes to a token; counted low, so
# that disk is predicted high.
_BYTES_PER_TOKEN = 3.5
_PARQUET_RATIO = 0.25  # zstd on source code
_BYTES_PER_DOCUMENT = 7_500  # packages of 25 languages: 7.3 to 11.7 kB


@dataclass(frozen=True)
class Device:
    """What training runs on: data-sheet peak in FLOP/s, the share of it assumed, memory."""

    name: str
    peak_flops: float
    utilization: float
    memory_gib: float
    low_precision: bool


DEVICES = {
    device.name: device
    for device in (
        # Peaks are the dense bfloat16 figures of the data sheets; the shares are assumptions.
        Device("h100", 989e12, 0.40, 80, True),
        Device("h200", 989e12, 0.42, 141, True),
        Device("a100", 312e12, 0.45, 80, True),
        # Two server cores with AVX-512 in float32; the share is what the quickstart reached.
        Device("cpu", 400e9, 0.36, 16, False),
    )
}


def plan_curation(documents: Path, workers: int | None = None) -> dict[str, Any]:
    """What curating a folder of Documents takes, from the footers of its shards.

    Keys: `documents`, `content_gib`, `workers`, `memory_gib` and `disk_gib` (the most at one time).
    Raises FirnlineError where the folder holds no Documents.
    """
    count = size = 0
    for shard in document_shards(documents):
        footer = parquet_file(shard).metadata
        count += footer.num_rows
        place = footer.schema.names.index("content")
        for number in range(footer.num_row_groups):
            size += footer.row_group(number).column(place).total_uncompressed_size
    workers = workers or engine.cores()
    taken = cost.predict(size, count, workers)
    return {
        "documents": count,
        "content_gib": size / 2**30,
        "workers": workers,
        "memory_gib": taken.memory_gib,
        "disk_gib": taken.disk_gib,
    }


def plan(
    recipe: Recipe,
    device: str = "cpu",
    count: int = 1,
    workers: int | None = None,
    run: Path | None = None,
) -> dict[str, Any]:
    """The plan as plain values: what `firnline plan --json` prints.

    Keys: `parameters`, `tokens`, `flops_full_attention` (6N + 12 L d T for a token) and
    `flops_causal_attention` (half the attention term), summed over all phases; `memory_gib` for
    each device while training; `corpus_gib` of code, and whether the sources were there to be
    listed (`corpus_listed`); `curation_memory_gib` of ingest and curate with `workers` on one
    machine; `disk_gib` of the run folder; `hours` of training; `phases` and `stages` in order; and
    `sources`: what each phase reads, a row for each source as `Mixture.table` gives it. Epochs and
    supply in it are null until the token folders are there: those of `run`, a run folder.

    Raises FirnlineError for an unknown device, and where a phase asks for more than the token
    folders of `run` hold.
    """
    if device not in DEVICES:
        raise FirnlineError(f"no device {device!r}", mend=f"there are {', '.join(DEVICES)}")
    if count < 1:
        raise FirnlineError(f"{count} devices", mend="give 1 or more")
    machine = DEVICES[device]
    phases = [_phase(recipe, phase, machine, count) for phase in recipe.phases]
    corpus_bytes, listed = _corpus_bytes(recipe)
    workers = workers or engine.cores()
    reading = cost.predict_ingest(corpus_bytes, workers, recipe.ingest.shard_mib << 20)
    curating = cost.predict(corpus_bytes, corpus_bytes // _BYTES_PER_DOCUMENT, workers)
    return {
        "recipe": recipe.name,
        "device": device,
        "devices": count,
        "utilization": machine.utilization,
        "parameters": _parameters(recipe),
        "tokens": sum(row["tokens"] for row in phases),
        "flops_full_attention": sum(row["flops_full_attention"] for row in phases),
        "flops_causal_attention": sum(row["flops_causal_attention"] for row in phases),
        "memory_gib": max(_memory(recipe, phase, machine) for phase in recipe.phases),
        "corpus_gib": corpus_bytes / 2**30,
        "corpus_listed": listed,
        "curation_memory_gib": max(reading.memory_gib, curating.memory_gib),
        "disk_gib": _disk(recipe, corpus_bytes),
        "hours": sum(row["hours"] for row in phases),
        "phases": phases,
        "sources": [row for phase in recipe.phases for row in sources(recipe, phase, run)],
        "stages": stage_names(recipe),
    }


def sources(recipe: Recipe, phase: Phase, run: Path | None) -> list[dict[str, Any]]:
    """The phase's rows of Code Llama's Table 1: from the token folders where they are there."""
    given = phase_inputs(phase, run or Path())
    there = [(folder / "tokens.json").is_file() for folder in given.folders.values()]
    if run is not None and all(there):
        given.check_pairs()
        return [{"phase": phase.name, **row} for row in given.table()]
    unknown = ("epochs", "supply_documents", "supply_tokens", "supply_bytes")
    return [
        {
            "phase": phase.name,
            "source": name,
            "language": None,
            "share": float(share),
            "tokens": round(phase.training.tokens * share),
            **dict.fromkeys(unknown),
        }
        for name, share in shares(phase.sources).items()
    ]


def _phase(recipe: Recipe, phase: Phase, device: Device, count: int) -> dict[str, Any]:
    training = phase.training
    parts = shares(phase.sources)
    flops = _flops(recipe, phase)
    full = flops.full_attention
    return {
        "phase": phase.name,
        "init": phase.data.init,
        "data": phase.data.data or ", ".join(f"{n} {float(s):.0%}" for n, s in parts.items()),
        "tokens": training.tokens,
        "unique_tokens": round(
            sum(training.tokens * s / Fraction(phase.sources[n].repeat) for n, s in parts.items())
        ),
        "batch_tokens": training.batch_tokens,
        "steps": training.steps,
        "flops_full_attention": full,
        "flops_causal_attention": flops.causal_attention,
        "hours": full / (device.peak_flops * device.utilization * count) / 3600,
    }


def _flops(recipe: Recipe, phase: Phase) -> FlopsPerToken:
    """Of the whole phase; of objectives the mean over their shares of the samples."""
    model, training = recipe.model, phase.training
    if isinstance(model, ModelConfig):
        each = flops_per_token(model, training.sequence_length)
        return FlopsPerToken(*(one * training.tokens for one in each))
    assert phase.objective is not None
    totals = [0.0, 0.0]
    for one in phase.objective.used.values():
        passes = one.passes(training.sequence_length)
        found = shapes.training_flops(model, _rows(recipe, model), passes)
        totals = [t + one.share * f * training.samples for t, f in zip(totals, found, strict=True)]
    return FlopsPerToken(*map(round, totals))


def _parameters(recipe: Recipe) -> int:
    """Heads of all objectives included."""
    if isinstance(recipe.model, ModelConfig):
        return parameter_count(recipe.model)
    heads = {head for p in recipe.phases if p.objective for head in p.objective.heads}
    return shapes.parameter_count(recipe.model, _rows(recipe, recipe.model), heads)


def _rows(recipe: Recipe, model: ModelConfig | ModelShape) -> int:
    """Rows of the embedding."""
    if isinstance(model, ModelConfig):
        return model.vocabulary_size
    if isinstance(recipe.tokenizer, TokenizerConfig):
        return model.rows(recipe.tokenizer.vocabulary_size)
    return model.rows(Tokenizer.load(recipe.tokenizer.folder.expanduser()).vocabulary_size)


def _memory(recipe: Recipe, phase: Phase, device: Device) -> float:
    """GiB on one device that holds the whole model: weights, gradients, AdamW, activations.

    Weights, gradients and two moments in float32 are 16 bytes for each parameter. Activations
    are 34 bytes for each token, layer and unit of width in low precision (Korthikanti et al. 2022,
    without the attention matrix, which is never held), twice that in float32, and the logits of
    one micro-batch. Of objectives it is the largest; a decoder that reads an encoder's output has
    a half more activations in a layer.
    """
    model, training = recipe.model, phase.training
    micro_batch = training.micro_batch_sequences or training.batch_sequences
    each = 34 if device.low_precision else 68
    rows = _rows(recipe, model)
    if isinstance(model, ModelConfig):
        tokens = micro_batch * training.sequence_length
        held = float(tokens) * (model.layers * model.hidden * each + rows * 4)
    else:
        assert phase.objective is not None
        width = model.layers * model.width * each
        held = micro_batch * max(
            sum(
                # A third of a pass is one without gradients, of which nothing is kept.
                round(one.times) * (one.inputs * width + one.targets * (1.5 * width + rows * 4))
                for one in objective.passes(training.sequence_length)
                if one.times >= 1
            )
            for objective in phase.objective.used.values()
        )
    return float(16 * _parameters(recipe) + held) / 2**30


def _disk(recipe: Recipe, corpus_bytes: int) -> float:
    """GiB of the run folder: documents of each stage, token shards, checkpoints."""
    token_bytes = 2 if _rows(recipe, recipe.model) <= 1 << 16 else 4
    chosen = sum(phase.selection.tokens for phase in recipe.phases if phase.selection)
    documents = (2 * corpus_bytes + chosen * _BYTES_PER_TOKEN) * _PARQUET_RATIO
    shards = (corpus_bytes / _BYTES_PER_TOKEN + 2 * chosen) * token_bytes
    weights = _parameters(recipe) * 4
    # Each phase leaves its weights; one at a time holds two resume states of weights and moments.
    return float(documents + shards + weights * (len(recipe.phases) + 6)) / 2**30


def _corpus_bytes(recipe: Recipe) -> tuple[int, bool]:
    """Bytes of code that ingest would read, and whether the sources were there to be listed.

    Without the sources the corpus is taken to hold the tokens that the longest phase sees.
    """
    try:
        return sum(p.size for source in recipe.ingest.sources for p in source.parts()), True
    except FirnlineError:
        longest = max(phase.training.tokens for phase in recipe.phases)
        return round(longest * _BYTES_PER_TOKEN), False
