"""Clustering of near-duplicates alone, on a generated table: time, memory, what a billion takes.

    python benchmarks/clusters.py [--documents 20000000]

The table is band keys on disk and a function that makes a document's shingle set, so that every
similarity can be computed. Keys are those of the real sketch of that set. The documents, after
exact duplicates are gone:

- 54% resemble nothing;
- the other 45% are in clusters whose sizes follow a power law (P(size >= k) = (2 / k)^1.5 from 2
  on); a member keeps every shingle of its cluster's own set with a probability of its own, so
  that its Jaccard with that set is 1 - 0.45 u^2 for a uniform u, and that of two members less;
- 0.5% are one cluster: copies of one file, at 0.9 or more;
- 0.2% are made from one template: half of two members' shingles agree, which shares bands with
  many and duplicates nearly nobody.

A set has 40 to 1,000 shingles, the median is 200. The order of the documents and their priorities
are random. Making the table is not measured; reading its keys from disk is. What is not: reading
shingle sets from disk, which the function stands for.

The clustering is what `firnline curate` calls, in a process of its own: which rows share a band
(`candidate_rows`, `seconds_candidates`), then `near_duplicates`. `checked` of the drops are
compared with sets made in NumPy, and `wrong` counts those that differ. The last line is a JSON
object. `billion_hours` is the time for each document times a billion (each step is linear in
rows: `--documents 5000000` and 10000000 show it), on the same two cores, with keys read at the
same speed; `billion_gib` the same for the memory above what the process has before it begins.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firnline.curate.duplicates import BANDS, ROWS, THRESHOLD, candidate_rows, near_duplicates
from firnline.curate.keyfiles import KeyFiles, KeyWriter
from firnline.kernels.jit import kernel
from firnline.kernels.shingles import mix
from firnline.kernels.sketch import band_hashes, sketch_sets

SHARD_ROWS = 1 << 18
ALONE, COPIES, TEMPLATE = 0.54, 0.005, 0.002
_ONE = np.uint64(1)
_SEED = np.uint64(0x9E3779B97F4A7C15)


@kernel
def make_sets(
    members: NDArray[np.uint32],
    clusters: NDArray[np.uint32],
    sizes: NDArray[np.uint16],
    kept: NDArray[np.uint64],
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Shingle sets of members: the cluster's own hash where the member's is below `kept`."""
    offsets = np.zeros(len(members) + 1, dtype=np.int64)
    for row in range(len(members)):
        offsets[row + 1] = offsets[row] + sizes[row]
    hashes = np.empty(offsets[-1], dtype=np.uint64)
    for row in range(len(members)):
        own = mix((np.uint64(members[row]) + _ONE) * _SEED)
        shared = mix(~((np.uint64(clusters[row]) + _ONE) * _SEED))
        for place in range(sizes[row]):
            value = mix(own + np.uint64(place))
            if value < kept[row]:
                value = mix(shared + np.uint64(place))
            hashes[offsets[row] + place] = value | _ONE
    return hashes, offsets


@dataclass(frozen=True)
class Table:
    """Which member of which cluster each row is: a pure function of the number of documents."""

    documents: int
    member: NDArray[np.uint32]
    cluster: NDArray[np.uint32]

    @classmethod
    def of(cls, documents: int) -> Table:
        rng = np.random.default_rng(0)
        alone = int(ALONE * documents)
        special = [int(COPIES * documents), int(TEMPLATE * documents)]
        left = documents - alone - sum(special)
        sizes = np.minimum(2 * rng.random(left // 2) ** (-1 / 1.5), documents / 1000).astype(int)
        sizes = sizes[: np.searchsorted(np.cumsum(sizes), left)]
        sizes = np.concatenate([special, sizes, [left - sizes.sum()], np.ones(alone, int)])
        cluster = np.repeat(np.arange(len(sizes), dtype=np.uint32), sizes)
        member = rng.permutation(documents).astype(np.uint32)
        return cls(documents, member, cluster)

    def sets(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        return make_sets(*self._drawn(rows))

    def _drawn(self, rows: NDArray[np.int64]) -> tuple[Any, ...]:
        members = self.member[rows]
        clusters = self.cluster[members]
        spread = _uniform(clusters, 1)
        sizes = np.clip(200 * np.exp(1.6 * (spread - 0.5) * 2), 40, 1000).astype(np.uint16)
        jaccard = 1 - 0.45 * _uniform(members, 2) ** 2
        jaccard[clusters == 0] = 0.95 + 0.05 * _uniform(members[clusters == 0], 3)
        share = 2 * jaccard / (1 + jaccard)
        share[clusters == 1] = 0.82
        kept = (share * (1 << 53)).astype(np.uint64) << np.uint64(11)
        return members, clusters, sizes, kept


def _uniform(numbers: NDArray[np.uint32], salt: int) -> NDArray[np.float64]:
    state = (numbers.astype(np.uint64) + np.uint64(salt << 40)) * _SEED
    state = (state ^ (state >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return ((state ^ (state >> np.uint64(29))) >> np.uint64(11)) / float(1 << 53)


def write_keys(table: Table, folder: Path, shard: int) -> None:
    with KeyWriter(folder / f"{shard:05d}.keys", BANDS) as writer:
        stop = min((shard + 1) * SHARD_ROWS, table.documents)
        for start in range(shard * SHARD_ROWS, stop, 4096):
            rows = np.arange(start, min(start + 4096, stop))
            writer.write(band_hashes(sketch_sets(*table.sets(rows)), BANDS, ROWS))


def write_all(documents: int, folder: Path, number: int, workers: int) -> None:
    table = Table.of(documents)
    for shard in range(number, -(-documents // SHARD_ROWS), workers):
        write_keys(table, folder, shard)


def measure(documents: int, folder: Path, answers: Any) -> None:
    """Runs the clustering and puts its figures into a queue."""
    table = Table.of(documents)
    ranks = np.random.default_rng(1).permutation(documents).astype(np.uint32)
    keys = KeyFiles(sorted(folder.glob("*.keys")), BANDS)
    sizes = (5 * table._drawn(np.arange(documents))[2].astype(np.uint32)) if documents else None
    warm_up()
    made = resident("VmHWM")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS")
    start, cpu = time.perf_counter(), time.process_time()
    candidates = candidate_rows(keys, ranks)
    between = time.perf_counter()
    found = near_duplicates(keys, ranks, table.sets, THRESHOLD, sizes)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resident("VmHWM")
    dropped = np.flatnonzero(found.keeper != np.arange(documents))
    checked = dropped[:: max(1, len(dropped) // 2000)]
    wrong = sum(
        abs(true_jaccard(table, row, int(found.keeper[row])) - float(found.jaccard[row])) > 1e-6
        for row in checked.tolist()
    )
    gib = 1 << 20
    answers.put(
        {
            "documents": documents,
            "seconds": seconds,
            "seconds_candidates": between - start,
            "cpu_seconds": cpu,
            "peak_gib": max(peak, made) / gib,
            "before_gib": before / gib,
            "candidates": int(candidates.sum()),
            "dropped": len(dropped),
            "compared": found.compared,
            "steps": found.steps,
            "unfinished": found.unfinished,
            "checked": len(checked),
            "wrong": int(wrong),
            "key_gb": keys.rows * keys.bands * 8 / 1e9,
            "billion_hours": seconds / documents * 1e9 / 3600,
            "billion_cpu_hours": cpu / documents * 1e9 / 3600,
            "billion_gib": (peak - before) / gib / documents * 1e9,
        }
    )


def resident(name: str) -> int:
    """KiB that this process holds (VmRSS) or has held at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def warm_up() -> None:
    """Compiles the kernels outside the clock."""
    small = Table.of(2000)
    rows = np.arange(2000)
    with tempfile.TemporaryDirectory() as folder:
        write_keys(small, Path(folder), 0)
        keys = KeyFiles([Path(folder) / "00000.keys"], BANDS)
        candidate_rows(keys, rows.astype(np.uint32))
        near_duplicates(keys, rows.astype(np.uint32), small.sets)


def true_jaccard(table: Table, one: int, other: int) -> float:
    """Of the same sets by Python's own set operations."""
    hashes, offsets = table.sets(np.array([one, other]))
    first, second = set(hashes[: offsets[1]].tolist()), set(hashes[offsets[1] :].tolist())
    return len(first & second) / len(first | second)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0],
        epilog="See the top of this file for what the table holds.",
    )
    parser.add_argument("--documents", type=int, default=20_000_000)
    parser.add_argument("--folder", type=Path, help="for the keys, 304 bytes for each document")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="firnline-clusters-", dir=options.folder))
    context = multiprocessing.get_context("spawn")
    workers = len(os.sched_getaffinity(0))
    try:
        start = time.perf_counter()
        jobs = [
            context.Process(target=write_all, args=(options.documents, folder, number, workers))
            for number in range(workers)
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
            if job.exitcode:
                raise SystemExit("the table could not be made; see above")
        print(f"table of {options.documents:,} documents in {time.perf_counter() - start:.0f} s")
        answers = context.Queue()
        job = context.Process(target=measure, args=(options.documents, folder, answers))
        job.start()
        figures = answers.get()
        job.join()
    finally:
        shutil.rmtree(folder)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
