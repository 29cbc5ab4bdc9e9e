"""Sweeps: many scenarios that differ in a few keys, run where there is room, and one tidy table of them.

A sweep directory holds ``sweep.yaml`` (what was asked), ``sweep.json`` (what became of each point),
``sweep.parquet`` (a row a point), ``figures/*.png`` and ``points/*``, each a run directory. Nothing
is computed twice: points are known by the content of their inputs (:mod:`fedsim.sweeps.address`), and
learning by who delivered what, in which order (:mod:`fedsim.sweeps.trajectory`).
"""

from __future__ import annotations

from fedsim.sweeps.conduct import Conclusion, resume, start

__all__ = ["Conclusion", "resume", "start"]
