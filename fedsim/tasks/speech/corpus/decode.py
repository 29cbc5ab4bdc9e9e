"""From a sound file to 16 kHz mono int16, or to the reason why not.

A file that cannot be used is no error: it is skipped, and whoever decodes says which and why.
Decoding is by soundfile (wav, flac, ogg, mp3 at any rate and channel count), to the end of the stream
whatever its header says (``container``), resampling by soxr; both leave Python's lock, so files are
decoded by a few threads, in order.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedsim.tasks.speech.corpus import container
from fedsim.units import SAMPLES_PER_S

SHORTEST_S = 0.3
LONGEST_S = 3600.0
MOST_BYTES = 2_000_000_000
LOUDEST = 10.0  # of full scale: a file with louder samples means another scale, 32768 say
SILENCE = 1e-3  # of full scale: a file whose loudest sample, the mean removed, is below it is silent
FAINT = 1e-2  # likewise: below it a recording is used and named
CLIPPED = 1e-3  # share of samples at full scale above which a recording is used and named
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
        if not 0 < size <= MOST_BYTES:
            return f"is larger than {MOST_BYTES / 1e9:g} GB" if size else "is empty"
        mended = container.mend(file.read_bytes())
        if isinstance(mended, str):
            return mended
        opened = soundfile.SoundFile(mended or file)
    except (soundfile.LibsndfileError, OSError, RuntimeError, ValueError, MemoryError):
        return container.UNREADABLE
    try:
        with opened:
            rate, promised = int(opened.samplerate), int(opened.frames)
            if rate < 1 or promised > LONGEST_S * rate:
                return f"is longer than {LONGEST_S:g} s"
            wave = opened.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, RuntimeError, ValueError, MemoryError):
        return container.DAMAGED
    if len(wave) < promised:
        return container.TRUNCATED
    if len(wave) < SHORTEST_S * rate:
        return f"is shorter than {SHORTEST_S:g} s" if len(wave) else "is empty"
    if not bool(np.isfinite(wave).all()):
        return "has samples that are not numbers"
    loudest = float(np.abs(wave).max())
    if loudest > LOUDEST:
        return f"is of the wrong scale: its loudest sample is {loudest:.3g} times full scale"
    mono = wave.mean(axis=1)
    if float(np.abs(mono - mono.mean(dtype=np.float64)).max()) < SILENCE:
        return "is silent"
    if rate != SAMPLES_PER_S:
        mono = soxr.resample(mono, rate, SAMPLES_PER_S, quality="HQ")
    return np.asarray(np.clip(np.rint(mono * 32767.0), -32768, 32767), dtype=np.int16)


def doubt(samples: Samples) -> str:
    """What is wrong with the level of samples that can be used all the same; empty if nothing is."""
    share = float(np.mean((samples >= 32767) | (samples <= -32767)))
    if share > CLIPPED:
        return f"is clipped: {share:.1%} of its samples stand at full scale"
    inner = samples[160:-160]  # without the edges, where the resampling of an offset rings
    loudest = float(np.abs(inner - inner.mean()).max(initial=0.0)) / 32767
    return f"is faint: its loudest sample is at {loudest:.2%} of full scale" if loudest < FAINT else ""


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
