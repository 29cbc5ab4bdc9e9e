"""Section 4.1: the extrapolation, by its own assumption and by others.

Parity is asked of ``fedsim.feasible``: the first whole year in which a round on the device takes no
longer than on the A40, fp32, sentences of 5.5 s, counted as the trend counts. That memory reaches
48 GB by 2027 is the paper's belief and no measurement; the readings below say what it rests on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import numpy as np

from fedsim.feasible import Answer, Background, Limits, Procedure, Question, answer
from fedsim.hardware import load_device, load_trend, project
from fedsim.pricing import Pricer, Technique, load_trace
from fedsim.reproduce.figure import Figure, commented, rows
from fedsim.units import GIB, SAMPLES_PER_S

PAPER_YEAR, HORIZON_YEARS = 2022, 5
LENGTHS = np.arange(10, 1200) * (SAMPLES_PER_S // 10)  # 1 to 120 s
_NX, _A40 = "jetson-xavier-nx", "nvidia-a40"


@cache
def parity(trend: str, model: str = "base", batch: int = 4, precision: str = "fp32") -> Answer:
    """When a Jetson Xavier NX equals the A40."""
    return answer(
        Question(
            device=load_device(_NX),
            trace=load_trace(f"wav2vec2-{model}"),
            technique=Technique(precision),
            size=5.5,
            longest=5.5,
            batch=batch,
            background=Background("none", 0.0),
            procedure=Procedure(),
            limits=Limits(load_device(_A40)),
        ),
        load_trend(trend),
    )


def _claims() -> dict[str, float]:
    return {row["id"]: float(row["value"]) for row in rows("claims.csv") if row["id"].startswith("s41.")}


def doubling() -> Iterator[Figure]:
    """Eighteen months give more than the eightfold that the paper draws from them."""
    months = _claims()["s41.doubling"]
    years = load_trend("gao2022").doubling_years["compute"]
    yield Figure("section4.1", "doubling", months, 12 * years, "months", "hardware/trends/gao2022.yaml")
    growth = 2 ** (12 * HORIZON_YEARS / months)
    how = f"2^({12 * HORIZON_YEARS}/{months:g}): what doubling every {months:g} months gives in 5 years"
    yield Figure("section4.1", "growth_in_5_years", 8.0, growth, "ratio", how)
    needed = 12 * HORIZON_YEARS / math.log2(8)
    how = "60 / log2(8): the months to double that 8x in 5 years would need"
    yield Figure("section4.1", "doubling/for 8x in 5 years", months, needed, "months", how)


def speed() -> Iterator[Figure]:
    """The year in which the NX trains as fast as the A40."""
    year = _claims()["s41.parity_year"]
    for trend, model, batch, precision in (
        ("gao2022", "base", 4, "fp32"),
        ("gao2022", "base", 1, "fp32"),
        ("gao2022", "base", 4, "mixed"),
        ("gao2022", "large", 4, "fp32"),
        ("epoch", "base", 4, "fp32"),
        ("epoch", "base", 1, "fp32"),
    ):
        found = parity(trend, model, batch, precision).findings["parity_speed"]
        plain = (trend, model, batch, precision) == ("gao2022", "base", 4, "fp32")
        item = "parity_year" if plain else f"parity_year/{trend}/{model}/{precision}/batch_{batch}"
        how = (
            f"first whole year ({found.moment:.1f}) in which a round on the NX is as short as on the A40:"
            f" trend {trend}, {model}, {precision}, batch {batch}; holds: 2026 to 2027"
        )
        ours = None if found.year is None else float(found.year)
        yield Figure("section4.1", item, year, ours, "year", how, holds=found.year in (2026, 2027))
    ratio = _measured_ratio()
    by_8x = PAPER_YEAR + HORIZON_YEARS * math.log(ratio) / math.log(8)
    how = f"Table 2's own ratio of {ratio:.2f} at the paper's 8x in 5 years, no cost model"
    yield Figure("section4.1", "parity_year/by Table 2 and 8x", year, by_8x, "year", how, holds=by_8x <= year)


def _measured_ratio() -> float:
    """NX over A40 in Table 2: base, fp32, batch 4."""
    from fedsim.hardware import measurements

    found = {
        step.device: step.seconds_per_batch
        for step in measurements(None)
        if (step.model, step.batch_size, step.precision) == ("wav2vec2-base", 4, "fp32")
        and "Table 2" in step.source
    }
    nx, a40 = found[_NX], found[_A40]
    assert nx is not None
    assert a40 is not None
    return nx / a40


def memory() -> Iterator[Figure]:
    """The year in which mid-tier boards have the A40's 48 GB, by several readings."""
    year, target = _claims()["s41.memory"], load_device(_A40).memory_bytes
    nx, agx, agx32 = (load_device(n) for n in (_NX, "jetson-agx-xavier", "jetson-agx-xavier-32gb"))
    orin_nx = load_device("jetson-orin-nx")
    for trend in ("gao2022", "epoch"):
        found = parity(trend).findings["parity_memory"]
        item = "memory" if trend == "gao2022" else "memory/epoch"
        ours = None if found.year is None else float(found.year)
        how = (
            f"first whole year in which a successor of the NX has 48 GiB: trend {trend} ({found.moment:.1f})"
        )
        yield Figure("section4.1", item, year, ours, "year", how, holds=found.year == year)
    readings = {
        "as compute": (nx.memory_bytes, PAPER_YEAR, 1.5, "NX of 8 GiB in 2022, doubling every 18 months"),
        "as the AGX did": (
            nx.memory_bytes,
            PAPER_YEAR,
            (agx32.released - agx.released) / math.log2(agx32.memory_bytes / agx.memory_bytes),
            f"NX of 8 GiB in 2022, doubling as the AGX Xavier did from {agx.released} to {agx32.released}",
        ),
        "from the AGX of 32 GB": (
            agx32.memory_bytes,
            PAPER_YEAR,
            load_trend("epoch").doubling_years["memory"],
            "AGX Xavier of 32 GiB in 2022, doubling every 4 years as in trend epoch",
        ),
        "as the NX did": (
            orin_nx.memory_bytes,
            orin_nx.released,
            (orin_nx.released - nx.released) / math.log2(orin_nx.memory_bytes / nx.memory_bytes),
            f"Orin NX of 16 GiB in {orin_nx.released}, doubling as from the Xavier NX of {nx.released}",
        ),
    }
    for name, (have, start, years, how) in readings.items():
        moment = start + years * math.log2(target / have)
        said = f"{how}: {moment:.1f}; holds: by {year:g}"
        yield Figure("section4.1", f"memory/{name}", year, moment, "year", said, holds=moment <= year)


def sentences() -> Iterator[Figure]:
    """What the memory of 2027 is good for: the paper hopes for longer sentences."""
    for trend in ("gao2022", "epoch"):
        device = project(load_device(_NX), 2027, load_trend(trend))
        for size in ("base", "large"):
            fits = Pricer(device, load_trace(f"wav2vec2-{size}"), Technique()).fits(4, LENGTHS)
            longest = float(LENGTHS[fits].max()) / SAMPLES_PER_S
            how = (
                f"longest sentence, to 0.1 s, that an NX of 2027 trains at batch 4 in fp32: {size},"
                f" trend {trend}, {device.memory_bytes / GIB:.0f} GiB; holds: the 15 s of today's pretraining"
            )
            item = f"longest_2027/{trend}/{size}"
            yield Figure("section4.1", item, None, longest, "s", how, holds=longest >= 15)


_EPOCH = "Trend epoch doubles FP32 rates every 2.3 years, not every 18 months, so parity comes later."
_COMMENTS = {
    "growth_in_5_years": "The paper's two figures do not agree: 18 months to double give 10.1x in 5 years.",
    "doubling/for 8x in 5 years": "The same seen from the other side: 8x in 5 years is 20 months to double.",
    "parity_year/epoch/*": _EPOCH,
    "memory/epoch": "Trend epoch doubles memory about every 4 years. The paper states a belief, no rate.",
    "memory/as the AGX did": "Two months late.",
    "memory/as the NX did": "Nine months late.",
    "longest_2027/epoch/large": "Memory grows more slowly in trend epoch, and the large model stays short.",
}


def figures() -> list[Figure]:
    """All of them."""
    return commented([*doubling(), *speed(), *memory(), *sentences()], _COMMENTS)
