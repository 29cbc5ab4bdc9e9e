"""Ways to divide examples into parts that any task may use; every example is in exactly one part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedsim import rng

Ints = NDArray[np.int64]


def alike(examples: Ints, parts: int, seed: int) -> list[Ints]:
    """Shuffled and cut into parts whose sizes differ by one at most; no more parts than examples."""
    return np.array_split(rng.generator(seed, "iid").permutation(examples), parts)


def dirichlet(classes: Sequence[tuple[str, Ints]], parts: int, alpha: float, seed: int) -> list[Ints]:
    """Each class's examples, shuffled, cut by shares ~ Dirichlet(alpha); no part stays empty.

    See Hsu et al., "Measuring the effects of non-identical data distribution for federated visual
    classification", 2019. Small alpha: few parts hold a class.

    Args:
        classes: the name of each class and its examples; the name names its random stream.
        parts: how many; no more than examples.
        alpha: the concentration.
        seed: of the run.
    """
    pieces: list[list[Ints]] = [[] for _ in range(parts)]
    for name, members in classes:
        draw = rng.generator(seed, "dirichlet", name)
        shares = draw.dirichlet(np.full(parts, alpha))
        cuts = np.rint(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
        for number, piece in enumerate(np.split(draw.permutation(members), cuts)):
            pieces[number].append(piece)
    groups = [np.concatenate(held) for held in pieces]
    for number in range(parts):  # an empty part takes one example of the largest
        if not len(groups[number]):
            largest = max(range(parts), key=lambda p: (len(groups[p]), -p))
            groups[number], groups[largest] = groups[largest][-1:], groups[largest][:-1]
    return groups
