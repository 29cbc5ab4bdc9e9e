"""Measured training steps: what calibration fits and what it is judged by.

A measurement file (``hardware/measurements/*.csv``, or the one that a device's own file names) is
CSV with the columns of ``COLUMNS``. Lines that start with ``#`` are comments; the first of them is the
source of every row, and one that begins with ``# Whole scripts`` says that what a script does for each
example outside the model was timed as well.
``oom`` in seconds_per_batch means that the step ran out of memory, ``na`` that nothing was measured.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from fedsim import files, paths
from fedsim.errors import HardwareError
from fedsim.hardware.device import TRAINING_PRECISIONS, Device
from fedsim.words import shown

MOST_BYTES = files.MB
_WHOLE = "Whole scripts"
COLUMNS = ("device", "model", "batch_size", "seconds", "longest_seconds", "precision", "seconds_per_batch")


@dataclass(frozen=True)
class Measurement:
    """One measured training step.

    Attributes:
        device: the name of the device.
        model: the name of the layer trace.
        batch_size: sequences in the batch.
        seconds: average length of a sequence, in seconds of audio; decides how long a step takes.
        longest_seconds: length of the longest sequence; decides whether training fits.
        precision: ``fp32``, ``mixed`` or ``bf16``.
        seconds_per_batch: time of one step; None if it ran out of memory.
        source: where it was published.
        file: the file that it was read from.
        line: and the line in it, from 1.
        whole_script: whether reading and decoding the examples was timed as well.
    """

    device: str
    model: str
    batch_size: int
    seconds: float
    longest_seconds: float
    precision: str
    seconds_per_batch: float | None
    source: str
    file: Path
    line: int
    whole_script: bool = False

    @property
    def oom(self) -> bool:
        """Whether the step ran out of memory."""
        return self.seconds_per_batch is None


def measurements(device: str | Device | None = None) -> list[Measurement]:
    """The measurements of the catalogue, of one device, or of all.

    Args:
        device: the name of a device of the catalogue; or a device, to read what its own file states
            or names as well; or None for the whole catalogue.

    Raises:
        HardwareError: if a file has a fault.
    """
    found = [_path(name) for name in paths.names("hardware/measurements", ".csv")]
    if isinstance(device, Device):
        found += [Path(f) for f in device.measurement_files]
    name = device.name if isinstance(device, Device) else device
    rows = [row for file in found for row in _read(file)]
    if isinstance(device, Device):
        rows += _stated(device)
    return [row for row in rows if name is None or row.device == name]


def _stated(device: Device) -> list[Measurement]:
    """The steps that a device's own file states, each as ``steps[k]``'s line k."""
    source, file = device.source_of("steps"), Path(device.file)
    return [
        Measurement(
            device.name, step.model, step.batch_size, step.seconds, step.seconds, step.precision,
            step.seconds_per_batch, source, file, number,
        )
        for number, step in enumerate(device.steps)
    ]  # fmt: skip


def _path(name: str) -> Path:
    found = paths.find(name, "hardware/measurements", ".csv")
    if found is None:  # pragma: no cover - names() listed it a moment ago
        raise HardwareError(f"there is no measurement file {name!r}")
    return found


def _read(file: Path) -> tuple[Measurement, ...]:
    files.size_of(file, HardwareError, MOST_BYTES)
    stat = file.stat()
    return _parse(file, stat.st_mtime_ns, stat.st_size)


@cache
def _parse(file: Path, changed_ns: int, size: int) -> tuple[Measurement, ...]:
    lines = files.read_text(file, HardwareError, MOST_BYTES).splitlines()
    comments = [line.lstrip("# ").strip() for line in lines if line.startswith("#")]
    body = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not comments or not comments[0]:
        raise HardwareError("has no source; begin with a comment line '# where these come from'", file=file)
    rows: list[tuple[int, list[str]]] = []
    reader, first = csv.reader(line for _, line in body), 0
    try:
        for cells in reader:
            rows.append((body[first][0], cells))
            first = reader.line_num
    except csv.Error as fault:
        said = f"begins a row that is not CSV: {fault}"
        raise HardwareError(said, file=file, key=f"line {body[first][0]}") from None
    if not rows or tuple(rows[0][1]) != COLUMNS:
        found = ",".join(rows[0][1]) if rows else "nothing"
        raise HardwareError(f"has the columns {shown(found)}; give {','.join(COLUMNS)}", file=file)
    result, whole = [], any(comment.startswith(_WHOLE) for comment in comments)
    for number, row in rows[1:]:
        measured = _row(row, comments[0], file, number)
        if measured is not None:
            result.append(replace(measured, whole_script=whole))
    return tuple(result)


def _row(row: list[str], source: str, file: Path, line: int) -> Measurement | None:
    def number(key: str, text: str, right: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > 0):
            raise HardwareError(f"is {shown(text)}; give {right}", file=file, key=f"line {line}, {key}")
        return value

    if len(row) != len(COLUMNS):
        right = f"has {len(row)} fields; give {len(COLUMNS)}: {','.join(COLUMNS)}"
        raise HardwareError(right, file=file, key=f"line {line}")
    device, model, batch, seconds, longest, precision, time = (text.strip() for text in row)
    for key, text in (("device", device), ("model", model)):
        if not text:
            raise HardwareError("is empty; give a name", file=file, key=f"line {line}, {key}")
    if precision not in TRAINING_PRECISIONS:
        known = ", ".join(TRAINING_PRECISIONS)
        raise HardwareError(
            f"is {shown(precision)}; give one of {known}", file=file, key=f"line {line}, precision"
        )
    size = number("batch_size", batch, "a whole number from 1")
    if size != int(size):
        raise HardwareError(
            f"is {shown(batch)}; give a whole number from 1", file=file, key=f"line {line}, batch_size"
        )
    length = number("seconds", seconds, "a length in seconds above 0")
    largest = number("longest_seconds", longest, "a length in seconds above 0")
    if largest < length:
        raise HardwareError(
            f"is {shown(longest)}, below the average of {seconds}; give that or more",
            file=file,
            key=f"line {line}, longest_seconds",
        )
    if time == "na":
        return None
    taken = None if time == "oom" else number("seconds_per_batch", time, "seconds above 0, or oom, or na")
    return Measurement(device, model, int(size), length, largest, precision, taken, source, file, line)
