"""How fast a phase goes, against what the device could do. Imports torch only to ask for memory."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from firnline.model.config import FlopsPerToken

# Peak FLOP/s of dense matrix products by device and precision, from the makers' data sheets, which
# often print the figure with 2:4 sparsity, twice as high. bfloat16 adds up in float32; float32 is
# without TensorFloat-32, which PyTorch does not use by default. A name is matched as part of what
# the driver calls the device, longer names first.
PEAK_FLOPS: Mapping[str, Mapping[str, float]] = {
    # NVIDIA H100 Tensor Core GPU data sheet; SXM5 reports itself as "H100 80GB HBM3".
    "H100": {"bfloat16": 989e12, "float32": 67e12},
    "H100 PCIe": {"bfloat16": 756e12, "float32": 51e12},
    "H100 NVL": {"bfloat16": 835e12, "float32": 60e12},
    # NVIDIA H200 Tensor Core GPU data sheet.
    "H200": {"bfloat16": 989e12, "float32": 67e12},
    "H200 NVL": {"bfloat16": 835e12, "float32": 60e12},
    # NVIDIA GH200 Grace Hopper Superchip data sheet.
    "GH200": {"bfloat16": 990e12, "float32": 67e12},
    # NVIDIA HGX platform page: 36 PFLOP/s sparse for eight.
    "B200": {"bfloat16": 2250e12, "float32": 75e12},
    # NVIDIA A100 Tensor Core GPU data sheet.
    "A100": {"bfloat16": 312e12, "float32": 19.5e12},
    # NVIDIA A10, A30, L4, L40 and L40S data sheets.
    "A10": {"bfloat16": 125e12, "float32": 31.2e12},
    "A30": {"bfloat16": 165e12, "float32": 10.3e12},
    "L4": {"bfloat16": 121e12, "float32": 30.3e12},
    "L40": {"bfloat16": 181.05e12, "float32": 90.5e12},
    "L40S": {"bfloat16": 362.05e12, "float32": 91.6e12},
    # NVIDIA Ampere GA102, Ada and RTX Blackwell architecture white papers, appendices.
    "RTX 3090": {"bfloat16": 71e12, "float32": 35.6e12},
    "RTX 4090": {"bfloat16": 165.2e12, "float32": 82.6e12},
    "RTX 5090": {"bfloat16": 209.5e12, "float32": 104.8e12},
    # AMD Instinct data sheets; of the MI250X PyTorch sees each of two dies as a device.
    "MI250X": {"bfloat16": 191.5e12, "float32": 23.95e12},
    "MI300X": {"bfloat16": 1307.4e12, "float32": 163.4e12},
}

# Parts and lesser variants of a device, whose peak is another.
_OTHER = {"MIG", "LAPTOP", "D"}


def peak_flops(device: str, precision: str) -> float | None:
    """Data-sheet FLOP/s of a device by the name its driver gives (`torch.cuda.get_device_name`).

    None for a device or precision that `PEAK_FLOPS` does not know: then no MFU is reported.
    """
    words = set(device.upper().replace("-", " ").split())
    for name in sorted(PEAK_FLOPS, key=len, reverse=True):
        if words.issuperset(name.upper().split()) and words.isdisjoint(_OTHER):
            return PEAK_FLOPS[name].get(precision)
    return None


@dataclass(frozen=True)
class Speed:
    """Turns tokens and seconds of a step into the figures that are logged."""

    flops: FlopsPerToken | None
    """Training FLOPs for a token in both conventions; None for a model that has no count."""
    peak: float | None
    """FLOP/s of one device at the phase's precision, from `peak_flops` or the phase's own."""
    devices: int = 1
    """How many devices work on a step."""

    def row(self, tokens: int, seconds: float) -> dict[str, float]:
        """`tokens_per_second` of all devices and, where the peak is known, `mfu_full_attention` and
        `mfu_causal_attention`: the share of the peak that the model's own FLOPs make up."""
        rate = tokens / max(seconds, 1e-9)
        row = {"tokens_per_second": round(rate, 1)}
        if self.flops and self.peak:
            share = rate / (self.peak * self.devices)
            row["mfu_full_attention"] = round(share * self.flops.full_attention, 4)
            row["mfu_causal_attention"] = round(share * self.flops.causal_attention, 4)
        return row


def peak_memory_bytes(device: str = "cpu") -> int:
    """The most memory so far: a GPU's as PyTorch has handed it out, else the process's.

    `device` is a torch device such as `cuda:0`.
    """
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # Linux counts in KiB


def bits_per_byte(loss: float, bytes_per_token: float) -> float:
    """A mean loss in nats for a token as bits for a byte of the text that tokens spell."""
    return loss / math.log(2) / bytes_per_token
