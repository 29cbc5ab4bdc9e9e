"""Dedicated: a machine that does nothing else."""

from __future__ import annotations

from fedsim.fleet.pressure.constant import Constant
from fedsim.units import MB


def dedicated() -> Constant:
    """64 MB for a monitoring agent and a shell (estimated)."""
    return Constant(64 * MB)
