"""Where the data folders are: beside the package in a checkout, inside it in a wheel.

``hardware/``, ``scenarios/`` and ``traces/`` are data. In a checkout they lie at the top level;
the wheel carries them as ``fedsim/_data``. A user's own path always wins over a catalogue name.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_dir(name: str) -> Path:
    """The folder ``hardware``, ``scenarios`` or ``traces`` that ships with fedsim."""
    shipped = _PACKAGE / "_data" / name
    return shipped if shipped.is_dir() else _PACKAGE.parent / name


def cache_dir() -> Path:
    """Where generated corpora are kept: ``$FEDSIM_CACHE``, else the user's cache folder."""
    import os

    root = os.environ.get("FEDSIM_CACHE")
    if root:
        return Path(root)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fedsim"


def find(name_or_path: str, folder: str, suffix: str) -> Path | None:
    """Resolve a user's path or a catalogue name to a file, or None if there is neither.

    Args:
        name_or_path: ``my/device.yaml`` or ``jetson-xavier-nx``.
        folder: the data folder in which catalogue names are looked up; may be nested
            (``hardware/trends``).
        suffix: the file suffix of the catalogue's files, with its dot.
    """
    path = Path(name_or_path)
    if is_file(path):
        return path
    if not name_or_path or path.is_absolute() or ".." in path.parts:
        return None
    head, *rest = folder.split("/")
    shipped = data_dir(head).joinpath(*rest, name_or_path)
    for candidate in (shipped, shipped.with_name(shipped.name + suffix)):
        if is_file(candidate):
            return candidate
    return None


def is_file(path: Path) -> bool:
    """Whether there is a file; whatever cannot even be looked for (too long, a NUL in it) is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def names(folder: str, suffix: str) -> list[str]:
    """The catalogue names in a data folder, sorted."""
    head, *rest = folder.split("/")
    where = data_dir(head).joinpath(*rest)
    return sorted(p.stem for p in where.glob(f"*{suffix}")) if where.is_dir() else []
