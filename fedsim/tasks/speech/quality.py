"""Bad recordings, for the question that loss weighting is meant to answer.

Three faults that cheap microphones and noisy rooms have: white noise as loud as the speech,
clipping of most of the signal, and a band limit far below telephone quality. They are applied
when a batch is made; the cache keeps the recording as it was. Levels are our choice (estimated to
leave speech hard but not impossible to follow).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.units import SAMPLES_PER_S

KINDS = ("clean", "noise", "clipping", "band-limit")
NOISE_SNR_DB = 0.0
CLIP_AT = 0.1  # of the largest sample
BAND_HZ = 800.0


def of_parts(count: int, share: float, seed: int) -> NDArray[np.int64]:
    """int64[count]: the kind of each part; round(share x count) are bad, kinds in turn."""
    kinds = np.zeros(count, np.int64)
    chosen = rng.generator(seed, "quality", "parts").permutation(count)[: round(share * count)]
    kinds[chosen] = 1 + np.arange(len(chosen)) % (len(KINDS) - 1)
    return kinds


def of_utterances(utterances: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """int64[n]: the kind of each utterance, each bad with probability ``share`` by itself."""
    draws = rng.uniforms(rng.key(seed, "quality", "utterances"), utterances)
    bad = np.floor(draws / max(share, 1e-12) * (len(KINDS) - 1)).astype(np.int64)
    return np.where(draws < share, 1 + np.minimum(bad, len(KINDS) - 2), 0)


def degrade(wave: NDArray[np.float32], kind: int, draw: np.random.Generator) -> NDArray[np.float32]:
    """A recording of the given kind of a waveform, float32[n] at 16 kHz."""
    if kind == 1:
        level = float(np.sqrt(np.mean(wave**2, dtype=np.float64)))
        noise = draw.standard_normal(len(wave), dtype=np.float32)
        return wave + noise * np.float32(level * 10 ** (-NOISE_SNR_DB / 20))
    if kind == 2:
        limit = np.float32(CLIP_AT * float(np.abs(wave).max()))
        return np.clip(wave, -limit, limit)
    if kind == 3:
        spectrum = np.fft.rfft(wave.astype(np.float64))
        spectrum[np.fft.rfftfreq(len(wave), 1 / SAMPLES_PER_S) > BAND_HZ] = 0
        return np.fft.irfft(spectrum, len(wave)).astype(np.float32)
    return wave
