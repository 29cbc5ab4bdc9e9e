"""A comparison in words and rows, ready to print: for the terminal and the page alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fedsim import yamlfile
from fedsim.outcomes import OUTCOMES
from fedsim.report.compare.differences import Difference
from fedsim.report.compare.gather import Entry, best_split
from fedsim.report.compare.targets import SHARES, WORDS, Reached, Target, judged
from fedsim.report.text import NONE, between, duration, energy, figure, in_words, listed, name, share, size
from fedsim.report.words import DONE, OUTCOME_WORDS
from fedsim.results.metrics import HEARD, heard
from fedsim.words import count, plural


@dataclass(frozen=True)
class Compared:
    """A whole comparison.

    Attributes:
        entries: the runs, in the order given.
        targets: each target, with what it took each run.
        differences: what the scenarios do not share.
    """

    entries: list[Entry]
    targets: list[tuple[Target, list[Reached]]]
    differences: list[Difference]


@dataclass(frozen=True)
class Table:
    """A table: its headings, the first of a label, and rows of as many cells."""

    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def times(value: float | None, least: float | None) -> str:
    """How many times the least: ``1.00x``, ``12.5x``."""
    if value is None or least is None or least <= 0:
        return NONE
    ratio = value / least
    return f"{ratio:.2f}x" if ratio < 9.995 else f"{ratio:.1f}x" if ratio < 99.95 else f"{ratio:,.0f}x"


def target_table(target: Target, found: Sequence[Reached]) -> Table:
    """What it took each run to reach a target, and how much that is against the least."""
    least_s = min((one.time_s for one in found if one.time_s is not None), default=None)
    least_j = min((one.energy_j for one in found if one.energy_j is not None), default=None)
    drawn = any(one.interval for one in found)
    rows: list[tuple[str, ...]] = []
    for one in found:
        within = [in_words(one.interval["time_s"], duration) if one.interval else NONE] if drawn else []
        if one.time_s is None:
            said = _never(target, one) if one.measured else "not measured"
            rows.append((one.run, said, NONE, *within, NONE, NONE, NONE, NONE))
            continue
        rows.append(
            (
                one.run,
                duration(one.time_s),
                times(one.time_s, least_s),
                *within,
                count(one.rounds or 0),
                energy(one.energy_j),
                times(one.energy_j, least_j),
                size(one.bytes_moved),
            )
        )
    headings = ("run", "time", "of least", *(["90%"] if drawn else []), "rounds", "energy", "of least")
    return Table((*headings, "traffic"), rows)


def _never(target: Target, one: Reached) -> str:
    assert one.best is not None
    best = replace(target, value=one.best, chosen=False).shown
    return f"never: {best} at best"


def finding(target: Target, found: Sequence[Reached]) -> str:
    """Who reaches a target first, and with least energy, in one sentence."""
    there = [one for one in found if one.time_s is not None]
    if not there:
        return f"No run reaches {target.words}"
    first = min(there, key=lambda one: one.time_s or 0.0)
    last = max(there, key=lambda one: one.time_s or 0.0)
    said = f"{first.run} is the first to reach {target.words}, after {duration(first.time_s)}"
    if first.time_s == last.time_s and len(there) > 1:
        said = f"All reach {target.words} after {duration(first.time_s)}"
    elif first.time_s and last.time_s:
        said += f"; {last.run} takes {times(last.time_s, first.time_s)} as long"
    thrifty = min(there, key=lambda one: one.energy_j or 0.0)
    most = max(there, key=lambda one: one.energy_j or 0.0)
    if thrifty.energy_j and most.energy_j and thrifty.energy_j < most.energy_j:
        said += f". {thrifty.run} spends least energy, {energy(thrifty.energy_j)}; {most.run} spends "
        said += f"{times(most.energy_j, thrifty.energy_j)} as much"
    never = [one.run for one in found if one.measured and one.time_s is None]
    return said + (f". {listed(never)} never {'does' if len(never) == 1 else 'do'}" if never else "")


def note(target: Target) -> str:
    """Where the target comes from, for a line below its table."""
    if target.chosen:
        return "A target of your choice."
    return f"The {'most' if target.curve in ('rounds', 'updates') else 'best value'} that every run reaches."


def overview(entries: Sequence[Entry]) -> list[Table]:
    """The runs side by side in three narrow tables: clock and learning; outcomes; energy and bytes."""
    curves = [curve for metric in judged(entries) if (curve := best_split(entries, metric))]
    found = [between(entry.run.summary, "end_s", duration) for entry in entries]
    within = [(said or NONE,) if any(found) else () for said in found]
    clock = [
        (e.label, duration(e.end_s), *said, count(e.rounds["round"].size), duration(_mean_s(e)))
        for e, said in zip(entries, within, strict=True)
    ]
    metrics = [curve.rpartition(".")[2] for curve in curves]
    ends = tuple(
        f"{'WER' if metric == 'wer' else WORDS.get(metric, metric)} at the end" for metric in metrics
    )
    learnt = [tuple(_last(entry, curve) for curve in curves) for entry in entries]
    seen = [word for word in OUTCOMES if word == "completed" or any(e.total(word) for e in entries)]
    outcomes = [
        (entry.label, count(entry.client_rounds), *(_share(entry, word) for word in seen))
        for entry in entries
    ]
    return [
        Table(
            ("run", "time", *(["90%"] if any(found) else []), "rounds", "a round", *ends),
            [a + b for a, b in zip(clock, learnt, strict=True)],
        ),
        Table(("run", "client-rounds", *(OUTCOME_WORDS[word] for word in seen)), outcomes),
        Table(("run", "energy", "wasted", "down", "up"), [_cost(entry) for entry in entries]),
    ]


def _mean_s(entry: Entry) -> float:
    return float((entry.rounds["end_s"] - entry.rounds["start_s"]).mean())


def _share(entry: Entry, outcome: str) -> str:
    return share(entry.total(outcome) / entry.client_rounds if entry.client_rounds else None)


def _cost(entry: Entry) -> tuple[str, ...]:
    spent = entry.total("energy_j")
    wasted = share(entry.total("wasted_j") / spent if spent else None)
    moved = (size(entry.total(f"{way}_bytes")) for way in ("downloaded", "uploaded"))
    return (entry.label, energy(spent), wasted, *moved)


def beside(parts: Sequence[Table]) -> Table:
    """Tables with the same labels as one wide one."""
    headings = (*parts[0].headings, *(heading for part in parts[1:] for heading in part.headings[1:]))
    rows = [
        (*first, *(cell for row in others for cell in row[1:]))
        for first, *others in zip(*(part.rows for part in parts), strict=True)
    ]
    return Table(headings, rows)


def _last(entry: Entry, curve: str) -> str:
    series = entry.curves.get(curve)
    if series is None:
        return NONE
    split, _, metric = curve.partition(".")
    shown = share if metric in SHARES else figure
    mark = HEARD if metric == "wer" and heard(entry.run.manifest, split) else ""
    return shown(float(series.value[-1])) + mark


def differences_table(compared: Compared, width: int = 60) -> Table:
    """Key paths, and the value of each run."""
    rows = [(d.key, *(_value(value, width) for value in d.values)) for d in compared.differences]
    return Table(("key", *(entry.label for entry in compared.entries)), rows)


def _value(value: Any, width: int) -> str:
    """A value as a scenario would say it, on one line."""
    if value is None:
        return NONE
    if isinstance(value, (dict, list)):
        return name(yamlfile.dump([value], flow=True).strip()[1:-1], width)
    return name(value, width)


def remarks(compared: Compared) -> list[str]:
    """What a reader should know before comparing."""
    said = []
    learning = [any(curve.endswith(".loss") for curve in entry.curves) for entry in compared.entries]
    without = [e.label for e, learns in zip(compared.entries, learning, strict=True) if not learns]
    if any(learning) and without:
        said.append(f"Nothing is learnt in {listed(without)}: only the clock is simulated.")
    for entry in compared.entries:
        ended = entry.run.summary.get("ended")
        if isinstance(ended, str) and ended not in (DONE, ""):
            closed = plural(entry.rounds["round"].size, "round")
            said.append(f"{entry.label} ended early, after {closed}: {name(ended, 120)}.")
    if not compared.differences:
        said.append("The scenarios are the same, but perhaps for their names.")
    return said


def headline(compared: Compared) -> str:
    """The answer in a sentence: the finding about the first target."""
    return finding(*compared.targets[0]) + "." if compared.targets else "No target was reached by all."
