"""``fedsim reproduce``: the paper's figures beside ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedsim.errors import FedsimError, InputError

if TYPE_CHECKING:
    from fedsim.reproduce import Figure


@click.command(name="reproduce", short_help="Hold fedsim against every figure of the paper.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Also write the list to this file."
)
@click.option(
    "--markdown",
    "page",
    type=click.Path(path_type=Path),
    is_flag=False,
    flag_value="analysis/reproduction.md",
    help="Also write the page of all figures to this file [default: analysis/reproduction.md].",
)
@click.option("--quiet", is_flag=True, help="Print nothing.")
def command(json_file: Path | None, page: Path | None, quiet: bool) -> None:
    """Compute the figures of the paper again and print both with the relative error.

    Where the paper states a shape, an order or that memory ran out, and no number, the last column
    says whether ours agrees.
    """
    from fedsim.printing import Column, Table, put
    from fedsim.reproduce import figures
    from fedsim.reproduce.page import markdown

    for file in filter(None, (json_file, page)):
        if not file.parent.is_dir():
            raise InputError(
                f"the folder {file.parent} does not exist; make it, or give another file", file=file
            )
    found = figures()
    if json_file is not None:
        _write(json_file, json.dumps([figure.as_dict() for figure in found], indent=1) + "\n")
    if page is not None:
        _write(page, markdown(found, page.parent))
    if quiet:
        return
    table = Table(
        Column("item", words=True), Column("paper", spare=1), "ours", Column("unit", words=True), "error"
    )
    artifact = ""
    for figure in found:
        if figure.artifact != artifact:
            artifact = figure.artifact
            table.heading(artifact)
        table.row(
            f"  {figure.item}",
            "" if figure.paper is None else f"{figure.paper:.5g}",
            "" if figure.ours is None else f"{figure.ours:.4g}" if abs(figure.ours) > 1e-6 else "0",
            figure.unit,
            _verdict(figure),
        )
    put(table)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as fault:
        raise FedsimError(f"{file}: cannot be written: {fault.strerror}") from None


def _verdict(figure: Figure) -> str:
    error = figure.relative_error
    if error is None:
        return "agrees" if figure.holds else "differs"
    percent = f"{100 * error:+.2f}%" if abs(error) < 0.1 else f"{100 * error:+.1f}%"
    return percent + (" differs" if figure.holds is False else "")
