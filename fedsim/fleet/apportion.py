"""Which group each client belongs to: a fixed sequence whose every beginning follows the shares.

The sequence is Tijdeman's ("The chairman assignment problem", Discrete Mathematics 32, 1980): after
any number k of clients, a group with share s has between k s - 1 and k s + 1 of them (in fact the
bound is 1 - 1 / (2 m - 2) for m groups). Client ``i`` therefore has the same group in every fleet
that is larger than ``i``. Webster's and other divisor methods give such a sequence too, but not the
bound: a large group beside many small ones runs ahead by several clients.
"""

from __future__ import annotations

from fractions import Fraction
from math import lcm

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import ScenarioError


def apportion(shares: list[float], clients: int) -> NDArray[np.int16]:
    """The group of each of the first ``clients`` clients.

    Args:
        shares: positive numbers; they are divided by their sum. Read as the decimal that is written.
        clients: how many.

    Returns:
        int16[clients], indices into ``shares``. Between equally urgent groups the earlier comes first.

    Raises:
        ScenarioError: if there is no group, or a share is not a positive number.
    """
    if not shares:
        raise ScenarioError("a fleet needs at least one group")
    if any(not share > 0.0 or share == float("inf") for share in shares):
        raise ScenarioError("every share of a fleet must be a positive number")
    exact = [Fraction(str(float(share))) for share in shares]
    total = sum(exact)
    exact = [share / total for share in exact]
    count = len(exact)
    if count == 1:
        return np.zeros(clients, dtype=np.int16)
    period = lcm(*(share.denominator for share in exact))  # all shares are then met exactly: start over
    part = [share.numerator * (period // share.denominator) for share in exact]
    length = min(period, clients)
    twice = 2 * count - 2
    sequence = np.empty(length, dtype=np.int16)
    owed = [0] * count  # k * part - period * given: what each group is behind, in 1/period of a client
    groups = range(count)
    for k in range(length):
        best, best_urgency = -1, 0.0
        for g in groups:
            owed[g] += part[g]
            lead = twice * owed[g]
            if lead >= period:
                urgency = (period * (twice - 1) - lead) / part[g]
                if best < 0 or urgency < best_urgency:
                    best, best_urgency = g, urgency
        sequence[k] = best
        owed[best] -= period
    return np.resize(sequence, clients)
