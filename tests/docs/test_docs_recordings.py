"""The guide's tables of recordings and splits, each line as it is written."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from fedsim.errors import CorpusError
from fedsim.tasks.speech import corpus
from fedsim.tasks.speech.corpus import CommonVoice, Manifest, common_voice, decode, listing

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "learning.md"
RATE = 24_000
ID3 = b"ID3\x04\0\0\0\0\x20\0" + bytes(4096)


def rows(heading: str) -> dict[str, str]:
    """The lines of the section's table that has that heading."""
    section = GUIDE.read_text(encoding="utf-8").split("## Recordings and splits")[1].split("\n## ")[0]
    table = section.split(f"| {heading} | what becomes of it |\n| --- | --- |\n")[1].split("\n\n")[0]
    return dict(re.fullmatch(r"\| (.*) \| (.*) \|", line).groups() for line in table.splitlines())


def wave(seconds: float = 3.0, peak: float = 0.5) -> np.ndarray:
    tone = np.sin(2 * np.pi * 300 * np.arange(round(seconds * RATE)) / RATE)
    return peak * (0.8 * tone + 0.2 * np.random.default_rng(0).uniform(-1, 1, len(tone)))


def sound(kind: str, subtype: str | None = None, samples: np.ndarray | None = None, **options: Any) -> bytes:
    out = io.BytesIO()
    endian = options.pop("endian", None)
    with soundfile.SoundFile(out, "w", RATE, 1, subtype, endian, kind, **options) as file:
        file.write(wave() if samples is None else samples)
    return out.getvalue()


def floats(samples: np.ndarray) -> bytes:
    return sound("WAV", "FLOAT", samples)


def put(raw: bytes, at: int, field: bytes) -> bytes:
    return raw[:at] + field + raw[at + len(field) :]


WAV, FLAC = sound("WAV", "PCM_16"), sound("FLAC", "PCM_16")
DATA = WAV.index(b"data") + 4
OGG = [sound("OGG", "VORBIS"), sound("OGG", "OPUS")]
MP3 = [sound("MP3", bitrate_mode=mode, compression_level=0.3) for mode in ("VARIABLE", "CONSTANT")]
BARE = [mp3[mp3.index(mp3[:2], 4) :] for mp3 in MP3]


def stating(mp3: bytes, frames: int) -> bytes:
    found = re.search(b"Xing|Info", mp3)
    assert found is not None
    return put(mp3, found.start() + 8, frames.to_bytes(4, "big"))


def flac_stating(samples: int) -> bytes:
    field = int.from_bytes(FLAC[21:26], "big")
    assert field & (1 << 36) - 1 == 3 * RATE
    return put(FLAC, 21, (field - 3 * RATE + samples).to_bytes(5, "big"))


def without_a_page(ogg: bytes) -> bytes:
    starts = [found.start() for found in re.finditer(b"OggS", ogg)]
    return ogg[: starts[-2]] + ogg[starts[-1] :]


#: What the guide says of a file, by how its line begins, and such files.
FILES: dict[str, Callable[[], list[bytes]]] = {
    "wav (also RF64": lambda: [
        WAV, sound("RF64", "PCM_16"), sound("WAV", "PCM_16", endian="BIG"), sound("WAVEX", "PCM_24"),
        sound("WAV", "FLOAT"), sound("WAV", "ULAW"), sound("WAV", "IMA_ADPCM"), FLAC, *OGG, *MP3,
    ],
    "AIFF": lambda: [sound(kind, "PCM_16") for kind in ("AIFF", "AU", "CAF", "W64")],
    "wav whose data are": lambda: [
        put(WAV, DATA, length.to_bytes(4, "little")) for length in (0, 0x7FFFF000, 0xFFFFFFFF)
    ],
    "wav that ends": lambda: [WAV[:-2], WAV[: len(WAV) // 2], sound("WAVEX", "PCM_24")[:-9]],
    "wav with more": lambda: [WAV + b"junk" * 1250, put(WAV, DATA, (2 * RATE).to_bytes(4, "little"))],
    "mp3 without": lambda: [*BARE, *(ID3 + mp3 + b"TAG" + bytes(125) for mp3 in BARE)],
    "mp3 whose Xing frame states fewer": lambda: [*(stating(mp3, 9) for mp3 in MP3), MP3[0] + MP3[1]],
    "mp3 whose Xing frame states more": lambda: [stating(MP3[0], 10**6), MP3[1][:-99], BARE[0][:-99]],
    "mp3 with a hole": lambda: [BARE[1][:9000] + bytes(500) + BARE[1][9500:]],
    "flac that does not": lambda: [flac_stating(0), flac_stating(RATE)],
    "flac that ends": lambda: [flac_stating(3 * RATE + 1), FLAC[: len(FLAC) // 2]],
    "Ogg without": lambda: [*(ogg[: ogg.rindex(b"OggS")] for ogg in OGG), *(ogg[:-9] for ogg in OGG)],
    "Ogg with a page": lambda: [*map(without_a_page, OGG), put(OGG[0], len(OGG[0]) // 2, b"hole")],
    "Ogg or mp3": lambda: [OGG[0] + OGG[1], BARE[0] + other_rate()],
    "shorter": lambda: [sound("WAV", "PCM_16", wave(0.29))],
    "longer": lambda: [sound("FLAC", "PCM_16", np.zeros(3601 * RATE))],
    "a constant": lambda: [
        floats(np.full(RATE, 0.5)), floats(np.zeros(RATE)), floats(0.5 + wave(peak=0.0009)),
    ],
    "a sample beyond": lambda: [floats(wave(peak=32_768))],
    "a sample that": lambda: [floats(np.r_[wave(), np.nan]), floats(np.r_[wave(), np.inf])],
    "more than 0.1%": lambda: [floats(np.clip(wave(peak=2), -1, 1))],
    "nothing louder": lambda: [floats(wave(peak=0.009)), floats(0.5 + wave(peak=0.009))],
}  # fmt: skip


def other_rate() -> bytes:
    out = io.BytesIO()
    soundfile.write(out, wave(), 32_000, format="MP3")
    return out.getvalue()


def test_every_line_about_files_is_tried() -> None:
    lines = rows("file")
    assert len(lines) == len(FILES)
    assert all(sum(line.startswith(begin) for line in lines) == 1 for begin in FILES)


@pytest.mark.parametrize("begin", FILES)
def test_a_file_becomes_what_the_guide_says(begin: str, tmp_path: Path) -> None:
    (said,) = (what for line, what in rows("file").items() if line.startswith(begin))
    quoted = re.search('"(.*)"', said)
    for raw in FILES[begin]():
        (tmp_path / "sound").write_bytes(raw)
        found = decode.decode(tmp_path / "sound")
        if said.startswith("used"):
            assert not isinstance(found, str), found
            assert 0 <= len(found) / 16_000 - (6 if raw == MP3[0] + MP3[1] else 3) < 0.25
            doubt = decode.doubt(found)
            assert doubt.startswith(quoted[1]) if quoted else not doubt
        else:
            assert quoted
            assert isinstance(found, str)
            assert found.startswith(quoted[1])


def split(*said: tuple[str, str], overlap: bool = False) -> list[str]:
    recordings = [listing.Recording(Path(), f"{i}", who, "", split) for i, (who, split) in enumerate(said)]
    return [r.split for r in listing.hold_out(recordings, 0, overlap=overlap)]


def test_lists_become_what_the_guide_says(tmp_path: Path) -> None:
    lines = rows("list")
    assert [line.split(",")[0] for line in lines] == [
        "no splits", "a split for some recordings of a speaker", "a split for some speakers",
        "a speaker in two splits", "the same sound in two splits", "either",
    ]  # fmt: skip
    twenty = split(*((f"s{i}", "") for i in range(20)))
    assert (twenty.count("validation"), twenty.count("test")) == (2, 2)
    three = split(*((f"s{i}", "") for i in range(3)))
    assert sorted(three) == ["test", "train", "validation"]
    with pytest.raises(CorpusError):
        split(("a", ""), ("b", ""))
    assert split(("a", "test"), ("a", "")) == ["test", "test"]
    some = split(("a", "train"), *((f"s{i}", "") for i in range(20)))
    assert some == ["train", *twenty]
    with pytest.raises(CorpusError):
        split(("a", "train"), ("a", "test"))
    (tmp_path / "a.wav").write_bytes(WAV)
    soundfile.write(tmp_path / "b.flac", soundfile.read(io.BytesIO(WAV), dtype="int16")[0], RATE)
    with (tmp_path / "list.csv").open("w", newline="") as out:
        csv.writer(out).writerows(
            [("path", "speaker", "text", "split"), ("a.wav", "a", "", "train"), ("b.flac", "b", "", "test")]
        )
    spec = Manifest(path=str(tmp_path / "list.csv"))
    with pytest.raises(CorpusError):
        corpus.load(spec)
    assert corpus.load(replace(spec, overlap=True)).account()["heard"] == {"test": 1}
    assert split(("a", "train"), ("a", "test"), overlap=True) == ["train", "test"]


def test_speakers_of_dev_and_test_are_left_out_of_training(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for name, clips in (("validated", "abc"), ("dev", "d"), ("test", "e")):
        who = {"a": "s1", "b": "s2", "c": "s3", "d": "s2", "e": "s3"}
        lines = ["client_id\tpath\tsentence", *(f"{who[clip]}\t{clip}.mp3\tsì" for clip in clips)]
        (tmp_path / f"{name}.tsv").write_text("\n".join(lines), encoding="utf-8")
    read = common_voice.read(tmp_path, CommonVoice(path=str(tmp_path))).recordings
    assert [(r.name, r.split) for r in read] == [
        ("a.mp3", "train"), ("d.mp3", "validation"), ("e.mp3", "test"),
    ]  # fmt: skip
