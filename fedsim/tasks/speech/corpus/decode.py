"""From a sound file to 16 kHz mono int16, or to the reason why not.

A file that cannot be used is no error: it is skipped, and whoever decodes says which and why.
Decoding is by soundfile (wav, flac, ogg, mp3 at any rate and channel count), resampling by soxr;
both leave Python's lock, so files are decoded by a few threads, in order.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedsim.units import SAMPLES_PER_S

SHORTEST_S = 0.3
LONGEST_S = 3600.0
SILENCE = 1e-3  # of full scale: a file whose loudest sample is below it is silent
MISSING = "is missing"
Samples = NDArray[np.int16]


def decode(file: Path) -> Samples | str:
    """The samples of a sound file, int16[n] at 16 kHz, or why it cannot be used.

    Never raises for what a file contains.
    """
    import soundfile
    import soxr

    try:
        if not file.is_file():
            return MISSING if not file.exists() else "is not a file"
        size = file.stat().st_size
        if size == 0:
            return "is empty"
        with soundfile.SoundFile(file) as opened:
            rate, promised = int(opened.samplerate), int(opened.frames)
            if rate < 1 or promised > LONGEST_S * rate:
                return f"is longer than {LONGEST_S:g} s"
            wave = opened.read(dtype="float32", always_2d=True)
            container = opened.format
        if len(wave) < promised or (container == "WAV" and _cut_short(file, size)):
            return "is truncated"
    except (soundfile.LibsndfileError, OSError, RuntimeError, ValueError, MemoryError):
        return "is not audio that can be read"
    mono = wave.mean(axis=1)
    if len(mono) < SHORTEST_S * rate:
        return f"is shorter than {SHORTEST_S:g} s" if len(mono) else "is empty"
    if not bool(np.isfinite(mono).all()):
        return "has samples that are not numbers"
    if float(np.abs(mono).max()) < SILENCE:
        return "is silent"
    if rate != SAMPLES_PER_S:
        mono = soxr.resample(mono, rate, SAMPLES_PER_S, quality="HQ")
    return np.asarray(np.clip(np.rint(mono * 32767.0), -32768, 32767), dtype=np.int16)


def _cut_short(file: Path, size: int) -> bool:
    """Whether a RIFF file ends before its own data chunk does; libsndfile overlooks that."""
    with file.open("rb") as raw:
        if raw.read(4) != b"RIFF":
            return False
        raw.seek(12)
        while len(header := raw.read(8)) == 8:
            length = int.from_bytes(header[4:], "little")
            if header[:4] == b"data":
                return length < 0xFFFFFFFE and raw.tell() + length > size
            raw.seek(length + length % 2, os.SEEK_CUR)
    return False


def decode_all(files: Iterable[Path], threads: int | None = None) -> Iterator[Samples | str]:
    """Decode many files by a few threads; results come in order and few are held at once."""
    count = threads or min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(count) as pool:
        pending: deque[Future[Samples | str]] = deque()
        for file in files:
            pending.append(pool.submit(decode, file))
            if len(pending) >= 4 * count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
