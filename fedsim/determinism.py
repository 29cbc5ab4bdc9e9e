"""Torch computing the same numbers wherever it runs: seeded, with one thread, on memory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray


@contextmanager
def seeded(key: int, device: str = "cpu") -> Iterator[None]:
    """Seed torch's generators inside the block and restore them after it."""
    devices = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(key % 2**63)
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside the block: sums then have one order, hence one result."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tensor(array: NDArray[Any], device: Any = "cpu") -> torch.Tensor:
    """A tensor of its own from an array.

    A copy, since matrix libraries may round differently where memory is aligned differently, and
    torch aligns its own memory always alike.
    """
    return torch.tensor(array, device=device)
