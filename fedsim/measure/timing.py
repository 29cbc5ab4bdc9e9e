"""Times operators in rounds, all of them in each, so that a slow moment hits all alike.

What a step runs often is timed more often: up to ``MOST_RUNS`` times a round. The first round warms
up (oneDNN and cuDNN choose and build their kernels) and is thrown away. Rounds go on until the time
is up, and end with the round that has begun; there are at least ``FEWEST_ROUNDS`` that count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from fedsim.errors import FedsimError
from fedsim.measure.operators import Operator
from fedsim.measure.stopwatch import Stopwatch


@dataclass(frozen=True)
class Setting:
    """A batch to take operators from: sentences, and their length in seconds of audio."""

    batch: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.batch} x {self.seconds:g} s"


@dataclass(frozen=True)
class Timed:
    """An operator of a setting with the seconds of its runs."""

    precision: str
    setting: Setting
    operator: Operator
    runs_s: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """The median of the runs."""
        return float(median(self.runs_s))

    @property
    def work(self) -> int:
        """What it does once, FLOP or bytes: what its kind is priced by."""
        return self.operator.cost.flops or self.operator.cost.moved_bytes


FEWEST_ROUNDS = 3
MOST_RUNS = 4

Job = tuple[str, Setting, Operator, Callable[[], Callable[[], object]]]
"""A precision, a setting, an operator of it, and what makes a call of it with fresh arguments."""


def time_jobs(
    jobs: Sequence[Job],
    stopwatch: Stopwatch,
    now: Callable[[], float],
    until_s: float,
    progress: Callable[[float], None] = lambda share: None,
) -> list[Timed]:
    """Time every job in every round.

    Args:
        jobs: what to time.
        stopwatch: takes the time of a call.
        now: seconds by the wall.
        until_s: when ``now`` says so, no further round begins.
        progress: told the share of the time that has gone, from 0 to 1.

    Raises:
        FedsimError: an operator cannot be run, for want of memory most likely.
    """
    start = now()
    runs: list[list[float]] = [[] for _ in jobs]
    rounds = 0
    while rounds <= FEWEST_ROUNDS or now() < until_s:
        for (_, setting, operator, make), found in zip(jobs, runs, strict=True):
            for _ in range(min(operator.count, MOST_RUNS) if rounds else 1):
                seconds = _once(stopwatch, make, operator, setting)
                if rounds:
                    found.append(seconds)
            progress(min(1.0, (now() - start) / max(until_s - start, 1e-9)))
        rounds += 1
    return [
        Timed(precision, setting, operator, tuple(found))
        for (precision, setting, operator, _), found in zip(jobs, runs, strict=True)
    ]


def _once(
    stopwatch: Stopwatch, make: Callable[[], Callable[[], object]], operator: Operator, setting: Setting
) -> float:
    try:
        return stopwatch.seconds(make())
    except RuntimeError as error:
        why = str(error).partition("\n")[0]
        what = f"{operator.name} on {operator.shapes} of a step at {setting}"
        raise FedsimError(f"{what} cannot be run: {why}") from None
