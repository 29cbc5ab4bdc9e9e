"""Pictures of a sweep: each chosen figure against the first axis, a line for each value of the second.

Further axes become panels, one below the other. Everything is read from the sweep's directory:
``sweep.parquet`` and ``sweep.yaml``. A hollow mark is a point whose figure means little: its rounds
ended early, or fewer than half of its client-rounds completed. A failed point leaves a gap. A broad
upright line is the interval of a figure that rests on devices nobody measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from fedsim import files, yamlfile
from fedsim.errors import RunError
from fedsim.outcomes import OUTCOMES
from fedsim.report.style import LIGHT, Canvas, Theme, canvas, legend, legend_in, render
from fedsim.report.text import energy_unit, name, size_unit, time_unit
from fedsim.report.words import DONE

USUAL = (
    "end_s",
    "outcomes.completed",
    "energy_j",
    "metrics.validation.loss.last",
    "metrics.test.wer.last",
)
MOST_PANELS, MOST_SERIES = 4, 8
_LOG_SPAN = 30.0
_MARKERS = "osD^vP*X"
_HOLLOW = "hollow: under half of client-rounds complete, or ended early"


@dataclass(frozen=True)
class Axis:
    """An axis of the sweep as a picture needs it.

    Attributes:
        label: what stands beside it.
        values: one a point, numbers or text.
        places: the values in order, each once.
    """

    label: str
    values: tuple[Any, ...]
    places: tuple[Any, ...]

    @property
    def is_number(self) -> bool:
        """Whether a distance on the axis means something."""
        return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in self.places)


@dataclass(frozen=True)
class Data:
    """What the pictures of a sweep are drawn from: its axes, and its rows by column."""

    axes: tuple[Axis, ...]
    columns: dict[str, list[Any]]
    meanings: dict[str, str]
    chosen: tuple[str, ...]

    @property
    def doubtful(self) -> list[bool]:
        """Whether each point ended early, or with fewer than half of its client-rounds completed."""
        none = [None] * len(self.columns["point"])
        ended, completed, total = (
            self.columns.get(name, none) for name in ("ended", "outcomes.completed", "client_rounds")
        )
        rows = zip(ended, completed, total, strict=True)
        return [e != DONE or not all_ or (c or 0) < 0.5 * all_ for e, c, all_ in rows]


def read(directory: Path) -> Data:
    """The data of a sweep's pictures.

    Raises:
        RunError: if the directory holds no finished sweep.
    """
    if directory.is_dir():
        files.refuse_links(directory, RunError, depth=1)
    try:
        table = pq.read_table(directory / "sweep.parquet")
    except FileNotFoundError:
        raise RunError("holds no finished sweep: it has no sweep.parquet", file=directory) from None
    except (OSError, pa.ArrowException, ValueError):
        raise RunError("is damaged: it is not a readable Parquet file", file=directory) from None
    file = directory / "sweep.yaml"
    asked = yamlfile.load(file, RunError)
    block = asked["sweep"] if isinstance(asked, dict) and isinstance(asked.get("sweep"), dict) else {}
    columns = table.to_pydict()
    if "point" not in columns:
        raise RunError("has no column 'point'", file=directory / "sweep.parquet")
    axes = []
    for key, held in block.items():
        if key == "figures" or not held:
            continue
        first = next(iter(held)) if isinstance(held, dict) else key
        column = "case" if key == "cases" else _column(str(first) if key == "zip" else key)
        if column not in columns:
            said = f"is an axis, and sweep.parquet has no column {column!r}"
            raise RunError(said, file=file, key=f"sweep.{key}")
        values = tuple(columns[column])
        axes.append(Axis(column, values, tuple(dict.fromkeys(values))))
    if not axes:
        raise RunError("has no axis", file=file, key="sweep")
    axes.sort(key=lambda axis: not axis.is_number)  # numbers make lines
    meanings = {
        field.name: (field.metadata or {}).get(b"meaning", b"").decode("utf-8", "replace")
        for field in table.schema
    }
    figures = block.get("figures") or USUAL
    chosen = [c for c in figures if isinstance(c, str)] if isinstance(figures, (list, tuple)) else []
    drawn = (c for c in chosen if c in columns and _is_figure(table.schema.field(c).type))
    return Data(tuple(axes), columns, meanings, tuple(drawn))


def _is_figure(kind: pa.DataType) -> bool:
    """Whether a column of that type can be drawn."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def _column(key: str) -> str:
    return re.sub(r"\.(\d+)(?=\.|\[|$)", r"[\1]", key)


def write(directory: Path) -> list[Path]:
    """Draw the pictures of a finished sweep into ``figures/`` of its directory; their paths.

    Raises:
        RunError: if the directory holds no finished sweep.
    """
    data = read(directory)
    folder = directory / "figures"
    folder.mkdir(exist_ok=True)
    files.remove_temporary(folder, shared=True)
    made = []
    for column in data.chosen:
        panels = _panels(data)
        for number in range(0, len(panels), MOST_PANELS):
            frame = draw(data, column, panels[number : number + MOST_PANELS], LIGHT)
            suffix = f"-{number // MOST_PANELS + 1}" if len(panels) > MOST_PANELS else ""
            path = folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', column)}{suffix}.png"
            files.write_bytes(path, render(frame).whole)
            made.append(path)
    return made


def _panels(data: Data) -> list[tuple[str, list[int]]]:
    """What each panel shows: its heading, and the points in it, in order."""
    rest = data.axes[2:]
    found: dict[tuple[Any, ...], list[int]] = {}
    for row in range(len(data.columns["point"])):
        found.setdefault(tuple(axis.values[row] for axis in rest), []).append(row)
    return [(", ".join(name(value, 40) for value in key), rows) for key, rows in found.items()]


def _scale(column: str, largest: float) -> tuple[float, str]:
    """Divisor and label of the figure's axis."""
    what = column.replace("_", " ").replace(".", " ")
    for end, choose in (("_s", time_unit), ("_bytes", size_unit), ("_j", energy_unit)):
        if column.endswith(end):
            divisor, unit = choose(largest)
            return divisor, f"{what.removesuffix(end.replace('_', ' '))} ({unit})"
    return 1.0, what


def draw(data: Data, column: str, panels: Sequence[tuple[str, list[int]]], theme: Theme) -> Canvas:
    """Draw one figure of a sweep."""
    values = np.array([np.nan if v is None else float(v) for v in data.columns[column]])
    ends = _ends(data, column)
    known = np.concatenate([values, *ends])
    known = known[np.isfinite(known)]
    divisor, label = _scale(column, float(np.abs(known).max()) if known.size else 1.0)
    x = data.axes[0]
    series = data.axes[1] if len(data.axes) > 1 else None
    labels = [name(place, 30) for place in series.places[:MOST_SERIES]] if series else []
    doubtful = np.array(data.doubtful)
    height = 2.5 * len(panels) + 0.5 + (legend_in(labels, ("0000",)) if labels else 0.0)
    log = known.size > 0 and known.min() > 0 and known.max() > _LOG_SPAN * known.min()
    with canvas(theme, _title(data, column), height) as frame:
        axes = frame.axes(len(panels), sharex=True)
        for ax, (heading, rows) in zip(axes, panels, strict=True):
            groups = [(place, [r for r in rows if series.values[r] == place]) for place in series.places] if (
                series
            ) else [("", rows)]  # fmt: skip
            for index, (_, mine) in enumerate(groups[:MOST_SERIES]):
                colour = theme.series[index % len(theme.series)]
                ax.vlines(_at(x, mine), *(ends[:, mine] / divisor), color=colour, alpha=0.35, lw=4)
                _line(ax, x, mine, values / divisor, doubtful, theme, index, labels[index] if labels else "")
            if log:
                ax.set_yscale("log")
                ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
                ax.yaxis.set_minor_formatter(NullFormatter())
                ax.tick_params(which="minor", length=0)
                ax.set_ylim(top=ax.get_ylim()[1] * (2.5 if heading else 1.0))
            elif known.size:
                low, high = min(0.0, float(known.min())) / divisor, float(known.max()) / divisor
                ax.set_ylim(
                    low - 0.03 * (high - low), high + (0.2 if heading else 0.05) * (high - low or 1.0)
                )
            ax.set_ylabel(label)
            if heading:
                ax.annotate(
                    heading,
                    (0.99, 0.97),
                    xycoords="axes fraction",
                    ha="right",
                    va="top",
                    size=9,
                    color=theme.ink,
                )
        _place_x(axes[-1], x, bool(doubtful.any()))
        if labels:
            legend(frame, axes[0])
        frame.figure.align_ylabels(axes)
        return frame


def _at(x: Axis, rows: list[int]) -> NDArray[np.float64]:
    """Where points stand along the bottom."""
    return np.array([x.values[r] if x.is_number else x.places.index(x.values[r]) for r in rows], dtype=float)


def _line(
    ax: Axes, x: Axis, rows: list[int], values: Any, doubtful: Any, theme: Theme, index: int, label: str
) -> None:
    """One series: filled marks joined by a line, hollow ones apart."""
    at = _at(x, rows)
    y, weak = values[rows], doubtful[rows]
    colour, marker = theme.series[index % len(theme.series)], _MARKERS[index % len(_MARKERS)]
    firm = np.where(weak, np.nan, y)
    style = "-" if x.is_number else "none"
    ax.plot(at, firm, ls=style, marker=marker, color=colour, ms=4.5, lw=1.4, label=label)
    ax.plot(at[weak], y[weak], ls="none", marker=marker, color=colour, mfc="none", ms=4.5)


def _ends(data: Data, column: str) -> NDArray[np.float64]:
    """float64[2, points]: the low and the high end of a figure's interval; NaN where it has none."""
    above, _, figure = column.rpartition(".")
    named = f"{above}.interval.{figure}" if above else f"interval.{figure}"
    none = [None] * len(data.columns["point"])
    ends = [data.columns.get(f"{named}.{end}", none) for end in ("low", "high")]
    return np.array([[np.nan if value is None else float(value) for value in of] for of in ends])


def _title(data: Data, column: str) -> str:
    """What the figure says, as it is defined."""
    last = column.rpartition(".")[2]
    title = data.meanings.get(column, "").rstrip(".") or column
    return f"{title}: {last}" if last in OUTCOMES else title


def _place_x(ax: Axes, x: Axis, hollow: bool) -> None:
    """Ticks and label of the axis below, and what a hollow mark means."""
    ax.set_xlabel(f"{x.label}\n{_HOLLOW}" if hollow else x.label)
    if not x.is_number:
        ax.set_xticks(range(len(x.places)), [name(place, 22) for place in x.places], rotation=25, ha="right")
    elif all(isinstance(place, int) for place in x.places) and len(x.places) <= 12:
        ax.set_xticks(list(x.places), [str(place) for place in x.places])
        for tick, place in zip(ax.get_xticklabels(), x.places, strict=True):
            tick.set_fontsize(8.0 if len(str(place)) * len(x.places) < 50 else 7.0)
