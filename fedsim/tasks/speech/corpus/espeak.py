"""The embedded default corpus: synthetic Italian, made on demand and kept in the cache.

Who says what is decided by ``voices`` and ``italian``; ``synth`` says it, in a process of its own
that ends before this function returns. Every tenth speaker is held out for validation and every
tenth for testing (with fewer than ten speakers, one each), by number, so a larger corpus keeps
the splits of a smaller one.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from fedsim import paths
from fedsim.errors import CorpusError
from fedsim.tasks.speech.corpus import store
from fedsim.tasks.speech.corpus.options import DEFAULT_MINUTES, Espeak

GENERATOR_VERSION = 1
_TIMEOUT_S = 3600


def split_of(number: int, speakers: int) -> str:
    """The split that speaker ``number`` of ``speakers`` belongs to."""
    if speakers < 10:
        return {speakers - 2: "validation", speakers - 1: "test"}.get(number, "train")
    return {8: "validation", 9: "test"}.get(number % 10, "train")


def load(spec: Espeak) -> store.Corpus:
    """The corpus of ``spec``, from the cache or spoken now (a thousandth of its length).

    Raises:
        CorpusError: if espeak-ng cannot be loaded or the cache cannot be written.
    """
    job: dict[str, Any] = {
        "language": spec.language or "it",
        "speakers": spec.speakers,
        "minutes": DEFAULT_MINUTES if spec.minutes is None else float(spec.minutes),
        "seed": spec.seed,
    }
    version = {"generator": GENERATOR_VERSION, "espeakng-loader": metadata.version("espeakng-loader")}
    text = json.dumps({**job, **version}, sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    name = f"espeak-{job['language']}-{spec.speakers}x{job['minutes']:g}-{digest}"
    return store.cached(paths.cache_dir() / "corpora" / name, lambda folder: _make(folder, job))


def _make(folder: Path, job: dict[str, Any]) -> None:
    root = str(Path(__file__).resolve().parents[4])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fedsim.tasks.speech.corpus.synth"],
            input=json.dumps({**job, "out": str(folder), "parent": os.getpid()}),
            env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise CorpusError(f"the embedded corpus could not be spoken: {fault}") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        why = lines[-1] if lines else f"exit code {done.returncode}"
        raise CorpusError(f"the embedded corpus could not be spoken by espeak-ng: {why}")
    listing = folder / "utterances.json"
    said = json.loads(listing.read_text(encoding="utf-8"))
    listing.unlink()
    numbers = [int(number) for number, _, _ in said]
    store.write_table(
        folder,
        speaker=[f"espeak-{number:04d}" for number in numbers],
        text=[str(text) for _, text, _ in said],
        samples=[int(samples) for _, _, samples in said],
        split=[split_of(number, job["speakers"]) for number in numbers],
        language=[str(job["language"])] * len(said),
    )
