"""A corpus on disk and in memory: one flat array of samples and a table of utterances.

A corpus is a folder with ``audio.i16`` (16 kHz mono, little-endian int16, end to end),
``utterances.parquet`` (speaker, text, offset, samples, split, client, language) and ``notes.json`` (what
is to be said of the recordings). It is written into a scratch folder beside its place and renamed, so
that a half-written corpus is never seen; two processes that make the same corpus at once leave one, and
what crashes left goes when the next one is made.
The audio is memory-mapped: worker processes share its pages.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim import locks
from fedsim.errors import CorpusError
from fedsim.tasks.speech.text import about_figures, has_figures, normalise
from fedsim.units import SAMPLES_PER_S
from fedsim.words import plural

SPLITS = ("train", "validation", "test")
COLUMNS = ("speaker", "text", "offset", "samples", "split", "client", "language")
_NOTES = "notes.json"  # what was skipped, what is doubtful, what is repeated
NAMED = 5  # skipped recordings that a sentence names
LISTED = 1000  # skipped recordings that an account lists


@dataclass(frozen=True)
class Corpus:
    """Decoded speech.

    Attributes:
        folder: where it lies.
        audio: int16[total samples], memory-mapped, read-only.
        offset, samples: int64[n], where each utterance begins and how long it is.
        speaker: tuple of n speaker names.
        text: tuple of n transcripts.
        split: tuple of n split names.
        client: tuple of n names of who holds each, empty where nobody said.
        language: tuple of n language tags, empty where nobody said.
        skipped: (file, reason) of what could not be used.
        doubtful: (file, reason) of what is used although it is clipped or faint.
        repeated: held-out utterances whose very sound is in the training split too.
    """

    folder: Path
    audio: NDArray[np.int16]
    offset: NDArray[np.int64]
    samples: NDArray[np.int64]
    speaker: tuple[str, ...]
    text: tuple[str, ...]
    split: tuple[str, ...]
    client: tuple[str, ...]
    language: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    doubtful: tuple[tuple[str, str], ...] = ()
    repeated: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.samples)

    def waveform(self, utterance: int) -> NDArray[np.int16]:
        """The samples of one utterance, a view of the memory map."""
        start = int(self.offset[utterance])
        return self.audio[start : start + int(self.samples[utterance])]

    def words(self, utterance: int) -> str:
        """The transcript of one utterance as words; see :func:`fedsim.tasks.speech.text.normalise`."""
        return normalise(self.text[utterance], self.language[utterance])

    def of_split(self, split: str) -> NDArray[np.int64]:
        """The utterances of a split, in order."""
        return np.array([i for i, name in enumerate(self.split) if name == split], dtype=np.int64)

    def heard(self, split: str) -> int:
        """How many utterances of a held-out split training hears itself, or hears the speaker of."""
        if split == "train":
            return 0
        known = {self.speaker[i] for i in self.of_split("train")}
        return sum(self.speaker[i] in known or i in self.repeated for i in self.of_split(split).tolist())

    @property
    def figures(self) -> int:
        """How many transcripts hold figures or symbols: what was said there can be read in several ways."""
        return sum(map(has_figures, self.text))

    def summary(self) -> list[str]:
        """What it holds and what was skipped, a sentence each, for a person to read."""
        held = {name: self.of_split(name) for name in SPLITS}
        parts = [
            f"{self.samples[held[name]].sum() / SAMPLES_PER_S / 60:.1f} min {name} "
            f"({plural(len({self.speaker[i] for i in held[name]}), 'speaker')})"
            for name in SPLITS
        ]
        lines = [f"{plural(len(self), 'utterance')}: {', '.join(parts)}"]
        for what, found in (("skipped", self.skipped), ("used, doubtful", self.doubtful)):
            if found:
                named = "; ".join(f"{file} {why}" for file, why in found[:NAMED])
                more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
                lines.append(f"{plural(len(found), 'recording')} {what}: {named}{more}")
        lines += [
            f"error rates on {name} are too low: training hears the speaker or the sound of "
            f"{self.heard(name)} of its {plural(len(held[name]), 'utterance')}"
            for name in SPLITS
            if self.heard(name)
        ]
        if self.figures:
            lines.append(about_figures(self.figures, len(self)))
        return lines

    def account(self) -> dict[str, Any]:
        """The same in figures, for the manifest and the summary of a run.

        Keys are those of ``corpus`` in :data:`fedsim.results.columns.SUMMARY`; ``sha256`` is that
        of the list of utterances, not of the sound.
        """
        digest = hashlib.sha256()
        for row in zip(self.speaker, self.text, self.samples.tolist(), self.split, self.client, strict=True):
            digest.update(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")
        held = {name: self.of_split(name) for name in SPLITS}
        account: dict[str, Any] = {
            "utterances": len(self),
            "speakers": len(set(self.speaker)),
            "seconds": {n: float(self.samples[held[n]].sum()) / SAMPLES_PER_S for n in SPLITS},
            "skipped": len(self.skipped),
            "skipped_files": [f"{file} {why}" for file, why in self.skipped[:LISTED]],
            "figures": self.figures,
            "sha256": digest.hexdigest(),
        }
        if heard := {name: self.heard(name) for name in SPLITS if self.heard(name)}:
            account["heard"] = heard
        if self.doubtful:
            account["doubtful"] = len(self.doubtful)
            account["doubtful_files"] = [f"{file} {why}" for file, why in self.doubtful[:LISTED]]
        return account

    @property
    def seconds(self) -> float:
        """Length of all speech."""
        return float(self.samples.sum()) / SAMPLES_PER_S


def write_table(
    folder: Path,
    speaker: list[str],
    text: list[str],
    samples: list[int],
    split: list[str],
    client: list[str] | None = None,
    language: list[str] | None = None,
    skipped: list[tuple[str, str]] | None = None,
    doubtful: list[tuple[str, str]] | None = None,
    repeated: list[int] | None = None,
) -> None:
    """Write ``utterances.parquet`` and the notes beside ``audio.i16``; offsets follow from the lengths."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    lengths = np.array(samples, dtype=np.int64)
    table = pa.table(
        {
            "speaker": pa.array(speaker, pa.string()),
            "text": pa.array(text, pa.string()),
            "offset": np.cumsum(lengths) - lengths,
            "samples": lengths,
            "split": pa.array(split, pa.string()),
            "client": pa.array(client or [""] * len(split), pa.string()),
            "language": pa.array(language or [""] * len(split), pa.string()),
        }
    )
    pq.write_table(table, folder / "utterances.parquet")
    notes = {"skipped": skipped or [], "doubtful": doubtful or [], "repeated": repeated or []}
    (folder / _NOTES).write_text(json.dumps(notes, ensure_ascii=False), encoding="utf-8")


def load(folder: Path) -> Corpus | None:
    """Open a corpus; None if there is none at ``folder`` or it is damaged."""
    import pyarrow.parquet as pq

    audio, table = folder / "audio.i16", folder / "utterances.parquet"
    if not (audio.is_file() and table.is_file() and (folder / _NOTES).is_file()):
        return None
    try:
        columns = pq.read_table(table, columns=list(COLUMNS)).to_pydict()
        notes = json.loads((folder / _NOTES).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # pyarrow's ArrowInvalid is a ValueError
        return None
    samples = np.array(columns["samples"], dtype=np.int64)
    if set(columns) != set(COLUMNS):
        return None
    if audio.stat().st_size != 2 * int(samples.sum()) or not len(samples):
        return None
    return Corpus(
        folder=folder,
        audio=np.memmap(audio, dtype="<i2", mode="r"),
        offset=np.array(columns["offset"], dtype=np.int64),
        samples=samples,
        speaker=tuple(columns["speaker"]),
        text=tuple(columns["text"]),
        split=tuple(columns["split"]),
        client=tuple(columns["client"]),
        language=tuple(columns["language"]),
        skipped=tuple((str(file), str(why)) for file, why in notes["skipped"]),
        doubtful=tuple((str(file), str(why)) for file, why in notes["doubtful"]),
        repeated=frozenset(notes["repeated"]),
    )


def cached(place: Path, make: Callable[[Path], None]) -> Corpus:
    """The corpus at ``place``, made by ``make(temporary folder)`` if it is not there yet.

    Raises:
        CorpusError: if the folder cannot be written, or ``make`` raises it.
    """
    found = load(place)
    if found is not None:
        return found
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with locks.scratch(place.parent, ".making-") as work:
            make(work)
            if place.exists() and load(place) is None:
                shutil.rmtree(place, ignore_errors=True)
            try:
                work.replace(place)
            except OSError:  # another process was first
                if load(place) is None:
                    raise
    except OSError as fault:
        raise CorpusError(
            f"the cache folder cannot be written: {fault.strerror or fault}", file=place.parent
        ) from None
    made = load(place)
    if made is None:
        raise CorpusError("the corpus could not be read back after it was made", file=place)
    return made
