"""The run directory: the only way in which a run is written, and the only way in which it is read.

A run directory holds ``scenario.yaml`` (resolved), ``manifest.json``, ``rounds.parquet``,
``clients.parquet``, ``convergence.parquet``, ``summary.json`` and, once reported,
``figures/*.png``, ``report.html`` and ``timeline.json``. While the run goes on, its rounds lie in
``parts/``. ``fedsim finetune`` adds ``finetune.json``. Columns and keys are defined in
:mod:`fedsim.results.columns`.
"""

from __future__ import annotations

from fedsim.outcomes import OUTCOMES
from fedsim.results.directory import new_run_dir
from fedsim.results.manifest import manifest
from fedsim.results.reading import Run, is_run, load
from fedsim.results.summary import summarise
from fedsim.results.writer import RunWriter, go_on

__all__ = ["OUTCOMES", "Run", "RunWriter", "go_on", "is_run", "load", "manifest", "new_run_dir", "summarise"]
