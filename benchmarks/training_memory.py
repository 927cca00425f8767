"""Peak host memory of each rank of a phase: while its model is built, over its steps, at its end.

`python benchmarks/training_memory.py --ranks 2` trains a preset for a few small steps on CPU ranks
over gloo and prints a line for each rank and a line of JSON. Figures are MB of VmHWM, the most that
was resident since the process began, above what it held before the phase (`start`: Python, PyTorch
and this package): `built` before the first step, `stepped` before the last one, `end` after the
checkpoint is written. `shards` is the rank's part of the weights in float32.

`--init FOLDER` starts from a checkpoint instead of the seed, `--save FOLDER` leaves one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import firnline.training.loop  # noqa: F401  # before the memory of the start is read
from firnline.batch import Batch
from firnline.model.config import parameter_count
from firnline.model.presets import PRESETS
from firnline.training.phase import PhaseConfig
from firnline.training.schedule import Schedule
from firnline.training.stage import run

LENGTH, STEPS = 16, 3


class Memory:
    """Samples of zeros, one a rank and step; notes the peak at the first and the last."""

    def __init__(self, ranks: int) -> None:
        self.ranks, self.peaks = ranks, {"start": peak_mb()}

    def batch(self, start: int, count: int) -> Batch:
        self.peaks.setdefault("built", peak_mb())
        if start >= (STEPS - 1) * self.ranks:
            self.peaks.setdefault("stepped", peak_mb())
        return Batch(np.zeros((count, LENGTH + 1), np.int64), None)

    def epochs(self, samples: int) -> dict[str, float]:
        return {"zeros": float(samples)}


def peak_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("/proc/self/status has no VmHWM")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--preset", default="ladder-200m")
    parser.add_argument("--init", type=Path)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    arguments = parser.parse_args()
    if "RANK" in os.environ:
        rank_trains(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        command = [sys.executable, *launch, str(arguments.ranks), __file__, "--folder", folder]
        command += ["--preset", arguments.preset, "--ranks", str(arguments.ranks)]
        command += ["--init", str(arguments.init.absolute())] if arguments.init else []
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        peaks = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("peaks-*"))]
        if arguments.save:
            shutil.copytree(Path(folder, "out/checkpoint"), arguments.save)
    parameters = parameter_count(PRESETS[arguments.preset])
    shards = parameters * 4 / 1e6 / arguments.ranks
    rows = [{k: round(v - p["start"]) for k, v in p.items() if k != "start"} for p in peaks]
    for rank, row in enumerate(rows):
        print(f"rank {rank}: " + ", ".join(f"{key} {value:,} MB" for key, value in row.items()))
    result = {"benchmark": "training_memory", "preset": arguments.preset, "ranks": rows}
    print(json.dumps(result | {"parameters": parameters, "shards_mb": round(shards)}))


def rank_trains(arguments: argparse.Namespace) -> None:
    model, folder = PRESETS[arguments.preset], arguments.folder
    tokenizer = folder / f"tokenizer-{os.environ['RANK']}.json"
    tokenizer.write_text(json.dumps({"model": {"vocab": {"a": 0}}}))
    config = PhaseConfig(
        name="memory",
        tokens=STEPS * arguments.ranks * LENGTH,
        sequence_length=LENGTH,
        batch_sequences=arguments.ranks,
        schedule=Schedule(kind="constant", peak=1e-4),
        device="cpu",
    )
    samples = Memory(arguments.ranks)
    out, inputs = folder / "out", {"tokens": "zeros"}
    run(
        config,
        model,
        samples,
        out,
        inputs=inputs,
        tokenizer_file=tokenizer,
        init=arguments.init,
        workers=1,
    )
    peaks = samples.peaks | {"end": peak_mb()}
    (folder / f"peaks-{os.environ['RANK']}").write_text(json.dumps(peaks))


if __name__ == "__main__":
    main()
