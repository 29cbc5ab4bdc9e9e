"""Batches: how a workload's clips are put together, each batch padded to its longest clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsim import rng
from fedsim.errors import ScenarioError
from fedsim.fleet.who import Ints
from fedsim.fleet.workload import Workloads

ORDERS = ("shuffled", "sorted")


@dataclass(frozen=True, eq=False)
class Batches:
    """The batches of one epoch of every workload, one workload after another.

    To add up a figure over each workload's batches: ``np.add.reduceat(figure, first[:-1])``.

    Attributes:
        first: int64[workloads + 1], where each workload's batches begin.
        size: int64[m], clips in each batch; the last of a workload may be smaller.
        samples: int64[m], the padded length: the batch's longest clip, at 16 kHz.
    """

    first: Ints
    size: Ints
    samples: Ints


def make(workloads: Workloads, batch_size: int, order: str, seed: int) -> Batches:
    """The batches of every workload.

    Args:
        workloads: at least one clip in each.
        batch_size: clips in a batch.
        order: ``shuffled`` (a workload's clips are shuffled once) or ``sorted`` (by length, so that
            hardly anything is padded).
        seed: of the shuffle.

    Raises:
        ScenarioError: if the batch size is not positive, or the order is not one of those.
    """
    if batch_size < 1:
        raise ScenarioError(f"a batch of {batch_size} clips cannot be; give 1 or more")
    if order not in ORDERS:
        raise ScenarioError(f"{order!r} is no order of batches; give {' or '.join(ORDERS)}")
    count = workloads.utterances
    owner = np.repeat(np.arange(workloads.count), count)
    place = np.arange(owner.size) - workloads.first[owner]
    if order == "sorted":
        arranged = np.lexsort((workloads.samples, owner))
    else:
        draw = rng.bits(rng.key(seed, "batches", "shuffle"), owner, place)
        arranged = np.lexsort((draw, owner))
    samples = workloads.samples[arranged]
    begins = np.flatnonzero(place % batch_size == 0)
    first = np.concatenate([[0], np.cumsum(-(-count // batch_size))]).astype(np.int64)
    return Batches(
        first=first,
        size=np.diff(np.append(begins, samples.size)),
        samples=np.asarray(np.maximum.reduceat(samples, begins)),
    )
