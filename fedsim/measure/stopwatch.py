"""How long a call takes: by the wall, by the processor, or by the GPU's own clock (CUDA).

With one thread that computes and never waits, processor time is what the wall would say on a
machine that does nothing else; it does not count what other programs take. With several threads
only the wall tells, and the machine had better be idle.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import torch


class Stopwatch(Protocol):
    """Gives the seconds that a call takes."""

    clock: str
    """What it reads, in words."""

    def seconds(self, call: Callable[[], object]) -> float:
        """Run ``call`` once; its result is released within the time."""


class WallStopwatch:
    """Elapsed time."""

    clock = "wall time"

    def seconds(self, call: Callable[[], object]) -> float:
        """Run ``call`` once."""
        start = time.perf_counter()
        call()
        return time.perf_counter() - start


class ProcessorStopwatch:
    """Processor time of this process, all its threads together."""

    clock = "processor time of one thread"

    def seconds(self, call: Callable[[], object]) -> float:
        """Run ``call`` once."""
        start = time.process_time()
        call()
        return time.process_time() - start


class MpsStopwatch:
    """Elapsed time over a few runs queued one behind the other on a Mac's GPU, until it has done them all."""

    clock = "wall time until the GPU is done"
    runs = 5

    def seconds(self, call: Callable[[], object]) -> float:
        """Run ``call`` a few times; the mean."""
        torch.mps.synchronize()
        start = time.perf_counter()
        for _ in range(self.runs):
            call()
        torch.mps.synchronize()
        return (time.perf_counter() - start) / self.runs


class CudaStopwatch:
    """Time between two events on the GPU, over a few runs queued one behind the other.

    The queue is filled while the GPU is kept busy, so that launching does not count.
    """

    clock = "GPU time between events"
    runs = 5

    def __init__(self) -> None:
        self._busy = torch.empty(32 * 2**20, dtype=torch.float32, device="cuda")

    def seconds(self, call: Callable[[], object]) -> float:
        """Run ``call`` a few times; the mean."""
        start: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        self._busy.zero_()
        start.record()
        for _ in range(self.runs):
            call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / self.runs


def wait(device: str) -> None:
    """Wait until a device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def stopwatch(device: str, threads: int) -> Stopwatch:
    """The one to use on a device with so many computing threads."""
    if device == "cuda":
        return CudaStopwatch()
    if device == "mps":
        return MpsStopwatch()
    return ProcessorStopwatch() if threads == 1 else WallStopwatch()
