"""The files that a scenario names, and how far it may reach for them.

A scenario can come from anybody, so what it names is either in the catalogue or in its own folder.
A file elsewhere is used only if the person at the keyboard said so: by naming it on the command
line (``--set``), by allowing it (``--allow-outside``), or because its content is known already: the
run directory that is gone on with lists the SHA-256 of every file it was made from, so whoever wrote
it learns nothing from a file with that content. Scenarios that ship with fedsim may name files of the
working directory, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fedsim import files, paths
from fedsim.errors import InputError, ScenarioError
from fedsim.learning import weights
from fedsim.learning.options import Learning
from fedsim.options import one_of
from fedsim.tasks import TASKS, Task

FilesAt = Callable[[Path], list[Path]]

#: Keys whose text may name a file, whatever is learned; a ``*`` stands for each entry of a list.
_FILE_KEYS = (
    ("hardware", "trend"),
    ("workload", "corpus"),
    ("training", "model"),
    ("server", "device"),
    ("fleet", "mix", "*", "device"),
    ("fleet", "mix", "*", "link"),
    ("fleet", "mix", "*", "availability", "file"),
    ("fleet", "mix", "*", "pressure", "file"),
)
INIT = ("learning", "init")
CORPUS = ("learning", "corpus", "path")
OUTSIDE = "learning.corpus.outside"


def folder_keys() -> list[tuple[str, ...]]:
    """Keys whose text may name a folder, too: weights, and what tasks, plug-ins' included, learn from."""
    options = dict.fromkeys(option for task in _tasks().values() for option in task.reads)
    return [INIT, *(("learning", option, "path") for option in options)]


def file_keys() -> list[tuple[str, ...]]:
    """Keys whose text may name a file; a ``*`` stands for each entry of a list."""
    return [*_FILE_KEYS, *folder_keys()]


def _tasks() -> dict[str, type[Task]]:
    return one_of(Task, TASKS).choices()


def _task_of(data: dict[str, Any]) -> type[Task]:
    """The task of scenario data; the default one where they name none that there is."""
    learning = data.get("learning")
    named = learning.get(Task.key) if isinstance(learning, dict) else None
    return _tasks().get(str(named), type(Learning().task))


@dataclass(frozen=True)
class FileAccess:
    """What a scenario may use beside the catalogue and the files in its own folder.

    Attributes:
        outside: everything.
        opens: a manifest or corpus that it names may reach out of its folder, too.
        own: the files in its folder.
        said: key paths whose values come from the command line; what they name may lie anywhere.
        known: SHA-256 of files that may lie anywhere.
    """

    outside: bool = False
    opens: bool = False
    own: bool = True
    said: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()

    def covers(self, key: str) -> bool:
        """Whether the value at a key path was given on the command line."""
        return any(key == said or key.startswith((f"{said}.", f"{said}[")) for said in self.said)


NOWHERE = FileAccess()
ANYWHERE = FileAccess(outside=True)
ALLOWED = FileAccess(outside=True, opens=True)


def allowed(outside: bool) -> FileAccess:
    """What ``--allow-outside`` makes of a scenario's access."""
    return ALLOWED if outside else NOWHERE


@contextmanager
def as_said(access: FileAccess, by: str | None = "--set") -> Iterator[None]:
    """What is wrong with a value that was given beside the file is said of ``by``, not of the file."""
    try:
        yield
    except ScenarioError as error:
        if error.key is None or not access.covers(error.key):
            raise
        if by is None:
            raise ScenarioError(error.message, key=error.key) from None
        raise ScenarioError(error.message, file=f"{by} {error.key}") from None


def places(data: Any, keys: Sequence[str], path: str = "") -> Iterator[tuple[dict[str, Any], str, str]]:
    """Every (block, key, key path) in plain scenario data at which ``keys`` leads to text."""
    head, *rest = keys
    if head == "*":
        for number, entry in enumerate(data if isinstance(data, list) else []):
            yield from places(entry, rest, f"{path}[{number}]")
    elif isinstance(data, dict) and data.get(head) is not None:
        here = f"{path}.{head}" if path else head
        if rest:
            yield from places(data[head], rest, here)
        elif isinstance(data[head], str):
            yield data, head, here


def resolve(data: dict[str, Any], file: Path, access: FileAccess = NOWHERE) -> None:
    """Turn names of files beside the scenario into their paths, in place.

    Args:
        data: the scenario as plain data.
        file: where it comes from.
        access: what may lie outside of its folder.

    Raises:
        ScenarioError: it names a file that it may not use.
    """
    folders, task = folder_keys(), _task_of(data)
    for keys in file_keys():
        is_there = _exists if keys in folders else paths.is_file
        for block, key, where in places(data, keys):
            own, here = file.parent / block[key], Path(block[key])
            said = access.covers(where)
            if not block[key] or (said and is_there(here)):
                continue
            found = own if is_there(own) else here
            if not is_there(found):
                continue  # a name of the catalogue, or none at all
            reached = [found, *(weights.files_in(found) if keys == INIT else [])]  # whose links are followed
            files_at = partial(_files_at, keys, task, block)
            inside = access.outside or said or all(_is_inside(p, file, access, files_at) for p in reached)
            if not inside:
                raise ScenarioError(
                    f"{block[key]!r} lies outside of the folder that the scenario is in; if you trust it, "
                    f"add --allow-outside, or name the file yourself: --set {where}=PATH",
                    file=file,
                    key=where,
                )
            block[key] = str(found)
    for block, _, _ in places(data, CORPUS):
        if access.opens:
            block["outside"] = True
        elif block.get("outside") is True and not (access.outside or access.covers(OUTSIDE)):
            raise ScenarioError(
                "is true, and only the command line can allow that; if you trust the scenario, "
                "add --allow-outside",
                file=file,
                key=OUTSIDE,
            )


def files_of(data: dict[str, Any]) -> list[Path]:
    """Every file that resolved scenario data names; of a folder, those by which its task knows it."""
    found: dict[Path, None] = {}
    task = _task_of(data)
    for keys in file_keys():
        for block, key, _ in places(data, keys):
            found |= dict.fromkeys(_files_at(keys, task, block, Path(block[key])))
    return list(found)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a path, or a NUL in it
        return False


def _is_inside(found: Path, file: Path, access: FileAccess, files_at: FilesAt) -> bool:
    """Whether a file or folder is the catalogue's, the scenario's own, or known by content."""
    roots = [paths.data_dir(name).resolve() for name in ("hardware", "traces")]
    if access.own:
        shipped = file.resolve().is_relative_to(paths.data_dir("scenarios").resolve())
        roots += [file.parent.resolve(), *([Path.cwd().resolve()] if shipped else [])]
    real = found.resolve()
    return any(real.is_relative_to(root) for root in roots) or _is_known(real, access.known, files_at)


def _is_known(real: Path, known: frozenset[str], files_at: FilesAt) -> bool:
    found = files_at(real) if known else []
    try:
        return bool(found) and all(files.sha256(path) in known for path in found)
    except InputError:
        return False


def _files_at(keys: tuple[str, ...], task: type[Task], block: dict[str, Any], path: Path) -> list[Path]:
    """A file; or the files by which a folder that a block names under these keys is known."""
    if keys == INIT:
        found = weights.files_in(path)
    else:
        found = task.files_in(path, block) if path.is_dir() else [path]
    return [one for one in found if one.is_file()]
