"""Table 2: seconds per batch on five devices, and which of its cells ran out of memory.

A timed cell is priced at its average length, as the calibration was. A cell fits if the footprint
at the longest sentence of the benchmark leaves room for the system; the paper states no longest
sentence, and ``hardware/measurements/gao2022-table2.csv`` says how it was estimated.
"""

from __future__ import annotations

from fedsim.hardware import Measurement, load_device, measurements
from fedsim.pricing import Pricer, Technique, load_trace
from fedsim.reproduce.figure import Figure, commented
from fedsim.units import SAMPLES_PER_S

_TIMED = "step time of the calibrated device at {:g} s a sentence; footprint at {:g} s fits"
_OOM = "footprint at {:g} s a sentence beside the system, against the device's memory"


_COMMENTS = {
    "raspberry-pi-4/base/fp32/batch_1": (
        "This device has one fitted number, a factor by which it is slower than ARM boards are by "
        "their datasheets, for two measured steps. A sentence takes 20% less in a batch of 4 than "
        "alone; by what such boards have in common it is 16%."
    ),
    "nvidia-a40/*/batch_4": (
        "Four numbers for eight steps: launches in each precision, seconds of a sentence outside the "
        "model, and one factor on the rates that NVIDIA cards have in common. At batch 4 the study's "
        "own steps say that a sentence costs the host 20 to 40 ms, base or large, fp32 or mixed; one "
        "number for all of them leaves 8 to 11%."
    ),
    "macbook-pro-2019/large/fp32/batch_1": "Two numbers for four steps.",
}


def figures() -> list[Figure]:
    """The 25 timed cells and the 7 that ran out of memory; holds: fits where, and only where, theirs did."""
    return commented((_figure(cell) for cell in measurements(None) if "Table 2" in cell.source), _COMMENTS)


def _figure(cell: Measurement) -> Figure:
    device, trace = load_device(cell.device), load_trace(cell.model)
    pricer = Pricer(device, trace, Technique(precision=cell.precision))
    fits = bool(pricer.fits(cell.batch_size, round(cell.longest_seconds * SAMPLES_PER_S)))
    size = cell.model.removeprefix("wav2vec2-")
    item = f"{cell.device}/{size}/{cell.precision}/batch_{cell.batch_size}"
    if cell.seconds_per_batch is None:
        how = _OOM.format(cell.longest_seconds)
        return Figure("table2", f"{item}/oom", None, None, "s", how, holds=not fits)
    ours = float(pricer.step_s(cell.batch_size, round(cell.seconds * SAMPLES_PER_S)))
    how = _TIMED.format(cell.seconds, cell.longest_seconds)
    return Figure("table2", item, cell.seconds_per_batch, ours, "s", how, holds=fits)
