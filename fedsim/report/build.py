"""Making a run's report: figures, page and timeline, from the run directory alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fedsim.errors import refused
from fedsim.files import remove_temporary, write_bytes, write_text
from fedsim.report import page, timeline
from fedsim.report.digest import Digest, digest
from fedsim.report.figures import CHARTS
from fedsim.report.figures.chart import Chart, Subject
from fedsim.report.page import Picture
from fedsim.report.style import DARK, LIGHT, render
from fedsim.results.reading import load


@dataclass(frozen=True)
class Report:
    """What was made.

    Attributes:
        digest: what it was made from.
        html: the page.
        timeline: the trace for Perfetto.
        figures: the pictures, in the order of the page.
    """

    digest: Digest
    html: Path
    timeline: Path
    figures: list[Path]


def write(run_dir: str | Path, out: str | Path | None = None) -> Report:
    """Make ``figures/*.png``, ``report.html`` and ``timeline.json`` of a run, finished or not.

    Args:
        run_dir: the run directory.
        out: where to put them; the run directory itself if not given.

    Raises:
        RunError: if the run directory is damaged or is none.
        FedsimError: if the disk refuses.
    """
    found = digest(load(run_dir))
    where = Path(run_dir if out is None else out)
    try:
        pictures, paths = draw(CHARTS, found, where / "figures")
        remove_temporary(where, shared=True)
        write_text(where / "report.html", page.html(found, pictures))
        timeline.write(found, where / "timeline.json")
    except OSError as fault:
        raise refused(where, fault) from None
    return Report(found, where / "report.html", where / "timeline.json", paths)


def draw(
    charts: Iterable[Chart[Subject]], subject: Subject, folder: Path
) -> tuple[list[Picture], list[Path]]:
    """Draw what there is data for: for a page in both themes, and into ``folder`` as PNG.

    Raises:
        OSError: if the disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_temporary(folder, shared=True)
    pictures, paths = [], []
    for chart in charts:
        path = folder / f"{chart.name}.png"
        if not chart.ready(subject):
            path.unlink(missing_ok=True)
            continue
        light, dark = (render(chart.draw(subject, theme)) for theme in (LIGHT, DARK))
        write_bytes(path, light.whole)
        title, caption, live = chart.title(subject), chart.caption(subject), chart.live(subject)
        pictures.append(Picture(chart.name, chart.heading, title, caption, light, dark, live))
        paths.append(path)
    return pictures, paths
