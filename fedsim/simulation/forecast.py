"""What will happen, from a look at the first rounds: they are simulated, then carried on to the end.

The rounds looked at are the very ones that the run will begin with; the rest is taken to be like
them. What is carried on is the simulated clock, which also counts the time between rounds, when
nobody is there to begin one. Lives repeat by the day, so where it was seen for a day or more, the rest
goes at the pace of the last whole days. Selection that learns from losses (Oort) sees none here.

How far the figures may be off where nobody measured a device comes from repeats under drawn speeds
(:mod:`fedsim.pricing.uncertainty`) of as many of these rounds as there is time for: by what factor
these differ, the figures may.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.engine.records import ClientRounds
from fedsim.engine.server import Simulation
from fedsim.outcomes import OUTCOMES
from fedsim.pricing.uncertainty import LEVEL, bounds, factors
from fedsim.simulation.compose import Composition
from fedsim.units import DAY_S

LOOK_S = 3.0  # of real time


@dataclass(frozen=True)
class Forecast:
    """What the first rounds came to.

    Attributes:
        rounds: how many there will be: as many as the scenario has, or fewer if it ends before.
        looked_at: how many of them were simulated.
        ended: whether the simulation ended by itself, and why; None if it goes on.
        round_s: their mean length, in simulated seconds.
        longest_s: the longest of them.
        clock_s: the simulated clock at the end of the last of them, time between rounds included.
        end_s: the same at the end of all rounds; where not all were simulated, carried on.
        outcomes: client-rounds by outcome.
        by_device: the same by device name; devices that were not chosen have none.
        downloaded_bytes: sent out in a round, on average.
        uploaded_bytes: sent back in a round, on average.
        energy_j: spent by clients in a round, on average.
        wasted_j: the part of it spent by clients that did not complete.
        real_s: real seconds that simulating a round took, on average.
        interval: ``low``, ``high``, ``level`` and ``draws`` by name of a figure of the above; empty
            without draws. An end that is never reached is None.
    """

    rounds: int
    looked_at: int
    ended: str | None
    round_s: float
    longest_s: float
    clock_s: float
    end_s: float
    outcomes: dict[str, int]
    by_device: dict[str, dict[str, int]]
    downloaded_bytes: float
    uploaded_bytes: float
    energy_j: float
    wasted_j: float
    real_s: float
    interval: dict[str, dict[str, Any]] = field(default_factory=dict)


def forecast(
    composition: Composition, look_s: float = LOOK_S, most: int | None = None, draws: int = 0
) -> Forecast:
    """Simulate rounds of a scenario, without learning, for about ``look_s`` real seconds.

    At least two rounds are simulated, if there are, and at most ``most``; then, for about as long
    again, the first of them under ``draws`` drawn speeds of the devices.
    """
    simulation = Simulation(composition.world, composition.plan, None, None)
    began = time.monotonic()
    lengths: list[float] = []
    ends: list[float] = []
    parts: list[ClientRounds] = []
    spent_j: list[float] = []
    for record in islice(simulation, most):
        lengths.append(record.end_s - record.start_s)
        ends.append(record.end_s)
        parts.append(record.clients)
        spent_j.append(record.energy_j)
        if len(ends) > 1 and time.monotonic() - began > look_s:
            break
    real_s = time.monotonic() - began
    seen = ClientRounds.join(parts) if parts else ClientRounds.none()
    done = seen.outcome == OUTCOMES.index("completed")
    device = composition.world.device[seen.client]
    n = max(len(ends), 1)
    ended = None if simulation.ending is None else simulation.ending.reason
    rounds = composition.plan.rounds if ended is None else len(ends)
    again = len(ends) if real_s * draws <= look_s else max(2, int(len(ends) * look_s / (real_s * draws)))
    seen_again = _Look(lengths[:again], ends[:again], spent_j[:again], rounds)
    found = Forecast(
        rounds=rounds,
        looked_at=len(ends),
        ended=ended,
        round_s=float(np.mean(lengths)) if lengths else 0.0,
        longest_s=max(lengths, default=0.0),
        clock_s=ends[-1] if ends else 0.0,
        end_s=carried_on_s(ends, rounds),
        outcomes=_counts(seen.outcome),
        by_device={name: _counts(seen.outcome[device == i]) for i, name in enumerate(composition.devices)},
        downloaded_bytes=float(seen.downloaded_bytes.sum()) / n,
        uploaded_bytes=float(seen.uploaded_bytes.sum()) / n,
        energy_j=float(seen.energy_j.sum()) / n,
        wasted_j=float(seen.energy_j[~done].sum()) / n,
        real_s=real_s / n,
    )
    if not (draws and ends):
        return found
    return replace(found, interval=_around(found, _interval(composition, seen_again, draws)))


def _around(found: Forecast, off: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Intervals of a forecast's figures, from how far the figures of a look may be off."""

    def end(name: str, factor: float) -> float | None:
        value = float(getattr(found, name)) * factor
        return value if math.isfinite(value) else None

    return {
        name: {**said, "low": end(name, said["low"]), "high": end(name, said["high"])}
        for name, said in off.items()
    }


@dataclass(frozen=True)
class _Look:
    """A look at the first rounds of a run that will have ``rounds``."""

    lengths: Sequence[float]
    ends: Sequence[float]
    spent_j: Sequence[float]
    rounds: int

    def figures(self) -> dict[str, float]:
        """Figures of a :class:`Forecast` that speeds move."""
        return {
            "round_s": float(np.mean(self.lengths)),
            "longest_s": max(self.lengths),
            "end_s": carried_on_s(self.ends, self.rounds),
            "energy_j": float(np.mean(self.spent_j)),
        }


def _interval(composition: Composition, seen: _Look, draws: int) -> dict[str, dict[str, Any]]:
    """By what factors the figures of a look may be off: the ends of their intervals over themselves."""
    speeds = factors([kind.pricers for kind in composition.kinds], composition.plan.seed, draws)
    plain = seen.figures()
    drawn: dict[str, list[float]] = {name: [] for name in plain}
    for speed in speeds:
        simulation = Simulation(composition.world.at_speeds(speed), composition.plan)
        records = list(islice(simulation, len(seen.ends)))
        if len(records) < len(seen.ends):
            found = dict.fromkeys(plain, math.inf)
        else:
            lengths = [record.end_s - record.start_s for record in records]
            ends, spent_j = [record.end_s for record in records], [record.energy_j for record in records]
            found = _Look(lengths, ends, spent_j, seen.rounds).figures()
        for name, value in found.items():
            drawn[name].append(value)
    said = {}
    for name, value in plain.items():
        if value:
            low, high = (float(end) / value for end in bounds(drawn[name]))
            said[name] = {"low": low, "high": high, "level": LEVEL, "draws": draws}
    return said


def carried_on_s(ends_s: Sequence[float], rounds: int) -> float:
    """When the last of ``rounds`` rounds ends, if the first ones end at ``ends_s``; 0 without any.

    The others follow at the pace of the last whole days, or of all of ``ends_s`` if they span no day.
    """
    if not ends_s:
        return 0.0
    ends, last_s, rest = np.asarray(ends_s), ends_s[-1], rounds - len(ends_s)
    if len(ends) == 1:
        return last_s * rounds
    days = (last_s - ends[0]) // DAY_S
    if days:
        return float(last_s + rest * days * DAY_S / np.count_nonzero(ends > last_s - days * DAY_S))
    return float(last_s + rest * (last_s - ends[0]) / (len(ends) - 1))


def _counts(outcomes: NDArray[np.int8]) -> dict[str, int]:
    """How many there are of each outcome that there is."""
    counts = np.bincount(outcomes, minlength=len(OUTCOMES))
    return {name: int(count) for name, count in zip(OUTCOMES, counts, strict=True) if count}
