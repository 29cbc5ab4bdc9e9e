"""In which order a client trains on what it holds."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fedsim.learning.options import Learning


def draws(held: int, learning: Learning) -> int:
    """How many examples a client's steps of a round go through, of ``held`` that it holds."""
    if learning.local_epochs is None:
        return learning.local_steps * learning.batch_size
    return max(1, round(learning.local_epochs * held))


def passes(
    examples: NDArray[np.int64], learning: Learning, draw: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """The examples of each step: passes in a new random order each, cut into batches.

    With ``local_epochs`` there are as many steps as the passes need, the last one smaller if they
    do not divide; else ``local_steps`` full batches, going round as often as needed.
    """
    total = draws(len(examples), learning)
    rounds = [draw.permutation(examples) for _ in range(math.ceil(total / len(examples)))]
    sequence = np.concatenate(rounds)[:total]
    for start in range(0, total, learning.batch_size):
        yield sequence[start : start + learning.batch_size]
