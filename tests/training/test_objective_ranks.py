"""Several objectives on two real ranks over gloo: the losses of one process.

`torchrun test_objective_ranks.py FOLDER` is what each rank runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def losses(folder: Path, ranks: int) -> list[float]:
    command = [sys.executable, __file__, str(folder)]
    if ranks > 1:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        command[1:1] = launch
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = (folder / "out" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(row)["loss"] for row in rows]


def test_two_ranks_have_the_losses_of_one(tmp_path: Path) -> None:
    one, two = losses(tmp_path / "one", 1), losses(tmp_path / "two", 2)
    assert len(one) == 10
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 1e-5
    for name in ("model.safetensors", "heads.safetensors"):
        sizes = {
            (tmp_path / run / "out/checkpoint" / name).stat().st_size for run in ("one", "two")
        }
        assert len(sizes) == 1


def main(folder: Path) -> None:
    from test_objective_models import LENGTH, objectives

    from firnline.training.objectives import stage
    from firnline.training.objectives.mixture import Mixture
    from firnline.training.phase import PhaseConfig
    from firnline.training.schedule import Schedule

    every = objectives()
    parts = {name: every[name] for name in ("spans", "names", "tags", "dual")}
    config = PhaseConfig(
        name="alpha",
        tokens=10 * 8 * LENGTH,
        sequence_length=LENGTH,
        batch_sequences=8,
        schedule=Schedule(kind="constant", peak=2e-3),
        device="cpu",
    )
    task = Mixture(parts, dict.fromkeys(parts, 0.25), block=8)
    assert set(task.kinds(0, 80).tolist()) == {0, 1, 2, 3}
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = folder / f"tokenizer-{os.environ.get('RANK', 0)}.json"
    tokenizer.write_text("{}")
    stage.run(config, task, folder / "out", inputs={}, tokenizer_file=tokenizer, workers=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
