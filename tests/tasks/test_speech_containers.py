"""Sound files whose header does not say how long they are, says something else, or that were cut off."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedsim.tasks.speech.corpus import container, decode

RATE = 24_000
SECONDS = 6
WHOLE = SECONDS * 16_000  # samples once decoded
ID3 = b"ID3\x04\0\0\0\0\x20\0" + bytes(4096)
ID3_AT_THE_END = b"TAG" + bytes(125)


def wave(rate: int = RATE) -> np.ndarray[Any, Any]:
    """Two seconds of a soft tone, which take few bits, then four of noise, which take many."""
    sound = 0.1 * np.sin(2 * np.pi * 300 * np.arange(SECONDS * rate) / rate)
    sound[2 * rate :] += np.random.default_rng(0).normal(0, 0.2, 4 * rate)
    return sound


def encoded(kind: str, subtype: str | None = None, **options: Any) -> bytes:
    out = io.BytesIO()
    endian = options.pop("endian", None)
    with soundfile.SoundFile(out, "w", RATE, 1, subtype, endian, kind, **options) as file:
        file.write(wave())
    return out.getvalue()


def mp3(mode: str) -> tuple[bytes, bytes]:
    """The frame that states the length, and those of the sound."""
    whole = encoded("MP3", bitrate_mode=mode, compression_level=0.3)
    first = container._frame(whole, 0)
    assert b"Xing" in whole[:first] or b"Info" in whole[:first]
    return whole[:first], whole[first:]


def frames_of(sound: bytes) -> list[bytes]:
    """The frames of an mp3 by the rate in each header, kilobits a second of MPEG 2."""
    found = []
    while sound:
        assert sound[:2] in (b"\xff\xf3", b"\xff\xf2")
        kbps = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)[sound[2] >> 4]
        length = 72_000 * kbps // RATE + (sound[2] >> 1 & 1)  # 576 samples of 24 kHz
        found.append(sound[:length])
        sound = sound[length:]
    return found


def read(tmp_path: Path, raw: bytes) -> Any:
    (tmp_path / "sound").write_bytes(raw)
    return decode.decode(tmp_path / "sound")


def put(raw: bytes, at: int, field: bytes) -> bytes:
    return raw[:at] + field + raw[at + len(field) :]


def assert_whole(samples: Any, pieces: int = 1) -> None:
    """All of the sound, with at most a tenth of a second of what codecs add."""
    assert not isinstance(samples, str), samples
    assert 0 <= len(samples) - pieces * WHOLE <= pieces * 1600
    for piece in range(pieces):
        end = samples[(piece + 1) * WHOLE - 32_000 :][:16_000]
        assert end.std() > 3000, "the noise of the last seconds is there"


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
@pytest.mark.parametrize("before", [b"", ID3])
@pytest.mark.parametrize("behind", [b"", ID3_AT_THE_END, bytes(300)])
def test_an_mp3_is_decoded_to_its_end_whatever_it_says_of_its_length(
    tmp_path: Path, mode: str, before: bytes, behind: bytes
) -> None:
    info, sound = mp3(mode)
    count = info.index(b"Xing" if mode == "VARIABLE" else b"Info") + 8
    assert_whole(read(tmp_path, before + info + sound + behind))
    assert_whole(read(tmp_path, before + sound + behind))
    for stated in (0, 10):
        wrong = put(info, count, stated.to_bytes(4, "big"))
        assert_whole(read(tmp_path, before + wrong + sound + behind))
    unstated = put(info, count - 4, bytes(4))
    assert_whole(read(tmp_path, before + unstated + sound + behind))


def test_two_mp3_one_behind_the_other_are_both_heard(tmp_path: Path) -> None:
    whole = b"".join(mp3("VARIABLE"))
    assert_whole(read(tmp_path, whole + whole), pieces=2)
    assert_whole(read(tmp_path, ID3 + whole + ID3_AT_THE_END + ID3 + whole), pieces=2)


def test_an_mp3_that_was_cut_off_is_named(tmp_path: Path) -> None:
    info, sound = mp3("CONSTANT")
    assert read(tmp_path, (info + sound)[: len(sound) // 2]) == "is truncated"
    assert read(tmp_path, ID3 + sound[: len(sound) // 2 + 9]) == "is truncated"
    frames = frames_of(sound)
    for less in (-1, -2):
        assert read(tmp_path, info + b"".join(frames[:less])) == "is truncated"
    assert read(tmp_path, b"".join(frames[:60]) + frames[60][:3]) == "is truncated"
    hole = b"".join(frames[:50]) + bytes(1000) + b"".join(frames[60:])
    assert read(tmp_path, hole) == "is damaged"
    other = io.BytesIO()
    soundfile.write(other, wave(16_000), 16_000, format="MP3")
    assert read(tmp_path, sound + other.getvalue()) == "holds more than one stream"


@pytest.mark.parametrize(
    ("kind", "subtype", "endian"),
    [("WAV", "PCM_16", None), ("WAV", "ULAW", None), ("WAV", "IMA_ADPCM", None), ("WAVEX", "PCM_24", None),
     ("WAV", "FLOAT", None), ("WAV", "PCM_16", "BIG")],
)  # fmt: skip
@pytest.mark.parametrize("length", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_lasts_until_its_end(
    tmp_path: Path, kind: str, subtype: str, endian: str | None, length: int
) -> None:
    whole = encoded(kind, subtype, endian=endian)
    at = whole.index(b"data") + 4
    order: Any = "big" if endian else "little"
    riff = min(0xFFFFFFFF, length + 36)
    piped = put(put(whole, at, length.to_bytes(4, order)), 4, riff.to_bytes(4, order))
    assert_whole(read(tmp_path, whole))
    assert np.array_equal(read(tmp_path, piped), read(tmp_path, whole))


@pytest.mark.parametrize("length", [0, 2**64 - 1])
def test_so_does_an_rf64(tmp_path: Path, length: int) -> None:
    whole = encoded("RF64", "PCM_16")
    assert_whole(read(tmp_path, whole))
    piped = put(whole, whole.index(b"ds64") + 16, length.to_bytes(8, "little"))
    assert np.array_equal(read(tmp_path, piped), read(tmp_path, whole))


def test_a_wav_of_no_sound_stays_empty_and_one_that_states_too_little_is_named(tmp_path: Path) -> None:
    whole = encoded("WAV", "PCM_16")
    at = whole.index(b"data") + 4
    none = put(whole[: at + 4], at, bytes(4))
    notes = b"LIST\x04\0\0\0INFO"
    for raw in (none, none + notes):
        assert read(tmp_path, raw) == "is empty"
    assert_whole(read(tmp_path, whole + notes))
    assert_whole(read(tmp_path, whole + ID3_AT_THE_END))
    flushed = put(whole, at, (2 * RATE * 2).to_bytes(4, "little"))  # two seconds, when it was last written
    assert read(tmp_path, flushed) == "holds more than its header says"


def test_a_flac_without_a_length_or_with_a_wrong_one_is_decoded_to_its_end(tmp_path: Path) -> None:
    whole = encoded("FLAC", "PCM_16")
    right = read(tmp_path, whole)
    assert_whole(right)
    field = int.from_bytes(whole[21:26], "big")
    assert field & (1 << 36) - 1 == SECONDS * RATE
    for stated in (0, 1, 40_000):
        other = put(whole, 21, (field - SECONDS * RATE + stated).to_bytes(5, "big"))
        assert np.array_equal(read(tmp_path, other), right)
        assert np.array_equal(read(tmp_path, ID3 + other + ID3_AT_THE_END), right)
        assert isinstance(read(tmp_path, other[:-100]), str)
    more = put(whole, 21, (field + 1).to_bytes(5, "big"))
    assert read(tmp_path, more) == "is truncated"


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_is_whole_to_its_last_page(tmp_path: Path, subtype: str) -> None:
    whole = encoded("OGG", subtype)
    last = whole.rindex(b"OggS")
    assert_whole(read(tmp_path, whole))
    assert_whole(read(tmp_path, whole + bytes(100)))
    assert read(tmp_path, whole[: len(whole) // 2]) == "is truncated"
    assert read(tmp_path, whole[:last]) == "is truncated"  # at the end of a page: only the end's mark lacks
    assert read(tmp_path, put(whole, last + 60, b"damaged")) == "is damaged"
    middle = whole.index(b"OggS", len(whole) // 2)
    following = whole.index(b"OggS", middle + 4)
    assert read(tmp_path, whole[:middle] + whole[following:]) == "is damaged"  # a page is missing
    assert read(tmp_path, whole + whole) == "holds more than one stream"


@pytest.mark.parametrize("kind", ["AIFF", "AU", "W64", "CAF"])
def test_other_containers_could_be_cut_off_unnoticed_and_are_not_taken(tmp_path: Path, kind: str) -> None:
    assert read(tmp_path, encoded(kind, "PCM_16")) == "is not wav, flac, ogg or mp3"


FORMATS: dict[str, Callable[[], bytes]] = {
    "wav": lambda: encoded("WAV", "PCM_16"),
    "wav, 24 bits": lambda: encoded("WAVEX", "PCM_24"),
    "rf64": lambda: encoded("RF64", "PCM_16"),
    "flac": lambda: encoded("FLAC", "PCM_16"),
    "vorbis": lambda: encoded("OGG", "VORBIS"),
    "opus": lambda: encoded("OGG", "OPUS"),
    "mp3": lambda: b"".join(mp3("VARIABLE")),
}


@pytest.mark.parametrize("name", FORMATS)
def test_no_file_that_was_cut_off_anywhere_is_used(tmp_path: Path, name: str) -> None:
    whole = FORMATS[name]()
    assert_whole(read(tmp_path, whole))

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.integers(1, len(whole) - 1))
    def check(size: int) -> None:
        assert isinstance(read(tmp_path, whole[:-size]), str)

    check()


def test_an_mp3_without_a_length_is_as_long_as_its_frames(tmp_path: Path) -> None:
    frames = frames_of(mp3("VARIABLE")[1])
    for count in (60, 100, len(frames)):
        samples = read(tmp_path, b"".join(frames[:count]))
        assert 0 <= count * 576 * 2 / 3 - len(samples) <= 529  # what a decoder is late by
