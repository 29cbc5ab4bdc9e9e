"""The time plane again, under drawn speeds: how far a run's seconds may be off.

After a run its rounds are simulated anew, each time with other speeds of the devices
(:mod:`fedsim.pricing.uncertainty`) and everything else as it was: fleet, workloads, hours, links,
background programs and every other random number. Startups, like memory, are not drawn. Nothing is
learned and nothing is written. So a learned curve keeps its rounds, and only the time of each round
moves; the server's refusals, and a choice of clients that goes by losses, are those of a run without
learning.
"""

from __future__ import annotations

import time
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from fedsim.engine.plan import Plan
from fedsim.engine.records import COMPLETED
from fedsim.engine.server import Simulation
from fedsim.errors import InputError
from fedsim.pricing.uncertainty import LEVEL, bounds, factors
from fedsim.results.intervals import Intervals
from fedsim.simulation.compose import Composition
from fedsim.simulation.progress import Progress, Silent

CLIENT_ROUNDS = 10_000
SAY_AFTER_S = 10.0
FEWEST, MOST, MOST_ASKED = 10, 100, 10_000

Floats = NDArray[np.float64]


def usual_draws(plan: Plan) -> int:
    """How many repeats a run has if nobody says: as many as make 10,000 client-rounds, from 10 to 100.

    It counts the plan's rounds times its cohort and asks no clock, so that a run has the same bytes
    everywhere. The repeats of a small run take about two seconds, those of a large one ten times what
    its own clock took. A plan without rounds has none.
    """
    planned = plan.rounds * plan.cohort
    return min(MOST, max(FEWEST, CLIENT_ROUNDS // planned)) if planned else 0


def checked_draws(draws: int | None) -> int | None:
    """A number of draws that somebody asks for; None: as many as is usual.

    Raises:
        InputError: it cannot be.
    """
    if draws is not None and not 0 <= draws <= MOST_ASKED:
        raise InputError(f"{draws} draws cannot be made; give from 0 to {MOST_ASKED:,}", key="draws")
    return draws


def intervals(
    composition: Composition, draws: int, rounds: int, progress: Progress | None = None
) -> Intervals:
    """The intervals of the first ``rounds`` rounds of a run.

    Args:
        composition: of the run.
        draws: how many repeats to make, at least one.
        rounds: how many rounds the run had, at least one.
        progress: told how it goes on.
    """
    told = progress or Silent()
    told.note(f"repeating the clock under {draws} drawn speeds of the devices")
    names = composition.devices
    speeds = factors([kind.pricers for kind in composition.kinds], composition.plan.seed, draws)
    found, said = [], time.monotonic()
    for speed in speeds:
        found.append(_repeat(composition, speed, rounds))
        if time.monotonic() - said > SAY_AFTER_S:
            said = time.monotonic()
            told.note(f"{len(found)} of {draws} drawn speeds done")
    starts, ends = (np.array([one.times[k] for one in found]) for k in range(2))
    with np.errstate(invalid="ignore"):
        lengths = np.where(np.isfinite(ends), ends - starts, np.inf)
    end, length = np.array(bounds(ends)), np.array(bounds(lengths))
    figures = {
        "end_s": (end[0, -1], end[1, -1]),
        "mean_round_s": _ends(lengths.mean(axis=1)),
        "longest_round_s": _ends(lengths.max(axis=1)),
    }
    figures |= {key: _ends(np.array([one.sums[key] for one in found])) for key in found[0].sums}
    devices = {
        name: {key: _ends(np.array([one.devices[key][i] for one in found])) for key in found[0].devices}
        for i, name in enumerate(names)
    }
    return Intervals(LEVEL, draws, figures, devices, end, length)


def _ends(drawn: Floats) -> tuple[float, float]:
    low, high = bounds(drawn)
    return float(low), float(high)


class _Repeat:
    """What one repeat came to.

    Attributes:
        times: float64[2, rounds], start and end of each round; infinite for one that never closes.
        sums: figures of the summary by name.
        devices: float64[devices] by name of a figure of a device; infinite if it is never reached.
    """

    def __init__(self, rounds: int, devices: int):
        self.times = np.full((2, rounds), np.inf)
        self.sums = dict.fromkeys(("energy_j", "wasted_j", "wasted_s"), 0.0)
        self.devices = {key: np.zeros(devices) for key in ("compute_s", "waiting_s", "energy_j")}


def _repeat(composition: Composition, speed: Floats, rounds: int) -> _Repeat:
    """The first rounds of a run at drawn speeds, float64[techniques, kinds]."""
    world = composition.world.at_speeds(speed)
    count = len(composition.devices)
    found, done_s, done = _Repeat(rounds, count), np.zeros(count), np.zeros(count)
    for record in islice(Simulation(world, composition.plan), rounds):
        found.times[:, record.index] = record.start_s, record.end_s
        for key in found.sums:
            found.sums[key] += getattr(record, key)
        rows = record.clients
        device = world.device[rows.client]
        completed = rows.outcome == COMPLETED
        waiting_s = np.where(completed, np.maximum(record.end_s - rows.ended_s, 0.0), 0.0)
        spent = {"compute_s": rows.compute_s, "waiting_s": waiting_s, "energy_j": rows.energy_j}
        for key, values in spent.items():
            found.devices[key] += np.bincount(device, values, count)
        done_s += np.bincount(device[completed], rows.compute_s[completed], count)
        done += np.bincount(device[completed], minlength=count)
    with np.errstate(divide="ignore", invalid="ignore"):
        found.devices["mean_compute_s"] = np.where(done > 0, done_s / done, np.inf)
    return found
