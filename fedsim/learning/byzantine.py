"""Byzantine clients: who of a fleet sends garbage, and what it sends.

A client is one by a draw of its own, for the whole run; a client added to the fleet changes nobody
else's. Some garbage is the same whatever the client was to train on, and the server refuses it. The
rest is made of an honest update, is finite and of the right shape, and only a robust rule can do
anything about it. Optimizer state that travels with the weights is sent as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.options import Choice, kind, option
from fedsim.words import plural, verb

#: By how much each weight is off in a ``huge`` update: finite in float32, and so is its norm in float64.
HUGE = 1e30

Update = NDArray[np.float64]


@dataclass(frozen=True)
class Byzantine(Choice):
    """Clients that send garbage in place of an update."""

    point = "kind of Byzantine client"

    share: float = option(description="chance of each client to be one of them, all the run", gt=0, le=1)

    def untrained(self, base: NDArray[np.float32]) -> NDArray[Any] | None:
        """What is sent without training, from float32[size]; None if it takes an honest update."""
        return None

    def changed(self, update: Update, draw: np.random.Generator) -> Update:
        """What is sent in place of an honest update, float64[parameters]."""
        return update


@dataclass(frozen=True)
class NotANumber(Byzantine):
    """Every weight is NaN; refused."""

    kind: Literal["nan"] = kind("nan")

    def untrained(self, base: NDArray[np.float32]) -> NDArray[Any]:
        return np.full_like(base, np.nan)


@dataclass(frozen=True)
class Infinite(Byzantine):
    """Every weight is infinite; refused."""

    kind: Literal["inf"] = kind("inf")

    def untrained(self, base: NDArray[np.float32]) -> NDArray[Any]:
        return np.full_like(base, np.inf)


@dataclass(frozen=True)
class Huge(Byzantine):
    """Weights of 1e30; refused."""

    kind: Literal["huge"] = kind("huge")

    def untrained(self, base: NDArray[np.float32]) -> NDArray[Any]:
        return base + np.float32(HUGE)


@dataclass(frozen=True)
class Truncated(Byzantine):
    """Half of the weights; refused."""

    kind: Literal["truncated"] = kind("truncated")

    def untrained(self, base: NDArray[np.float32]) -> NDArray[Any]:
        return base[: len(base) // 2]


@dataclass(frozen=True)
class Extended(Byzantine):
    """One weight too many; refused."""

    kind: Literal["extended"] = kind("extended")

    def untrained(self, base: NDArray[np.float32]) -> NDArray[Any]:
        return np.concatenate([base, base[:1]])


@dataclass(frozen=True)
class Integers(Byzantine):
    """Whole numbers; refused."""

    kind: Literal["integers"] = kind("integers")

    def untrained(self, base: NDArray[np.float32]) -> NDArray[Any]:
        return np.zeros(len(base), np.int32)


@dataclass(frozen=True)
class Noise(Byzantine):
    """Normal noise of the norm of the honest update; passes for an update."""

    scale: float = option(1.0, "its norm, in norms of the client's honest update", gt=0, le=1e6)
    kind: Literal["noise"] = kind("noise")

    def changed(self, update: Update, draw: np.random.Generator) -> Update:
        noise = draw.standard_normal(len(update))
        update = -noise * (np.linalg.norm(update) / np.linalg.norm(noise))
        return -self.scale * update


@dataclass(frozen=True)
class SignFlip(Byzantine):
    """The honest update backwards; passes for an update."""

    scale: float = option(1.0, "its norm, in norms of the client's honest update", gt=0, le=1e6)
    kind: Literal["sign-flip"] = kind("sign-flip")

    def changed(self, update: Update, draw: np.random.Generator) -> Update:
        return -self.scale * update


BYZANTINES = (NotANumber, Infinite, Huge, Truncated, Extended, Integers, Noise, SignFlip)


class ByzantineClients:
    """What the Byzantine clients of a run do.

    Args:
        options: who and what; None: nobody.
        seed: of the run.
        parameters: of the model that travel; what follows them in a vector is optimizer state.
    """

    def __init__(self, options: Byzantine | None, seed: int, parameters: int) -> None:
        self.options, self.seed, self.parameters = options, seed, parameters

    def among(self, clients: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool[n]: whether each client is one."""
        if self.options is None:
            return np.zeros(len(clients), np.bool_)
        return np.asarray(rng.uniforms(rng.key(self.seed, "corrupt"), clients) < self.options.share)

    def note(self, fleet: int) -> list[str]:
        """A sentence for a person to read, if anybody is one."""
        if self.options is None:
            return []
        bad = int(self.among(np.arange(fleet)).sum())
        return [f"{bad:,} of {plural(fleet, 'client')} {verb(bad, 'send')} garbage ({self.options.name})"]

    def untrained(self, base: NDArray[np.float32]) -> NDArray[Any] | None:
        """What one sends without training; None if it takes an honest update to make it."""
        return None if self.options is None else self.options.untrained(base)

    def trained(
        self,
        honest: NDArray[np.float32],
        base: NDArray[np.float32],
        *stream: int,
        parameters: int | None = None,
    ) -> NDArray[Any]:
        """What one sends in place of what it trained.

        Args:
            honest: float32[size], what it trained.
            base: float32[size], what it was sent.
            stream: client, round and occurrence; names its random numbers.
            parameters: of the model among them, if it sends not all.
        """
        assert self.options is not None
        if (sent := self.options.untrained(base)) is not None:
            return sent
        head = slice(0, self.parameters if parameters is None else parameters)
        update = honest[head].astype(np.float64) - base[head]
        sent = honest.copy()
        draw = rng.generator(self.seed, "garbage", *stream)
        sent[head] = base[head] + self.options.changed(update, draw)
        return sent
