"""The answer where growth is uncertain: a distribution of years, and how often each criterion binds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.feasible.answer import HORIZON
from fedsim.feasible.criteria import Grown, criteria
from fedsim.feasible.crossing import first_years
from fedsim.feasible.question import Question
from fedsim.hardware import Trend
from fedsim.hardware.trend_draws import draw_doubling_years

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Spread:
    """Moments, in fractional years, at which each criterion begins to hold in each draw.

    Attributes:
        moments: float64[draws] by criterion; infinite where it does not hold up to the horizon.
        horizon: the last year looked at.
        resources: what each criterion is short of, by its name.
        start: the year from which the device grows.
    """

    moments: Mapping[str, Array]
    horizon: int
    resources: Mapping[str, str]
    start: int

    @property
    def everything(self) -> Array:
        """When all of them hold, float64[draws]."""
        return np.asarray(np.max(list(self.moments.values()), axis=0))

    def quantiles(self, moments: Array) -> dict[str, float | None]:
        """Quantiles of moments; None where so many draws never get there."""
        found = np.quantile(moments, QUANTILES, method="inverted_cdf")
        return {f"{q:g}": float(m) if np.isfinite(m) else None for q, m in zip(QUANTILES, found, strict=True)}

    def binding(self) -> dict[str, float]:
        """Share of draws in which each criterion holds last; ``as_sold`` where all hold at once."""
        names = list(self.moments)
        table = np.array([self.moments[name] for name in names])
        sold = (table <= self.start).all(axis=0)
        last = np.where(sold, len(names), table.argmax(axis=0))
        counts = np.bincount(last, minlength=len(names) + 1) / table.shape[1]
        return dict(zip([*names, "as_sold"], map(float, counts), strict=True))

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        record = {}
        for name, moments in [*self.moments.items(), ("everything", self.everything)]:
            record[name] = {
                "quantiles": self.quantiles(moments),
                "never": float(np.mean(np.isinf(moments))),
            }
        return {
            "draws": int(self.everything.size),
            "horizon": self.horizon,
            "criteria": record,
            "binding": self.binding(),
        }


def spread(question: Question, trend: Trend, draws: int, seed: int, horizon: int = HORIZON) -> Spread:
    """When each criterion holds in each draw of the trend's growth.

    Raises:
        HardwareError: if the trend states no range.
    """
    start = trend.start(question.device.released)
    grown = Grown(question, draw_doubling_years(trend, draws, seed))
    asked = criteria(grown)
    moments = {c.name: start + first_years(c.holds, draws, horizon - start)[1] for c in asked}
    return Spread(moments, horizon, {c.name: c.resource for c in asked}, start)
