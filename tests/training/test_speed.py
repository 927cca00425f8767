"""Figures of speed against hand calculations with published numbers."""

from __future__ import annotations

import math

import pytest
import torch

from firnline.model.config import FlopsPerToken, flops_per_token
from firnline.model.presets import PRESETS
from firnline.training.speed import (
    PEAK_FLOPS,
    Speed,
    bits_per_byte,
    peak_flops,
    peak_memory_bytes,
)


@pytest.mark.parametrize(
    ("device", "precision", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989e12),
        ("NVIDIA H100 PCIe", "bfloat16", 756e12),
        ("NVIDIA H100 NVL", "bfloat16", 835e12),
        ("NVIDIA H200", "bfloat16", 989e12),
        ("NVIDIA GH200 480GB", "bfloat16", 990e12),
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 312e12),
        ("NVIDIA A100-PCIE-40GB", "float32", 19.5e12),
        ("NVIDIA L4", "bfloat16", 121e12),
        ("NVIDIA L40S", "bfloat16", 362.05e12),
        ("NVIDIA GeForce RTX 4090", "bfloat16", 165.2e12),
        ("AMD Instinct MI300X", "bfloat16", 1307.4e12),
        # Parts of a device, lesser ones of a like name, and what is not in the table.
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bfloat16", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bfloat16", None),
        ("NVIDIA GeForce RTX 4090 D", "bfloat16", None),
        ("NVIDIA A10G", "bfloat16", None),
        ("NVIDIA L400", "bfloat16", None),
        ("Tesla V100-SXM2-16GB", "bfloat16", None),
        ("NVIDIA H100 80GB HBM3", "float8", None),
        ("AMD EPYC 9B14", "float32", None),
    ],
)
def test_peaks_by_the_names_that_drivers_give(
    device: str, precision: str, peak: float | None
) -> None:
    assert peak_flops(device, precision) == peak


def test_every_name_of_the_table_finds_itself() -> None:
    for name, peaks in PEAK_FLOPS.items():
        assert all(peak_flops(name, precision) == peak for precision, peak in peaks.items())


def test_half_of_an_h100_at_8192_tokens() -> None:
    """1.3B parameters, 24 layers of width 2048: 50% are 39,200 tokens a second, by hand."""
    attention = 12 * 24 * 2048 * 8192
    flops = FlopsPerToken(6 * 1_300_000_000 + attention, 6 * 1_300_000_000 + attention // 2)
    row = Speed(flops, peak_flops("NVIDIA H100 80GB HBM3", "bfloat16")).row(39_200, 1.0)
    assert row["tokens_per_second"] == 39_200
    assert row["mfu_full_attention"] == pytest.approx(0.5, abs=0.001)
    assert row["mfu_causal_attention"] == pytest.approx(0.405, abs=0.001)
    # Counted to the last parameter, the paper's model has 1.364B and needs 3% more.
    paper = flops_per_token(PRESETS["arctic-snowcoder-1.3b"], 8192)
    assert paper.full_attention / flops.full_attention == pytest.approx(1.031, abs=0.001)


def test_devices_share_the_work_and_an_unknown_peak_gives_no_mfu() -> None:
    flops = FlopsPerToken(2_000_000, 1_500_000)
    assert Speed(flops, 1e12, devices=4).row(1_000_000, 2.0) == {
        "tokens_per_second": 500_000.0,
        "mfu_full_attention": 0.25,
        "mfu_causal_attention": 0.1875,
    }
    assert Speed(flops, None).row(10, 4.0) == {"tokens_per_second": 2.5}
    assert Speed(None, 1e12).row(10, 4.0) == {"tokens_per_second": 2.5}


def test_the_peak_of_memory_grows_with_what_is_held() -> None:
    before = peak_memory_bytes()
    held = torch.ones(64 << 20, dtype=torch.uint8)
    grown = peak_memory_bytes("cpu") - before
    assert len(held) == 64 << 20
    assert 0 <= grown < 1 << 30
    assert before > 50 << 20  # torch alone takes more: it counts bytes and not KiB


def test_bits_per_byte() -> None:
    """A model that gives each of 256 bytes the same chance needs 8 bits for each."""
    assert bits_per_byte(math.log(256), 1.0) == pytest.approx(8)
    # Four bytes to a token: a quarter of its bits.
    assert bits_per_byte(math.log(2) * 6, 4.0) == pytest.approx(1.5)
