"""A Mozilla Common Voice folder, version 7 or later: ``clips/*.mp3`` and lists as TSV.

The lists are read by header, since columns come and go between versions, and without quoting: a
bare ``"`` in a sentence is legal. ``dev.tsv`` is the validation split and ``test.tsv`` the test
split; training speech is all of ``validated.tsv`` (or ``train.tsv`` where there is none) whose
speaker is in neither. Without dev and test lists, speakers are held out as for a manifest.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from fedsim import files
from fedsim.errors import CorpusError
from fedsim.tasks.speech.corpus import listing, store, table
from fedsim.tasks.speech.corpus.options import Listed
from fedsim.words import slashes

REQUIRED = ("client_id", "path", "sentence")
_LONGEST_LINE = 1_000_000


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
        why = "it has no clips folder" if root.is_dir() else slashes(root, "there is no such folder")
        raise CorpusError(f"is not a Common Voice folder: {why}", file=root)
    if not spec.outside and not found.resolve().is_relative_to(root.resolve()):
        raise CorpusError(f"is a link that leads out of {root}; {listing.ALLOW}", file=found)
    return found


def read(folder: Path, spec: Listed) -> listing.Listing:
    """The recordings that a Common Voice folder lists; see :func:`load`."""
    lists = [_list(folder, name, split, spec) for name, split in (("dev", "validation"), ("test", "test"))]
    held_out = [recording for found in lists for recording in found.recordings]
    speakers, names = {r.speaker for r in held_out}, {r.name for r in held_out}
    main = [name for name in ("validated", "train") if (folder / f"{name}.tsv").exists()]
    if not main:
        raise CorpusError("has neither validated.tsv nor train.tsv", file=folder)
    rest: list[listing.Recording] = []
    while main and not rest:
        lists.append(_list(folder, main.pop(0), "train" if held_out else "", spec))
        rest = [r for r in lists[-1].recordings if r.speaker not in speakers and r.name not in names]
    return listing.Listing(rest + held_out, [fault for found in lists for fault in found.skipped])


def _list(folder: Path, name: str, split: str, spec: Listed) -> listing.Listing:
    file = folder / f"{name}.tsv"
    if not file.exists():
        return listing.Listing([], [])
    inside = None if spec.outside else folder.resolve()
    clips = listing.within(folder / "clips", inside, file, "")

    def recording(cells: dict[str, str], where: str) -> listing.Recording | str:
        speaker, clip = cells["client_id"], cells["path"]
        if not speaker:
            return "has an empty client_id"
        if not clip or Path(clip).name != clip:
            return f"has no file name as its path ({clip!r})"
        clip = clip if "." in clip else f"{clip}.mp3"
        path = listing.within(clips / clip, inside, file, where)
        language = cells.get("locale") or spec.language or ""
        return listing.Recording(path, clip, speaker, cells["sentence"], split, language=language)

    with closing(files.lines(file, CorpusError, listing.MOST_BYTES, _LONGEST_LINE)) as text:
        rows = (line.rstrip("\r\n") for line in text)
        numbered = ((number, row.split("\t") if row else []) for number, row in enumerate(rows, start=1))
        return table.read(file, numbered, REQUIRED, recording)
