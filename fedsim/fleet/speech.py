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
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fedsim import paths, rng, units, yamlfile
from fedsim.errors import TraceError
from fedsim.fleet.who import Floats, Ints
from fedsim.units import SAMPLES_PER_S

FOLDER = "traces/lengths"
_KEYS = ("title", "clips", "speakers", "mean", "shortest", "longest")
_SHAPES = ("shape", "speaker_correlation", "clips_sigma")


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
        known = ", ".join(names())
        raise TraceError(
            f"there is no corpus {name_or_path!r} to take lengths from; known are {known}, or a file"
        )
    return _drawn(path, tuple(_read(path).items()))


def _read(path: Path) -> dict[str, float]:
    data = yamlfile.load(path, TraceError)
    if not isinstance(data, dict):
        raise TraceError("is not a mapping", file=path)
    known = {*_KEYS, *_SHAPES, "sources"}
    for key in data:
        if key not in known:
            raise TraceError(f"is not known; known are {', '.join(sorted(known))}", file=path, key=key)
    for key in known:
        if key not in data:
            raise TraceError("is missing", file=path, key=key)
    sources: Any = data["sources"]
    for key in (*_KEYS[1:], *_SHAPES):
        if not isinstance(sources, dict) or not isinstance(sources.get(key), str):
            raise TraceError("is missing: say where the figure comes from", file=path, key=f"sources.{key}")
    return {
        "clips": _number(data, "clips", path, 1, 1e7, whole=True),
        "speakers": _number(data, "speakers", path, 1, 1e6, whole=True),
        "mean": _duration(data, "mean", path),
        "shortest": _duration(data, "shortest", path),
        "longest": _duration(data, "longest", path),
        "shape": _number(data, "shape", path, 0.1, 100.0),
        "speaker_correlation": _number(data, "speaker_correlation", path, 0.0, 1.0),
        "clips_sigma": _number(data, "clips_sigma", path, 0.0, 5.0),
    }


def _number(
    data: dict[str, Any], key: str, path: Path, low: float, high: float, *, whole: bool = False
) -> float:
    value = data[key]
    good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not good or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise TraceError(f"is {value!r}; give {kind} from {low:g} to {high:g}", file=path, key=key)
    return float(value)


def _duration(data: dict[str, Any], key: str, path: Path) -> float:
    try:
        value = units.parse_duration_s(data[key])
    except ValueError as fault:
        raise TraceError(str(fault), file=path, key=key) from None
    if not 0.0 < value <= 3600.0:
        raise TraceError(f"is {data[key]!r}; give a length from 0s to 1h", file=path, key=key)
    return value


@lru_cache(maxsize=8)
def _drawn(path: Path, figures: tuple[tuple[str, float], ...]) -> Speech:
    speech = _draw(path, dict(figures))
    speech.first.flags.writeable = speech.samples.flags.writeable = False  # one object for everybody
    return speech


def _draw(path: Path, figures: dict[str, float]) -> Speech:
    """A corpus with exactly the profile's clips, speakers and (to a sample) mean length.

    Numbers of clips are the quantiles of a log-normal, brought to the exact sum by largest
    remainders, each at least one. Lengths are the quantiles of a Kumaraswamy distribution
    ("A generalized probability density function for double-bounded random processes", Journal of
    Hydrology 46, 1980), dealt out by a normal score that clips of one speaker share in part.
    """
    clips, speakers = int(figures["clips"]), int(figures["speakers"])
    if clips < speakers:
        raise TraceError(f"is {clips}, less than one a speaker", file=path, key="clips")
    if not figures["shortest"] < figures["mean"] < figures["longest"]:
        raise TraceError("must lie between shortest and longest", file=path, key="mean")
    normal = NormalDist()
    weight = np.array(
        [math.exp(figures["clips_sigma"] * normal.inv_cdf((i + 0.5) / speakers)) for i in range(speakers)]
    )
    ideal = (clips - speakers) * weight / weight.sum()
    count = 1 + np.floor(ideal).astype(np.int64)
    short = clips - int(count.sum())
    count[np.argsort(np.floor(ideal) - ideal, kind="stable")[:short]] += 1
    speaker = np.repeat(np.arange(speakers), count)
    stream = rng.key(0, "speech", path.stem)
    shared = figures["speaker_correlation"]
    score = math.sqrt(shared) * rng.normals(stream, speaker) + math.sqrt(1.0 - shared) * rng.normals(
        stream, np.arange(clips), 1
    )
    seconds = np.empty(clips)
    seconds[np.argsort(score, kind="stable")] = _quantiles(clips, figures)
    return Speech(path.stem, _firsts(count), _samples(seconds))


def _quantiles(count: int, figures: dict[str, float]) -> Floats:
    """``count`` ascending lengths whose mean is the profile's; the second parameter b follows from it.

    The distribution's mean on (0, 1) with parameters a and b is b B(1 + 1 / a, b).
    """
    low, high, a = figures["shortest"], figures["longest"], figures["shape"]
    mean = (figures["mean"] - low) / (high - low)
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
