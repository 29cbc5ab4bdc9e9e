"""The end of a run in the terminal: the answer, devices, outcomes, and where the report is.

Plain text when piped; nothing of a run is read as markup.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.text import Text

from fedsim.errors import one_line
from fedsim.outcomes import OUTCOMES
from fedsim.printing import Column, Table, put
from fedsim.report import words
from fedsim.report.digest import Digest
from fedsim.report.text import duration, name, share
from fedsim.words import count

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


def _devices(digest: Digest) -> Table:
    starts = any(digest.summary["devices"][device]["startup_s"] for device in digest.devices)
    table = Table(
        Column("device", words=True),
        Column("dispatched", spare=2),
        "completed",
        *([Column("startup", spare=3)] if starts else []),
        "compute",
        Column("transfers", spare=1),
        "energy",
    )
    for device, row in zip(digest.devices, words.device_rows(digest), strict=True):
        entry = digest.summary["devices"][device]
        transfers = [entry["mean_download_s"], entry["mean_upload_s"]]
        table.row(
            name(row.device, 64),
            row.client_rounds,
            row.completed,
            *([row.startup] if starts else []),
            row.compute,
            duration(None if None in transfers else sum(transfers)),
            row.energy,
        )
    return table


def _outcomes(digest: Digest) -> Table:
    table = Table(
        Column("outcome", words=True), Column("client-rounds", spare=1), "share", Column(bar=True, spare=2)
    )
    total, counts = digest.summary["client_rounds"], digest.summary["outcomes"]
    for word in OUTCOMES:
        if counts[word]:
            part = counts[word] / total
            bar = Text("█" * max(1, round(_BAR * part)), style=_STYLES[word])
            table.row(words.OUTCOME_WORDS[word], count(counts[word]), share(part), bar)
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
        parts += ["", _devices(digest), "", _outcomes(digest), ""]
    if report is not None:
        parts.append(Text.assemble(("Report: ", "bold"), str(report), overflow="fold"))
    return Group(*parts)


def show(digest: Digest, report: Path | None = None, console: Console | None = None) -> None:
    """Print the summary of a run and where its page lies."""
    put(summary(digest, report), to=console)
