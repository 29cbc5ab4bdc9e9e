"""How long a client takes from being asked to its first step: process, imports, model, data.

A device whose file states ``startup`` has that, as ``fedsim calibrate`` measures it; any other has what its
family has in ``hardware/startup.csv``, with the evidence for it. It is the host's work, so a projection
divides it by the growth of launches, and a power mode leaves it as it is.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fedsim import files, paths
from fedsim.errors import HardwareError
from fedsim.hardware.device import FAMILIES, Device

COLUMNS = ("family", "startup_s", "evidence")


@dataclass(frozen=True)
class Startup:
    """What a start takes.

    Attributes:
        seconds: from being asked to the first step.
        source: where that comes from.
        own: whether the device's own file states it; if not, it is its family's.
    """

    seconds: float
    source: str
    own: bool


def startup(device: Device) -> Startup:
    """What a start takes on a device.

    Raises:
        HardwareError: the file of the families has a fault.
    """
    if device.startup_s is not None:
        found = Startup(device.startup_s, device.source_of("startup"), True)
    else:
        found = families()[device.family]
    return Startup(found.seconds / device.growth.launch, found.source, found.own)


def families_file() -> Path:
    """The file with what each family takes."""
    return paths.data_dir("hardware") / "startup.csv"


@cache
def families() -> Mapping[str, Startup]:
    """What a start takes by family.

    Raises:
        HardwareError: the file has a fault.
    """
    file = families_file()
    lines = files.read_text(file, HardwareError, files.MB).splitlines()
    rows = [row for row in csv.reader(line for line in lines if not line.startswith("#")) if row]
    if tuple(rows[0]) != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
        raise HardwareError(f"has other columns than {','.join(COLUMNS)}", file=file)
    found = {family: Startup(float(seconds), evidence, False) for family, seconds, evidence in rows[1:]}
    if set(found) != set(FAMILIES):
        raise HardwareError(f"has other families than {', '.join(FAMILIES)}", file=file)
    return found
