"""Manifests and Common Voice folders, on real sound files that the tests make."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from fedsim import checks
from fedsim.errors import CorpusError, ScenarioError
from fedsim.learning import Learning
from fedsim.tasks.speech import corpus
from fedsim.tasks.speech.corpus import CommonVoice, Manifest, common_voice, decode, listing

Row = Sequence[str]


def tone(
    file: Path, seconds: float = 0.6, rate: int = 16_000, channels: int = 1, hertz: float = 440.0
) -> Path:
    """A tone of amplitude 0.5 with a little noise, in the format that the suffix says."""
    time_s = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(int(hertz)).normal(0, 0.01, len(time_s))
    wave = 0.5 * np.sin(2 * np.pi * hertz * time_s) + noise
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, np.stack([wave] * channels, axis=1), rate)
    return file


def manifest(folder: Path, rows: list[Row], header: Row = ("path", "speaker", "text", "split")) -> Manifest:
    folder.mkdir(exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([header, *rows])
    return Manifest(path=str(folder / "manifest.csv"))


@pytest.mark.parametrize(
    ("name", "rate", "channels", "tolerance"),
    [
        ("a.wav", 8_000, 1, 0.03),
        ("a.wav", 16_000, 2, 0.03),
        ("a.wav", 48_000, 1, 0.03),
        ("a.flac", 44_100, 2, 0.03),
        ("a.ogg", 22_050, 1, 0.08),
        ("a.mp3", 44_100, 2, 0.08),
    ],
)
def test_any_format_rate_and_channel_count_becomes_16_khz_mono(
    tmp_path: Path, name: str, rate: int, channels: int, tolerance: float
) -> None:
    samples = decode.decode(tone(tmp_path / name, 0.6, rate, channels, 300.0))
    assert isinstance(samples, np.ndarray)
    assert samples.dtype == np.int16
    assert abs(len(samples) - 9600) <= 0.12 * 16_000  # lossy formats pad
    middle = samples[2000:7000].astype(float) / 32767
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(5000)))
    assert spectrum.argmax() * 16_000 / 5000 == pytest.approx(300, abs=4)
    assert middle.std() == pytest.approx(0.5 / np.sqrt(2), abs=tolerance)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left = np.random.default_rng(0).normal(0, 0.1, 16_000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, np.zeros(16_000)], axis=1), 16_000, subtype="FLOAT")
    samples = decode.decode(tmp_path / "a.wav")
    assert not isinstance(samples, str)
    assert np.abs(samples - np.rint(left.astype(np.float32) / 2 * 32767)).max() <= 1


def _spoil(folder: Path) -> dict[str, str]:
    """Files that cannot be used, and what is said about each."""
    whole = tone(folder / "whole.wav", 2.0).read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    flac = tone(folder / "whole.flac", 2.0, hertz=330.0).read_bytes()
    (folder / "cut.flac").write_bytes(flac[: len(flac) // 2])
    (folder / "empty.mp3").write_bytes(b"")
    (folder / "text.mp3").write_text("this is no sound at all\n" * 40)
    (folder / "noise.wav").write_bytes(bytes(range(256)) * 20)
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(folder / "none.wav", np.zeros(0), 16_000)
    tone(folder / "short.wav", 0.1)
    soundfile.write(folder / "nan.wav", np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    (folder / "folder.wav").mkdir()
    return {
        "missing.wav": "is missing", "cut.wav": "is truncated", "empty.mp3": "is empty",
        "text.mp3": "is not audio that can be read", "noise.wav": "is not audio that can be read",
        "silent.wav": "is silent", "none.wav": "is empty", "short.wav": "is shorter than 0.3 s",
        "nan.wav": "has samples that are not numbers", "folder.wav": "is not a file",
    }  # fmt: skip


def test_unusable_files_are_skipped_counted_and_named(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    faults = _spoil(tmp_path / "clips")
    assert isinstance(decode.decode(tmp_path / "clips" / "cut.flac"), str)
    rows = [(f"clips/{name}", "anna", "ciao", "train") for name in faults]
    rows += [("clips/whole.flac", "anna", "uno", "train"), ("clips/whole.wav", "bruno", "due", "test")]
    made = corpus.load(manifest(tmp_path, rows))
    assert dict(made.skipped) == {f"clips/{name}": why for name, why in faults.items()}
    assert made.text == ("uno", "due")
    assert made.summary()[1].startswith("10 recordings skipped: clips/missing.wav is missing; ")
    assert made.summary()[1].endswith(" and 5 more")


def _loud(peak: float, offset: float = 0.0) -> np.ndarray[Any, Any]:
    """A second of two tones whose sum stays within ``peak`` of ``offset``, and comes near it."""
    time_s = np.arange(16_000) / 16_000
    return offset + peak / 2 * (np.sin(2 * np.pi * 200 * time_s) + np.sin(2 * np.pi * 313 * time_s))


@pytest.mark.parametrize(
    ("wave", "why"),
    [
        (np.full(16_000, 0.5), "is silent"),
        (np.full(16_000, -1.0), "is silent"),
        (_loud(0.0009, 0.5), "is silent"),
        (_loud(0.0009), "is silent"),
        (_loud(1 / 32768), "is silent"),  # divided twice
        (_loud(32_768.0), "is of the wrong scale: its loudest sample is 3.2[78]e+04 times full scale"),
        (_loud(2.0**31), "is of the wrong scale: its loudest sample is 2.1[45]e+09 times full scale"),
        (_loud(127.0, 128.0), "is of the wrong scale: its loudest sample is 25[45] times full scale"),
        (
            np.tile([3e38, -3e38], 8_000),
            "is of the wrong scale: its loudest sample is 3e+38 times full scale",
        ),
        (np.tile([np.inf, -np.inf], 8_000), "has samples that are not numbers"),
    ],
)
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_what_is_no_speech_or_of_the_wrong_scale_is_skipped(
    tmp_path: Path, wave: np.ndarray[Any, Any], why: str, rate: int
) -> None:
    soundfile.write(tmp_path / "a.wav", np.repeat(wave, rate // 16_000), rate, subtype="FLOAT")
    said = decode.decode(tmp_path / "a.wav")
    assert isinstance(said, str)
    assert re.fullmatch(why.replace("+", r"\+"), said)


def test_clipped_and_faint_recordings_are_used_counted_and_named(tmp_path: Path) -> None:
    half = np.concatenate([np.tile([1.0, -1.0], 4_000), _loud(0.9)[:8_000]])  # 8,000 of 16,000 at full scale
    over = np.concatenate([np.tile([3.0, -0.2, 0.1, 0.1], 4_000)])  # 4,000 of 16,000 beyond it
    waves = {"half": half, "over": over, "faint": _loud(0.005), "well": _loud(0.9), "offset": _loud(0.3, 0.5)}
    rows = []
    for name, wave in waves.items():
        soundfile.write(tmp_path / f"{name}.wav", wave, 16_000, subtype="FLOAT")
        rows.append((f"{name}.wav", name, "ciao", "train"))
    made = corpus.load(manifest(tmp_path, rows))
    assert len(made) == 5
    assert made.skipped == ()
    assert made.doubtful == (
        ("half.wav", "is clipped: 50.0% of its samples stand at full scale"),
        ("over.wav", "is clipped: 25.0% of its samples stand at full scale"),
        ("faint.wav", "is faint: its loudest sample is at 0.50% of full scale"),
    )
    assert made.summary()[1].startswith("3 recordings used, doubtful: half.wav is clipped: 50.0%")
    assert made.account()["doubtful"] == 3
    assert made.account()["doubtful_files"][2].startswith("faint.wav is faint")
    assert corpus.load(manifest(tmp_path, rows)).doubtful == made.doubtful
    alone = corpus.load(manifest(tmp_path, rows[3:]))
    assert "doubtful" not in alone.account()
    assert len(alone.summary()) == 1


def test_a_file_of_more_than_2_gb_is_not_even_read(tmp_path: Path) -> None:
    with (tmp_path / "a.wav").open("wb") as out:
        out.truncate(2_000_000_001)
    assert decode.decode(tmp_path / "a.wav") == "is larger than 2 GB"


def test_nothing_left_is_an_error_that_names_a_file(tmp_path: Path) -> None:
    spec = manifest(tmp_path, [("a.wav", "anna", "ciao", "train"), ("b.wav", "anna", "ciao", "train")])
    with pytest.raises(CorpusError, match=r"no usable training speech: 0 of 2 .* a\.wav, is missing"):
        corpus.load(spec)


def test_splits_clients_and_order_are_kept(tmp_path: Path) -> None:
    for number in range(4):
        tone(tmp_path / f"{number}.wav", 0.4 + 0.1 * number, hertz=200.0 + number)
    rows = [
        ("train", "3.wav", "phone-a", "tre", "anna"),
        ("validation", "1.wav", "", "uno", "bruno"),
        ("train", "0.wav", "phone-b", "zero", "anna"),
        ("test", "2.wav", "", "due", "carla"),
    ]
    made = corpus.load(manifest(tmp_path, rows, ("split", "path", "client", "text", "speaker")))
    assert made.text == ("tre", "uno", "zero", "due")
    assert made.client == ("phone-a", "", "phone-b", "")
    assert (made.samples / 16_000).round(3).tolist() == [0.7, 0.5, 0.4, 0.6]


def test_the_cache_notices_a_changed_recording(tmp_path: Path) -> None:
    rows = [("a.wav", "anna", "ciao", "train")]
    tone(tmp_path / "a.wav", 0.5)
    first = corpus.load(manifest(tmp_path, rows))
    assert corpus.load(manifest(tmp_path, rows)).folder == first.folder
    tone(tmp_path / "a.wav", 0.8)
    assert corpus.load(manifest(tmp_path, rows)).seconds == pytest.approx(0.8)


def test_minutes_limit_a_corpus_and_a_longer_one_holds_the_shorter(tmp_path: Path) -> None:
    rows = []
    for number in range(12):
        tone(tmp_path / f"{number}.wav", 0.5, hertz=200.0 + number)
        rows.append((f"{number}.wav", f"s{number}", f"t{number}", "train" if number < 10 else "test"))
    spec = manifest(tmp_path, rows)
    short = corpus.load(replace(spec, minutes=1.2 / 60))
    longer = corpus.load(replace(spec, minutes=2.2 / 60))
    trains = [{c.text[i] for i in c.of_split("train")} for c in (short, longer)]
    assert [len(t) for t in trains] == [3, 5]  # the first that reaches 1.2 s is the third of 0.5 s
    assert trains[0] < trains[1]
    assert [len(c.of_split("test")) for c in (short, longer)] == [1, 1]


def test_speakers_are_held_out_where_no_split_is_given(tmp_path: Path) -> None:
    recordings = [listing.Recording(tmp_path, f"{s}-{i}", f"s{s}", "") for s in range(30) for i in range(2)]
    split = {r.speaker: r.split for r in listing.hold_out(recordings, 0)}
    assert sorted(split.values()).count("train") == 24
    assert sorted(split.values()).count("validation") == 3
    other = {r.speaker: r.split for r in listing.hold_out(list(reversed(recordings)), 0)}
    assert split == other
    with pytest.raises(CorpusError, match="2 speaker"):
        listing.hold_out(recordings[:4], 0)


def _split_of(rows: Sequence[tuple[str, str]], overlap: bool = False) -> list[str]:
    recordings = [
        listing.Recording(Path(), f"{i}.wav", who, "", split) for i, (who, split) in enumerate(rows)
    ]
    return [r.split for r in listing.hold_out(recordings, 0, overlap=overlap)]


def test_a_speaker_who_has_a_split_keeps_it_for_recordings_without_one() -> None:
    for split in ("train", "validation", "test"):
        assert _split_of([("anna", split), ("anna", ""), ("anna", "")]) == [split] * 3
        assert _split_of([("anna", ""), ("anna", split)]) == [split] * 2
    five = [(f"s{i}", split) for i in range(5) for split in ("train", "")]
    assert _split_of(five) == ["train"] * 10
    mixed = [("anna", "train"), *((f"s{i}", "") for i in range(30)), ("anna", "")]
    got = _split_of(mixed)
    assert (got[0], got[-1]) == ("train", "train")
    assert [got.count(name) for name in ("validation", "test")] == [3, 3]


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["", "", "train", "validation", "test"])),
        min_size=1, max_size=30,
    ),
)  # fmt: skip
def test_splits_are_disjoint_in_speakers_or_refused(rows: list[tuple[str, str]]) -> None:
    said = {who: {split for other, split in rows if other == who and split} for who, _ in rows}
    open_speakers = [who for who, splits in said.items() if not splits]
    if max(map(len, said.values())) > 1 or 0 < len(open_speakers) < 3:
        with pytest.raises(CorpusError):
            _split_of(rows)
        return
    got = _split_of(rows)
    assert all(split in ("", given) for (_, split), given in zip(rows, got, strict=True))
    assert len({(who, split) for (who, _), split in zip(rows, got, strict=True)}) == len(said)


@pytest.mark.parametrize("pair", [("train", "test"), ("train", "validation"), ("validation", "test")])
def test_a_speaker_in_two_splits_is_one_sentence(tmp_path: Path, pair: tuple[str, str]) -> None:
    rows = [
        ("a.wav", "anna", "a", pair[0]),
        ("b.wav", "bruno", "b", "train"),
        ("c.wav", "anna", "c", pair[1]),
    ]
    with pytest.raises(
        CorpusError, match=rf"speaker 'anna' in {pair[0]} and in {pair[1]} \(c\.wav\)"
    ) as caught:
        corpus.load(manifest(tmp_path, rows))
    assert "overlap: true" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_so_is_a_recording_in_two_splits_under_whatever_name(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav")
    (tmp_path / "copy.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    wave, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    soundfile.write(tmp_path / "a.flac", wave, rate)
    tone(tmp_path / "b.wav", hertz=300.0)
    for twin in ("a.wav", "copy.wav", "a.flac"):
        rows = [
            ("a.wav", "anna", "a", "train"),
            ("b.wav", "bruno", "b", "train"),
            (twin, "carla", "c", "test"),
        ]
        with pytest.raises(CorpusError, match=rf"same sound in train \(a\.wav\) and in test \({twin}\)"):
            corpus.load(manifest(tmp_path, rows))
        within = [(path, who, text, "train") for path, who, text, _ in rows]
        assert len(corpus.load(manifest(tmp_path, within))) == 3  # within a split it may be heard twice


def test_a_corpus_that_overlaps_says_so_and_how_much_of_what_is_held_out_was_heard(tmp_path: Path) -> None:
    for number in range(5):
        tone(tmp_path / f"{number}.wav", hertz=200.0 + number)
    rows = [
        ("0.wav", "anna", "zero", "train"),
        ("1.wav", "anna", "uno", "test"),  # a speaker whom training hears
        ("0.wav", "bruno", "zero", "test"),  # a recording that it hears
        ("2.wav", "carla", "due", "test"),
        ("3.wav", "dino", "tre", "validation"),
        ("3.wav", "elio", "tre", "test"),  # in two splits, and in neither was it heard
    ]
    made = corpus.load(replace(manifest(tmp_path, rows), overlap=True))
    assert made.split == tuple(row[3] for row in rows)
    assert [made.heard(split) for split in ("train", "validation", "test")] == [0, 0, 2]
    assert made.account()["heard"] == {"test": 2}
    assert made.summary()[-1] == (
        "error rates on test are too low: training hears the speaker or the sound of 2 of its 4 utterances"
    )
    apart = corpus.load(replace(manifest(tmp_path, rows[:1] + rows[3:5]), overlap=True))
    assert "heard" not in apart.account()


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (("path", "speaker"), [("a.wav", "anna")], "lacks the column 'text'"),
        (("path", "speaker", "text", "text"), [("a", "b", "c", "d")], "names a column twice"),
        (("path", "speaker", "text"), [("", "anna", "x")], "line 2: has an empty path"),
        (("path", "speaker", "text"), [("a.wav", "", "x")], "line 2: has an empty speaker"),
        (("path", "speaker", "text"), [("a.wav", "anna")], "different number of cells"),
        (("path", "speaker", "text"), [("a.wav", "anna", "x", "y")], "different number of cells"),
        (("path", "speaker", "text", "split"), [("a.wav", "anna", "x", "dev")], "split 'dev'"),
        (("path", "speaker", "text"), [("../a.wav", "anna", "x")], "outside the manifest's folder"),
        (("path", "speaker", "text"), [("/etc/passwd", "anna", "x")], "outside the manifest's folder"),
        (("path", "speaker", "text"), [("a\0.wav", "anna", "x")], "line 2"),
        (("path", "speaker", "text"), [], "lists no recordings"),
    ],
)
def test_a_faulty_manifest_is_one_sentence(
    tmp_path: Path, header: Row, rows: list[Row], message: str
) -> None:
    with pytest.raises(CorpusError, match=message) as caught:
        corpus.load(manifest(tmp_path, rows, header))
    assert "\n" not in str(caught.value)


def test_a_link_may_not_lead_outside_unless_allowed(tmp_path: Path) -> None:
    tone(tmp_path / "elsewhere" / "a.wav")
    inside = tmp_path / "here"
    inside.mkdir()
    (inside / "a.wav").symlink_to(tmp_path / "elsewhere" / "a.wav")
    spec = manifest(inside, [("a.wav", "anna", "ciao", "train")])
    with pytest.raises(CorpusError, match="outside the manifest's folder"):
        corpus.load(spec)
    assert len(corpus.load(replace(spec, outside=True))) == 1


def test_a_manifest_of_several_languages(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tone(tmp_path / f"{name}.wav", hertz=ord(name))
    header = ("path", "speaker", "text", "split", "language")
    rows = [("a.wav", "anna", "ciao", "train", "it"), ("b.wav", "bob", "hello", "train", "en")]
    spec = manifest(tmp_path, rows, header)
    assert corpus.load(spec).text == ("ciao", "hello")
    assert corpus.load(replace(spec, language="it")).text == ("ciao",)
    with pytest.raises(CorpusError, match="no recordings in 'fr'"):
        corpus.load(replace(spec, language="fr"))


def test_manifests_that_cannot_be_read(tmp_path: Path) -> None:
    for content, message in ((b"\xff\xfe\x00path", "not UTF-8"), (b'path,speaker,text\n"a', "CSV")):
        (tmp_path / "m.csv").write_bytes(content)
        with pytest.raises(CorpusError, match=message):
            corpus.load(Manifest(path=str(tmp_path / "m.csv")))
    with pytest.raises(CorpusError, match="cannot be read: No such file"):
        corpus.load(Manifest(path=str(tmp_path / "none.csv")))
    with pytest.raises(ScenarioError, match=r"learning.corpus: 'manifest' needs the key 'path' beside it"):
        checks.check(Learning, {"corpus": "manifest"}, key="learning", error=ScenarioError)


COLUMNS = (
    "client_id",
    "path",
    "sentence",
    "up_votes",
    "down_votes",
    "age",
    "gender",
    "accents",
    "locale",
    "segment",
)


def _common_voice(root: Path, columns: Row = COLUMNS, held_out: bool = True) -> Path:
    """A folder as Common Voice 7 has it: real mp3 clips, a bare estimate, an unlisted and a broken clip."""
    folder = root / "it"
    (folder / "clips").mkdir(parents=True)
    clips = [("s1", "a", 'disse "ciao'), ("s1", "b", "sì"), ("s2", "c", "due"), ("s3", "d", "tre"),
             ("s4", "e", "quattro"), ("s3", "f", "cinque"), ("s5", "g", "rotto")]  # fmt: skip
    for _, name, _ in clips:
        tone(folder / "clips" / f"{name}.mp3", 0.5, 32_000, hertz=100.0 * ord(name[0]) - 9000)
    (folder / "clips" / "g.mp3").write_bytes(b"")

    def write(name: str, chosen: str) -> None:
        lines = ["\t".join(columns)]
        for speaker, clip, sentence in clips:
            if clip in chosen:
                cells = {"client_id": speaker, "path": f"{clip}.mp3", "sentence": sentence, "locale": "it"}
                lines.append("\t".join(cells.get(column, "") for column in columns))
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    write("validated", "abcdefg")
    write("train", "abc")
    if held_out:
        write("dev", "d")
        write("test", "e")
    return folder


@pytest.mark.parametrize("inner", [True, False])
def test_common_voice(tmp_path: Path, inner: bool) -> None:
    folder = _common_voice(tmp_path)
    spec = CommonVoice(path=str(folder if inner else tmp_path), language="it")
    made = corpus.load(spec)
    assert list(zip(made.speaker, made.text, made.split, strict=True)) == [
        ("s1", 'disse "ciao', "train"),
        ("s1", "sì", "train"),
        ("s2", "due", "train"),
        ("s3", "tre", "validation"),  # s3's other clip is validated, but its speaker is held out
        ("s4", "quattro", "test"),
    ]
    assert made.skipped == (("g.mp3", "is empty"),)
    assert all(0.4 < n / 16_000 < 0.7 for n in made.samples)


def test_common_voice_columns_come_in_any_order_and_paths_may_lack_the_suffix(tmp_path: Path) -> None:
    folder = _common_voice(tmp_path, ("sentence", "sentence_domain", "path", "client_id"), held_out=False)
    text = (folder / "validated.tsv").read_text(encoding="utf-8").replace(".mp3", "")
    (folder / "validated.tsv").write_text(text, encoding="utf-8")
    (folder / "train.tsv").unlink()
    recordings = common_voice.read(folder, CommonVoice(path=str(folder))).recordings
    assert [r.name for r in recordings] == [f"{c}.mp3" for c in "abcdefg"]
    splits = {r.split for r in listing.hold_out(recordings, 0)}
    assert splits == {"train", "validation", "test"}


def test_faulty_common_voice_folders(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no clips folder"):
        corpus.load(CommonVoice(path=str(tmp_path)))
    folder = _common_voice(tmp_path)
    spec = CommonVoice(path=str(folder))
    (folder / "dev.tsv").write_text("client_id\tpath\tsentence\nx\t../../secret\tciao\n")
    with pytest.raises(CorpusError, match=r"dev\.tsv: line 2: has no file name as its path"):
        corpus.load(spec)
    (folder / "dev.tsv").write_text("client\tpath\tsentence\n")
    with pytest.raises(CorpusError, match="lacks the column 'client_id'"):
        corpus.load(spec)
    (folder / "validated.tsv").unlink()
    (folder / "dev.tsv").unlink()
    (folder / "train.tsv").unlink()
    with pytest.raises(CorpusError, match=r"neither validated\.tsv nor train\.tsv"):
        corpus.load(spec)


def test_a_recording_named_with_backslashes_is_missing_and_told_why(tmp_path: Path) -> None:
    tone(tmp_path / "clips" / "a.wav")
    rows = [
        ("clips/a.wav", "a", "", "train"),
        ("clips\\a.wav", "a", "", "train"),
        ("b.wav", "a", "", "train"),
    ]
    assert corpus.load(manifest(tmp_path, rows)).skipped == (
        ("clips\\a.wav", "is missing (folders are separated by '/' here, not by '\\')"),
        ("b.wav", "is missing"),
    )
