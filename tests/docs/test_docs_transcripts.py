"""The guide's tables of words and of rows, each line as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fedsim.errors import CorpusError
from fedsim.tasks.speech.corpus import CommonVoice, Manifest, common_voice, manifest
from fedsim.tasks.speech.text import SYMBOLS, has_figures, normalise

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "learning.md"
SECTION = GUIDE.read_text(encoding="utf-8").split("## Text of transcripts")[1].split("\n## ")[0]


def lines(heading: str) -> list[list[str]]:
    """The cells of the table of the section that has that heading."""
    table = SECTION.split(f"{heading} |\n")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[1:]]


@pytest.mark.parametrize(("written", "words", "why"), lines("| as it is written | its words | why"))
def test_words_are_as_the_guide_says(written: str, words: str, why: str) -> None:
    text, language = re.fullmatch("`(.*?)`(?:, language `(.*)`)?", written).groups()
    assert why
    assert normalise(text, language or "") == words.strip("`")


def test_the_symbols_that_stay_are_those_of_the_guide() -> None:
    told = re.search("currencies and `(.*)`", SECTION)[1]
    wide = str.maketrans("％＆＠＃＋", "%&@#+")  # the same in the width of East Asian letters
    assert set(told) == set(SYMBOLS.removeprefix(r"\p{Sc}").translate(wide))
    assert all(has_figures(symbol) for symbol in told + "€$₹")


ROWS = {  # line of the guide: rows that are such, of a manifest and of Common Voice
    "more or fewer cells": (["a.wav,b", "a.wav,b,c,,"], ["b\ta.wav", "b\ta.wav\tc\td"]),
    "manifest: no path": ([",b,c,"], []),
    "manifest: no speaker": (["a.wav,,c,", "a.wav, ,c,"], []),
    "manifest: a split": (["a.wav,b,c,dev"], []),
    "Common Voice: no client_id": ([], ["\ta.wav\tc", "  \ta.wav\tc"]),
    "Common Voice: no path": ([], ["b\t\tc", "b\t../a.wav\tc", "b\t/a.wav\tc"]),
    "no text": (["a.wav,b,,"], ["b\ta.wav\t"]),
    "a bare": ([], ['b\ta.wav\t"c']),
    "a quotation mark": (['a.wav,b,"c"d,', 'a.wav,b,"c,'], []),
    "a path that leads out": (["../a.wav,b,c,", "/a.wav,b,c,"], []),
}


def read(folder: Path, list_of_them: int, rows: list[str], header: str | None = None):
    """What a manifest (0) or a Common Voice folder (1) with these rows is read as."""
    (folder / "clips").mkdir(exist_ok=True)
    if list_of_them == 0:
        file = folder / "list.csv"
        file.write_text("\n".join([header or "path,speaker,text,split", *rows]) + "\n", encoding="utf-8")
        return manifest.read(file, Manifest(path=str(file)))
    text = "\n".join([header or "client_id\tpath\tsentence", *rows]) + "\n"
    (folder / "validated.tsv").write_text(text, encoding="utf-8")
    return common_voice.read(folder, CommonVoice(path=str(folder)))


@pytest.mark.parametrize(("row", "result"), lines("| row | what becomes of it"))
def test_rows_become_what_the_guide_says(tmp_path: Path, row: str, result: str) -> None:
    if row == "a column missing, or named twice":
        for which, header in enumerate(("path,text", "client_id\tsentence")):
            with pytest.raises(CorpusError, match="lacks the column"):
                read(tmp_path, which, [], header)
        for which, header in enumerate(("path,speaker,text,text", "client_id\tpath\tsentence\tpath")):
            with pytest.raises(CorpusError, match="names a column twice"):
                read(tmp_path, which, [], header)
        return
    (found,) = [rows for start, rows in ROWS.items() if row.startswith(start)]
    good = (["a.wav,b,c,"] * 9, ["b\ta.wav\tc"] * 9)
    for which, bad in enumerate(found):
        for one in bad:
            if result.startswith("an error"):
                with pytest.raises(CorpusError, match="line 11"):
                    read(tmp_path, which, [*good[which], one])
                continue
            got = read(tmp_path, which, [*good[which], one])
            if result.startswith("used"):
                assert (len(got.recordings), got.skipped) == (10, [])
                continue
            said = result.strip('"')
            ((where, why),) = got.skipped
            assert (len(got.recordings), where) == (9, f"line 11 of {('list.csv', 'validated.tsv')[which]}")
            assert why.startswith(said)
            with pytest.raises(CorpusError, match=r"line 10: .*1 of 9 rows cannot be used, at most 10%"):
                read(tmp_path, which, [*good[which][:8], one])
