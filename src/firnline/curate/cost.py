"""What ingest and curate will take in memory and disk, from the size of what goes in.

The constants are fitted to runs of `python benchmarks/curate.py` (peaks of proportional set size
and of the stage's folder, 3 MB to 1.7 GB of code, 1 to 3 workers, all benchmarks loaded); the
runs are in tests/curate/test_cost.py, which holds every prediction within a factor of 1.5.
"""

from __future__ import annotations

from dataclasses import dataclass

from firnline.documents import SHARD_BYTES
from firnline.engine import MOST_THREADS

_GIB = float(1 << 30)

PROCESS_GIB = 0.29
"""The interpreter with its libraries, kernels and the index of benchmarks."""
WORKER_GIB = 0.33
"""Batches of 16 MiB and the row group they are cut from, with what the kernels hold beside."""
WORKER_FULL_BYTES = 32 << 20
"""Content for each worker from which its batches are full."""
DOCUMENT_BYTES = 50
"""Held for each document while duplicates are decided (`curate/decide.py`)."""
PART_BYTES, MOST_PART_BYTES = 100, 512 << 20
"""Held for each document of a part that is sorted, and for the largest part."""

CONTENT_DISK = 0.23
"""Bytes of Parquet (zstd) for each byte of content."""
DOCUMENT_DISK = 1000
"""Ledger, and band keys and measurements until the stage ends, for each document."""

INGEST_PROCESS_GIB, INGEST_WORKER_GIB = 0.24, 0.18
"""The command that lists and, where there are several shards, each process that reads one."""
INGEST_CONTENT_DISK = 0.2


@dataclass(frozen=True)
class Cost:
    """The most of one machine's memory and of the stage folder's disk at one time."""

    memory_gib: float
    disk_gib: float


def predict(content_bytes: int, documents: int, workers: int) -> Cost:
    """What `curate` takes on one machine; on a cluster, its memory on a node of `workers` cores.

    Up to MOST_THREADS workers share a process; more have one each (and one for the command).
    """
    processes = 1 if workers <= MOST_THREADS else 1 + workers
    full = min(1.0, content_bytes / workers / WORKER_FULL_BYTES)
    held = DOCUMENT_BYTES * documents + min(PART_BYTES * documents, MOST_PART_BYTES)
    return Cost(
        memory_gib=PROCESS_GIB * processes + WORKER_GIB * workers * full + held / _GIB,
        disk_gib=(CONTENT_DISK * content_bytes + DOCUMENT_DISK * documents) / _GIB,
    )


def predict_ingest(content_bytes: int, workers: int, shard_bytes: int = SHARD_BYTES) -> Cost:
    """What `ingest` takes; `content_bytes` are those of the files that become Documents."""
    readers = min(workers, -(-content_bytes // shard_bytes))
    readers = readers if readers > 1 else 0  # one shard is read by the command itself
    return Cost(
        memory_gib=INGEST_PROCESS_GIB + INGEST_WORKER_GIB * readers,
        disk_gib=INGEST_CONTENT_DISK * content_bytes / _GIB,
    )
