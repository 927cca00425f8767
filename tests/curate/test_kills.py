"""`firnline curate` killed at random moments ends with the same bytes (5 kills; 25 by hand)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "kills.py"


def test_kills_at_random_moments_change_nothing() -> None:
    command = [sys.executable, str(SCRIPT), "--kills", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["kills"] == 5
    assert result["equal"]
    assert result["went_on"] > 0
