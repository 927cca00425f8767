"""The loader's speed, and how fast it starts at sample 10 billion.

Batches are read one after another in this process, as a training loop asks for them; rates are
tokens a second of processor time. A start is a new `Samples` and its first batch: at sample 0 and
at 10 billion by turns, the ratio is that of the medians. The last line is a JSON object:

    mtok_per_second   million tokens a second, batches of 64 samples of 2,048 tokens
    seek_ratio        seconds to start at sample 10 billion, over those at sample 0
    ...               the same for small batches, masked documents and infilling

Without `--tokens` the standard library of this Python is ingested, tokenized and packed first.

    python benchmarks/loader.py [--tokens FOLDER --tokenizer FOLDER]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from packing import add_arguments, open_tokens

from firnline.tokens.infilling import InfillingConfig
from firnline.tokens.packing import PackingConfig
from firnline.tokens.samples import Samples

SECONDS = 3.0
FAR = 10**10
STARTS = 15
MASKED = PackingConfig(attention="masked")
BEST_FIT = PackingConfig(method="best_fit", attention="masked")
TOKEN, CHARACTER = (InfillingConfig(rate=0.5, cut=cut) for cut in ("token", "character"))


def main() -> None:
    """Measures each kind of loader and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        tokens, tokenizer = open_tokens(given, Path(name))
        kinds: dict[str, tuple[int, int, dict[str, Any]]] = {
            "": (64, 2048, {}),
            "small": (8, 512, {}),
            "masked": (64, 2048, {"packing": MASKED}),
            "best_fit": (64, 2048, {"packing": BEST_FIT}),
            "infilled_token": (64, 2048, {"infilling": TOKEN}),
            "infilled_character": (64, 2048, {"infilling": CHARACTER}),
        }
        result: dict[str, float] = {}
        for kind, (count, length, options) in kinds.items():
            options |= {"sequence_length": length, "seed": 0, "phase": "benchmark"}
            options |= {"tokenizer": tokenizer}
            row = {
                "mtok_per_second": speed(tokens, count, options),
                **seek(tokens, count, options),
            }
            print(kind or "plain", json.dumps(row))
            result |= {f"{kind}_{key}".lstrip("_"): value for key, value in row.items()}
    print(json.dumps(result))


def speed(tokens: Path, count: int, options: dict[str, Any]) -> float:
    """Million tokens a second of processor time."""
    samples = Samples(tokens, **options)
    samples.batch(0, count)
    began, read = time.process_time(), 0
    while (spent := time.process_time() - began) < SECONDS:
        samples.batch(read, count)
        read += count
    return round(read * samples.sequence_length / 1e6 / spent, 1)


def seek(tokens: Path, count: int, options: dict[str, Any]) -> dict[str, float]:
    """Seconds from nothing to the first batch: far from the beginning, and at it."""
    seconds: dict[int, list[float]] = {0: [], FAR: []}
    for _ in range(STARTS):
        for first, found in seconds.items():
            began = time.process_time()
            Samples(tokens, **options).batch(first, count)
            found.append(time.process_time() - began)
    near, far = (statistics.median(seconds[first]) for first in (0, FAR))
    return {"start_seconds": round(far, 4), "seek_ratio": round(far / near, 3)}


if __name__ == "__main__":
    main()
