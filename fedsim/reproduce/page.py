"""The reproduction page: every figure of the paper beside ours, with the pictures that lie beside the page.

Comments belong to the figures and stand in the modules that compute them. Figure 5 takes hours of
real training: its orders are read from ``results/fig5-orders.csv`` beside the page, where
``analysis/fig5.py`` writes them.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from fedsim.errors import InputError
from fedsim.reproduce.figure import Figure

#: Artifact, heading, what the paper shows there, and the picture of ours.
_SECTIONS = (
    ("figure1", "Figure 1", "What self-supervision and federation cost in time.", "fig1.png"),
    ("table1", "Table 1", "Parameters and inference FLOPs of one sentence of 5.5 s, by module.", ""),
    ("figure2", "Figure 2", "Memory at the end of the forward pass, and which layers need it.", "fig2.png"),
    ("figure3", "Figure 3", "Memory and FLOPs grow linearly with the length of a sentence.", "fig3.png"),
    ("figure4", "Figure 4", "Mixed precision saves no significant amount of memory.", "fig4.png"),
    ("table2", "Table 2", "Seconds per batch on five devices, and what ran out of memory.", ""),
    ("section3.3", "Section 3.3", "Ratios, hours and days that the text draws from Table 2.", ""),
    ("section4.1", "Section 4.1", "When edge devices are as good as the A40.", "are-we-there-yet.png"),
)
_HEAD = (
    "| item | paper | ours | unit | error | how ours came about, and why it differs |",
    "| --- | ---: | ---: | --- | ---: | --- |",
)


def markdown(figures: Sequence[Figure], folder: Path) -> str:
    """The page.

    Args:
        figures: of all artifacts.
        folder: where the page lies, with ``pictures`` and ``results`` beside it; those missing are left out.

    Raises:
        InputError: if the results beside it are damaged.
    """
    lines = [
        "# The paper's figures beside ours",
        "",
        'Gao et al., "Federated Self-supervised Speech Representations: Are We There Yet?", Interspeech',
        "2022. Written by `fedsim reproduce --markdown`; do not edit. An error is (ours - paper) / paper.",
        "Where the paper states a shape or an order and no number, ours agrees or differs.",
        "",
        *_summary(figures),
    ]
    for artifact, heading, words, picture in _SECTIONS:
        mine = [figure for figure in figures if figure.artifact == artifact]
        lines += ["", f"## {heading}", "", words, *_picture(folder, picture, f"{heading}, ours")]
        lines += ["", *_HEAD, *map(_row, mine)]
    return "\n".join([*lines, *_figure5(folder), ""])


def _summary(figures: Sequence[Figure]) -> list[str]:
    errors = [abs(f.relative_error) for f in figures if f.relative_error is not None and f.unit != "year"]
    stated = [figure for figure in figures if figure.holds is not None]
    agree = sum(figure.holds is True for figure in stated)
    lines = [
        f"{len(errors)} numbers: half of them within {100 * median(errors):.1f}%, "
        f"{sum(error <= 0.05 for error in errors)} within 5%. "
        f"{len(stated)} statements and years: {agree} agree.",
        "",
        "What differs by more than 5%, or does not agree:",
        "",
    ]
    for artifact, heading, _, _ in _SECTIONS:
        items = [f"`{f.item}` {_error(f)}" for f in figures if f.artifact == artifact and f.differs]
        if items:
            lines.append(f"- {heading}: {', '.join(items)}")
    return lines


def _row(figure: Figure) -> str:
    why = f" **{figure.comment}**" if figure.comment else ""
    cells = (
        f"`{figure.item}`",
        _number(figure.paper, figure.unit),
        _number(figure.ours, figure.unit),
        figure.unit,
        _error(figure),
        f"{figure.how.rstrip('.')}.{why}",
    )
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "year":
        return f"{value:.0f}" if value == round(value) else f"{value:.1f}"
    return "0" if abs(value) < 1e-6 else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _error(figure: Figure) -> str:
    error = figure.relative_error
    verdict = {True: "agrees", False: "differs", None: ""}[figure.holds]
    if error is None or figure.paper is None or figure.ours is None:
        return verdict
    if figure.unit == "year":
        years = figure.ours - figure.paper
        return " ".join(filter(None, (f"{years:+.1f} years" if years else "0 years", verdict)))
    percent = f"{100 * error:+.1f}%".replace("-0.0%", "0.0%").replace("+0.0%", "0.0%")
    return f"{percent} differs" if figure.holds is False else percent


def _picture(folder: Path, name: str, words: str) -> list[str]:
    there = name and (folder / "pictures" / name).is_file()
    return ["", f"![{words}](pictures/{name})"] if there else []


def _figure5(folder: Path) -> list[str]:
    """What federated pretraining is worth, as far as it was run."""
    lines = ["", "## Figure 5", "", "What federated pretraining is worth in word error rate."]
    lines += _picture(folder, "fig5.png", "Figure 5, ours")
    file = folder / "results" / "fig5-orders.csv"
    if not file.is_file():
        return [*lines, "", "Not run here: `python analysis/fig5.py` takes hours of real training."]
    try:
        with file.open(encoding="utf-8", newline="") as handle:
            rows = [_order(row) for row in csv.DictReader(handle)]
    except (OSError, KeyError, ValueError):
        raise InputError("is damaged; python analysis/fig5.py writes it again", file=file) from None
    return [
        *lines,
        "",
        "The paper trains wav2vec 2.0 base on 195,000 recordings; ours is a small stand-in on little "
        "synthetic speech, so orders can be compared and error rates cannot. How it was run, and what that "
        "leaves open: [analysis](README.md#does-federated-pretraining-help). A claim holds if the interval "
        "of the difference lies below 0.",
        "",
        "| claim | the better | than | difference in WER, points | interval | does it hold? |",
        "| --- | --- | --- | ---: | --- | --- |",
        *rows,
    ]


def _order(row: dict[str, str]) -> str:
    difference, low, high = (100 * float(row[key]) for key in ("wer_difference", "low", "high"))
    cells = (
        row["claim"], row["better"], row["worse"], f"{difference:+.1f}",
        f"{low:+.1f} to {high:+.1f}", row["holds"],
    )  # fmt: skip
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
