"""Speech for the time plane: how many clips there are, how long, and whose.

Only lengths matter here. They come from a profile (``traces/lengths/*.yaml``), which draws a corpus
with the profile's exact number of clips and speakers, or from the lengths of a real corpus. A
profile's corpus is always the same: it does not depend on a run's seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from fedsim import checks, paths, rng, yamlfile
from fedsim.errors import TraceError
from fedsim.fleet.who import Floats, Ints
from fedsim.options import Duration, Options, option
from fedsim.units import SAMPLES_PER_S
from fedsim.words import slashes

FOLDER = "traces/lengths"
_HOUR = "a length from 0s to 1h, such as 5.3s"


@dataclass(frozen=True, kw_only=True)
class Sources(Options):
    """Where each figure of a profile comes from."""

    clips: str
    speakers: str
    mean: str
    shortest: str
    longest: str
    shape: str
    speaker_correlation: str
    clips_sigma: str


@dataclass(frozen=True, kw_only=True)
class Profile(Options):
    """What a file in ``traces/lengths`` says of a corpus."""

    title: str = option(description="what people call the corpus")
    clips: int = option(ge=1, le=10_000_000, right="a whole number from 1 to 1e+07")
    speakers: int = option(ge=1, le=1_000_000, right="a whole number from 1 to 1e+06")
    mean: Duration = option(le=3600.0, right=_HOUR)
    shortest: Duration = option(le=3600.0, right=_HOUR)
    longest: Duration = option(le=3600.0, right=_HOUR)
    shape: float = option(ge=0.1, le=100.0, right="a number from 0.1 to 100")
    speaker_correlation: float = option(ge=0.0, le=1.0, right="a number from 0 to 1")
    clips_sigma: float = option(ge=0.0, le=5.0, right="a number from 0 to 5")
    sources: Sources = option(description="where each figure comes from")

    def __post_init__(self) -> None:
        if self.clips < self.speakers:
            raise ValueError(f"has {self.clips} clips, less than one a speaker; there are {self.speakers}")
        if not self.shortest < self.mean < self.longest:
            raise ValueError("the mean must lie between shortest and longest")


@dataclass(frozen=True, eq=False)
class Speech:
    """The clips of a corpus, speaker by speaker.

    Attributes:
        name: of the corpus.
        first: int64[speakers + 1], where each speaker's clips begin.
        samples: int64[clips], length of each clip at 16 kHz.
    """

    name: str
    first: Ints
    samples: Ints

    @property
    def speakers(self) -> int:
        """How many speakers have a clip."""
        return self.first.size - 1

    @property
    def clips(self) -> int:
        """How many clips there are."""
        return self.samples.size

    @property
    def seconds(self) -> float:
        """Length of all clips together."""
        return float(self.samples.sum()) / SAMPLES_PER_S

    @staticmethod
    def of(name: str, speaker: ArrayLike, seconds: ArrayLike) -> Speech:
        """The clips of a real corpus.

        Args:
            name: of the corpus.
            speaker: [clips], who speaks; speakers are put in order of their name.
            seconds: [clips], positive.

        Raises:
            TraceError: if there is no clip, or one has no positive length.
        """
        length = np.asarray(seconds, dtype=np.float64)
        if not length.size:
            raise TraceError(f"the corpus {name!r} has no clip")
        if not (np.isfinite(length) & (length > 0.0)).all():
            raise TraceError(f"the corpus {name!r} has a clip whose length is not a positive number")
        _, code = np.unique(np.asarray(speaker), return_inverse=True)
        order = np.argsort(code, kind="stable")
        return Speech(name, _firsts(np.bincount(code)), _samples(length[order]))

    def rescaled(self, mean_seconds: float) -> Speech:
        """The same with every length multiplied so that the mean is ``mean_seconds``.

        Raises:
            TraceError: if the mean is not a positive number.
        """
        if not 0.0 < mean_seconds < 1e6:
            raise TraceError(f"{mean_seconds} s is no mean length of a clip; give a positive number")
        factor = mean_seconds * self.clips / self.seconds
        return Speech(self.name, self.first, _samples(self.samples / SAMPLES_PER_S * factor))

    def limited(self, max_seconds: float) -> Speech:
        """The same without the clips that are longer; speakers left without any are left out.

        Raises:
            TraceError: if none is left.
        """
        keep = self.samples <= max_seconds * SAMPLES_PER_S
        if not keep.any():
            shortest = float(self.samples.min()) / SAMPLES_PER_S
            raise TraceError(
                f"no clip of {self.name!r} is within {max_seconds} s; the shortest is {shortest:.2f} s"
            )
        left = np.add.reduceat(keep.astype(np.int64), self.first[:-1])
        return Speech(self.name, _firsts(left[left > 0]), self.samples[keep])


def names() -> list[str]:
    """The profiles that ship with fedsim."""
    return paths.names(FOLDER, ".yaml")


def load(name_or_path: str) -> Speech:
    """The corpus of a profile.

    Raises:
        TraceError: if there is no such profile, or it has a fault.
    """
    path = paths.find(name_or_path, FOLDER, ".yaml")
    if path is None:
        right = slashes(name_or_path, f"known are {', '.join(names())}, or a file")
        raise TraceError(f"there is no corpus {name_or_path!r} to take lengths from; {right}")
    return _drawn(path, checks.check(Profile, yamlfile.load(path, TraceError), file=path, error=TraceError))


@lru_cache(maxsize=8)
def _drawn(path: Path, profile: Profile) -> Speech:
    speech = _draw(path.stem, profile)
    speech.first.flags.writeable = speech.samples.flags.writeable = False  # one object for everybody
    return speech


def _draw(name: str, profile: Profile) -> Speech:
    """A corpus with exactly the profile's clips, speakers and (to a sample) mean length.

    Numbers of clips are the quantiles of a log-normal, brought to the exact sum by largest
    remainders, each at least one. Lengths are the quantiles of a Kumaraswamy distribution
    ("A generalized probability density function for double-bounded random processes", Journal of
    Hydrology 46, 1980), dealt out by a normal score that clips of one speaker share in part.
    """
    clips, speakers = profile.clips, profile.speakers
    normal = NormalDist()
    weight = np.array(
        [math.exp(profile.clips_sigma * normal.inv_cdf((i + 0.5) / speakers)) for i in range(speakers)]
    )
    ideal = (clips - speakers) * weight / weight.sum()
    count = 1 + np.floor(ideal).astype(np.int64)
    short = clips - int(count.sum())
    count[np.argsort(np.floor(ideal) - ideal, kind="stable")[:short]] += 1
    speaker = np.repeat(np.arange(speakers), count)
    stream = rng.key(0, "speech", name)
    shared = profile.speaker_correlation
    score = math.sqrt(shared) * rng.normals(stream, speaker) + math.sqrt(1.0 - shared) * rng.normals(
        stream, np.arange(clips), 1
    )
    seconds = np.empty(clips)
    seconds[np.argsort(score, kind="stable")] = _quantiles(clips, profile)
    return Speech(name, _firsts(count), _samples(seconds))


def _quantiles(count: int, profile: Profile) -> Floats:
    """``count`` ascending lengths whose mean is the profile's; the second parameter b follows from it.

    The distribution's mean on (0, 1) with parameters a and b is b B(1 + 1 / a, b).
    """
    low, high, a = profile.shortest, profile.longest, profile.shape
    mean = (profile.mean - low) / (high - low)
    few, many = 1e-3, 1e6
    for _ in range(100):  # the mean falls as b grows
        b = math.sqrt(few * many)
        log_mean = math.log(b) + math.lgamma(1 + 1 / a) + math.lgamma(b) - math.lgamma(1 + 1 / a + b)
        few, many = (b, many) if log_mean > math.log(mean) else (few, b)
    rest = 1.0 - (np.arange(count) + 0.5) / count
    return np.asarray(low + (high - low) * (1.0 - rest ** (1.0 / b)) ** (1.0 / a))


def _samples(seconds: Floats) -> Ints:
    return np.maximum(np.rint(seconds * SAMPLES_PER_S), 1.0).astype(np.int64)


def _firsts(count: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
