"""The server's own link, shared max-min fair among the transfers that run over it.

Each transfer has a rate of its own that it can never exceed (its client's link); what the server's
link has left is shared out evenly among those who can take more (max-min fairness, by filling:
Bertsekas and Gallager, "Data Networks", 2nd ed. 1992, section 6.5.2). The rates are those of a
fluid: they change only when a transfer arrives, ends or leaves.

:func:`share` answers for all transfers of one link at once, in three tiers that give the same
answer: if the clients' own rates never add up to more than the link carries, each transfer takes
``bytes / rate``; a few changes of rate are worked through in numpy, all transfers at a time; what
is then left goes to :class:`~fedsim.engine.fluid.FairLink`, one event at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedsim.engine.fluid import FairLink

Floats = NDArray[np.float64]

SLACK = 1e-12  # relative: rates that add up to the link's rate are not kept apart by rounding
STEPS = 48  # changes of rate worked through in numpy before going over to one event at a time


@dataclass(frozen=True)
class Transfers:
    """What became of the transfers, in the order they were given.

    Attributes:
        end_s: float64[n], when a transfer was complete, or when it left.
        moved_bytes: float64[n], what it had moved by then.
        done: bool[n], whether it was complete.
        contended: whether the link was ever too narrow for the clients' own rates.
    """

    end_s: Floats
    moved_bytes: Floats
    done: NDArray[np.bool_]
    contended: bool


def share(
    arrival_s: ArrayLike,
    size_bytes: ArrayLike,
    cap_bytes_per_s: ArrayLike,
    leave_s: ArrayLike,
    rate_bytes_per_s: float,
) -> Transfers:
    """Times and bytes of transfers over one link of ``rate_bytes_per_s``.

    Args:
        arrival_s: float64[n], when each transfer starts.
        size_bytes: float64[n], what it has to move.
        cap_bytes_per_s: float64[n], the most it can take; may be infinite or zero.
        leave_s: float64[n], when it is given up if not complete by then; may be infinite. A
            transfer complete at that very instant is complete; one that leaves before it arrives
            moves nothing.
        rate_bytes_per_s: what the link carries in all; may be infinite.

    A transfer that can never be complete and never leaves ends at infinity.
    """
    arrival, size, cap, leave = (
        np.array(x, dtype=np.float64)
        for x in np.broadcast_arrays(
            *(
                np.atleast_1d(np.asarray(v, np.float64))
                for v in (arrival_s, size_bytes, cap_bytes_per_s, leave_s)
            )
        )
    )
    cap = np.minimum(cap, rate_bytes_per_s)
    end = arrival + alone_s(size, cap)
    if not is_contended(arrival, np.minimum(end, leave), cap, rate_bytes_per_s):
        done = (end <= leave) & (leave >= arrival) & np.isfinite(end)
        return Transfers(
            np.where(done, end, leave), moved_alone(size, cap, leave - arrival, done), done, False
        )
    end, moved = _fluid(arrival, size, cap, leave, rate_bytes_per_s)
    done = (end <= leave) & (leave >= arrival) & np.isfinite(end)
    return Transfers(np.where(done, end, leave), np.where(done, size, np.minimum(moved, size)), done, True)


def alone_s(size: Floats, cap: Floats) -> Floats:
    """Seconds that ``size`` bytes take at ``cap`` bytes per second: 0 for nothing, infinite at no rate."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(size > 0.0, size / cap, 0.0))


def moved_alone(size: Floats, cap: Floats, for_s: Floats, done: NDArray[np.bool_]) -> Floats:
    """Bytes moved by a transfer at its own rate: all of them if ``done``, else ``cap`` times ``for_s``."""
    if done.all():
        return size
    with np.errstate(invalid="ignore"):
        part = np.clip(np.where((for_s > 0.0) & (cap > 0.0), cap * for_s, 0.0), 0.0, size)
    return np.where(done, size, part)


def is_contended(arrival: Floats, until: Floats, cap: Floats, rate: float) -> bool:
    """Whether the clients' own rates ever add up to more than ``rate`` while they transfer."""
    limit = rate * (1.0 + SLACK)
    if np.isinf(limit) or cap.sum() <= limit:
        return False
    live = until > arrival
    arrival, until, cap = arrival[live], until[live], cap[live]
    if cap.sum() <= limit:
        return False
    order = np.argsort(np.concatenate([until, arrival]), kind="stable")  # at one instant, ends come first
    with np.errstate(invalid="ignore"):
        load = np.cumsum(np.concatenate([-cap, cap])[order])
    return not bool((load <= limit).all())


def fill(cap: Floats, rate: float) -> float:
    """The level that fills the link: each transfer gets the smaller of its own rate and the level.

    Args:
        cap: float64[n], the transfers' own rates in ascending order.
        rate: what the link carries.

    Returns:
        The level, infinite if the transfers' own rates do not fill the link.
    """
    if not cap.size:
        return float("inf")
    below = np.concatenate([[0.0], np.cumsum(cap[:-1])])
    level = np.maximum(rate - below, 0.0) / np.arange(cap.size, 0, -1)
    short = level < cap
    return float(level[short.argmax()]) if short.any() else float("inf")


def _fluid(
    arrival: Floats, size: Floats, cap: Floats, leave: Floats, link_rate: float
) -> tuple[Floats, Floats]:
    """End of each transfer if it were complete by ``leave``, else ``leave``; and bytes moved by then."""
    order = np.argsort(cap, kind="stable")
    arrival, size, cap, leave = arrival[order], size[order], cap[order], leave[order]
    count = arrival.size
    end, left = np.full(count, np.inf), size.copy()
    rate, since = np.zeros(count), arrival.copy()
    waiting = leave > arrival
    end[waiting & (size <= 0.0)] = arrival[waiting & (size <= 0.0)]
    waiting &= size > 0.0
    active = np.zeros(count, dtype=np.bool_)
    now = float(arrival[waiting].min()) if waiting.any() else np.inf
    for _ in range(STEPS):
        came = waiting & (arrival <= now)
        active |= came
        waiting &= ~came
        level = fill(cap[active], link_rate)
        fresh = np.where(active, np.minimum(cap, level), 0.0)
        changed = active & (fresh != rate)
        left[changed] -= _times(rate[changed], now - since[changed])
        since[changed] = now
        rate = fresh
        will_end = np.full(count, np.inf)
        will_end[active] = since[active] + alone_s(np.maximum(left[active], 0.0), rate[active])
        upcoming = np.minimum(will_end, np.where(active, leave, np.inf))
        after = min(
            float(upcoming.min()) if np.isfinite(level) or not waiting.any() else np.inf,
            float(arrival[waiting].min()) if waiting.any() else np.inf,
        )
        if np.isinf(level) and not waiting.any():
            after = np.inf  # nobody slows anybody down any more: all go on to their ends as they are
        now = after
        gone = active & (upcoming <= now)
        ended = gone & (will_end <= leave) & np.isfinite(will_end)
        end[ended] = will_end[ended]
        left[ended] = 0.0
        gave_up = gone & ~ended
        left[gave_up] -= _times(rate[gave_up], leave[gave_up] - since[gave_up])
        active &= ~gone
        if np.isinf(now) or not (active.any() or waiting.any()):
            break
    else:
        _one_by_one(arrival, cap, leave, link_rate, now, end, left, rate, since, active, waiting)
    moved = size - np.maximum(left, 0.0)
    final_end, final_moved = np.empty(count), np.empty(count)
    final_end[order], final_moved[order] = end, moved
    return final_end, final_moved


def _times(rate: Floats, for_s: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where((for_s > 0.0) & (rate > 0.0), rate * for_s, 0.0))


def _one_by_one(
    arrival: Floats,
    cap: Floats,
    leave: Floats,
    link_rate: float,
    now: float,
    end: Floats,
    left: Floats,
    rate: Floats,
    since: Floats,
    active: NDArray[np.bool_],
    waiting: NDArray[np.bool_],
) -> None:
    """Carry on from ``now``, one event at a time; fills in ``end`` and ``left``."""
    link = FairLink(link_rate, now)
    running = np.flatnonzero(active & (cap > 0.0))
    left[running] -= _times(rate[running], now - since[running])
    link.add_many(running.tolist(), left[running].tolist(), cap[running].tolist())
    coming = np.flatnonzero(waiting & (cap > 0.0))
    coming = coming[np.argsort(arrival[coming], kind="stable")].tolist()
    finite = np.flatnonzero((active | waiting) & np.isfinite(leave))
    leaving = finite[np.argsort(leave[finite], kind="stable")].tolist()
    arrivals, leaves = arrival[coming].tolist(), leave[leaving].tolist()
    left_list: list[float] = left.tolist()
    cap_list: list[float] = cap.tolist()
    at, out = 0, 0
    while True:
        next_arrival = arrivals[at] if at < len(arrivals) else np.inf
        next_leave = leaves[out] if out < len(leaves) else np.inf
        next_end = link.next_end_s()
        now = min(next_arrival, next_leave, next_end)
        if np.isinf(now):
            break
        if next_end <= now:
            for index in link.pop_ended(now):
                end[index], left[index] = now, 0.0
        while out < len(leaves) and leaves[out] <= now:
            index = leaving[out]
            if index in link:
                left[index] = link.remove(index, now)
            out += 1
        first = at
        while at < len(arrivals) and arrivals[at] <= now:
            at += 1
        if at > first:
            fresh = coming[first:at]
            link.advance(now)
            link.add_many(fresh, [left_list[i] for i in fresh], [cap_list[i] for i in fresh])
