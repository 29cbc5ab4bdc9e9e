"""Bytes of moving a model between server and client."""

from __future__ import annotations

WEIGHT_BYTES = 4
"""Weights travel as fp32, as they are kept; autocast changes neither."""


def update_bytes(parameters: int) -> float:
    """Size of a model or of an update of it, dense and uncompressed."""
    return float(parameters * WEIGHT_BYTES)
