"""The answer to one question under one trend: a year for every criterion, and which one binds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedsim.feasible.criteria import PARITY, Criterion, Grown, criteria
from fedsim.feasible.crossing import first_years
from fedsim.feasible.question import Question
from fedsim.hardware import Trend
from fedsim.pricing.sizes import counted, is_speech, sizes_of
from fedsim.pricing.uncertainty import LEVEL
from fedsim.units import DAY_S

HORIZON = 2060


@dataclass(frozen=True)
class Finding:
    """When a criterion holds.

    Attributes:
        criterion: which.
        year: the first whole year, None if it does not hold up to the horizon.
        moment: the same to a fraction of a year; infinite if never.
        value_at_start: the criterion's value as sold (or in the trend's own first year).
        as_sold: whether it holds then already.
        years: the first whole years if the device is as fast and as slow as it may be.
        moments: the same to a fraction of a year.
    """

    criterion: Criterion
    year: int | None
    moment: float
    value_at_start: float
    as_sold: bool
    years: tuple[int | None, int | None]
    moments: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """As plain data, in SI units."""
        return {
            "year": self.year,
            "moment": self.moment if math.isfinite(self.moment) else None,
            "interval": {"year": _ends(self.years), "moment": _ends(self.moments)},
            "as_sold": self.as_sold,
            "resource": self.criterion.resource,
            "at_start": self.value_at_start,
            "limit": self.criterion.limit,
            "unit": self.criterion.unit,
        }


@dataclass(frozen=True)
class Answer:
    """When training becomes practical.

    Attributes:
        question: what was asked.
        trend: the growth assumed.
        start: the year from which the device grows.
        horizon: the last year looked at.
        findings: by criterion, in the order of ``criteria``.
    """

    question: Question
    trend: Trend
    start: int
    horizon: int
    findings: dict[str, Finding]

    @property
    def binding(self) -> Finding | None:
        """The criterion that holds last; None if all hold as sold."""
        last = max(self.findings.values(), key=lambda f: f.moment)
        return None if last.as_sold else last

    @property
    def year(self) -> int | None:
        """The first whole year in which everything holds; None if none up to the horizon."""
        return _last_year(self.findings.values())

    @property
    def moment(self) -> float:
        """The same to a fraction of a year; infinite if never."""
        return max(f.moment for f in self.findings.values())

    @property
    def years(self) -> tuple[int | None, int | None]:
        """The first whole years if the device is as fast and as slow as it may be."""
        low, high = ([finding.years[k] for finding in self.findings.values()] for k in range(2))
        return _latest(low), _latest(high)

    @property
    def parity(self) -> list[Finding]:
        """Speed and memory of the reference, if asked."""
        return [self.findings[name] for name in PARITY if name in self.findings]

    def at(self, year: int) -> dict[str, Any]:
        """The device of a year at work: bytes, seconds, joules and watts."""
        plain = self._at(year, 1.0)
        own, _ = self.question.spreads()
        fast, slow = self._at(year, 1.0 / own), self._at(year, own)
        plain["interval"] = {name: _ends((fast[name], slow[name])) for name in _IN_TIME}
        return plain

    def _at(self, year: int, slower: float) -> dict[str, Any]:
        grown = Grown(self.question, _arrays(self.trend), slower)
        years = np.array([float(year - self.start)])
        parts = {part: float(s[0]) for part, s in grown.parts_s(years).items()}
        return {
            "year": year,
            "memory_bytes": float(grown.memory_bytes(years)[0]),
            "needed_bytes": self.question.needed_bytes,
            "footprint_bytes": self.question.footprint_bytes,
            "step_s": sum(parts.values()),
            "step": parts,
            "round_s": float(grown.round_s(years)[0]),
            "procedure_days": float(grown.procedure_s(years)[0]) / DAY_S,
            "active_w": float(grown.active_w(years)[0]),
            "round_j": float(grown.round_j(years)[0]),
            "procedure_j": float(grown.procedure_j(years)[0]),
        }

    def as_dict(self) -> dict[str, Any]:
        """As plain data, in SI units."""
        question, binding = self.question, self.binding
        record: dict[str, Any] = {
            "device": question.device.name,
            "model": question.trace.name,
            **_sizes(question),
            "batch": question.batch,
            "technique": question.technique.as_dict(),
            "trend": self.trend.name,
            "start": self.start,
            "background_bytes": question.background.held_bytes,
            "background": question.background.profile,
            "steps_a_round": question.steps,
            "year": self.year,
            "moment": self.moment if math.isfinite(self.moment) else None,
            "interval": {"year": _ends(self.years)},
            "binds": None if binding is None else binding.criterion.resource,
            "binds_by": None if binding is None else binding.criterion.name,
            "criteria": {name: finding.as_dict() for name, finding in self.findings.items()},
        }
        if self.parity:
            last = max(self.parity, key=lambda f: f.moment)
            record["parity"] = {
                "year": _last_year(self.parity),
                "moment": last.moment if math.isfinite(last.moment) else None,
                "binds": None if last.as_sold else last.criterion.resource,
            }
        record["at_start"] = self.at(self.start)
        record["at_year"] = None if self.year is None else self.at(self.year)
        return record


def answer(question: Question, trend: Trend, horizon: int = HORIZON) -> Answer:
    """When each criterion of a question holds, by the trend's own doubling times.

    Args:
        question: the device, model, size, technique, and what is asked.
        trend: the growth to assume.
        horizon: the last year to look at.
    """
    start, growth = trend.start(question.device.released), _arrays(trend)
    own, beside = question.spreads()
    asked, fast, slow = (
        criteria(Grown(question, growth, own**power, beside**power)) for power in (0.0, -1.0, 1.0)
    )
    findings = {}
    for several in zip(asked, fast, slow, strict=True):
        criterion = several[0]
        when = [[float(x[0]) for x in first_years(one.holds, 1, horizon - start)] for one in several]
        years = [start + int(whole) if math.isfinite(whole) else None for whole, _ in when]
        moments = [start + moment for _, moment in when]
        findings[criterion.name] = Finding(
            criterion,
            years[0],
            moments[0],
            float(criterion.value(np.zeros(1))[0]),
            when[0][0] == 0.0,
            (years[1], years[2]),
            (moments[1], moments[2]),
        )
    return Answer(question, trend, start, horizon, findings)


def earliest(answers: Iterable[Answer]) -> Answer:
    """The answer that comes first; of equal ones the one with the fastest steps as sold that fits then."""

    def order(found: Answer) -> tuple[float, float]:
        return round(found.moment, 4), sum(found.question.parts_s.values())

    return min(answers, key=order)


def _sizes(question: Question) -> dict[str, Any]:
    """The average and the largest example: in seconds of speech, else by the name of the size."""
    if is_speech(question.trace):
        return {"seconds": question.size, "longest_seconds": question.longest}
    return {
        "sizes": sizes_of(question.trace, counted(question.trace, question.size)),
        "longest_sizes": sizes_of(question.trace, counted(question.trace, question.longest)),
    }


def _last_year(findings: Iterable[Finding]) -> int | None:
    return _latest([finding.year for finding in findings])


def _latest(years: Sequence[int | None]) -> int | None:
    """The last of some years; None if one of them never comes."""
    known = [year for year in years if year is not None]
    return max(known) if len(known) == len(years) else None


_IN_TIME = ("step_s", "round_s", "procedure_days", "round_j", "procedure_j")
"""What takes as much longer as a step does."""


def _ends(ends: tuple[float | None, float | None]) -> dict[str, float | None]:
    """Low and high end of an interval as plain data; None for what is not reached."""
    low, high = (None if end is None or not math.isfinite(end) else end for end in ends)
    return {"low": low, "high": high, "level": LEVEL}


def _arrays(trend: Trend) -> dict[str, Any]:
    return {figure: np.array([years]) for figure, years in trend.doubling_years.items()}
