"""Whole curation: Parquet in; rules, both dedups, decontamination, secrets; Parquet and ledger out.

    python benchmarks/curate.py --documents FOLDER --double FOLDER [--sample-mb 16] [--workers 2]

`benchmarks/gather.py` makes both folders: Documents, and about twice as many of them. Each is
curated by the `curate` stage at its defaults, decontaminated against `basics` and every file of
`../shared/data/benchmarks` (where that folder is absent, `basics` alone), in a process of its own.

- `mb_per_second`: bytes of content given, over the seconds from the call of the stage to its
  finished folder: start of the workers, loading of benchmarks and writing included, the start of
  Python not. Before the clock runs a sample is curated, so that kernels are compiled and cached,
  and the shards are read once, so that the disk is not measured.
- `peak_gib`: the most memory of the process and its workers together. Every 0.2 seconds the
  proportional set size (PSS) of each is read from the kernel: pages that several share count
  once, page cache counts nothing.
- `peak_disk_gib`: the most the stage's folder held at one time, sampled too; the output with it.
  `predicted_memory_gib` and `predicted_disk_gib` are what `firnline plan` says beforehand.
- `cpu_seconds`: user and system time of all processes, and `ms_per_mb` of it for each MB.
- `vs_datatrove`: over datatrove's MB/s, with as many processes, on the sample: every k-th
  document of the corpus. Its nearest equal pipeline: Parquet reader, three rules of StarCoder as
  a lambda (it has none for code), its n-gram decontamination filter with an index of the same
  benchmarks, MinHash dedup in its four steps at its defaults, its e-mail and IP formatter, Parquet
  writer. It has no renamed copies, keys, syntax, ledger or verification of pairs, and exact copies
  are left to MinHash. `vs_datatrove_on_sample` is our rate on that small sample instead, start of
  the workers included.

The last line is a JSON object; a peer that is not installed has null figures.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from firnline.benchmarks.problems import load
from firnline.curate.cost import predict
from firnline.documents import DOCUMENT_SCHEMA, document_shards, read_batches
from firnline.errors import FirnlineError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "benchmarks"
SAMPLING_SECONDS = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--documents", type=Path, required=True)
    parser.add_argument("--double", type=Path)
    parser.add_argument("--sample-mb", type=float, default=16.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="where to write; a temporary folder")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(curate(*arguments.child, arguments.workers)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        print(json.dumps(compare(arguments, Path(scratch)), sort_keys=True))


def compare(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    specs = benchmark_specs()
    print(f"decontamination against {', '.join(name.partition('=')[0] for name in specs)}")
    sample = scratch / "sample"
    sample_mb = write_sample(arguments.documents, sample, arguments.sample_mb)
    measure("sample, not counted", sample, arguments, scratch)
    on_sample = measure("sample", sample, arguments, scratch)
    whole = measure("corpus", arguments.documents, arguments, scratch)
    figures: dict[str, Any] = {"benchmarks": len(specs), **whole}
    if arguments.double:
        double = measure("double", arguments.double, arguments, scratch)
        figures |= {f"{name}_double": value for name, value in double.items()}
    figures |= dict.fromkeys(("vs_datatrove", "vs_datatrove_on_sample", "datatrove_mb_per_second"))
    if arguments.no_peer or not importlib.util.find_spec("datatrove"):
        print("datatrove was not measured: pip install 'firnline[bench]'")
        return figures
    start = time.perf_counter()
    datatrove(sample, specs, scratch / "datatrove", arguments.workers)
    rate = sample_mb / (time.perf_counter() - start)
    print(f"datatrove: {sample_mb:.1f} MB at {rate:.2f} MB/s")
    return figures | {
        "datatrove_mb_per_second": rate,
        "vs_datatrove": whole["mb_per_second"] / rate,
        "vs_datatrove_on_sample": on_sample["mb_per_second"] / rate,
    }


def benchmark_specs() -> list[str]:
    """`basics` and every file beside the repository that the benchmarks room reads."""
    files = sorted(path for path in SHARED.rglob("*.jsonl*") if path.is_file())
    if not files:
        print(f"no {SHARED}: decontamination against basics alone")
    specs = ["basics"]
    for path in files:
        name = path.relative_to(SHARED).as_posix().partition(".jsonl")[0]
        try:
            load(f"{name}={path}")
            specs.append(f"{name}={path}")
        except FirnlineError as error:
            print(f"left out: {str(error).partition(' (')[0]}")
    return specs


def write_sample(documents: Path, out: Path, megabytes: float) -> float:
    """Every k-th document, about `megabytes` of them, as two shards of Documents; MB written."""
    shards = document_shards(documents)
    total = sum(size for shard in shards for size in column(shard, "size"))
    step = max(1, round(total / (megabytes * 1e6)))
    (out / "data").mkdir(parents=True)
    rows = []
    start = 0
    for shard in shards:
        for batch in read_batches(shard, DOCUMENT_SCHEMA.names, rows=1024):
            places = [row for row in range(len(batch)) if (start + row) % step == 0]
            rows.append(batch.take(pa.array(places, pa.int64())))
            start += len(batch)
    table = pa.Table.from_batches(rows)
    for name, known in (("license", ""), ("stars", 0)):  # the peer's writer knows no nulls
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), table[name].fill_null(known))
    half = len(table) // 2
    for number, part in enumerate((table[:half], table[half:])):
        pq.write_table(part, out / "data" / f"shard-{number:05d}.parquet", compression="zstd")
    return float(sum(table["size"].to_pylist())) / 1e6


def column(shard: Path, name: str) -> Iterable[int]:
    return (value for batch in read_batches(shard, [name]) for value in batch[name].to_pylist())


def measure(
    label: str, documents: Path, arguments: argparse.Namespace, scratch: Path
) -> dict[str, Any]:
    """Curates a folder in a process of its own and watches its memory."""
    for shard in document_shards(documents):
        shard.read_bytes()
    out = scratch / "out"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, __file__, "--documents", str(documents)]
    command += ["--workers", str(arguments.workers), "--child", str(documents), str(out)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = Peak(process.pid, out)
    output, _ = process.communicate()
    peak.stop()
    if process.returncode:
        sys.exit(f"curation of {documents} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result |= {"peak_gib": peak.memory / (1 << 30), "peak_disk_gib": peak.disk / (1 << 30)}
    result["cpu_seconds"] = cpu
    content = round(result["content_mb"] * 1e6)
    expected = predict(content, result["documents"], arguments.workers)
    result["predicted_memory_gib"] = expected.memory_gib
    result["predicted_disk_gib"] = expected.disk_gib
    result["ms_per_mb"] = 1000 * cpu / result["content_mb"]
    shares = ", ".join(f"{name} {seconds:.1f}" for name, seconds in result["pass_seconds"].items())
    print(
        f"{label}: {result['content_mb']:,.1f} MB, {result['documents']:,} documents, "
        f"{result['seconds']:.1f} s ({shares}), {result['mb_per_second']:.1f} MB/s, "
        f"{result['ms_per_mb']:.0f} ms of CPU for each MB, peak {result['peak_gib']:.2f} GiB "
        f"and {result['peak_disk_gib']:.2f} GiB of disk",
        flush=True,
    )
    return result


class Peak:
    """Samples the memory of a process and all below it, and its stage's disk, until `stop`."""

    def __init__(self, pid: int, out: Path) -> None:
        self.memory = self.disk = 0
        self._pid, self._out = pid, out
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        partial = self._out.with_name(f".{self._out.name}.partial")
        while not self._done.wait(SAMPLING_SECONDS):
            self.memory = max(self.memory, sum(map(pss, tree(self._pid))))
            self.disk = max(self.disk, sum(map(allocated, partial.rglob("*"))))


def allocated(path: Path) -> int:
    """Bytes of disk of a file; 0 where it is gone."""
    try:
        return path.lstat().st_blocks * 512
    except OSError:
        return 0


def tree(pid: int) -> list[int]:
    """A process and all below it; those that end meanwhile are left out."""
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        for children in Path(f"/proc/{found[-1]}/task").glob("*/children"):
            try:
                todo += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def pss(pid: int) -> int:
    """Proportional set size of a process in bytes; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def curate(documents: Path, out: Path, workers: int) -> dict[str, Any]:
    """One run of the stage, its seconds by pass."""
    from firnline.curate.stage import CurateConfig, run
    from firnline.stage import Workspace

    seconds: dict[str, float] = {}
    plain = Workspace.map

    def timed(self: Workspace, label: str, *values: Any, **options: Any) -> Any:
        start = time.perf_counter()
        result = plain(self, label, *values, **options)
        seconds[label] = time.perf_counter() - start
        return result

    Workspace.map = timed  # type: ignore[method-assign]  # watched from outside
    config = CurateConfig(benchmarks=tuple(benchmark_specs()))
    start = time.perf_counter()
    stats = run(config, documents, out, workers=workers).stats
    whole = time.perf_counter() - start
    seconds["between"] = whole - sum(seconds.values())
    return {
        "documents": stats["documents_in"],
        "content_mb": stats["bytes_in"] / 1e6,
        "kept_mb": stats["bytes"] / 1e6,
        "seconds": whole,
        "pass_seconds": seconds,
        "mb_per_second": stats["bytes_in"] / 1e6 / whole,
    }


def datatrove(sample: Path, specs: list[str], folder: Path, workers: int) -> None:
    """The peer's pipeline; a step's executor starts `workers` processes."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.decont import NGramsDecontConfig, NGramsDecontFilter
    from datatrove.pipeline.dedup import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.filters import LambdaFilter
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter

    grams = NGramsDecontConfig(n_grams=10)
    index = folder / "index"
    write_index(specs, index, grams)
    minhash = MinhashConfig()

    def execute(name: str, tasks: int, *steps: Any) -> None:
        LocalPipelineExecutor(
            list(steps), tasks=tasks, workers=workers, logging_dir=str(folder / "logs" / name)
        ).run()

    execute(
        "filter",
        workers,
        ParquetReader(str(sample / "data"), text_key="content", id_key="path"),
        LambdaFilter(passes_rules),
        NGramsDecontFilter(str(index), config=grams),
        ParquetWriter(str(folder / "filtered")),
    )
    filtered = ParquetReader(str(folder / "filtered"))
    execute(
        "signatures",
        workers,
        filtered,
        MinhashDedupSignature(str(folder / "signatures"), config=minhash),
    )
    execute(
        "buckets",
        minhash.num_buckets,
        MinhashDedupBuckets(str(folder / "signatures"), str(folder / "buckets"), config=minhash),
    )
    execute(
        "cluster",
        1,
        MinhashDedupCluster(str(folder / "buckets"), str(folder / "removed"), config=minhash),
    )
    execute(
        "write",
        workers,
        filtered,
        MinhashDedupFilter(str(folder / "removed")),
        PIIFormatter(),
        ParquetWriter(str(folder / "curated")),
    )


def passes_rules(document: Any) -> bool:
    """Longest line, mean line and alphanumeric share, as StarCoder filters code."""
    lines = document.text.splitlines() or [""]
    lengths = [len(line) for line in lines]
    alphanumeric = sum(map(str.isalnum, document.text))
    return (
        max(lengths) <= 1000
        and sum(lengths) / len(lengths) <= 100
        and alphanumeric >= 0.25 * len(document.text)
    )


def write_index(specs: list[str], folder: Path, config: Any) -> None:
    """The n-gram index that the peer's filter reads; its own indexer needs a package to fetch."""
    import numpy as np
    from datatrove.utils.hashing import create_hash_func
    from datatrove.utils.text import ngrams, simplify_text
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    words, digest = load_word_tokenizer("eng"), create_hash_func(config.hash_config)
    folder.mkdir(parents=True)
    for number, spec in enumerate(specs):
        hashes: set[int] = set()
        for problem in load(spec).problems:
            text = simplify_text(f"{problem.prompt}\n{problem.solution}", config.norm_config)
            grams = ngrams(words.word_tokenize(text), config.n_grams)
            hashes.update(digest(" ".join(gram)) for gram in grams)
        array = np.array(sorted(hashes), dtype=config.hash_config.np_descr)
        array.tofile(folder / f"benchmark-{number}.index.hashes")


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
