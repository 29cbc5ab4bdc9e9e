"""A study: every cell of a grid answered under every trend, with or without draws.

Where a cell has several techniques, the earliest by the trend's own doubling times is taken, and the
draws are of that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedsim.errors import InputError
from fedsim.feasible.answer import HORIZON, Answer, answer, earliest
from fedsim.feasible.grid import Grid
from fedsim.feasible.uncertain import Spread, spread
from fedsim.hardware import Trend


@dataclass(frozen=True, eq=False)
class Result:
    """A cell under a trend; ``spread`` is None without draws."""

    answer: Answer
    spread: Spread | None

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        record = self.answer.as_dict()
        if self.spread is not None:
            record["draws"] = self.spread.as_dict()
        return record


@dataclass(frozen=True, eq=False)
class Study:
    """All results, trend by trend, and what was asked of all of them."""

    grid: Grid
    trends: Sequence[Trend]
    draws: int | None
    seed: int
    horizon: int
    results: Sequence[Result]

    def of(self, trend: Trend) -> list[Result]:
        """The results under one trend."""
        return [result for result in self.results if result.answer.trend is trend]

    def as_dict(self) -> dict[str, Any]:
        """As plain data, in SI units."""
        grid, limits = self.grid, self.grid.limits
        return {
            "trends": {
                trend.name: {
                    "title": trend.title,
                    "counted_from": trend.counted_from or "release",
                    "doubling_years": {
                        k: v if v < float("inf") else None for k, v in trend.doubling_years.items()
                    },
                    "range_years": {k: list(v) for k, v in trend.range_years.items()},
                }
                for trend in self.trends
            },
            "reference": None if limits.reference is None else limits.reference.name,
            "procedure": {
                "rounds": grid.procedure.rounds,
                "epochs": grid.procedure.epochs,
                **({"speech_hours": grid.procedure.hours} if grid.on_speech else {}),
                **({"examples": grid.procedure.examples} if grid.on_others else {}),
            },
            "within_s": limits.within_s,
            "budget_j": limits.budget_j,
            "battery_share": limits.battery_share,
            "horizon": self.horizon,
            "draws": self.draws,
            "seed": self.seed,
            "results": [result.as_dict() for result in self.results],
        }


def study(
    grid: Grid, trends: Sequence[Trend], draws: int | None = None, seed: int = 1, horizon: int = HORIZON
) -> Study:
    """Answer every cell under every trend.

    Args:
        grid: the cells.
        trends: the growth to assume.
        draws: how often to draw uncertain growth; None: not at all.
        seed: of the draws.
        horizon: the last year to look at.

    Raises:
        InputError: if a cell cannot be priced, a trend has nothing to draw, or a device grows only
            after the horizon.
    """
    cells = list(grid.cells())
    for trend in trends:
        for device in grid.devices:
            start = trend.start(device.released)
            if start > horizon:
                raise InputError(f"{device.name} grows from {start} on; give that or later", key="--horizon")
    results = []
    for trend in trends:
        for cell in cells:
            found = earliest(answer(question, trend, horizon) for question in cell)
            drawn = None if draws is None else spread(found.question, trend, draws, seed, horizon)
            results.append(Result(found, drawn))
    return Study(grid, trends, draws, seed, horizon, results)
