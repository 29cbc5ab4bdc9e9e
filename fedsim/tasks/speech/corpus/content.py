"""What a corpus is made of, as plain data: equal for equal speech, wherever it lies."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from fedsim import checks
from fedsim.tasks.speech.corpus import common_voice, manifest
from fedsim.tasks.speech.corpus.options import Corpus, Listed, Manifest


def content(corpus: Corpus) -> Any:
    """The options, and of recordings the list of them with sizes and times instead of its path.

    Raises:
        CorpusError: the list cannot be read.
    """
    said = checks.dump(corpus)
    if not isinstance(corpus, Listed):
        return said
    if isinstance(corpus, Manifest):
        found = manifest.read(Path(corpus.path), corpus)
    else:
        found = common_voice.read(common_voice.folder_of(corpus), corpus)
    rows: list[Any] = list(found.skipped)
    for recording in found.recordings:
        try:
            status = recording.file.stat()
            at: tuple[int, int] | None = (status.st_size, status.st_mtime_ns)
        except OSError:
            at = None
        said_of = [recording.name, recording.speaker, recording.text, recording.split, recording.client]
        rows.append([*said_of, recording.language, at])
    text = json.dumps(rows, ensure_ascii=False)
    return [{**said, "path": None}, hashlib.blake2b(text.encode("utf-8"), digest_size=20).hexdigest()]
