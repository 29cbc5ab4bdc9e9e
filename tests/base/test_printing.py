"""Tables in windows of every width: figures are whole or their column is named below the table."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

import fedsim
from fedsim.printing import UNLIMITED, Column, Table, console, put

FIGURES = ["4.95 s", "205 Wh", "2.52 min", "18.3 kWh", "1,234", "never"]
NAMES = ["jetson-agx-xavier-32gb", "a run with a long name of many words", "r1", "電話"]


def shown(table: Table, width: int = UNLIMITED) -> str:
    stream = io.StringIO()
    put(table, to=Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


def three_rows(*columns: Column | str) -> Table:
    table = Table(*columns)
    for row in (("a", "4.95 s", "205 Wh"), ("b", "2.52 min", "18.3 kWh"), ("c", "1.2 h", "7 J")):
        table.row(*row)
    return table


def test_what_is_wide_enough_stands_side_by_side():
    assert shown(three_rows(Column("run", words=True), "time", "energy"), 23) == (
        "run      time    energy\na      4.95 s    205 Wh\nb    2.52 min  18.3 kWh\nc       1.2 h       7 J\n"
    )


def test_one_character_less_and_the_last_column_is_named_below():
    assert shown(three_rows(Column("run", words=True), "time", "energy"), 22) == (
        "run      time\na      4.95 s\nb    2.52 min\nc       1.2 h\nNot shown at this\nwidth: energy\n"
    )


def test_the_column_that_is_spared_first_need_not_be_the_last():
    text = shown(three_rows(Column("run", words=True), Column("time", spare=1, named="hours"), "energy"), 22)
    assert text.splitlines()[0] == "run    energy"
    assert "width: hours" in text


def test_headings_wrap_before_words_and_words_before_a_column_goes():
    table = Table(Column("what", words=True), "a long heading", "energy")
    table.row("one two three", "4.95 s", "205 Wh")
    assert shown(table, 37).splitlines() == [
        "what           a long heading  energy",
        "one two three          4.95 s  205 Wh",
    ]
    assert shown(table, 30).splitlines() == [
        "                a long",
        "what           heading  energy",
        "one two three   4.95 s  205 Wh",
    ]
    assert shown(table, 24).splitlines() == [
        "          a long",
        "what     heading  energy",
        "one two   4.95 s  205 Wh",
        "three",
    ]
    assert shown(table, 21).splitlines()[-1] == "width: energy"


@given(
    rows=st.lists(st.tuples(st.sampled_from(NAMES), *[st.sampled_from(FIGURES)] * 5), min_size=1, max_size=5),
    spare=st.lists(st.integers(0, 3), min_size=5, max_size=5),
    width=st.integers(24, 120),
)
def test_figures_are_whole_and_columns_are_there_or_named(rows, spare, width):
    headings = ["time", "of least", "rounds", "energy spent", "traffic"]
    table = Table(
        Column("run", words=True), *(Column(h, spare=s) for h, s in zip(headings, spare, strict=True))
    )
    for row in rows:
        table.row(*row)
    text = shown(table, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    body, _, below = text.partition("Not shown at this")
    gone = [word.strip() for word in " ".join(below.split()).removeprefix("width:").split(",")]
    for place, heading in enumerate(headings, 1):
        if heading not in gone:
            assert set(heading.split()) <= set(body.split())
            assert all(row[place] in body for row in rows)
    kept = [spare[place] for place, heading in enumerate(headings) if heading not in gone]
    assert all(spare[headings.index(heading)] >= max(kept) for heading in gone if heading)
    assert all(word in body for row in rows for word in re.split(r"[\s-]", row[0]))


def test_without_a_window_nothing_limits_the_width(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert console().width == UNLIMITED
    table = Table(Column("name", words=True), *[Column(f"a figure {n}") for n in range(40)])
    table.row("word " * 60, *["205 Wh"] * 40)
    put(table, "a sentence " * 40)
    heading, row, sentence = capsys.readouterr().out.splitlines()
    assert "a figure 39" in heading
    assert row.count("205 Wh") == 40
    assert sentence.count("a sentence") == 40


def test_strings_are_no_markup():
    table = Table(Column("[bold]run[/bold]", words=True), "time")
    table.row("[red]a", Text("1 s", style="red"))
    assert shown(table) == "[bold]run[/bold]  time\n[red]a             1 s\n"


@pytest.mark.parametrize("cells", [("a",), ("a", "b", "c")])
def test_a_row_has_a_cell_for_each_column(cells):
    with pytest.raises(ValueError, match="for 2 columns"):
        Table("a", "b").row(*cells)


def test_every_table_of_a_verb_is_made_here():
    """One convention: rich's own tables are made in one module."""
    makers = [
        path.name
        for path in Path(fedsim.__file__).parent.rglob("*.py")
        if re.search(r"rich(\.table)? import .*Table|rich\.table\.", path.read_text(encoding="utf-8"))
    ]
    assert makers == ["printing.py"]
