"""Firnline: turns raw code into a code language model whose data can be justified."""

__version__ = "0.1.0"
