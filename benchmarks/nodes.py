"""Curates on two Ray nodes of this machine and kills one in the middle: the same bytes.

    python benchmarks/nodes.py --documents FOLDER

Three runs of the `curate` stage on the same documents: on this machine's processes, on two nodes
of one core each, and on them again while one is killed (SIGKILL to all its processes) a second
after its first output appears. Every file of the three folders must be equal, manifests too.

The last line is a JSON object with the seconds of each run and whether all were equal. The exit
status is 1 where they were not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from firnline import engine
from firnline.curate.stage import CurateConfig, run

WAIT_SECONDS = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--documents", type=Path, required=True)
    arguments = parser.parse_args()
    os.environ.update(engine.TELEMETRY_OFF)
    from ray.cluster_utils import Cluster

    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:

        def curate(name: str) -> dict[str, str]:
            start = time.perf_counter()
            run(CurateConfig(), arguments.documents, Path(folder) / name)
            seconds[name] = time.perf_counter() - start
            return digests(Path(folder) / name)

        native = curate("native")
        size = {"num_cpus": 1, "object_store_memory": 100 << 20}
        cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
        second = cluster.add_node(**size)
        engine.use(f"ray:{cluster.address}")
        on_two_nodes = curate("two_nodes")

        def kill() -> None:
            while not list(Path(folder).glob(".one_killed.partial/**/.*.tmp")):
                time.sleep(0.01)
            time.sleep(WAIT_SECONDS)
            cluster.remove_node(second, allow_graceful=False)
            print("one node is killed", flush=True)

        killer = threading.Thread(target=kill)
        killer.start()
        one_killed = curate("one_killed")
        killer.join()
        equal = native == on_two_nodes == one_killed
        print(json.dumps({"equal": equal, "files": len(native), "seconds": seconds}))
        cluster.shutdown()
    sys.exit(not equal)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


if __name__ == "__main__":
    main()
