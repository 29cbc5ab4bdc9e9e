"""A cohort's results: download, startup, training and upload against everything that can stop a client.

All clients are priced at once in numpy, in seconds after their dispatch, so that a client that
nothing stops takes exactly ``((download_s + startup_s) + compute_s) + upload_s``. What stops a client
first decides its outcome. At one and the same instant being complete comes first, then oom, battery,
failed, offline, late.

Assumptions: a client starts up only when its download is complete, trains only when it has started,
and uploads only when its training is complete; memory is short only while training; power is
``idle_w + radio_w`` from dispatch to the end of the download and again while uploading (latency
included), and ``compute_w`` in between.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.engine import link
from fedsim.engine.records import BATTERY, COMPLETED, FAILED, LATE, OFFLINE, OOM
from fedsim.engine.world import Battery, Bools, Floats, WorkEstimate, World

Codes = NDArray[np.int8]


@dataclass
class ClientResults:
    """How each client-round ends; all arrays of shape [n].

    Times are in seconds after dispatch, but for ``ended_s``, the instant itself: a client that goes
    offline ends exactly when it does.
    """

    download_s: Floats
    startup_s: Floats
    compute_s: Floats
    upload_s: Floats
    after_s: Floats
    ended_s: Floats
    outcome: Codes
    downloaded_bytes: Floats
    uploaded_bytes: Floats
    energy_j: Floats
    charge_j: Floats | None

    def kept_where(self, keep: Bools, others: ClientResults) -> ClientResults:
        """These where ``keep``, the others elsewhere."""
        merged: dict[str, Any] = {}
        for name in (f.name for f in fields(self)):
            mine, other = getattr(self, name), getattr(others, name)
            merged[name] = None if mine is None else np.where(keep, mine, other)
        return ClientResults(**merged)


@dataclass
class _Stop:
    """When each client is stopped: in seconds after dispatch, as an instant; and by what."""

    after_s: Floats
    at_s: Floats
    why: Codes

    def sooner(self, at_s: Floats, dispatched_s: Floats, why: int, after_s: Floats | None = None) -> _Stop:
        """The same with one more thing that can stop a client; it comes first if both are at once."""
        after = at_s - dispatched_s if after_s is None else after_s
        first = np.isfinite(after) & (after <= self.after_s)
        if not first.any():
            return self
        return self.where(~first, _Stop(after, at_s, np.full(at_s.size, why, dtype=np.int8)))

    def where(self, keep: Bools, other: _Stop) -> _Stop:
        """This where ``keep``, the other elsewhere."""
        return _Stop(
            np.where(keep, self.after_s, other.after_s),
            np.where(keep, self.at_s, other.at_s),
            np.where(keep, self.why, other.why),
        )


def simulate_cohort(
    world: World,
    estimate: WorkEstimate,
    dispatched_s: Floats,
    offline_from_s: Floats,
    horizon_s: float | Floats,
    down_bytes_per_s: float,
    up_bytes_per_s: float,
    battery: Battery | None = None,
    charge_j: Floats | None = None,
) -> ClientResults:
    """Price the client-rounds of ``estimate``, dispatched at ``dispatched_s``.

    Args:
        world: when memory is short.
        estimate: what the round would take each of the n clients.
        dispatched_s: float64[n].
        offline_from_s: float64[n], when each client stops being online.
        horizon_s: seconds after dispatch at which clients are told to stop, one for all or
            float64[n]; may be infinite.
        down_bytes_per_s: what the server's link carries to clients in all.
        up_bytes_per_s: what it carries from clients in all.
        battery: the clients' batteries, if they have any.
        charge_j: float64[n], charge at dispatch; needed with ``battery``.
    """
    with np.errstate(invalid="ignore"):  # inf - inf, where a transfer never ends
        return _simulate_cohort(
            world,
            estimate,
            dispatched_s,
            offline_from_s,
            horizon_s,
            down_bytes_per_s,
            up_bytes_per_s,
            battery,
            charge_j,
        )


def _simulate_cohort(
    world: World,
    estimate: WorkEstimate,
    dispatched_s: Floats,
    offline_from_s: Floats,
    horizon_s: float | Floats,
    down_bytes_per_s: float,
    up_bytes_per_s: float,
    battery: Battery | None,
    charge_j: Floats | None,
) -> ClientResults:
    n = len(estimate)
    horizon = np.full(n, horizon_s)
    stop = _Stop(horizon, dispatched_s + horizon, np.full(n, LATE, dtype=np.int8))
    stop = stop.sooner(offline_from_s, dispatched_s, OFFLINE)
    if estimate.crash_from_s is not None:
        stop = stop.sooner(estimate.crash_from_s, dispatched_s, FAILED)
    meter = None
    if battery is not None and charge_j is not None:
        meter = _Meter(battery, estimate, dispatched_s, charge_j)
    transfer_w = estimate.idle_w + estimate.radio_w

    zero = np.zeros(n)
    limit = stop if meter is None else meter.stop(stop, zero, transfer_w)
    taking_part = np.ones(n, dtype=np.bool_) if meter is None else meter.willing
    download_s, downloaded, alive = _transfer(
        zero,
        estimate.latency_s,
        estimate.download_bytes,
        estimate.down_bytes_per_s,
        limit.after_s,
        down_bytes_per_s,
        taking_part,
    )
    result = limit
    got = np.where(alive, download_s, result.after_s)
    if meter is not None:
        meter.spend(zero, got, transfer_w)

    limit = stop if meter is None else meter.stop(stop, got, estimate.compute_w)
    started = got + estimate.startup_s
    trained = started + estimate.compute_s
    span_end = np.where(alive, np.maximum(np.minimum(trained, limit.after_s), started), started)
    oom = world.oom_from_s(estimate, dispatched_s + started, dispatched_s + span_end)
    after_s = np.maximum(oom - dispatched_s, started)
    limit = limit.sooner(oom, dispatched_s, OOM, np.where(alive & (after_s < trained), after_s, np.inf))
    result = limit.where(alive, result)
    died = alive & (trained > result.after_s)
    alive &= ~died
    cut_short = np.where(died, np.minimum(result.after_s - got, estimate.startup_s), 0.0)
    startup_s = np.where(alive, estimate.startup_s, cut_short)
    cut_short = np.where(died, np.maximum(result.after_s - started, 0.0), 0.0)
    compute_s = np.where(alive, estimate.compute_s, cut_short)
    left = np.where(alive, trained, result.after_s)
    if meter is not None:
        meter.spend(got, left, estimate.compute_w)
        result = meter.stop(stop, left, transfer_w).where(alive, result)

    sending = alive.copy()
    upload_s, uploaded, alive = _transfer(
        left,
        estimate.latency_s,
        estimate.upload_bytes,
        estimate.up_bytes_per_s,
        result.after_s,
        up_bytes_per_s,
        sending,
    )
    after_s = np.where(alive, left + upload_s, result.after_s)
    upload_s = np.where(alive, upload_s, np.where(sending, after_s - left, 0.0))
    if meter is not None:
        meter.spend(left, after_s, transfer_w)
    return ClientResults(
        download_s=got,
        startup_s=startup_s,
        compute_s=compute_s,
        upload_s=upload_s,
        after_s=after_s,
        ended_s=np.where(alive, dispatched_s + after_s, result.at_s),
        outcome=np.where(alive, np.int8(COMPLETED), result.why),
        downloaded_bytes=downloaded,
        uploaded_bytes=uploaded,
        energy_j=transfer_w * (got + upload_s) + estimate.compute_w * (startup_s + compute_s),
        charge_j=None if meter is None else meter.charge_j,
    )


def _transfer(
    start_s: Floats,
    latency_s: Floats,
    size_bytes: Floats,
    cap_bytes_per_s: Floats,
    stop_s: Floats,
    server_bytes_per_s: float,
    taking_part: Bools,
) -> tuple[Floats, Floats, Bools]:
    """Transfers from ``start_s`` on, given up at ``stop_s``: seconds taken, bytes moved, if complete."""
    stop = stop_s if taking_part.all() else np.where(taking_part, stop_s, -np.inf)
    cap = np.minimum(cap_bytes_per_s, server_bytes_per_s)
    alone = latency_s + link.alone_s(size_bytes, cap)
    end = start_s + alone
    arrival = start_s + latency_s
    if link.is_contended(arrival, np.minimum(end, stop), cap, server_bytes_per_s):
        shared = link.share(arrival, size_bytes, cap, stop, server_bytes_per_s)
        took = np.where(shared.done, shared.end_s - start_s, np.inf)
        return took, shared.moved_bytes, shared.done
    done = (end <= stop) & np.isfinite(end)
    return alone, link.moved_alone(size_bytes, cap, stop - arrival, done), done


class _Meter:
    """The charge of the cohort's batteries as the round goes on."""

    def __init__(self, battery: Battery, estimate: WorkEstimate, dispatched_s: Floats, charge_j: Floats):
        self.battery = battery
        self.client = estimate.client
        self.dispatched_s = dispatched_s
        self.charge_j = charge_j
        self.willing = charge_j >= battery.start_j(estimate.client)  # the others refuse

    def stop(self, stop: _Stop, start_s: Floats, power_w: Floats) -> _Stop:
        """``stop``, or the charge down to the floor at this power from ``start_s`` after dispatch on."""
        begin = self.dispatched_s + start_s
        begin = np.where(np.isfinite(begin), begin, self.dispatched_s)
        _, empty = self.battery.drain(
            self.client, self.charge_j, begin, np.maximum(stop.at_s, begin), power_w
        )
        empty = np.where(self.willing, empty, self.dispatched_s)
        return stop.sooner(empty, self.dispatched_s, BATTERY, np.maximum(empty - self.dispatched_s, start_s))

    def spend(self, start_s: Floats, end_s: Floats, power_w: Floats) -> None:
        """Go on from ``start_s`` to ``end_s``, both after dispatch and finite."""
        self.charge_j, _ = self.battery.drain(
            self.client, self.charge_j, self.dispatched_s + start_s, self.dispatched_s + end_s, power_w
        )
