"""In which order a client trains on what it holds."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fedsim.learning.options import Learning


def passes(
    examples: NDArray[np.int64], learning: Learning, draw: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """The examples of each step: passes in a new random order each, cut into batches.

    With ``local_epochs`` there are as many steps as the passes need, the last one smaller if they
    do not divide; else ``local_steps`` full batches, going round as often as needed.
    """
    if learning.local_epochs is None:
        total = learning.local_steps * learning.batch_size
    else:
        total = max(1, round(learning.local_epochs * len(examples)))
    rounds = [draw.permutation(examples) for _ in range(math.ceil(total / len(examples)))]
    sequence = np.concatenate(rounds)[:total]
    for start in range(0, total, learning.batch_size):
        yield sequence[start : start + learning.batch_size]
