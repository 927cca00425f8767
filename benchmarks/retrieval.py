"""Whether contrast and matching find held-out pairs of text and code, given many to learn from.

RUN is the folder of a run whose recipe reads pairs (`firnline run codet5+laptop --until pairs`):
its `tokenizer`, `pairs-corpus` and `pairs-heldout` are used. A small encoder learns both in turn.
`recall_at_1` is the share of held-out texts whose code is the most like one of its group (chance:
1 / group), `accuracy` that of right and random wrong pairs that are told apart (chance: 0.5).

    OMP_NUM_THREADS=1 python benchmarks/retrieval.py RUN [--minutes 5] [--objective contrast]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch

from firnline.tokens.pairs import Pairs
from firnline.tokens.tokenizer import Tokenizer
from firnline.training.objectives.models import HeadedModel
from firnline.training.objectives.objective import Setup
from firnline.training.objectives.pairing import Contrast, Matching
from firnline.training.objectives.shapes import ModelShape
from firnline.training.objectives.vocabulary import Vocabulary

GROUP, BATCH = 16, 4
TEXT, CODE = 24, 64
RATE, WARMUP_STEPS = 1e-3, 20
SHAPE = ModelShape(family="bert", width=128, layers=2, heads=4, feed_forward=256, context=128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--objective", nargs="*", default=["contrast", "matching"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report = {name: learn(arguments.run, name, arguments.minutes) for name in arguments.objective}
    print(json.dumps({"benchmark": "retrieval", "group": GROUP, "objectives": report}))


def learn(run: Path, name: str, minutes: float) -> list[dict[str, float]]:
    """Rows over time, the first before training."""
    train, held_out = objective(run, name, "corpus"), objective(run, name, "heldout")
    model = train.setup.build(train.heads)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1, betas=(0.9, 0.95))
    rows = [{"step": 0, "pairs_seen": 0, **measure(held_out, model)}]
    begun = time.perf_counter()
    step, last = 0, 0.0
    while (spent := time.perf_counter() - begun) < 60 * minutes:
        # Down to nothing at the end of the time: the rate is a function of the clock.
        rate = RATE * min((step + 1) / WARMUP_STEPS, 1 - spent / (60 * minutes))
        for group in optimizer.param_groups:
            group["lr"] = rate
        total, count = train.loss(model, train.batch(step * BATCH, BATCH))
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step, last = step + 1, 0.95 * last + 0.05 * float((total / count).detach())
        if spent > 60 * len(rows):
            rows.append(row(step, last, held_out, model))
    rows.append(row(step, last, held_out, model))
    return rows


def row(
    step: int, last: float, held_out: Contrast | Matching, model: HeadedModel
) -> dict[str, float]:
    """`train_loss` is a moving average over some twenty steps."""
    found = {
        "step": step,
        "pairs_seen": step * BATCH * GROUP,
        "train_loss": round(last / (1 - 0.95**step), 3),
        **measure(held_out, model),
    }
    print(json.dumps(found), flush=True)
    return found


def objective(run: Path, name: str, split: str) -> Contrast | Matching:
    tokenizer = Tokenizer.load(run / "tokenizer")
    special = tokenizer.special.values()
    vocabulary = Vocabulary.of(tokenizer.token_bytes, special=special, end=tokenizer.end_of_text)
    setup = Setup(SHAPE, vocabulary, seed=0, phase=split)
    folder = run / f"pairs-{split}"
    pairs = Pairs(folder, text_length=TEXT, code_length=CODE, seed=0, phase=split)
    kind = Contrast if name == "contrast" else Matching
    return kind(setup, pairs, group=GROUP)


def measure(held_out: Contrast | Matching, model: HeadedModel) -> dict[str, float]:
    """On each held-out pair once, but for the last few that fill no group."""
    assert isinstance(held_out.pairs, Pairs)
    groups = len(held_out.pairs) // GROUP
    loss = targets = right = 0.0
    model.eval()
    with torch.no_grad():
        for number in range(groups):
            batch = held_out.batch(number, 1)
            total, count = held_out.loss(model, batch)
            loss, targets = loss + float(total), targets + int(count)
            right += held_out.found(model, batch)[0]
    model.train()
    name = "recall_at_1" if isinstance(held_out, Contrast) else "accuracy"
    of = groups * GROUP if isinstance(held_out, Contrast) else targets
    chance = math.log(GROUP) if isinstance(held_out, Contrast) else math.log(2)
    return {
        "loss": round(loss / targets, 3),
        "chance": round(chance, 3),
        name: round(right / of, 3),
    }


if __name__ == "__main__":
    main()
