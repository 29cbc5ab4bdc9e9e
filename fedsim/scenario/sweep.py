"""A sweep file: a scenario with a ``sweep`` block, and the points that it stands for.

    sweep:
      hardware.year: [2022, 2023, 2024]              # an axis: a key path and its values
      training.model: [wav2vec2-base, wav2vec2-large]
      zip:                                           # keys that change together are one axis
        fleet.mix[0].device: [raspberry-pi-4, raspberry-pi-5]
        fleet.mix[0].link: [ethernet, wifi]
      cases:                                         # named sets of changes are one axis, too
        as sold: {}
        mixed precision: {training.precision: mixed}
      figures: [end_s, energy_j]                     # what to draw, from summary.json

The points are the product of the axes; the last axis changes fastest. Everything that can be known
to be wrong is found here, before anything runs.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedsim import checks, paths, yamlfile
from fedsim.errors import ScenarioError
from fedsim.scenario import file_access, moved, override
from fedsim.scenario.file_access import FileAccess
from fedsim.scenario.load import build
from fedsim.scenario.model import Scenario
from fedsim.words import plain_name

FOLDER = "scenarios/sweeps"
MOST_POINTS = 20_000
CASE = "case"
_OWN = ("zip", "cases", "figures")


@dataclass(frozen=True)
class Step:
    """One place on an axis.

    Attributes:
        parameters: what the table says of it, by column.
        changes: what it changes in the scenario, by key path.
    """

    parameters: Mapping[str, Any]
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class Axis:
    """One axis: its columns in the table, and its places in order."""

    columns: tuple[str, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class Point:
    """One point of a sweep: its number from 0, its place on every axis, and its scenario."""

    number: int
    parameters: Mapping[str, Any]
    scenario: Scenario


@dataclass(frozen=True, eq=False)
class Sweep:
    """A checked sweep.

    Attributes:
        name: names the sweep's directory.
        data: the whole file with overrides applied, as it was read.
        folder: names of files are relative to it.
        axes: in the order of the file.
        figures: names of figures of ``summary.json`` to draw; empty for the usual ones.
        points: all of them, in order.
    """

    name: str
    data: Mapping[str, Any]
    folder: Path
    axes: tuple[Axis, ...]
    figures: tuple[str, ...]
    points: tuple[Point, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the parameters."""
        return tuple(column for axis in self.axes for column in axis.columns)


def load(
    name_or_path: str | Path, overrides: Iterable[str] = (), access: FileAccess = file_access.NOWHERE
) -> Sweep:
    """Load a sweep by path or by its name in ``scenarios/sweeps/``, and check every point.

    Args:
        name_or_path: ``my-sweep.yaml`` or ``years``.
        overrides: ``key.path=value`` texts for keys of the scenario that are no axis.
        access: what it may use beside the catalogue, its own folder, and what the overrides name.

    Raises:
        ScenarioError: if there is no such file or anything in it is wrong, in one sentence.
    """
    text = str(name_or_path)
    path = paths.find(text, FOLDER, ".yaml") or paths.find(text, "scenarios", ".yaml")
    if path is None:
        raise ScenarioError(checks.unknown(text, paths.names(FOLDER, ".yaml"), "sweep and not a file"))
    data = yamlfile.load(path, ScenarioError)
    said = []
    if isinstance(data, dict):
        for change in overrides:
            key, value = override.parse(change)
            key = moved.today(key)
            _refuse_axis(data, key)
            override.apply(data, key, value, str(path))
            said.append(override.plain(key))
    access = replace(access, said=(*access.said, *said))
    with file_access.as_said(access):
        return make(data, path, access)


def make(data: Any, file: Path, access: FileAccess = file_access.NOWHERE) -> Sweep:
    """Check sweep data that came from ``file``; ``access`` says which files it may use.

    Raises:
        ScenarioError: at the first thing that is wrong.
    """
    if not isinstance(data, dict) or "sweep" not in data:
        raise ScenarioError(
            "has no sweep block; add one, such as sweep: {hardware.year: [2022, 2023]}, "
            "or use fedsim run for a single scenario",
            file=file,
        )
    block = data["sweep"]
    if not isinstance(block, dict):
        raise ScenarioError("is not a block of key paths and lists of values", file=file, key="sweep")
    axes = _axes(block, file)
    if not axes:
        raise ScenarioError(
            "has no axis; give a key path and its values, such as hardware.year: [2022, 2023]",
            file=file,
            key="sweep",
        )
    count = math.prod(len(axis.steps) for axis in axes)
    if count > MOST_POINTS:
        raise ScenarioError(f"has {count:,} points; {MOST_POINTS:,} are possible", file=file, key="sweep")
    moved.rename(data, file)
    base = {
        "name": plain_name(file.stem, "sweep"),
        **{key: value for key, value in data.items() if key != "sweep"},
    }
    points = _points(base, axes, file, access)
    return Sweep(
        name=points[0].scenario.name,
        data={**base, "sweep": block},
        folder=file.parent,
        axes=tuple(axes),
        figures=_figures(block, file),
        points=points,
    )


def _refuse_axis(data: dict[str, Any], key: str) -> None:
    """Refuse an override that an axis would override, or that is part of the sweep block."""
    block = data.get("sweep")
    plain = override.plain(key)
    if plain == "sweep" or plain.startswith("sweep."):
        raise ScenarioError(f"--set {key}: the sweep block can only be changed in the file")
    axes = block if isinstance(block, dict) else {}
    zipped = axes.get("zip")
    for name in (*axes, *(zipped if isinstance(zipped, dict) else ())):
        if name not in _OWN and override.plain(str(name)) == plain:
            raise ScenarioError(f"--set {key}: is an axis of the sweep, and would change nothing")


def _axes(block: Mapping[str, Any], file: Path) -> list[Axis]:
    axes: list[Axis] = []
    for key, values in block.items():
        if key == "zip":
            axes.append(_zip(values, file))
        elif key == "cases":
            axes.append(_cases(values, file))
        elif key != "figures":
            name = _path(key, file)
            steps = [Step({name: v}, {name: v}) for v in _values(values, file, f"sweep.{key}")]
            axes.append(Axis((name,), tuple(steps)))
    seen: set[str] = set()
    for column in (column for axis in axes for column in axis.columns):
        if column in seen:
            raise ScenarioError(f"{column!r} is on two axes; keep one", file=file, key="sweep")
        seen.add(column)
    return axes


def _path(key: str, file: Path) -> str:
    try:
        return override.plain(moved.today(key))
    except ScenarioError as error:
        raise ScenarioError(error.message, file=file, key="sweep") from None


def _values(values: Any, file: Path, key: str) -> list[Any]:
    if not isinstance(values, list):
        raise ScenarioError(f"{values!r} is not a list of values; write [{values!r}]", file=file, key=key)
    if not values:
        raise ScenarioError("is an empty axis; give at least one value", file=file, key=key)
    return values


def _zip(block: Any, file: Path) -> Axis:
    if not isinstance(block, dict) or not block:
        raise ScenarioError("is not a block of key paths and lists of values", file=file, key="sweep.zip")
    lists = {_path(key, file): _values(values, file, f"sweep.zip.{key}") for key, values in block.items()}
    sizes = {name: len(values) for name, values in lists.items()}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise ScenarioError(f"its lists must be of equal length: {found}", file=file, key="sweep.zip")
    rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    return Axis(tuple(lists), tuple(Step(row, row) for row in rows))


def _cases(block: Any, file: Path) -> Axis:
    if not isinstance(block, dict):
        raise ScenarioError("is not a block of names and what they change", file=file, key="sweep.cases")
    if not block:
        raise ScenarioError("is an empty axis; give at least one case", file=file, key="sweep.cases")
    steps = []
    for name, changes in block.items():
        if not isinstance(changes, dict):
            raise ScenarioError(
                f"{changes!r} is not a block of key paths and values", file=file, key=f"sweep.cases.{name}"
            )
        steps.append(Step({CASE: name}, {_path(key, file): value for key, value in changes.items()}))
    return Axis((CASE,), tuple(steps))


def _figures(block: Mapping[str, Any], file: Path) -> tuple[str, ...]:
    figures = block.get("figures", [])
    if not isinstance(figures, list) or not all(isinstance(name, str) for name in figures):
        raise ScenarioError("is not a list of names of figures", file=file, key="sweep.figures")
    return tuple(figures)


def _points(
    base: Mapping[str, Any], axes: Sequence[Axis], file: Path, access: FileAccess
) -> tuple[Point, ...]:
    points: list[Point] = []
    known: dict[str, int] = {}
    for number, steps in enumerate(itertools.product(*(axis.steps for axis in axes))):
        data = copy.deepcopy(dict(base))
        changed: set[str] = set()
        parameters: dict[str, Any] = {}
        for step in steps:
            parameters |= step.parameters
            for key, value in step.changes.items():
                if key in changed:
                    raise ScenarioError(f"{key!r} is changed by two axes", file=file, key="sweep")
                changed.add(key)
                override.apply(data, key, copy.deepcopy(value), str(file))
        try:
            scenario = build(data, file, access)
        except ScenarioError as error:
            where = f" at the point {said(parameters)}" if error.key not in parameters else ""
            raise ScenarioError(error.message + where, file=error.file or file, key=error.key) from None
        content = repr(replace(scenario, name="", description=""))
        if content in known:
            raise ScenarioError(
                f"the points {said(points[known[content]].parameters)} and {said(parameters)} are the same; "
                "keep one",
                file=file,
                key="sweep",
            )
        known[content] = number
        points.append(Point(number, parameters, scenario))
    return tuple(points)


def shown(value: Any) -> str:
    """A parameter's value on one line, as one would write it in YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shown(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def said(parameters: Mapping[str, Any]) -> str:
    """The place of a point in words: ``hardware.year=2022, training.model=wav2vec2-base``."""
    return ", ".join(f"{column}={shown(value)}" for column, value in parameters.items())
