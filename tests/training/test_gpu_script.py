"""The GPU measurements where there is no GPU: they say so, and their paths run on the CPU."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from firnline.documents import DOCUMENT_SCHEMA, content_hash, document_id, write_table
from firnline.errors import FirnlineError
from firnline.model.presets import PRESETS
from firnline.tokens import pack, train

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
H100 = 989e12


@pytest.fixture
def training_gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("transformers", reason="install the extra: firnline[hf]")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("training_gpu")


@pytest.fixture
def ladder(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("ladder")


def test_without_a_gpu_both_say_so_in_a_line(
    training_gpu: ModuleType,
    ladder: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for script, arguments in ((training_gpu, []), (ladder, ["--tokens=a", "--tokenizer=b"])):
        monkeypatch.setattr(sys, "argv", [script.__name__, *arguments])
        with pytest.raises(SystemExit) as ended:
            script.main()
        assert ended.value.code == 2
        out, said = capsys.readouterr()
        assert (out, said) == ("", "no CUDA device here: run on a machine with a GPU\n")


def test_a_rehearsal_on_the_cpu_goes_through_every_row(
    training_gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = "--device cpu --preset tiny --length 16 --steps 4 --sequences 1 2 --eager"
    monkeypatch.setattr(sys, "argv", ["training_gpu.py", *arguments.split(), "--peer", "none"])
    training_gpu.main()
    printed = capsys.readouterr().out.splitlines()
    figures = json.loads(printed[-1])
    assert figures["mfu_full_attention"] is None  # nobody publishes this CPU's peak
    assert figures["vs_transformers"] > 0
    assert figures["vs_litgpt"] is None
    names = [line["choice"] for line in figures["table"]]
    assert names.count("transformers") == 2
    assert {"not compiled", "masked at documents", "cross-entropy of all logits"} <= set(names)
    assert all(line["tokens_per_second"] > 0 for line in figures["table"])
    rows = printed[2:-1]
    assert all(line.startswith(name) for line, name in zip(rows, names, strict=True))


def test_a_row_gives_both_conventions_but_none_where_attention_is_masked(
    training_gpu: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = PRESETS["arctic-snowcoder-1.3b"]
    setting = training_gpu.Setting(shape, 8192, None, 12, "cuda", True, H100)
    # By hand, from Table 1: 64,000 x 2,048 tied, 24 blocks of 4 d^2 + 3 d f, and their norms.
    parameters = 64_000 * 2048 + 24 * (4 * 2048**2 + 3 * 2048 * 5632 + 2 * 2048) + 2048
    full = 6 * parameters + 12 * 24 * 2048 * 8192
    found = training_gpu.Measured(0.5 * H100 / full, 40 * 2**30)
    assert round(found.tokens_per_second) == 37_987
    line = training_gpu.row("compiled", 4, found, setting)
    assert line["mfu_full_attention"] == pytest.approx(0.5)
    assert line["mfu_causal_attention"] == pytest.approx(0.5 * (full - 6 * 24 * 2048 * 8192) / full)
    masked = training_gpu.row(training_gpu.MASKED, 4, found, setting)
    assert masked["mfu_full_attention"] is None
    lacking = training_gpu.row("compiled", 8, training_gpu.Measured(None, None), setting)
    assert lacking["tokens_per_second"] is None
    first, second, third = capsys.readouterr().out.splitlines()
    assert "MFU  50.0% full" in first and "40.0 GiB" in first
    assert "MFU" not in second
    assert "out of memory" in third
    assert "37,987" in training_gpu.said_of_peak(setting.flops, H100)


def test_a_row_that_exceeds_the_memory_has_no_rate(training_gpu: ModuleType) -> None:
    def greedy() -> float:
        raise torch.OutOfMemoryError

    assert training_gpu.measured(greedy).tokens_per_second is None
    assert training_gpu.measured(lambda: 7.0).tokens_per_second == 7.0


def test_each_choice_differs_from_the_base_in_one_thing(training_gpu: ModuleType) -> None:
    base = training_gpu.Choice("", 4)
    rows = training_gpu.choices([1, 2, 4, 8])
    assert [choice.sequences for choice in rows[:4]] == [1, 2, 4, 8]
    for choice in rows[4:-1]:
        assert choice.sequences == 4
        changed = {key for key, value in vars(base).items() if vars(choice)[key] != value}
        assert len(changed - {"name"}) == 1
    assert len(set(training_gpu.choices([2]))) == len(training_gpu.choices([2])) == 5


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A token folder of forty small repositories, and its tokenizer's folder."""
    root = tmp_path_factory.mktemp("ladder")
    rows = []
    for number in range(120):
        repo, path = f"repo-{number % 40}", f"f{number}.py"
        lines = [f"def f{number}_{k}(x, y={k}):\n    return x * {number} + y\n" for k in range(30)]
        text = "\n".join(lines)
        data = text.encode()
        rows.append(
            {
                "id": document_id("directory", repo, "1", path),
                "content_hash": content_hash(data),
                "repo": repo,
                "path": path,
                "revision": "1",
                "language": "Python",
                "size": len(data),
                "source": "directory",
                "content": text,
            }
        )
    table = pa.Table.from_pylist(rows, schema=DOCUMENT_SCHEMA)
    write_table(root / "corpus" / "data" / "shard-00000.parquet", table)
    train.run(train.TokenizerConfig(vocabulary_size=280), root / "corpus", root / "tokenizer")
    pack.run(pack.PackConfig(), root / "corpus", root / "tokenizer", root / "tokens")
    return root / "tokens", root / "tokenizer"


def test_a_ladder_of_one_rung_on_the_cpu(
    ladder: ModuleType,
    packed: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tokens, tokenizer = packed
    arguments = f"--tokens {tokens} --tokenizer {tokenizer} --out {tmp_path} --device cpu "
    arguments += "--presets tiny --tokens-per-parameter 0.002 --length 32 --held-out-share 0.1"
    arguments += " --held-out-samples 8"
    monkeypatch.setattr(sys, "argv", ["ladder.py", *arguments.split()])
    ladder.main()
    printed = capsys.readouterr().out.splitlines()
    figures = json.loads(printed[-1])
    (row,) = figures["table"]
    assert printed[2].startswith("tiny") and len(printed) == 4
    weights = load_file(tmp_path / "tiny" / "checkpoint" / "model.safetensors")
    assert row["parameters"] == sum(tensor.numel() for tensor in weights.values())
    assert row["tokens"] == round(0.002 * row["parameters"])
    per_token = 6 * row["parameters"] + 12 * 4 * 128 * 32
    assert row["flops_full_attention"] == per_token * row["tokens"]
    assert row["peak_learning_rate"] == pytest.approx(
        0.3118 * row["flops_full_attention"] ** -0.125
    )
    bytes_per_token = figures["held_out_bytes_per_token"]
    assert row["heldout_bits_per_byte"] == pytest.approx(
        row["heldout_loss"] / math.log(2) / bytes_per_token
    )
    assert 0 < row["heldout_loss"] < math.log(figures["vocabulary_size"])
    assert row["mfu_full_attention"] is None

    ladder.main()  # nothing is trained again
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == figures


def test_whole_repositories_are_held_out(ladder: ModuleType, packed: tuple[Path, Path]) -> None:
    tokens, _ = packed
    index: list[dict[str, Any]] = pq.read_table(tokens / "index.parquet").to_pylist()
    data = ladder.divide(tokens, None, 0.1)
    held = [row for row, out in zip(index, data.held_out, strict=True) if out]
    kept = [row for row, stays in zip(index, data.train, strict=True) if stays]
    assert len(held) + len(kept) == len(index)
    assert not {row["repo"] for row in held} & {row["repo"] for row in kept}
    total = sum(row["tokens"] for row in index)
    assert 0.05 * total < sum(row["tokens"] for row in held) <= 0.1 * total
    assert data.held_out_bytes_per_token == pytest.approx(
        sum(row["bytes"] for row in held) / sum(row["tokens"] for row in held)
    )
    with pytest.raises(FirnlineError, match="small enough to hold out"):
        ladder.divide(tokens, None, 0.001)
