"""The public record: training steps that others have published, and how each of them is to be priced.

The files are ``hardware/measurements/public/*.csv``; their first lines say what the columns mean. The fit
of a device to its own steps never reads them. What devices of a kind have in common is fitted to both.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from fedsim import files, paths
from fedsim.errors import HardwareError

FOLDER = "hardware/measurements/public"
COLUMNS = (
    "device", "hardware", "family", "model", "batch_size", "size", "precision", "technique", "framework",
    "published", "throughput", "seconds_per_batch", "derivation", "source", "note",
)  # fmt: skip
MOST_BYTES = files.MB


@dataclass(frozen=True)
class PublishedStep:
    """One published training step.

    Attributes:
        device: the name of a device of the catalogue; empty if it has none like it.
        hardware: what the source calls it.
        family: one of :data:`~fedsim.hardware.device.FAMILIES`.
        model: the name of a layer trace, which may not exist yet.
        batch_size: examples in the step.
        axis: what the size of an example counts: ``seconds`` of speech, ``tokens`` or ``pixels``.
        size: of one example, along ``axis``.
        precision: as the source calls it.
        technique: fields of a technique that differ from plain training in ``precision``, as text.
        framework: the training program.
        seconds_per_batch: time of one optimizer step.
        source: address of the figure.
        note: what was assumed, and what is known to differ.
    """

    device: str
    hardware: str
    family: str
    model: str
    batch_size: int
    axis: str
    size: float
    precision: str
    technique: tuple[tuple[str, str], ...]
    framework: str
    seconds_per_batch: float
    source: str
    note: str


def public_record() -> tuple[PublishedStep, ...]:
    """Every published step, file by file.

    Raises:
        HardwareError: if a file has a fault.
    """
    found: list[PublishedStep] = []
    for name in paths.names(FOLDER, ".csv"):
        file = paths.find(name, FOLDER, ".csv")
        assert file is not None
        found += _read(file)
    return tuple(found)


def _read(file: Path) -> list[PublishedStep]:
    lines = files.read_text(file, HardwareError, MOST_BYTES).splitlines()
    body = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    rows = list(csv.reader(line for _, line in body))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise HardwareError(f"has other columns than {','.join(COLUMNS)}", file=file)
    return [_row(cells, file, number) for (number, _), cells in zip(body[1:], rows[1:], strict=True)]


def _row(cells: list[str], file: Path, line: int) -> PublishedStep:
    if len(cells) != len(COLUMNS):
        right = f"has {len(cells)} fields; give {len(COLUMNS)}: {','.join(COLUMNS)}"
        raise HardwareError(right, file=file, key=f"line {line}")
    row = dict(zip(COLUMNS, cells, strict=True))
    key = "size"
    try:
        axis, _, size = row["size"].partition("=")
        amount, key = float(size), "batch_size"
        batch, key = int(row["batch_size"]), "seconds_per_batch"
        seconds, key = float(row["seconds_per_batch"]), "technique"
        pairs = [part.partition("=") for part in row["technique"].split(";") if part.strip()]
        technique = tuple((name.strip(), value.strip()) for name, _, value in pairs)
    except ValueError:
        said = f"is {row[key]!r}; give {'AXIS=NUMBER' if key == 'size' else 'a number'}"
        raise HardwareError(said, file=file, key=f"line {line}, {key}") from None
    kept = ("device", "hardware", "family", "model", "precision", "framework", "source", "note")
    return PublishedStep(
        batch_size=batch,
        axis=axis,
        size=amount,
        technique=technique,
        seconds_per_batch=seconds,
        **{name: row[name] for name in kept},
    )
