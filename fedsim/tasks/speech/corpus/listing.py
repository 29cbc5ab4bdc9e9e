"""A list of recordings becomes a corpus: held-out speakers, decoding, the account of what was skipped.

What a manifest and a Common Voice folder have in common once they have been read. The cache is
keyed by the list itself and by the size and time of every file, so a changed recording is decoded
anew.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from fedsim import paths
from fedsim.errors import CorpusError
from fedsim.tasks.speech.corpus import store
from fedsim.tasks.speech.corpus.decode import decode_all
from fedsim.tasks.speech.corpus.options import Listed
from fedsim.units import SAMPLES_PER_S
from fedsim.words import plural

DECODER_VERSION = 1
HELD_OUT_SHARE = 0.1
ALLOW = "if you trust it, add --allow-outside, or --set learning.corpus.outside=true"
MOST_BYTES = 800_000_000  # of a list: three million recordings


@dataclass(frozen=True)
class Recording:
    """One line of a list.

    Attributes:
        file: where the audio is.
        name: what to call it in messages, relative to the list.
        speaker, text: who says what.
        split: ``train``, ``validation``, ``test`` or empty: to be decided by speaker.
        client: who holds it, where the list says so.
    """

    file: Path
    name: str
    speaker: str
    text: str
    split: str = ""
    client: str = ""


def within(path: Path, folder: Path | None, source: Path, where: str) -> Path:
    """``path`` as it is, if following links from it does not leave ``folder``; None: it may lie anywhere.

    Raises:
        CorpusError: about ``source``, if it leads out of the folder or nowhere.
    """
    if folder is None:
        return path
    try:
        if path.is_symlink() and not path.resolve().is_relative_to(folder):
            raise CorpusError(
                f"names {path.name!r}, a link that leads out of the folder; {ALLOW}", file=source, key=where
            )
    except (OSError, ValueError, RuntimeError):
        raise CorpusError(f"names {path.name!r}, which cannot be followed", file=source, key=where) from None
    return path


def _rank(seed: int, text: str) -> bytes:
    return hashlib.blake2b(f"{seed}\x1f{text}".encode(), digest_size=8).digest()


def hold_out(recordings: list[Recording], seed: int, source: Path | None = None) -> list[Recording]:
    """Give every recording without a split one, by speaker: a tenth each for validation and test.

    At least one speaker each, chosen by a hash of the name.

    Raises:
        CorpusError: if there are fewer than three speakers to divide.
    """
    open_speakers = sorted({r.speaker for r in recordings if not r.split}, key=lambda s: (_rank(seed, s), s))
    if not open_speakers:
        return recordings
    if len(open_speakers) < 3:
        raise CorpusError(
            f"has {plural(len(open_speakers), 'speaker')} and no splits; "
            "give a split column, or at least 3 speakers",
            file=source,
        )
    count = max(1, round(HELD_OUT_SHARE * len(open_speakers)))
    split = dict.fromkeys(open_speakers, "train")
    split |= dict.fromkeys(open_speakers[:count], "validation")
    split |= dict.fromkeys(open_speakers[count : 2 * count], "test")
    return [r if r.split else replace(r, split=split[r.speaker]) for r in recordings]


def build(recordings: list[Recording], spec: Listed, source: Path) -> store.Corpus:
    """Decode a list of recordings into the cache, or open it there.

    With ``spec.minutes``, recordings are taken in an order drawn by hash until the training split
    holds that much and each held-out split a tenth of it.

    Raises:
        CorpusError: if nothing usable is left in a split, naming what was skipped.
    """
    if not recordings:
        raise CorpusError("lists no recordings", file=source)
    listed = hold_out(recordings, spec.seed, source)
    if spec.minutes is not None:
        listed = sorted(listed, key=lambda r: (_rank(spec.seed, r.name), r.name))
    digest = hashlib.blake2b(digest_size=8)
    digest.update(json.dumps([DECODER_VERSION, spec.minutes, spec.seed]).encode())
    for recording in listed:
        fields = [str(field) for field in astuple(recording)]
        try:
            status = recording.file.stat()
            fields += [str(status.st_size), str(status.st_mtime_ns)]
        except OSError:
            fields.append("missing")
        digest.update("\x1f".join(fields).encode("utf-8", "replace") + b"\x1e")
    place = paths.cache_dir() / "corpora" / f"{spec.name}-{digest.hexdigest()}"
    return store.cached(place, lambda folder: _decode(folder, listed, spec.minutes, source))


def _decode(folder: Path, listed: list[Recording], minutes: float | None, source: Path) -> None:
    kept: list[Recording] = []
    samples: list[int] = []
    skipped: list[tuple[str, str]] = []
    limit = math.inf if minutes is None else minutes * 60 * SAMPLES_PER_S
    room = {"train": limit, "validation": limit / 10, "test": limit / 10}
    wanted = (r for r in listed if room[r.split] > 0)  # asked again below: decoding runs ahead
    ahead, behind = itertools.tee(wanted)
    with (folder / "audio.i16").open("wb") as out:
        for decoded, recording in zip(decode_all(r.file for r in ahead), behind, strict=True):
            if room[recording.split] <= 0:
                continue
            if isinstance(decoded, str):
                skipped.append((recording.name, decoded))
                continue
            out.write(decoded.tobytes())
            kept.append(recording)
            samples.append(len(decoded))
            room[recording.split] -= len(decoded)
    if not any(recording.split == "train" for recording in kept):
        first = f"; the first skipped, {skipped[0][0]}, {skipped[0][1]}" if skipped else ""
        raise CorpusError(
            f"has no usable training speech: {len(kept)} of {plural(len(kept) + len(skipped), 'recording')} "
            f"can be used{first}",
            file=source,
        )
    store.write_table(
        folder,
        speaker=[r.speaker for r in kept],
        text=[r.text for r in kept],
        samples=samples,
        split=[r.split for r in kept],
        client=[r.client for r in kept],
        skipped=skipped,
    )
