"""Criteria: what has to hold, as functions of years of growth. All arrays hold one value a draw.

Names and what binds if they hold last:

- ``memory`` (memory): footprint, system and other programs fit into the device.
- ``parity_speed`` (time): a round takes no longer than on the reference.
- ``parity_memory`` (memory): the device has as much memory as the reference.
- ``days`` (time): the procedure finishes in time.
- ``energy`` (energy): the procedure takes no more than the budget.
- ``battery`` (energy): a round takes no more than a share of the battery.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim.feasible.question import Question

Array = NDArray[np.float64]
Years = Mapping[str, Array]
"""Doubling times by figure of a trend: float64[draws], infinite for what never doubles."""

PARITY = ("parity_speed", "parity_memory")


@dataclass(frozen=True)
class Criterion:
    """Something that has to hold.

    Attributes:
        name: as above.
        resource: ``memory``, ``time`` or ``energy``: what is short while it does not hold.
        unit: of ``value`` and ``limit``, in SI.
        limit: what the value has to reach.
        value: of years of growth, float64[draws].
        at_least: whether the value has to be at least the limit; else at most.
    """

    name: str
    resource: str
    unit: str
    limit: float
    value: Callable[[Array], Array]
    at_least: bool = False

    def holds(self, years: Array) -> NDArray[np.bool_]:
        """Whether it holds after so many years of growth, bool[draws]."""
        value = self.value(years)
        return np.asarray(value >= self.limit if self.at_least else value <= self.limit)


class Grown:
    """A question's device after years of growth.

    Args:
        question: priced as sold.
        doubling_years: of the trend, or drawn.
        slower: by what factor its seconds are off; 1: as priced.
        slower_beside: by what factor they are off over those of the reference.
    """

    def __init__(
        self, question: Question, doubling_years: Years, slower: float = 1.0, slower_beside: float = 1.0
    ):
        self.question, self.doubling_years = question, doubling_years
        self.slower, self.slower_beside = slower, slower_beside

    def factor(self, figure: str, years: Array) -> Array:
        """2**(years / doubling time)."""
        return np.asarray(np.exp2(years / self.doubling_years[figure]))

    def memory_bytes(self, years: Array) -> Array:
        return self.question.device.memory_bytes * self.factor("memory", years)

    def parts_s(self, years: Array) -> dict[str, Array]:
        return self._parts_s(years, self.slower)

    def _parts_s(self, years: Array, slower: float) -> dict[str, Array]:
        return {part: slower * s / self.factor(part, years) for part, s in self.question.parts_s.items()}

    def step_s(self, years: Array) -> Array:
        """Seconds of a step at full speed."""
        return np.asarray(sum(self.parts_s(years).values()))

    def round_s(self, years: Array) -> Array:
        return self.question.on(self.question.device, self.step_s(years))

    def round_beside_s(self, years: Array) -> Array:
        """Seconds of a round where those of the reference are as priced."""
        step_s = np.asarray(sum(self._parts_s(years, self.slower_beside).values()))
        return self.question.on(self.question.device, step_s)

    def procedure_s(self, years: Array) -> Array:
        return self.question.procedure.rounds * self.round_s(years)

    def active_w(self, years: Array) -> Array:
        """Power while training; what lies beyond idle grows by compute over energy a FLOP."""
        device = self.question.device
        if "energy" not in self.doubling_years:
            return np.full(np.shape(years), device.active_w)
        growth = self.factor("compute", years) / self.factor("energy", years)
        return device.idle_w + (device.active_w - device.idle_w) * growth

    def round_j(self, years: Array) -> Array:
        return self.active_w(years) * self.round_s(years)

    def procedure_j(self, years: Array) -> Array:
        return self.question.procedure.rounds * self.round_j(years)


def criteria(grown: Grown) -> list[Criterion]:
    """What a question asks, memory first."""
    question = grown.question
    limits, device = question.limits, question.device
    found = [
        Criterion("memory", "memory", "B", question.needed_bytes, grown.memory_bytes, at_least=True),
    ]
    if limits.reference is not None:
        found += [
            Criterion("parity_speed", "time", "s", question.reference_round_s, grown.round_beside_s),
            Criterion(
                "parity_memory",
                "memory",
                "B",
                limits.reference.memory_bytes,
                grown.memory_bytes,
                at_least=True,
            ),
        ]
    if limits.within_s is not None:
        found.append(Criterion("days", "time", "s", limits.within_s, grown.procedure_s))
    if limits.budget_j is not None:
        found.append(Criterion("energy", "energy", "J", limits.budget_j, grown.procedure_j))
    if limits.battery_share is not None and device.battery_j is not None:
        share_j = limits.battery_share * device.battery_j
        found.append(Criterion("battery", "energy", "J", share_j, grown.round_j))
    return found
