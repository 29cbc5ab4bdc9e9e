"""A comparison's page and pictures, in a folder of their own."""

from __future__ import annotations

from pathlib import Path

from fedsim.errors import FedsimError, RunError
from fedsim.files import write_text
from fedsim.report import build, page
from fedsim.report.compare import tables
from fedsim.report.compare.figures import CHARTS
from fedsim.report.compare.tables import Compared
from fedsim.report.page import Picture
from fedsim.report.text import listed, name
from fedsim.results.reading import is_run
from fedsim.version import __version__


def write(compared: Compared, out: str | Path) -> tuple[Path, list[Path]]:
    """Write ``compare.html`` and ``figures/*.png`` into a folder; their paths.

    Raises:
        RunError: if the folder is that of a run.
        FedsimError: if the disk refuses.
    """
    where = Path(out)
    if is_run(where):
        raise RunError("holds a run; give a folder of its own for the comparison", file=where)
    try:
        pictures, paths = build.draw(CHARTS, compared, where / "figures")
        write_text(where / "compare.html", html(compared, pictures))
    except OSError as fault:
        raise FedsimError(f"{where}: the page cannot be written: {fault.strerror or fault}") from None
    return where / "compare.html", paths


def html(compared: Compared, pictures: list[Picture]) -> str:
    """The page as text."""
    entries = compared.entries
    return page.filled(
        "compare.html",
        pictures,
        name=listed([name(entry.label, 40) for entry in entries], most=4),
        headline=tables.headline(compared),
        sentences=tables.remarks(compared),
        targets=[
            {
                "words": target.words[0].upper() + target.words[1:],
                "table": tables.target_table(target, found),
                "note": tables.note(target),
            }
            for target, found in compared.targets
        ],
        overview=tables.beside(tables.overview(entries)),
        differences=tables.differences_table(compared, 90),
        paths=[
            (entry.label, name(entry.run.path, 300))
            for entry in entries
            if str(entry.run.path) != entry.label
        ],
        version=__version__,
    )
