"""Background memory: what other programs hold beside training, as one number of bytes.

A model of pressure (``fedsim.fleet.pressure``) says what each client's programs hold at each instant.
Here many clients are asked at random instants of a week, and the number is what they hold at most
for a share of that time: with 0.95, training that fits is interrupted one hour in twenty.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from fedsim import rng, units
from fedsim.errors import InputError
from fedsim.fleet import pressure
from fedsim.fleet.family import alone
from fedsim.fleet.who import Who
from fedsim.hardware import Device

SHARE = 0.95
CLIENTS, MOMENTS, WEEK_S = 2048, 64, 7 * units.DAY_S
USUAL = "usual"

_USUAL = {"phone": "phone", "laptop": "laptop"}


@dataclass(frozen=True)
class Background:
    """What other programs hold on a device, and by which model of them."""

    profile: str
    held_bytes: float


def background(profile: str, device: Device) -> Background:
    """The background memory of a device.

    Args:
        profile: ``none``, ``dedicated``, ``laptop``, ``phone``, a size such as ``2GB``, or ``usual``:
            ``phone`` on phones, ``laptop`` on laptops, ``dedicated`` elsewhere.
        device: on which programs run. On a device with memory of its own (a discrete GPU) they run
            elsewhere, and hold nothing.

    Raises:
        InputError: if there is no such profile.
    """
    name = _USUAL.get(device.family, "dedicated") if profile == USUAL else profile
    if name == "none":
        held = 0.0
    elif name in pressure.NAMED:
        held = _held_bytes(name)
    else:
        try:
            held = units.parse_bytes(name)
        except ValueError:
            known = ", ".join([USUAL, "none", *pressure.NAMED])
            raise InputError(
                f"{profile!r} is neither one of {known} nor a size such as 2GB", key="--pressure"
            ) from None
        if held < 0:
            raise InputError(f"{profile!r} is below zero; give a size such as 2GB", key="--pressure")
    return Background(name, held if device.memory_shared else 0.0)


@cache
def _held_bytes(name: str) -> float:
    """The bytes that a profile holds at most, for ``SHARE`` of clients' time."""
    model = alone(pressure.named(name).load())
    index = np.arange(CLIENTS, dtype=np.int64)
    who = Who(index, np.zeros(CLIENTS), rng.normals(rng.key(0, "fleet", "appetite"), index), 0)
    moments = rng.key(0, "feasible", "moments")
    held = [model.bytes_at(who, WEEK_S * rng.uniforms(moments, index, k)) for k in range(MOMENTS)]
    return float(np.quantile(np.concatenate(held), SHARE))
