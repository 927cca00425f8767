"""Firnline: turns raw code into a code language model whose data can be justified."""

import os

# Threads that wait by spinning collapse beside another busy process (docs/log.md, 2026-11-21);
# OpenMP reads this when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"
