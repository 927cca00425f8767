"""Kills `firnline curate` at random moments until it has been killed often enough.

    python benchmarks/kills.py [--kills 25] [--documents FOLDER] [--seed 0] [--workers 2]

The documents are a few packages of the standard library unless a folder is given. A first run is
left alone: what it wrote is the truth, and its duration the range of the random moments, counted
from when the stage's folder appears. Every other moment is a number of items that the run has
finished instead, so that there is something to go on from however fast the machine is. Two kills
in three are SIGKILL to the whole process group; the third is to the command alone, so that its
workers may live on for a moment beside the next run. A run that finishes before its kill is
compared and its folder removed; after the last kill one run goes on to the end. Every file must
have the bytes of the first run's, the manifest's too, and nothing else may be left.

The last line is a JSON object: kills, runs that went on from a killed one, finished runs, and
whether all were equal. The exit status is 1 where they were not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from firnline.corpus.stage import IngestConfig
from firnline.corpus.stage import run as ingest
from firnline.documents import document_shards, write_table

SHARDS = 8
PACKAGES = ("asyncio", "email", "json", "logging", "unittest", "xml", "http", "importlib")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--documents", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        documents = arguments.documents or ingest_library(Path(folder))
        result = kill(Path(folder), documents, arguments)
    print(json.dumps(result, sort_keys=True))
    sys.exit(not result["equal"])


def ingest_library(folder: Path) -> Path:
    """About 3 MB of the standard library, in SHARDS shards."""
    library = Path(sysconfig.get_path("stdlib"))
    sources = [{"kind": "directory", "path": library / name} for name in PACKAGES]
    config = IngestConfig.model_validate({"sources": sources})
    whole = ingest(config, folder / "ingested", workers=1).folder
    table = pa.concat_tables([pq.read_table(shard) for shard in document_shards(whole)])
    each = -(-len(table) // SHARDS)
    documents = folder / "documents"
    for number in range(SHARDS):
        part = table.slice(number * each, each)
        write_table(documents / "data" / f"shard-{number:05d}.parquet", part)
    return documents


def kill(folder: Path, documents: Path, arguments: argparse.Namespace) -> dict[str, object]:
    rng = random.Random(arguments.seed)
    out = folder / "curated"
    command = [sys.executable, "-c", "from firnline.cli import main; main()", "curate"]
    command += [str(documents), "--out", str(out), "--workers", str(arguments.workers)]
    run(command, out, None)  # compiles
    shutil.rmtree(out)
    duration = run(command, out, None) or 0.0
    truth = digests(out)
    print(f"undisturbed: {duration:.1f} s, {len(truth)} files")
    shutil.rmtree(out)

    def moment(kills: int, before: int) -> Callable[[float], bool]:
        seconds, items = rng.uniform(0.0, duration), before + rng.randint(1, SHARDS)
        if kills % 2:
            return lambda elapsed: elapsed >= seconds
        return lambda _: items_finished(out) >= items

    kills = went_on = finished = 0
    equal = True
    while kills < arguments.kills:
        before = items_finished(out)
        went_on += before > 0
        if run(command, out, moment(kills, before), alone=rng.random() < 1 / 3) is None:
            kills += 1
        else:
            finished += 1
            equal &= same(truth, out)
            shutil.rmtree(out)
    if not out.exists():
        went_on += items_finished(out) > 0
        run(command, out, None)
    finished += 1
    equal &= same(truth, out)
    left = sorted(
        path.name for path in folder.iterdir() if path.name.endswith((".partial", ".old"))
    )
    if left:
        print(f"left behind: {', '.join(left)}")
    result: dict[str, object] = {"kills": kills, "went_on": went_on, "finished": finished}
    return result | {"equal": equal and not left}


def run(
    command: list[str], out: Path, enough: Callable[[float], bool] | None, *, alone: bool = False
) -> float | None:
    """Runs the command, its seconds; kills it once `enough` of them in the stage, None then."""
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    partial = partial_of(out)
    before = partial.stat().st_mtime_ns if partial.exists() else 0
    while process.poll() is None and not out.exists():
        if partial.exists() and partial.stat().st_mtime_ns != before:
            break
        time.sleep(0.005)
    start = time.monotonic()
    while process.poll() is None:
        if enough and enough(time.monotonic() - start):
            (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
            process.wait()
            return None
        time.sleep(0.005)
    if process.returncode:
        sys.exit(f"a run ended with exit status {process.returncode}")
    return time.monotonic() - start


def partial_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.partial")


def items_finished(out: Path) -> int:
    return len(list((partial_of(out) / "parts").glob("*/[!.]*.json")))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def same(truth: dict[str, str], out: Path) -> bool:
    found = digests(out)
    for name in sorted(truth.keys() | found.keys()):
        if truth.get(name) != found.get(name):
            print(f"differs: {name}")
    return truth == found


if __name__ == "__main__":
    main()
