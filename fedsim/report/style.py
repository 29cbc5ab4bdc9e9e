"""How pictures look: one palette, two themes, one frame; and how a picture becomes bytes.

Colours are Okabe and Ito's, made for every kind of colour vision ("Color Universal Design", 2008,
https://jfly.uni-koeln.de/color/); the dark theme shifts the two blues apart, the light one
darkens the yellow of lines and marks. Text is never parsed as
mathematics, so that a ``$`` in a name stays a ``$``. The same figure gives the same bytes.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from fedsim.outcomes import OUTCOMES

WIDTH_IN = 5.0
DPI = 180
_TITLE_CHARS = 56
#: How many colours there are for things of a kind.
SERIES = 8


@dataclass(frozen=True)
class Theme:
    """Colours of one appearance."""

    name: str
    paper: str
    ink: str
    soft: str
    grid: str
    blue: str
    sky: str
    yellow: str
    wait: str
    black: str
    outcome: MappingProxyType[str, str] = field(init=False)
    series: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        colours = ("#009E73", "#E69F00", "#D55E00", self.sky, "#F0E442", "#CC79A7", self.black)
        object.__setattr__(self, "outcome", MappingProxyType(dict(zip(OUTCOMES, colours, strict=True))))
        object.__setattr__(
            self,
            "series",
            (self.blue, "#E69F00", "#009E73", "#CC79A7", self.sky, "#D55E00", self.black, self.yellow),
        )

    @property
    def phase(self) -> dict[str, str]:
        """Colours of what a client does with its time."""
        return {
            "download": self.sky,
            "startup": "#CC79A7",
            "compute": self.blue,
            "upload": "#E69F00",
            "waiting": self.wait,
            "lost": "#D55E00",
        }


LIGHT = Theme(
    "light", "#ffffff", "#1b1f24", "#5a6470", "#e4e7eb", "#0072B2", "#56B4E9", "#b3a300", "#cfd5db", "#30363d"
)
DARK = Theme(
    "dark", "#161a20", "#e8eaed", "#9aa4b0", "#2c333c", "#2f86c1", "#a5dbf7", "#F0E442", "#4a535e", "#c3cad3"
)


@dataclass(frozen=True)
class Canvas:
    """A figure under construction: the frame, its theme, and how high its title is."""

    figure: Figure
    theme: Theme
    title_in: float

    def axes(self, rows: int = 1, **options: Any) -> list[Axes]:
        """One column of axes in the house style."""
        made = self.figure.subplots(rows, 1, squeeze=False, **options)[:, 0]
        for ax in made:
            plain(ax, self.theme)
        return list(made)


def balanced(title: str, most: int = _TITLE_CHARS) -> list[str]:
    """At most two lines of at most ``most`` characters, of about equal length."""
    lines = textwrap.wrap(title, most, max_lines=2, placeholder=" …")
    if len(lines) < 2 or lines[-1].endswith("…"):
        return lines
    narrow = next(w for w in range(len(title) // 2, most + 1) if len(textwrap.wrap(title, w)) <= 2)
    return textwrap.wrap(title, narrow)


@contextmanager
def canvas(theme: Theme, title: str, height_in: float) -> Iterator[Canvas]:
    """A frame of the report's width with a title that states the finding.

    Args:
        theme: its colours.
        title: a sentence, wrapped to two lines at most.
        height_in: height below the title.
    """
    lines = balanced(title)
    title_in = 0.16 + 0.205 * len(lines)
    total = height_in + title_in
    with mpl.rc_context({"text.parse_math": False, "axes.unicode_minus": True, "font.size": 9.0}):
        figure = Figure(figsize=(WIDTH_IN, total), dpi=DPI, facecolor=theme.paper)
        FigureCanvasAgg(figure)
        figure.set_layout_engine(
            "constrained", rect=(0.005, 0.01, 0.985, height_in / total - 0.01), h_pad=0.06, w_pad=0.06
        )
        figure.text(
            0.016, 1 - 0.09 / total, "\n".join(lines), color=theme.ink, size=10.5, weight="bold", va="top",
            linespacing=1.3,
        )  # fmt: skip
        yield Canvas(figure, theme, title_in)


def plain(ax: Axes, theme: Theme) -> None:
    """Strip axes to what carries meaning."""
    ax.set_facecolor(theme.paper)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(theme.grid)
    ax.tick_params(colors=theme.soft, labelcolor=theme.soft, labelsize=8.5, length=0)
    ax.xaxis.label.set_color(theme.soft)
    ax.yaxis.label.set_color(theme.soft)
    ax.grid(visible=True, axis="y", color=theme.grid, linewidth=0.7)
    ax.set_axisbelow(True)


def whole_numbers(ax: Axes, axis: str) -> None:
    """Ticks at whole numbers only, with thousands separated."""
    chosen = ax.xaxis if axis == "x" else ax.yaxis
    chosen.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def columns(labels: Sequence[str], room_in: float) -> int:
    """In how many columns a legend of ``labels`` fits into ``room_in`` inches, filled column by column."""
    widths = [(24 + 5.4 * len(label)) / 72 for label in labels]
    for number in range(len(labels), 1, -1):
        rows = -(-len(labels) // number)
        if sum(max(widths[at : at + rows]) for at in range(0, len(labels), rows)) <= room_in:
            return -(-len(labels) // rows)
    return 1


def _room_in(beside: Sequence[str]) -> float:
    return WIDTH_IN - 0.45 - 0.075 * max(map(len, beside))


def legend_in(labels: Sequence[str], beside: Sequence[str]) -> float:
    """Inches by which a figure should grow for a legend of ``labels`` of more than two rows."""
    rows = -(-len(labels) // columns(labels, _room_in(beside)))
    return 0.17 * max(0, rows - 2)


def legend(frame: Canvas, ax: Axes, beside: Sequence[str] = ("0000",)) -> None:
    """A legend above the axes, in as many columns as fit beside the labels ``beside`` of its y axis."""
    handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return
    ax.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns(labels, _room_in(beside)),
        frameon=False, borderaxespad=0.2, borderpad=0.1, handlelength=1.1, handleheight=0.9,
        columnspacing=1.2, handletextpad=0.5, fontsize=8.5, labelcolor=frame.theme.ink,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Rendered:
    """A drawn picture.

    Attributes:
        pixels: uint8 of shape [height, width, 3], title included.
        title_px: how many rows the title takes.
    """

    pixels: NDArray[np.uint8]
    title_px: int

    @cached_property
    def whole(self) -> bytes:
        """The picture with its title, as PNG."""
        return _png(self.pixels)

    @cached_property
    def body(self) -> bytes:
        """The picture without its title, as PNG."""
        return _png(self.pixels[self.title_px :])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height without the title, in pixels."""
        return int(self.pixels.shape[0]) - self.title_px


def render(frame: Canvas) -> Rendered:
    """Draw a figure into pixels; the same figure gives the same ones."""
    target = frame.figure.canvas
    assert isinstance(target, FigureCanvasAgg)
    with mpl.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        target.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(target.buffer_rgba())  # type: ignore[no-untyped-call]
    pixels = pixels[:, :, :3]
    return Rendered(pixels.copy(), round((frame.title_in - 0.06) * DPI))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """A small PNG of at most 256 colours, of which the paper's is exact."""
    stream = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels)).quantize(
        colors=256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
    )
    palette = image.getpalette() or []
    paper = 3 * int(np.asarray(image)[0, 0])
    palette[paper : paper + 3] = [int(part) for part in pixels[0, 0]]
    image.putpalette(palette)
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()
