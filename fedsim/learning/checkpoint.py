"""Checkpoints of the global model: safetensors, written atomically, nothing pickled.

``round-00012.safetensors`` holds the model after 12 rounds: what travels of it by name
(``model.<name>``) and what does not (``fixed.<name>``), the older global models that late updates may
still refer to (``older.<version>``, flat), the optimizer state that travels with the model
(``optimizer``, often empty), the server's own (``server.<name>``) and what clients keep
(``client.<name>.<number>``). Its metadata are
strings: ``format``, ``rounds_done``, ``model``, ``seed``, ``fingerprint`` (of the federation), ``clients``,
``delivered`` (accepted updates and their clients, by way), and for a model that is not the task's own
``inserted`` (its LoRA or adapters) and ``depth``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fedsim import files
from fedsim.errors import RunError

FORMAT = "fedsim-learning-1"
GROUPS = ("model", "fixed", "client", "optimizer", "older", "server")
MOST_BYTES = 100_000_000_000
_NAME = re.compile(r"round-(\d{5,})\.safetensors")


@dataclass(frozen=True)
class Kind:
    """What a tensor is: its shape, and its type as safetensors says it."""

    shape: tuple[int, ...]
    dtype: str = "F32"

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Checkpoint:
    """The tensors by name, and the metadata."""

    tensors: Mapping[str, NDArray[np.generic]]
    metadata: Mapping[str, str]

    def group(self, prefix: str) -> dict[str, NDArray[np.generic]]:
        """The tensors whose name begins with ``prefix.``, without it."""
        return {k[len(prefix) + 1 :]: v for k, v in self.tensors.items() if k.startswith(f"{prefix}.")}


def path(folder: Path, rounds_done: int) -> Path:
    """Where the checkpoint after ``rounds_done`` rounds lies."""
    return folder / f"round-{rounds_done:05d}.safetensors"


def available(folder: Path) -> list[int]:
    """Rounds done of each checkpoint in a folder, ascending."""
    if not folder.is_dir():
        return []
    matches = (_NAME.fullmatch(entry.name) for entry in folder.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def save(folder: Path, rounds_done: int, tensors: Mapping[str, NDArray[np.generic]], **metadata: str) -> Path:
    """Write a checkpoint, whole or not at all.

    Raises:
        OSError: if the disk refuses.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    place = path(folder, rounds_done)
    for left in folder.glob(".tmp*"):  # by safetensors, when a crash stopped it
        left.unlink(missing_ok=True)
    whole = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    try:
        with files.replacing(place) as work:
            save_file(whole, work, {"format": FORMAT, "rounds_done": str(rounds_done), **metadata})
            with work.open("rb+") as file:
                _put_in_order(file)
            work.chmod(0o644)  # safetensors lets nobody else read it
    except SafetensorError as fault:  # in whose words the system's own are the last
        raise OSError(str(fault)) from None
    return place


def _put_in_order(file: BinaryIO) -> None:
    """Sort the keys of a safetensors header, which come in no fixed order: the same state, the same bytes.

    The file begins with the length of its header, 8 bytes little-endian, and the header, which is
    JSON padded with spaces.
    """
    length = int.from_bytes(file.read(8), "little")
    header = json.dumps(
        json.loads(file.read(length)), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    file.seek(8)
    file.write(header.encode("utf-8").ljust(length))


def read(file: Path, expected: Mapping[str, Kind] | None = None) -> Checkpoint:
    """Read a checkpoint.

    Args:
        file: where it lies.
        expected: what each tensor must be. Names, types and shapes are held against the file's header
            before anything is read, and numbers must be finite. A group of which nothing is expected
            (``model``, ``optimizer``, ``older``, ``server``) is not read. None: as it is.

    Raises:
        RunError: if the file is missing, damaged, not one of ours, or holds anything else.
    """
    from safetensors import SafetensorError, safe_open

    files.size_of(file, RunError, MOST_BYTES)
    try:
        with safe_open(file, framework="np") as opened:
            metadata = opened.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise RunError(f"is not a checkpoint of fedsim (format {FORMAT})", file=file)
            names = list(opened.keys())
            if expected is not None:
                names = _checked(opened, names, expected, file)
            tensors = {name: opened.get_tensor(name) for name in names}
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, MemoryError) as fault:
        raise RunError(f"the checkpoint cannot be read: {fault}", file=file) from None
    if expected is not None:
        for name, values in tensors.items():
            if not np.isfinite(values).all():
                raise RunError("holds numbers that are not finite", file=file, key=name)
    return Checkpoint(tensors, metadata)


def names(file: Path) -> set[str]:
    """The names of the tensors in a checkpoint.

    Raises:
        RunError: if the file is missing, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as opened:
            return set(opened.keys())
    except (OSError, SafetensorError, ValueError) as fault:
        raise RunError(f"the checkpoint cannot be read: {fault}", file=file) from None


def _checked(opened: Any, names: list[str], expected: Mapping[str, Kind], file: Path) -> list[str]:
    """The names of the tensors to read, each as it is expected to be.

    Raises:
        RunError: if one is missing, of another type or shape, or unknown.
    """
    wanted = {name.partition(".")[0] for name in expected}
    for name in names:
        group = name.partition(".")[0]
        if group not in GROUPS or (group in wanted and name not in expected):
            raise RunError("is not a tensor of this model", file=file, key=name)
    for name, kind in expected.items():
        if name not in names:
            raise RunError("is missing", file=file, key=name)
        held = opened.get_slice(name)
        found = Kind(tuple(held.get_shape()), str(held.get_dtype()))
        if found != kind:
            raise RunError(f"is {found}; this model needs {kind}", file=file, key=name)
    return list(expected)


def thin(folder: Path, keep_every: int) -> None:
    """Remove checkpoints but the newest two and every ``keep_every``-th (and 0)."""
    for rounds_done in available(folder)[:-2]:
        if rounds_done % keep_every:
            path(folder, rounds_done).unlink(missing_ok=True)
