"""The plan: the paper's parameters from Table 1, FLOPs by both formulas, sums over the phases."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firnline import recipe
from firnline.documents import DOCUMENT_SCHEMA
from firnline.errors import FirnlineError
from firnline.plan import plan, plan_curation


def test_the_paper_s_model_is_planned_from_table_1() -> None:
    answer = plan(recipe.load("arctic-snowcoder-1.3b"), "h100", 64)
    hidden, ffn, layers, vocabulary = 2048, 5632, 24, 64_000
    block = 4 * hidden**2 + 3 * hidden * ffn + 2 * hidden
    parameters = layers * block + hidden + vocabulary * hidden
    assert answer["parameters"] == parameters == 1_364_297_728
    assert answer["tokens"] == 555 * 10**9
    attention = 12 * layers * hidden * 8192
    assert answer["flops_full_attention"] == (6 * parameters + attention) * 555 * 10**9
    assert answer["flops_causal_attention"] == (6 * parameters + attention // 2) * 555 * 10**9
    seconds = answer["flops_full_attention"] / (989e12 * answer["utilization"] * 64)
    assert answer["hours"] == pytest.approx(seconds / 3600)
    assert [row["phase"] for row in answer["phases"]] == ["alpha", "beta", "final"]
    assert [row["unique_tokens"] for row in answer["phases"]] == [500e9, 12.5e9, 2e9]
    assert answer["phases"][0]["steps"] == -(-500 * 10**9 // (512 * 8192))
    assert 16 * parameters / 2**30 < answer["memory_gib"] < 80


def test_sources_that_are_here_are_listed() -> None:
    only = ["ingest.sources=[{kind: python, only: [cpython]}]"]
    answer = plan(recipe.load("quickstart", only))
    assert answer["corpus_listed"]
    assert 5e6 < answer["corpus_gib"] * 2**30 < 5e8
    assert not plan(recipe.load("arctic-snowcoder-1.3b"))["corpus_listed"]


def test_stages_are_in_the_order_they_run() -> None:
    stages = plan(recipe.load("quickstart", ["ingest.sources=[{kind: directory, path: /absent}]"]))[
        "stages"
    ]
    assert stages[:2] == ["ingest", "curate"]
    assert stages[-1] == "evaluate"
    assert stages.index("select-beta") < stages.index("pack-beta") < stages.index("train-beta")


def test_unknown_devices_are_one_line() -> None:
    with pytest.raises(FirnlineError, match=r"no device 'abacus' \(there are h100"):
        plan(recipe.load("quickstart"), "abacus")
    with pytest.raises(FirnlineError, match="0 devices"):
        plan(recipe.load("quickstart"), "cpu", 0)


def test_curation_of_a_folder_is_planned_from_its_footers(tmp_path: Path) -> None:
    rows = [
        {
            "id": bytes([n] * 16),
            "content_hash": bytes(16),
            "repo": "r",
            "path": f"{n}.py",
            "revision": "",
            "language": "Python",
            "size": 1,
            "source": "table",
            "content": "x = 1\n" * 1000 * n,
        }
        for n in range(10)
    ]
    table = pa.Table.from_pylist(rows, schema=DOCUMENT_SCHEMA)
    pq.write_table(table, tmp_path / "documents.parquet", use_dictionary=False)
    answer = plan_curation(tmp_path, 2)
    assert answer["documents"] == 10
    assert answer["content_gib"] * 2**30 == pytest.approx(6000 * 45, rel=0.01)
    assert answer["workers"] == 2
    assert 0.2 < answer["memory_gib"] < plan_curation(tmp_path, 8)["memory_gib"]


def test_a_recipe_in_dependency_order_arranges_first() -> None:
    chosen = ["pack.order=dependency", "ingest.sources=[{kind: directory, path: /absent}]"]
    stages = plan(recipe.load("quickstart", chosen))["stages"]
    assert stages.index("curate") < stages.index("arrange") < stages.index("pack-corpus")
    assert stages.index("curate-synthetic") < stages.index("arrange-synthetic")
