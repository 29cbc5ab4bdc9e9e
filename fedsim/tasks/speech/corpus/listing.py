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
from fedsim.tasks.speech.corpus.decode import MISSING, decode_all, doubt
from fedsim.tasks.speech.corpus.options import Listed
from fedsim.units import SAMPLES_PER_S
from fedsim.words import plural, slashes

DECODER_VERSION = 2
HELD_OUT_SHARE = 0.1
ALLOW = "if you trust it, add --allow-outside, or --set learning.corpus.outside=true"
OVERLAP = "or say learning.corpus.overlap: true"
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
        language: its tag, where the list or the scenario says so.
    """

    file: Path
    name: str
    speaker: str
    text: str
    split: str = ""
    client: str = ""
    language: str = ""


@dataclass(frozen=True)
class Listing:
    """What a list holds.

    Attributes:
        recordings: in its order.
        skipped: (row, reason) of the rows that cannot be used.
    """

    recordings: list[Recording]
    skipped: list[tuple[str, str]]


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


def hold_out(
    recordings: list[Recording], seed: int, source: Path | None = None, overlap: bool = False
) -> list[Recording]:
    """Give every recording without a split one, by speaker: a tenth each for validation and test.

    A speaker some of whose recordings have a split keeps it for the others. Of the rest, at least one
    speaker each is held out, chosen by a hash of the name. With ``overlap`` a speaker may be in several
    splits.

    Raises:
        CorpusError: if there are fewer than three speakers to divide, or a speaker is in two splits.
    """
    split: dict[str, str] = {}
    for r in recordings:
        if r.split and split.setdefault(r.speaker, r.split) != r.split and not overlap:
            raise CorpusError(
                f"has the speaker {r.speaker!r} in {split[r.speaker]} and in {r.split} ({r.name}); give "
                f"each speaker one split, {OVERLAP}",
                file=source,
            )
    open_speakers = sorted({r.speaker for r in recordings} - set(split), key=lambda s: (_rank(seed, s), s))
    if 0 < len(open_speakers) < 3:
        raise CorpusError(
            f"has {plural(len(open_speakers), 'speaker')} and no splits; "
            "give a split column, or at least 3 speakers",
            file=source,
        )
    count = max(1, round(HELD_OUT_SHARE * len(open_speakers)))
    split |= dict.fromkeys(open_speakers, "train")
    split |= dict.fromkeys(open_speakers[:count], "validation")
    split |= dict.fromkeys(open_speakers[count : 2 * count], "test")
    return [r if r.split else replace(r, split=split[r.speaker]) for r in recordings]


def build(found: Listing, spec: Listed, source: Path) -> store.Corpus:
    """Decode the recordings of a list into the cache, or open it there.

    With ``spec.minutes``, recordings are taken in an order drawn by hash until the training split
    holds that much and each held-out split a tenth of it.

    Raises:
        CorpusError: if nothing usable is left in a split, naming what was skipped; if a speaker or the
            sound of a recording is in two splits, unless ``spec.overlap`` allows it.
    """
    if not found.recordings:
        raise CorpusError("lists no recordings", file=source)
    listed = hold_out(found.recordings, spec.seed, source, spec.overlap)
    if spec.minutes is not None:
        listed = sorted(listed, key=lambda r: (_rank(spec.seed, r.name), r.name))
    digest = hashlib.blake2b(digest_size=8)
    said = [DECODER_VERSION, spec.minutes, spec.seed, spec.overlap, found.skipped]
    digest.update(json.dumps(said).encode())
    for recording in listed:
        fields = [str(field) for field in astuple(recording)]
        try:
            status = recording.file.stat()
            fields += [str(status.st_size), str(status.st_mtime_ns)]
        except OSError:
            fields.append("missing")
        digest.update("\x1f".join(fields).encode("utf-8", "replace") + b"\x1e")
    place = paths.cache_dir() / "corpora" / f"{spec.name}-{digest.hexdigest()}"
    return store.cached(place, lambda folder: _decode(folder, listed, found.skipped, spec, source))


def _decode(
    folder: Path, listed: list[Recording], rows: list[tuple[str, str]], spec: Listed, source: Path
) -> None:
    kept: list[Recording] = []
    samples: list[int] = []
    skipped: list[tuple[str, str]] = []
    doubtful: list[tuple[str, str]] = []
    sounds: list[bytes] = []
    first: dict[bytes, Recording] = {}
    limit = math.inf if spec.minutes is None else spec.minutes * 60 * SAMPLES_PER_S
    room = {"train": limit, "validation": limit / 10, "test": limit / 10}
    wanted = (r for r in listed if room[r.split] > 0)  # asked again below: decoding runs ahead
    ahead, behind = itertools.tee(wanted)
    with (folder / "audio.i16").open("wb") as out:
        for decoded, recording in zip(decode_all(r.file for r in ahead), behind, strict=True):
            if room[recording.split] <= 0:
                continue
            if isinstance(decoded, str):
                hint = slashes(recording.name) if decoded == MISSING else ""
                skipped.append((recording.name, f"{decoded} ({hint})" if hint else decoded))
                continue
            sound = hashlib.blake2b(decoded.tobytes(), digest_size=16).digest()
            twin = first.setdefault(sound, recording)
            if twin.split != recording.split and not spec.overlap:
                raise CorpusError(
                    f"has the same sound in {twin.split} ({twin.name}) and in {recording.split} "
                    f"({recording.name}); give it one split, {OVERLAP}",
                    file=source,
                )
            sounds.append(sound)
            if level := doubt(decoded):
                doubtful.append((recording.name, level))
            out.write(decoded.tobytes())
            kept.append(recording)
            samples.append(len(decoded))
            room[recording.split] -= len(decoded)
    if not any(recording.split == "train" for recording in kept):
        train = sum(recording.split == "train" for recording in listed)
        held = f"has no usable training speech: 0 of {plural(train, 'training recording')} can be used"
        if not train:
            held = f"has no training speech: of {plural(len(listed), 'recording')}, none is for training"
        named = f"; the first skipped, {skipped[0][0]}, {skipped[0][1]}" if skipped else ""
        raise CorpusError(f"{held}{named}", file=source)
    learnt = {sound for sound, r in zip(sounds, kept, strict=True) if r.split == "train"}
    store.write_table(
        folder,
        speaker=[r.speaker for r in kept],
        text=[r.text for r in kept],
        samples=samples,
        split=[r.split for r in kept],
        client=[r.client for r in kept],
        language=[r.language for r in kept],
        skipped=[*rows, *skipped],
        doubtful=doubtful,
        repeated=[i for i, r in enumerate(kept) if r.split != "train" and sounds[i] in learnt],
    )
