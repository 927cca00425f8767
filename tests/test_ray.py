"""The Ray runner on two nodes of this machine: equal output, a node killed in the middle."""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from firnline import engine
from firnline.corpus import stage as ingest
from firnline.curate.stage import CurateConfig
from firnline.curate.stage import run as curate
from firnline.documents import write_json
from firnline.errors import FirnlineError

ray = pytest.importorskip("ray", reason="pip install 'firnline[ray]' to test the cluster runner")
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not see the tests


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one core each; the runner is set to them."""
    os.environ.update(engine.TELEMETRY_OFF)
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 << 20}
    nodes = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    nodes.second = nodes.add_node(**small)
    engine.use(f"ray:{nodes.address}")
    try:
        yield nodes
    finally:
        engine.use(None)
        ray.shutdown()
        nodes.shutdown()


def test_results_keep_their_order_and_errors_their_type(cluster: Any) -> None:
    def work(n: int) -> tuple[int, int, str | None]:
        time.sleep(0.2 if n == 5 else 0)
        if n == 7:
            raise FirnlineError("seven is refused", mend="give another")
        return n * n, os.getpid(), os.environ.get("RAY_USAGE_STATS_ENABLED")

    results = list(engine.map_items(work, [5, 3, 9, 1]))
    assert [value for value, _, _ in results] == [25, 9, 81, 1]
    assert os.getpid() not in {pid for _, pid, _ in results}
    assert {usage for _, _, usage in results} == {"0"}
    assert [value for value, _, _ in engine.map_items(work, [4], workers=1)] == [16]
    assert list(engine.map_items(work, [])) == []
    with pytest.raises(FirnlineError, match=r"seven is refused \(give another\)"):
        list(engine.map_items(work, [1, 7]))


def test_no_more_items_run_at_once_than_workers(cluster: Any, tmp_path: Path) -> None:
    def work(n: int) -> int:
        mark = tmp_path / str(n)
        mark.touch()
        running = len(list(tmp_path.iterdir()))
        time.sleep(0.05)
        mark.unlink()
        return running

    assert list(engine.map_items(work, range(6), workers=1)) == [1] * 6


def test_other_code_on_a_node_is_refused(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_code", lambda: "another")
    with pytest.raises(FirnlineError, match="install the same version on every node"):
        list(engine.map_items(abs, [1]))


def test_an_item_that_kills_its_worker_is_given_up(
    cluster: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    def work(n: int) -> int:
        if n == 1:
            os._exit(1)
        return n

    with pytest.raises(FirnlineError, match=r"item 2 of 3 was lost 4 times with its worker"):
        list(engine.map_items(work, [0, 1, 2]))
    assert capfd.readouterr().err.count("running it again") == engine.ATTEMPTS - 1


def test_curation_gives_the_same_bytes_on_both_runners(cluster: Any, tmp_path: Path) -> None:
    library = Path(sysconfig.get_path("stdlib"))
    sources = [{"kind": "directory", "path": library / name} for name in ("json", "email")]
    config = ingest.IngestConfig.model_validate({"sources": sources, "shard_mib": 1})
    runner = engine.runner()
    for name in ("ray", "native"):
        engine.use(runner if name == "ray" else "native")
        ingest.run(config, tmp_path / name / "documents", workers=2)
        curate(CurateConfig(), tmp_path / name / "documents", tmp_path / name / "curated")
    engine.use(runner)
    assert _files(tmp_path / "ray") == _files(tmp_path / "native")


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def test_a_killed_node_changes_nothing(cluster: Any, tmp_path: Path) -> None:
    victim = cluster.second.node_id

    def started_on(node: str) -> bool:
        return any(node in path.read_text() for path in tmp_path.glob("*.starts"))

    def work(n: int) -> dict[str, int]:
        node = ray.get_runtime_context().get_node_id()
        with (tmp_path / f"{n}.starts").open("a") as file:
            file.write(f"{node}\n")
        while node == victim or not started_on(victim):
            time.sleep(0.01)  # there until it is killed, elsewhere until there is one to kill
        write_json(tmp_path / f"{n}.json", {"square": n * n})
        return {"square": n * n}

    def kill() -> None:
        while not started_on(victim):
            time.sleep(0.01)
        cluster.remove_node(cluster.second, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    results = list(engine.map_items(work, range(8)))
    killer.join()
    assert results == [{"square": n * n} for n in range(8)]
    starts = {n: (tmp_path / f"{n}.starts").read_text().split() for n in range(8)}
    again = [nodes for nodes in starts.values() if len(nodes) > 1]
    assert again
    assert all(nodes[0] == victim != nodes[-1] for nodes in again)
    assert len(list(tmp_path.glob("*.json"))) == 8
