"""Kills a training phase at random moments, twenty times, and looks at what is left.

    python benchmarks/training_kills.py [--kills 20] [--seed 0] [--ranks 1]

The phase is a small model over the source of the standard library, with a state every few steps,
written beside the steps that follow. A first run is left alone: what it wrote is the truth. Each
later one gets SIGKILL, all its processes at once, a random number of steps after it goes on (from
none to a few states) and a random part of a step later. Each time the states that were whole before
must still be whole, and the next run must go on from the newest: what a kill costs is the steps
since then. After the last kill a run goes to the end; its weights must have the bits of the
undisturbed one's, and its metrics the same rows but for the clock's and the machine's.

With more than one rank, they meet over gloo, and all are killed at once.

The last line is a JSON object: kills, how many met a state half written, the most steps that one
cost, the steps between two states, and whether all was as it must be. The exit status is 1 where it
was not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from firnline.batch import Batch

STEPS, EVERY, LENGTH, SEQUENCES, VOCABULARY = 120, 8, 64, 4, 256


class Bytes:
    """Samples of the standard library's source, a byte a token."""

    def __init__(self) -> None:
        files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("a*.py"))
        text = b"".join(file.read_bytes() for file in files)
        self.ids = np.frombuffer(text, np.uint8).astype(np.int64)

    def batch(self, start: int, count: int) -> Batch:
        starts = np.arange(start, start + count) * LENGTH % (len(self.ids) - LENGTH - 1)
        return Batch(self.ids[starts[:, None] + np.arange(LENGTH + 1)], None)

    def epochs(self, samples: int) -> dict[str, float]:
        return {"stdlib": samples * LENGTH / len(self.ids)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        train(arguments.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        result = kill(Path(folder), arguments)
    print(json.dumps(result))
    sys.exit(not result["as_it_must_be"])


def train(folder: Path) -> None:
    from firnline.errors import FirnlineError
    from firnline.model.config import ModelConfig
    from firnline.training.phase import PhaseConfig
    from firnline.training.schedule import Schedule
    from firnline.training.stage import run

    model = ModelConfig(
        vocabulary_size=VOCABULARY,
        hidden=64,
        ffn_hidden=128,
        layers=2,
        heads=2,
        kv_heads=2,
        context=LENGTH,
    )
    config = PhaseConfig(
        name="killed",
        tokens=STEPS * SEQUENCES * LENGTH,
        sequence_length=LENGTH,
        batch_sequences=SEQUENCES,
        schedule=Schedule(kind="cosine", peak=3e-3, warmup_steps=5),
        checkpoint_every_steps=EVERY,
        device="cpu",
    )
    tokenizer = folder.parent / "tokenizer.json"
    try:
        run(config, model, Bytes(), folder, inputs={}, tokenizer_file=tokenizer, workers=1)
    except FirnlineError as error:
        sys.exit(str(error))


def kill(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    entries = {f"<{number}>": number for number in range(VOCABULARY)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": entries}}))
    for process in start(folder / "whole", arguments.ranks):
        if process.wait():
            sys.exit(f"the undisturbed run ended with exit status {process.returncode}")
    truth = outcome(folder / "whole")

    dice = random.Random(arguments.seed)
    out, work = folder / "out", folder / ".out.partial"
    half_written = most_lost = kills = 0
    fine = True
    while kills < arguments.kills:
        before = whole_states(work)
        log = work / "metrics.jsonl"
        wanted = (before[-1] if before else 0) + dice.randint(0, min(3 * EVERY, STEPS // 8))
        first, *others = start(out, arguments.ranks)
        assert first.stderr is not None
        # The line that says where the run goes on; a fresh one says nothing before its first step.
        going_on = first.stderr.readline() if before else ""
        if before and f"going on from step {before[-1]:,} of" not in going_on:
            print(f"not from step {before[-1]}: {going_on.strip()}")
            fine = False
        while first.poll() is None and rows(log) < wanted:
            time.sleep(0.0005)
        time.sleep(dice.random() * 0.03)
        ended = first.poll() is not None
        for process in (first, *others):
            if not ended:
                process.kill()
        first.communicate()
        for process in others:
            process.wait()
        if ended:  # before it could be killed
            fine &= outcome(out) == truth
            shutil.rmtree(out)
            continue
        kills += 1
        after = whole_states(work)
        reached = rows(log)
        if before and (not after or after[-1] < before[-1]):
            print(f"state of step {before[-1]} is gone")
            fine = False
        lost = reached - (after[-1] if after else 0)
        most_lost = max(most_lost, lost)
        folders = {path.name for path in (work / "state").glob("step-*") if path.is_dir()}
        half_written += len(folders) > len(after)
        print(f"kill {kills}: at step {reached}, state of step {after[-1] if after else 0}")
    for process in start(out, arguments.ranks):
        if process.wait():
            sys.exit(f"the last run ended with exit status {process.returncode}")
    equal = outcome(out) == truth
    print(f"weights and metrics are {'' if equal else 'not '}those of the undisturbed run")
    # A state is begun every EVERY steps and not before the last is whole.
    return {
        "kills": kills,
        "half_written": half_written,
        "most_steps_lost": most_lost,
        "steps_between_states": EVERY,
        "ranks": arguments.ranks,
        "bit_equal": equal,
        "as_it_must_be": fine and equal and most_lost <= 2 * EVERY,
    }


def start(out: Path, ranks: int) -> list[subprocess.Popen[str]]:
    """The processes of a run, rank 0 first; what that one says can be read."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
    return [
        subprocess.Popen(
            [sys.executable, __file__, "--child", str(out)],
            stderr=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
            text=True,
            env=os.environ | meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(ranks)
    ]


def whole_states(work: Path) -> list[int]:
    """Steps of the states whose every file has the size and hash of the marker, oldest first."""
    steps = []
    for marker in sorted((work / "state").glob("step-*.json")):
        about = json.loads(marker.read_text())
        for name, expected in about["files"].items():
            content = (marker.with_suffix("") / name).read_bytes()
            digest = hashlib.blake2b(content, digest_size=16).hexdigest()
            if expected != f"{len(content)} {digest}":
                print(f"{marker} is damaged")
                break
        else:
            steps.append(about["step"])
    return steps


def rows(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def outcome(out: Path) -> tuple[str, list[dict[str, Any]]]:
    """Hash of the weights, and the metrics but for those of the clock and the machine."""
    weights = (out / "checkpoint" / "model.safetensors").read_bytes()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["tokens_per_second"], line["peak_memory_bytes"]
    return hashlib.sha256(weights).hexdigest(), lines


if __name__ == "__main__":
    main()
