"""When each run reached what: time, rounds, energy and bytes to a target.

A run reaches a target with the first evaluation that is at least as good; nothing is interpolated,
because a model exists only where it was evaluated. What it took is what the rounds up to and
including that one took. A target that nobody chose is the best value that every run reaches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedsim.errors import InputError
from fedsim.report.compare.gather import Entry, best_split
from fedsim.report.text import figure, listed, share
from fedsim.results.intervals import Interval
from fedsim.results.metrics import KNOWN, definitions, goals
from fedsim.tasks.base import Metric
from fedsim.words import count, plural

COUNTED = ("rounds", "updates")
#: Metrics that are shares, and shown in percent.
SHARES = frozenset(name for name, metric in KNOWN.items() if metric.unit == "share")
WORDS = {name: metric.meaning for name, metric in KNOWN.items()}


@dataclass(frozen=True)
class Target:
    """What a run is to reach.

    Attributes:
        curve: name of the curve, such as ``validation.loss`` or ``updates``.
        value: what it is to reach.
        chosen: whether somebody asked for it.
        definition: of its metric, where a run's task gives one.
    """

    curve: str
    value: float
    chosen: bool
    definition: Metric | None = None

    @property
    def metric(self) -> str:
        """The metric without its split."""
        return self.curve.rpartition(".")[2]

    @property
    def grows(self) -> bool:
        """Whether larger is better."""
        metric = self.definition or KNOWN.get(self.metric)
        return self.curve in COUNTED or (metric is not None and metric.better == "higher")

    @property
    def shown(self) -> str:
        """The value in words."""
        if self.curve in COUNTED:
            return count(round(self.value))
        return share(self.value) if self.metric in SHARES else figure(self.value)

    @property
    def words(self) -> str:
        """The target in words: ``validation loss 2.85 or less``."""
        if self.curve == "rounds":
            return plural(round(self.value), "round")
        if self.curve == "updates":
            return plural(round(self.value), "completed update")
        return f"{subject(self.curve)} {self.shown} or {'more' if self.grows else 'less'}"


def subject(curve: str) -> str:
    """A curve in words: ``validation loss``, ``word error rate, test``."""
    if curve in COUNTED:
        return "rounds closed" if curve == "rounds" else "completed updates"
    split, _, metric = curve.partition(".")
    words = WORDS.get(metric, metric.replace("_", " "))
    return f"{words}, {split}," if metric in ("wer", "cer") else f"{split} {words}"


@dataclass(frozen=True)
class Reached:
    """What it took one run to reach a target.

    Attributes:
        run: the run's label.
        measured: whether the run has that curve.
        time_s, round, rounds: when; None if never. ``round`` is -1 for the initial model.
        energy_j, bytes_moved, updates: what all rounds until then took and brought.
        best: the best value that the run ever has.
        best_s: when it has it first.
        interval: ``time_s`` under drawn speeds, the round being the same; None if none were drawn.
    """

    run: str
    measured: bool
    time_s: float | None = None
    round: int | None = None
    rounds: int | None = None
    energy_j: float | None = None
    bytes_moved: float | None = None
    updates: int | None = None
    best: float | None = None
    best_s: float | None = None
    interval: dict[str, Interval] | None = None


def reach(entry: Entry, target: Target) -> Reached:
    """When a run reached a target, and at what cost."""
    series = entry.curves.get(target.curve)
    if series is None or not series.value.size:
        return Reached(entry.label, measured=False)
    sign = -1.0 if target.grows else 1.0
    best = int(np.argmin(sign * series.value))
    top, top_s = float(series.value[best]), float(series.time_s[best])
    good = np.flatnonzero(sign * series.value <= sign * target.value)
    if not good.size:
        return Reached(entry.label, measured=True, best=top, best_s=top_s)
    at = int(good[0])
    index = int(series.round[at])
    return Reached(
        entry.label,
        measured=True,
        time_s=float(series.time_s[at]),
        round=index,
        rounds=int((entry.rounds["round"] <= index).sum()),
        energy_j=entry.until("energy_j", index),
        bytes_moved=entry.until("downloaded_bytes", index) + entry.until("uploaded_bytes", index),
        updates=round(entry.until("completed", index)),
        best=top,
        best_s=top_s,
        interval=None if (closes := entry.closes(index)) is None else {"time_s": closes},
    )


def judged(entries: Sequence[Entry]) -> list[str]:
    """The metrics that runs are compared by: loss, and by what else their models are judged."""
    return list(dict.fromkeys(["loss", *(m.name for entry in entries for m in goals(entry.run.manifest))]))


def usual(entries: Sequence[Entry]) -> list[Target]:
    """The targets that nobody has to choose: the best value that every run reaches, of what all have."""
    curves = [best_split(entries, metric) for metric in judged(entries)]
    found = [curve for curve in curves if curve and all(curve in entry.curves for entry in entries)]
    found += ["updates"] if found else ["updates", "rounds"]
    made = []
    for curve in found:
        values = [entry.curves[curve].value for entry in entries]
        grows = Target(curve, 0.0, False, definition_of(curve, entries)).grows
        value = min(float(v.max()) for v in values) if grows else max(float(v.min()) for v in values)
        if value > 0 or curve not in COUNTED:
            made.append(Target(curve, value, False, definition_of(curve, entries)))
    return made


def parse(text: str, entries: Sequence[Entry]) -> Target:
    """A target as typed: ``loss=2.9``, ``test.wer=45%``, ``updates=500``.

    Raises:
        InputError: if it says nothing that at least two of the runs have.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key:
        raise InputError(f"--target {text!r} is no target; give METRIC=VALUE, such as loss=2.9 or rounds=20")
    curve = key if "." in key or key in COUNTED else best_split(entries, key)
    having = sum(curve in entry.curves for entry in entries)
    if curve is None or having < 2:
        offered = sorted({one for entry in entries for one in entry.curves if _shared(one, entries)})
        who = "one of these runs only" if having else "none of these runs"
        raise InputError(f"--target {text}: {who} has {key!r}; two or more have {listed(offered, most=12)}")
    made = Target(curve, _number(value, text, curve), True, definition_of(curve, entries))
    if curve in COUNTED and (made.value < 1 or made.value != round(made.value)):
        raise InputError(f"--target {text}: give a whole number of {key}, at least 1")
    return made


def definition_of(curve: str, entries: Sequence[Entry]) -> Metric | None:
    """What the metric of a curve means, by the first run whose task says so."""
    name = curve.rpartition(".")[2]
    said = (definitions(entry.run.manifest).get(name) for entry in entries)
    return next((metric for metric in said if metric is not None), None)


def _shared(curve: str, entries: Sequence[Entry]) -> bool:
    return sum(curve in entry.curves for entry in entries) > 1


def _number(value: str, text: str, curve: str) -> float:
    percent = value.endswith("%") and curve.rpartition(".")[2] in SHARES
    try:
        number = float(value[:-1]) / 100 if percent else float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"--target {text}: {value!r} is no number; give one such as 2.9, or 45% for a share")
    return number
