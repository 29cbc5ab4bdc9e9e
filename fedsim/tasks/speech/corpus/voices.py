"""The speakers of the embedded corpus: a voice variant each, with a manner of its own.

A speaker is a pure function of the corpus seed and of the speaker's number, so a corpus of 50
speakers holds the 40 of a smaller one unchanged. The variants are those of espeak-ng that sound
like a person; robots, whispers and echoes are left out. Beyond as many speakers as there are
variants, a variant returns with another rate, pitch and channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsim import rng

_NAMES = """
Alex Alicia Andrea Andy Annie Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario Michael Mike
Nguyen Reed adam anika antonio aunty belinda benjamin boris caleb david ed edward edward2 f1 f2 f3 f4 f5
grandma grandpa gustave ian iven2 iven3 john kaukovalta klatt klatt2 klatt3 klatt4 linda m1 m2 m3 m4 m5
m6 m7 m8 marcelo max michel miguel norbert pablo paul pedro quincy rob robert sandro shelby steph steph3
travis victor
"""
VARIANTS = tuple(_NAMES.split())


@dataclass(frozen=True)
class Speaker:
    """One voice.

    Attributes:
        variant: espeak-ng's voice variant.
        rate_wpm: speaking rate in words a minute.
        pitch, pitch_range: espeak-ng's scale, 0 to 100; 50 is the variant's own.
        tilt: coefficient of the one-tap filter y[n] = x[n] - tilt x[n-1] of the microphone.
        level: root mean square of the signal, of full scale.
        snr_db: signal to noise ratio of the channel.
    """

    variant: str
    rate_wpm: int
    pitch: int
    pitch_range: int
    tilt: float
    level: float
    snr_db: float


def speaker(number: int, seed: int) -> Speaker:
    """The speaker ``number`` (from 0) of the corpus with ``seed``."""
    order = rng.generator(seed, "espeak", "variants").permutation(len(VARIANTS))
    u = rng.uniforms(rng.key(seed, "espeak", "speaker"), number, np.arange(6))
    return Speaker(
        variant=VARIANTS[int(order[number % len(VARIANTS)])],
        rate_wpm=int(135 + 75 * u[0]),
        pitch=int(25 + 50 * u[1]),
        pitch_range=int(30 + 50 * u[2]),
        tilt=round(float(-0.2 + 0.6 * u[3]), 3),
        level=round(float(0.03 + 0.07 * u[4]), 4),
        snr_db=round(float(22 + 18 * u[5]), 2),
    )
