"""Real recorded Italian for fedsim: Asterisk's voice prompts become a speech manifest.

    pip install G722
    python analysis/data/asterisk_it.py FOLDER [--packages DIR] [--clients 10]
    fedsim run real-italian --set learning.corpus.path=FOLDER/manifest.csv

Source: the Debian packages ``asterisk-core-sounds-it-g722`` (24 minutes of G.722 at 16 kHz) and
``asterisk-core-sounds-it`` (transcripts), recorded by Carlo Flora, CC-BY 3.0. Where ``apt-get``
exists they are downloaded (not installed); elsewhere put both ``.deb`` files into ``--packages``.

What to know about this corpus:

- **One person speaks.** Speaker-disjoint test data cannot exist: validation and test hold other
  sentences of the same voice. Recordings of one text always lie in the same split.
- The ``client`` column is ours: training recordings dealt out in equal seconds, by a hash.
- Tones, noises and silence are left out. A transcript with digits, a bracket or a letter that was
  lost in the source (a ``?`` before its end) does not say what is heard: its text is left empty, so
  the recording serves pretraining but not recognition.
"""

# %% Setup
from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

AUDIO, TEXTS = "asterisk-core-sounds-it-g722", "asterisk-core-sounds-it"
SPEAKER, RATE_HZ, BIT_RATE = "carlo-flora", 16_000, 64_000
NOT_SPEECH = re.compile(r"silence/|beep|ascending-|descending-|tt-monkeys$")
DOUBTFUL = re.compile(r"[0-9\[\]]|\?(?!\W*$)")
SHORTEST_S = 0.3


def rank(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


# %% The packages
def package(name: str, folder: Path) -> Path:
    """The .deb file of a package in ``folder``, downloaded if it is not there."""
    found = sorted(folder.glob(f"{name}_*.deb"))
    if not found and shutil.which("apt-get"):
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["apt-get", "download", name], cwd=folder, capture_output=True, text=True)
        found = sorted(folder.glob(f"{name}_*.deb"))
        if not found:
            sys.exit(f"apt-get download {name} failed: {done.stderr.strip()}; try apt-get update first")
    if not found:
        sys.exit(f"{folder} holds no {name}_*.deb; get Debian's package {name} and put it there")
    return found[-1]


def members(deb: Path) -> Iterator[tuple[str, bytes]]:
    """(path, content) of every regular file in a .deb: an ar archive that holds data.tar.*."""
    with deb.open("rb") as raw:
        if raw.read(8) != b"!<arch>\n":
            sys.exit(f"{deb} is not a Debian package")
        while len(header := raw.read(60)) == 60:
            name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
            content = raw.read(size + size % 2)[:size]
            if name.startswith("data.tar"):
                with tarfile.open(fileobj=io.BytesIO(content)) as inner:
                    for member in inner:
                        file = inner.extractfile(member) if member.isreg() else None
                        if file is not None:
                            yield member.name, file.read()


def transcripts(deb: Path) -> dict[str, str]:
    """Text by recording: lines ``ID: text``, UTF-8 with a byte order mark, ``;`` begins a comment."""
    found = {}
    for path, content in members(deb):
        if path.endswith("core-sounds-it.txt.gz"):
            for line in gzip.decompress(content).decode("utf-8-sig").splitlines():
                name, colon, text = line.partition(": ")
                if colon and not line.startswith(";"):
                    found[name.strip()] = text.strip()
    return found


# %% Decode, divide, write
def split_of(text: str, name: str) -> str:
    """A tenth each for validation and test, by the text (by the name where there is none)."""
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    place = rank(" ".join(words) or name)
    return "validation" if place < 0.1 else "test" if place < 0.2 else "train"


def main() -> None:
    """Build the corpus and say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where manifest.csv and the recordings go")
    parser.add_argument(
        "--packages", type=Path, help="where the two .deb files are [default: FOLDER/packages]"
    )
    parser.add_argument("--clients", type=int, default=10, help="among whom training recordings are dealt")
    options = parser.parse_args()
    try:
        import G722
        import numpy as np
        import soundfile
    except ImportError as missing:
        sys.exit(f"{missing.name} is missing; install it with: pip install {missing.name}")
    if options.clients < 1:
        sys.exit("--clients must be at least 1")
    packages = options.packages or options.folder / "packages"
    audio, texts = package(AUDIO, packages), transcripts(package(TEXTS, packages))

    rows: list[dict[str, str]] = []
    seconds: dict[str, float] = {}
    for path, content in members(audio):
        if not path.endswith(".g722"):
            continue
        name = path.split("/it_IT_m_Carlo/")[-1].removesuffix(".g722")
        if NOT_SPEECH.match(name) or ".." in name.split("/"):
            continue
        wave = np.array(G722.G722(RATE_HZ, BIT_RATE).decode(content), dtype=np.int16)
        if len(wave) < SHORTEST_S * RATE_HZ:
            continue
        place = options.folder / "wav" / f"{name}.wav"
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, wave, RATE_HZ, subtype="PCM_16")
        said = texts.get(name, "")
        kept = "" if DOUBTFUL.search(said) else said
        where = place.relative_to(options.folder).as_posix()
        seconds[where] = len(wave) / RATE_HZ
        rows.append(
            {"path": where, "speaker": SPEAKER, "text": kept, "split": split_of(said, name)}
            | {"client": "", "language": "it"}
        )
    held = [0.0] * options.clients
    for row in sorted(rows, key=lambda row: rank(row["path"])):
        if row["split"] == "train":
            least = held.index(min(held))
            held[least] += seconds[row["path"]]
            row["client"] = f"client-{least:02d}"
    rows.sort(key=lambda row: row["path"])
    with (options.folder / "manifest.csv").open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"{options.folder / 'manifest.csv'}: {len(rows)} recordings of one speaker")
    for split in ("train", "validation", "test"):
        mine = [row for row in rows if row["split"] == split]
        minutes = sum(seconds[row["path"]] for row in mine) / 60
        told = sum(bool(row["text"]) for row in mine)
        print(f"  {split:10} {minutes:5.1f} min, {len(mine):3} recordings, {told:3} with a transcript")
    print("  one voice only: validation and test are other sentences, not other speakers")


if __name__ == "__main__":
    main()
