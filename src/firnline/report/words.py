"""A phase's settings in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from firnline.training.batch_warmup import BatchWarmup
from firnline.training.optimizer import OptimizerConfig
from firnline.training.phase import PhaseConfig
from firnline.training.schedule import describe

_PACKING = {
    "concatenate": "documents on end, cut",
    "best_fit": "best fit, no document cut that fits",
}
_ATTENTION = {"across": "attention across documents", "masked": "attention inside each document"}


def settings(
    config: PhaseConfig | None, record: Mapping[str, Any], init: str | None
) -> dict[str, str]:
    """What was asked of a phase, by the name of the setting; empty where it is not known.

    Only what the manifest says is told: an older one that has no `optimizer` gets no default.
    """
    start = init or "new weights"
    if said := record.get("objective"):
        how = {"objective": objective(said)}
    else:
        how = {"infilling": infilling(record.get("infilling")) if record else ""}
    read = {
        "data": data(record.get("sources", {})),
        "packing": packing(record.get("packing", {})),
        **how,
    }
    if config is None:
        return {"starts from": start, **read}
    if not init:
        start += f", seed {config.seed}"
    elif config.optimizer_state == "keep":
        start += ", and its optimizer's state"
    return {
        "starts from": start,
        "tokens": f"{config.tokens:,} in {config.steps:,} steps",
        **read,
        "batch": batch(config),
        "learning rate": describe(config.schedule, config.steps),
        "optimizer": optimizer(config.optimizer) if "optimizer" in config.model_fields_set else "",
        "gradient norm": f"clipped at {config.clip:g}",
        "weights at the end": averaging(config),
        "precision": config.precision,
    }


def data(sources: Mapping[str, Mapping[str, Any]]) -> str:
    """`code 70%, text 10%, made the rest`, or one source alone with its repetition."""
    if len(sources) == 1:
        ((name, source),) = sources.items()
        repeat = source.get("repeat", 1)
        return f"{name}, repeated {repeat:g} times" if repeat > 1 else name
    shares = {name: source.get("share", "rest") for name, source in sources.items()}
    return ", ".join(
        f"{name} the rest" if share == "rest" else f"{name} {100 * share:.4g}%"
        for name, share in shares.items()
    )


def packing(said: Mapping[str, Any]) -> str:
    """How documents become sequences and what a token sees of them."""
    if not said:
        return ""
    return f"{_PACKING[said['method']]}; {_ATTENTION[said['attention']]}"


def infilling(said: Mapping[str, Any] | None) -> str:
    """How many documents are infilled, in which forms, where they are cut."""
    if not said:
        return "none"
    unit = "node of the syntax tree" if said["cut"] == "syntax" else said["cut"]
    before = "documents before packing" if said["level"] == "document" else "parts after packing"
    spm = said["spm_share"]
    form = "all PSM" if spm == 0 else "all SPM" if spm == 1 else f"{100 * spm:.3g}% of them SPM"
    return f"{100 * said['rate']:.3g}% of {before}, {form}, cut by {unit}"


def objective(said: Mapping[str, Mapping[str, Any] | None]) -> str:
    """`span masking 50%, identifier tagging 50%, its loss 0.2 times`."""
    parts = []
    for name, one in said.items():
        if one and one["share"]:
            weight = f", its loss {one['weight']:g} times" if one["weight"] != 1 else ""
            parts.append(f"{name.replace('_', ' ')} {100 * one['share']:.4g}%{weight}")
    return ", ".join(parts)


def batch(config: PhaseConfig) -> str:
    """`from 2 to 8 sequences of 128 tokens over 30,000 tokens, on stairs of 2`."""
    count, warmup = f"{config.batch_sequences:,}", config.batch_warmup
    if warmup is not None:
        count = f"from {warmup.first_sequences:,} to {count}"
    text = f"{count} sequences of {config.sequence_length:,} tokens"
    return f"{text} {_growth(warmup)}" if warmup is not None else text


def _growth(warmup: BatchWarmup) -> str:
    stairs = f", on stairs of {warmup.stride_sequences:,}" if warmup.kind == "stairs" else ""
    return f"over {warmup.tokens:,} tokens{stairs}"


def optimizer(config: OptimizerConfig) -> str:
    """Its name and the settings that people compare."""
    adamw = f"AdamW, betas {config.beta1:g} and {config.beta2:g}"
    if config.name == "adamw":
        return f"{adamw}, weight decay {config.weight_decay:g}"
    rate = f", {config.muon_rate:g} times the rate" if config.muon_rate != 1 else ""
    return (
        f"Muon inside the blocks, momentum {config.momentum:g}{rate}; for the rest {adamw};"
        f" weight decay {config.weight_decay:g}"
    )


def averaging(config: PhaseConfig) -> str:
    """Which states the last weights are the mean of; empty where they are the last step's."""
    if config.averaging is None:
        return ""
    decay = config.averaging.decay
    fade = f", each counting {decay:g} times the next" if decay else ""
    return f"mean of the last {config.averaging.last} states{fade}"
