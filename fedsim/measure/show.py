"""What was measured, as a table for people."""

from __future__ import annotations

from statistics import median

from fedsim.measure.calibrate import Measured
from fedsim.measure.operators import STREAM
from fedsim.printing import Column, Table
from fedsim.units import format_bytes, format_duration, format_flops

_WORDS = {
    "conv": "convolution",
    "grouped_conv": "grouped convolution",
    "matmul": "matrix product",
    "attention": "attention products",
}


def table(found: Measured) -> Table:
    """One row a measurement: what, its rate, and how much its runs differ."""
    host, rates = found.host, found.rates
    shown = Table(Column("what", words=True), "rate", "of the best seen", "median spread", title=host.title)
    for precision, kinds in rates.flops_per_s.items():
        for kind, value in kinds.items():
            shown.row(
                f"{_WORDS[kind]}, {precision}",
                f"{format_flops(value)}/s",
                f"{value / rates.peak_flops_per_s[precision]:.0%}",
                _spread(found, kind, precision),
            )
    peak = rates.peak_bandwidth_bytes_per_s
    for what, value in (
        ("norms, activations, dropout, loss", rates.bandwidth_bytes_per_s),
        ("Adam", rates.optimizer_bytes_per_s),
        ("one long copy", found.probes.copy_bytes_per_s),
    ):
        spread = _spread(found, STREAM, "fp32") if value == rates.bandwidth_bytes_per_s else ""
        shown.row(what, f"{format_bytes(value)}/s", f"{value / peak:.0%}", spread)
    shown.row("one launch", format_duration(rates.launch_s), "", "")
    if host.startup_s is not None:
        shown.row("process, imports, model, data", format_duration(host.startup_s), "", "")
    shown.row("memory", format_bytes(host.memory_bytes), "", "")
    shown.row("held by the system", format_bytes(host.system_bytes), "", "")
    shown.row("process before any tensor", format_bytes(host.runtime_bytes), "", "")
    return shown


def _spread(found: Measured, kind: str, precision: str) -> str:
    """By how much the slowest run of an operator exceeds its fastest, the middle one of a kind."""
    of_kind = [t for t in found.timed if t.operator.kind == kind and t.precision == precision]
    if not of_kind or len(of_kind[0].runs_s) < 2:
        return ""
    return f"{median(max(t.runs_s) / max(min(t.runs_s), 1e-12) - 1 for t in of_kind):.0%}"
