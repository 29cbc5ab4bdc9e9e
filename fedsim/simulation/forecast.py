"""What will happen, from a look at the first rounds: they are simulated, then carried on to the end.

The rounds looked at are the very ones that the run will begin with; the rest is taken to be like
them. Selection that learns from losses (Oort) sees none here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim.engine.records import ClientRounds
from fedsim.engine.server import Simulation
from fedsim.outcomes import OUTCOMES
from fedsim.simulation.compose import Composition

LOOK_S = 3.0  # of real time


@dataclass(frozen=True)
class Forecast:
    """What the first rounds came to.

    Attributes:
        rounds: how many the scenario has.
        looked_at: how many of them were simulated.
        ended: whether the simulation ended by itself, and why; None if it goes on.
        round_s: their mean length, in simulated seconds.
        longest_s: the longest of them.
        outcomes: client-rounds by outcome.
        by_device: the same by device name; devices that were not chosen have none.
        downloaded_bytes: sent out in a round, on average.
        uploaded_bytes: sent back in a round, on average.
        energy_j: spent by clients in a round, on average.
        wasted_j: the part of it spent by clients that did not complete.
        real_s: real seconds that simulating a round took, on average.
    """

    rounds: int
    looked_at: int
    ended: str | None
    round_s: float
    longest_s: float
    outcomes: dict[str, int]
    by_device: dict[str, dict[str, int]]
    downloaded_bytes: float
    uploaded_bytes: float
    energy_j: float
    wasted_j: float
    real_s: float


def forecast(composition: Composition, look_s: float = LOOK_S) -> Forecast:
    """Simulate rounds of a scenario, without learning, for about ``look_s`` real seconds."""
    simulation = Simulation(composition.world, composition.plan, None, None)
    began = time.monotonic()
    lengths: list[float] = []
    parts: list[ClientRounds] = []
    for record in simulation:
        lengths.append(record.end_s - record.start_s)
        parts.append(record.clients)
        if time.monotonic() - began > look_s:
            break
    real_s = time.monotonic() - began
    seen = ClientRounds.join(parts) if parts else ClientRounds.none()
    done = seen.outcome == OUTCOMES.index("completed")
    device = composition.world.device[seen.client]
    n = max(len(lengths), 1)
    return Forecast(
        rounds=composition.plan.rounds,
        looked_at=len(lengths),
        ended=None if simulation.ending is None else simulation.ending.reason,
        round_s=float(np.mean(lengths)) if lengths else 0.0,
        longest_s=max(lengths, default=0.0),
        outcomes=_counts(seen.outcome),
        by_device={name: _counts(seen.outcome[device == i]) for i, name in enumerate(composition.devices)},
        downloaded_bytes=float(seen.downloaded_bytes.sum()) / n,
        uploaded_bytes=float(seen.uploaded_bytes.sum()) / n,
        energy_j=float(seen.energy_j.sum()) / n,
        wasted_j=float(seen.energy_j[~done].sum()) / n,
        real_s=real_s / n,
    )


def _counts(outcomes: NDArray[np.int8]) -> dict[str, int]:
    """How many there are of each outcome that there is."""
    counts = np.bincount(outcomes, minlength=len(OUTCOMES))
    return {name: int(count) for name, count in zip(OUTCOMES, counts, strict=True) if count}
