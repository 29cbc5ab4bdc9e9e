"""``fedsim reproduce``: the paper's figures beside ours."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(name="reproduce", short_help="Hold fedsim against every figure of the paper.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Also write the list to this file."
)
def command(json_file: Path | None) -> None:
    """Compute the figures of the paper again and print both with the relative error."""
    from rich.console import Console
    from rich.table import Table

    from fedsim.errors import FedsimError
    from fedsim.reproduce import figures

    found = figures()
    if json_file is not None:
        try:
            json_file.write_text(json.dumps([figure.as_dict() for figure in found], indent=1) + "\n")
        except OSError as fault:
            raise FedsimError(f"{json_file}: cannot be written: {fault.strerror}") from None
    table = Table(title="The paper's figures and ours", title_justify="left")
    for heading, justify in (("item", "left"), ("paper", "right"), ("ours", "right"), ("unit", "left")):
        table.add_column(heading, justify="right" if justify == "right" else "left")
    table.add_column("error", justify="right")
    artifact = ""
    for figure in found:
        if figure.artifact != artifact:
            artifact = figure.artifact
            table.add_section()
        error = figure.relative_error
        verdict = "" if error is None else f"{100 * error:+.2f}%"
        if figure.holds is not None and (error is None or not figure.holds):
            verdict += " holds" if figure.holds else " differs"
        table.add_row(
            f"{figure.artifact}  {figure.item}",
            "" if figure.paper is None else f"{figure.paper:g}",
            "" if figure.ours is None else f"{figure.ours:.4g}",
            figure.unit,
            verdict.strip(),
        )
    Console().print(table)
