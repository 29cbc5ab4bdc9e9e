"""Rows that cannot be used: skipped, counted and named with file and line; more than a tenth is an error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fedsim.errors import CorpusError
from fedsim.tasks.speech import corpus
from fedsim.tasks.speech.corpus import CommonVoice, Manifest, common_voice, manifest

HEADER = ("client_id", "path", "sentence", "locale")
GOOD = 9


def _sounds(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        wave = np.random.default_rng(number).normal(0, 0.1, 8_000)
        soundfile.write(folder / f"{number}.wav", wave, 16_000)


def _common_voice(folder: Path, **lists: Sequence[str]) -> CommonVoice:
    _sounds(folder / "clips", 12)
    for name, rows in lists.items():
        text = "\n".join(["\t".join(HEADER), *rows]) + "\n"
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")
    return CommonVoice(path=str(folder))


def _row(number: int, speaker: str | None = None, sentence: str = "ciao") -> str:
    return "\t".join((f"s{number}" if speaker is None else speaker, f"{number}.wav", sentence, "it"))


BROKEN = [
    (_row(9, sentence="prima\tseconda"), "has a different number of cells than the header: 5, not 4"),
    ("s9\t9.wav\tciao", "has a different number of cells than the header: 3, not 4"),
    (_row(9, speaker=""), "has an empty client_id"),
    (_row(9, speaker="  "), "has an empty client_id"),
    ("s9\t\tciao\tit", "has no file name as its path ('')"),
    ("s9\t../9.wav\tciao\tit", "has no file name as its path ('../9.wav')"),
]


@pytest.mark.parametrize(("row", "why"), BROKEN)
def test_a_broken_row_of_common_voice_is_skipped_and_named(tmp_path: Path, row: str, why: str) -> None:
    rows = [_row(number) for number in range(GOOD)]
    rows.insert(3, row)
    made = corpus.load(_common_voice(tmp_path / "cv", validated=rows))
    assert len(made) == GOOD
    assert made.skipped == (("line 5 of validated.tsv", why),)
    assert made.account()["skipped"] == 1
    assert made.account()["skipped_files"] == [f"line 5 of validated.tsv {why}"]
    assert any(f"line 5 of validated.tsv {why}" in sentence for sentence in made.summary())


def test_broken_rows_of_held_out_lists_are_named_too(tmp_path: Path) -> None:
    held_out = [_row(10, "d")] * 10
    lists = {"dev": [*held_out, "x"], "test": [_row(11, "t")] * 9 + ["y"]}
    spec = _common_voice(tmp_path / "cv", validated=[_row(0)], **lists)
    found = common_voice.read(tmp_path / "cv", spec)
    assert [row for row, _ in found.skipped] == ["line 12 of dev.tsv", "line 11 of test.tsv"]


@pytest.mark.parametrize(("row", "why"), BROKEN)
def test_more_than_a_tenth_of_broken_rows_is_an_error(tmp_path: Path, row: str, why: str) -> None:
    rows = [_row(number) for number in range(GOOD - 1)] + [row]  # one of nine
    spec = _common_voice(tmp_path / "cv", train=rows)
    with pytest.raises(CorpusError) as caught:
        corpus.load(spec)
    assert str(caught.value) == (
        f"{tmp_path / 'cv' / 'train.tsv'}: line 10: {why}; 1 of 9 rows cannot be used, at most 10% may be so"
    )


MANIFEST = [
    ("9.wav,anna,prima, seconda,", "has a different number of cells than the header: 5, not 4"),
    ("9.wav,anna,ciao", "has a different number of cells than the header: 3, not 4"),
    (",anna,ciao,", "has an empty path"),
    ("9.wav, ,ciao,", "has an empty speaker"),
    ("9.wav,anna,ciao,dev", "has split 'dev'; one of train, validation, test"),
]


@pytest.mark.parametrize(("row", "why"), MANIFEST)
@pytest.mark.parametrize("good", [8, 9])
def test_a_manifest_keeps_the_same_rules(tmp_path: Path, row: str, why: str, good: int) -> None:
    file = tmp_path / "m.csv"
    rows = [f"{number}.wav,s{number},ciao,train" for number in range(good)]
    file.write_text(
        "\n".join(["path,speaker,text,split", '0.wav,s0,"of\ntwo lines",', row, *rows[1:]]) + "\n"
    )
    if good == 8:
        with pytest.raises(CorpusError, match=rf"m\.csv: line 4: {why}; 1 of 9 rows cannot be used"):
            manifest.read(file, Manifest(path=str(file)))
        return
    found = manifest.read(file, Manifest(path=str(file)))
    assert [recording.name for recording in found.recordings] == [f"{n}.wav" for n in range(good)]
    assert found.skipped == [("line 4 of m.csv", why)]


@pytest.mark.parametrize(
    ("body", "line", "why"),
    [
        ('a.wav,anna,ciao\nb.wav,"anna"x,ciao\n', 3, "',' expected after '\"'"),
        ('a.wav,anna,ciao\n\nb.wav,anna,"ciao\nc.wav,anna,ciao\n', 4, "unexpected end of data"),
        (f"a.wav,anna,{'x' * 200_000}\n", 2, "field larger than field limit"),
    ],
)
def test_what_is_no_csv_is_told_with_the_line_where_its_row_begins(
    tmp_path: Path, body: str, line: int, why: str
) -> None:
    file = tmp_path / "m.csv"
    file.write_text(f"path,speaker,text\n{body}")
    with pytest.raises(CorpusError, match=rf"m\.csv: line {line}: begins a row that is not CSV: {why}"):
        manifest.read(file, Manifest(path=str(file)))


@pytest.mark.parametrize("empty", ["\t".join(HEADER) + "\n", "", None])
def test_an_empty_list_of_validated_clips_gives_way_to_that_of_training(
    tmp_path: Path, empty: str | None
) -> None:
    lists = {"train": [_row(n) for n in range(3)], "dev": [_row(3)], "test": [_row(4)]}
    spec = _common_voice(tmp_path / "cv", **lists)
    if empty is not None:
        (tmp_path / "cv" / "validated.tsv").write_text(empty)
    made = corpus.load(spec)
    assert [made.split.count(name) for name in ("train", "validation", "test")] == [3, 1, 1]


def test_no_training_recording_at_all_is_said_as_it_is(tmp_path: Path) -> None:
    spec = _common_voice(tmp_path / "cv", validated=[_row(3)], dev=[_row(3)], test=[_row(4)])
    with pytest.raises(CorpusError, match="has no training speech: of 2 recordings, none is for training"):
        corpus.load(spec)


def test_a_bare_quote_and_a_carriage_return_are_legal_in_common_voice(tmp_path: Path) -> None:
    rows = [_row(0, sentence='disse "ciao') + "\r", _row(1, sentence="uno\rdue"), "", _row(2)]
    found = common_voice.read(tmp_path / "cv", _common_voice(tmp_path / "cv", validated=rows))
    assert [recording.text for recording in found.recordings] == ['disse "ciao', "uno\rdue", "ciao"]
    assert found.skipped == []
