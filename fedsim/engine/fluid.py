"""A link shared max-min fair, one event at a time: transfers are added, removed and end.

At any instant a transfer is either *capped*, going at its own rate, or *sharing*, going at the
level that is common to all who share. A sharing transfer ends when the level's integral over time
has grown by what it had left, so a change of the level moves no transfer's place in the queue and
an event costs the logarithm of the number of transfers (the virtual time of processor sharing).
"""

from __future__ import annotations

import heapq
import math
from typing import Any

_CAPPED, _SHARING = 1, 2


class FairLink:
    """Transfers under way over one link.

    Args:
        rate_bytes_per_s: what the link carries in all; positive and finite.
        now_s: the clock's start.
    """

    def __init__(self, rate_bytes_per_s: float, now_s: float = 0.0):
        self.rate = rate_bytes_per_s
        self.now = now_s
        self._level = math.inf  # bytes per second of each sharing transfer
        self._served = 0.0  # integral of the level over time, bytes
        self._capped_rate = 0.0
        self._capped_count = 0
        self._sharing_count = 0
        # of each transfer: (what it is, its own rate, stamp, end): end is a time for a capped one, an
        # amount served for a sharing one; heap entries with an outdated stamp are skipped.
        self._transfers: dict[int, tuple[int, float, int, float]] = {}
        self._stamp = 0
        self._capped_ends: list[tuple[float, int, int]] = []
        self._capped_rates: list[tuple[float, int, int]] = []
        self._sharing_ends: list[tuple[float, int, int]] = []
        self._sharing_rates: list[tuple[float, int, int]] = []

    def __contains__(self, transfer: int) -> bool:
        return transfer in self._transfers

    def __len__(self) -> int:
        return len(self._transfers)

    def advance(self, now_s: float) -> None:
        """Move the clock to ``now_s``, which must not lie beyond :meth:`next_end_s`."""
        if self._sharing_count and now_s > self.now:
            self._served += self._level * (now_s - self.now)
        self.now = max(self.now, now_s)

    def add_many(self, transfers: list[int], left_bytes: list[float], caps: list[float]) -> None:
        """Start transfers now, each with its bytes to move and its own rate (positive, may be infinite)."""
        for transfer, left, cap in zip(transfers, left_bytes, caps, strict=True):
            self._put(transfer, max(left, 0.0), cap, capped=cap <= self._level and cap < math.inf)
        self._settle()

    def remove(self, transfer: int, now_s: float) -> float:
        """Take a transfer off the link at ``now_s``; returns the bytes it had left."""
        self.advance(now_s)
        left = self._left(transfer)
        self._drop(transfer)
        self._settle()
        return left

    def next_end_s(self) -> float:
        """When the next transfer ends if nothing arrives or leaves before; infinite if none does."""
        self._clean(self._capped_ends)
        self._clean(self._sharing_ends)
        end = self._capped_ends[0][0] if self._capped_ends else math.inf
        if self._sharing_ends:
            left = max(self._sharing_ends[0][0] - self._served, 0.0)
            if left == 0.0:
                return self.now
            if self._level > 0.0:
                end = min(end, self.now + left / self._level)
        return max(end, self.now)

    def pop_ended(self, now_s: float) -> list[int]:
        """Move the clock to ``now_s`` and take off the transfers that end by then, in order of their number.

        ``now_s`` must be what :meth:`next_end_s` said.
        """
        self._clean(self._capped_ends)
        self._clean(self._sharing_ends)
        by_sharing = False
        if self._sharing_ends:
            left = max(self._sharing_ends[0][0] - self._served, 0.0)
            by_sharing = left == 0.0 or (self._level > 0.0 and self.now + left / self._level <= now_s)
        target = self._sharing_ends[0][0] if by_sharing else 0.0
        self.advance(now_s)
        if by_sharing:
            self._served = max(self._served, target)
        ended = []
        while self._capped_ends and self._capped_ends[0][0] <= now_s:
            ended.append(self._capped_ends[0][1])
            self._drop(ended[-1])
            self._clean(self._capped_ends)
        while self._sharing_ends and self._sharing_ends[0][0] <= self._served:
            ended.append(self._sharing_ends[0][1])
            self._drop(ended[-1])
            self._clean(self._sharing_ends)
        self._settle()
        return sorted(ended)

    def state(self) -> dict[str, Any]:
        """What it is doing, to the last bit: plain numbers and lists."""
        rows = sorted((transfer, kind, cap, end) for transfer, (kind, cap, _, end) in self._transfers.items())
        return {
            "now_s": self.now,
            "level": self._level,
            "served": self._served,
            "capped_rate": self._capped_rate,
            "transfer": [row[0] for row in rows],
            "kind": [row[1] for row in rows],
            "cap": [row[2] for row in rows],
            "end": [row[3] for row in rows],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.now, self._level = float(state["now_s"]), float(state["level"])
        self._served, self._capped_rate = float(state["served"]), float(state["capped_rate"])
        columns = (state[name] for name in ("transfer", "kind", "cap", "end"))
        for transfer, kind, cap, end in zip(*columns, strict=True):
            self._enter(int(transfer), int(kind), float(cap), float(end))

    def _left(self, transfer: int) -> float:
        kind, cap, _, end = self._transfers[transfer]
        if kind == _SHARING:
            return max(end - self._served, 0.0)
        return max(end - self.now, 0.0) * cap

    def _put(self, transfer: int, left: float, cap: float, *, capped: bool) -> None:
        if capped:
            self._capped_rate += cap
            self._enter(transfer, _CAPPED, cap, self.now + left / cap)
        else:
            self._enter(transfer, _SHARING, cap, self._served + left)

    def _enter(self, transfer: int, kind: int, cap: float, end: float) -> None:
        self._stamp += 1
        stamp = self._stamp
        self._transfers[transfer] = (kind, cap, stamp, end)
        if kind == _CAPPED:
            self._capped_count += 1
            heapq.heappush(self._capped_ends, (end, transfer, stamp))
            heapq.heappush(self._capped_rates, (-cap, transfer, stamp))
        else:
            self._sharing_count += 1
            heapq.heappush(self._sharing_ends, (end, transfer, stamp))
            heapq.heappush(self._sharing_rates, (cap, transfer, stamp))

    def _drop(self, transfer: int) -> None:
        kind, cap, _, _ = self._transfers.pop(transfer)
        if kind == _CAPPED:
            self._capped_count -= 1
            self._capped_rate = self._capped_rate - cap if self._capped_count else 0.0
        else:
            self._sharing_count -= 1

    def _clean(self, heap: list[tuple[float, int, int]]) -> None:
        while heap:
            known = self._transfers.get(heap[0][1])
            if known is not None and known[2] == heap[0][2]:
                return
            heapq.heappop(heap)

    def _find_level(self) -> float:
        if not self._sharing_count:
            return math.inf if self._capped_rate <= self.rate else self.rate / self._capped_count
        return max(self.rate - self._capped_rate, 0.0) / self._sharing_count

    def _settle(self) -> None:
        """Move transfers between the two kinds until each gets the smaller of its own rate and the level.

        Either move raises the level, so those who must share come first and are looked at once.
        """
        while True:
            self._clean(self._capped_rates)
            if not self._capped_rates or -self._capped_rates[0][0] <= self._find_level():
                break
            self._switch(self._capped_rates[0][1], capped=False)
        while True:
            self._clean(self._sharing_rates)
            if not self._sharing_rates or self._sharing_rates[0][0] > self._find_level():
                break
            self._switch(self._sharing_rates[0][1], capped=True)
        self._level = self._find_level() if self._sharing_count else math.inf
        if not self._sharing_count:
            self._served = 0.0

    def _switch(self, transfer: int, *, capped: bool) -> None:
        cap = self._transfers[transfer][1]
        left = self._left(transfer)
        self._drop(transfer)
        self._put(transfer, left, cap, capped=capped)
