"""What a scenario will need, before it runs: who fits, how long a round takes them, how much moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedsim.pricing.uncertainty import LEVEL, spread
from fedsim.simulation.compose import Composition

SAMPLE = 20_000  # clients that are looked at in a larger fleet


@dataclass(frozen=True)
class DeviceOutlook:
    """One kind of a fleet's clients, a device that trains in one way; medians are over its clients.

    Attributes:
        device: the name of the device.
        training: how it trains, in words, where that is another way than the scenario's; else empty.
        clients: how many clients of those looked at have it.
        calibration: ``calibrated``, ``inferred`` or ``measured``.
        precision: what it trains in.
        fit: share of its clients whose memory suffices while no other program runs.
        footprint_bytes: median peak of a training step.
        room_bytes: memory that the system leaves.
        download_s: median time of the download over the client's own link.
        startup_s: median time from the download to the first step; 0 where clients run all along.
        compute_s: median time of the training.
        upload_s: median time of the upload over the client's own link.
        interval: ``low``, ``high`` and ``level`` of ``compute_s``, by its name: as fast and as slow as the
            device may be.
    """

    device: str
    clients: int
    calibration: str
    precision: str
    fit: float
    footprint_bytes: float
    room_bytes: float
    download_s: float
    startup_s: float
    compute_s: float
    upload_s: float
    interval: Mapping[str, Mapping[str, float]]
    training: str = ""


def outlook(composition: Composition) -> list[DeviceOutlook]:
    """The outlook of each kind of a fleet in the first round, in order of name; of 20,000 clients."""
    world = composition.world
    clients = np.arange(min(world.clients, SAMPLE), dtype=np.int64)
    estimate = world.estimate(clients, 0, 0.0)
    off = np.array([[spread(p.standard_error) for p in kind.pricers] for kind in composition.kinds]).T
    fast, slow = (world.at_speeds(by).estimate(clients, 0, 0.0).compute_s for by in (1.0 / off, off))
    room = world.room_bytes(clients)
    download = estimate.latency_s + estimate.download_bytes / estimate.down_bytes_per_s
    upload = estimate.latency_s + estimate.upload_bytes / estimate.up_bytes_per_s
    rows = []
    for position, kind in enumerate(composition.kinds):
        mine = world.kind[clients] == position
        if not mine.any():
            continue
        pricer = kind.pricers[0]
        rows.append(
            DeviceOutlook(
                device=kind.device.name,
                training=kind.training,
                clients=int(mine.sum()),
                calibration=pricer.calibration.status,
                precision=pricer.technique.precision,
                fit=float((estimate.footprint_bytes <= room)[mine].mean()),
                footprint_bytes=float(np.median(estimate.footprint_bytes[mine])),
                room_bytes=float(np.median(room[mine])),
                download_s=float(np.median(download[mine])),
                startup_s=float(np.median(estimate.startup_s[mine])),
                compute_s=float(np.median(estimate.compute_s[mine])),
                upload_s=float(np.median(upload[mine])),
                interval={
                    "compute_s": {
                        "low": float(np.median(fast[mine])),
                        "high": float(np.median(slow[mine])),
                        "level": LEVEL,
                    }
                },
            )
        )
    return rows
