"""Peak host memory of each rank while a model gets its weights, and while it is saved.

`python benchmarks/training_memory.py --ranks 2` does it with a preset on CPU ranks over gloo, and
prints a line for each rank and a line of JSON. Figures are MB, peaks of what was resident (VmHWM,
which `/proc/self/clear_refs` sets back) above what was before:

- `build`: the model built, sharded and given its weights, from the seed or from `--init FOLDER`;
- `save`: its checkpoint written, above the shards that are there.

`shards` is a rank's part of the weights in float32.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from firnline.model import checkpoint
from firnline.model.config import parameter_count
from firnline.model.presets import PRESETS
from firnline.training.distributed import join
from firnline.training.parallel import parallelise
from firnline.training.phase import PhaseConfig
from firnline.training.schedule import Schedule


class Peak:
    """The most that was resident since this was made, above what was then."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")
        self.before = status_mb("VmRSS")

    def mb(self) -> int:
        return round(status_mb("VmHWM") - self.before)


def status_mb(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--preset", default="ladder-200m")
    parser.add_argument("--init", type=Path, help="a checkpoint folder of the preset")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if "RANK" in os.environ:
        measure(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        command = [sys.executable, *launch, str(arguments.ranks), __file__, "--folder", folder]
        command += ["--preset", arguments.preset]
        command += ["--init", str(arguments.init.absolute())] if arguments.init else []
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        ranks = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("rank-*"))]
    parameters = parameter_count(PRESETS[arguments.preset])
    shards = round(parameters * 4 / 1e6 / arguments.ranks)
    for rank, row in enumerate(ranks):
        print(f"rank {rank}: " + ", ".join(f"{key} {value:,} MB" for key, value in row.items()))
    result = {"benchmark": "training_memory", "preset": arguments.preset, "ranks": ranks}
    print(json.dumps(result | {"parameters": parameters, "shards_mb": shards}))


def measure(arguments: argparse.Namespace) -> None:
    ranks, folder = join("cpu"), arguments.folder
    config = PhaseConfig(
        name="memory",
        tokens=1,
        sequence_length=1,
        batch_sequences=1,
        schedule=Schedule(kind="constant", peak=1e-4),
    )
    parallelise(checkpoint.blank(PRESETS["tiny"]), config, ranks)  # imports what it needs
    peak = Peak()
    model = checkpoint.blank(PRESETS[arguments.preset])
    parallelise(model, config, ranks)
    if arguments.init:
        checkpoint.load_into(model, arguments.init)
    else:
        model.initialise(config.seed)
    row = {"build": peak.mb()}
    peak = Peak()
    checkpoint.save(model, folder / "saved")
    row["save"] = peak.mb()
    (folder / f"rank-{ranks.rank}").write_text(json.dumps(row))


if __name__ == "__main__":
    main()
