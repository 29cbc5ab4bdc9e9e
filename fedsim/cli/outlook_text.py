"""Who fits and how long a round takes, as ``fedsim describe`` and ``fedsim validate`` print it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsim.printing import Column, Table
from fedsim.units import format_bytes, format_duration
from fedsim.words import plural

if TYPE_CHECKING:
    from fedsim.scenario import Scenario
    from fedsim.simulation.outlook import DeviceOutlook


_WITHIN = Column("training, 90%", spare=1)


def who_fits(rows: list[DeviceOutlook], each_way: bool) -> Table:
    """Devices, and medians over their clients; download and upload apart, if ``each_way``, or together.

    Starting up has a column where a client does so in a round.
    """
    from fedsim.report.text import between

    facts = (Column("device", words=True), Column("clients", spare=2), "fit", "needs", "has")
    starts = any(row.startup_s for row in rows)
    start = [Column("startup", spare=1)] if starts else []
    if each_way:
        table = Table(
            *facts, Column("download", spare=1), *start, "training", Column("upload", spare=1), _WITHIN
        )
    else:
        table = Table(*facts, Column("transfers", spare=1), *start, "training", _WITHIN)
    for row in rows:
        device = f"{row.device} ({row.training})" if row.training else row.device
        cells = [device, f"{row.clients:,}", f"{row.fit:.0%}"]
        cells += [format_bytes(row.footprint_bytes), format_bytes(row.room_bytes)]
        work = [row.startup_s, row.compute_s] if starts else [row.compute_s]
        times = [row.download_s, *work, row.upload_s] if each_way else [row.download_s + row.upload_s, *work]
        within = between(vars(row), "compute_s", format_duration)
        table.row(*cells, *map(format_duration, times), within)
    return table


def work(scenario: Scenario) -> str:
    """What a client trains on in a round, where it is not speech: ``500 examples of 128 tokens``."""
    from fedsim.pricing import load_trace
    from fedsim.pricing.sizes import held, in_words

    block = scenario.workload
    if block.examples is None:
        return ""
    trace = held(load_trace(scenario.training.model), block.fixed)
    said = plural(block.examples, "example")
    rest = "".join(f" and {n:,} {name}" for name, n in block.fixed.items())
    if not block.sizes:
        return said
    if isinstance(block.size, int):
        return f"{said} of {in_words(trace, block.size)}{rest}"
    size, longest = block.size, ""
    if size.longest is not None:
        longest = f", {in_words(trace, size.longest)} at most"
    return (
        f"{said} of {in_words(trace, round(size.mean))} on average (spread {size.spread:.0%}{longest}){rest}"
    )
