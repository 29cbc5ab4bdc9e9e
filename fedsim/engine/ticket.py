"""Tickets: how a request of an asynchronous server gets its number, by which its draws are made.

A client that is dispatched is given a ticket. When it ends alone at its instant and leaves the only
free place, the request that fills the place has that ticket as its number; any other request is counted.
So what is drawn for a place does not depend on how many other clients ended before, and the ends of
many clients can be worked out together.
"""

from __future__ import annotations

import numpy as np

from fedsim import rng
from fedsim.engine.world import Ints

_STREAM = rng.key(0, "engine", "ticket")


def tickets(number: int | Ints, clients: Ints) -> Ints:
    """The tickets int64[n] of clients that were chosen in the requests of that number (one, or one each)."""
    return (rng.bits(_STREAM, clients, number) >> np.uint64(1)).astype(np.int64)
