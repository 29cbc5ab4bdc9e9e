"""Chance for strategies: generators that are theirs alone while they run.

Flower's strategies draw from the global generators of Python and NumPy, and so do others in the same
process: Ray when it starts, Flower's heartbeats and retries in threads of their own. A strategy that
drew from those would never repeat itself, however they are seeded.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fedsim import rng

_ONE_AT_A_TIME = threading.RLock()
_SHARED: tuple[tuple[Any, Any], ...] = (
    (random, getattr(random.random, "__self__")),  # noqa: B009
    (np.random, getattr(np.random.random, "__self__")),  # noqa: B009
)


@contextlib.contextmanager
def own_generators(seed: int, *names: str | int) -> Iterator[None]:
    """``random`` and ``numpy.random`` draw from new generators of the stream ``names``, in this thread.

    Other threads draw from the global ones, whose state is put back at the end; meanwhile they are
    seeded too, for functions that somebody has imported by name.
    """
    key = rng.key(seed, "flower", *names)
    with _ONE_AT_A_TIME, contextlib.ExitStack() as undone:
        state, numpys = random.getstate(), np.random.get_state()
        undone.callback(np.random.set_state, numpys)
        undone.callback(random.setstate, state)
        random.seed(key)
        np.random.seed(key % 2**32)
        theirs = random.Random(key), np.random.RandomState(key % 2**32)
        for (module, shared), mine in zip(_SHARED, theirs, strict=True):
            for name, function in list(vars(module).items()):
                if getattr(function, "__self__", None) is shared:
                    undone.callback(setattr, module, name, function)
                    setattr(module, name, _routed(function, getattr(mine, name)))
        yield


def _routed(shared: Callable[..., Any], mine: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is ``mine`` in this thread, and ``shared`` in any other."""
    here = threading.get_ident()

    def routed(*args: Any, **kwargs: Any) -> Any:
        return (mine if threading.get_ident() == here else shared)(*args, **kwargs)

    return routed
