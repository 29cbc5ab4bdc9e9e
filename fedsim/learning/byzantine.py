"""Bad clients: who of a fleet sends garbage, and what it sends, so that a scenario can ask what it does.

A client is bad by a draw of its own, for the whole run; a client added to the fleet changes nobody
else's. Some garbage is the same whatever the client was to train on, and the server refuses it. The
rest is made of an honest update, is finite and of the right shape, and only a robust rule can do
anything about it. Optimizer state that travels with the weights is sent as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.learning.spec import ByzantineSpec

#: By how much each weight is off in a ``huge`` update: finite in float32, and so is its norm in float64.
HUGE = 1e30


class Byzantine:
    """What bad clients do.

    Args:
        spec: who and what; None: nobody.
        seed: of the run.
        parameters: of the model; what follows them in a vector is optimizer state.
    """

    def __init__(self, spec: ByzantineSpec | None, seed: int, parameters: int) -> None:
        self.spec, self.seed, self.parameters = spec, seed, parameters

    def bad(self, clients: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool[n]: whether each client sends garbage."""
        if self.spec is None:
            return np.zeros(len(clients), np.bool_)
        return np.asarray(rng.uniforms(rng.key(self.seed, "corrupt"), clients) < self.spec.share)

    def note(self, fleet: int) -> list[str]:
        """A sentence for a person to read, if anybody is bad."""
        if self.spec is None:
            return []
        bad = int(self.bad(np.arange(fleet)).sum())
        return [f"{bad:,} of {fleet:,} clients send garbage ({self.spec.kind})"]

    def untrained(self, base: NDArray[np.float32]) -> NDArray[Any] | None:
        """What a bad client sends without training; None if it takes an honest update to make it.

        Args:
            base: float32[size], the weights that the client was sent.
        """
        kind = None if self.spec is None else self.spec.kind
        if kind in ("nan", "inf"):
            return np.full_like(base, float(kind))
        if kind == "huge":
            return base + np.float32(HUGE)
        if kind == "truncated":
            return base[: len(base) // 2]
        if kind == "extended":
            return np.concatenate([base, base[:1]])
        if kind == "integers":
            return np.zeros(len(base), np.int32)
        return None

    def trained(self, honest: NDArray[np.float32], base: NDArray[np.float32], *stream: int) -> NDArray[Any]:
        """What a bad client sends in place of what it trained.

        Args:
            honest: float32[size], what it trained.
            base: float32[size], what it was sent.
            stream: client, round and occurrence; names its random numbers.
        """
        assert self.spec is not None
        if (sent := self.untrained(base)) is not None:
            return sent
        head = slice(0, self.parameters)
        update = honest[head].astype(np.float64) - base[head]
        if self.spec.kind == "noise":
            noise = rng.generator(self.seed, "garbage", *stream).standard_normal(len(update))
            update = -noise * (np.linalg.norm(update) / np.linalg.norm(noise))
        sent = honest.copy()
        sent[head] = base[head] - self.spec.scale * update
        return sent
