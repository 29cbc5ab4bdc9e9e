"""A Mozilla Common Voice folder, version 7 or later: ``clips/*.mp3`` and lists as TSV.

The lists are read by header, since columns come and go between versions, and without quoting: a
bare ``"`` in a sentence is legal. ``dev.tsv`` is the validation split and ``test.tsv`` the test
split; training speech is all of ``validated.tsv`` (or ``train.tsv`` where there is none) whose
speaker is in neither. Without dev and test lists, speakers are held out as for a manifest.
"""

from __future__ import annotations

import csv
from pathlib import Path

from fedsim import files
from fedsim.errors import CorpusError
from fedsim.tasks.speech.corpus import listing, store
from fedsim.tasks.speech.corpus.options import Listed

REQUIRED = ("client_id", "path", "sentence")
_LONGEST_FIELD = 1_000_000


def load(spec: Listed) -> store.Corpus:
    """The corpus in the folder ``spec.path``, or in its sub-folder of the language.

    Raises:
        CorpusError: if there is no such folder, or nothing usable in it.
    """
    folder = folder_of(spec)
    return listing.build(read(folder, spec), spec, folder)


def folder_of(spec: Listed) -> Path:
    """The folder that holds the clips: ``spec.path``, or its sub-folder of the language.

    Raises:
        CorpusError: if neither is a Common Voice folder.
    """
    root = Path(spec.path)
    folders = [root, *([root / spec.language] if spec.language is not None else [])]
    found = next((folder for folder in folders if (folder / "clips").is_dir()), None)
    if found is None:
        raise CorpusError("is not a Common Voice folder: it has no clips folder", file=root)
    if not spec.outside and not found.resolve().is_relative_to(root.resolve()):
        raise CorpusError(f"is a link that leads out of {root}; {listing.ALLOW}", file=found)
    return found


def read(folder: Path, spec: Listed) -> list[listing.Recording]:
    """The recordings that a Common Voice folder lists; see :func:`load`."""
    held_out = [
        recording
        for split, name in (("validation", "dev"), ("test", "test"))
        for recording in _list(folder, name, split, spec)
    ]
    taken = {recording.speaker for recording in held_out}
    names = {recording.name for recording in held_out}
    main = next((n for n in ("validated", "train") if (folder / f"{n}.tsv").is_file()), None)
    if main is None:
        raise CorpusError("has neither validated.tsv nor train.tsv", file=folder)
    split = "train" if held_out else ""
    rest = [r for r in _list(folder, main, split, spec) if r.speaker not in taken and r.name not in names]
    return rest + held_out


def _list(folder: Path, name: str, split: str, spec: Listed) -> list[listing.Recording]:
    file = folder / f"{name}.tsv"
    if not file.exists():
        return []
    inside = None if spec.outside else folder.resolve()
    clips = listing.within(folder / "clips", inside, file, "")
    recordings = []
    previous = csv.field_size_limit(_LONGEST_FIELD)
    text = files.lines(file, CorpusError, listing.MOST_BYTES, _LONGEST_FIELD)
    try:
        rows = csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE)
        missing = [column for column in REQUIRED if column not in (rows.fieldnames or [])]
        if missing:
            raise CorpusError(f"lacks the column {missing[0]!r}", file=file)
        for row in rows:
            clip = (row["path"] or "").strip()
            if not clip or not row["client_id"] or Path(clip).name != clip:
                raise CorpusError(
                    f"has no usable client_id and path ({clip!r})", file=file, key=f"line {rows.line_num}"
                )
            clip = clip if "." in clip else f"{clip}.mp3"
            recordings.append(
                listing.Recording(
                    listing.within(clips / clip, inside, file, f"line {rows.line_num}"),
                    clip,
                    row["client_id"],
                    (row["sentence"] or "").strip(),
                    split,
                    language=(row.get("locale") or "").strip() or spec.language or "",
                )
            )
    except csv.Error as fault:
        raise CorpusError(f"cannot be read: {fault}", file=file) from None
    finally:
        csv.field_size_limit(previous)
        text.close()
    return recordings
