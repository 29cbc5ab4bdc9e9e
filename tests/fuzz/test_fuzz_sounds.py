"""Sound files that are almost right: each is decoded whole, or one reason says why it is not used.

What a header states is changed to anything, the stream is cut anywhere, bytes are damaged as in other files.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import BYTES, damaged, edits

from fedsim.tasks.speech.corpus import decode

FAST, SLOW = int(os.environ.get("FUZZ_FAST", "2100")) // 20, 5_000
LONGEST_CPU_S = 5.0
RATE = 24_000
ID3 = b"ID3\x04\0\0\0\0\x20\0" + bytes(4096)


def encoded(kind: str, subtype: str | None = None, **options: float | str) -> bytes:
    """Half a second of a soft tone, then one of noise."""
    wave = 0.1 * np.sin(2 * np.pi * 300 * np.arange(RATE * 3 // 2) / RATE)
    wave[RATE // 2 :] += np.random.default_rng(0).normal(0, 0.2, RATE)
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", RATE, 1, subtype, None, kind, **options) as file:
        file.write(wave)
    return out.getvalue()


@cache
def variable() -> bytes:
    return encoded("MP3", bitrate_mode="VARIABLE", compression_level=0.3)


@cache
def constant() -> bytes:
    return encoded("MP3", bitrate_mode="CONSTANT", compression_level=0.3)


def without_length(mp3: bytes) -> bytes:
    """Without its first frame, which says how many there are."""
    return mp3[mp3.index(mp3[:2], 4) :]


SOUNDS: dict[str, Callable[[], bytes]] = {
    "wav": cache(lambda: encoded("WAV", "PCM_16")),
    "wav, float": cache(lambda: encoded("WAV", "FLOAT")),
    "wav, 24 bits": cache(lambda: encoded("WAVEX", "PCM_24")),
    "wav, ADPCM": cache(lambda: encoded("WAV", "IMA_ADPCM")),
    "rf64": cache(lambda: encoded("RF64", "PCM_16")),
    "flac": cache(lambda: encoded("FLAC", "PCM_16")),
    "vorbis": cache(lambda: encoded("OGG", "VORBIS")),
    "opus": cache(lambda: encoded("OGG", "OPUS")),
    "mp3": variable,
    "mp3, constant rate": constant,
    "mp3 without a length": lambda: without_length(variable()),
    "mp3 behind a tag": lambda: ID3 + without_length(constant()),
}
#: Where a header states the length: what it stands behind, bytes to it from there, its size, its order.
FIELDS = {
    "wav": (b"data", 4, 4, "little"),
    "wav, float": (b"data", 4, 4, "little"),
    "wav, 24 bits": (b"data", 4, 4, "little"),
    "wav, ADPCM": (b"data", 4, 4, "little"),
    "rf64": (b"ds64", 16, 8, "little"),
    "flac": (b"fLaC", 22, 4, "big"),
    "mp3": (b"Xing", 8, 4, "big"),
    "mp3, constant rate": (b"Info", 8, 4, "big"),
}
STATED = st.one_of(
    st.sampled_from((0, 1, 2**31 - 4096, 2**31 - 1, 2**31, 2**32 - 37, 2**32 - 1)),
    st.integers(0, 2**17),
    st.integers(0, 2**32 - 1),
)


def decoded(file: Path, raw: bytes) -> np.ndarray | str:
    """What becomes of the bytes; it neither raises nor takes long."""
    file.write_bytes(raw)
    before = time.process_time()
    found = decode.decode(file)
    assert time.process_time() - before < LONGEST_CPU_S
    assert isinstance(found, str) or (found.dtype == np.int16 and len(found) >= 0.29 * 16_000)
    assert not isinstance(found, str) or ("\n" not in found and len(found) < 100)
    return found


def trying(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples < SLOW,
        suppress_health_check=list(HealthCheck),
    )


def lengths(name: str, examples: int, file: Path) -> None:
    behind, distance, size, order = FIELDS[name]
    raw = SOUNDS[name]()
    whole = decoded(file, raw)
    at = raw.index(behind) + distance

    @trying(examples)
    @given(STATED)
    def check(stated: int) -> None:
        found = decoded(file, raw[:at] + stated.to_bytes(size, order) + raw[at + size :])
        # An mp3 that states no length is longer by what its encoder added; behind the sound of a wav
        # may stand 4096 bytes that are none.
        assert (
            isinstance(found, str) or -2100 * (8 if "ADPCM" in name else 1) <= len(found) - len(whole) <= 1600
        )

    check()


def cuts(name: str, examples: int, file: Path) -> None:
    raw = SOUNDS[name]()
    whole = decoded(file, raw)
    assert not isinstance(whole, str)
    stated = name not in ("mp3 without a length", "mp3 behind a tag")

    @trying(examples)
    @given(st.integers(1, len(raw)))
    def check(less: int) -> None:
        found = decoded(file, raw[:-less])
        assert isinstance(found, str) or (not stated and len(found) < len(whole))

    check()


def bytes_changed(name: str, examples: int, file: Path) -> None:
    raw = SOUNDS[name]()

    @trying(examples)
    @given(edits(BYTES, 3), st.booleans())
    def check(asked: list[tuple[str, int, int, int]], header: bool) -> None:
        head = 200 if header else len(raw)
        decoded(file, damaged(raw[:head], asked) + raw[head:])

    check()


@pytest.mark.parametrize("name", FIELDS)
def test_whatever_length_a_header_states_the_sound_is_whole_or_refused(name: str, tmp_path: Path) -> None:
    lengths(name, FAST, tmp_path / "sound")


@pytest.mark.parametrize("name", SOUNDS)
def test_a_sound_that_was_cut_off_is_refused(name: str, tmp_path: Path) -> None:
    cuts(name, FAST, tmp_path / "sound")


@pytest.mark.parametrize("name", SOUNDS)
def test_a_damaged_sound_is_decoded_or_refused(name: str, tmp_path: Path) -> None:
    bytes_changed(name, FAST, tmp_path / "sound")


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUNDS)
def test_thousands_of_changed_sounds(name: str, tmp_path: Path) -> None:
    for what in (cuts, bytes_changed, *([lengths] if name in FIELDS else [])):
        what(name, SLOW, tmp_path / "sound")
