"""The end of a run in the terminal: the answer, devices, outcomes, and where the report is.

Plain text when piped; nothing of a run is read as markup. Reads well from 80 columns on.
"""

from __future__ import annotations

import io
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fedsim.errors import one_line
from fedsim.outcomes import OUTCOMES
from fedsim.report import words
from fedsim.report.digest import Digest
from fedsim.report.text import count, duration, name, share

_STYLES = {
    "completed": "green",
    "late": "yellow",
    "oom": "red",
    "offline": "cyan",
    "battery": "yellow",
    "rejected": "magenta",
    "failed": "magenta",
}
_BAR = 30


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column(headings[0], overflow="ellipsis", no_wrap=True, min_width=16)
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _devices(digest: Digest) -> Table:
    table = _table("device", "dispatched", "completed", "compute", "transfers", "energy")
    for device, row in zip(digest.devices, words.device_rows(digest), strict=True):
        entry = digest.summary["devices"][device]
        transfers = [entry["mean_download_s"], entry["mean_upload_s"]]
        table.add_row(
            Text(name(row.device, 24)),
            row.client_rounds,
            row.completed,
            row.compute,
            duration(None if None in transfers else sum(transfers)),
            row.energy,
        )
    return table


def _outcomes(digest: Digest) -> Table:
    table = _table("outcome", "client-rounds", "share")
    table.add_column("", no_wrap=True)
    total, counts = digest.summary["client_rounds"], digest.summary["outcomes"]
    for word in OUTCOMES:
        if counts[word]:
            part = counts[word] / total
            bar = Text("█" * max(1, round(_BAR * part)), style=_STYLES[word])
            table.add_row(Text(words.OUTCOME_WORDS[word]), count(counts[word]), share(part), bar)
    return table


def summary(digest: Digest, report: Path | None = None) -> Group:
    """What to print at the end of a run.

    Args:
        digest: the run.
        report: path of ``report.html``, if there is one.
    """
    answer = words.answer(digest)
    parts: list[RenderableType] = [
        Text(name(digest.name, 60), style="bold cyan"),
        Text(answer[0], style="bold"),
        *(Text(one_line(sentence)) for sentence in answer[1:]),
    ]
    if digest.summary["client_rounds"]:
        parts += [_devices(digest), _outcomes(digest)]
    if report is not None:
        parts.append(Text.assemble(("Report: ", "bold"), str(report), overflow="fold"))
    return Group(*parts)


def show(digest: Digest, report: Path | None = None, console: Console | None = None) -> None:
    """Print the summary of a run and where its page lies."""
    put(summary(digest, report), console)


def put(shown: RenderableType, console: Console | None = None) -> None:
    """Print something; to a terminal that knows no UTF-8, with ``?`` for what it cannot show."""
    target = console if console is not None else Console(highlight=False)
    if target.encoding.lower().startswith("utf"):
        target.print(shown)
        return
    plain = io.StringIO()
    Console(file=plain, width=target.width, highlight=False).print(shown)
    text = plain.getvalue().replace("█", "#").replace("─", "-").replace("–", "-").replace("…", ".")
    target.file.write(text.encode(target.encoding, "replace").decode(target.encoding))
